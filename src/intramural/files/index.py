"""What a database's own full-text index must do for `search`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from intramural.storage import Connection


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a file: `position` is its first character's (from 0), `line` that character's line (from 1)."""

    text: str
    position: int
    line: int


class Index(Protocol):
    """Passages of everybody's files, each reached only with whose it is. Words are found in any form and case."""

    async def add(self, connection: Connection, person_id: str, file_id: str, found: Sequence[Passage]) -> None:
        """Passages of a file."""

    async def remove(self, connection: Connection, owner_id: str) -> None:
        """Everything of a file, or of a person."""

    async def count(self, connection: Connection, person_id: str, term: str | None = None) -> int:
        """How many passages this person has; with `term`, how many of them hold it."""
        ...

    async def matches(self, connection: Connection, person_id: str, term: str, limit: int) -> list[tuple[int, float]]:
        """(row, BM25's weight of the word in it) of this person's passages that hold it, the heaviest first."""
        ...

    async def passage(self, connection: Connection, row: int) -> tuple[str, Passage]:
        """Its file's identifier, and the passage."""
        ...
