"""The rows of batches and of their answered lines."""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, replace
from math import inf
from typing import Any, Literal

import msgspec
from sqlalchemy import Row, delete, func, insert, select, update

from intramural.core.actor import Whose
from intramural.core.clock import Clock
from intramural.core.errors import Missing
from intramural.storage import BlockingConnection, Connection, Database
from intramural.storage.schema import batch_lines, batches
from intramural.vault import Heads, Kind, Part, Vault, row_id
from intramural.vault.heads import all_kept_changed, kept_changed
from intramural.vault.places import BATCH_ERRORS, BATCH_HEAD, BATCH_LINE, BATCH_LINE_NAME, BATCH_NOTES
from intramural.vault.sums import NOTHING, Head, together

#: OpenAI's words. `finalizing`: no line is answered any more, the results are being put together.
BatchState = Literal[
    "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
]
#: How a batch that has its results ends.
Ending = Literal["completed", "expired", "cancelled"]
LineOutcome = Literal["succeeded", "errored", "expired", "canceled"]
#: States in which there is still something to do.
OPEN: tuple[BatchState, ...] = ("validating", "in_progress", "cancelling", "finalizing")
#: States in which lines may come.
_GROWING: tuple[BatchState, ...] = ("validating", "in_progress", "cancelling")
MAX_LIST = 1_000
_PAGE_LINES = 200
_SEALED_OF_LINE = {"custom_id": BATCH_LINE_NAME.place, "body": BATCH_LINE.place}
_SEALED = {"notes": BATCH_NOTES.place, "errors": BATCH_ERRORS.place}


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch. Times in milliseconds; `credential_id` is what it was asked for with, and `actor_kind` of which kind.

    Of `total` lines so many `completed`, `failed` (an error was the answer) and were `skipped` (the batch ended before
    them). `notes` is what its owner attached, `errors` what was wrong with the batch as a whole. `workspace_id`: where
    it was asked, and every line is, for the purpose `purpose_there`.
    """

    id: str
    person_id: str
    actor_kind: str
    credential_id: str
    dialect: str
    endpoint: str
    created_ms: int
    expires_ms: int
    state: BatchState = "validating"
    ending: Ending | None = None
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    output_expires_s: int | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    skipped: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    begun_ms: int | None = None
    finalizing_ms: int | None = None
    cancelling_ms: int | None = None
    ended_ms: int | None = None
    notes: Mapping[str, str] | None = None
    errors: Sequence[Mapping[str, Any]] = ()
    workspace_id: str | None = None
    purpose_there: str | None = None

    @property
    def whose(self) -> Whose:
        return Whose(self.person_id, self.workspace_id)

    @property
    def is_open(self) -> bool:
        """Whether there is still something to do."""
        return self.state in OPEN

    @property
    def recorded(self) -> int:
        """How many lines, from the first on, have their result."""
        return self.completed + self.failed + self.skipped


@dataclass(frozen=True, slots=True)
class Line:
    """The result of line `position` (from 0). `status` and `body` are the answer's, as HTTP would have carried it."""

    position: int
    custom_id: str
    outcome: LineOutcome
    status: int | None = None
    request_id: str | None = None
    body: str | None = None


