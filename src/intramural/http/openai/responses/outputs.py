"""The items of an output while they are written: each begins with an event, grows by events and is closed by some."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from intramural.core.chat import TokenLogprob, ToolCallDelta
from intramural.http.openai.responses import items

Event = dict[str, Any]


class Writer(Protocol):
    """What an output needs of whoever writes the response."""

    #: Whether thinking is told as a summary.
    summarise: bool
    #: Closes thinking up, where its encrypted form was asked for.
    seal: Callable[[str], str] | None

    def event(self, kind: str, **fields: Any) -> Event:
        """The next event of the stream."""
        ...

    def item_id(self, prefix: str) -> str: ...


class Output:
    """An item of the output that is being written. `item` is replaced, never changed: events hold earlier ones."""

    kind = ""

    def __init__(self, writer: Writer, item: Event) -> None:
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
        self.item = item
        return self._writer.event("response.output_item.done", output_index=self.index, item=item)


class Text(Output):
    """An assistant's message."""

    kind = "message"

    def __init__(self, writer: Writer) -> None:
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
        return [
            self._writer.event(
                "response.output_text.delta",
                item_id=self.item["id"],
                output_index=self.index,
                content_index=0,
                delta=text,
                logprobs=logprobs,
            )
        ]

    def close(self, status: str) -> list[Event]:
        text = "".join(self._said)
        place = {**self._place, "content_index": 0}
        part = items.output_text(text, self._logprobs)
        return [
            self._writer.event("response.output_text.done", **place, text=text, logprobs=self._logprobs),
            self._writer.event("response.content_part.done", **place, part=part),
            self._done({**self.item, "status": status, "content": [part]}),
        ]


class Thought(Output):
    """What the model thinks before it answers: as it is, or in the place of a summary where one was asked for."""

    kind = "reasoning"

    def __init__(self, writer: Writer) -> None:
        made = {"id": writer.item_id("rs"), "type": "reasoning", "status": "in_progress"}
        super().__init__(writer, {**made, "summary": [], "content": []})
        self._summarise = writer.summarise

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
        if self._writer.seal is not None:
            item["encrypted_content"] = self._writer.seal(text)
        return [*told, self._done(item)]

    def _names(self) -> tuple[str, Event]:
        return ("reasoning_summary_text", {"summary_index": 0}) if self._summarise else (
            "reasoning_text", {"content_index": 0}
        )  # fmt: skip


class Call(Output):
    """A call of a tool."""

    kind = "function_call"

    def __init__(self, writer: Writer, first: ToolCallDelta) -> None:
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
        done = self._writer.event("response.function_call_arguments.done", **self._place, arguments=arguments)
        return [done, self._done({**self.item, "status": status, "arguments": arguments})]


def logprob_objects(entries: Iterable[TokenLogprob]) -> list[dict[str, Any]]:
    def one(entry: TokenLogprob) -> dict[str, Any]:
        return {"token": entry.token, "logprob": entry.logprob, "bytes": list(entry.bytes_)}

    return [{**one(entry), "top_logprobs": [one(other) for other in entry.top]} for entry in entries]
