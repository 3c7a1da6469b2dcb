"""All rows of a database, in one form whatever kind of database it is: for moving it, and for backups.

Rows are tuples in the order of the table's columns, ordered by the primary key, which both kinds order alike.
"""

import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, func, insert, select

from intramural.storage import postgres, sqlite
from intramural.storage.postgres import storable
from intramural.storage.schema import metadata

Row = Sequence[Any]
_ROWS_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Content:
    """What a table holds: how many rows, and SHA-256 (hex) over them."""

    rows: int
    digest: str


def tables() -> list[Table]:
    """Every table, each after those that its rows refer to."""
    return list(metadata.sorted_tables)


@asynccontextmanager
async def reading(address: Path | str) -> AsyncIterator[Connection]:
    """A database that nobody here has open, as it is at one moment; for `sqlalchemy.util.greenlet_spawn`.

    Raises Misasked(`bad_database`), Unavailable(`database_unreachable`).
    """
    if isinstance(address, Path):
        with sqlite.reading_file(address) as connection:
            yield connection
        return
    async with postgres.reading_apart(address) as asynchronous:
        connected = asynchronous.sync_connection
        assert connected is not None
        yield connected


@asynccontextmanager
async def filling(address: Path | str) -> AsyncIterator[Connection]:
    """A database to be filled, with the present tables, in one transaction: it is committed when the block ends, and
    without an error. An SQLite file is made, and has its name only then; it must not be there before.
    """
    if isinstance(address, Path):
        with sqlite.filling_file(address) as connection:
            yield connection
        return
    async with postgres.filling(address) as asynchronous:
        connected = asynchronous.sync_connection
        assert connected is not None
        yield connected


def batches(connection: Connection, table: Table) -> Iterator[list[Row]]:
    """All rows of `table`, some at a time."""
    order = list(table.primary_key.columns) or list(table.columns)
    query = select(table).order_by(*order).execution_options(yield_per=_ROWS_AT_ONCE)
    result = connection.execute(query)
    for part in result.partitions():
        yield [tuple(row) for row in part]


def fill(connection: Connection, table: Table, rows: Iterable[list[Row]]) -> int:
    """Insert rows as `batches` gives them; how many."""
    names = [column.name for column in table.columns]
    count = 0
    for part in _parents_first(table, rows):
        connection.execute(insert(table), [dict(zip(names, row, strict=True)) for row in part])
        count += len(part)
    return count


def _parents_first(table: Table, rows: Iterable[list[Row]]) -> Iterable[list[Row]]:
    """Where rows refer to rows of their own table: each after that one."""
    names = [column.name for column in table.columns]
    refers = [
        (names.index(key.parent.name), names.index(key.column.name))
        for key in table.foreign_keys
        if key.column.table is table
    ]
    if not refers:
        return rows
    waiting = [row for part in rows for row in part]
    ordered: list[Row] = []
    there: dict[int, set[Any]] = {to: {None} for _, to in refers}
    while waiting:
        ready = [row for row in waiting if all(row[at] in there[to] or row[at] == row[to] for at, to in refers)]
        if not ready:
            break  # a circle; the database says what is wrong with it
        for to, known in there.items():
            known.update(row[to] for row in ready)
        ordered += ready
        placed = set(map(id, ready))
        waiting = [row for row in waiting if id(row) not in placed]
    return [[row] for row in ordered + waiting]


def content(connection: Connection, table: Table) -> Content:
    """What `table` holds, the same for equal rows in whichever database."""
    summed, count = hashlib.sha256(), 0
    for part in batches(connection, table):
        for row in part:
            summed.update(encoded(row))
        count += len(part)
    return Content(count, summed.hexdigest())


def encoded(row: Row) -> bytes:
    """A row as bytes (MessagePack), with what PostgreSQL's text cannot hold replaced as it is there."""
    return msgspec.msgpack.encode(tuple(storable(value) for value in row))


def decoded(data: bytes) -> Row:
    """The opposite of `encoded`. Raises msgspec.DecodeError."""
    return msgspec.msgpack.decode(data, type=tuple)


def holds_rows(connection: Connection) -> str | None:
    """The name of a table with something in it; None: there is nothing."""
    for table in tables():
        if connection.execute(select(func.count()).select_from(table)).scalar_one():
            return table.name
    return None
