"""Groups of people, one inside another: a class in a grade in a school.

Whoever is in a group is in all groups around it, too. Each group's row has its *lineage*, its own identifier and those
of the groups around it, so that a person's groups are read in the one query that says who is asking (`GROUPS_OF`), with
no recursion and nothing remembered that could be out of date. It is written anew, for the group and all groups within,
whenever a group is moved.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, bindparam, case, delete, func, insert, literal_column, select, update
from sqlalchemy.exc import IntegrityError

from intramural.access.naming import checked_name
from intramural.core.clock import Clock
from intramural.core.errors import Conflicting, Misasked, Missing
from intramural.core.ids import new_id
from intramural.storage import Connection, Database
from intramural.storage import schema as t

#: Groups one inside another; a district has five or six levels.
MAX_DEPTH = 16

_MANAGES: Final = "*"
_COLUMNS = (
    t.groups.c.id,
    t.groups.c.name,
    t.groups.c.parent_id,
    t.groups.c.external_id,
    t.groups.c.created_ms,
    t.groups.c.source,
)
_TEXT = t.groups.c.lineage.type


def _constant(text: str) -> ColumnElement[str]:
    """Written into the statement: `Database.look_up` counts its parameters."""
    return literal_column(f"'{text}'", _TEXT)


_MARK = case((t.group_members.c.manager, _constant(_MANAGES)), else_=_constant(""))
#: A column beside `people`, for `groups_from`: the lineages of the groups that the person was put into.
GROUPS_OF: Final = (
    # the annotation knows no separator but text, which would become a parameter
    select(func.aggregate_strings(_MARK + t.groups.c.lineage, _constant(" ")))  # type: ignore[arg-type]
    .select_from(t.group_members.join(t.groups))
    .where(t.group_members.c.person_id == t.people.c.id)
    .correlate(t.people)
    .scalar_subquery()
    .label("lineages")
)


@dataclass(frozen=True, slots=True)
class Group:
    """A group. `parent_id` is the one around it; `external_id` what the directory it comes from calls it; `source`
    which roster or directory keeps it (see `external`), None where people here do.
    """

    id: str
    name: str
    parent_id: str | None
    external_id: str | None
    created_ms: int
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody who was put into a group. `manager`: a teacher of the class, the lead of the ward. `source`: which
    roster, directory or provider put them there and takes them out again; None: people here.
    """

    group_id: str
    person_id: str
    username: str
    manager: bool
    source: str | None = None


class Keep:
    """Stands for what a change leaves as it is, where None would take it away."""


KEEP: Final = Keep()


