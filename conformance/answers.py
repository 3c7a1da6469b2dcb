"""Whether an answer is what the client's types promise, and which of their fields it showed."""

import types
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError


@dataclass
class Shapes:
    """Checks answers against types and remembers what was seen. `extras`: our documented additions to the dialect.

    `looser`: names of fields whose declared type is narrower than what the vendor's own service sends.
    """

    extras: frozenset[str]
    looser: frozenset[str] = frozenset()
    seen: set[tuple[str, str]] = field(default_factory=set)
    known: set[tuple[str, str]] = field(default_factory=set)

    def problems(self, kind: Any, value: Any) -> list[str]:
        """What of `value` is not as `kind` says: invalid or missing fields, and fields that nobody declared."""
        if kind is None or value is None:
            return []
        try:
            parsed = TypeAdapter(kind).validate_python(value)
        except ValidationError as error:
            wrong = [each for each in error.errors() if str(each["loc"][-1]) not in self.looser]
            return [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in wrong[:1]]
        except Exception as error:
            return [f"the type cannot be checked: {error!r}"]
        return list(self._undeclared(parsed, ""))

    def _undeclared(self, value: Any, path: str) -> Iterator[str]:
        if isinstance(value, BaseModel):
            name = type(value).__name__
            self.known |= {(name, each) for each in type(value).model_fields}
            for each in value.model_fields_set:
                inner = getattr(value, each)
                if each not in type(value).model_fields:
                    if each not in self.extras:
                        yield f"{path}{each}: not a field of {name}"
                    continue
                if inner is not None:
                    self.seen.add((name, each))
                yield from self._undeclared(inner, f"{path}{each}.")
        elif isinstance(value, list | tuple):
            for each in value:
                yield from self._undeclared(each, path)

    def unseen(self) -> list[tuple[str, str]]:
        """Declared fields of types that were answered with, which no answer ever held a value for."""
        return sorted(self.known - self.seen)


def members(kind: Any) -> Iterable[Any]:
    """The members of a union of events."""
    while typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        for each in typing.get_args(kind):
            yield from members(each)
    elif kind is not None:
        yield kind


def event_names(kind: Any) -> dict[str, Any]:
    """`type` of every event in a union → its model."""
    names = {}
    for each in members(kind):
        hint = getattr(each, "model_fields", {}).get("type")
        if hint is not None:
            names.update(dict.fromkeys(typing.get_args(hint.annotation), each))
    return names
