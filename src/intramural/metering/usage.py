"""Who used how much: one row per request, from the engine's own counts, and sums over them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import msgspec
from msgspec import structs
from msgspec.structs import replace
from sqlalchemy import ColumnElement, Insert, case, func, insert, select
from sqlalchemy.exc import IntegrityError

from intramural.core.clock import Clock
from intramural.core.errors import Conflicting, Unavailable
from intramural.storage import Connection, Database, DatabaseDown
from intramural.storage.schema import usage

Dialect = Literal["openai", "anthropic", "ollama", "mcp", "page", "cli"]
Operation = Literal["chat", "completion", "embedding", "rerank"]
Outcome = Literal["finished", "cancelled", "failed"]
By = Literal["day", "person", "model"]

_DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1).toordinal()
_INSERT = insert(usage)


class UsageRow(msgspec.Struct, frozen=True):
    """What one request cost, whatever its ending: tokens as the engine counted them, times in milliseconds.

    `cached_tokens` of `prompt_tokens` needed no computing; `waited_ms` was spent in the queue. `time_ms` None: now.
    """

    request_id: str
    person_id: str
    credential_id: str
    model: str
    weights_digest: str
    dialect: Dialect
    operation: Operation
    outcome: Outcome
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    prompt_ms: float = 0.0
    completion_ms: float = 0.0
    waited_ms: float = 0.0
    time_ms: int | None = None


_COLUMNS = tuple(field.name for field in structs.fields(UsageRow))


@dataclass(frozen=True, slots=True)
class Sum:
    """Usage under one key: a UTC day (`2026-01-31`), a person's id or a model's name."""

    key: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    failed: int


class Meter:
    """Writes and sums usage."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    def insertion(self, row: UsageRow) -> tuple[Insert, Mapping[str, Any]]:
        """The statement and values that write `row`, for whoever commits it with something else (an audit event).

        The statement is the same object each time, so that many rows can be inserted in one go.
        """
        timed = row if row.time_ms is not None else replace(row, time_ms=int(self._clock.now_s() * 1000))
        return _INSERT, {name: getattr(timed, name) for name in _COLUMNS}

    async def record(self, row: UsageRow, connection: Connection | None = None) -> None:
        """Write `row`, in the transaction of `connection` or durably on its own.

        Raises Conflicting(`usage_recorded`) where the request was metered before, Unavailable(`usage_unavailable`).
        """
        statement, values = self.insertion(row)
        try:
            if connection is not None:
                await connection.execute(statement, values)
            else:
                await self._db.write(lambda blocking: blocking.execute(statement, values).close())
        except IntegrityError as error:
            message = f"The usage of request {row.request_id} was recorded before."
            raise Conflicting("usage_recorded", message, "Record each request once.") from error
        except DatabaseDown as error:
            message, hint = "The usage cannot be written.", "Look at the disk of the data directory."
            raise Unavailable("usage_unavailable", message, hint) from error

    async def summary(self, from_ms: int, to_ms: int, by: By, people: Sequence[str] | None = None) -> list[Sum]:
        """Sums over requests with `from_ms` <= time < `to_ms`, ordered by key; `people`: only theirs.

        Days are UTC days; one that is cut by the bounds counts only what lies inside.
        """
        table = usage.c
        keys: dict[By, ColumnElement[Any]] = {
            "day": table.time_ms // _DAY_MS,
            "person": table.person_id,
            "model": table.model,
        }
        key = keys[by].label("key")
        sums = [func.sum(column) for column in (table.prompt_tokens, table.completion_tokens, table.cached_tokens)]
        failed = func.sum(case((table.outcome == "failed", 1), else_=0))
        query = select(key, func.count(), *sums, failed).where(table.time_ms >= from_ms, table.time_ms < to_ms)
        if people is not None:
            query = query.where(table.person_id.in_(people))
        async with self._db.reading() as connection:
            rows = (await connection.execute(query.group_by(key).order_by(key))).all()
        return [Sum(_day(first) if by == "day" else first, *others) for first, *others in rows]


def _day(number: int) -> str:
    return date.fromordinal(_EPOCH + number).isoformat()
