"""Schemas made enforceable: the engine's compiler knows part of JSON Schema and ignores the rest in silence.

`enforceable` narrows a schema to what is enforced while the model writes: every value it admits is one the original
admits, as far as the keywords below go. `mend` then puts right in a finished value what no grammar can say (numeric
ranges, `multipleOf`, `uniqueItems`). Not looked after: `not`, `if`/`then`/`else`, `dependent*`, `contains`,
`patternProperties`, `propertyNames`, `minProperties`, `maxProperties`, the exclusiveness of `oneOf`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from intramural.serving.fits import FORMAT_PATTERNS, fits, resolved

_ENGINE_FORMATS = frozenset({"uuid"})
#: Numbers that a small model would never end are kept within so many, before the point.
_WHOLE_LIMIT = 10**15
#: Multiples within a range are listed up to this many.
_LISTED = 500
_RANGE = ("type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_SHORTHANDS = {"d": "0-9", "w": "a-zA-Z0-9_", "s": " "}
#: Keywords copied as they are; their values hold no schemas.
_PLAIN = ("enum", "const", "minItems", "maxItems", "minLength", "maxLength", "minimum", "maximum",
          "exclusiveMinimum", "exclusiveMaximum", "multipleOf")  # fmt: skip
_BRANCHES = ("anyOf", "oneOf")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits for what a schema leaves open, so that a small model does not ramble on for ever.

    `members`: of an object whose names are free. `decimals`: places of a number after its point. None: any number.
    """

    string_chars: int
    items: int
    calls: int
    members: int | None = None
    decimals: int | None = None


def enforceable(schema: Any, bounds: Bounds, pointer: str) -> dict[str, Any]:
    """`schema`, narrowed. `pointer` ("#/$defs/t0") is where it will stand in the whole document: its references are
    moved there."""
    return _Narrowing(bounds, pointer).narrow(schema)


