"""An answer that is held to a schema: how it is asked for, and that it fits on its way out, or is an error.

The engine has two compilers of schemas. The exact one enforces all that `supported` lets through, and text goes out as
it comes; but it would hold a model's thinking to the schema too, and lets the digits of some numbers go on for ever
(`schema.is_exact`). The other knows no ranges of decimals: such an answer is held back whole, and put right first.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from msgspec import structs

from intramural.core.chat import ChatEvent, Delta, Finished, JsonSchema, ResponseFormat
from intramural.core.errors import Broken, Misasked
from intramural.serving.fits import fits
from intramural.serving.jsontext import sendable
from intramural.serving.request import check_schema
from intramural.serving.schema import Bounds, enforceable, is_exact, mend
from intramural.serving.supported import check as check_supported

_SMALL = Bounds(string_chars=2048, items=32, calls=1, members=6, decimals=6)
_LEAST_CHARS = 64
_LARGE = Bounds(string_chars=16384, items=256, calls=1)
#: How a JSON value can begin.
_BEGINNINGS = frozenset('{["-0123456789tfn')
#: What may be left at the end of JSON that was cut off: of words, and of numbers.
_CUT_WORDS = ("true", "false", "null", "-", ".", "e+", "e-", "E+", "E-")
_ESCAPE_CHARS = len("uXXXX")
#: Keywords that the engine's own compiler does not know for every type.
_MENDED = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})


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
        if "multipleOf" in schema or (schema.get("type") != "integer" and not _MENDED.isdisjoint(schema)):
            return True
        return any(needs_mending(part) for part in schema.values())
    return isinstance(schema, list | tuple) and any(needs_mending(part) for part in schema)


def check(wanted: ResponseFormat) -> None:
    """Raises Misasked(`schema_too_large`, `unsupported_schema`, `invalid_schema`) for what no answer can be held to."""
    if wanted.kind == "json_schema":
        check_schema(wanted.schema or {}, "response_format")
        check_supported(wanted.schema or {}, "response_format")


def narrowed(wanted: ResponseFormat, *, small: bool, max_tokens: int | None = None) -> ResponseFormat:
    """What the engine is asked for; `wanted` passed `check`.

    `small`: the model rambles where a schema leaves room; then a text has no more characters than there are tokens.
    """
    if wanted.kind != "json_schema":
        return wanted
    schema, bounds = wanted.schema or {"type": "object"}, _SMALL if small else _LARGE
    if small and max_tokens is not None:
        bounds = replace(bounds, string_chars=min(bounds.string_chars, max(max_tokens, _LEAST_CHARS)))
    if not _holds_itself(schema):
        return structs.replace(wanted, schema=enforceable(schema, bounds, "#"))
    inner = enforceable(schema, bounds, "#/$defs/answer")  # the engine knows no reference to the whole
    return structs.replace(wanted, schema={"$ref": "#/$defs/answer", "$defs": {"answer": inner}})


def _holds_itself(schema: Any) -> bool:
    if isinstance(schema, Mapping):
        return schema.get("$ref") == "#" or any(map(_holds_itself, schema.values()))
    return isinstance(schema, list | tuple) and any(map(_holds_itself, schema))


def exactly(asked: ResponseFormat, *, small: bool) -> bool:
    """Whether the exact compiler is the one for `asked`, where nothing is thought before the answer."""
    return asked.kind == "json_schema" and is_exact(asked.schema or {}, digits_end=small)


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
        if end.reason == "tool_calls" and not self._deltas:
            return shown
        text = "".join(delta.text for delta in self._deltas)
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            if end.reason == "length" and _is_cut(error):
                return shown  # nobody can make it fit
            raise left_schema() from None
        mended = mend(value, self._schema, self._schema) if self._held else value
        if not fits(mended, self._schema, self._schema):
            raise left_schema()
        if mended == value:
            return shown
        return [Delta(self._index, sendable(mended))]


def _is_cut(error: json.JSONDecodeError) -> bool:
    """Whether what could not be read is the beginning of JSON."""
    rest = error.doc[error.pos :].strip()
    if error.msg.startswith("Unterminated string"):
        return True
    if error.msg.startswith("Invalid \\uXXXX"):
        return len(rest) <= _ESCAPE_CHARS
    return not rest or any(word.startswith(rest) for word in _CUT_WORDS)
