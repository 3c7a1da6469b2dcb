"""Openings as they are kept: who asked to read whose things, and what became of it; and what owners were told.

The reason lies sealed twice: under the key of who asked, and, as soon as it was opened, under each owner's in their
notice. So a notice stays when who asked is gone, and nothing of a reason is left of an owner who was erased.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import Row, insert, select, update

from intramural.access.glass import LIVE, Opening, Step, after, ends_ms, require_open
from intramural.core.clock import Clock
from intramural.core.config import BreakGlassConfig
from intramural.core.errors import Missing
from intramural.core.ids import new_id
from intramural.storage import Connection, Database
from intramural.storage import schema as t
from intramural.vault import Vault
from intramural.vault.places import NOTICE_REASON, OPENING_REASON, row_id

MAX_LIST = 500


@dataclass(frozen=True, slots=True)
class Notice:
    """What an owner is told: who may or might read their things, why, and until when; how often they did; and when the
    owner said that they have seen this.
    """

    opening_id: str
    asker_id: str
    purpose: str
    reason: str
    told_ms: int
    ends_ms: int
    closed_ms: int | None
    reads: int
    seen_ms: int | None


class Openings:
    """Every opening. Changing methods work on the caller's open transaction."""

    def __init__(self, db: Database, vault: Vault, config: BreakGlassConfig, clock: Clock) -> None:
        self._db = db
        self._vault = vault
        self._config = config
        self._clock = clock
        #: When each was first seen in a state, by the clock of the day and by the one that nobody sets.
        self._first: dict[tuple[str, str], tuple[int, float]] = {}

    def now_ms(self, opening: Opening) -> int:
        """The time by which it is judged: a clock that is set back does not lengthen what was seen to begin here."""
        wall_ms, at_s = self._wall_ms(), self._clock.monotonic_s()
        first_ms, first_s = self._first.setdefault((opening.id, opening.state), (wall_ms, at_s))
        return max(wall_ms, first_ms + int((at_s - first_s) * 1000))

    def _wall_ms(self) -> int:
        return int(self._clock.now_s() * 1000)

    async def ask(
        self,
        connection: Connection,
        asker_id: str,
        *,
        person_id: str | None,
        workspace_id: str | None,
        purpose: str,
        reason: str,
        minutes: int,
        second: bool,
    ) -> Opening:
        """A new one, with what was checked; agreed to already where no `second` person has to."""
        now_ms = self._wall_ms()
        hours = self._config.request_hours
        ends = ends_ms("requested", now_ms, minutes=minutes, request_hours=hours, before_ms=0)
        opening = Opening(
            id=new_id("opening", self._clock),
            asker_id=asker_id,
            person_id=person_id,
            workspace_id=workspace_id,
            purpose=purpose,
            reason=reason,
            minutes=minutes,
            second=second,
            state="requested" if second else "approved",
            asked_ms=now_ms,
            ends_ms=ends,
        )
        sealed = self._vault.seal(asker_id, OPENING_REASON.place, opening.id, reason.encode())
        await connection.execute(insert(t.openings).values(**asdict(opening) | {"reason": sealed}))
        return opening

    async def move(self, connection: Connection, opening_id: str, step: Step, by_id: str) -> Opening:
        """Take it a step further. Raises Missing(`opening_not_found`), Conflicting(`opening_over`,
        `opening_not_ready`).
        """
        before, now_ms = await self._one(connection, opening_id), self._wall_ms()
        state = after(before, step, self.now_ms(before))
        hours = self._config.request_hours
        ends = ends_ms(state, now_ms, minutes=before.minutes, request_hours=hours, before_ms=before.ends_ms)
        changed: dict[str, Any] = {"state": state, "ends_ms": ends}
        if step == "approve":
            changed |= {"approver_id": by_id, "approved_ms": now_ms}
        elif step == "open":
            changed["opened_ms"] = now_ms
        else:
            by = {"time": "time", "bar": "bar"}.get(step) or ("asker" if by_id == before.asker_id else "other")
            changed |= {"closed_ms": now_ms, "why": by}
            told = t.opening_notices.c.opening_id == opening_id
            await connection.execute(update(t.opening_notices).where(told).values(closed_ms=now_ms))
        await connection.execute(update(t.openings).where(t.openings.c.id == opening_id).values(changed))
        moved = replace(before, **changed)
        self.now_ms(moved)  # its time runs from here
        return moved

    async def still(self, connection: Connection, opening_id: str) -> Opening:
        """It, if it is open at this moment. Raises Missing, Conflicting(`opening_over`, `opening_not_ready`)."""
        opening = await self._one(connection, opening_id)
        require_open(opening, self.now_ms(opening))
        return opening

    async def tell(self, connection: Connection, opening: Opening, owner_id: str, *, read: bool) -> bool:
        """Put a notice into an owner's account, if none is there of this opening; whether it is new. With `read`, count
        that something of theirs is read. The owner has keys.
        """
        table = t.opening_notices
        where = (table.c.opening_id == opening.id) & (table.c.person_id == owner_id)
        if (await connection.execute(update(table).where(where).values(reads=table.c.reads + int(read)))).rowcount:
            return False
        at = row_id(opening.id, owner_id)
        values = {
            "opening_id": opening.id,
            "person_id": owner_id,
            "asker_id": opening.asker_id,
            "purpose": opening.purpose,
            "reason": self._vault.seal(owner_id, NOTICE_REASON.place, at, opening.reason.encode()),
            "told_ms": self._wall_ms(),
            "ends_ms": opening.ends_ms,
            "reads": int(read),
        }
        await connection.execute(insert(table).values(**values))
        return True

    async def get(self, opening_id: str) -> Opening:
        """Raises Missing(`opening_not_found`)."""
        async with self._db.reading() as connection:
            return await self._one(connection, opening_id)

    async def list(self, asker_id: str | None = None) -> list[Opening]:
        """The newest 500, of all or of one who asked."""
        wanted = select(t.openings).order_by(t.openings.c.id.desc()).limit(MAX_LIST)
        if asker_id is not None:
            wanted = wanted.where(t.openings.c.asker_id == asker_id)
        async with self._db.reading() as connection:
            return [self._opening(row) for row in await connection.execute(wanted)]

    async def live(self) -> Sequence[Opening]:
        """Those of which something can still become."""
        async with self._db.reading() as connection:
            rows = await connection.execute(select(t.openings).where(t.openings.c.state.in_(LIVE)))
            found = [self._opening(row) for row in rows]
        live = {(each.id, each.state) for each in found}
        self._first = {each: first for each, first in self._first.items() if each in live}
        return found

    async def notices(self, person_id: str) -> Sequence[Notice]:
        """What this person was told, the newest first."""
        table = t.opening_notices
        wanted = select(table).where(table.c.person_id == person_id).order_by(table.c.opening_id.desc())
        async with self._db.reading() as connection:
            return [self._notice(row) for row in await connection.execute(wanted.limit(MAX_LIST))]

    async def seen(self, connection: Connection, person_id: str, opening_id: str) -> bool:
        """They have seen it; whether that is news. Raises Missing(`opening_not_found`)."""
        table = t.opening_notices
        where = (table.c.person_id == person_id) & (table.c.opening_id == opening_id)
        row = (await connection.execute(select(table.c.seen_ms).where(where))).one_or_none()
        if row is None:
            raise missing()
        if row.seen_ms is None:
            await connection.execute(update(table).where(where).values(seen_ms=self._wall_ms()))
        return row.seen_ms is None

    async def _one(self, connection: Connection, opening_id: str) -> Opening:
        row = (await connection.execute(select(t.openings).where(t.openings.c.id == opening_id))).one_or_none()
        if row is None:
            raise missing()
        return self._opening(row)

    def _opening(self, row: Row[Any]) -> Opening:
        reason = self._vault.reveal(row.asker_id, OPENING_REASON.place, row.id, row.reason).decode()
        return Opening(**dict(row._mapping) | {"reason": reason})

    def _notice(self, row: Row[Any]) -> Notice:
        at = row_id(row.opening_id, row.person_id)
        reason = self._vault.reveal(row.person_id, NOTICE_REASON.place, at, row.reason).decode()
        given = {name: getattr(row, name) for name in Notice.__slots__}
        return Notice(**given | {"reason": reason})


def missing() -> Missing:
    """The error for an opening that is not there, or not the caller's to know of."""
    return Missing("opening_not_found", "There is no such opening.", "See the list of openings.")
