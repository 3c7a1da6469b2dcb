"""The rows of batches and of their answered lines."""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import msgspec
from sqlalchemy import Row, Select, delete, func, insert, select, update

from intramural.core.actor import Whose
from intramural.core.errors import Missing
from intramural.storage import Connection, Database
from intramural.storage.schema import batch_lines, batches
from intramural.vault import Vault, row_id
from intramural.vault.places import BATCH_ERRORS, BATCH_LINE, BATCH_LINE_NAME, BATCH_NOTES

#: OpenAI's words. `finalizing`: no line is answered any more, the results are being put together.
BatchState = Literal[
    "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
]
#: How a batch that has its results ends.
Ending = Literal["completed", "expired", "cancelled"]
LineOutcome = Literal["succeeded", "errored", "expired", "canceled"]
#: States in which there is still something to do.
OPEN: tuple[BatchState, ...] = ("validating", "in_progress", "cancelling", "finalizing")
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

    def __init__(self, db: Database, vault: Vault) -> None:
        self._db = db
        self._vault = vault

    def writing(self) -> AbstractAsyncContextManager[Connection]:
        """A transaction for the methods below."""
        return self._db.writing()

    async def add(self, connection: Connection, batch: Batch) -> None:
        """A new batch."""
        await connection.execute(insert(batches).values(**self._stored(batch.person_id, batch.id, asdict(batch))))

    async def change(self, connection: Connection, batch_id: str, **values: Any) -> Batch | None:
        """Set columns; the batch as it is then, or None where it is gone."""
        found = await self.find(batch_id, connection)
        if found is None:
            return None
        stored = self._stored(found.person_id, batch_id, dict(values))
        await connection.execute(update(batches).where(batches.c.id == batch_id).values(**stored))
        return replace(found, **values)

    async def find(self, batch_id: str, connection: Connection | None = None) -> Batch | None:
        """The batch, whosever it is."""
        wanted = select(batches).where(batches.c.id == batch_id)
        if connection is not None:
            return self._batch((await connection.execute(wanted)).one_or_none())
        async with self._db.reading() as reading:
            return self._batch((await reading.execute(wanted)).one_or_none())

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
            found = await self._all(connection, wanted.order_by(by).limit(limit))
        return sorted(found, key=lambda batch: batch.id, reverse=True)

    async def open(self) -> Sequence[Batch]:
        """Those with something to do, the oldest first."""
        async with self._db.reading() as connection:
            return await self._all(connection, select(batches).where(batches.c.state.in_(OPEN)).order_by(batches.c.id))

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

    async def lines(self, batch: Batch) -> AsyncGenerator[Line, None]:
        """Every result, in the order of the lines."""
        batch_id = batch.id
        position = -1
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
                yield Line(**values)
            if len(rows) < _PAGE_LINES:
                return
            position = rows[-1].position

    async def drop_lines(self, connection: Connection, batch_id: str) -> None:
        """The results are kept elsewhere."""
        await connection.execute(delete(batch_lines).where(batch_lines.c.batch_id == batch_id))

    async def delete(self, connection: Connection, batch_id: str) -> None:
        """The batch and its results are gone."""
        await connection.execute(delete(batches).where(batches.c.id == batch_id))

    async def _all(self, connection: Connection, wanted: Select[Any]) -> Sequence[Batch]:
        return [batch for row in await connection.execute(wanted) if (batch := self._batch(row)) is not None]

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

    def _batch(self, row: Row[*tuple[Any, ...]] | None) -> Batch | None:
        if row is None:
            return None
        values = dict(row._mapping)
        for name, place in _SEALED.items():
            values[name] = msgspec.json.decode(self._vault.reveal(row.person_id, place, row.id, values[name]))
        return Batch(**values)
