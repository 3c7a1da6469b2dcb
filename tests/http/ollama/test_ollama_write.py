"""Events become lines, and lines one object."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intramural.core.chat import ChatEvent, Delta, Finished, Reasoning, TokenLogprob, ToolCallDelta, Usage
from intramural.http.ollama.vectors import shortened
from intramural.http.ollama.write import Kind, Writer, joined, merged, timestamp

USAGE = Usage(9, 4, prompt_ms=20, completion_ms=40)


class Ticking:
    """A clock that goes on by a tenth of a second whenever it is looked at."""

    def __init__(self) -> None:
        self.ticks = 0

    def now_s(self) -> float:
        return 1_700_000_000.5

    def monotonic_s(self) -> float:
        self.ticks += 1
        return self.ticks / 10

    def token_bytes(self, size_bytes: int) -> bytes:
        return bytes(size_bytes)


def lines(kind: Kind, events: Iterable[ChatEvent]) -> list[dict[str, Any]]:
    writer = Writer(kind, "m", Ticking())
    return [line for event in events for line in writer.lines(event)]


def test_a_chat() -> None:
    said = lines("chat", [Delta(0, "Hel"), Delta(0, "lo"), Finished(0, "stop"), USAGE])
    assert [line["message"] for line in said] == [{"role": "assistant", "content": text} for text in ("Hel", "lo", "")]
    assert said[0] == {
        "model": "m",
        "created_at": "2023-11-14T22:13:20.500000Z",
        "message": {"role": "assistant", "content": "Hel"},
        "done": False,
    }
    assert {key: said[-1][key] for key in said[-1] if key not in ("model", "created_at", "message")} == {
        "done": True,
        "done_reason": "stop",
        "total_duration": 100_000_000,
        "load_duration": 40_000_000,
        "prompt_eval_count": 9,
        "prompt_eval_duration": 20_000_000,
        "eval_count": 4,
        "eval_duration": 40_000_000,
    }


def test_thinking_and_text_are_apart() -> None:
    events = [Reasoning(0, "Hm"), Reasoning(0, "m."), Delta(0, "Yes."), Finished(0, "length"), USAGE]
    whole = joined("generate", lines("generate", events))
    assert (whole["thinking"], whole["response"], whole["done_reason"]) == ("Hmm.", "Yes.", "length")


def test_a_call_is_said_when_it_is_complete_and_as_an_object() -> None:
    events = [
        ToolCallDelta(0, 0, '{"city":', "call_a", "weather"),
        ToolCallDelta(0, 0, '"Rome"}'),
        ToolCallDelta(0, 1, "{}", "call_b", "clock"),
        Finished(0, "tool_calls"),
        USAGE,
    ]
    said = lines("chat", events)
    assert [len(line["message"].get("tool_calls", ())) for line in said] == [1, 1, 0]
    whole = joined("chat", said)
    assert whole["message"]["tool_calls"] == [
        {"id": "call_a", "function": {"index": 0, "name": "weather", "arguments": {"city": "Rome"}}},
        {"id": "call_b", "function": {"index": 1, "name": "clock", "arguments": {}}},
    ]
    assert whole["done_reason"] == "stop"


@pytest.mark.parametrize("text", ['{"city": "Ro', "[1]", '"x"'])
def test_a_call_that_was_cut_off_is_no_call_and_not_lost(text: str) -> None:
    whole = joined("chat", lines("chat", [ToolCallDelta(0, 0, text, "a", "f"), Finished(0, "length"), USAGE]))
    assert "tool_calls" not in whole["message"] and whole["message"]["content"] == text


def test_logprobs() -> None:
    top = TokenLogprob("o", -2.0, b"o")
    event = Delta(0, "i", (TokenLogprob("i", -0.5, b"i", (top,)),))
    whole = joined("chat", lines("chat", [event, event, Finished(0, "stop"), USAGE]))
    one = {
        "token": "i",
        "logprob": -0.5,
        "bytes": [105],
        "top_logprobs": [{"token": "o", "logprob": -2.0, "bytes": [111]}],
    }
    assert whole["logprobs"] == [one, one]


_PIECES = st.one_of(
    st.builds(Delta, st.just(0), st.text(max_size=3), st.sampled_from([(), (TokenLogprob("i", -0.5, b"i"),)])),
    st.builds(Reasoning, st.just(0), st.text(max_size=3)),
    st.builds(ToolCallDelta, st.just(0), st.just(0), st.just("{}"), st.just("call_a"), st.just("clock")),
)


@given(st.lists(_PIECES), st.sampled_from(["chat", "generate"]))
def test_where_an_answer_was_cut_is_not_seen_in_the_whole(pieces: list[ChatEvent], kind: Any) -> None:
    events = [*pieces, Finished(0, "stop"), USAGE]
    asked_whole, streamed = (joined(kind, lines(kind, given)) for given in (merged(events), events))
    assert {**asked_whole, **_TIMES} == {**streamed, **_TIMES}


_TIMES = {"total_duration": 0, "load_duration": 0}


@given(st.lists(st.sampled_from("ab ") | st.text(max_size=3)), st.sampled_from(["chat", "generate"]))
def test_the_whole_is_what_the_lines_say(texts: list[str], kind: Any) -> None:
    whole = joined(kind, lines(kind, [*(Delta(0, text) for text in texts), Finished(0, "stop"), USAGE]))
    assert (whole["message"]["content"] if kind == "chat" else whole["response"]) == "".join(texts)
    assert whole["done"] is True


def test_vectors_are_cut_to_length_one() -> None:
    assert shortened((3.0, 4.0, 12.0), 2) == pytest.approx((0.6, 0.8))
    assert shortened((0.6, 0.8), None) == (0.6, 0.8)
    assert shortened((0.0, 0.0, 1.0), 2) == (0.0, 0.0), "there is nothing to stretch"


def test_times_are_in_utc() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00.000000Z"
