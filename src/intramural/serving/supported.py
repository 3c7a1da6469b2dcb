"""Which part of JSON Schema an answer can be held to: the rest is refused by name, before anything waits. Pure.

`docs/structured-output.md` is the list for people.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from intramural.core.chat import JsonSchema
from intramural.core.errors import Misasked
from intramural.serving.fits import FORMATS, compiled, equal, fits, target
from intramural.serving.schema import GREATEST, MOST_CHARS, MOST_ITEMS, is_number

#: Words that say nothing about what a value may be.
REMARKS = frozenset({
    "$schema", "$id", "$comment", "title", "description", "default", "examples", "example",
    "deprecated", "readOnly", "writeOnly", "discriminator", "strict", "contentEncoding", "contentMediaType",
})  # fmt: skip
_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")


def _is_schema(value: Any) -> bool:
    return isinstance(value, Mapping | bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= GREATEST


def _is_list(value: Any, of: Callable[[Any], bool], least: int = 1) -> bool:
    return isinstance(value, list | tuple) and len(value) >= least and all(map(of, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_names(value: Any, least: int) -> bool:
    return _is_list(value, _is_text, least) and len(set(value)) == len(value)


def _is_named(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_schema, value.values()))


#: What is enforced, and what kind of value each keyword has.
ENFORCED: Mapping[str, Callable[[Any], bool]] = {
    "type": lambda value: value in _TYPES or (_are_names(value, 1) and set(value) <= set(_TYPES)),
    "enum": lambda value: _is_list(value, lambda _: True),
    "const": lambda _: True,
    **dict.fromkeys(("anyOf", "oneOf", "allOf", "prefixItems"), lambda value: _is_list(value, _is_schema)),
    "$ref": _is_text,
    **dict.fromkeys(("properties", "$defs", "definitions"), _is_named),
    "required": lambda value: _are_names(value, 0),
    **dict.fromkeys(("additionalProperties", "items"), _is_schema),
    **dict.fromkeys(("minItems", "maxItems", "minLength", "maxLength"), _is_count),
    **dict.fromkeys(("pattern", "format"), _is_text),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), is_number),
    "multipleOf": lambda value: is_number(value) and value > 0,
}
#: Constructs of patterns that grammars do not know: looking around, referring back, edges of words, classes by name.
_STRANGE = re.compile(r"\(\?(?!:)|\\[a-ce-rt-vx-zA-Z0-9]|[*+?}]\+|\[\[|&&|--|~~")
_COUNT = re.compile(r"\{(?:\d*,)?(\d+)\}|\{(\d+),\}")
#: A pattern whose repetitions come to more would be too large a grammar.
_MOST_REPEATED = 2000
#: Items, and characters, that a schema can insist on.
_MOST_NEEDED = 1000
_SHOWN_CHARS, _NAMED = 80, 20
#: Keywords whose members are names, and those whose values are no schemas.
_NAMED_SCHEMAS = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})
_DATA = frozenset({"enum", "const", "default", "examples", "example", "required"})
#: Alternatives, and values of them, that are compared with each other.
_MOST_COMPARED = 64
_DEPTH = 64
#: So often it is gone through what references lead to.
_ROUNDS = 8


def check(schema: JsonSchema, param: str) -> None:
    """Raises Misasked(`unsupported_schema`) naming every keyword that could not be enforced, `invalid_schema` for what
    is no schema or admits nothing."""
    wrong = list(dict.fromkeys(_unsupported(schema, schema, param, 0)))[:_NAMED]
    if wrong:
        names = ", ".join(f"`{name}`" for name in wrong)
        raise Misasked(
            "unsupported_schema",
            f"An answer cannot be held to {names}.",
            "Leave them out, or say them in the prompt. What is enforced: docs/structured-output.md.",
            param=param,
        )
    if not _can_end(schema):
        raise _invalid("Nothing fits it: it needs itself, without end.", param)


def tamed(schema: JsonSchema, param: str) -> JsonSchema:
    """`schema` of a tool without what could stall an engine that makes a grammar of it.

    Patterns that no grammar says, and bounds beyond what is written anyway, are left out: tools are shown all of their
    schema and held to what can be enforced. Raises Misasked: `invalid_schema` for types that are none and references
    that lead nowhere, `unsupported_schema` for what has to be longer than any answer.
    """
    made: JsonSchema = _tame(schema, schema, param)
    return made


def _tame(schema: Any, root: JsonSchema, param: str) -> Any:
    if isinstance(schema, list | tuple):
        return [_tame(each, root, param) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    for word in ("minItems", "minLength"):
        if is_number(schema.get(word)) and schema[word] > _MOST_NEEDED:
            told = f"No answer is held to a `{word}` above {_MOST_NEEDED}."
            raise Misasked("unsupported_schema", told, "Ask for less.", param=param)
    kinds = schema.get("type")
    if isinstance(kinds, str) and kinds not in _TYPES:
        raise _invalid(f"There is no type {_short(kinds)}.", param)
    if isinstance(schema.get("$ref"), str) and target(schema, root) is None:
        raise _invalid(f"{_short(schema['$ref'])} leads nowhere in it.", param)
    return {word: _tamed(word, value, root, param) for word, value in schema.items() if not _wild(word, value)}


def _tamed(word: str, value: Any, root: JsonSchema, param: str) -> Any:
    if word in _DATA:
        return value
    if word in _NAMED_SCHEMAS and isinstance(value, Mapping):
        return {name: _tame(each, root, param) for name, each in value.items()}
    return _tame(value, root, param)


def _wild(word: str, value: Any) -> bool:
    if word == "pattern" and isinstance(value, str):
        return not _plain_pattern(value)
    most = {"maxItems": MOST_ITEMS, "maxLength": MOST_CHARS}.get(word)
    return most is not None and is_number(value) and value > most


def _unsupported(schema: Any, root: Any, param: str, depth: int) -> Iterator[str]:
    if isinstance(schema, bool):
        return
    if depth > _DEPTH:
        raise _invalid("It is too deep.", param)
    yield from (_short(word) for word in schema if word not in ENFORCED and word not in REMARKS)
    for word, value in schema.items():
        if word in ENFORCED and not ENFORCED[word](value):
            raise _invalid(f"`{word}` has a value that it cannot have: {_short(value)}.", param)
    if "$ref" in schema and not _is_schema(target(schema, root)):
        raise _invalid(f"`$ref` leads nowhere: {_short(schema['$ref'])}.", param)
    yield from _wrong_values(schema, root)
    yield from _wrong_neighbours(schema)
    if (empty := _empty(schema)) is not None:
        raise _invalid(f"Nothing fits it: {empty}.", param)
    for part in _parts(schema):
        yield from _unsupported(part, root, param, depth + 1)


def _parts(schema: Mapping[str, Any]) -> Iterator[Any]:
    """The schemas within."""
    for word in ("properties", "$defs", "definitions"):
        yield from schema.get(word, {}).values()
    for word in ("anyOf", "oneOf", "allOf", "prefixItems"):
        yield from schema.get(word, ())
    for word in ("items", "additionalProperties"):
        if word in schema:
            yield schema[word]


def _wrong_values(schema: Mapping[str, Any], root: Any) -> Iterator[str]:
    """Keywords of which only some values are known."""
    if schema.get("format", "date") not in FORMATS:
        yield f"format: {_short(schema['format'])}"
    if not _plain_pattern(schema.get("pattern", "")):
        yield f"pattern: {_short(schema['pattern'])}"
    if not isinstance(schema.get("multipleOf", 1), int):
        yield f"multipleOf: {schema['multipleOf']}"
    yield from (
        f"{word} over {_MOST_NEEDED}" for word in ("minItems", "minLength") if schema.get(word, 0) > _MOST_NEEDED
    )
    for word in ("anyOf", "oneOf", "allOf", "prefixItems", "items"):
        parts = schema.get(word, ())
        if (parts is False and "prefixItems" not in schema) or (isinstance(parts, Sequence) and False in parts):
            yield f"{word}: false"
    if len(schema.get("allOf", ())) > 1:
        yield "allOf of more than one schema"
    for word in ("anyOf", "oneOf"):
        if "type" in schema and not all(_is_within(part, schema["type"], root) for part in schema.get(word, ())):
            yield f"type beside {word} with alternatives of other types"
    if "oneOf" in schema and not _disjoint(schema["oneOf"], root):
        yield "oneOf of alternatives that may both hold"


def _is_within(branch: Any, kinds: Any, root: Any) -> bool:
    """Whether an alternative can say no other type than `kinds`, which stand beside it."""
    if not isinstance(branch, Mapping):
        return True
    read = target(branch, root)
    given = read.get("type", None if "$ref" in branch else kinds) if isinstance(read, Mapping) else None
    allowed = kinds if isinstance(kinds, list) else [kinds]
    return given is not None and all(
        each in allowed or (each == "integer" and "number" in allowed)
        for each in (given if isinstance(given, list) else [given])
    )


def _empty(schema: Mapping[str, Any]) -> str | None:
    """Why no value can fit; None where one may."""
    for least, most in (("minLength", "maxLength"), ("minItems", "maxItems")):
        if schema.get(least, 0) > schema.get(most, math.inf):
            return f"`{least}` is more than `{most}`"
    low = max(schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf))
    high = min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf))
    if low > high or (low == high and low in (schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum"))):
        return "its least number is more than its greatest"
    step = schema.get("multipleOf", 1) if "multipleOf" in schema or schema.get("type") == "integer" else None
    if isinstance(step, int) and high - low < 2 * step:
        numbers = range(math.ceil(low / step) * step, math.floor(high) + 1, step)
        if not any(fits(number, {**schema, "type": "number"}, schema) for number in numbers):
            return "no such number is in its range"
    members, extra = schema.get("properties", {}), schema.get("additionalProperties", True)
    if missing := [name for name in schema.get("required", ()) if members.get(name, extra) is False]:
        return f"{_short(missing[0])} is required, and nothing may have that name"
    values = _values(schema)
    rest = {word: value for word, value in schema.items() if word not in ("enum", "const")}
    if values and not any(fits(value, rest, rest) for value in values):
        return "no value of `enum` or `const` fits the rest"
    return None


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"


def _wrong_neighbours(schema: Mapping[str, Any]) -> Iterator[str]:
    """Keywords that are known alone, but not beside each other."""
    said = {word for word in schema if word in ENFORCED and word not in ("$defs", "definitions")}
    if "pattern" in said:
        yield from (f"{word} beside pattern" for word in ("format", "minLength", "maxLength") if word in said)
    if "format" in said:
        yield from (f"{word} beside format" for word in ("minLength", "maxLength") if word in said)
    for whole in ("$ref", "allOf"):
        if whole in said:
            yield from (f"{word} beside {whole}" for word in sorted(said - {whole}))
    if "prefixItems" in said:
        places = len(schema["prefixItems"])  # an answer fills just these
        yield from ("minItems beside prefixItems" for _ in range(schema.get("minItems", 0) > places))
        yield from ("maxItems beside prefixItems" for _ in range(schema.get("maxItems", places) < places))
    for listed in ("enum", "const"):
        if listed in said:
            yield from (f"{word} beside {listed}" for word in sorted(said - {"enum", "const", "type"}))
    for branches in ("anyOf", "oneOf"):
        if branches in said:
            yield from (f"{word} beside {branches}" for word in sorted(said - {branches, "type"}))


def _can_end(schema: Mapping[str, Any]) -> bool:
    """Whether a value can be completed at all. False for one that must hold another of its kind."""
    known: set[str] = set()
    for _ in range(_ROUNDS):
        before = len(known)
        if _ends(schema, schema, known, set(), 0):
            return True
        if len(known) == before:
            return False
    return True  # too entangled to say


def _ends(schema: Any, root: Any, known: set[str], tried: set[str], depth: int) -> bool:
    """Whether a value can be completed, as far as is known: references in `known` can, those in `tried` may not."""
    if not isinstance(schema, Mapping) or depth > _DEPTH:
        return True
    if (reference := schema.get("$ref")) is not None:
        if reference not in known and reference not in tried:
            tried.add(reference)
            if _ends(target(schema, root), root, known, tried, depth + 1):
                known.add(reference)
        return reference in known
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return any(_ends(part, root, known, tried, depth + 1) for part in schema[word])
    needed = [*schema.get("allOf", ()), *schema.get("prefixItems", ())]
    needed += [schema.get("properties", {}).get(name) for name in schema.get("required", ())]
    needed += [schema.get("items")] if schema.get("minItems", 0) else []
    return all(_ends(part, root, known, tried, depth + 1) for part in needed)


def _plain_pattern(pattern: str) -> bool:
    if _STRANGE.search(pattern):
        return False
    counts = [max(1, int(most or least)) for most, least in _COUNT.findall(pattern)]
    repeated = math.prod(counts) if "){" in pattern else sum(counts)  # a group's count multiplies those in it
    if repeated > _MOST_REPEATED or compiled(pattern) is None:
        return False
    # Anchors belong to the ends: `anchored` takes those off and puts its own.
    return not re.search(r"(?<!\\)(?<!\[)\^", pattern[1:]) and not re.search(r"(?<!\\)\$(?!$)", pattern)


def _disjoint(branches: Any, root: Any) -> bool:
    """Whether no value can fit two of `branches`: by type, or by a member that must be one thing or another."""
    if len(branches) > _MOST_COMPARED:
        return False
    read = [target(each, root) if isinstance(each, Mapping) else None for each in branches]
    return all(_apart(one, other) for one, other in combinations(read, 2))


def _apart(one: Any, other: Any) -> bool:
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return False
    kinds = [each.get("type") for each in (one, other)]
    if all(isinstance(kind, str) for kind in kinds) and len(set(kinds)) == 2 and set(kinds) != {"integer", "number"}:
        return True
    if (values := _values(one)) and (others := _values(other)):
        return len(values) * len(others) <= _MOST_COMPARED**2 and not any(
            equal(value, each) for value in values for each in others
        )
    shared = set(one.get("required") or ()) & set(other.get("required") or ())
    members = [each.get("properties") or {} for each in (one, other)]
    return any(
        all(isinstance(each.get(name), Mapping) and _values(each[name]) for each in members)
        and _apart(members[0][name], members[1][name])
        for name in shared
    )


def _values(schema: Mapping[str, Any]) -> Sequence[Any]:
    return [schema["const"]] if "const" in schema else schema.get("enum") or ()


def _invalid(message: str, param: str) -> Misasked:
    return Misasked("invalid_schema", message, "Check it against JSON Schema, draft 2020-12.", param=param)
