"""Statements that every request needs, run on the driver itself: same connection, same transaction, same errors.

SQLAlchemy takes about 0.1 ms of processor to run a statement that it knows, the driver 0.01. This is for statements
that are made once, and for values that the driver takes as they are: text, bytes, numbers, truth values, None.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from sqlalchemy import ClauseElement, Delete, Dialect, Insert, Select, Update
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from intramural.storage.postgres import storable


def insert_rows(connection: Connection, statement: Insert | Update | Delete, rows: Sequence[Mapping[str, Any]]) -> None:
    """As `connection.execute(statement, rows)`. All rows have the columns (or parameters) of the first."""
    kind = connection.dialect.name
    text, columns = _insertion(statement, tuple(rows[0]), kind)
    if kind == "sqlite":
        values = [tuple(row[name] for name in columns) for row in rows]
    else:
        values = [tuple(storable(row[name]) for name in columns) for row in rows]
    with errors_of(connection, text):
        connection.connection.cursor().executemany(text, values)


def scalar(connection: Connection, query: Select[Any]) -> Any:
    """As `connection.execute(query).scalar()`, for a query without parameters."""
    text = _text(query, connection.dialect.name)
    with errors_of(connection, text):
        cursor = connection.connection.cursor()
        cursor.execute(text)
        row = cursor.fetchone()
        cursor.close()
    return None if row is None else row[0]


@lru_cache(maxsize=64)
def _insertion(statement: Insert | Update | Delete, given: tuple[str, ...], kind: str) -> tuple[str, tuple[str, ...]]:
    """Its text, and the columns in the order in which the text wants them."""
    compiled = statement.compile(dialect=_dialect(kind), column_keys=list(given))
    return str(compiled), tuple(compiled.positiontup or ())


@lru_cache(maxsize=64)
def _text(statement: ClauseElement, kind: str) -> str:
    return str(statement.compile(dialect=_dialect(kind)))


@lru_cache
def _dialect(kind: str) -> Dialect:
    if kind == "sqlite":
        return sqlite.dialect(paramstyle="qmark")
    from sqlalchemy.dialects.postgresql import asyncpg  # 30 ms to import, for those alone who use it

    made: Dialect = asyncpg.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy gives it no types
    return made


@contextmanager
def errors_of(connection: Connection, text: str) -> Iterator[None]:
    """The driver's errors as SQLAlchemy's, which callers know. The values stay out of them."""
    error_class = connection.dialect.loaded_dbapi.Error
    try:
        yield
    except error_class as error:
        raise DBAPIError.instance(text, None, error, error_class) from error
