"""Where tests keep their database: a file, or on the PostgreSQL server that INTRAMURAL_TEST_POSTGRES names.

There each file's name stands for a database of its own. Both kinds are made of a template that has all tables.
"""

import asyncio
import itertools
import os
import sqlite3
import tempfile
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from intramural.storage import Database, database
from intramural.storage.database import head_revision
from intramural.storage.postgres import migrate
from intramural.storage.revision import MIGRATIONS
from intramural.storage.schema import metadata

#: `postgresql://…/`, without a database's name; empty: files.
SERVER = os.environ.get("INTRAMURAL_TEST_POSTGRES", "")
_TEMPLATE = f"intramural_{head_revision()}"
_LOCALE = "TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'"
_made: dict[Path, str] = {}
_free: list[str] = []
_numbers = itertools.count()

_Result = TypeVar("_Result")


def place(file: Path) -> Path | str:
    """The address of the database that `file` names, the same each time; on a server it is made when it is missing."""
    return _postgres(file, empty=False) if SERVER else file


def empty_postgres(file: Path) -> str:
    """A database on the server without any table."""
    return _postgres(file, empty=True)


async def opened(file: Path) -> Database:
    """The database that `file` names, open."""
    if not SERVER:
        furnish(file)
    return await Database.open(place(file))


def settings(file: Path) -> dict[str, str]:
    """What tells a house to use the database that `file`, `intramural.db` in its data directory, names."""
    if SERVER:
        return {"INTRAMURAL_STORAGE_URL": str(place(file))}
    furnish(file)
    return {}


def furnish(file: Path) -> None:
    """Make `file` with all tables and nothing in them, if it is not there.

    To run every migration takes a hundred times as long; what they make is held against the schema in `tests/storage`.
    """
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.write_bytes(_template())


@cache
def _template() -> bytes:
    """What an empty database is as a file, all of it in the one."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "empty.db"
        database.migrate(made)
        with closing(sqlite3.connect(made)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return made.read_bytes()


def file_of(db: Database) -> Path:
    """The file that names `db`."""
    if isinstance(db.address, Path):
        return db.address
    return next(file for file, name in _made.items() if server_url(name) == db.address)


def query(address: Path | str, text: str) -> list[tuple[Any, ...]]:
    """What a statement gives, asked past the product; what it changes is committed."""
    if isinstance(address, Path):
        with closing(sqlite3.connect(address)) as connection, connection:
            return connection.execute(text).fetchall()
    return [tuple(row) for row in _wait(_ask(address, text))]


def everything(address: Path | str) -> bytes:
    """All that a database holds, to look for what it must not hold: the files, or every column of every row."""
    if isinstance(address, Path):
        return b"".join(file.read_bytes() for file in address.parent.rglob(f"{address.name}*"))
    tables = [table.name for table in metadata.sorted_tables]
    values = [value for table in tables for row in query(address, f"SELECT * FROM {table}") for value in row]
    return b"\n".join(value if isinstance(value, bytes) else str(value).encode() for value in values)


def release(folder: Path) -> None:
    """Empty the databases made for files below `folder`; the next tests get them. (To drop one takes a second.)"""
    over = {file: _made.pop(file) for file in list(_made) if file.is_relative_to(folder)}
    if over:
        _wait(_empty(list(over.values())))


def _postgres(file: Path, *, empty: bool) -> str:
    if file not in _made:
        name = f"t_{os.getpid()}_{next(_numbers)}"
        if empty:
            _wait(_make(name, _LOCALE))
        elif _free:
            name = _free.pop()
        else:
            _wait(_make(name, f"TEMPLATE {_TEMPLATE}"))
        _made[file] = name
    return server_url(_made[file])


def server_url(name: str) -> str:
    """The address of the database called `name` on the server."""
    head, mark, options = SERVER.partition("?")
    return f"{head}{name}{mark}{options}"


async def _make(name: str, like: str) -> None:
    server = await asyncpg.connect(server_url("postgres"))
    try:
        await server.execute("SELECT pg_advisory_lock(1)")  # several processes of tests, one template
        if not await server.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", _TEMPLATE):
            await server.execute(f"DROP DATABASE IF EXISTS {_TEMPLATE}_")  # left by who was stopped
            await server.execute(f"CREATE DATABASE {_TEMPLATE}_ {_LOCALE}")
            await migrate(server_url(f"{_TEMPLATE}_"), MIGRATIONS)
            await server.execute(f"ALTER DATABASE {_TEMPLATE}_ RENAME TO {_TEMPLATE}")
        await server.execute("SELECT pg_advisory_unlock(1)")
        await server.execute(f"CREATE DATABASE {name} {like}")
    finally:
        await server.close()


async def _empty(names: list[str]) -> None:
    """Of all rows, and of connections that a test left; what has other tables than it should is dropped."""
    server = await asyncpg.connect(server_url("postgres"))
    await server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY ($1)", names)
    for name in names:
        connection = await asyncpg.connect(server_url(name))
        there = {
            row[0] for row in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        }
        ours = {*(table.name for table in metadata.sorted_tables), "alembic_version"}
        if there == ours:
            emptied = [table.name for table in reversed(metadata.sorted_tables)]
            await connection.execute(";".join(f"DELETE FROM {table}" for table in emptied))
        await connection.close()
        if there == ours:
            _free.append(name)
        else:
            await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await server.close()


async def _ask(url: str, text: str) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        return list(await connection.fetch(text))
    finally:
        await connection.close()


def _wait(work: Coroutine[Any, Any, _Result]) -> _Result:
    """On a thread of its own: the caller's may run a loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
