"""Opening the database, one writer at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config as AlembicConfig
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

#: What `reading()` and `writing()` give: SQLAlchemy's connection, on which rooms run their own Core queries.
Connection = AsyncConnection

_MIGRATIONS = Path(__file__).parent / "migrations"
#: A writer that cannot get the lock for this long gives up: another process holds the database.
_BUSY_TIMEOUT_S = 10.0


class Database:
    """An open database. Make one with `Database.open(path)`; close it with `close()`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        # SQLite has one writer; asking for the lock here keeps the wait fair and out of the driver's busy loop.
        self._writer = asyncio.Lock()

    @classmethod
    async def open(cls, file: Path) -> "Database":
        """Open `file`, making it and its tables where they are missing."""
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        await asyncio.to_thread(migrate, file)
        engine = create_async_engine(f"sqlite+aiosqlite:///{file}", connect_args={"timeout": _BUSY_TIMEOUT_S})
        _configure(engine.sync_engine)
        return cls(engine)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """A connection that sees one consistent state and writes nothing."""
        async with self._engine.connect() as connection:
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Connection]:
        """A transaction. Leaving the block commits it, durably; an error in the block undoes all of it."""
        async with self._writer, self._engine.connect() as connection:
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            await connection.commit()

    async def close(self) -> None:
        """Wait for the writer, then close every connection."""
        async with self._writer:
            await self._engine.dispose()


def migrate(file: Path) -> None:
    """Bring the tables of `file` up to date (blocking)."""
    engine = create_engine(f"sqlite:///{file}", connect_args={"timeout": _BUSY_TIMEOUT_S})
    _configure(engine)
    try:
        config = AlembicConfig()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
    finally:
        engine.dispose()


def _configure(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        # The driver's own implicit BEGIN would start a deferred transaction; `writing()` begins an immediate one.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA trusted_schema=OFF")
        cursor.close()
