"""What a kind of database must do for `Database`."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import SimpleNamespace
from typing import Any, Protocol, TypeVar

import sqlalchemy
from sqlalchemy import ColumnElement, Select
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from intramural.core.errors import Unavailable

#: What `reading()` and `writing()` give: SQLAlchemy's connection, on which rooms run their own Core queries.
Connection = AsyncConnection
#: What `write()` and `read_apart()` give: the same, for code that waits for each statement.
BlockingConnection = sqlalchemy.Connection
#: A condition on rows, made of the columns that say whose they are and in which workspace (None: they have none).
Condition = Callable[[ColumnElement[Any], ColumnElement[Any] | None], ColumnElement[bool]]

Result = TypeVar("Result")

#: SQLite's primary codes for what is no mistake in a statement: busy, locked, out of memory, read-only, an error of the
#: disk, full, a file that cannot be opened (sqlite.org/rescode.html). PostgreSQL's adapter tells them by itself.
_MACHINES_FAULT = frozenset((5, 6, 7, 8, 10, 13, 14))


class DatabaseDown(Unavailable):
    """It cannot be read or written now; what was begun is undone."""

    def __init__(self) -> None:
        super().__init__(
            "database_unavailable",
            "The database cannot be read or written, so nothing was done.",
            "Look at the disk of the data directory: is it full, read-only or damaged?",
        )


def is_down(error: OperationalError) -> bool:
    """Whether the machine is at fault, and not the statement."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    return not isinstance(code, int) or code & 0xFF in _MACHINES_FAULT


class Backend(Protocol):
    """See `Database`, whose methods these are."""

    def reading(self) -> AbstractAsyncContextManager[Connection]: ...

    def writing(self) -> AbstractAsyncContextManager[Connection]: ...

    async def write(self, work: Callable[[BlockingConnection], Result]) -> Result: ...

    async def look_up(self, query: Select[Any], *values: Any) -> SimpleNamespace | None: ...

    async def scrub(self, *, whole: bool) -> bool: ...

    async def claim(self) -> None: ...

    async def close(self) -> None: ...