class _Narrowing:
    def __init__(self, bounds: Bounds, pointer: str) -> None:
        self._bounds = bounds
        self._pointer = pointer

    def narrow(self, schema: Any) -> dict[str, Any]:
        if not isinstance(schema, Mapping) or not self._says_something(schema):
            return self._anything()
        if "$ref" in schema:
            return {"$ref": self._moved(schema["$ref"]), **self._definitions(schema)}
        for word in _BRANCHES:
            if word in schema:
                base = {key: value for key, value in schema.items() if key != word and not key.startswith("$")}
                branches = [self.narrow(_merged(base, branch)) for branch in schema[word]]
                return {"anyOf": branches, **self._definitions(schema)}
        if len(schema.get("allOf") or ()) == 1:
            return {**self.narrow(schema["allOf"][0]), **self._definitions(schema)}
        narrowed = {word: schema[word] for word in _PLAIN if word in schema}
        if "enum" in schema:  # those that the rest of the schema would not have are not offered
            rest = {word: value for word, value in schema.items() if word != "enum"}
            narrowed["enum"] = [each for each in schema["enum"] if fits(each, rest, schema)] or schema["enum"]
        if "allOf" in schema:
            narrowed["allOf"] = [self.narrow(part) for part in schema["allOf"]]
        kind = schema.get("type") or _implied_type(schema)
        if kind is not None and not ("enum" in schema or "const" in schema):
            narrowed["type"] = kind
        kinds = kind if isinstance(kind, list) else [kind]
        if "string" in kinds:
            self._string(schema, narrowed)
        if kind in ("number", "integer") and not ("enum" in schema or "const" in schema):
            self._number(schema, narrowed)
        if "array" in kinds:
            self._array(schema, narrowed)
        if "object" in kinds:
            self._object(schema, narrowed)
        return {**narrowed, **self._definitions(schema)}

    def _says_something(self, schema: Mapping[str, Any]) -> bool:
        words = ("type", "$ref", "allOf", *_BRANCHES, *_PLAIN)
        return any(word in schema for word in words) or _implied_type(schema) is not None

    def _anything(self) -> dict[str, Any]:
        """A value without a schema: any scalar. (Free nesting is where small models never stop.)"""
        text = {"type": "string", "maxLength": self._bounds.string_chars}
        number: dict[str, Any] = {"type": "number"}
        self._number(number, number)
        return {"anyOf": [text, number, {"type": "boolean"}, {"type": "null"}]}

    def _definitions(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        return {
            word: {name: self.narrow(each) for name, each in schema[word].items()}
            for word in ("$defs", "definitions")
            if isinstance(schema.get(word), Mapping)
        }

    def _moved(self, reference: Any) -> Any:
        local = isinstance(reference, str) and reference.startswith("#")
        return self._pointer + reference[1:] if local else reference

    def _string(self, schema: Mapping[str, Any], narrowed: dict[str, Any]) -> None:
        pattern = schema.get("pattern") or FORMAT_PATTERNS.get(str(schema.get("format")))
        if isinstance(pattern, str):
            narrowed["pattern"] = anchored(pattern)
        elif schema.get("format") in _ENGINE_FORMATS:
            narrowed["format"] = schema["format"]
        elif not ("maxLength" in schema or "enum" in schema or "const" in schema):
            narrowed["maxLength"] = max(self._bounds.string_chars, schema.get("minLength", 0))

    def _number(self, schema: Mapping[str, Any], narrowed: dict[str, Any]) -> None:
        low, high = _limits(schema, None)
        step = schema.get("multipleOf")
        if isinstance(step, int) and step > 0 and 0 <= high - low <= _LISTED * step:
            # Few enough to be listed, which both of the engine's compilers know.
            for word in _RANGE:
                narrowed.pop(word, None)
            numbers = range(math.ceil(low / step) * step, math.floor(high) + 1, step)
            narrowed["enum"] = [number for number in numbers if fits(number, schema, schema)]
            return
        places = self._bounds.decimals
        if places is None:
            return
        if not math.isfinite(low):
            narrowed["minimum"] = -_WHOLE_LIMIT
        if not math.isfinite(high):
            narrowed["maximum"] = _WHOLE_LIMIT
        # Not where hardly any such number would be left, nor below zero, where the engine finds none.
        if schema.get("type") == "number" and step is None and high > 0 and high - max(low, 0) > 100 * 10.0**-places:
            narrowed["multipleOf"] = 10.0**-places

    def _array(self, schema: Mapping[str, Any], narrowed: dict[str, Any]) -> None:
        if "prefixItems" in schema:
            narrowed["prefixItems"] = [self.narrow(each) for each in schema["prefixItems"]]
            narrowed["minItems"] = narrowed["maxItems"] = len(narrowed["prefixItems"])
            return
        narrowed["items"] = self.narrow(schema.get("items"))
        narrowed.setdefault("maxItems", max(self._bounds.items, schema.get("minItems", 0)))

    def _object(self, schema: Mapping[str, Any], narrowed: dict[str, Any]) -> None:
        properties = schema.get("properties") or {}
        required = [name for name in schema.get("required") or () if isinstance(name, str)]
        wanted = {name: each for name, each in properties.items() if each is not False}
        wanted.update({name: True for name in required if name not in wanted})
        narrowed["properties"] = {name: self.narrow(each) for name, each in wanted.items()}
        narrowed["required"] = [name for name in wanted if name in required]
        extra = schema.get("additionalProperties")
        if self._bounds.members is not None and isinstance(extra, Mapping) and wanted:
            # Of a small model's names there would be no end, and names can be counted only where all are required.
            extra = False
        elif self._bounds.members is not None and not wanted and extra is not False:
            narrowed["maxProperties"] = self._bounds.members
        # A free-form object stays free (its values are scalars); one with named members is closed.
        narrowed["additionalProperties"] = (
            self.narrow(extra) if isinstance(extra, Mapping) or (not wanted and extra is not False) else False
        )


def _merged(base: Mapping[str, Any], branch: Any) -> Any:
    """A branch of an `anyOf` together with what stands beside the `anyOf`."""
    if not isinstance(branch, Mapping) or not base:
        return branch
    merged = {**base, **branch}
    if "properties" in base or "properties" in branch:
        merged["properties"] = {**(base.get("properties") or {}), **(branch.get("properties") or {})}
    if "required" in base or "required" in branch:
        merged["required"] = list(dict.fromkeys([*(base.get("required") or ()), *(branch.get("required") or ())]))
    return merged


def _implied_type(schema: Mapping[str, Any]) -> str | None:
    if "properties" in schema or "required" in schema or "additionalProperties" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    return "string" if "pattern" in schema or "format" in schema else None


def anchored(pattern: str) -> str:
    """A pattern the engine enforces: anchored at both ends (narrower than a search) and without `\\d`, `\\w`, `\\s`."""
    text, in_class, position = [], False, 0
    while position < len(pattern):
        char = pattern[position]
        if char == "\\" and position + 1 < len(pattern):
            position += 1
            short = _SHORTHANDS.get(pattern[position])
            text.append((short if in_class else f"[{short}]") if short else "\\" + pattern[position])
        else:
            in_class = char == "[" or (in_class and char != "]")
            text.append(char)
        position += 1
    body = "".join(text)
    body = body[1:] if body.startswith("^") else body
    body = body[:-1] if body.endswith("$") and not body.endswith("\\$") else body
    return f"^({body})$" if "|" in body else f"^{body}$"


def mend(value: Any, schema: Any, root: Any, depth: int = 0) -> Any:
    """`value` with numbers moved into their ranges and repeated items dropped, where `schema` asks for it."""
    if not isinstance(schema, Mapping) or depth > 32:
        return value
    if "$ref" in schema:
        return mend(value, resolved(schema["$ref"], root), root, depth + 1)
    for word in ("allOf", *_BRANCHES):
        branches = schema.get(word)
        for branch in branches if isinstance(branches, list) else ():
            mended = mend(value, branch, root, depth + 1)
            if fits(mended, branch, root):
                value = mended
                break
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _number(value, schema)
    if isinstance(value, list):
        return _items(value, schema, root, depth)
    if isinstance(value, dict):
        known = schema.get("properties")
        known = known if isinstance(known, Mapping) else {}
        extra = schema.get("additionalProperties")
        return {name: mend(each, known.get(name, extra), root, depth + 1) for name, each in value.items()}
    return value


def _items(value: list[Any], schema: Mapping[str, Any], root: Any, depth: int) -> list[Any]:
    given = schema.get("prefixItems")
    first = given if isinstance(given, list) else []
    mended = [
        mend(each, first[place] if place < len(first) else schema.get("items"), root, depth + 1)
        for place, each in enumerate(value)
    ]
    if not schema.get("uniqueItems"):
        return mended
    return [each for place, each in enumerate(mended) if each not in mended[:place]]


def _number(value: float, schema: Mapping[str, Any]) -> float:
    given = schema.get("multipleOf")
    step: float | None = given if _is_number(given) and given > 0 else None
    whole = isinstance(value, int)
    low, high = _limits(schema, step or (1 if whole else None))
    mended: float = value
    if step is not None and math.isfinite(steps := _ratio(value, step)):
        mended = round(steps) * step
        low = math.ceil(low / step) * step if math.isfinite(low) else low
        high = math.floor(high / step) * step if math.isfinite(high) else high
    mended = min(max(mended, low), high)
    return int(mended) if whole and float(mended).is_integer() else mended


def _ratio(value: float, step: float) -> float:
    try:
        return value / step
    except OverflowError:
        return math.inf


def _limits(schema: Mapping[str, Any], step: float | None) -> tuple[float, float]:
    low = _bound(schema.get("minimum"), -math.inf)
    high = _bound(schema.get("maximum"), math.inf)
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if _is_number(above):
        low = max(low, above + step if step else math.nextafter(above, math.inf))
    if _is_number(below):
        high = min(high, below - step if step else math.nextafter(below, -math.inf))
    return low, high


def _bound(value: Any, otherwise: float) -> float:
    return value if _is_number(value) else otherwise


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
