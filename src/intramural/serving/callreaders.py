"""From what a model with tools writes to text and calls: readers for answers held to a document, and for free ones.

A call is handed over once it is whole and fits its tool's schema, so that a client never holds half a call.
"""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from intramural.core.chat import ChatEvent, Delta, Finished, Tool, ToolCallDelta
from intramural.serving.calls import Call, CallsInText, loads
from intramural.serving.exchange import worker_garbage
from intramural.serving.fits import fits
from intramural.serving.jsontext import Item, JsonText, NotJson, sendable
from intramural.serving.schema import mend

#: The member of a document that holds words for the person.
RESPONSE = "response"
_PYTHON_WORDS = {"True": "true", "False": "false", "None": "null"}


class CallReader:
    """Reads one choice's document, {"response": …} or {"tool_calls": […]}, while it is written.

    Feed it the choice's events; `over` says that the rest does not matter. A call that says the very same as one
    before it is left out, unless `repeats`: where a list has to be written, small models repeat themselves in it.
    """

    def __init__(
        self, index: int, tools: Mapping[str, Tool], new_id: Callable[[], str], *, repeats: bool = False
    ) -> None:
        self.over = False
        self._index = index
        self._tools = tools
        self._new_id = new_id
        self._document = JsonText()
        self._repeats = repeats
        self._made: list[tuple[str, str]] = []

    def feed(self, event: ChatEvent) -> list[ChatEvent]:
        """The events that `event` stands for. Raises Broken(`worker_garbage`) if the engine left the schema."""
        if isinstance(event, Delta):
            return self._text(event.text)
        if isinstance(event, Finished):
            return self._finish(event)
        return [event]

    def _text(self, text: str) -> list[ChatEvent]:
        events: list[ChatEvent] = []
        try:
            for fact in self._document.feed(text):
                if isinstance(fact, Item) and fact.member == RESPONSE:
                    events.append(Delta(self._index, sendable(fact.value)))
                elif isinstance(fact, Item):
                    events += self._call(fact.value)
                elif fact.member == RESPONSE:
                    events.append(Delta(self._index, fact.text))
        except NotJson as error:
            raise worker_garbage("an answer outside its schema") from error
        return events

    def _call(self, value: Any) -> list[ChatEvent]:
        tool = self._tools.get(str(value.get("name"))) if isinstance(value, dict) else None
        if tool is None:
            raise worker_garbage("a call of a tool that is not there")
        arguments = mend(value.get("arguments"), tool.parameters, tool.parameters)
        text = sendable(arguments)
        if (tool.name, text) in self._made and not self._repeats:
            return []
        self._made.append((tool.name, text))
        return [ToolCallDelta(self._index, len(self._made) - 1, text, id=self._new_id(), name=tool.name)]

    def _finish(self, event: Finished) -> list[ChatEvent]:
        if event.reason != "length" and not self._document.complete:
            raise worker_garbage("an answer outside its schema")
        reason = "tool_calls" if self._made and event.reason != "length" else event.reason
        return [Finished(self._index, reason)]


class FreeReader:
    """Reads one choice's own words, and the calls that the engine found in them.

    `made` are the calls so far: the tool and the arguments, None if they do not fit. Where one does not, the end is
    held back in `finish` until it has been asked for again. At most `limit` calls are taken.
    """

    def __init__(self, index: int, tools: Mapping[str, Tool], new_id: Callable[[], str], limit: int) -> None:
        self.over = False
        self.made: list[tuple[Tool, dict[str, Any] | None]] = []
        self.finish: Finished | None = None
        self._index = index
        self._tools = tools
        self._new_id = new_id
        self._limit = limit
        self._words = CallsInText(tools)
        self._found: ToolCallDelta | None = None  # by the engine, not yet whole

    def feed(self, event: ChatEvent) -> list[ChatEvent]:
        """The events that `event` stands for."""
        if isinstance(event, Delta):
            return [*self._whole(), *self._said(self._words.feed(event.text))]
        if isinstance(event, ToolCallDelta):
            return self._more(event)
        if isinstance(event, Finished):
            return self._end(event)
        return [event]

    def _said(self, parts: list[str | Call]) -> list[ChatEvent]:
        events: list[ChatEvent] = []
        for part in parts:
            if isinstance(part, str):
                events.append(Delta(self._index, part))
            else:
                events += self._made(self._tools[part.name], part.arguments)
        return events

    def _more(self, event: ToolCallDelta) -> list[ChatEvent]:
        found = self._found
        if found is not None and found.position == event.position:
            self._found = replace(found, arguments=found.arguments + event.arguments)
            return []
        whole = self._whole()
        self._found = event
        return whole

    def _whole(self) -> list[ChatEvent]:
        """The call that the engine found, now that something else follows."""
        found, self._found = self._found, None
        if found is None:
            return []
        tool = self._tools.get(found.name or "")
        if tool is None:
            return [Delta(self._index, found.arguments)]  # a tool that is not there: words
        return self._made(tool, loads(found.arguments or "{}"))

    def _made(self, tool: Tool, arguments: Any) -> list[ChatEvent]:
        if len(self.made) == self._limit:
            return []
        value = mend(adapted(arguments, tool.parameters), tool.parameters, tool.parameters)
        if not isinstance(value, dict) or not fits(value, tool.parameters, tool.parameters):
            self.made.append((tool, None))
            return []
        self.made.append((tool, value))
        text = sendable(value)
        return [ToolCallDelta(self._index, len(self.made) - 1, text, id=self._new_id(), name=tool.name)]

    def _end(self, event: Finished) -> list[ChatEvent]:
        events = [*self._whole(), *self._said(self._words.end())]
        if event.reason == "length":
            return [*events, event]  # a call that is cut off was not meant so
        if not self.made:
            return [*events, replace(event, reason="stop")]
        finish = Finished(self._index, "tool_calls")
        if all(arguments is not None for _, arguments in self.made):
            return [*events, finish]
        self.finish = finish
        return events


def adapted(arguments: Any, schema: Mapping[str, Any]) -> Any:
    """`arguments` with what is only worded differently put right: "3" for 3, 3.0 for 3, members that may not be."""
    known = schema.get("properties")
    if not isinstance(arguments, dict) or not isinstance(known, Mapping):
        return arguments
    closed = schema.get("additionalProperties") is False
    return {name: _adapted(value, known.get(name)) for name, value in arguments.items() if name in known or not closed}


def _adapted(value: Any, schema: Any) -> Any:
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    if isinstance(value, str) and kind is not None and kind != "string":
        if isinstance(kind, list) and "string" in kind:
            return value
        meant = loads(_PYTHON_WORDS.get(value, value))
        return value if meant is None and value not in ("null", "None") else _adapted(meant, schema)
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value
