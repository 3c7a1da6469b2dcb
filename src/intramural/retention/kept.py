"""Everything that has a time to be kept, found by class: in one list, for whoever deletes, counts, or names it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Table,
    case,
    delete,
    distinct,
    exists,
    false,
    func,
    literal,
    select,
    true,
    tuple_,
)

from intramural.core.actor import Age, Whose
from intramural.core.retention import DataClass
from intramural.retention.due import Thing
from intramural.retention.holds import is_held
from intramural.storage import Connection, Database
from intramural.storage import schema as t


@dataclass(frozen=True, slots=True)
class Source:
    """Rows of a class. `since`: from when on their time is counted. `kind`: what they are called in the log.

    `gone`: the table whose rows are deleted, by `by`, where that is another one.
    """

    name: str
    data_class: DataClass
    table: Table
    id: ColumnElement[Any]
    since: ColumnElement[Any]
    kind: str
    also: tuple[ColumnElement[bool], ...] = ()
    gone: Table | None = None
    by: ColumnElement[Any] | None = None

    @property
    def person(self) -> ColumnElement[Any]:
        """Whose a row is."""
        return self.table.c.person_id

    @property
    def workspace(self) -> ColumnElement[Any] | None:
        """In which workspace a row is; None: such rows are in none."""
        return self.table.c.get("workspace_id")

    def of_age(self, age: Age | None) -> list[ColumnElement[bool]]:
        """The rows of people of a band; None: everybody's."""
        if age is None:
            return []
        if age == "unknown":
            return [self.person.not_in(select(t.person_ages.c.person_id))]
        return [self.person.in_(select(t.person_ages.c.person_id).where(t.person_ages.c.age == age))]

    def within(self, workspace_id: str | None) -> list[ColumnElement[bool]]:
        """The rows in a workspace; None: those in none."""
        if self.workspace is None:
            return [*self.also, true() if workspace_id is None else false()]
        inside = self.workspace.is_(None) if workspace_id is None else self.workspace == workspace_id
        return [*self.also, inside]


_INDEXED = exists(select(literal(1)).where(t.file_passages.c.file_id == t.files.c.id))
#: What was computed of files goes before them: it is more, and goes in small steps.
SOURCES: Sequence[Source] = (
    Source("chats", "chat", t.chats, t.chats.c.id, t.chats.c.updated_ms, "chat"),
    Source("responses", "chat", t.responses, t.responses.c.id, t.responses.c.created_ms, "response"),
    Source("conversations", "chat", t.transcripts, t.transcripts.c.id, t.transcripts.c.updated_ms, "conversation"),
    Source(
        "batches",
        "chat",
        t.batches,
        t.batches.c.id,
        t.batches.c.ended_ms,
        "batch",
        (t.batches.c.ended_ms.is_not(None),),
    ),
    Source(
        "passages",
        "embedding",
        t.files,
        t.files.c.id,
        t.files.c.created_ms,
        "file",
        (_INDEXED,),
        t.file_passages,
        t.file_passages.c.file_id,
    ),
    Source("files", "file", t.files, t.files.c.id, t.files.c.created_ms, "file"),
    Source("texts", "log", t.audit_texts, t.audit_texts.c.nonce, t.audit_texts.c.time_ms, "text"),
)


#: By what it is called in the log, what is somebody's by itself. (Texts beside the log are part of its entries.)
_NAMED: Mapping[str, Source] = {each.kind: each for each in SOURCES if each.kind != "text"}


@dataclass(frozen=True, slots=True)
class Outlook:
    """How many there are of a source in one place; how many are held; and how many go before each of the given times.
    `oldest_ms`: since when the oldest of those that are not held is kept."""

    number: int
    held: int
    going: tuple[int, ...]
    oldest_ms: int | None


