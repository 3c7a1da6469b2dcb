"""What is left out of a conversation that is too long: the oldest, never what something kept refers to."""

from hypothesis import given
from hypothesis import strategies as st

from intramural.core.chat import ChatRequest, Message, Sampling, ToolCall
from intramural.services.truncation import fitted


async def count(request: ChatRequest) -> int:
    return sum(len(message.content) for message in request.messages)


def turn(size: int, calls: bool) -> list[Message]:
    call = Message("assistant", "c", tool_calls=(ToolCall("c", "x", "{}"),)), Message("tool", "o", tool_call_id="c")
    return [Message("user", "u" * size), *(call if calls else ()), Message("assistant", "a")]


TURNS = st.lists(st.tuples(st.integers(1, 300), st.booleans()), min_size=1, max_size=12)


@given(TURNS, st.booleans(), st.integers(1, 2000))
async def test_the_newest_that_fit_are_kept(turns: list[tuple[int, bool]], system: bool, wanted: int) -> None:
    messages = [Message("system", "s")] * system
    for size, calls in turns:
        messages += turn(size, calls)
    messages.append(Message("user", "?"))
    request = ChatRequest("req_1", "m", tuple(messages), sampling=Sampling(max_tokens=wanted))
    shorter = await fitted(request, 400, count)
    most = 400 - min(wanted, 100)
    kept = [message for message in shorter.messages if message.role != "system"]
    assert shorter.messages[: int(system)] == request.messages[: int(system)]
    assert kept == messages[len(messages) - len(kept) :] and kept[0].role == "user"
    assert await count(shorter) <= most
    if len(shorter.messages) < len(messages):  # one turn more would have been too much
        older = [place for place, m in enumerate(messages[: len(messages) - len(kept)]) if m.role == "user"][-1]
        assert sum(len(m.content) for m in messages[older:]) + system > most


async def test_what_cannot_be_shortened_stays_and_is_refused_later() -> None:
    request = ChatRequest("req_1", "m", (Message("system", "s" * 500), Message("assistant", "a")))
    assert await fitted(request, 400, count) == request
