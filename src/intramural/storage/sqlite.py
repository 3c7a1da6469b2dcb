"""SQLite: one file, one writer, readers that never wait for it."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Engine, Select, create_engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from intramural.core.durable import sync_folder
from intramural.storage import revision
from intramural.storage.backend import BlockingConnection, Connection, Result
from intramural.storage.writer import Writer

# `hide_parameters`: what people wrote is in no error, and so in no log of the service's.
#: A writer that cannot get the lock for this long gives up: another process holds the database.
_CONNECT_ARGS = {"timeout": 10.0}
_SCRUB_TRIES, _SCRUB_WAIT_S = 20, 0.05


class Sqlite:
    """An open file. Every method is described where it is used: at `Database`."""

    def __init__(self, engine: AsyncEngine, hot: Engine) -> None:
        self._engine = engine
        self._hot = hot
        self._hot_writer = Writer(hot)
        # No transaction of its own: each look-up sees what is committed when it is made.
        self._looking = hot.raw_connection()
        self._texts: dict[Select[Any], tuple[str, tuple[str, ...]]] = {}  # and the names of its columns
        # SQLite has one writer; asking for the lock here keeps the wait fair and out of the driver's busy loop.
        self._writer = asyncio.Lock()

    @classmethod
    async def open(cls, file: Path) -> "Sqlite":
        """Open `file`, making it and its tables where they are missing."""
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        await asyncio.to_thread(migrate, file)
        engine = create_async_engine(
            _url("sqlite+aiosqlite", str(file)), connect_args=_CONNECT_ARGS, hide_parameters=True
        )
        _configure(engine.sync_engine)
        return cls(engine, _blocking_engine(file))

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        async with self._engine.connect() as connection:
            await connection.exec_driver_sql("BEGIN")
            yield connection

    async def look_up(self, query: Select[Any], *values: Any) -> SimpleNamespace | None:
        """Read here and now on the loop's thread: 0.05 ms, where the driver's thread takes 2."""
        known = self._texts.get(query)
        if known is None:
            known = self._texts[query] = str(query.compile(self._hot)), tuple(query.selected_columns.keys())
        text, names = known
        try:
            row = self._looking.cursor().execute(text, values).fetchone()
        except sqlite3.OperationalError as error:
            raise OperationalError(text, None, error) from error
        return None if row is None else SimpleNamespace(**dict(zip(names, row, strict=True)))

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Connection]:
        async with self._writer, self._engine.connect() as connection:
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            await connection.commit()

    async def write(self, work: Callable[[BlockingConnection], Result]) -> Result:
        """On the writer's own thread: every statement in `writing()` costs several hops between threads (0.1 ms each),
        here the whole transaction costs one.
        """
        async with self._writer:
            return await self._hot_writer.transaction(work)

    async def scrub(self, *, whole: bool) -> bool:
        """What is deleted was overwritten; here the log of writes is emptied into the file too."""
        for _ in range(_SCRUB_TRIES):
            async with self._writer:
                done = await self._hot_writer.run(partial(_scrub, self._hot, whole))
            if done:
                return True
            whole = False
            await asyncio.sleep(_SCRUB_WAIT_S)
        return False

    async def claim(self) -> None:
        """Nothing to do: the data directory's lock file holds the file in it as well."""

    async def close(self) -> None:
        async with self._writer:
            self._hot_writer.close()
            self._looking.close()
            self._hot.dispose()
            await self._engine.dispose()


@contextmanager
def reading_file(file: Path) -> Iterator[BlockingConnection]:
    """A database file, opened by somebody who must not change it (blocking): one consistent state of it.

    Works beside a running service. A file without a write-ahead log in a folder that cannot be written (a copy on
    read-only media) is read as it lies. Raises sqlalchemy.exc.DatabaseError where `file` is no database.
    """
    lying = not os.access(file.parent, os.W_OK) and not file.with_name(file.name + "-wal").exists()
    options = {"mode": "ro", "uri": "true"} | ({"immutable": "1"} if lying else {})
    engine = create_engine(
        _url("sqlite", f"file:{quote(str(file))}", options), connect_args=_CONNECT_ARGS, hide_parameters=True
    )
    event.listen(engine, "connect", _without_driver_transactions)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            yield connection
    finally:
        engine.dispose()


@contextmanager
def filling_file(file: Path) -> Iterator[BlockingConnection]:
    """A new file with the present tables, in one transaction; it has its name when the block has ended without error.

    Raises FileExistsError where there is such a file.
    """
    part = file.with_name(f"{file.name}.part")
    _remove(part)
    migrate(part)
    engine = _blocking_engine(part)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()
            # what is in the log goes into the file, which alone is given its name
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        engine.dispose()
    file.hardlink_to(part)
    _remove(part)
    sync_folder(file.parent)


def _remove(file: Path) -> None:
    for end in ("", "-wal", "-shm", "-journal"):
        file.with_name(file.name + end).unlink(missing_ok=True)


def migrate(file: Path, migrations: Path = revision.MIGRATIONS) -> None:
    """Bring the tables of `file` up to date (blocking)."""
    engine = _blocking_engine(file)
    try:
        with engine.connect() as connection:
            if revision.is_current(connection, migrations):
                return
            # A table made anew is dropped on the way: with its keys on, all rows that refer to it would go as well.
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
            # All or nothing: a file is never between two revisions, whenever this process ends.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            revision.upgrade(connection, migrations)
            connection.commit()
    finally:
        engine.dispose()


def _scrub(engine: Engine, whole: bool) -> bool:
    with engine.connect() as connection:
        if whole:
            connection.exec_driver_sql("VACUUM")
        busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
    return not busy


def _blocking_engine(file: Path) -> Engine:
    engine = create_engine(_url("sqlite", str(file)), connect_args=_CONNECT_ARGS, hide_parameters=True)
    _configure(engine)
    return engine


def _url(driver: str, name: str, options: Mapping[str, str] | None = None) -> URL:
    """Made of parts, not of text: folders may be called anything."""
    return URL.create(driver, database=name, query=options or {})


def _without_driver_transactions(connection: Any, _record: Any) -> None:
    # The driver's own implicit BEGIN would start a deferred transaction; `writing()` begins an immediate one.
    connection.isolation_level = None


def _configure(engine: Engine) -> None:
    event.listen(engine, "connect", _without_driver_transactions)

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA trusted_schema=OFF")
        cursor.execute("PRAGMA secure_delete=ON")  # what is deleted is overwritten: a destroyed key must be gone
        cursor.close()
