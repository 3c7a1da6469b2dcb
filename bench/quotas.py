"""What quotas cost: holding and charging at 16 requests at a time, over a real database and log.

`decided` is what a request waits for by itself: `reserve` before the model is asked, `settle` after, both in memory.
`whole` is a request without its engine: held, the question durable, charged, the answer durable; rounds with quotas and
without take turns, and the difference is what quotas add to what waits for the disk in any case. Three limits apply:
tokens and requests for each person, money for everybody together. On SQLite, and on a PostgreSQL server where
INTRAMURAL_TEST_POSTGRES names one.
"""

import asyncio
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import uvloop
from tests import databases

from bench.table import show
from intramural.audit import AuditLog, Beside, Event
from intramural.core.actor import CONSOLE, SCOPES, Actor
from intramural.core.chat import Usage
from intramural.core.clock import SystemClock
from intramural.core.config import AuditConfig, QuotasConfig
from intramural.metering import Limit, Meter, QuotaRows, UsageRow
from intramural.services.gate import Gate
from intramural.services.quotas import Quotas
from intramural.storage import Database

CONCURRENT = 16
ROUNDS, REQUESTS = 20, 160
PEOPLE = [Actor("person", f"p{n}", f"p{n}", "member", frozenset(SCOPES), f"s{n}") for n in range(40)]
EACH = Limit("", "everyone", "", None, "tokens", "day", 10**12, each=True)
LIMITS = (
    EACH,
    replace(EACH, measure="requests", period="minute", amount=10**9),
    replace(EACH, measure="money", period="month", each=False),
)


@dataclass
class Times:
    """Of every request, in milliseconds."""

    reserve: list[float] = field(default_factory=list)
    settle: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    cpu_ms: float = 0.0

    @property
    def decided(self) -> list[float]:
        return [one + two for one, two in zip(self.reserve, self.settle, strict=True)]


class _Nothing:
    async def used_bytes(self, person_id: str) -> int:
        return 0

    async def used_in_bytes(self, workspace_id: str) -> int:
        return 0


class House:
    """The log, the meter and the quotas of a service without engines."""

    def __init__(self, db: Database, log: AuditLog) -> None:
        self.log, self.clock = log, SystemClock()
        self.meter, self.rows, self.gate = Meter(db, self.clock), QuotaRows(db), Gate(log)
        self.names = itertools.count()

    async def quotas(self) -> Quotas:
        """Opened, with what the rows say."""

        async def known(_person_id: str) -> object:
            return None

        made = Quotas(self.gate, self.rows, self.log, self.clock, QuotasConfig(prices="*=1"), _Nothing(), known)
        await made.open()
        return made

    async def round(self, quotas: Quotas, times: Times) -> None:
        """So many requests, 16 at a time."""
        turns, cpu_s = asyncio.Semaphore(CONCURRENT), time.process_time()

        async def one(actor: Actor) -> None:
            async with turns:
                await self.request(quotas, actor, times)

        await asyncio.gather(*(one(PEOPLE[n % len(PEOPLE)]) for n in range(REQUESTS)))
        times.cpu_ms += (time.process_time() - cpu_s) * 1000 / REQUESTS

    async def request(self, quotas: Quotas, actor: Actor, times: Times) -> None:
        async def count() -> int:
            return 100

        name = f"req_{os.getpid()}_{next(self.names)}"
        began_s = time.perf_counter()
        hold = await quotas.reserve(actor, "m", name, 100, 200, count) if quotas.limits(actor) else None
        times.reserve.append((time.perf_counter() - began_s) * 1000)
        await self.log.record(Event.CHAT_ASKED, actor, request_id=name, beside=quotas.asked_rows(hold))
        ended_s = time.perf_counter()
        charged = quotas.settle(hold, Usage(100, 150))
        times.settle.append((time.perf_counter() - ended_s) * 1000)
        row = UsageRow(name, actor.person_id, "k", "m", "", "openai", "chat", "finished", 100, 150)
        metered = Beside(*self.meter.insertion(row))
        await self.log.record(Event.CHAT_ANSWERED, actor, request_id=name, beside=(metered, *charged))
        quotas.written(hold)
        times.whole.append((time.perf_counter() - began_s) * 1000)


async def _measured(place: Path | str, folder: Path) -> dict[str, str]:
    db = await Database.open(place)
    log = await AuditLog.open(db, folder, AuditConfig(), SystemClock())
    house = House(db, log)
    free = await house.quotas()
    limited = await house.quotas()
    for limit in LIMITS:
        await limited.set(CONSOLE, limit)
    for quotas in (free, limited):
        await house.round(quotas, Times())  # warm
    without, with_ = Times(), Times()
    for number in range(ROUNDS):
        both = ((free, without), (limited, with_))
        for quotas, times in both if number % 2 else reversed(both):
            await house.round(quotas, times)
    await log.close()
    await db.close()
    return {
        "decided (reserve and settle), ms": _spread(with_.decided),
        "whole without quotas, ms": _spread(without.whole),
        "whole with quotas, ms": _spread(with_.whole),
        "added, median, ms": f"{statistics.median(with_.whole) - statistics.median(without.whole):+.2f}",
        "processor without and with, ms": f"{without.cpu_ms / ROUNDS:.2f}, {with_.cpu_ms / ROUNDS:.2f}",
    }


def _spread(times: Sequence[float]) -> str:
    cuts = statistics.quantiles(times, n=100)
    return f"{cuts[49]:.2f} (p95 {cuts[94]:.2f}, p99 {cuts[98]:.2f})"


def main() -> None:
    """Run it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bench.db"
        places = {"SQLite": file} | ({"PostgreSQL": databases.place(file)} if databases.SERVER else {})
        measured = {name: uvloop.run(_measured(place, Path(folder) / name)) for name, place in places.items()}
    rows = [[what, *(each[what] for each in measured.values())] for what in next(iter(measured.values()))]
    note = f"{ROUNDS} rounds of {REQUESTS} requests, {CONCURRENT} at a time; medians. Aim: reserve and settle in 1 ms."
    show("What quotas cost", f"{note} Load {os.getloadavg()[0]:.1f}.", ["", *measured], rows)


if __name__ == "__main__":
    main()
