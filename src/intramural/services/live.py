"""Responses that are being written in the background, and whoever follows them."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from intramural.core.actor import Whose
from intramural.core.chat import ChatEvent
from intramural.core.errors import IntramuralError

#: One event of a response's stream, in its dialect's form.
Told = dict[str, Any]


class Writer(Protocol):
    """Puts a response together. Each method returns the next events of its stream."""

    #: The object as it is now; it has `id` and `output`.
    body: dict[str, Any]
    #: Whether anything was told.
    begun: bool
    #: Whether the answer came to its end.
    complete: bool

    def wait(self) -> list[Told]: ...
    def feed(self, event: ChatEvent) -> list[Told]: ...
    def finish(self) -> list[Told]: ...
    def fail(self, error: IntramuralError) -> list[Told]: ...
    def cancel(self) -> list[Told]: ...
    def interrupted(self) -> dict[str, Any]:
        """The object as it is left where the service ends before the answer does."""
        ...


@dataclass(slots=True)
class Live:
    """One response on its way. `cancelled`: its owner ended it, not the service."""

    whose: Whose
    writer: Writer
    told: list[Told]
    task: asyncio.Task[None] | None = None
    cancelled: bool = False
    over: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, events: Sequence[Told], *, over: bool = False) -> None:
        """Let those who follow know."""
        self.told += events
        self.over = over
        self.changed.set()
        self.changed = asyncio.Event()

    async def follow(self, position: int) -> AsyncGenerator[Told, None]:
        """Its events from `position` on, to the last."""
        while True:
            while position < len(self.told):
                yield self.told[position]
                position += 1
            if self.over:
                return
            await self.changed.wait()

    async def stop(self) -> None:
        """End it, as its owner wishes; returns when that is kept."""
        self.cancelled = True
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait([self.task])


class LiveResponses:
    """All of them, by name."""

    def __init__(self) -> None:
        self._by_id: dict[str, Live] = {}

    def add(self, response_id: str, live: Live) -> None:
        self._by_id[response_id] = live

    def remove(self, response_id: str) -> None:
        del self._by_id[response_id]

    def find(self, whose: Whose, response_id: str) -> Live | None:
        """Whose it is, and where, is part of the question."""
        live = self._by_id.get(response_id)
        return live if live is not None and live.whose == whose else None

    def count(self, person_id: str) -> int:
        """How many are being written for a person."""
        return sum(live.whose.person_id == person_id for live in self._by_id.values())

    async def close(self) -> None:
        """End all, because the service ends."""
        tasks = [live.task for live in self._by_id.values() if live.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
