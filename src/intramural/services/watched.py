"""Work that reports how far it is, as a stream of what it reports."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

R = TypeVar("R")
P = TypeVar("P")


async def watched(work: Callable[[Callable[[P], None]], Awaitable[R]]) -> AsyncGenerator[P | R, None]:
    """What `work` reports, of several reports at once only the last, then what it returns. Closing this cancels it."""
    reports: list[P] = []
    changed = asyncio.Event()

    def tell(report: P) -> None:
        reports.append(report)
        changed.set()

    task = asyncio.ensure_future(work(tell))
    task.add_done_callback(lambda _: changed.set())
    try:
        while not task.done():
            await changed.wait()
            changed.clear()
            if reports:
                last = reports[-1]
                reports.clear()
                yield last
        yield task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
