"""The function-calling cases of the Berkeley leaderboard, and how an answer to one is judged. Pure but for reading."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import jsonschema

from intramural.core.chat import Message, MessageRole, Tool

CATEGORIES = {"simple": "simple_python", "multiple": "multiple", "parallel": "parallel", "irrelevance": "irrelevance"}
_TYPES = {"dict": "object", "float": "number", "tuple": "array", "String": "string"}
_PLAIN_TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
#: More orders of calls than this are not tried.
_MOST_CALLS = 6


@dataclass(frozen=True)
class Case:
    """A question with tools. `expected`: each call as (name, parameter → values that are right); "" is "may be left
    out"."""

    id: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]
    expected: tuple[tuple[str, Mapping[str, Sequence[Any]]], ...]


@dataclass(frozen=True)
class Verdict:
    """What is right about an answer. For a case that expects no call only `quiet` counts."""

    called: bool
    valid: bool
    function: bool
    arguments: bool


def cases(package: Path, category: str, count: int) -> list[Case]:
    """The first `count` of a category."""
    stem = f"BFCL_v4_{CATEGORIES[category]}.json"
    with zipfile.ZipFile(package) as archive:
        asked = archive.read(f"bfcl_eval/data/{stem}").decode().splitlines()[:count]
        answers = {}
        if category != "irrelevance":
            lines = archive.read(f"bfcl_eval/data/possible_answer/{stem}").decode().splitlines()
            answers = {row["id"]: row["ground_truth"] for row in map(json.loads, lines)}
    return [_case(json.loads(line), answers) for line in asked]


def _case(row: Mapping[str, Any], answers: Mapping[str, Any]) -> Case:
    def role(given: str) -> MessageRole:
        return "system" if given == "system" else "assistant" if given == "assistant" else "user"

    return Case(
        row["id"],
        tuple(Message(role(turn["role"]), turn["content"]) for turn in row["question"][0]),
        tuple(Tool(_name(f["name"]), f["description"], _schema(f["parameters"])) for f in row["function"]),
        tuple((_name(name), values) for call in answers.get(row["id"], ()) for name, values in call.items()),
    )


def _name(name: str) -> str:
    """The names of the dialects take no dots."""
    return name.replace(".", "_")


def _schema(given: Any) -> Any:
    """The cases' way of writing types, as JSON Schema."""
    if isinstance(given, list):
        return [_schema(each) for each in given]
    if not isinstance(given, dict):
        return given
    made = {key: _schema(value) for key, value in given.items()}
    kind = made.get("type")
    if isinstance(kind, str):
        made["type"] = _TYPES.get(kind, kind)
        if made["type"] not in _PLAIN_TYPES:
            del made["type"]
    return made


def judge(case: Case, calls: Sequence[tuple[str, str]]) -> Verdict:
    """`calls` are (name, arguments as JSON text), as they came."""
    parsed = [(name, _parsed(arguments)) for name, arguments in calls]
    schemas = {tool.name: tool.parameters for tool in case.tools}
    valid = bool(parsed) and all(name in schemas and _fits(arguments, schemas[name]) for name, arguments in parsed)
    function = sorted(name for name, _ in parsed) == sorted(name for name, _ in case.expected)
    right = (
        function
        and len(parsed) <= _MOST_CALLS
        and any(_in_order(order, case.expected) for order in permutations(parsed))
    )
    return Verdict(bool(calls), valid, valid and function, valid and right)


def _in_order(calls: Sequence[tuple[str, Any]], expected: Sequence[tuple[str, Mapping[str, Sequence[Any]]]]) -> bool:
    return all(
        name == wanted and _right(arguments, values)
        for (name, arguments), (wanted, values) in zip(calls, expected, strict=True)
    )


def _parsed(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return None


def _fits(arguments: Any, schema: Any) -> bool:
    try:
        jsonschema.validate(arguments, {"type": "object", **schema})
    except jsonschema.ValidationError:
        return False
    return True


def _right(arguments: Any, values: Mapping[str, Sequence[Any]]) -> bool:
    if not isinstance(arguments, dict) or any(name not in values for name in arguments):
        return False
    return all(
        any(_same(arguments[name], value) for value in possible) if name in arguments else "" in possible
        for name, possible in values.items()
    )


def _same(given: Any, wanted: Any) -> bool:
    if isinstance(wanted, str) and isinstance(given, str):
        return _bare(given) == _bare(wanted)
    if isinstance(wanted, list) and isinstance(given, list):
        return len(given) == len(wanted) and all(map(_same, given, wanted))
    if isinstance(wanted, dict) and isinstance(given, dict):
        return _right(given, {key: value if isinstance(value, list) else [value] for key, value in wanted.items()})
    return bool(given == wanted and isinstance(given, bool) == isinstance(wanted, bool))


def _bare(text: str) -> str:
    """Case and punctuation do not matter, as the leaderboard has it."""
    return "".join(char for char in text.lower() if char.isalnum())
