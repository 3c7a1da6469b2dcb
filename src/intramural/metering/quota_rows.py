"""Rows of quotas: the limits, what was used of each in each window, and what is held by answers under way."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import BigInteger as Big
from sqlalchemy import Delete, Insert, Update, bindparam, delete, insert, select
from sqlalchemy import String as Str

from intramural.metering.ledger import Charge
from intramural.metering.quotas import Limit
from intramural.storage import Connection, Database
from intramural.storage.schema import quota_balances, quota_holds, quota_limits, usage

#: A statement and the values of its parameters, for whoever commits it with an event.
Row = tuple[Insert | Update | Delete, Mapping[str, Any]]

_balance = quota_balances.c
_limit_id, _who = bindparam("b_limit", type_=Str), bindparam("b_who", type_=Str)
_start = bindparam("b_start", type_=Big)
_AT = (_balance.limit_id == _limit_id, _balance.who == _who, _balance.start_ms == _start)
_USED = select(_balance.used).where(*_AT)
_HOLD = insert(quota_holds)
_RELEASE = delete(quota_holds).where(quota_holds.c.request_id == bindparam("b_request", type_=Str))


@dataclass(frozen=True, slots=True)
class Held:
    """What a request held when the service ended without settling it; `metered`: the meter has its row all the same."""

    request_id: str
    charges: tuple[Charge, ...]
    metered: bool


class QuotaRows:
    """The queries."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._add = db.adding(quota_balances, _balance.used)

    async def limits(self, connection: Connection | None = None) -> list[Limit]:
        """All limits, the oldest first."""
        query = select(quota_limits).order_by(quota_limits.c.id)
        if connection is not None:
            return [Limit(**row._mapping) for row in await connection.execute(query)]
        async with self._db.reading() as reading:
            return [Limit(**row._mapping) for row in await reading.execute(query)]

    async def put(self, connection: Connection, limit: Limit) -> None:
        """Make `limit`, or change the one of its identifier: what was used of it stays used."""
        await connection.execute(delete(quota_limits).where(quota_limits.c.id == limit.id))
        await connection.execute(insert(quota_limits).values(**asdict(limit)))

    async def remove(self, connection: Connection, limit_id: str) -> bool:
        """Remove a limit with all its balances; False where there was none."""
        await connection.execute(delete(quota_balances).where(_balance.limit_id == limit_id))
        gone = await connection.execute(delete(quota_limits).where(quota_limits.c.id == limit_id))
        return gone.rowcount > 0

    async def used(self, limit_id: str, who: str, start_ms: int) -> int:
        """What the rows say was used."""
        row = await self._db.look_up(_USED, limit_id, who, start_ms)
        return 0 if row is None else int(row.used)

    async def balances(self, limit_id: str, start_ms: int, most: int) -> list[tuple[str, int]]:
        """Who used how much of a limit in a window, the most first."""
        query = select(_balance.who, _balance.used).where(_balance.limit_id == limit_id, _balance.start_ms == start_ms)
        async with self._db.reading() as connection:
            found = await connection.execute(query.order_by(_balance.used.desc(), _balance.who).limit(most))
            return [(row.who, row.used) for row in found]

    def hold(self, request_id: str, time_ms: int, charges: Sequence[Charge]) -> list[Row]:
        """Rows that say what `request_id` holds."""
        values = {"request_id": request_id, "time_ms": time_ms, "charges": _written(charges)}
        return [(_HOLD, values)]

    def settle(self, request_id: str, charges: Iterable[Charge]) -> list[Row]:
        """Rows that charge and let go of what was held."""
        found: list[Row] = []
        for each in charges:
            row = {"limit_id": each.limit_id, "who": each.who, "start_ms": each.start_ms, "used": each.amount}
            found.append((self._add, row))
        return [*found, (_RELEASE, {"b_request": request_id})]

    async def left_open(self, connection: Connection) -> list[Held]:
        """What was held when the service ended without settling it."""
        table = quota_holds.c
        joined = quota_holds.outerjoin(usage, usage.c.request_id == table.request_id)
        query = select(table.request_id, table.charges, usage.c.request_id.label("metered")).select_from(joined)
        found = await connection.execute(query.order_by(table.time_ms))
        return [Held(row.request_id, _read(row.charges), row.metered is not None) for row in found]

    async def charge(self, connection: Connection, request_id: str, charges: Iterable[Charge]) -> None:
        """As `settle`, now, in the caller's transaction."""
        for statement, values in self.settle(request_id, charges):
            await connection.execute(statement, values)

    async def forget(self, connection: Connection, before_ms: int) -> None:
        """Drop balances of windows that began before `before_ms`, and those of limits that are gone."""
        known = select(quota_limits.c.id)
        await connection.execute(
            delete(quota_balances).where((_balance.start_ms < before_ms) | _balance.limit_id.not_in(known))
        )


def _written(charges: Sequence[Charge]) -> str:
    return json.dumps([[each.limit_id, each.who, each.start_ms, each.amount] for each in charges])


def _read(text: str) -> tuple[Charge, ...]:
    return tuple(Charge(*each) for each in json.loads(text))