class Kept:
    """What the database keeps of every class."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def old(
        self,
        source: Source,
        workspace_id: str | None,
        before_ms: int,
        after: tuple[int, str] | None,
        limit: int,
        age: Age | None = None,
    ) -> list[Thing]:
        """Up to `limit` that are kept since before `before_ms`, the oldest first, from behind `after` on (the time and
        identifier of the last one seen). Held ones are among them."""
        wanted = self._things(source).where(
            *source.within(workspace_id), *source.of_age(age), source.since <= before_ms
        )
        if after is not None:
            wanted = wanted.where(source.since >= after[0])  # what an index answers
            wanted = wanted.where(
                tuple_(source.since, source.id) > tuple_(literal(after[0], BigInteger), literal(after[1]))
            )
        wanted = wanted.order_by(source.since, source.id).limit(limit)
        async with self._db.reading() as connection:
            return _things([tuple(row) for row in await connection.execute(wanted)])

    async def again(
        self, connection: Connection, source: Source, ids: Collection[str], age: Age | None = None
    ) -> list[Thing]:
        """Those of `ids` that are there, and of people of this band, as the caller's transaction has them."""
        wanted = self._things(source).where(*source.also, *source.of_age(age), source.id.in_(ids))
        wanted = wanted.order_by(source.since, source.id)
        return _things([tuple(row) for row in await connection.execute(wanted)])

    async def remove(self, connection: Connection, source: Source, ids: Collection[str], most: int) -> int:
        """Delete these and all that belongs to them, in the caller's transaction; how many rows of the source's went.

        Of what was computed of files at most `most` pieces go: come again for the rest. They are then not searched.
        """
        if source.gone is None:
            return (await connection.execute(delete(source.table).where(source.id.in_(ids)))).rowcount
        assert source.by is not None
        some = select(source.gone.c.id).where(source.by.in_(ids)).limit(most)
        await connection.execute(source.table.update().where(source.id.in_(ids)).values(search=None))
        return (await connection.execute(delete(source.gone).where(source.gone.c.id.in_(some)))).rowcount

    async def ages(self) -> set[Age]:
        """The bands that are known of anybody."""
        async with self._db.reading() as connection:
            return set((await connection.execute(select(t.person_ages.c.age).distinct())).scalars())

    async def outlook(
        self, source: Source, workspace_id: str | None, before_ms: Sequence[int], age: Age | None = None
    ) -> Outlook:
        """Counts. `before_ms`: for each, how many are kept since before it and are not held."""
        held = is_held(source.person, source.workspace)
        free = case((held, None), else_=source.since)
        columns = [func.count(distinct(source.id)), func.count(distinct(case((held, source.id)))), func.min(free)]
        columns += [func.count(distinct(case((free <= each, source.id)))) for each in before_ms]
        async with self._db.reading() as connection:
            where = (*source.within(workspace_id), *source.of_age(age))
            found = (await connection.execute(select(*columns).where(*where))).one()
        return Outlook(found[0], found[1], tuple(found[3:]), found[2])

    async def targets(self, person_id: str) -> set[str]:
        """What this person's things are called in the log, of those that are there."""
        found: set[str] = set()
        async with self._db.reading() as connection:
            for source in SOURCES:
                if source.kind != "text":
                    ids = await connection.execute(select(source.id).where(source.person == person_id, *source.also))
                    found |= {f"{source.kind}:{each}" for each in ids.scalars()}
            open_batches = select(t.batches.c.id).where(t.batches.c.person_id == person_id)
            found |= {f"batch:{each}" for each in (await connection.execute(open_batches)).scalars()}
        return found

    async def workspaces_of(self, person_id: str) -> set[str]:
        """Workspaces in which something is this person's."""
        found: set[str] = set()
        async with self._db.reading() as connection:
            for source in SOURCES:
                if source.workspace is not None:
                    wanted = select(source.workspace).where(source.person == person_id).distinct()
                    found |= {each for each in (await connection.execute(wanted)).scalars() if each}
        return found

    async def whose(self, kind: str, person_id: str, name: str) -> Whose | None:
        """Whose something is, and of which workspace, if it is this person's; `kind` as the log calls it."""
        source = _NAMED[kind]
        name = name.encode(errors="replace").decode()  # what cannot be stored cannot be found
        wanted = select(source.table.c.workspace_id).where(source.id == name, source.person == person_id)
        async with self._db.reading() as connection:
            row = (await connection.execute(wanted)).one_or_none()
        return None if row is None else Whose(person_id, row.workspace_id)

    async def gone_places(self) -> list[str]:
        """Workspaces that are there no more, and of which something is left."""
        found: set[str] = set()
        there = select(t.workspaces.c.id)
        async with self._db.reading() as connection:
            for source in SOURCES:
                of = source.table.c.workspace_id
                wanted = select(of).where(of.is_not(None), of.not_in(there)).distinct()
                found.update((await connection.execute(wanted)).scalars())
        return sorted(found)

    async def owners_in(self, workspace_id: str) -> list[str]:
        """Who has something in a workspace."""
        found: set[str] = set()
        async with self._db.reading() as connection:
            for source in _NAMED.values():
                wanted = select(source.person).where(source.table.c.workspace_id == workspace_id).distinct()
                found.update((await connection.execute(wanted)).scalars())
        return sorted(found)

    def _things(self, source: Source) -> Select[Any]:
        held = is_held(source.person, source.workspace)
        return select(source.id, source.person, source.since, held)


def _things(rows: Sequence[tuple[Any, ...]]) -> list[Thing]:
    """In their order, each once: of texts there are several of one name."""
    return list({row[0]: Thing(row[0], row[1], row[2], bool(row[3])) for row in rows}.values())
