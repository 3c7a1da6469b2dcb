"""Legal holds: what is on a person, a group or a workspace is neither deleted nor erased until it is lifted.

Whom a hold on a group is on is written down, and added to: who leaves the group stays held.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from sqlalchemy import BigInteger, ColumnElement, Row, exists, insert, literal, or_, select, update

from intramural.core.clock import Clock
from intramural.core.errors import Conflicting, Misasked, Missing, Refused
from intramural.core.ids import new_id
from intramural.storage import Connection, Database
from intramural.storage import schema as t

Subject = Literal["person", "group", "workspace"]
SUBJECTS: tuple[Subject, ...] = get_args(Subject)
#: The rule that refuses to delete what is held.
RULE = "legal_hold"
_TABLES = {"person": t.people, "group": t.groups, "workspace": t.workspaces}
_ACTIVE = t.legal_holds.c.lifted_ms.is_(None)


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold. Times in milliseconds; `lifted_ms` None: it holds. The reasons are as whoever keeps them sealed them.
    `people`: how many a hold on a person or a group is on.
    """

    id: str
    subject: Subject
    subject_id: str
    reason: str
    put_by: str
    put_ms: int
    lifted_by: str | None = None
    lifted_reason: str | None = None
    lifted_ms: int | None = None
    people: int = 0


