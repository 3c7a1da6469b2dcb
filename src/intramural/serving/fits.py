"""Whether a value fits a JSON schema of the part that answers are held to: the last word, however it was written."""

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import combinations
from typing import Any

from pydantic_core import SchemaError, SchemaValidator, core_schema

_BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
#: What `\\d` and `\\w` are in a JSON schema's patterns, within a class.
_SHORTHANDS = {"d": "0-9", "w": "a-zA-Z0-9_", "s": " "}
#: Characters that mean themselves in a pattern only after a backslash.
_SPECIAL = frozenset("^$.*+?()[]{}|\\-")
#: What a text of each format looks like.
FORMATS = {
    "date": re.compile(r"\d{4}-\d\d-\d\d"),
    "time": re.compile(r"\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?"),
    "date-time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"),
    "uuid": re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
    "email": re.compile(r"[^@\s]+@[^@\s]+"),
    "ipv4": re.compile(rf"{_BYTE}([.]{_BYTE}){{3}}"),
    "uri": re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:\S+"),
    "hostname": re.compile(r"[a-zA-Z0-9][a-zA-Z0-9.-]*"),
}
_DEPTH = 64


def fits(value: Any, schema: Any, root: Any) -> bool:
    """Whether `value` fits `schema`. Keywords that answers are never held to are not looked at; what is no schema
    admits nothing. `root` is where references begin."""
    try:
        return _fits(value, schema, root)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError):
        return False  # somewhere a keyword has a value of a kind that no schema gives it


def _fits(value: Any, schema: Any, root: Any, depth: int = 0) -> bool:
    if isinstance(schema, bool) or not isinstance(schema, Mapping) or depth > _DEPTH:
        return schema is not False
    if "$ref" in schema and not _fits(value, target(schema, root), root, depth + 1):
        return False
    if "type" in schema and not _is_of(value, schema["type"]):
        return False
    if "enum" in schema and not any(equal(value, each) for each in schema["enum"]):
        return False
    if "const" in schema and not equal(value, schema["const"]):
        return False
    if not all(_fits(value, part, root, depth + 1) for part in schema.get("allOf") or ()):
        return False
    if "anyOf" in schema and not any(_fits(value, part, root, depth + 1) for part in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(_fits(value, part, root, depth + 1) for part in schema["oneOf"]) != 1:
        return False
    if isinstance(value, str):
        return _text_fits(value, schema)
    if isinstance(value, dict):
        return _object_fits(value, schema, root, depth)
    if isinstance(value, list):
        return _array_fits(value, schema, root, depth)
    return isinstance(value, bool) or not isinstance(value, int | float) or _number_fits(value, schema)


def _is_of(value: Any, kind: Any) -> bool:
    if isinstance(kind, list):
        return any(_is_of(value, each) for each in kind)
    if isinstance(value, bool) or kind == "boolean":
        return isinstance(value, bool) and kind == "boolean"
    if kind == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    known: Mapping[Any, type | tuple[type, ...]] = {
        "object": dict, "array": list, "string": str, "number": (int, float), "null": type(None)
    }  # fmt: skip
    return kind in known and isinstance(value, known[kind])


def equal(one: Any, other: Any) -> bool:
    """As JSON has it: 1 and 1.0 are one number, 1 and true are not."""
    if isinstance(one, bool) != isinstance(other, bool):
        return False
    if isinstance(one, dict) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def _text_fits(value: str, schema: Mapping[str, Any]) -> bool:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", math.inf):
        return False
    known = FORMATS.get(str(schema.get("format")))
    if known is not None and not known.fullmatch(value):
        return False
    pattern = compiled(schema.get("pattern", ""))
    return pattern is None or pattern.isinstance_python(value)


@lru_cache(256)
def compiled(pattern: Any) -> SchemaValidator | None:
    """What tells whether a text has `pattern` in it, in time linear in the text whatever the pattern (Python's own `re`
    can be made to search for ever, and patterns come from outside). None for what is no such pattern."""
    try:
        return SchemaValidator(core_schema.str_schema(pattern=spelt_out(pattern), regex_engine="rust-regex"))
    except SchemaError:
        return None


def spelt_out(pattern: str) -> str:
    """`pattern` without needless backslashes, and without `\\d`, `\\w` and `\\s` (a space): ASCII, as is standard."""
    text, in_class, position = [], False, 0
    while position < len(pattern):
        char = pattern[position]
        if char == "\\" and position + 1 < len(pattern):
            position += 1
            char = pattern[position]
            if char in _SHORTHANDS:
                text.append(_SHORTHANDS[char] if in_class else f"[{_SHORTHANDS[char]}]")
            else:
                text.append(f"\\{char}" if char in _SPECIAL else char)
        else:
            in_class = char == "[" or (in_class and char != "]")
            text.append(char)
        position += 1
    return "".join(text)


def _number_fits(value: float, schema: Mapping[str, Any]) -> bool:
    return (
        schema.get("minimum", -math.inf) <= value <= schema.get("maximum", math.inf)
        and schema.get("exclusiveMinimum", -math.inf) < value < schema.get("exclusiveMaximum", math.inf)
        and (not schema.get("multipleOf") or (math.isfinite(value) and _divides(schema["multipleOf"], value)))
    )


def _divides(step: float, value: float) -> bool:
    """As the reference implementation has it, also where floating point makes a nonsense of it (0.3 and 0.1)."""
    return float(value / step).is_integer() if isinstance(step, float) else value % step == 0


def _array_fits(value: list[Any], schema: Mapping[str, Any], root: Any, depth: int) -> bool:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", math.inf):
        return False
    if schema.get("uniqueItems") and any(equal(one, other) for one, other in combinations(value, 2)):
        return False
    first = schema.get("prefixItems") or ()
    if not all(_fits(each, part, root, depth + 1) for each, part in zip(value, first, strict=False)):
        return False
    return "items" not in schema or all(_fits(each, schema["items"], root, depth + 1) for each in value[len(first) :])


def _object_fits(value: dict[str, Any], schema: Mapping[str, Any], root: Any, depth: int) -> bool:
    known = schema.get("properties") or {}
    extra = schema.get("additionalProperties", True)
    if any(name not in value for name in schema.get("required") or ()):
        return False
    return all(_fits(each, known.get(name, extra), root, depth + 1) for name, each in value.items())


def target(schema: Mapping[str, Any], root: Any) -> Any:
    """What a reference leads to in the end; None where it leads nowhere, or in a circle."""
    found: Any = schema
    for _ in range(_DEPTH):
        if not isinstance(found, Mapping) or "$ref" not in found:
            return found
        reference = found["$ref"]
        found = resolved(reference, root) if isinstance(reference, str) and reference.startswith("#") else None
    return None


def resolved(reference: Any, root: Any) -> Any:
    """What a local reference ("#/$defs/a") points at; None if nothing."""
    found = root
    for part in str(reference).removeprefix("#").split("/")[1:]:
        found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found
