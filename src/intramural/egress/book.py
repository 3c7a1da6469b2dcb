"""What people decided about the way out, and what they are asked: kept in the database, and at hand without it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import delete, insert, select, update

from intramural.core.clock import Clock
from intramural.core.errors import Missing
from intramural.core.ids import new_id
from intramural.egress.rules import Destination, Purpose, Rule, near_of
from intramural.storage import Connection, Database
from intramural.storage.schema import egress_entries as table

#: Questions that wait for an answer; the oldest of more is forgotten.
MOST_ASKED = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """A row. `verdict` `asked`: nobody has decided. `port` 0: whichever. `about`: what was wanted when it was asked.
    Times in milliseconds; people by identifier."""

    id: str
    purpose: Purpose
    host: str
    port: int
    verdict: Literal["asked", "allow", "deny"]
    inside: bool = False
    once: bool = False
    expires_ms: int | None = None
    asked_by: str | None = None
    asked_ms: int | None = None
    about: str | None = None
    decided_by: str | None = None
    decided_ms: int | None = None

    @property
    def rule(self) -> Rule | None:
        """What it adds to the list; None for a question."""
        if self.verdict == "asked":
            return None
        return Rule(
            self.id,
            self.purpose,
            self.host,
            self.port or None,
            self.verdict,
            near_of(self.host, inside=self.inside),
            self.decided_by or "",
            self.expires_ms,
            self.once,
        )


class Book:
    """Every entry. `load` before the first question. Changing methods work on the caller's open transaction, and are in
    force when it has been committed and `load` was called."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._rules: tuple[Rule, ...] = ()

    async def load(self) -> None:
        """Have the rules at hand as the database has them."""
        self._rules = tuple(rule for entry in await self.entries() if (rule := entry.rule) is not None)

    def rules(self) -> Sequence[Rule]:
        """The list that people made."""
        return self._rules

    async def entries(self) -> list[Entry]:
        """Every entry, questions among them, the newest first."""
        async with self._db.reading() as connection:
            rows = (await connection.execute(select(table).order_by(table.c.id.desc()))).all()
        return [Entry(**row._mapping) for row in rows]

    async def decide(
        self,
        connection: Connection,
        to: Destination,
        purpose: Purpose,
        verdict: Literal["allow", "deny"],
        decided_by: str,
        *,
        inside: bool,
        once: bool,
        expires_ms: int | None,
    ) -> Entry:
        """Write down a decision, in the place of any other about the same. `to.port` 0: whichever."""
        values: dict[str, Any] = {
            "verdict": verdict,
            "inside": inside,
            "once": once,
            "expires_ms": expires_ms,
            "decided_by": decided_by,
            "decided_ms": self._now_ms(),
        }
        entry = await self._about(connection, to, purpose)
        if entry is None:
            entry = Entry(new_id("egress", self._clock), purpose, to.host, to.port, verdict)
            row = {"id": entry.id, "purpose": purpose, "host": to.host, "port": to.port}
            await connection.execute(insert(table).values(**row, **values))
        else:
            await connection.execute(update(table).where(table.c.id == entry.id).values(**values))
        return replace(entry, **values)

    async def forget(self, connection: Connection, entry_id: str) -> Entry:
        """Take an entry away. Raises Missing(`egress_entry_not_found`)."""
        row = (await connection.execute(select(table).where(table.c.id == entry_id))).one_or_none()
        if row is None:
            raise Missing("egress_entry_not_found", "There is no such entry.", "List them to see which there are.")
        await connection.execute(delete(table).where(table.c.id == entry_id))
        return Entry(**row._mapping)

    async def ask(self, connection: Connection, to: Destination, purpose: Purpose, by: str, about: str) -> Entry | None:
        """A question for an administrator; None where it is asked already, or was decided meanwhile."""
        entry = await self._about(connection, to, purpose)
        now_ms = self._now_ms()
        if entry is not None and (entry.verdict == "asked" or (entry.expires_ms or now_ms + 1) > now_ms):
            return None
        values = {"verdict": "asked", "asked_by": by, "asked_ms": now_ms, "about": about[:1024], "expires_ms": None}
        values |= {"inside": False, "once": False, "decided_by": None, "decided_ms": None}
        if entry is not None:
            await connection.execute(delete(table).where(table.c.id == entry.id))
        asked = Entry(new_id("egress", self._clock), purpose, to.host, to.port, "asked")
        row = {"id": asked.id, "purpose": purpose, "host": to.host, "port": to.port}
        await connection.execute(insert(table).values(**row, **values))
        newest = select(table.c.id).where(table.c.verdict == "asked").order_by(table.c.id.desc()).limit(MOST_ASKED)
        await connection.execute(delete(table).where(table.c.verdict == "asked", table.c.id.not_in(newest)))
        return replace(asked, asked_by=by, asked_ms=now_ms, about=about[:1024])

    async def _about(self, connection: Connection, to: Destination, purpose: Purpose) -> Entry | None:
        same = (table.c.purpose == purpose, table.c.host == to.host, table.c.port == to.port)
        row = (await connection.execute(select(table).where(*same))).one_or_none()
        return None if row is None else Entry(**row._mapping)

    def _now_ms(self) -> int:
        return int(self._clock.now_s() * 1000)
