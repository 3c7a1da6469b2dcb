"""Anthropic's answers: one block open at a time, counts at the end, and whole messages equal to their streams."""

import json
from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from anthropic.types.beta import BetaMessage
from pydantic import TypeAdapter

from intramural.core.chat import ChatEvent, ChatRequest, Delta, Finished, Reasoning, Sampling, ToolCallDelta, Usage
from intramural.http.anthropic import write
from intramural.http.anthropic.signature import signature_of

ASKED = ChatRequest("req_01", "m", sampling=Sampling(max_tokens=9))
USAGE = Usage(prompt_tokens=10, completion_tokens=9, cached_tokens=4, reasoning_tokens=2)
CALL = ToolCallDelta(0, 0, '{"a"', id="call_x", name="add")
_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def stream(*events: ChatEvent, form: write.Form = write.AS_IT_COMES) -> list[dict[str, Any]]:
    writer = write.StreamWriter(ASKED, form)
    told = [said for each in (*events, USAGE) for said in writer.feed(each)]
    for each in told:
        if each["type"] != "ping":
            _EVENT.validate_json(json.dumps(each), strict=True)
    return told


def whole(*events: ChatEvent, form: write.Form = write.AS_IT_COMES) -> dict[str, Any]:
    message = write.message(ASKED, (*events, USAGE), form)
    Message.model_validate_json(json.dumps(message), strict=True)
    BetaMessage.model_validate_json(json.dumps(message), strict=True)
    return message


EVERYTHING = (
    Reasoning(0, "h"),
    Delta(0, "\n\n"),
    Reasoning(0, "m"),
    Delta(0, "\n"),
    Delta(0, "Now"),
    Delta(0, " then"),
    CALL,
    ToolCallDelta(0, 0, ":1}"),
    ToolCallDelta(0, 1, "{}", id="call_y", name="now"),
    Delta(0, "\n"),
    Finished(0, "tool_calls"),
)


def test_the_order_of_a_stream() -> None:
    told = stream(*EVERYTHING)
    assert [(e["type"], e.get("delta", {}).get("type")) for e in told] == [
        ("message_start", None),
        ("ping", None),
        ("content_block_start", None),
        ("content_block_delta", "thinking_delta"),
        ("content_block_delta", "thinking_delta"),
        ("content_block_delta", "signature_delta"),
        ("content_block_stop", None),
        ("content_block_start", None),
        ("content_block_delta", "text_delta"),
        ("content_block_delta", "text_delta"),
        ("content_block_stop", None),
        ("content_block_start", None),
        ("content_block_delta", "input_json_delta"),
        ("content_block_delta", "input_json_delta"),
        ("content_block_stop", None),
        ("content_block_start", None),
        ("content_block_delta", "input_json_delta"),
        ("content_block_stop", None),
        ("message_delta", None),
        ("message_stop", None),
    ]
    assert [e["index"] for e in told if e["type"] == "content_block_start"] == [0, 1, 2, 3]
    opened = None
    for each in told:
        if each["type"] == "content_block_start":
            assert opened is None
            opened = each["index"]
        elif "index" in each:
            assert each["index"] == opened
            opened = None if each["type"] == "content_block_stop" else opened
    assert told[0]["message"]["usage"]["output_tokens"] == 0
    assert told[-2]["usage"]["output_tokens"] == 9


def test_a_stream_begins_with_what_was_read() -> None:
    writer = write.StreamWriter(ASKED)
    writer.prompt_read(Usage(prompt_tokens=10, completion_tokens=1, cached_tokens=4))
    started = writer.feed(Delta(0, "Hm"))[0]["message"]["usage"]
    assert (started["input_tokens"], started["cache_read_input_tokens"], started["output_tokens"]) == (6, 4, 0)


def test_a_whole_message() -> None:
    message = whole(*EVERYTHING)
    assert message["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": signature_of("hm")},
        {"type": "text", "text": "\n\n\nNow then", "citations": None},
        {"type": "tool_use", "id": "toolu_x", "name": "add", "input": {"a": 1}, "caller": {"type": "direct"}},
        {"type": "tool_use", "id": "toolu_y", "name": "now", "input": {}, "caller": {"type": "direct"}},
    ]
    assert (message["id"], message["stop_reason"], message["stop_sequence"]) == ("msg_01", "tool_use", None)
    assert message["usage"] == {
        "input_tokens": 6,
        "cache_read_input_tokens": 4,
        "cache_creation_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 2},
        "server_tool_use": None,
        "service_tier": "standard",
        "inference_geo": None,
    }


@pytest.mark.parametrize(
    ("finished", "max_tokens", "reason"),
    [
        (Finished(0, "stop"), 9, "end_turn"),
        (Finished(0, "stop", stop="END"), 9, "stop_sequence"),
        (Finished(0, "length"), 9, "max_tokens"),
        (Finished(0, "length"), 10, "model_context_window_exceeded"),
        (Finished(0, "tool_calls"), 9, "tool_use"),
    ],
)
def test_why_it_ended(finished: Finished, max_tokens: int, reason: str) -> None:
    asked = ChatRequest("req_01", "m", sampling=Sampling(max_tokens=max_tokens))
    message = write.message(asked, (Delta(0, "x"), finished, USAGE))
    assert (message["stop_reason"], message["stop_sequence"]) == (reason, finished.stop)


def test_thinking_that_is_left_out_keeps_its_signature() -> None:
    form = write.Form(hides_thinking=True)
    message = whole(Reasoning(0, "hm"), Delta(0, "a"), Finished(0, "stop"), form=form)
    assert message["content"][0] == {"type": "thinking", "thinking": "", "signature": signature_of("hm")}


def test_inputs_in_one_piece() -> None:
    told = stream(
        CALL, ToolCallDelta(0, 0, ":1}"), Finished(0, "tool_calls"), form=write.Form(whole_inputs=frozenset({"add"}))
    )
    assert [e["delta"]["partial_json"] for e in told if e["type"] == "content_block_delta"] == ['{"a":1}']


def test_a_call_that_was_cut_short_is_not_answered() -> None:
    assert whole(Delta(0, "So:"), CALL, Finished(0, "length"))["content"] == [
        {"type": "text", "text": "So:", "citations": None}
    ]


def test_nothing_but_blank_space_is_still_an_answer() -> None:
    assert whole(Delta(0, " \n"), Finished(0, "length"))["content"] == [
        {"type": "text", "text": " \n", "citations": None}
    ]
    assert whole(Finished(0, "stop"))["content"] == []
