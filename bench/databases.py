"""What a look-up, a durable commit and an event of the log cost on SQLite, and on a PostgreSQL server where
INTRAMURAL_TEST_POSTGRES names one (a database of it is made for this).
"""

import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from sqlalchemy import bindparam, insert, select
from tests import databases

from bench.table import show
from intramural.audit import AuditLog, Event
from intramural.core.actor import SYSTEM
from intramural.core.clock import SystemClock
from intramural.core.config import AuditConfig
from intramural.storage import BlockingConnection, Database, insert_rows
from intramural.storage.schema import model_settings

SECONDS = 3.0
_INSERT = insert(model_settings)
_BY_NAME = select(model_settings).where(model_settings.c.name == bindparam("name"))


def main() -> None:
    """Run it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bench.db"
        places = {"SQLite": file} | ({"PostgreSQL": databases.place(file)} if databases.SERVER else {})
        measured = {name: uvloop.run(_measured(place, Path(folder) / name)) for name, place in places.items()}
    rows = [[what, *(each[what] for each in measured.values())] for what in next(iter(measured.values()))]
    show("What the database costs", f"{SECONDS:g} s each, on whatever else the machine was doing.", ["", *measured], rows)


async def _measured(place: Path | str, folder: Path) -> dict[str, str]:
    db = await Database.open(place)
    log = await AuditLog.open(db, folder, AuditConfig(), SystemClock())
    numbers = itertools.count()

    async def commit() -> None:
        row = {"name": f"n{next(numbers)}", "pinned": False}

        def work(connection: BlockingConnection) -> None:
            insert_rows(connection, _INSERT, [row])

        await db.write(work)

    async def act() -> None:
        async with log.transaction() as (connection, record):
            await connection.execute(_INSERT, {"name": f"n{next(numbers)}", "pinned": False})
            record(Event.MODEL_PINNED, SYSTEM)

    async def look() -> None:
        await db.look_up(_BY_NAME, "n0")

    async def event() -> None:
        await log.record(Event.CHAT_ASKED, SYSTEM)

    await commit()
    found = {
        "look-up": await _took(look),
        "one durable commit": await _took(commit),
        "durable commits a second, one after another": await _rate(commit, 1),
        "durable commits a second, 16 callers": await _rate(commit, 16),
        "an act with its event": await _took(act),
        "one event": await _took(event),
        "durable events a second, 64 callers": await _rate(event, 64),
    }
    await log.close()
    await db.close()
    return found


async def _took(work: Callable[[], Awaitable[None]]) -> str:
    times = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        await work()
        times.append(time.perf_counter() - start)
    p50, p99 = statistics.median(times), sorted(times)[int(len(times) * 0.99)]
    return f"{p50 * 1e3:.2f} / {p99 * 1e3:.2f} ms (p50 / p99)"


async def _rate(work: Callable[[], Awaitable[None]], callers: int) -> str:
    done = 0
    end = time.perf_counter() + SECONDS

    async def again() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await work()
            done += 1

    await asyncio.gather(*[again() for _ in range(callers)])
    return f"{done / SECONDS:,.0f}"
