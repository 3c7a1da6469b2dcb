"""An answer that is held to a schema, on its way out: whatever constrained its writing, it fits or it is an error.

Where the engine enforces all of the schema, text goes out as it comes. Where it does not know a keyword (it has two
compilers; see `request.build`), the whole answer is held back and put right first.
"""

import json
from collections.abc import Mapping
from typing import Any

from intramural.core.chat import ChatEvent, Delta, Finished, JsonSchema
from intramural.core.errors import Broken, Misasked
from intramural.serving.fits import fits
from intramural.serving.schema import mend

#: How a JSON value can begin.
_BEGINNINGS = frozenset('{["-0123456789tfn')
#: Keywords that the engine's own compiler does not know for every type.
_MENDED = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "uniqueItems"})


def left_schema() -> Broken:
    """The engine wrote something else than it was held to. The worker is not to blame: it may be the schema."""
    return Broken(
        "answer_outside_schema",
        "The answer left the schema it was held to.",
        "Send the request again; if it persists, simplify the schema.",
    )


def not_enforced(param: str) -> Misasked:
    """The engine took the schema and then did not hold to it."""
    return Misasked(
        "invalid_schema", "The engine cannot enforce this JSON schema.", "Simplify its patterns.", param=param
    )


def needs_mending(schema: Any) -> bool:
    """Whether a value of `schema` may have to be put right after the engine's own compiler held it to it."""
    if isinstance(schema, Mapping):
        return any(word in _MENDED or needs_mending(part) for word, part in schema.items())
    return isinstance(schema, list | tuple) and any(needs_mending(part) for part in schema)


class FormattedReader:
    """Reads one choice's answer. Feed it the choice's events; `held`: nothing goes out before the whole is right."""

    def __init__(self, index: int, schema: JsonSchema, *, held: bool) -> None:
        self.over = False
        self._index = index
        self._schema = schema
        self._held = held
        self._begun = False
        self._deltas: list[Delta] = []

    def feed(self, event: ChatEvent) -> list[ChatEvent]:
        """The events that may go out. Raises Broken(`answer_outside_schema`), Misasked(`invalid_schema`)."""
        if isinstance(event, Finished):
            return [*self._rest(event), event]
        if not isinstance(event, Delta):
            return [event]
        if not self._begun and (text := event.text.strip()):
            self._begun = True
            if text[0] not in _BEGINNINGS:
                raise not_enforced("response_format")
        self._deltas.append(event)
        return [] if self._held else [event]

    def _rest(self, end: Finished) -> list[ChatEvent]:
        shown: list[ChatEvent] = list(self._deltas) if self._held else []
        if end.reason == "length":
            return shown  # cut off: nobody can make it fit
        try:
            value = json.loads("".join(delta.text for delta in self._deltas))
        except ValueError:
            raise left_schema() from None
        mended = mend(value, self._schema, self._schema) if self._held else value
        if not fits(mended, self._schema, self._schema):
            raise left_schema()
        if mended == value:
            return shown
        return [Delta(self._index, json.dumps(mended, ensure_ascii=False))]
