"""What a response's stream tells: every event fits the official client's types, and adds up to the response."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from intramural.core.chat import ChatEvent, Delta, Finished, Reasoning, TokenLogprob, ToolCallDelta, Usage
from intramural.core.errors import Broken, IntramuralError, Throttled
from intramural.http.openai.responses import parse, shapes
from intramural.http.openai.responses.write import ResponseWriter

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
REQUEST = "req_01jd3pz8v0kq6m0000000000000"
USAGE = Usage(10, 7, cached_tokens=4, reasoning_tokens=3)


def writer(**fields: Any) -> ResponseWriter:
    settings = parse.settings(shapes.CreateIn(model="m", input="x", **fields), REQUEST, store=True)
    numbers = iter(range(10_000))

    def new_id(prefix: str) -> str:
        return f"{prefix}_{next(numbers)}"

    return ResponseWriter(settings, 1_800_000_000, lambda: 1_800_000_007, new_id, str.upper)


def told(made: ResponseWriter, *events: ChatEvent, error: IntramuralError | None = None) -> list[dict[str, Any]]:
    """All events of an answer, each checked; at the end they add up to the body."""
    found = [each for event in events for each in made.feed(event)]
    found += made.fail(error) if error else made.finish()
    for each in found:
        EVENT.validate_python(each, strict=True)
    Response.model_validate(made.body, strict=True)
    assert [each["sequence_number"] for each in found] == list(range(len(found)))
    assert found[-1]["response"] == made.body
    assert added_up(found) == made.body["output"]
    return found


def added_up(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The output as a client puts it together, from what is added, told in deltas, and done."""
    items: list[dict[str, Any]] = []
    deltas: dict[str, str] = {}
    open_items: set[str] = set()
    for event in events:
        kind = event["type"]
        if kind == "response.output_item.added":
            assert event["output_index"] == len(items) and event["item"]["status"] == "in_progress"
            items.append(event["item"])
            open_items.add(event["item"]["id"])
        elif kind.endswith(".delta"):
            assert event["item_id"] in open_items and items[event["output_index"]]["id"] == event["item_id"]
            deltas[event["item_id"]] = deltas.get(event["item_id"], "") + event["delta"]
        elif kind == "response.output_item.done":
            item = event["item"]
            open_items.remove(item["id"])
            parts = item.get("content") or item.get("summary") or [{"text": item.get("arguments", "")}]
            assert "".join(part["text"] for part in parts) == deltas.get(item["id"], "")
            items[event["output_index"]] = item
    assert not open_items
    return items


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_thinking_then_text() -> None:
    events = told(writer(), Reasoning(0, "Hm"), Reasoning(0, "."), Delta(0, "Hi"), Finished(0, "stop"), USAGE)
    assert types(events) == [
        "created", "in_progress",
        "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.delta",
        "reasoning_text.done", "content_part.done", "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done",
        "output_item.done", "completed",
    ]  # fmt: skip
    body = events[-1]["response"]
    assert [item["type"] for item in body["output"]] == ["reasoning", "message"]
    assert body["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 17,
    }
    assert (body["status"], body["completed_at"]) == ("completed", 1_800_000_007)


def test_thinking_as_a_summary_where_one_was_asked_for() -> None:
    made = writer(reasoning=shapes.ReasoningIn(summary="auto"))
    events = told(made, Reasoning(0, "Hm"), Delta(0, "Hi"), Finished(0, "stop"), USAGE)
    assert types(events)[2:8] == [
        "output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta",
        "reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done",
    ]  # fmt: skip
    thought = made.body["output"][0]
    assert thought["summary"] == [{"type": "summary_text", "text": "Hm"}] and thought["content"] == []


def test_thinking_that_the_client_keeps() -> None:
    made = writer(include=["reasoning.encrypted_content"])
    told(made, Reasoning(0, "Hm"), Delta(0, "Hi"), Finished(0, "stop"), USAGE)
    assert made.body["output"][0]["encrypted_content"] == "HM"
    plain = writer()
    told(plain, Reasoning(0, "Hm"), Finished(0, "stop"), USAGE)
    assert "encrypted_content" not in plain.body["output"][0]


