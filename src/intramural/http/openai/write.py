"""From internal events to OpenAI's answers: whole objects and stream chunks."""

import base64
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from intramural.core.chat import (
    ChatEvent,
    Delta,
    Embeddings,
    Finished,
    FinishReason,
    Reasoning,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)


@dataclass(slots=True)
class Choice:
    """One answer being put together."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish: FinishReason | None = None

    def add(self, event: Delta | Reasoning | ToolCallDelta | Finished) -> None:
        match event:
            case Delta():
                self.text.append(event.text)
                self.logprobs.extend(event.logprobs)
            case Reasoning():
                self.reasoning.append(event.text)
            case ToolCallDelta():
                if event.position == len(self.calls):
                    function = {"name": event.name or "", "arguments": ""}
                    self.calls.append({"id": event.id or "", "type": "function", "function": function})
                self.calls[event.position]["function"]["arguments"] += event.arguments
            case Finished():
                self.finish = event.reason


def collect(events: Iterable[ChatEvent], choices: int) -> tuple[list[Choice], Usage]:
    """All events of one request, put together: one Choice per answer, and the usage."""
    answers = [Choice() for _ in range(choices)]
    usage = Usage(0, 0)
    for event in events:
        if isinstance(event, Usage):
            usage = event
        else:
            answers[event.index].add(event)
    return answers, usage


def usage_object(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def chat_completion(
    request_id: str, model: str, created_s: int, choices: list[Choice], usage: Usage, *, logprobs: bool
) -> dict[str, Any]:
    """A whole `chat.completion`."""
    return {
        "id": f"chatcmpl-{request_id}",
        "object": "chat.completion",
        "created": created_s,
        "model": model,
        "choices": [
            {
                "index": i,
                "message": _message(choice),
                "logprobs": _chat_logprobs(choice.logprobs) if logprobs else None,
                "finish_reason": choice.finish,
            }
            for i, choice in enumerate(choices)
        ],
        "usage": usage_object(usage),
    }


def _message(choice: Choice) -> dict[str, Any]:
    text = "".join(choice.text)
    message: dict[str, Any] = {"role": "assistant", "content": text or None if choice.calls else text, "refusal": None}
    if choice.calls:
        message["tool_calls"] = choice.calls
    if choice.reasoning:
        message["reasoning"] = message["reasoning_content"] = "".join(choice.reasoning)
    return message


class ChunkWriter:
    """Events → `chat.completion.chunk` objects. The first chunk of each choice carries the role."""

    def __init__(self, request_id: str, model: str, created_s: int, *, logprobs: bool) -> None:
        self._head = {
            "id": f"chatcmpl-{request_id}",
            "object": "chat.completion.chunk",
            "created": created_s,
            "model": model,
        }
        self._logprobs = logprobs
        self._begun: set[int] = set()

    def chunk(self, event: Delta | Reasoning | ToolCallDelta | Finished) -> dict[str, Any]:
        """The chunk of one event (`usage` is null, as the specification wants it before the last chunk)."""
        delta = self._delta(event)
        if event.index not in self._begun:
            self._begun.add(event.index)
            delta = {"role": "assistant", **delta}
        logprobs = None
        if self._logprobs and isinstance(event, Delta) and event.logprobs:
            logprobs = _chat_logprobs(event.logprobs)
        finish = event.reason if isinstance(event, Finished) else None
        choice = {"index": event.index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return {**self._head, "choices": [choice]}

    def usage_chunk(self, usage: Usage) -> dict[str, Any]:
        """The last chunk: no choices, the usage."""
        return {**self._head, "choices": [], "usage": usage_object(usage)}

    def _delta(self, event: Delta | Reasoning | ToolCallDelta | Finished) -> dict[str, Any]:
        match event:
            case Delta():
                return {"content": event.text}
            case Reasoning():
                return {"reasoning": event.text, "reasoning_content": event.text}
            case ToolCallDelta():
                function: dict[str, Any] = {"arguments": event.arguments}
                call: dict[str, Any] = {"index": event.position, "function": function}
                if event.id is not None:
                    call |= {"id": event.id, "type": "function"}
                    function["name"] = event.name
                return {"tool_calls": [call]}
            case Finished():
                return {}


def _chat_logprobs(entries: Iterable[TokenLogprob]) -> dict[str, Any]:
    def one(entry: TokenLogprob) -> dict[str, Any]:
        return {"token": entry.token, "logprob": entry.logprob, "bytes": list(entry.bytes_)}

    return {"content": [{**one(e), "top_logprobs": [one(t) for t in e.top]} for e in entries], "refusal": None}


def text_choice(index: int, choice: Choice, *, prefix: str, logprobs: bool) -> dict[str, Any]:
    """One choice of a (legacy) text completion; `prefix` is the echoed prompt."""
    return {
        "index": index,
        "text": prefix + "".join(choice.text),
        "logprobs": _text_logprobs(choice.logprobs, 0) if logprobs else None,
        "finish_reason": choice.finish,
    }


def text_completion(
    request_id: str, model: str, created_s: int, choices: list[dict[str, Any]], usage: Usage
) -> dict[str, Any]:
    """A whole `text_completion`."""
    head = text_head(request_id, model, created_s)
    return {**head, "choices": choices, "usage": usage_object(usage)}


def text_head(request_id: str, model: str, created_s: int) -> dict[str, Any]:
    return {"id": f"cmpl-{request_id}", "object": "text_completion", "created": created_s, "model": model}


def text_chunk_choice(event: Delta | Finished, offset: int, *, logprobs: bool) -> dict[str, Any]:
    """One choice of a text completion chunk; `offset` is where its text starts in the whole, in characters."""
    text = event.text if isinstance(event, Delta) else ""
    entries = event.logprobs if isinstance(event, Delta) else ()
    return {
        "index": event.index,
        "text": text,
        "logprobs": _text_logprobs(entries, offset) if logprobs and entries else None,
        "finish_reason": event.reason if isinstance(event, Finished) else None,
    }


def _text_logprobs(entries: Iterable[TokenLogprob], offset: int) -> dict[str, Any]:
    tokens, values, tops, offsets = [], [], [], []
    for entry in entries:
        tokens.append(entry.token)
        values.append(entry.logprob)
        tops.append({t.token: t.logprob for t in entry.top})
        offsets.append(offset)
        offset += len(entry.token)
    return {"tokens": tokens, "token_logprobs": values, "top_logprobs": tops, "text_offset": offsets}


def embedding_list(model: str, result: Embeddings, *, as_base64: bool) -> dict[str, Any]:
    """The answer to an embedding request; base64 means little-endian 32-bit floats."""
    return {
        "object": "list",
        "model": model,
        "data": [
            {"object": "embedding", "index": i, "embedding": _packed(vector) if as_base64 else list(vector)}
            for i, vector in enumerate(result.vectors)
        ],
        "usage": {"prompt_tokens": result.prompt_tokens, "total_tokens": result.prompt_tokens},
    }


def _packed(vector: tuple[float, ...]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
