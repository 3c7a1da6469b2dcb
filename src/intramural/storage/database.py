"""Opening the database, wherever it is."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Column, Insert, Select, Table
from sqlalchemy.exc import OperationalError

from intramural.storage import postgres, sqlite
from intramural.storage.backend import Backend, BlockingConnection, Connection, DatabaseDown, Result, is_down
from intramural.storage.revision import MIGRATIONS, head_revision

__all__ = ["BlockingConnection", "Connection", "Database", "head_revision", "migrate", "read_apart"]


class Database:
    """An open database. Make one with `Database.open(address)`; close it with `close()`.

    `address` is SQLite's file, or a text `postgresql://…`. Whatever reads or writes raises DatabaseDown where the disk,
    the file or the server cannot do it: then nothing was done.
    """

    def __init__(self, address: Path | str, backend: Backend) -> None:
        self.address = address
        self._backend = backend

    @classmethod
    async def open(cls, address: Path | str) -> "Database":
        """Open it, making the file (not a PostgreSQL database) and the tables where they are missing.

        Raises Misasked(`bad_database`), Unavailable(`database_unreachable`), Refused(`database_unfit`), DatabaseDown.
        """
        with _down():
            if isinstance(address, Path):
                return cls(address, await sqlite.Sqlite.open(address))
            return cls(address, await postgres.Postgres.open(address))

    @property
    def file(self) -> Path:
        """SQLite's file. A mistake (TypeError) to ask for on PostgreSQL."""
        if not isinstance(self.address, Path):
            raise TypeError("this database is not a file")
        return self.address

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """A connection that sees one consistent state and writes nothing."""
        with _down():
            async with self._backend.reading() as connection:
                yield connection

    async def look_up(self, query: Select[Any], *values: Any) -> SimpleNamespace | None:
        """One row by its key, in about 0.1 ms.

        For the path of every request, and for queries that an index answers. `query` is made once; `values` are those
        of its bindparams, in order. The result has an attribute for each column.
        """
        with _down():
            return await self._backend.look_up(query, *values)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Connection]:
        """A transaction, the only one that writes. Leaving the block commits it, durably; an error in the block undoes
        all of it.
        """
        with _down():
            async with self._backend.writing() as connection:
                yield connection

    async def write(self, work: Callable[[BlockingConnection], Result]) -> Result:
        """`writing()` for short hot work: `work` runs as one transaction, in one go.

        `work` must wait for nothing but the database. Returns what `work` returns, once it is durable.
        """
        with _down():
            return await self._backend.write(work)

    def adding(self, table: Table, column: Column[int]) -> Insert:
        """An insertion of rows of `table`, which adds to `column` of a row of the same key where there is one."""
        # the two insertions are alike, and SQLAlchemy has one for each kind
        if isinstance(self.address, Path):
            from sqlalchemy.dialects.sqlite import insert
        else:
            from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]  # as said
        made = insert(table)
        added = {column.name: column + made.excluded[column.name]}
        return made.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=added)

    async def claim(self) -> None:
        """Keep other services off this database until it is closed. Raises Conflicting(`database_in_use`)."""
        await self._backend.claim()

    async def scrub(self, *, whole: bool = False) -> bool:
        """Leave nothing of what was deleted in the database's own files. `whole`: it is written anew, also for what
        was deleted before it did so. PostgreSQL's log of writes is the server's affair.

        False where a reader was in the way for long; then later writes do it.
        """
        return await self._backend.scrub(whole=whole)

    async def close(self) -> None:
        """Wait for the writer, then close every connection."""
        await self._backend.close()


@contextmanager
def _down() -> Iterator[None]:
    """What the machine is to blame for, by its name; mistakes in statements stay what they are."""
    try:
        yield
    except OperationalError as error:
        if not is_down(error):
            raise
        raise DatabaseDown from error


def read_apart(address: Path | str, work: Callable[[BlockingConnection], Result]) -> Result:
    """`work` on a database that somebody else may have open, and that it must not change: one consistent state of it.

    Blocking, on a thread that runs no event loop. Raises sqlalchemy.exc.DatabaseError where there is no database.
    """
    if isinstance(address, Path):
        with sqlite.reading_file(address) as connection:
            return work(connection)
    return asyncio.run(postgres.read_apart(address, work))


def migrate(address: Path | str, migrations: Path = MIGRATIONS) -> None:
    """Bring the tables up to date (blocking, on a thread that runs no event loop)."""
    if isinstance(address, Path):
        sqlite.migrate(address, migrations)
    else:
        asyncio.run(postgres.migrate(address, migrations))