def test_several_calls() -> None:
    events = told(
        writer(),
        Delta(0, "I look."),
        ToolCallDelta(0, 0, '{"a"', id="call_a", name="one"),
        ToolCallDelta(0, 0, ":1}"),
        ToolCallDelta(0, 1, "{}", id="call_b", name="two"),
        Finished(0, "tool_calls"),
        USAGE,
    )
    calls = [item for item in events[-1]["response"]["output"] if item["type"] == "function_call"]
    assert [(call["call_id"], call["name"], call["arguments"]) for call in calls] == [
        ("call_a", "one", '{"a":1}'),
        ("call_b", "two", "{}"),
    ]
    assert types(events).count("function_call_arguments.done") == 2


def test_cut_at_the_limit() -> None:
    events = told(writer(), Delta(0, "I"), Finished(0, "length"), USAGE)
    body = events[-1]["response"]
    assert (events[-1]["type"], body["status"]) == ("response.incomplete", "incomplete")
    assert body["incomplete_details"] == {"reason": "max_output_tokens"}
    assert body["output"][0]["status"] == "incomplete"


def test_nothing_said_is_an_empty_message() -> None:
    events = told(writer(), Finished(0, "stop"), USAGE)
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == ""


def test_an_error_is_told_and_so_is_how_far_it_came() -> None:
    error = Broken("worker_died", "The worker ended.", "Ask again.")
    events = told(writer(), Delta(0, "Hel"), error=error)
    assert types(events)[-2:] == ["error", "failed"]
    assert (events[-2]["code"], events[-2]["message"]) == ("worker_died", "The worker ended. Ask again.")
    body = events[-1]["response"]
    assert (body["error"]["code"], body["error"]["type"]) == ("server_error", "worker_died")
    assert body["output"][0]["content"][0]["text"] == "Hel"
    throttled = told(writer(), error=Throttled("slow", "Not so fast.", retry_after_s=1))
    assert throttled[-1]["response"]["error"]["code"] == "rate_limit_exceeded"


def test_waiting_and_cancelling() -> None:
    made = writer(background=True)
    first = made.wait() + made.feed(Delta(0, "I"))
    last = made.cancel()
    for event in first + last:
        EVENT.validate_python(event, strict=True)
    assert types(first)[:3] == ["created", "queued", "in_progress"]
    assert [event["response"]["status"] for event in first[:3]] == ["queued", "queued", "in_progress"]
    assert last[-1]["response"]["status"] == made.body["status"] == "cancelled"
    assert [event["sequence_number"] for event in first + last] == list(range(len(first + last)))


def test_probabilities() -> None:
    entry = TokenLogprob("Hi", -0.5, b"Hi", (TokenLogprob("Ho", -1.0, b"Ho"),))
    made = writer(top_logprobs=1)
    told(made, Delta(0, "Hi", (entry,)), Finished(0, "stop"), USAGE)
    other = {"token": "Ho", "logprob": -1.0, "bytes": [72, 111]}
    wanted = [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": [other]}]
    assert made.body["output"][0]["content"][0]["logprobs"] == wanted
    silent = writer()
    told(silent, Delta(0, "Hi", (entry,)), Finished(0, "stop"), USAGE)
    assert silent.body["output"][0]["content"][0]["logprobs"] == []


@given(st.text(max_size=40))
def test_obfuscation_hides_how_long_a_delta_is(text: str) -> None:
    made = writer(stream_options=shapes.StreamOptions(include_obfuscation=True))
    for event in told(made, Delta(0, text), Finished(0, "stop"), USAGE):
        if "delta" in event:
            assert event["obfuscation"] and (len(event["delta"]) + len(event["obfuscation"])) % 16 == 0
        else:
            assert "obfuscation" not in event


PIECES = st.one_of(
    st.builds(Delta, st.just(0), st.text(max_size=5)),
    st.builds(Reasoning, st.just(0), st.text(max_size=5)),
    st.just("call"),
)


@given(st.lists(PIECES, max_size=12), st.sampled_from(["stop", "length", "tool_calls"]), st.booleans(), st.booleans())
def test_whatever_an_answer_is_made_of(pieces: list[Any], reason: Any, summary: bool, breaks: bool) -> None:
    calls, events = 0, []
    for piece in pieces:
        if piece == "call":
            events += [ToolCallDelta(0, calls, "{", id=f"call_{calls}", name="x"), ToolCallDelta(0, calls, "}")]
            calls += 1
        else:
            events.append(piece)
    made = writer(reasoning=shapes.ReasoningIn(summary="detailed" if summary else None))
    error = Broken("worker_died", "Gone.", "Again.") if breaks else None
    told(made, *events, *([] if breaks else [Finished(0, reason), USAGE]), error=error)
