"""From internal events to Anthropic's answers: the events of a stream, and whole messages put together from them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from intramural.core.chat import (
    ChatEvent,
    ChatRequest,
    Delta,
    Finished,
    Reasoning,
    ToolCallDelta,
    Usage,
)
from intramural.http.anthropic.signature import signature_of

_Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Form:
    """How the answer is wanted. `whole_inputs` names tools whose inputs are sent in one piece."""

    hides_thinking: bool = False
    whole_inputs: frozenset[str] = frozenset()


AS_IT_COMES = Form()


def message(asked: ChatRequest, events: Iterable[ChatEvent], form: Form = AS_IT_COMES) -> dict[str, Any]:
    """A whole message from all events of its answer. A call that was cut short is left out: nobody should run it."""
    writer = StreamWriter(asked, form)
    told: dict[str, Any] = {}
    blocks: list[dict[str, Any]] = []
    for event in (said for each in events for said in writer.feed(each)):
        match event["type"]:
            case "message_start":
                told = event["message"]
            case "content_block_start":
                blocks.append({**event["content_block"], "input_json": ""})
            case "content_block_delta":
                _add(blocks[-1], event["delta"])
            case "message_delta":
                told |= event["delta"]
                told["usage"] |= event["usage"]
    told["content"] = [block for each in blocks if (block := _closed(each))]
    return told


class StreamWriter:
    """Events → the events of a stream, in their order: one block is open at a time, the counts come at the end."""

    def __init__(self, asked: ChatRequest, form: Form = AS_IT_COMES) -> None:
        self._asked = asked
        self._form = form
        self._begun = False
        self._prompt = Usage(0, 0)
        self._blocks = 0
        self._open: str | int | None = None  # `text`, `thinking`, or the position of a call
        self._space = ""  # blank text that begins a block, or stands between two and belongs to none
        self._kept: list[str] = []  # of the open block: its thinking, or an input that is sent in one piece
        self._whole = False
        self._finished = Finished(0, "stop")

    def prompt_read(self, usage: Usage) -> None:
        """The prompt's counts, known before anything is said; `message_start` states them. Without this they are 0."""
        self._prompt = Usage(usage.prompt_tokens, 0, usage.cached_tokens)

    def feed(self, event: ChatEvent) -> list[_Event]:
        """What is to be sent for `event`."""
        out: list[_Event] = [] if self._begun else self._start()
        match event:
            case Reasoning():
                self._think(event.text, out)
            case Delta():
                self._say(event.text, out)
            case ToolCallDelta():
                self._call(event, out)
            case Finished():
                self._finished = event
                if self._space and not self._blocks:
                    self._begin_text(out)
                self._close(out)
            case Usage():
                out += self._end(event)
        return out

    def _start(self) -> list[_Event]:
        self._begun = True
        head: dict[str, Any] = {
            "id": f"msg_{self._asked.id.removeprefix('req_')}",
            "type": "message",
            "role": "assistant",
            "model": self._asked.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {**usage_object(self._prompt), **_USAGE_OF_ALL},
        }
        return [{"type": "message_start", "message": head}, {"type": "ping"}]

    def _think(self, text: str, out: list[_Event]) -> None:
        if self._open != "thinking":
            self._begin("thinking", {"type": "thinking", "thinking": "", "signature": ""}, out)
        self._kept.append(text)
        if not self._form.hides_thinking:
            self._delta({"type": "thinking_delta", "thinking": text}, out)

    def _say(self, text: str, out: list[_Event]) -> None:
        if self._open == "text":
            self._delta({"type": "text_delta", "text": text}, out)
            return
        self._space += text
        if self._space.strip():
            self._begin_text(out)

    def _begin_text(self, out: list[_Event]) -> None:
        text = self._space
        self._begin("text", {"type": "text", "text": "", "citations": None}, out)
        self._delta({"type": "text_delta", "text": text}, out)

    def _call(self, event: ToolCallDelta, out: list[_Event]) -> None:
        if self._open != event.position:
            name, call_id = event.name or "", f"toolu_{(event.id or '').removeprefix('call_')}"
            block = {"type": "tool_use", "id": call_id, "name": name, "input": {}, "caller": {"type": "direct"}}
            self._begin(event.position, block, out)
            self._whole = name in self._form.whole_inputs
        if self._whole:
            self._kept.append(event.arguments)
        elif event.arguments:
            self._delta({"type": "input_json_delta", "partial_json": event.arguments}, out)

    def _begin(self, kind: str | int, block: dict[str, Any], out: list[_Event]) -> None:
        self._close(out)
        self._open = kind
        self._space = ""
        out.append({"type": "content_block_start", "index": self._blocks, "content_block": block})

    def _delta(self, delta: dict[str, Any], out: list[_Event]) -> None:
        out.append({"type": "content_block_delta", "index": self._blocks, "delta": delta})

    def _close(self, out: list[_Event]) -> None:
        if self._open is None:
            return
        kept = "".join(self._kept)
        if self._open == "thinking":
            self._delta({"type": "signature_delta", "signature": signature_of(kept)}, out)
        elif kept:
            self._delta({"type": "input_json_delta", "partial_json": kept}, out)
        out.append({"type": "content_block_stop", "index": self._blocks})
        self._blocks += 1
        self._open = None
        self._kept = []
        self._whole = False

    def _end(self, usage: Usage) -> list[_Event]:
        delta = {"stop_reason": self._stop_reason(usage), "stop_sequence": self._finished.stop}
        return [
            {"type": "message_delta", "delta": delta, "usage": usage_object(usage)},
            {"type": "message_stop"},
        ]

    def _stop_reason(self, usage: Usage) -> str:
        match self._finished.reason:
            case "tool_calls":
                return "tool_use"
            case "length":
                wanted = self._asked.sampling.max_tokens
                is_full = wanted is not None and usage.completion_tokens < wanted
                return "model_context_window_exceeded" if is_full else "max_tokens"
            case _:
                return "end_turn" if self._finished.stop is None else "stop_sequence"


#: Of a whole message's usage, what a `message_delta` has no room for.
_USAGE_OF_ALL = {
    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
    "service_tier": "standard",
    "inference_geo": None,
}


def usage_object(usage: Usage) -> dict[str, Any]:
    """The counts. `input_tokens` is without what was in the cache; writing to it costs nothing, so none is counted."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
        "server_tool_use": None,
    }


def _add(block: dict[str, Any], delta: dict[str, Any]) -> None:
    match delta["type"]:
        case "text_delta":
            block["text"] += delta["text"]
        case "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "signature_delta":
            block["signature"] = delta["signature"]
        case "input_json_delta":
            block["input_json"] += delta["partial_json"]


def _closed(block: dict[str, Any]) -> dict[str, Any] | None:
    """The block as it is answered; None for a call whose input was cut short."""
    text = block.pop("input_json")
    if block["type"] == "tool_use":
        try:
            block["input"] = msgspec.json.decode(text or "{}", type=dict[str, Any])
        except msgspec.MsgspecError:
            return None
    return block
