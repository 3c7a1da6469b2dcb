"""JSON that is looked at as text: every value below the name that says what it is, so that rules see `mrn: 00482913`.

Pure. What is put back is JSON again: a number that is redacted becomes a string.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from intramural.guard.span import Span

#: Deeper ones are looked at as plain text.
_MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Leaf:
    """A text or a number in the tree: the way to it, and where it stands in the flat text."""

    path: tuple[str | int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Tree:
    """A JSON value and its flat text."""

    value: Any
    flat: str
    leaves: tuple[Leaf, ...]

    def replaced(self, texts: Sequence[str | None]) -> Any:
        """The value with a text for each leaf; None leaves one as it is. What changes is copied, not written to."""
        changes = {leaf.path: text for leaf, text in zip(self.leaves, texts, strict=True) if text is not None}
        return _replaced(self.value, (), changes) if changes else self.value

    def by_leaf(self, spans: Sequence[Span]) -> list[tuple[Leaf, list[Span]]]:
        """Each leaf with what of `spans` lies in it, as places in its own text."""
        found = []
        for leaf in self.leaves:
            inside = [
                Span(
                    s.kind,
                    max(s.start, leaf.start) - leaf.start,
                    min(s.end, leaf.end) - leaf.start,
                    s.score,
                    s.recogniser,
                )
                for s in spans
                if s.start < leaf.end and leaf.start < s.end
            ]
            found.append((leaf, inside))
        return found


def parsed(text: str) -> Tree | None:
    """The tree of JSON text; None where it is none, or only a text or a number."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return tree(value) if isinstance(value, dict | list) else None


def tree(value: Any) -> Tree | None:
    """The tree of a JSON value; None where it is too deep."""
    parts: list[str] = []
    leaves: list[Leaf] = []
    length = 0
    for path, name, leaf in _walk(value, (), ""):
        if len(path) > _MAX_DEPTH:
            return None
        head = f"{name}: " if name else ""
        leaves.append(Leaf(path, length + len(head), length + len(head) + len(leaf)))
        parts.append(f"{head}{leaf}\n")
        length += len(parts[-1])
    return Tree(value, "".join(parts), tuple(leaves))


def _walk(value: Any, path: tuple[str | int, ...], name: str) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    if len(path) > _MAX_DEPTH + 1:
        return
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _walk(each, (*path, key), str(key))
    elif isinstance(value, list | tuple):
        for place, each in enumerate(value):
            yield from _walk(each, (*path, place), name)
    elif isinstance(value, str):
        yield path, name, value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, name, str(value)


def _replaced(value: Any, path: tuple[str | int, ...], changes: dict[tuple[str | int, ...], str]) -> Any:
    if path in changes:
        return changes[path]
    if isinstance(value, dict):
        return {key: _replaced(each, (*path, key), changes) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(each, (*path, place), changes) for place, each in enumerate(value)]
    return value
