"""From internal events to Ollama's answers: lines of a stream, or one whole object."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby
from typing import Any, Literal

import msgspec

from intramural.core.chat import (
    ChatEvent,
    Delta,
    Finished,
    Reasoning,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from intramural.core.clock import Clock

#: /api/chat answers with a `message`, /api/generate with a `response`.
Kind = Literal["chat", "generate"]
_NS_PER_MS = 1_000_000


def timestamp(epoch_s: float) -> str:
    """RFC 3339 in UTC: `2026-11-21T09:30:00.123456Z`."""
    second, micros = divmod(round(epoch_s * 1_000_000), 1_000_000)
    return f"{_to_the_second(second)}.{micros:06d}Z"


@lru_cache(maxsize=16)
def _to_the_second(epoch_s: int) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).replace(tzinfo=None).isoformat()


@dataclass(slots=True)
class _Call:
    """A tool call being put together."""

    id: str
    name: str
    text: list[str] = field(default_factory=list)


class Writer:
    """Events → lines. Feed it every event of one request; the last line, with counts and times, comes with `Usage`."""

    def __init__(self, kind: Kind, model: str, clock: Clock) -> None:
        self._kind, self._model, self._clock = kind, model, clock
        self._began_s = clock.monotonic_s()
        self._calls: list[_Call] = []
        self._reason = "stop"

    def lines(self, event: ChatEvent) -> Iterator[dict[str, Any]]:
        """What `event` adds. A tool call is said when it is complete."""
        match event:
            case Delta():
                yield self._line(event.text, logprobs=event.logprobs)
            case Reasoning():
                yield self._line("", thinking=event.text)
            case ToolCallDelta():
                if event.position == len(self._calls):
                    yield from self._complete_call(len(self._calls) - 1)
                    self._calls.append(_Call(event.id or "", event.name or ""))
                self._calls[event.position].text.append(event.arguments)
            case Finished():
                yield from self._complete_call(len(self._calls) - 1)
                self._reason = "length" if event.reason == "length" else "stop"
            case Usage():
                yield self._line("") | {"done": True, "done_reason": self._reason} | self._metrics(event)

    def done(self, reason: Literal["load", "unload"]) -> dict[str, Any]:
        """The answer to a request that only loads or unloads the model."""
        return self._line("") | {"done": True, "done_reason": reason}

    def _line(self, text: str, *, logprobs: Iterable[TokenLogprob] = (), **more: Any) -> dict[str, Any]:
        said: dict[str, Any]
        if self._kind == "chat":
            said = {"message": {"role": "assistant", "content": text, **more}}
        else:
            said = {"response": text, **more}
        if listed := [_logprob(each) for each in logprobs]:
            said["logprobs"] = listed
        return {"model": self._model, "created_at": timestamp(self._clock.now_s()), **said, "done": False}

    def _complete_call(self, position: int) -> Iterator[dict[str, Any]]:
        if position < 0:
            return
        call = self._calls[position]
        text = "".join(call.text)
        arguments = _object(text)
        if arguments is None:  # cut off by the limit of tokens: no call, but not lost
            yield self._line(text)
            return
        function = {"index": position, "name": call.name, "arguments": arguments}
        yield self._line("", tool_calls=[{"id": call.id, "function": function}])

    def _metrics(self, usage: Usage) -> dict[str, int]:
        """Nanoseconds. What passed and was neither reading the prompt nor writing was waiting and loading."""
        worked_ms = usage.prompt_ms + usage.completion_ms
        # The engine counts by its own clock, which may run over ours by a hair.
        total_ms = max((self._clock.monotonic_s() - self._began_s) * 1000, worked_ms)
        return {
            "total_duration": round(total_ms * _NS_PER_MS),
            "load_duration": round((total_ms - worked_ms) * _NS_PER_MS),
            "prompt_eval_count": usage.prompt_tokens,
            "prompt_eval_duration": round(usage.prompt_ms * _NS_PER_MS),
            "eval_count": usage.completion_tokens,
            "eval_duration": round(usage.completion_ms * _NS_PER_MS),
        }


def merged(events: Iterable[ChatEvent]) -> Iterator[ChatEvent]:
    """The events of one answer, with neighbouring pieces of text as one: nobody sees where a whole answer was cut."""
    for kind, group in groupby(events, type):
        pieces: Any = list(group)
        if kind is Delta:
            logprobs = tuple(each for piece in pieces for each in piece.logprobs)
            yield Delta(pieces[0].index, "".join(piece.text for piece in pieces), logprobs)
        elif kind is Reasoning:
            yield Reasoning(pieces[0].index, "".join(piece.text for piece in pieces))
        else:
            yield from pieces


def joined(kind: Kind, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The lines of a stream as the one object that is sent where none was asked for."""
    last = dict(lines[-1])
    logprobs = [entry for line in lines for entry in line.get("logprobs", ())]
    parts = [line["message"] if kind == "chat" else line for line in lines]
    text = "".join(part["content" if kind == "chat" else "response"] for part in parts)
    thinking = "".join(part.get("thinking", "") for part in parts)
    calls = [call for part in parts for call in part.get("tool_calls", ())]
    more: dict[str, Any] = {}
    if thinking:
        more["thinking"] = thinking
    if calls:
        more["tool_calls"] = calls
    if kind == "chat":
        last["message"] = {"role": "assistant", "content": text, **more}
    else:
        last |= {"response": text, **more}
    if logprobs:
        last["logprobs"] = logprobs
    return last


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        return None
    return found if isinstance(found, dict) else None


def _logprob(entry: TokenLogprob) -> dict[str, Any]:
    found = _token(entry)
    if entry.top:
        found["top_logprobs"] = [_token(each) for each in entry.top]
    return found


def _token(entry: TokenLogprob) -> dict[str, Any]:
    return {"token": entry.token, "logprob": entry.logprob, "bytes": list(entry.bytes_)}