class Batches:
    """Everybody's batches. Changing methods work on the caller's open transaction."""

    def __init__(self, db: Database, vault: Vault, clock: Clock) -> None:
        self._db = db
        self._vault = vault
        kind = Kind("batch", "batches", BATCH_HEAD, kept_changed, all_kept_changed)
        self.heads = self._heads = Heads(vault, clock, kind, self._lying)

    def writing(self) -> AbstractAsyncContextManager[Connection]:
        """A transaction for the methods below."""
        return self._db.writing()

    async def add(self, connection: Connection, batch: Batch) -> None:
        """A new batch."""
        head = Head(0, NOTHING, self._about(batch))
        values = self._stored(batch.person_id, batch.id, asdict(batch))
        values["head"] = self._heads.sealed(batch.person_id, batch.id, head)
        await connection.execute(insert(batches).values(**values))
        await connection.run_sync(self._heads.moved, batch.person_id, batch.id, None, head)

    async def change(self, connection: Connection, batch_id: str, **values: Any) -> Batch | None:
        """Set columns; the batch as it is then, or None where it is gone."""
        found = await self.find(batch_id, connection)
        if found is None:
            return None
        stored = self._stored(found.person_id, batch_id, dict(values))
        await connection.execute(update(batches).where(batches.c.id == batch_id).values(**stored))
        changed = replace(found, **values)
        await self._grown(connection, changed)
        return changed

    async def find(self, batch_id: str, connection: Connection | None = None) -> Batch | None:
        """The batch, whosever it is. Raises Untrusted(`kept_changed`, `all_kept_changed`)."""
        if connection is None:
            async with self._db.reading() as reading:
                return await self.find(batch_id, reading)
        row = (await connection.execute(select(batches).where(batches.c.id == batch_id))).one_or_none()
        if row is None:
            return None
        await connection.run_sync(self._heads.require_all, row.person_id, again_s=inf)
        return self._fitting(row)

    async def get(
        self, whose: Whose, dialect: str | None, batch_id: str, connection: Connection | None = None
    ) -> Batch:
        """One batch; `dialect` None: of any. Raises Missing(`batch_not_found`)."""
        found = await self.find(batch_id, connection)
        if found is None or found.whose != whose or dialect not in (None, found.dialect):
            raise Missing("batch_not_found", "There is no such batch.", "List the batches to see which are there.")
        return found

    async def list(
        self, whose: Whose, dialect: str | None, *, limit: int, after: str | None = None, before: str | None = None
    ) -> list[Batch]:
        """These, the newest first: those older than `after`, or the nearest of those newer than `before`."""
        mine = (batches.c.person_id == whose.person_id) & (batches.c.workspace_id == whose.workspace_id)
        wanted = select(batches).where(mine if dialect is None else mine & (batches.c.dialect == dialect))
        if after is not None:
            wanted = wanted.where(batches.c.id < after)
        if before is not None:
            wanted = wanted.where(batches.c.id > before)
        by = batches.c.id.asc() if before is not None and after is None else batches.c.id.desc()
        async with self._db.reading() as connection:
            await connection.run_sync(self._heads.require_all, whose.person_id)
            found = [self._fitting(row) for row in await connection.execute(wanted.order_by(by).limit(limit))]
        return sorted(found, key=lambda batch: batch.id, reverse=True)

    async def open(self) -> Sequence[Batch]:
        """Those with something to do, the oldest first, as they lie here: `find` one before anything is done to it."""
        wanted = select(batches).where(batches.c.state.in_(OPEN)).order_by(batches.c.id)
        async with self._db.reading() as connection:
            return [self._batch(row) for row in await connection.execute(wanted)]

    async def count_open(self, connection: Connection, person_id: str) -> int:
        """How many of this person's have something to do."""
        wanted = select(func.count()).where(batches.c.person_id == person_id, batches.c.state.in_(OPEN))
        return int(await connection.scalar(wanted) or 0)

    async def record(self, connection: Connection, batch: Batch, lines: Collection[Line]) -> None:
        """The results of lines; a position that has one already is refused by the database."""
        rows = []
        for line in lines:
            rows.append({"batch_id": batch.id, **asdict(line), **self._sealed_line(batch, line)})
        await connection.execute(insert(batch_lines), rows)
        await self._grown(connection, batch, [_part(line) for line in lines])

    async def lines(self, batch: Batch) -> AsyncGenerator[Line, None]:
        """Every result, in the order of the lines. Raises Untrusted(`kept_changed`) at their end, where they are not
        those that there were.
        """
        batch_id = batch.id
        position, said = -1, NOTHING
        while True:
            wanted = select(batch_lines).where(batch_lines.c.batch_id == batch_id, batch_lines.c.position > position)
            async with self._db.reading() as connection:
                rows = (await connection.execute(wanted.order_by(batch_lines.c.position).limit(_PAGE_LINES))).all()
            for row in rows:
                values = dict(row._mapping)
                del values["batch_id"]
                for name, place in _SEALED_OF_LINE.items():
                    if values[name] is not None:
                        at = row_id(batch_id, row.position)
                        values[name] = self._vault.reveal(batch.person_id, place, at, values[name]).decode()
                line = Line(**values)
                said = together(said, self._heads.said(batch.person_id, batch_id, [_part(line)]))
                yield line
            if len(rows) < _PAGE_LINES:
                await self._require_said(batch, said)
                return
            position = rows[-1].position

    async def drop_lines(self, connection: Connection, batch_id: str) -> None:
        """The results are kept elsewhere."""
        await connection.execute(delete(batch_lines).where(batch_lines.c.batch_id == batch_id))
        batch = await self.find(batch_id, connection)
        if batch is not None:
            await self._grown(connection, batch, said=NOTHING)

    async def delete(self, connection: Connection, batch_id: str) -> None:
        """The batch and its results are gone."""
        await self.purge(connection, [batch_id])

    async def purge(self, connection: Connection, batch_ids: Collection[str]) -> int:
        """Those of these batches that are there are gone with their results, in the caller's transaction. How many."""
        return sum((await connection.run_sync(self._heads.remove, batches.c.id.in_(batch_ids))).values())

    async def _grown(
        self, connection: Connection, batch: Batch, lines: Sequence[Part] = (), *, said: bytes | None = None
    ) -> None:
        """Bring the head up to date with the row, with `lines` more, or with lines that come to `said`."""
        sealed = await connection.scalar(select(batches.c.head).where(batches.c.id == batch.id))
        before = self._heads.opened(batch.person_id, batch.id, sealed)
        if said is None:
            said = together(before.said, self._heads.said(batch.person_id, batch.id, lines))
        after = Head(before.changes + 1, said, self._about(batch))
        await connection.run_sync(self._heads.put, batch.person_id, batch.id, before, after)

    async def _require_said(self, batch: Batch, said: bytes) -> None:
        """Return if that is what the batch's lines come to, or it is changed meanwhile."""
        async with self._db.reading() as connection:
            wanted = select(batches.c.head, batches.c.state).where(batches.c.id == batch.id)
            row = (await connection.execute(wanted)).one_or_none()
        if row is not None and row.state == batch.state and row.state not in _GROWING:
            head = self._heads.opened(batch.person_id, batch.id, row.head)
            if head.said != said:
                raise kept_changed()

    def _sealed_line(self, batch: Batch, line: Line) -> dict[str, bytes | None]:
        given = {"custom_id": line.custom_id, "body": line.body}
        at = row_id(batch.id, line.position)
        return {
            name: None if text is None else self._vault.seal(batch.person_id, _SEALED_OF_LINE[name], at, text.encode())
            for name, text in given.items()
        }

    def _stored(self, person_id: str, batch_id: str, values: dict[str, Any]) -> dict[str, Any]:
        for name, place in _SEALED.items():
            if name in values:
                values[name] = self._vault.seal(person_id, place, batch_id, msgspec.json.encode(values[name]))
        return values

    def _fitting(self, row: Row[*tuple[Any, ...]]) -> Batch:
        """A row as it was left. Raises Untrusted(`kept_changed`)."""
        batch = self._batch(row)
        self._heads.require_about(row, _said_of(asdict(batch)))
        return batch

    def _batch(self, row: Row[*tuple[Any, ...]]) -> Batch:
        """A row as it lies here."""
        values = dict(row._mapping)
        del values["head"]
        for name, place in _SEALED.items():
            values[name] = msgspec.json.decode(self._vault.reveal(row.person_id, place, row.id, values[name]))
        return Batch(**values)

    def _about(self, batch: Batch) -> bytes:
        return self._heads.about(batch.person_id, batch.id, _said_of(asdict(batch)), batch.workspace_id)

    def _lying(self, connection: BlockingConnection, row: Row[Any]) -> tuple[Head, int]:
        """What a row comes to as it lies here: see `vault.heads`."""
        parts, lost = [], 0
        for each in connection.execute(select(batch_lines).where(batch_lines.c.batch_id == row.id)):
            at = row_id(row.id, each.position)
            name = self._heads.revealed(row.person_id, BATCH_LINE_NAME, at, each.custom_id)
            body = each.body and self._heads.revealed(row.person_id, BATCH_LINE, at, each.body)
            lost += (name is None) + (body is None and each.body is not None)
            line = dict(each._mapping) | {"custom_id": (name or b"").decode(), "body": body and body.decode()}
            del line["batch_id"]
            parts.append(_part(Line(**line)))
        values = dict(row._mapping)
        for place in (BATCH_NOTES, BATCH_ERRORS):
            opened = self._heads.revealed(row.person_id, place, row.id, values[place.column.name])
            lost += opened is None
            values[place.column.name] = opened and msgspec.json.decode(opened)
        about = self._heads.about(row.person_id, row.id, _said_of(values), row.workspace_id)
        return Head(0, self._heads.said(row.person_id, row.id, parts), about), lost


#: What a batch's head holds of its row, besides its workspace.
HELD = (
    "actor_kind", "credential_id", "dialect", "endpoint", "created_ms", "expires_ms", "state", "ending",
    "input_file_id", "output_file_id", "error_file_id", "output_expires_s", "total", "completed", "failed", "skipped",
    "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "begun_ms", "finalizing_ms",
    "cancelling_ms", "ended_ms", "notes", "errors", "purpose_there",
)  # fmt: skip


def _said_of(values: Mapping[str, Any]) -> bytes:
    # without what is not there: a column that comes later changes nothing of batches of before
    return msgspec.json.encode({name: values[name] for name in HELD if values[name] is not None})


def _part(line: Line) -> Part:
    content = msgspec.json.encode([line.outcome, line.status, line.request_id, line.body])
    return Part(line.position, line.custom_id, "", content)
