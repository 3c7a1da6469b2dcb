"""The usage table: rows and their sums."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, Integer, case, cast, func, insert, select

from intramural.storage import Database
from intramural.storage.schema import people, usage

SummaryBy = Literal["day", "person", "model"]

#: The statement that writes a row; whoever commits it (the audit log, beside its event) brings `UsageRow.values()`.
USAGE_INSERT = insert(usage)
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One generation or embedding. Token counts are the engine's; times in milliseconds."""

    request_id: str
    time_ms: int
    person_id: str
    credential_id: str
    model: str
    weights_digest: str
    dialect: str
    operation: str
    outcome: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    prompt_ms: float
    completion_ms: float
    waited_ms: float

    def values(self) -> Mapping[str, Any]:
        """The row as columns."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class UsageSum:
    """Sums over a day (`key` is the UTC date), a person (their name, or identifier once removed) or a model."""

    key: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    failed: int


class Meter:
    """Reads the usage table."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def summary(self, *, from_ms: int, to_ms: int, by: SummaryBy, person_id: str | None = None) -> list[UsageSum]:
        """Sums from `from_ms` (included) to `to_ms` (not), of one person or everybody, ordered by key."""
        key = _key(by)
        columns = (
            key.label("key"),
            func.count().label("requests"),
            *(func.sum(usage.c[name]).label(name) for name in ("prompt_tokens", "completion_tokens", "cached_tokens")),
            func.sum(case((usage.c.outcome == "failed", 1), else_=0)).label("failed"),
        )
        query = (
            select(*columns)
            .select_from(usage.outerjoin(people, people.c.id == usage.c.person_id))
            .where(usage.c.time_ms >= from_ms, usage.c.time_ms < to_ms)
            .group_by(key)
            .order_by(key)
        )
        if person_id is not None:
            query = query.where(usage.c.person_id == person_id)
        async with self._db.reading() as connection:
            rows = await connection.execute(query)
            return [UsageSum(_shown(by, row[0]), *map(int, row[1:])) for row in rows]


def _key(by: SummaryBy) -> ColumnElement[Any]:
    match by:
        case "day":
            return cast(usage.c.time_ms, Integer).op("/")(_DAY_MS)
        case "person":
            return func.coalesce(people.c.username, usage.c.person_id)
        case "model":
            return usage.c.model


def _shown(by: SummaryBy, key: Any) -> str:
    return _utc_date(int(key)) if by == "day" else str(key)


def _utc_date(days: int) -> str:
    """The date `days` after 1970-01-01, as `2026-11-21`."""
    return (date(1970, 1, 1) + timedelta(days=days)).isoformat()