class Holds:
    """Every hold. Changing methods work on the caller's open transaction."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    def named(self) -> str:
        """An identifier for a new hold."""
        return new_id("hold", self._clock)

    async def put(
        self, connection: Connection, hold_id: str, subject: str, subject_id: str, reason: str, put_by: str
    ) -> Hold:
        """Put a hold. Raises Misasked(`bad_subject`), Missing(`person_not_found`, `group_not_found`,
        `workspace_not_found`), Conflicting(`held_already`).
        """
        if subject not in SUBJECTS:
            raise Misasked(
                "bad_subject", f"There is no hold on a {subject[:32]!r}.", f"Subjects: {', '.join(SUBJECTS)}.",
                param="subject",
            )  # fmt: skip
        table = _TABLES[subject]
        if (await connection.execute(select(table.c.id).where(table.c.id == subject_id))).first() is None:
            raise Missing(f"{subject}_not_found", f"There is no such {subject}.", "List them to see who is there.")
        there = _ACTIVE & (t.legal_holds.c.subject == subject) & (t.legal_holds.c.subject_id == subject_id)
        if (found := await connection.scalar(select(t.legal_holds.c.id).where(there))) is not None:
            raise Conflicting("held_already", f"The legal hold {found} is on it.", "One is enough: lift that first.")
        now_ms = self._now_ms()
        hold = Hold(hold_id, subject, subject_id, reason, put_by, now_ms)
        values = {"id": hold.id, "subject": subject, "subject_id": subject_id, "reason": reason}
        await connection.execute(insert(t.legal_holds).values(**values, put_by=put_by, put_ms=now_ms))
        if subject == "person":
            row = {"hold_id": hold.id, "person_id": subject_id, "since_ms": now_ms}
            await connection.execute(insert(t.legal_hold_people).values(**row))
        await self.follow(connection)
        return await self.get(connection, hold.id)

    async def lift(self, connection: Connection, hold_id: str, reason: str, lifted_by: str) -> Hold:
        """End a hold; that it was stays. Raises Missing(`hold_not_found`), Conflicting(`hold_lifted`)."""
        hold = await self.get(connection, hold_id)
        if hold.lifted_ms is not None:
            raise Conflicting("hold_lifted", "This hold was lifted already.", "See the list of holds.")
        values = {"lifted_by": lifted_by, "lifted_reason": reason, "lifted_ms": self._now_ms()}
        await connection.execute(update(t.legal_holds).where(t.legal_holds.c.id == hold_id).values(**values))
        return await self.get(connection, hold_id)

    async def list(self) -> list[Hold]:
        """Every hold that there was, the newest first."""
        async with self._db.reading() as connection:
            rows = (await connection.execute(select(t.legal_holds).order_by(t.legal_holds.c.id.desc()))).all()
            pairs = (await connection.execute(select(t.legal_hold_people.c.hold_id))).scalars().all()
        return [_hold(row, pairs) for row in rows]

    async def people(self) -> dict[str, set[str]]:
        """Whom each hold is on, as far as that is written down, by the hold's identifier."""
        found: dict[str, set[str]] = {}
        async with self._db.reading() as connection:
            for row in await connection.execute(select(t.legal_hold_people)):
                found.setdefault(row.hold_id, set()).add(row.person_id)
        return found

    async def here(self, people: Collection[str]) -> set[str]:
        """Those of these people who are here."""
        async with self._db.reading() as connection:
            found = await connection.execute(select(t.people.c.id).where(t.people.c.id.in_(people)))
            return set(found.scalars())

    async def restore(self, connection: Connection, hold: Hold, people: Collection[str]) -> Hold:
        """Have a hold here again as it was, on those of these people who are here; whatever it is on need not be."""
        known = (await connection.execute(select(t.legal_holds.c.id).where(t.legal_holds.c.id == hold.id))).first()
        values = asdict(hold)
        del values["people"]
        if known is None:
            await connection.execute(insert(t.legal_holds).values(**values))
        else:
            await connection.execute(update(t.legal_holds).where(t.legal_holds.c.id == hold.id).values(**values))
        on = select(t.legal_hold_people.c.person_id).where(t.legal_hold_people.c.hold_id == hold.id)
        here = select(t.people.c.id).where(t.people.c.id.in_(people), t.people.c.id.not_in(on))
        for person_id in (await connection.execute(here)).scalars().all():
            row = {"hold_id": hold.id, "person_id": person_id, "since_ms": self._now_ms()}
            await connection.execute(insert(t.legal_hold_people).values(**row))
        await self.follow(connection)
        return await self.get(connection, hold.id)

    async def refresh(self) -> None:
        """`follow`, by itself."""
        async with self._db.writing() as connection:
            await self.follow(connection)

    async def follow(self, connection: Connection) -> None:
        """Write down who came into groups that are held."""
        groups = select(t.legal_holds.c.id, t.legal_holds.c.subject_id).where(
            _ACTIVE, t.legal_holds.c.subject == "group"
        )
        for hold_id, group_id in (await connection.execute(groups)).all():
            known = select(t.legal_hold_people.c.person_id).where(t.legal_hold_people.c.hold_id == hold_id)
            inside = select(t.groups.c.id).where(
                (literal("/") + t.groups.c.lineage + literal("/")).contains(f"/{group_id}/", autoescape=True)
            )
            members = (
                select(literal(hold_id), t.group_members.c.person_id, literal(self._now_ms(), BigInteger))
                .where(t.group_members.c.group_id.in_(inside), t.group_members.c.person_id.not_in(known))
                .distinct()
            )
            await connection.execute(
                insert(t.legal_hold_people).from_select(["hold_id", "person_id", "since_ms"], members)
            )

    async def on(self, person_id: str, groups: Collection[str] = (), workspace_id: str | None = None) -> str | None:
        """The hold that keeps this person's things, or those in this workspace; None: there is none."""
        async with self._db.reading() as connection:
            return await self._on(connection, person_id, groups, workspace_id)

    async def check_erasable(self, person_id: str) -> None:
        """As `require_erasable`, by itself."""
        async with self._db.writing() as connection:
            await self.require_erasable(connection, person_id)

    async def require_erasable(self, connection: Connection, person_id: str) -> None:
        """Raises Refused(`legal_hold`) where a hold is on this person, or on a workspace where something is theirs."""
        await self.follow(connection)
        found = await self._on(connection, person_id, (), None)
        if found is None:
            for table in t.metadata.tables.values():
                person, place = table.c.get("person_id"), table.c.get("workspace_id")
                if person is None or place is None or table in (t.workspace_people, t.keys):
                    continue
                of = t.legal_holds.c
                wanted = select(of.id).join(table, place == of.subject_id)
                wanted = wanted.where(_ACTIVE, of.subject == "workspace", person == person_id).limit(1)
                found = found or await connection.scalar(wanted)
        if found is not None:
            raise refusal(found)

    async def _on(
        self, connection: Connection, person_id: str, groups: Collection[str], workspace_id: str | None
    ) -> str | None:
        of = t.legal_holds.c
        theirs = select(t.legal_hold_people.c.hold_id).where(t.legal_hold_people.c.person_id == person_id)
        ways: list[ColumnElement[bool]] = [of.id.in_(theirs)]
        if groups:
            ways.append((of.subject == "group") & of.subject_id.in_(groups))
        if workspace_id is not None:
            ways.append((of.subject == "workspace") & (of.subject_id == workspace_id))
        found: str | None = await connection.scalar(select(of.id).where(_ACTIVE, or_(*ways)).order_by(of.id).limit(1))
        return found

    async def get(self, connection: Connection, hold_id: str) -> Hold:
        """One hold. Raises Missing(`hold_not_found`)."""
        row = (await connection.execute(select(t.legal_holds).where(t.legal_holds.c.id == hold_id))).one_or_none()
        if row is None:
            raise Missing("hold_not_found", "There is no such legal hold.", "See the list of holds.")
        on = select(t.legal_hold_people.c.hold_id).where(t.legal_hold_people.c.hold_id == hold_id)
        return _hold(row, (await connection.execute(on)).scalars().all())

    def _now_ms(self) -> int:
        return int(self._clock.now_s() * 1000)


def is_held(person: ColumnElement[Any], workspace: ColumnElement[Any] | None) -> ColumnElement[bool]:
    """A condition on rows: a hold is on whose they are, or on the workspace they are in. (After `Holds.follow`.)"""
    of = t.legal_holds.c
    theirs = exists(
        select(literal(1))
        .select_from(t.legal_hold_people.join(t.legal_holds))
        .where(t.legal_hold_people.c.person_id == person, _ACTIVE)
    )
    if workspace is None:
        return theirs
    there = exists(select(literal(1)).where(of.subject == "workspace", of.subject_id == workspace, _ACTIVE))
    return theirs | there


def refusal(hold_id: str) -> Refused:
    """The error for who would delete or change what is held."""
    return Refused(
        RULE,
        f"This is kept under the legal hold {hold_id}: it may not be deleted or changed.",
        "Ask an administrator or an auditor when the hold will be lifted. You may go on working.",
    )


def _hold(row: Row[Any], people: Sequence[str]) -> Hold:
    return Hold(**dict(row._mapping), people=sum(each == row.id for each in people))
