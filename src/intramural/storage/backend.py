"""What a kind of database must do for `Database`."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import SimpleNamespace
from typing import Any, Protocol, TypeVar

import sqlalchemy
from sqlalchemy import ColumnElement, Select
from sqlalchemy.ext.asyncio import AsyncConnection

#: What `reading()` and `writing()` give: SQLAlchemy's connection, on which rooms run their own Core queries.
Connection = AsyncConnection
#: What `write()` and `read_apart()` give: the same, for code that waits for each statement.
BlockingConnection = sqlalchemy.Connection
#: A condition on rows, made of the columns that say whose they are and in which workspace (None: they have none).
Condition = Callable[[ColumnElement[Any], ColumnElement[Any] | None], ColumnElement[bool]]

Result = TypeVar("Result")


class Backend(Protocol):
    """See `Database`, whose methods these are."""

    def reading(self) -> AbstractAsyncContextManager[Connection]: ...

    def writing(self) -> AbstractAsyncContextManager[Connection]: ...

    async def write(self, work: Callable[[BlockingConnection], Result]) -> Result: ...

    async def look_up(self, query: Select[Any], *values: Any) -> SimpleNamespace | None: ...

    async def scrub(self, *, whole: bool) -> bool: ...

    async def claim(self) -> None: ...

    async def close(self) -> None: ...
