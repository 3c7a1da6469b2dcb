"""What can be gone on with, and how the rest is asked."""

import pytest
from msgspec.structs import replace

from intramural.core.chat import (
    ChatEvent,
    ChatRequest,
    Delta,
    Finished,
    Image,
    Message,
    Reasoning,
    ResponseFormat,
    Sampling,
    Usage,
)
from intramural.serving.onward import Written

QUESTION = Message("user", "Count.")
CHAT = ChatRequest(id="r", model="m", messages=(QUESTION,), sampling=Sampling(max_tokens=10, seed=7))
WRITTEN = Usage(5, 4, 2, 10.0, 40.0)


def written(request: ChatRequest, *events: ChatEvent) -> Written:
    found = Written(request, None, at_hand=True)
    found.note(events)
    return found


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (CHAT, {"messages": (QUESTION, Message("assistant", "one two"))}),
        (
            replace(CHAT, messages=(QUESTION, Message("assistant", "zero "))),
            {"messages": (QUESTION, Message("assistant", "zero one two"))},
        ),
        (replace(CHAT, messages=(), prompt="zero "), {"prompt": "zero one two"}),
    ],
)
def test_the_rest_is_asked_with_what_is_written_as_its_beginning(
    request_: ChatRequest, expected: dict[str, object]
) -> None:
    found = written(request_, Delta(0, "one"), Delta(0, " two"))
    assert found.can_pause
    found.stopped(WRITTEN)
    rest = found.rest()
    assert rest is not None
    assert rest == replace(request_, sampling=Sampling(max_tokens=6, seed=11), **expected)  # type: ignore[arg-type]
    assert found.with_past(Usage(9, 6, 9, 1.0, 60.0)) == Usage(5, 10, 2, 11.0, 100.0)
    assert found.ahead_s == 0.03
    found.stopped(Usage(9, 2, 9, 50.0, 5.0))
    assert found.ahead_s == -0.015, "of all the times it was read and written"


def test_when_all_is_written_there_is_no_rest() -> None:
    found = written(CHAT, Delta(0, "one"))
    found.stopped(replace(WRITTEN, completion_tokens=10))
    assert found.rest() is None


def test_what_has_ended_needs_no_rest() -> None:
    assert not written(CHAT, Delta(0, "one")).ended
    found = written(CHAT, Delta(0, "one"), Finished(0, "stop"))
    assert found.ended and not found.can_pause


@pytest.mark.parametrize(
    "changed",
    [
        {"deterministic": True},
        {"choices": 2},
        {"response_format": ResponseFormat("json_object")},
        {"messages": (replace(QUESTION, parts=("Count.", Image(b"x"))),)},
        {"messages": (), "prompt": "a", "suffix": "b"},
        {"messages": (), "prompt": (1, 2)},
    ],
)
def test_what_cannot_be_gone_on_with(changed: dict[str, object]) -> None:
    assert not written(replace(CHAT, **changed), Delta(0, "one")).can_pause  # type: ignore[arg-type]  # a table's cells


def test_thinking_is_not_gone_on_with() -> None:
    assert not written(CHAT).can_pause
    assert not written(CHAT, Reasoning(0, "hm"), Delta(0, "one")).can_pause


def test_an_engine_elsewhere_is_not_asked_to_go_on() -> None:
    found = Written(CHAT, None, at_hand=False)
    found.note((Delta(0, "one"),))
    assert not found.can_pause
