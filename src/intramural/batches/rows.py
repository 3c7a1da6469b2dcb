"""The rows of batches and of their answered lines."""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import msgspec
from sqlalchemy import Row, Select, delete, func, insert, select, update

from intramural.core.errors import Missing
from intramural.storage import Connection, Database
from intramural.storage.schema import batch_lines, batches

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


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch. Times in milliseconds; `credential_id` is what it was asked for with, and `actor_kind` of which kind.

    Of `total` lines so many `completed`, `failed` (an error was the answer) and were `skipped` (the batch ended before
    them). `notes` is what its owner attached, `errors` what was wrong with the batch as a whole.
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

    def __init__(self, db: Database) -> None:
        self._db = db

    def writing(self) -> AbstractAsyncContextManager[Connection]:
        """A transaction for the methods below."""
        return self._db.writing()

    async def add(self, connection: Connection, batch: Batch) -> None:
        """A new batch."""
        await connection.execute(insert(batches).values(**_stored(asdict(batch))))

    async def change(self, connection: Connection, batch_id: str, **values: Any) -> Batch | None:
        """Set columns; the batch as it is then, or None where it is gone."""
        await connection.execute(update(batches).where(batches.c.id == batch_id).values(**_stored(values)))
        return _batch((await connection.execute(select(batches).where(batches.c.id == batch_id))).one_or_none())

    async def find(self, batch_id: str, connection: Connection | None = None) -> Batch | None:
        """The batch, whosever it is."""
        wanted = select(batches).where(batches.c.id == batch_id)
        if connection is not None:
            return _batch((await connection.execute(wanted)).one_or_none())
        async with self._db.reading() as reading:
            return _batch((await reading.execute(wanted)).one_or_none())

    async def get(self, person_id: str, dialect: str, batch_id: str, connection: Connection | None = None) -> Batch:
        """This person's batch. Raises Missing(`batch_not_found`)."""
        found = await self.find(batch_id, connection)
        if found is None or (found.person_id, found.dialect) != (person_id, dialect):
            raise Missing("batch_not_found", "There is no such batch.", "List the batches to see which are there.")
        return found

    async def list(
        self, person_id: str, dialect: str, *, limit: int, after: str | None = None, before: str | None = None
    ) -> list[Batch]:
        """This person's, the newest first: those older than `after`, or the nearest of those newer than `before`."""
        wanted = select(batches).where(batches.c.person_id == person_id, batches.c.dialect == dialect)
        if after is not None:
            wanted = wanted.where(batches.c.id < after)
        if before is not None:
            wanted = wanted.where(batches.c.id > before)
        by = batches.c.id.asc() if before is not None and after is None else batches.c.id.desc()
        async with self._db.reading() as connection:
            found = await _all(connection, wanted.order_by(by).limit(limit))
        return sorted(found, key=lambda batch: batch.id, reverse=True)

    async def open(self) -> Sequence[Batch]:
        """Those with something to do, the oldest first."""
        async with self._db.reading() as connection:
            return await _all(connection, select(batches).where(batches.c.state.in_(OPEN)).order_by(batches.c.id))

    async def count_open(self, connection: Connection, person_id: str) -> int:
        """How many of this person's have something to do."""
        wanted = select(func.count()).where(batches.c.person_id == person_id, batches.c.state.in_(OPEN))
        return int(await connection.scalar(wanted) or 0)

    async def record(self, connection: Connection, batch_id: str, lines: Collection[Line]) -> None:
        """The results of lines; a position that has one already is refused by the database."""
        await connection.execute(insert(batch_lines), [{"batch_id": batch_id, **asdict(line)} for line in lines])

    async def lines(self, batch_id: str) -> AsyncGenerator[Line, None]:
        """Every result, in the order of the lines."""
        position = -1
        while True:
            wanted = select(batch_lines).where(batch_lines.c.batch_id == batch_id, batch_lines.c.position > position)
            async with self._db.reading() as connection:
                rows = (await connection.execute(wanted.order_by(batch_lines.c.position).limit(_PAGE_LINES))).all()
            for row in rows:
                values = dict(row._mapping)
                del values["batch_id"]
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


async def _all(connection: Connection, wanted: Select[Any]) -> list[Batch]:
    return [batch for row in await connection.execute(wanted) if (batch := _batch(row)) is not None]


def _stored(values: dict[str, Any]) -> dict[str, Any]:
    for name in ("notes", "errors"):
        if name in values:
            values[name] = msgspec.json.encode(values[name]).decode()
    return values


def _batch(row: Row[*tuple[Any, ...]] | None) -> Batch | None:
    if row is None:
        return None
    values = dict(row._mapping)
    return Batch(
        **{**values, "notes": msgspec.json.decode(values["notes"]), "errors": msgspec.json.decode(values["errors"])}
    )
