"""Whom somebody else's list knows: a roster that is imported, a directory that provisions (SCIM).

A source has a name: `roster` or what an administrator calls their list, `scim:NAME` for the service account NAME with
whose key a directory comes. What a source calls a person is theirs within that source alone, and never a way to sign
in by itself. What it said the last time is kept, so that what people here changed since then stays until it says
something else.
"""

import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, Select, bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from intramural.access.rosters.plan import Known, KnownGroup, Standing
from intramural.access.rosters.plan import Link as Word
from intramural.core.actor import Age
from intramural.core.clock import Clock
from intramural.core.errors import Conflicting, Misasked
from intramural.storage import Connection, Database
from intramural.storage import schema as t

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
#: Rows that are read at once: the loop goes on between two of them.
_PART = 2_000


@dataclass(frozen=True, slots=True)
class Link:
    """One person as a source knows them. `about`: names and addresses, as it sent them, for itself to read again.
    `gone`: it said that there is no such person any more; they are shut out, and it may make them anew.
    """

    source: str
    person_id: str
    external_id: str | None
    role: str
    active: bool
    about: Mapping[str, Any] = field(default_factory=dict)
    created_ms: int = 0
    changed_ms: int = 0
    gone: bool = False


class External:
    """Every link. Changing methods work on the caller's open transaction."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def link_all(self, connection: Connection, links: Sequence[Link]) -> None:
        """These people are known by their sources from now on. Raises Conflicting(`external_id_taken`)."""
        now_ms = self._now_ms()
        try:
            await connection.execute(insert(t.external_people), [_row(each, now_ms) for each in links])
        except IntegrityError:
            message = "Somebody here is known there by this identifier already."
            raise Conflicting("external_id_taken", message, "Give each person their own.") from None

    async def change(self, connection: Connection, link: Link) -> None:
        """What a source says now of somebody whom it knows. Raises Conflicting(`external_id_taken`)."""
        row = _row(link, self._now_ms())
        del row["created_ms"]
        table = t.external_people.c
        where = (table.source == link.source) & (table.person_id == link.person_id)
        try:
            await connection.execute(update(t.external_people).where(where).values(row))
        except IntegrityError:
            message = "Somebody here is known there by this identifier already."
            raise Conflicting("external_id_taken", message, "Give each person their own.") from None

    async def say_ages(self, connection: Connection, source: str, ages: Mapping[str, Age]) -> None:
        """Remember which age bands a source has said of people whom it knows, by identifier."""
        table = t.external_people.c
        mine = (table.source == source) & (table.person_id == bindparam("whose"))
        said = [{"whose": person_id, "band": age} for person_id, age in ages.items()]
        await connection.execute(update(t.external_people).where(mine).values(age=bindparam("band")), said)

    async def link(self, connection: Connection, source: str, person_id: str) -> Link | None:
        """How a source knows a person; None where it does not."""
        table = t.external_people.c
        query = select(t.external_people).where(table.source == source, table.person_id == person_id)
        row = (await connection.execute(query)).one_or_none()
        return None if row is None else _link(row)

    async def owner(self, connection: Connection, source: str, external_id: str) -> str | None:
        """Whom a source calls so: a person's identifier."""
        table = t.external_people.c
        query = select(table.person_id).where(table.source == source, table.external_id == external_id)
        found: str | None = await connection.scalar(query)
        return found

    async def links(self, connection: Connection, source: str, *, start: int, count: int) -> tuple[int, list[Link]]:
        """How many people a source knows, and `count` of them from the one at `start` (0 is the first) on."""
        table = t.external_people.c
        mine = (table.source == source) & table.gone_ms.is_(None)
        total = await connection.scalar(select(func.count()).select_from(t.external_people).where(mine))
        query = select(t.external_people).where(mine).order_by(table.person_id).offset(start).limit(count)
        return int(total or 0), [_link(row) for row in await connection.execute(query)]

    async def standing(self, source: str) -> Standing:
        """Everything here that a list of this source is compared with, as it is at one moment."""
        table, groups = t.external_people.c, t.groups.c
        people: dict[str, Known] = {}
        links: dict[str, Word] = {}
        found_groups: dict[str, KnownGroup] = {}
        members: dict[tuple[str, str], tuple[bool, str | None]] = {}
        columns = (t.people.c.id, t.people.c.username, t.people.c.role, t.people.c.disabled_ms, t.people.c.kind)
        async with self._db.reading() as connection:
            async for row in _rows(connection, select(*columns)):
                people[row.id] = Known(row.id, row.username, row.role, row.disabled_ms is not None, row.kind)
            async for row in _rows(connection, select(t.external_people).where(table.source == source)):
                if row.external_id is not None:
                    links[row.external_id] = Word(row.person_id, row.role, row.active, row.age)
            async for row in _rows(connection, select(t.groups).where(groups.source == source)):
                name = (row.external_id or "").removeprefix(f"{source}/")
                found_groups[name] = KnownGroup(row.id, row.name, row.parent_id)
            async for row in _rows(connection, select(t.group_members)):
                members[row.person_id, row.group_id] = row.manager, row.source
            identities = {(row.issuer, row.subject): row.person_id async for row in _rows(connection, _IDENTITIES)}
            ages = {row.person_id: row.age async for row in _rows(connection, select(t.person_ages))}
        return Standing(people, links, found_groups, members, identities, ages)

    def _now_ms(self) -> int:
        return int(self._clock.now_s() * 1000)


_IDENTITIES = select(t.identities.c.issuer, t.identities.c.subject, t.identities.c.person_id)


async def _rows(connection: Connection, query: Select[Any]) -> AsyncIterator[Row[Any]]:
    async for part in (await connection.stream(query)).partitions(_PART):
        for row in part:
            yield row


def check_source(name: str) -> str:
    """The name of a list. Raises Misasked(`bad_source`)."""
    if not _NAME.fullmatch(name):
        raise Misasked("bad_source", "A list is called by a-z, 0-9 and -, at most 32.", "As `sis`.", param="source")
    return name


def of_group(source: str, external_id: str) -> str:
    """What a source's group is called among all groups here: two sources may use one identifier."""
    return f"{source}/{external_id}"


def _row(link: Link, now_ms: int) -> dict[str, Any]:
    return {
        "source": link.source,
        "person_id": link.person_id,
        "external_id": link.external_id,
        "role": link.role,
        "active": link.active,
        "about": json.dumps(dict(link.about), ensure_ascii=False),
        "created_ms": now_ms,
        "changed_ms": now_ms,
        "gone_ms": now_ms if link.gone else None,
    }


def _link(row: Row[Any]) -> Link:
    about = json.loads(row.about)
    return Link(
        row.source, row.person_id, row.external_id, row.role, row.active, about,
        row.created_ms, row.changed_ms, row.gone_ms is not None,
    )  # fmt: skip
