"""Which part of JSON Schema an answer can be held to: the rest is refused by name, before anything waits. Pure.

`docs/structured-output.md` is the list for people.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from intramural.core.chat import JsonSchema
from intramural.core.errors import Misasked
from intramural.serving.fits import FORMATS, equal, target

#: Words that say nothing about what a value may be.
_REMARKS = frozenset({
    "$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "examples", "example",
    "deprecated", "readOnly", "writeOnly", "discriminator", "strict", "contentEncoding", "contentMediaType",
    "optional",
})  # fmt: skip
_WORDS = frozenset({
    "type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref", "properties", "required", "additionalProperties",
    "items", "prefixItems", "minItems", "maxItems", "minLength", "maxLength", "pattern", "format", "minimum",
    "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
})  # fmt: skip
_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
#: Constructs of patterns that grammars do not know: looking around, referring back, edges of words, classes by name.
_STRANGE = re.compile(r"\(\?(?!:)|\\[1-9bBAZzpPkKGQE]|[*+?}]\+|\[\[:")
_DEPTH = 64


def check(schema: JsonSchema, param: str) -> None:
    """Raises Misasked(`unsupported_schema`) naming every keyword that could not be enforced, `invalid_schema` for what
    is no schema or admits nothing."""
    wrong = list(dict.fromkeys(_unsupported(schema, schema, param, 0)))
    if wrong:
        names = ", ".join(f"`{name}`" for name in wrong)
        raise Misasked(
            "unsupported_schema",
            f"An answer cannot be held to {names}.",
            "Leave them out, or say them in the prompt. What is enforced: docs/structured-output.md.",
            param=param,
        )


def _unsupported(schema: Any, root: Any, param: str, depth: int) -> Iterator[str]:
    if isinstance(schema, bool):
        if not schema:
            yield "false"
        return
    if not isinstance(schema, Mapping) or depth > _DEPTH:
        raise _invalid("A schema is an object.", param)
    yield from (word for word in schema if word not in _WORDS and word not in _REMARKS)
    yield from _wrong_values(schema, root, param)
    yield from _wrong_neighbours(schema)
    for part in _parts(schema):
        yield from _unsupported(part, root, param, depth + 1)


def _parts(schema: Mapping[str, Any]) -> Iterator[Any]:
    """The schemas within."""
    for word in ("properties", "$defs", "definitions"):
        inner = schema.get(word)
        if isinstance(inner, Mapping):
            yield from (part for part in inner.values() if part is not False or word != "properties")
    for word in ("anyOf", "oneOf", "allOf", "prefixItems"):
        yield from schema.get(word) or ()
    if "items" in schema:
        yield schema["items"]
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield schema["additionalProperties"]


def _wrong_values(schema: Mapping[str, Any], root: Any, param: str) -> Iterator[str]:
    """Keywords of which only some values are known."""
    kinds = schema.get("type", [])
    if any(kind not in _TYPES for kind in (kinds if isinstance(kinds, list) else [kinds])):
        raise _invalid(f"{kinds!r} is no type.", param)
    if "enum" in schema and not (isinstance(schema["enum"], Sequence) and schema["enum"]):
        raise _invalid("An `enum` lists at least one value.", param)
    if "$ref" in schema and not isinstance(target(schema, root), Mapping | bool):
        raise _invalid(f"`$ref` leads nowhere: {schema['$ref']!r}.", param)
    if schema.get("format", "date") not in FORMATS:
        yield f"format: {schema['format']}"
    if not _plain_pattern(schema.get("pattern", "")):
        yield "pattern with lookaround, references or classes by name"
    step = schema.get("multipleOf", 1)
    if not (isinstance(step, int) and not isinstance(step, bool) and step > 0):
        yield "multipleOf of a fraction"
    elif "multipleOf" in schema and _below_zero(schema) and "minimum" not in schema:
        yield "multipleOf below zero without `minimum`"
    if len(schema.get("allOf") or ()) > 1:
        yield "allOf"
    if "oneOf" in schema and not _disjoint(schema["oneOf"], root):
        yield "oneOf of alternatives that may both hold"
    closed = schema.get("additionalProperties") is False
    known = {name for name, part in (schema.get("properties") or {}).items() if part is not False}
    if closed and (missing := [name for name in schema.get("required") or () if name not in known]):
        raise _invalid(f"{missing[0]!r} is required, and nothing may have that name.", param)


def _wrong_neighbours(schema: Mapping[str, Any]) -> Iterator[str]:
    """Keywords that are known alone, but not beside each other."""
    said = {word for word in schema if word in _WORDS}
    if "pattern" in said:
        yield from (f"{word} beside pattern" for word in ("format", "minLength", "maxLength") if word in said)
    if "format" in said:
        yield from (f"{word} beside format" for word in ("minLength", "maxLength") if word in said)
    for whole in ("$ref", "allOf"):
        if whole in said:
            yield from (f"{word} beside {whole}" for word in sorted(said - {whole}))
    if "prefixItems" in said:
        yield from (f"{word} beside prefixItems" for word in ("items", "minItems", "maxItems") if word in said)
    for branches in ("anyOf", "oneOf"):
        if branches in said:
            yield from (f"{word} beside {branches}" for word in sorted(said - {branches, "type"}))


def _plain_pattern(pattern: Any) -> bool:
    if not isinstance(pattern, str) or _STRANGE.search(pattern):
        return False
    try:
        re.compile(pattern)
    except re.error:
        return False
    # Anchors belong to the ends: `anchored` takes those off and puts its own.
    return not re.search(r"(?<!\\)(?<!\[)\^", pattern[1:]) and not re.search(r"(?<!\\)\$(?!$)", pattern)


def _disjoint(branches: Any, root: Any) -> bool:
    """Whether no value can fit two of `branches`: by type, or by a member that must be one thing or another."""
    read = [target(each, root) if isinstance(each, Mapping) else None for each in branches]
    return all(_apart(one, other) for one, other in combinations(read, 2))


def _apart(one: Any, other: Any) -> bool:
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return False
    kinds = [each.get("type") for each in (one, other)]
    if all(isinstance(kind, str) for kind in kinds) and len(set(kinds)) == 2 and set(kinds) != {"integer", "number"}:
        return True
    if (values := _values(one)) and (others := _values(other)):
        return not any(equal(value, each) for value in values for each in others)
    shared = set(one.get("required") or ()) & set(other.get("required") or ())
    members = [each.get("properties") or {} for each in (one, other)]
    return any(
        all(isinstance(each.get(name), Mapping) and _values(each[name]) for each in members)
        and _apart(members[0][name], members[1][name])
        for name in shared
    )


def _below_zero(schema: Mapping[str, Any]) -> bool:
    return any(schema.get(word, 1) <= 0 for word in ("maximum", "exclusiveMaximum"))


def _values(schema: Mapping[str, Any]) -> Sequence[Any]:
    return [schema["const"]] if "const" in schema else schema.get("enum") or ()


def _invalid(message: str, param: str) -> Misasked:
    return Misasked("invalid_schema", message, "Check it against JSON Schema, draft 2020-12.", param=param)
