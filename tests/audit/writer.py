"""A program that writes events from many tasks and says on stdout which are durable: `position number`, one a line.

    python writer.py <database's file or address> <secrets folder> <first number>

Killed by the test at any moment. Every third event has a row beside it, every fourth is written with its act in a
transaction.
"""

import asyncio
import itertools
import os
import sys
from pathlib import Path

from sqlalchemy import insert

from intramural.audit import AuditLog, Beside, Event
from intramural.core.actor import SYSTEM
from intramural.core.clock import SystemClock
from intramural.core.config import AuditConfig
from intramural.storage import Database
from intramural.storage.schema import model_settings

_ROW = insert(model_settings)


async def write(log: AuditLog, number: int) -> None:
    values = {"name": f"n{number}", "pinned": True}
    if number % 4 == 0:
        async with log.transaction() as (connection, record):
            await connection.execute(_ROW, values)
            record(Event.MODEL_PINNED, SYSTEM, facts={"n": number})
    else:
        beside = [Beside(_ROW, values)] if number % 3 == 0 else []
        await log.record(Event.CHAT_ASKED, SYSTEM, facts={"n": number}, beside=beside)
    os.write(1, f"{number}\n".encode())


async def main(database: Path | str, secrets_dir: Path, first: int) -> None:
    db = await Database.open(database)
    log = await AuditLog.open(db, secrets_dir, AuditConfig(), SystemClock())
    os.write(1, b"ready\n")
    numbers = itertools.count(first)

    async def endless() -> None:
        while True:
            await write(log, next(numbers))

    await asyncio.gather(*[endless() for _ in range(8)])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if "://" in sys.argv[1] else Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
