"""Weights in quarantine because their workers crashed too often: written down, and known again after a restart.

When it comes to that is the scheduler's to say (`serving.scheduler`); here it is kept. It is by the weights' digest:
the same bytes under another name, or got again, are in quarantine as well.
"""

import asyncio
import logging
from dataclasses import dataclass

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from intramural.audit import AuditLog, Event, Fact
from intramural.core.actor import SYSTEM
from intramural.core.clock import Clock
from intramural.core.errors import IntramuralError
from intramural.serving import CRASH_WINDOW_S, Pool, Quarantine
from intramural.storage import Database
from intramural.storage.schema import crashed_weights as table

log = logging.getLogger(__name__)

#: Among what inspection found, which has codes of its own.
CODE = "worker_crashes"


@dataclass(frozen=True, slots=True)
class Crashed:
    """Why some weights are in quarantine. `how` the last worker ended: a signal's name, an exit status, or a code."""

    digest: str
    model: str
    crashes: int
    how: str
    since_ms: int

    @property
    def message(self) -> str:
        within = f"{CRASH_WINDOW_S / 60:g} minutes"
        return f"Its workers crashed {self.crashes} times within {within}, the last time by {self.how}."


class Crashes:
    """Every digest that is in quarantine for its crashes. `open` it before anybody asks."""

    def __init__(self, audit: AuditLog, db: Database, pool: Pool, clock: Clock) -> None:
        self._audit = audit
        self._db = db
        self._pool = pool
        self._clock = clock
        self._known: dict[str, Crashed] = {}
        self._writing: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Know those of earlier, and hear of new ones."""
        async with self._db.reading() as connection:
            rows = (await connection.execute(select(table))).all()
        self._known = {row.digest: Crashed(row.digest, row.model, row.crashes, row.how, row.since_ms) for row in rows}
        self._pool.quarantine(self._known)
        self._pool.on_quarantine = self._noticed

    async def settled(self) -> None:
        """Return when all that is known is written down."""
        await asyncio.gather(*self._writing)

    def of(self, digest: str) -> Crashed | None:
        """Why nothing with these weights is started; None: that is not so."""
        return self._known.get(digest)

    async def forgive(self, connection: AsyncConnection, digest: str) -> None:
        """Within the transaction that records who let them out, and why; `settled` before, `forgiven` after it."""
        await connection.execute(delete(table).where(table.c.digest == digest))

    def forgiven(self, digest: str) -> None:
        """They may be started again."""
        self._known.pop(digest, None)
        self._pool.release(digest)

    def _noticed(self, order: Quarantine) -> None:
        demand, now_ms = order.demand, int(self._clock.now_s() * 1000)
        crashed = Crashed(demand.digest, demand.name, order.crashes, order.how, now_ms)
        self._known[demand.digest] = crashed
        task = asyncio.create_task(self._write(crashed), name=f"quarantine of {demand.name}")
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write(self, crashed: Crashed) -> None:
        facts: dict[str, Fact] = {
            "weights": crashed.digest,
            "crashes": crashed.crashes,
            "within_s": CRASH_WINDOW_S,
            "how": crashed.how,
        }
        row = {
            "digest": crashed.digest,
            "model": crashed.model,
            "crashes": crashed.crashes,
            "how": crashed.how,
            "since_ms": crashed.since_ms,
        }
        try:
            async with self._audit.transaction() as (connection, record):
                await connection.execute(insert(table).values(**row))
                record(Event.MODEL_CRASHED, SYSTEM, target=f"model:{crashed.model}", facts=facts)
        except IntramuralError as error:  # it holds until the service ends; then three more crashes are needed
            log.error("the quarantine of %s could not be written down: %s", crashed.model, error.code)
