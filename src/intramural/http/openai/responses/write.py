"""From internal events to the Responses API: one object that grows, and the events that tell how.

`ResponseWriter` is fed the answer's events and gives back those of the stream; its `body` is the response object at
every moment. A response that is not streamed is written by the same hand: only its events are thrown away.
"""

import secrets
from collections.abc import Callable
from typing import Any

from intramural.core.chat import ChatEvent, Delta, Finished, Reasoning, ToolCallDelta, Usage
from intramural.core.errors import Broken, IntramuralError, Misasked, Throttled
from intramural.http import errors
from intramural.http.openai.responses import items
from intramural.http.openai.responses.outputs import Call, Event, Output, Text, Thought, logprob_objects
from intramural.http.openai.responses.parse import Settings

#: Deltas with `obfuscation` come in multiples of so many characters.
_PADDED_CHARS = 16
_STATUS_EVENTS = {"completed", "incomplete", "failed", "queued", "in_progress"}


class ResponseWriter:
    """Puts one response together. Read `body` for the whole; every method gives the stream's next events."""

    def __init__(
        self,
        settings: Settings,
        created_s: int,
        now_s: Callable[[], int],
        new_id: items.NewId,
        seal: Callable[[str], str],
    ) -> None:
        self.body: dict[str, Any] = {**settings.head, "created_at": created_s, "output": []}
        self.summarise = settings.summarise
        self.seal = seal if settings.sealed else None
        self._settings = settings
        self._now_s = now_s
        self._new_id = new_id
        self._sequence = 0
        self._open: Output | None = None
        self._cut = False
        self.begun = False
        self.complete = False

    def wait(self) -> list[Event]:
        """It is accepted and waits (a background response's first events)."""
        self.body["status"] = "queued"
        return [self._about("response.created"), self._about("response.queued")]

    def begin(self) -> list[Event]:
        """The model has begun."""
        if self.begun:
            return []
        self.begun = True
        waited = self.body["status"] == "queued"
        self.body["status"] = "in_progress"
        first = [] if waited else [self._about("response.created")]
        return [*first, self._about("response.in_progress")]

    def feed(self, event: ChatEvent) -> list[Event]:
        """What one event of the answer adds."""
        told = self.begin()
        match event:
            case Delta():
                told += self._text(event)
            case Reasoning():
                told += self._within("reasoning", event.text)
            case ToolCallDelta():
                told += self._call(event)
            case Finished():
                self._cut = event.reason == "length"
            case Usage():
                self.body["usage"] = usage_object(event)
        return told

    def finish(self) -> list[Event]:
        """The answer is complete, or was cut at the limit that was asked for."""
        told = self.begin()
        if not self.body["output"]:
            told += self._start(Text(self))
        told += self._close(cut=self._cut)
        self.complete = True
        if self._cut:
            self.body["incomplete_details"] = {"reason": "max_output_tokens"}
        return [*told, self._end("incomplete" if self._cut else "completed")]

    def fail(self, error: IntramuralError) -> list[Event]:
        """It broke off: an `error` event, and the response as far as it came."""
        told = self.begin() + self._close(cut=True)
        self.body["error"] = made = error_object(error)
        told.append(self.event("error", code=error.code, message=made["message"], param=made["param"]))
        return [*told, self._end("failed")]

    def cancel(self) -> list[Event]:
        """Somebody ended it. The specification has no event of its own for that: the object in the last says it."""
        told = self._close(cut=True)
        self._end("cancelled")
        return [*told, self._about("response.incomplete")]

    def interrupted(self) -> dict[str, Any]:
        """The object as it is left where the service ends before the answer does."""
        error = Broken("interrupted", "The service ended while this response was being written.", "Ask again.")
        return {**self.body, "status": "failed", "error": error_object(error)}

    def event(self, kind: str, **fields: Any) -> Event:
        """The next event of the stream."""
        made = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        if self._settings.obfuscate and "delta" in made:
            made["obfuscation"] = _padding(len(made["delta"]))
        return made

    def item_id(self, prefix: str) -> str:
        return self._new_id(prefix)

    def _about(self, kind: str) -> Event:
        # A copy: what has been told must not change when the response goes on.
        return self.event(kind, response={**self.body, "output": list(self.body["output"])})

    def _end(self, status: str) -> Event:
        self.body["status"] = status
        if status == "completed":
            self.body["completed_at"] = self._now_s()
        return self._about(f"response.{status}") if status in _STATUS_EVENTS else {}

    def _text(self, event: Delta) -> list[Event]:
        if not event.text and not event.logprobs:
            return []
        logprobs = logprob_objects(event.logprobs) if self._settings.logprobs else []
        return self._within("message", event.text, logprobs)

    def _within(self, kind: str, text: str, logprobs: list[Event] | None = None) -> list[Event]:
        told: list[Event] = []
        if self._open is None or self._open.kind != kind:
            told += self._close(cut=False)
            told += self._start(Text(self) if kind == "message" else Thought(self))
        assert self._open is not None
        return told + self._open.more(text, logprobs or [])

    def _call(self, event: ToolCallDelta) -> list[Event]:
        told: list[Event] = []
        if not isinstance(self._open, Call) or self._open.position != event.position:
            told += self._close(cut=False)
            told += self._start(Call(self, event))
        assert self._open is not None
        return told + self._open.more(event.arguments, [])

    def _start(self, item: Output) -> list[Event]:
        self._open = item
        item.index = len(self.body["output"])
        self.body["output"].append(item.item)
        return item.start()

    def _close(self, *, cut: bool) -> list[Event]:
        if self._open is None:
            return []
        item, self._open = self._open, None
        told = item.close("incomplete" if cut else "completed")
        self.body["output"][item.index] = item.item
        return told


def usage_object(usage: Usage) -> dict[str, Any]:
    """`cache_write_tokens` is a matter of billing elsewhere: here nothing is written that would cost."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def error_object(error: IntramuralError) -> dict[str, Any]:
    """A response's `error`. The specification knows few codes; ours is in `type`."""
    code = "server_error"
    if isinstance(error, Throttled):
        code = "rate_limit_exceeded"
    elif isinstance(error, Misasked):
        code = "invalid_prompt"
    told = errors.openai_body(error, errors.RESPONSE_NAMES)["error"]
    return {"code": code, "message": told["message"], "type": error.code, "param": told["param"]}


def _padding(size: int) -> str:
    """Chance characters that hide how long a delta is."""
    return secrets.token_hex(_PADDED_CHARS)[: _PADDED_CHARS - size % _PADDED_CHARS]
