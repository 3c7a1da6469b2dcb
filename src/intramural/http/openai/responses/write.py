"""From internal events to the Responses API: one object that grows, and the events that tell how.

`ResponseWriter` is fed the answer's events and gives back those of the stream; its `body` is the response object at
every moment. A response that is not streamed is written by the same hand: only its events are thrown away.
"""

import secrets
from collections.abc import Callable, Iterable
from typing import Any

from intramural.core.chat import ChatEvent, Delta, Finished, Reasoning, TokenLogprob, ToolCallDelta, Usage
from intramural.core.errors import IntramuralError, Misasked, Throttled
from intramural.http.openai.responses import items
from intramural.http.openai.responses.parse import Settings

Event = dict[str, Any]
#: Deltas with `obfuscation` come in multiples of so many characters.
_PADDED_CHARS = 16
_STATUS_EVENTS = {"completed", "incomplete", "failed", "queued", "in_progress"}


class ResponseWriter:
    """Puts one response together. Read `body` for the whole; every method gives the stream's next events."""

    def __init__(self, settings: Settings, created_s: int, now_s: Callable[[], int], new_id: items.NewId) -> None:
        self.body: dict[str, Any] = {**settings.head, "created_at": created_s, "output": []}
        self._settings = settings
        self._now_s = now_s
        self._new_id = new_id
        self._sequence = 0
        self._open: _Open | None = None
        self._cut = False
        self.begun = False

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
            told += self._start(_Text(self))
        told += self._close(cut=self._cut)
        if self._cut:
            self.body["incomplete_details"] = {"reason": "max_output_tokens"}
        return [*told, self._end("incomplete" if self._cut else "completed")]

    def fail(self, error: IntramuralError) -> list[Event]:
        """It broke off: an `error` event, and the response as far as it came."""
        told = self.begin() + self._close(cut=True)
        self.body["error"] = error_object(error)
        message = f"{error.message} {error.hint}".strip()
        told.append(self.event("error", code=error.code, message=message, param=error.param))
        return [*told, self._end("failed")]

    def cancel(self) -> list[Event]:
        """Somebody ended it. The specification has no event of its own for that: the object in the last says it."""
        told = self._close(cut=True)
        self._end("cancelled")
        return [*told, self._about("response.incomplete")]

    def event(self, kind: str, **fields: Any) -> Event:
        """The next event of the stream."""
        made = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        if self._settings.obfuscate and "delta" in made:
            made["obfuscation"] = _padding(len(made["delta"]))
        return made

    def item_id(self, prefix: str) -> str:
        return self._new_id(prefix)

    @property
    def settings(self) -> Settings:
        return self._settings

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
            told += self._start(_Text(self) if kind == "message" else _Thought(self))
        assert self._open is not None
        return told + self._open.more(text, logprobs or [])

    def _call(self, event: ToolCallDelta) -> list[Event]:
        told: list[Event] = []
        if not isinstance(self._open, _Call) or self._open.position != event.position:
            told += self._close(cut=False)
            told += self._start(_Call(self, event))
        assert self._open is not None
        return told + self._open.more(event.arguments, [])

    def _start(self, item: "_Open") -> list[Event]:
        self._open = item
        item.index = len(self.body["output"])
        self.body["output"].append(item.item)
        return item.start()

    def _close(self, *, cut: bool) -> list[Event]:
        if self._open is None:
            return []
        item, self._open = self._open, None
        return item.close("incomplete" if cut else "completed")


class _Open:
    """An item of the output that is being written. `item` is replaced, never changed: events hold earlier ones."""

    kind = ""

    def __init__(self, writer: ResponseWriter, item: Event) -> None:
        self._writer = writer
        self.item = item
        self.index = 0
        self._said: list[str] = []

    def start(self) -> list[Event]:
        return [self._writer.event("response.output_item.added", output_index=self.index, item=self.item)]

    def more(self, text: str, logprobs: list[Event]) -> list[Event]:
        raise NotImplementedError

    def close(self, status: str) -> list[Event]:
        raise NotImplementedError

    @property
    def _place(self) -> Event:
        return {"item_id": self.item["id"], "output_index": self.index}

    def _done(self, item: Event) -> Event:
        self.item = self._writer.body["output"][self.index] = item
        return self._writer.event("response.output_item.done", output_index=self.index, item=item)


