"""Who finds names: a model of the language, if one is installed, or nobody. See `reading` for the process."""

from collections.abc import Sequence
from typing import Protocol

from intramural.guard.classes import Kind
from intramural.guard.span import Span


class Names(Protocol):
    """Finds names, places and organisations."""

    @property
    def kinds(self) -> frozenset[Kind]:
        """The classes it looks for; none where nothing is installed."""
        ...

    @property
    def about(self) -> str:
        """What reads, with its version: for the log and for people."""
        ...

    async def find(self, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        """What is in each text. Raises Unavailable(`guard_unavailable`)."""
        ...

    async def close(self) -> None:
        """End what runs."""
        ...


class Nobody:
    """Nothing is installed: only announced names are found, by rules."""

    kinds: frozenset[Kind] = frozenset()
    about = ""

    async def find(self, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        return [() for _ in texts]

    async def close(self) -> None:
        pass
