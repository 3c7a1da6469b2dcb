"""What people's programs keep here is taken away when the settings say that it has been kept long enough."""

from intramural.audit import AuditLog, Event, Fact
from intramural.chats import KeptResponses, Transcripts
from intramural.core.actor import SYSTEM
from intramural.core.rounds import Rounds
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
        self._rounds = Rounds("expiry", self.sweep, _EVERY_S)

    def open(self) -> None:
        """Begin looking."""
        self._rounds.open()

    async def close(self) -> None:
        """Stop looking."""
        await self._rounds.close()

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
