"""What people's programs keep here is taken away when the settings say that it has been kept long enough."""

import asyncio
from contextlib import suppress

from intramural.audit import AuditLog, Event, Fact
from intramural.chats import KeptResponses, Transcripts
from intramural.core.actor import SYSTEM
from intramural.core.errors import IntramuralError
from intramural.retention import Holds
from intramural.retention.holds import is_held

_EVERY_S = 3600.0


class Expiry:
    """Looks once an hour. What has expired cannot be read even before that; this is what frees its bytes."""

    def __init__(self, kept: KeptResponses, transcripts: Transcripts, audit: AuditLog, holds: Holds) -> None:
        self._kept = kept
        self._transcripts = transcripts
        self._audit = audit
        self._holds = holds
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin looking."""
        self._task = asyncio.create_task(self._look(), name="expiry")

    async def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def sweep(self) -> None:
        """Take away what has expired; the log says how much."""
        if not (await self._kept.any_expired(is_held) or await self._transcripts.any_expired(is_held)):
            return
        async with self._audit.transaction() as (connection, record):
            await self._holds.follow(connection)
            facts: dict[str, Fact] = {
                "responses": await self._kept.expire(connection, is_held),
                "conversations": await self._transcripts.expire(connection, is_held),
            }
            record(Event.RESPONSES_EXPIRED, SYSTEM, facts=facts)

    async def _look(self) -> None:
        while True:
            with suppress(IntramuralError):  # a log that cannot be written: next time then
                await self.sweep()
            await asyncio.sleep(_EVERY_S)
