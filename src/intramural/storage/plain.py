"""Statements that every request needs, run on the driver itself: same connection, same transaction, same errors.

SQLAlchemy takes about 0.1 ms of processor to run a statement that it knows, the driver 0.01. This is for statements
that are made once, and for values that the driver takes as they are: text, bytes, numbers, None.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from sqlalchemy import ClauseElement, Delete, Insert, Select, Update
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

_DIALECT = sqlite.dialect(paramstyle="qmark")


def insert_rows(connection: Connection, statement: Insert | Update | Delete, rows: Sequence[Mapping[str, Any]]) -> None:
    """As `connection.execute(statement, rows)`. All rows have the columns (or parameters) of the first."""
    text, columns = _insertion(statement, tuple(rows[0]))
    with _errors_of(text):
        connection.connection.cursor().executemany(text, [tuple(row[name] for name in columns) for row in rows])


def scalar(connection: Connection, query: Select[Any]) -> Any:
    """As `connection.execute(query).scalar()`, for a query without parameters."""
    text = _text(query)
    with _errors_of(text):
        cursor = connection.connection.cursor()
        cursor.execute(text)
        row = cursor.fetchone()
        cursor.close()
    return None if row is None else row[0]


@lru_cache(maxsize=64)
def _insertion(statement: Insert | Update | Delete, given: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Its text, and the columns in the order in which the text wants them."""
    compiled = statement.compile(dialect=_DIALECT, column_keys=list(given))
    return str(compiled), tuple(compiled.positiontup or ())


@lru_cache(maxsize=64)
def _text(statement: ClauseElement) -> str:
    return str(statement.compile(dialect=_DIALECT))


@contextmanager
def _errors_of(text: str) -> Iterator[None]:
    """The driver's errors as SQLAlchemy's, which callers know. The values stay out of them."""
    try:
        yield
    except sqlite3.Error as error:
        raise DBAPIError.instance(text, None, error, sqlite3.Error) from error
