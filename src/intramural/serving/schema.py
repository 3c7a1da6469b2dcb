"""Schemas made enforceable: the engine's compiler knows part of JSON Schema and ignores the rest in silence.

`enforceable` narrows a schema to what is enforced while the model writes: every value it admits is one the original
admits, as far as the keywords below go. `mend` then puts right in a finished value what no grammar can say (numeric
ranges, `multipleOf`, `uniqueItems`). Not looked after: `not`, `if`/`then`/`else`, `dependent*`, `contains`,
`patternProperties`, `propertyNames`, `minProperties`, `maxProperties`, the exclusiveness of `oneOf`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from intramural.serving.fits import fits, resolved, spelt_out

_DAY_OF_31, _DAY_OF_30 = "(0[1-9]|[12][0-9]|3[01])", "(0[1-9]|[12][0-9]|30)"
_DATE = f"[12][0-9]{{3}}-((0[13578]|1[02])-{_DAY_OF_31}|(0[469]|11)-{_DAY_OF_30}|02-(0[1-9]|1[0-9]|2[0-8]))"
_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z"
_BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_HOST = "[a-z0-9]{1,20}([.-][a-z0-9]{1,20}){0,3}"
#: Formats the engine does not know, or with digits without end, as patterns (narrower than the format: the safe side).
FORMAT_PATTERNS = {
    "date": f"^{_DATE}$",
    "time": f"^{_TIME}$",
    "date-time": f"^{_DATE}T{_TIME}$",
    "email": rf"^[a-z0-9]{{1,30}}([._-][a-z0-9]{{1,20}}){{0,2}}@{_HOST}[.][a-z]{{2,10}}$",
    "ipv4": rf"^{_BYTE}([.]{_BYTE}){{3}}$",
    "uri": rf"^https?://{_HOST}(/[a-zA-Z0-9._-]{{0,60}}){{0,6}}$",
    "hostname": rf"^{_HOST}[.][a-z]{{2,10}}$",
}
_ENGINE_FORMATS = frozenset({"uuid"})
#: Numbers that a schema is listened to about, either way; JSON has no greatest.
GREATEST = 10**18
#: Whoever asks for more gets at most so many: of a thousand million, the engine makes that many rules.
MOST_ITEMS, MOST_CHARS = 1000, 16384
#: Numbers that a small model would never end are kept within so many, before the point.
_WHOLE_LIMIT = 10**15
#: Numbers within a range are listed up to this many, of so many decimals.
_LISTED = 500
_LISTED_IN_ALL = 2000
_MOST_PLACES = 12
#: Members of an object, and rules in all, that the engine's exact compiler is asked for.
_MOST_MEMBERS, _MOST_RULES = 200, 50_000
_RANGE = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
#: Characters that JSON writes another way, within a class of a pattern.
_NOT_PLAIN = r'"\\\x00-\x1F'
#: Keywords copied as they are; their values hold no schemas.
_PLAIN = ("minItems", "maxItems", "minLength", "maxLength", *_RANGE)
_BRANCHES = ("anyOf", "oneOf")
_DEFINITIONS = ("$defs", "definitions")
_WORDS_OF: Mapping[str, Sequence[str]] = {
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems"),
    "string": ("pattern", "format", "minLength", "maxLength"),
    "number": _RANGE,
}


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
        self._listed_left = _LISTED_IN_ALL

    def narrow(self, schema: Any) -> dict[str, Any]:
        if not isinstance(schema, Mapping):
            return self._anything()
        return {**self._narrowed(schema), **self._definitions(schema)}

    def _narrowed(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        if "$ref" in schema:
            return {"$ref": self._moved(schema["$ref"])}
        for word in _BRANCHES:
            if word in schema:
                base = {key: value for key, value in schema.items() if key != word and key not in _DEFINITIONS}
                return {"anyOf": [self.narrow(_merged(base, branch)) for branch in schema[word]]}
        if "const" in schema:
            return {"const": schema["const"]}
        if "enum" in schema:  # those that the rest of the schema would not have are not offered
            rest = {word: value for word, value in schema.items() if word != "enum"}
            return {"enum": [each for each in schema["enum"] if fits(each, rest, schema)] or schema["enum"]}
        parts = schema.get("allOf")
        if isinstance(parts, list) and len(parts) == 1:
            return self.narrow(parts[0])
        kind = schema.get("type") or _implied_type(schema)
        if isinstance(kind, list):
            base = {key: value for key, value in schema.items() if key not in _DEFINITIONS}
            return {"anyOf": [self.narrow({**base, "type": each}) for each in kind]}
        if kind is None and parts is None:
            return self._anything()
        both = {"allOf": [self.narrow(part) for part in parts]} if parts else {}
        return {**both, **(self._typed(kind, schema) if kind is not None else {})}

    def _typed(self, kind: Any, schema: Mapping[str, Any]) -> dict[str, Any]:
        words = _WORDS_OF.get("number" if kind == "integer" else kind, ())
        narrowed = {"type": kind, **{word: schema[word] for word in words if word in _PLAIN and word in schema}}
        if kind == "string":
            self._string(schema, narrowed)
        elif kind in ("number", "integer"):
            self._number(schema, narrowed)
        elif kind == "array":
            self._array(schema, narrowed)
        elif kind == "object":
            self._object(schema, narrowed)
        return narrowed

    def _anything(self) -> dict[str, Any]:
        """A value without a schema: any scalar. (Free nesting is where small models never stop.)"""
        text = {"type": "string", "maxLength": self._bounds.string_chars}
        number: dict[str, Any] = {"type": "number"}
        self._number(number, number)
        return {"anyOf": [text, number, {"type": "boolean"}, {"type": "null"}]}

    def _definitions(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        return {
            word: {name: self.narrow(each) for name, each in schema[word].items()}
            for word in _DEFINITIONS
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
        else:
            most = min(schema.get("maxLength", self._bounds.string_chars), MOST_CHARS)
            narrowed["maxLength"] = max(most, schema.get("minLength", 0))

    def _number(self, schema: Mapping[str, Any], narrowed: dict[str, Any]) -> None:
        low, high = _limits(schema, None)
        step = schema.get("multipleOf")
        if self._listed_left <= 0:
            return
        if self._bounds.decimals is not None:
            if not math.isfinite(low):
                narrowed["minimum"] = low = min(-_WHOLE_LIMIT, high * 10)
            if not math.isfinite(high):
                narrowed["maximum"] = high = max(_WHOLE_LIMIT, low * 10)
        if isinstance(step, int) and 0 < step <= GREATEST:
            parts = _multiples(narrowed, step, low, high)
        elif self._bounds.decimals is None or step is not None:
            return
        else:
            parts = [] if schema.get("type") == "integer" else self._decimals(narrowed, low, high)
        listed = sum(len(part.get("enum", ())) for part in parts)
        if parts and listed <= self._listed_left:
            self._listed_left -= listed
            for word in ("type", *_RANGE):
                narrowed.pop(word, None)
            narrowed.update(parts[0] if len(parts) == 1 else {"anyOf": parts})

    def _decimals(self, schema: Mapping[str, Any], low: float, high: float) -> list[dict[str, Any]]:
        """What admits numbers of a few decimals from `low` to `high`; empty if that cannot be said."""
        least = 10.0 ** -(self._bounds.decimals or 0)
        parts: list[dict[str, Any]] = []
        if low < 0:
            if not (listed := _grid(schema, low, min(high, 0))):
                return []
            parts.append({"enum": listed})
        if high > 0:
            start = max(low, 0)
            if high - start > 100 * least:
                parts.append({**_from(schema, start), "multipleOf": least})
            elif listed := _grid(schema, start, high):
                parts.append({"enum": listed})
        return parts

    def _array(self, schema: Mapping[str, Any], narrowed: dict[str, Any]) -> None:
        if "prefixItems" in schema:
            narrowed["prefixItems"] = [self.narrow(each) for each in schema["prefixItems"]]
            narrowed["minItems"] = narrowed["maxItems"] = len(narrowed["prefixItems"])
            return
        narrowed["items"] = self.narrow(schema.get("items"))
        most = min(schema.get("maxItems", self._bounds.items), MOST_ITEMS)
        narrowed["maxItems"] = max(most, schema.get("minItems", 0))

    def _object(self, schema: Mapping[str, Any], narrowed: dict[str, Any]) -> None:
        properties = schema.get("properties") or {}
        required = [name for name in schema.get("required") or () if isinstance(name, str)]
        wanted = {name: each for name, each in properties.items() if each is not False}
        extra = schema.get("additionalProperties")
        wanted.update({name: extra for name in required if name not in wanted})
        narrowed["properties"] = {name: self.narrow(each) for name, each in wanted.items()}
        narrowed["required"] = [name for name in wanted if name in required]
        if self._bounds.members is not None and isinstance(extra, Mapping) and wanted:
            # Of a small model's names there would be no end, and names can be counted only where all are required.
            extra = False
        elif self._bounds.members is not None and not wanted and extra is not False:
            narrowed["maxProperties"] = self._bounds.members
        # A free-form object stays free (its values are scalars); one with named members is closed.
        narrowed["additionalProperties"] = (
            self.narrow(extra) if isinstance(extra, Mapping) or (not wanted and extra is not False) else False
        )


def is_exact(narrowed: Mapping[str, Any], *, digits_end: bool) -> bool:
    """Whether the engine's exact compiler can be asked to enforce `narrowed`.

    It gives up in silence on what is too large, knows no multiples below zero, and bounds the digits of decimals only
    by `multipleOf`; with `digits_end` they must be bounded. (The other compiler writes at most 16.)
    """
    rules = 0
    for part in _parts(narrowed):
        kind = part.get("type")
        if kind in ("number", "integer") and "multipleOf" in part and _limits(part, None)[0] < 0:
            return False
        if kind == "number" and "multipleOf" not in part and digits_end:
            return False
        rules += 1 + part.get("maxItems", 0)
        if len(part.get("properties", ())) > _MOST_MEMBERS or rules > _MOST_RULES:
            return False
    return True


def _parts(narrowed: Any) -> Iterator[Mapping[str, Any]]:
    """All schemas in a narrowed one, itself among them."""
    if not isinstance(narrowed, Mapping):
        return
    yield narrowed
    for word in ("properties", *_DEFINITIONS):
        for part in narrowed.get(word, {}).values():
            yield from _parts(part)
    for word in ("anyOf", "allOf", "prefixItems"):
        for part in narrowed.get(word, ()):
            yield from _parts(part)
    for word in ("items", "additionalProperties"):
        yield from _parts(narrowed.get(word))


def _multiples(schema: Mapping[str, Any], step: int, low: float, high: float) -> list[dict[str, Any]]:
    """Listed, as far as they are few or below zero; the engine knows the others."""
    if high - low <= _LISTED * step:
        return [{"enum": _listed(schema, step, low, high)}]
    parts: list[dict[str, Any]] = []
    if low < 0:
        top = min(high, -1)
        parts.append({"enum": _listed(schema, step, max(low, top - _LISTED * step), top)})
    if high >= 0:
        parts.append({**_from(schema, max(low, 0)), "multipleOf": step})
    return parts


def _listed(schema: Mapping[str, Any], step: int, low: float, high: float) -> list[int]:
    numbers = range(math.ceil(low / step) * step, math.floor(high) + 1, step)
    return [number for number in numbers if fits(number, schema, schema)]


def _grid(schema: Mapping[str, Any], low: float, high: float) -> list[float]:
    """Numbers of two decimals from `low` to `high`, or of more where that would be few; none where it is too many."""
    width, places = high - low, 2
    while places < _MOST_PLACES and width * 10**places < _LISTED / 10:
        places += 1
    if width * 10**places > _LISTED:
        return []
    numbers = [
        round(tick / 10**places, places) for tick in range(math.ceil(low * 10**places), int(high * 10**places) + 1)
    ]
    return [int(number) if number.is_integer() else number for number in numbers if fits(number, schema, schema)]


def _from(schema: Mapping[str, Any], low: float) -> dict[str, Any]:
    """The numbers of `schema` that are at least `low`."""
    said = {word: schema[word] for word in ("type", *_RANGE) if word in schema and word != "multipleOf"}
    if _limits(said, None)[0] < low:
        said.pop("exclusiveMinimum", None)
        said["minimum"] = low
    return said


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
    """The type that `schema` speaks of without naming one. (Values of others would fit too, and are not offered.)"""
    return next((kind for kind, words in _WORDS_OF.items() if any(word in schema for word in words)), None)


def anchored(pattern: str) -> str:
    """A pattern the engine enforces: anchored at both ends (narrower than a search) and without `\\d`, `\\w`, `\\s`."""
    body = _printable(spelt_out(pattern))
    body = body[1:] if body.startswith("^") else body
    body = body[:-1] if body.endswith("$") and not body.endswith("\\$") else body
    return f"^({body})$" if "|" in body else f"^{body}$"


def _printable(pattern: str) -> str:
    """`pattern` with "any character" and "none of these" kept to those that stand for themselves in JSON."""
    said, in_class, position = [], False, 0
    while position < len(pattern):
        two = pattern[position : position + 2]
        if two[0] == "\\" or (two == "[^" and not in_class):
            said.append(two if two[0] == "\\" else two + _NOT_PLAIN)
            in_class |= two == "[^"
            position += 2
            continue
        said.append(f"[^{_NOT_PLAIN}]" if two[0] == "." and not in_class else two[0])
        in_class = two[0] == "[" or (in_class and two[0] != "]")
        position += 1
    return "".join(said)


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
    step: float | None = given if is_number(given) and given > 0 else None
    if abs(_ratio(value, 1)) == math.inf:  # more than a double holds, for which Python's word is no JSON
        value = GREATEST if value > 0 else -GREATEST
    whole = isinstance(value, int)
    low, high = _limits(schema, step or (1 if whole else None))
    if low > high and whole and schema.get("type") != "integer":
        whole, (low, high) = False, _limits(schema, step)
    mended: float = value
    if step is not None and math.isfinite(steps := _ratio(value, step)):
        mended = round(steps) * step
        low = math.ceil(low / step) * step if math.isfinite(low) else low
        high = math.floor(high / step) * step if math.isfinite(high) else high
    mended = min(max(mended, low), high)
    return int(mended) if whole and isinstance(mended, float) and mended.is_integer() else mended


def _ratio(value: float, step: float) -> float:
    try:
        return value / step
    except OverflowError:
        return math.inf


def _limits(schema: Mapping[str, Any], step: float | None) -> tuple[float, float]:
    low = _bound(schema.get("minimum"), -math.inf)
    high = _bound(schema.get("maximum"), math.inf)
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if is_number(above):
        low = max(low, above + step if step else math.nextafter(above, math.inf))
    if is_number(below):
        high = min(high, below - step if step else math.nextafter(below, -math.inf))
    return low, high


def _bound(value: Any, otherwise: float) -> float:
    return value if is_number(value) else otherwise


def is_number(value: Any) -> TypeGuard[float]:
    """Whether `value` is a number as JSON has it, no larger than an engine takes."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -GREATEST <= value <= GREATEST