class Groups:
    """Every group. Changing methods work on the caller's open transaction; who is asking is read anew after it."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def create(
        self,
        connection: Connection,
        name: str,
        parent_id: str | None = None,
        external_id: str | None = None,
        *,
        group_id: str = "",
        source: str | None = None,
    ) -> Group:
        """Add a group; `group_id` is one that was made for it before. Raises Misasked(`bad_group_name`,
        `groups_too_deep`), Missing(`group_not_found`), Conflicting(`external_id_taken`).
        """
        name, external_id = checked_name("bad_group_name", "group", name), _check_external(external_id)
        around = "" if parent_id is None else await self._lineage(connection, parent_id)
        group_id = group_id or new_id("group", self._clock)
        lineage = _within(group_id, around)
        group = Group(group_id, name, parent_id, external_id, int(self._clock.now_s() * 1000), source)
        values = {column.name: getattr(group, column.name) for column in _COLUMNS}
        try:
            await connection.execute(insert(t.groups).values(lineage=lineage, **values))
        except IntegrityError:
            raise _taken(external_id) from None
        return group

    async def change(
        self,
        connection: Connection,
        group_id: str,
        *,
        name: str | None = None,
        parent_id: str | Keep | None = KEEP,
        external_id: str | Keep | None = KEEP,
    ) -> Group:
        """Rename a group, or put it with all that is within into another (None: into none).

        Raises as `create`, and Conflicting(`group_in_itself`).
        """
        values: dict[str, Any] = {} if name is None else {"name": checked_name("bad_group_name", "group", name)}
        if not isinstance(external_id, Keep):
            values["external_id"] = _check_external(external_id)
        if not isinstance(parent_id, Keep):
            await self._move(connection, group_id, parent_id)
            values["parent_id"] = parent_id
        if values:
            try:
                await connection.execute(update(t.groups).where(t.groups.c.id == group_id).values(values))
            except IntegrityError:
                raise _taken(values.get("external_id")) from None
        return await self._group(connection, group_id)

    async def remove(self, connection: Connection, group_id: str) -> Group:
        """Remove a group; the people stay. Raises Missing, Conflicting(`group_not_empty`) while groups are within."""
        group = await self._group(connection, group_id)
        if await connection.scalar(select(func.count()).where(t.groups.c.parent_id == group_id)):
            raise Conflicting(
                "group_not_empty", f"There are groups within {group.name!r}.", "Move or remove them first."
            )
        await connection.execute(delete(t.groups).where(t.groups.c.id == group_id))
        return group

    async def put(
        self,
        connection: Connection,
        group_id: str,
        person_id: str,
        *,
        manager: bool = False,
        source: str | None = None,
    ) -> None:
        """Put a person into a group, or change whether they manage it. What people here put stays what they put,
        whoever else gives it: `source` counts for who is not in the group yet.

        Raises Missing(`group_not_found`, `person_not_found`).
        """
        await self._group(connection, group_id)
        if not await connection.scalar(select(func.count()).where(t.people.c.id == person_id)):
            raise Missing("person_not_found", "There is no such person.", "List the people to see who is there.")
        where = (t.group_members.c.group_id == group_id) & (t.group_members.c.person_id == person_id)
        values: dict[str, Any] = {"manager": manager} if source else {"manager": manager, "source": None}
        changed = await connection.execute(update(t.group_members).where(where).values(values))
        if not changed.rowcount:
            values |= {"group_id": group_id, "person_id": person_id, "source": source}
            await connection.execute(insert(t.group_members).values(values))

    async def put_all(self, connection: Connection, source: str, members: Sequence[tuple[str, str, bool]]) -> None:
        """Put people into groups they are not in: person, group, whether they manage it, as `source` says.

        Raises Conflicting(`members_changed`) where somebody is in one by now, or person or group is gone.
        """
        rows = [
            {"person_id": person_id, "group_id": group_id, "manager": manager, "source": source}
            for person_id, group_id, manager in members
        ]
        try:
            await connection.execute(insert(t.group_members), rows)
        except IntegrityError:
            message = "Somebody changed who is in these groups in this moment."
            raise Conflicting("members_changed", message, "Do it again.") from None

    async def take_back(self, connection: Connection, source: str, members: Sequence[tuple[str, str]]) -> None:
        """Take people out of groups (person, group) where `source` put them; what others put stays."""
        table = t.group_members.c
        where = (table.person_id == bindparam("of_person")) & (table.group_id == bindparam("of_group"))
        statement = delete(t.group_members).where(where, table.source == source)
        rows = [{"of_person": person_id, "of_group": group_id} for person_id, group_id in members]
        await connection.execute(statement, rows)

    async def given(self, connection: Connection, person_id: str) -> dict[str, tuple[bool, str | None]]:
        """The groups that a person was put into → whether they manage it, and who put them there (None: people)."""
        found = await connection.execute(select(t.group_members).where(t.group_members.c.person_id == person_id))
        return {row.group_id: (row.manager, row.source) for row in found}

    async def of_source(
        self,
        connection: Connection,
        source: str,
        *,
        name: str | None,
        external_id: str | None,
        group_id: str | None,
        start: int,
        count: int,
    ) -> tuple[int, list[Group]]:
        """How many groups this source keeps that are called so, and `count` of them from the one at `start` on."""
        table = t.groups.c
        mine = table.source == source
        if name is not None:
            mine &= table.name == name
        if external_id is not None:
            mine &= table.external_id == external_id
        if group_id is not None:
            mine &= table.id == group_id
        total = await connection.scalar(select(func.count()).select_from(t.groups).where(mine))
        rows = await connection.execute(select(*_COLUMNS).where(mine).order_by(table.id).offset(start).limit(count))
        return int(total or 0), [_group(row) for row in rows]

    async def kept(self, connection: Connection, source: str, group_id: str) -> Group:
        """A group of this source. Raises Missing(`group_not_found`), also for one that others keep."""
        group = await self._group(connection, group_id)
        if group.source != source:
            raise _missing()
        return group

    async def members_of(self, connection: Connection, group_ids: Collection[str]) -> list[Member]:
        """Whoever was put into one of these groups itself, by name."""
        query = (
            select(t.group_members, t.people.c.username)
            .join(t.people)
            .where(t.group_members.c.group_id.in_(list(group_ids)))
            .order_by(t.people.c.username_folded)
        )
        found = await connection.execute(query)
        return [Member(row.group_id, row.person_id, row.username, row.manager, row.source) for row in found]

    async def named_of(
        self, connection: Connection, source: str, person_ids: Collection[str]
    ) -> list[tuple[str, str, str]]:
        """Person, group and its name, of the groups of this source that these people were put into."""
        table = t.group_members.c
        query = (
            select(table.person_id, t.groups.c.id, t.groups.c.name)
            .select_from(t.group_members.join(t.groups))
            .where(table.person_id.in_(list(person_ids)), t.groups.c.source == source)
            .order_by(t.groups.c.name)
        )
        return [(row.person_id, row.id, row.name) for row in await connection.execute(query)]

    async def called(self, connection: Connection, name: str) -> list[str]:
        """The groups of this identifier, or else of this external identifier, or else of this name."""
        for column in (t.groups.c.id, t.groups.c.external_id, t.groups.c.name):
            found = list((await connection.execute(select(t.groups.c.id).where(column == name).limit(2))).scalars())
            if found:
                return found
        return []

    async def take_out(self, connection: Connection, group_id: str, person_id: str) -> None:
        """Take a person out of a group. Raises Missing(`not_a_member`)."""
        where = (t.group_members.c.group_id == group_id) & (t.group_members.c.person_id == person_id)
        if not (await connection.execute(delete(t.group_members).where(where))).rowcount:
            raise Missing("not_a_member", "This person is not in that group.", "List the group's members.")

    async def get(self, group_id: str) -> Group:
        """The group with this identifier. Raises Missing(`group_not_found`)."""
        async with self._db.reading() as connection:
            return await self._group(connection, group_id)

    async def known_as(self, external_id: str) -> Group | None:
        """The group that a directory calls so."""
        async with self._db.reading() as connection:
            found = await connection.execute(select(*_COLUMNS).where(t.groups.c.external_id == external_id))
            row = found.one_or_none()
        return None if row is None else _group(row)

    async def list(self) -> list[Group]:
        """Every group, by name."""
        async with self._db.reading() as connection:
            found = await connection.execute(select(*_COLUMNS).order_by(t.groups.c.name, t.groups.c.id))
            return [_group(row) for row in found]

    async def named(self, group_ids: Sequence[str]) -> tuple[str, ...]:
        """The names of these groups, in this order; whichever is not there keeps its identifier."""
        query = select(t.groups.c.id, t.groups.c.name).where(t.groups.c.id.in_(group_ids))
        async with self._db.reading() as connection:
            names = {row.id: row.name for row in await connection.execute(query)}
        return tuple(names.get(each, each) for each in group_ids)

    async def sizes(self) -> dict[str, int]:
        """How many people were put into each group itself; of empty ones nothing is said."""
        column = t.group_members.c.group_id
        query = select(column, func.count().label("number")).group_by(column)
        async with self._db.reading() as connection:
            return {row.group_id: row.number for row in await connection.execute(query)}

    async def members(self, group_id: str) -> Sequence[Member]:
        """Whoever was put into this group itself, by name."""
        query = (
            select(t.group_members, t.people.c.username)
            .join(t.people)
            .where(t.group_members.c.group_id == group_id)
            .order_by(t.people.c.username_folded)
        )
        async with self._db.reading() as connection:
            found = await connection.execute(query)
            return [Member(row.group_id, row.person_id, row.username, row.manager, row.source) for row in found]

    async def of(self, person_id: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """All groups a person is in, and those they manage, as `Actor` has them; none for whoever is not there."""
        async with self._db.reading() as connection:
            found = await connection.execute(select(GROUPS_OF).where(t.people.c.id == person_id))
            return groups_from(found.scalar())

    async def around(self, group_id: str) -> frozenset[str]:
        """A group and those around it. Raises Missing(`group_not_found`)."""
        async with self._db.reading() as connection:
            return frozenset((await self._lineage(connection, group_id)).split("/"))

    async def below(self, group_ids: Collection[str]) -> frozenset[str]:
        """These groups and all groups within."""
        async with self._db.reading() as connection:
            return await _below(connection, group_ids)

    async def within(self, group_ids: Collection[str]) -> frozenset[str]:
        """Whoever is in one of these groups, or in a group within: identifiers of people."""
        async with self._db.reading() as connection:
            below = await _below(connection, group_ids)
            query = select(t.group_members.c.person_id).where(t.group_members.c.group_id.in_(below))
            return frozenset((await connection.execute(query)).scalars())

    async def _move(self, connection: Connection, group_id: str, parent_id: str | None) -> None:
        """Write the lineages of a group and all within it, as they are with another one around it."""
        await self._group(connection, group_id)
        around = "" if parent_id is None else await self._lineage(connection, parent_id)
        if group_id in around.split("/"):
            raise Conflicting(
                "group_in_itself", "A group cannot be within itself.", "Choose a group that is not within this one."
            )
        rows = (await connection.execute(select(t.groups.c.id, t.groups.c.lineage))).all()
        for row in rows:
            before, found, _ = f"{row.lineage}/".partition(f"{group_id}/")
            if found:
                lineage = before + _within(group_id, around)
                _check_depth(lineage)
                await connection.execute(update(t.groups).where(t.groups.c.id == row.id).values(lineage=lineage))

    async def _lineage(self, connection: Connection, group_id: str) -> str:
        found = await connection.scalar(select(t.groups.c.lineage).where(t.groups.c.id == group_id))
        if found is None:
            raise _missing()
        return str(found)

    async def _group(self, connection: Connection, group_id: str) -> Group:
        row = (await connection.execute(select(*_COLUMNS).where(t.groups.c.id == group_id))).one_or_none()
        if row is None:
            raise _missing()
        return _group(row)


async def _below(connection: Connection, group_ids: Collection[str]) -> frozenset[str]:
    wanted = set(group_ids)
    lineages = (await connection.execute(select(t.groups.c.lineage))).scalars()
    return frozenset(each.split("/")[0] for each in lineages if wanted.intersection(each.split("/")))


def groups_from(lineages: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What `GROUPS_OF` found, as (groups, manages). Those that the person was put into come first, the oldest before
    the others; then those around them, the nearest first.
    """
    if not lineages:
        return (), ()
    each = sorted((part.lstrip(_MANAGES).split("/"), part.startswith(_MANAGES)) for part in lineages.split(" "))
    direct = (line[0] for line, _ in each)
    around = (group for depth in range(1, MAX_DEPTH) for line, _ in each for group in line[depth : depth + 1])
    return _once((*direct, *around)), tuple(line[0] for line, manager in each if manager)


def _once(groups: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(groups))


def _within(group_id: str, around: str) -> str:
    lineage = f"{group_id}/{around}" if around else group_id
    _check_depth(lineage)
    return lineage


def _check_depth(lineage: str) -> None:
    if lineage.count("/") >= MAX_DEPTH:
        message = f"Groups may be {MAX_DEPTH} deep, one inside another."
        raise Misasked("groups_too_deep", message, "Put it into a group further up.", param="parent_id")


def _check_external(external_id: str | None) -> str | None:
    if external_id is not None and (not 0 < len(external_id) <= 255 or not external_id.isprintable()):
        raise Misasked(
            "bad_external_id", "An external identifier has 1 to 255 printable characters.", "Mend it.",
            param="external_id",
        )  # fmt: skip
    return external_id


def _taken(external_id: str | None) -> Conflicting:
    return Conflicting(
        "external_id_taken", f"There is a group known as {external_id!r} already.", "Change that one.",
        param="external_id",
    )  # fmt: skip


def _missing() -> Missing:
    return Missing("group_not_found", "There is no such group.", "List the groups to see which are there.")


def _group(row: Row[*tuple[Any, ...]]) -> Group:
    return Group(row.id, row.name, row.parent_id, row.external_id, row.created_ms, row.source)
