"""A valid value for any parameter type, and every variation of it: one value per member, literal and nested field.

`variations` walks a type once: each (type, field) pair and each literal appears in exactly one value, so the number of
cases grows with the size of the specification and not with its combinations.
"""

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel
from typing_extensions import is_typeddict

_MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Variation:
    """One value and where in the type it leads (`messages[].content[].image_url.detail=low`)."""

    label: str
    value: Any


@dataclass
class Values:
    """Makes values. `samples`: what to send for a field, by `Type.field` or by the field's name alone.

    By `Type` alone: fields to send besides the required ones, where those alone say nothing.
    """

    samples: Mapping[str, Any]
    _seen: set[str] = field(default_factory=set)

    def least(self, kind: Any, name: str = "", owner: str = "", depth: int = 0) -> Any:
        """The plainest valid value of `kind`: required fields only, the first member, the first literal."""
        for key in (f"{owner}.{name}", name):
            if key in self.samples:
                return self.samples[key]
        kind = plain(kind)
        origin = typing.get_origin(kind)
        if origin is Literal:
            return typing.get_args(kind)[0]
        if is_union(origin):
            members = [each for each in typing.get_args(kind) if each is not type(None)]
            return self.least(members[0], name, owner, depth) if members else None
        if _is_list(origin):
            (inner, *_) = typing.get_args(kind) or (str,)
            return [self.least(inner, name, owner, depth + 1)]
        if origin is dict or kind is dict or _is_mapping(origin):
            return {}
        if _has_members(kind):
            if depth > _MAX_DEPTH:
                return {}
            required = {
                each: self.least(hint, each, kind.__name__, depth + 1)
                for each, hint in _hints(kind).items()
                if each in _required(kind)
            }
            return {**required, **self.samples.get(kind.__name__, {})}
        return {bool: True, int: 1, float: 0.5, str: "text"}.get(kind, "text")

    def variations(self, kind: Any, label: str, name: str = "", owner: str = "", depth: int = 0) -> Iterator[Variation]:
        """One value per thing that can be said in `kind`."""
        kind = plain(kind)
        origin = typing.get_origin(kind)
        if depth > _MAX_DEPTH:
            return
        if is_union(origin):
            for member in typing.get_args(kind):
                if member is not type(None):
                    yield from self.variations(member, label, name, owner, depth)
        elif origin is Literal:
            for value in typing.get_args(kind):
                if self._new(f"{owner}.{name}={value}"):
                    yield Variation(f"{label}={value}", value)
        elif _is_list(origin):
            (inner, *_) = typing.get_args(kind) or (str,)
            for each in self.variations(inner, f"{label}[]", name, owner, depth + 1):
                yield Variation(each.label, [each.value])
        elif _has_members(kind):
            yield from self._typed(kind, label, depth)
        elif self._new(f"{owner}.{name}:{kind}"):
            yield Variation(label, self.least(kind, name, owner, depth))

    def _typed(self, kind: Any, label: str, depth: int) -> Iterator[Variation]:
        hints = _hints(kind)
        base = self.least(kind, depth=depth)
        tag = next((str(base[key]) for key in ("type", "role") if isinstance(base.get(key), str)), kind.__name__)
        label = f"{label}<{tag}>"
        if self._new(kind.__qualname__ + kind.__module__):
            yield Variation(label, base)
        for name, hint in hints.items():
            if name in ("type", "role") and name in _required(kind):
                continue
            if self._new(f"{kind.__module__}.{kind.__name__}.{name}"):
                for each in self.variations(hint, f"{label}.{name}", name, kind.__name__, depth + 1):
                    yield Variation(each.label, {**base, name: each.value})

    def _new(self, key: str) -> bool:
        fresh = key not in self._seen
        self._seen.add(key)
        return fresh


def plain(kind: Any) -> Any:
    """A type without `Required`, `NotRequired`, `Annotated` and aliases around it."""
    while typing.get_origin(kind) in (typing.Annotated, typing.Required, typing.NotRequired):
        kind = typing.get_args(kind)[0]
    return getattr(kind, "__value__", kind)


def _has_members(kind: Any) -> bool:
    return is_typeddict(kind) or (isinstance(kind, type) and issubclass(kind, BaseModel))


def _required(kind: Any) -> frozenset[str]:
    if is_typeddict(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        return frozenset(name for name, hint in hints.items() if _marked(hint, name in kind.__required_keys__))
    return frozenset(each.alias or name for name, each in kind.model_fields.items() if each.is_required())


def _marked(hint: Any, otherwise: bool) -> bool:
    """Whether a field is `Required`. Python's own `__required_keys__` does not see marks in postponed annotations."""
    while (origin := typing.get_origin(hint)) in (typing.Annotated, typing.Required, typing.NotRequired):
        if origin is not typing.Annotated:
            return origin is typing.Required
        hint = typing.get_args(hint)[0]
    return otherwise


def _hints(kind: Any) -> dict[str, Any]:
    if not is_typeddict(kind):
        return {each.alias or name: plain(each.annotation) for name, each in kind.model_fields.items()}
    return {name: plain(hint) for name, hint in typing.get_type_hints(kind, include_extras=True).items()}


def is_union(origin: Any) -> bool:
    return origin is typing.Union or origin is types.UnionType


def _is_list(origin: Any) -> bool:
    if origin in (list, tuple, set):
        return True
    name = getattr(origin, "__name__", "")
    return (isinstance(origin, type) and name in ("Iterable", "Sequence")) or name == "SequenceNotStr"


def _is_mapping(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Mapping)