class _Text(_Open):
    """An assistant's message."""

    kind = "message"

    def __init__(self, writer: ResponseWriter) -> None:
        made = {"id": writer.item_id("msg"), "type": "message", "role": "assistant", "status": "in_progress"}
        super().__init__(writer, {**made, "content": []})
        self._logprobs: list[Event] = []

    def start(self) -> list[Event]:
        told = super().start()
        part = items.output_text("")
        return [*told, self._writer.event("response.content_part.added", **self._place, content_index=0, part=part)]

    def more(self, text: str, logprobs: list[Event]) -> list[Event]:
        self._said.append(text)
        self._logprobs += logprobs
        place = {**self._place, "content_index": 0}
        return [self._writer.event("response.output_text.delta", **place, delta=text, logprobs=logprobs)]

    def close(self, status: str) -> list[Event]:
        text = "".join(self._said)
        place = {**self._place, "content_index": 0}
        part = items.output_text(text, self._logprobs)
        return [
            self._writer.event("response.output_text.done", **place, text=text, logprobs=self._logprobs),
            self._writer.event("response.content_part.done", **place, part=part),
            self._done({**self.item, "status": status, "content": [part]}),
        ]


class _Thought(_Open):
    """What the model thinks before it answers: as it is, or in the place of a summary where one was asked for."""

    kind = "reasoning"

    def __init__(self, writer: ResponseWriter) -> None:
        made = {"id": writer.item_id("rs"), "type": "reasoning", "status": "in_progress"}
        super().__init__(writer, {**made, "summary": [], "content": []})
        self._summarise = writer.settings.summarise

    def start(self) -> list[Event]:
        told = super().start()
        if self._summarise:
            part = {"type": "summary_text", "text": ""}
            added = self._writer.event(
                "response.reasoning_summary_part.added", **self._place, summary_index=0, part=part
            )
        else:
            part = {"type": "reasoning_text", "text": ""}
            added = self._writer.event("response.content_part.added", **self._place, content_index=0, part=part)
        return [*told, added]

    def more(self, text: str, logprobs: list[Event]) -> list[Event]:
        self._said.append(text)
        kind, index = self._names()
        return [self._writer.event(f"response.{kind}.delta", **self._place, **index, delta=text)]

    def close(self, status: str) -> list[Event]:
        text = "".join(self._said)
        kind, index = self._names()
        place = {**self._place, **index}
        told = [self._writer.event(f"response.{kind}.done", **place, text=text)]
        if self._summarise:
            part = {"type": "summary_text", "text": text}
            told.append(self._writer.event("response.reasoning_summary_part.done", **place, part=part))
            item = {**self.item, "status": status, "summary": [part]}
        else:
            part = {"type": "reasoning_text", "text": text}
            told.append(self._writer.event("response.content_part.done", **place, part=part))
            item = {**self.item, "status": status, "content": [part]}
        return [*told, self._done(item)]

    def _names(self) -> tuple[str, Event]:
        return ("reasoning_summary_text", {"summary_index": 0}) if self._summarise else (
            "reasoning_text", {"content_index": 0}
        )  # fmt: skip


class _Call(_Open):
    """A call of a tool."""

    kind = "function_call"

    def __init__(self, writer: ResponseWriter, first: ToolCallDelta) -> None:
        call_id, name = first.id or writer.item_id("call"), first.name or ""
        super().__init__(writer, items.function_call(writer.item_id("fc"), call_id, name, "", "in_progress"))
        self.position = first.position

    def more(self, text: str, logprobs: list[Event]) -> list[Event]:
        if not text:
            return []
        self._said.append(text)
        return [self._writer.event("response.function_call_arguments.delta", **self._place, delta=text)]

    def close(self, status: str) -> list[Event]:
        arguments = "".join(self._said)
        done = self._writer.event(
            "response.function_call_arguments.done", **self._place, arguments=arguments, name=self.item["name"]
        )
        return [done, self._done({**self.item, "status": status, "arguments": arguments})]


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
    return {"code": code, "message": f"{error.message} {error.hint}".strip(), "type": error.code, "param": error.param}


def logprob_objects(entries: Iterable[TokenLogprob]) -> list[dict[str, Any]]:
    def one(entry: TokenLogprob) -> dict[str, Any]:
        return {"token": entry.token, "logprob": entry.logprob, "bytes": list(entry.bytes_)}

    return [{**one(entry), "top_logprobs": [one(other) for other in entry.top]} for entry in entries]


def _padding(size: int) -> str:
    """Chance characters that hide how long a delta is."""
    return secrets.token_hex(_PADDED_CHARS)[: _PADDED_CHARS - size % _PADDED_CHARS]
