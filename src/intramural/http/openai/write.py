"""From internal events to OpenAI's answers: whole objects and stream chunks."""

import base64
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from intramural.core.chat import (
    ChatEvent,
    ChatRequest,
    Delta,
    Embeddings,
    Finished,
    FinishReason,
    Reasoning,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from intramural.http.openai import functions


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
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


class Form(msgspec.Struct, frozen=True):
    """What the answer to one request looks like. `fingerprint` of what computes it; `old_calls`: as `functions` do."""

    asked: ChatRequest
    created_s: int
    fingerprint: str | None = None
    old_calls: bool = False
    with_usage: bool = False

    def head(self, object_: str) -> dict[str, Any]:
        """What every object and chunk begins with."""
        head = {
            "id": f"chatcmpl-{self.asked.id}",
            "object": object_,
            "created": self.created_s,
            "model": self.asked.model,
            "service_tier": "default",
        }
        return head if self.fingerprint is None else {**head, "system_fingerprint": self.fingerprint}


def chat_completion(form: Form, choices: list[Choice], usage: Usage) -> dict[str, Any]:
    """A whole `chat.completion`."""
    logprobs = form.asked.sampling.logprobs
    return {
        **form.head("chat.completion"),
        "choices": [
            {
                "index": i,
                "message": functions.answered(_message(choice)) if form.old_calls else _message(choice),
                "logprobs": _chat_logprobs(choice.logprobs) if logprobs else None,
                "finish_reason": functions.finish_reason(choice.finish) if form.old_calls else choice.finish,
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
    """Events → `chat.completion.chunk` objects. The first chunk of each choice carries the role and nothing else."""

    def __init__(self, form: Form) -> None:
        self._head = form.head("chat.completion.chunk")
        self._tail: dict[str, Any] = {"usage": None} if form.with_usage else {}
        self._logprobs = form.asked.sampling.logprobs
        self._old_calls = form.old_calls
        self._begun: set[int] = set()

    def opening(self, event: Delta | Reasoning | ToolCallDelta | Finished) -> dict[str, Any] | None:
        """What stands before the chunk of `event`, if it is the first of its choice: who speaks, as OpenAI has it."""
        if event.index in self._begun:
            return None
        self._begun.add(event.index)
        text = None if isinstance(event, ToolCallDelta) else ""
        delta = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": event.index, "delta": delta, "logprobs": None, "finish_reason": None}
        return {**self._head, "choices": [choice], **self._tail}

    def chunk(self, event: Delta | Reasoning | ToolCallDelta | Finished) -> dict[str, Any]:
        """The chunk of one event (if usage was asked for, it is null in every chunk before the last)."""
        delta = self._delta(event)
        logprobs = None
        if self._logprobs and isinstance(event, Delta) and event.logprobs:
            logprobs = _chat_logprobs(event.logprobs)
        finish: str | None = event.reason if isinstance(event, Finished) else None
        if self._old_calls:
            delta, finish = functions.answered(delta), functions.finish_reason(finish)
        choice = {"index": event.index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return {**self._head, "choices": [choice], **self._tail}

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


def text_head(form: Form) -> dict[str, Any]:
    """What every text completion and chunk begins with."""
    head = {
        "id": f"cmpl-{form.asked.id}",
        "object": "text_completion",
        "created": form.created_s,
        "model": form.asked.model,
    }
    return head if form.fingerprint is None else {**head, "system_fingerprint": form.fingerprint}


class TextWriter:
    """Events → `text_completion` chunks; knows how far each choice's text has come."""

    def __init__(self, form: Form) -> None:
        self._head = text_head(form)
        self._tail: dict[str, Any] = {"usage": None} if form.with_usage else {}
        self._logprobs = form.asked.sampling.logprobs
        self._offsets: dict[int, int] = {}

    def chunks(self, event: Delta | Finished, prefix: str) -> Iterable[dict[str, Any]]:
        """The chunk of one event, and before a choice's first one that of its echoed `prefix`, if there is one."""
        if event.index not in self._offsets:
            self._offsets[event.index] = 0
            if prefix:
                yield self._chunk(Delta(event.index, prefix))
        yield self._chunk(event)

    def usage_chunk(self, usage: Usage) -> dict[str, Any]:
        """The last chunk: no choices, the usage."""
        return {**self._head, "choices": [], "usage": usage_object(usage)}

    def _chunk(self, event: Delta | Finished) -> dict[str, Any]:
        text, entries = (event.text, event.logprobs) if isinstance(event, Delta) else ("", ())
        offset = self._offsets[event.index]
        self._offsets[event.index] = offset + len(text)
        choice = {
            "index": event.index,
            "text": text,
            "logprobs": _text_logprobs(entries, offset) if self._logprobs and entries else None,
            "finish_reason": event.reason if isinstance(event, Finished) else None,
        }
        return {**self._head, "choices": [choice], **self._tail}


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
