"""Doing something every so often: it goes on whatever fails, can be called for, and ends when it is told to."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from intramural.core.errors import Unavailable
from intramural.core.rounds import Rounds

HOUR_S = 3600.0


class Job:
    """Counts its rounds; each waits until it is let on, and then does what `then` says."""

    def __init__(self) -> None:
        self.begun = 0
        self.then: Callable[[], None] = lambda: None
        self._let = asyncio.Semaphore(0)
        self._changed = asyncio.Condition()

    async def __call__(self) -> None:
        async with self._changed:
            self.begun += 1
            self._changed.notify_all()
        await self._let.acquire()
        self.then()

    def let(self) -> None:
        self._let.release()

    async def until_begun(self, number: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self.begun >= number)


@asynccontextmanager
async def opened(job: Job, every_s: float, first_s: float = 0.0) -> AsyncIterator[Rounds]:
    rounds = Rounds("looking", job, every_s, first_s=first_s)
    rounds.open()
    try:
        yield rounds
    finally:
        await rounds.close()


def fails(error: Exception) -> Callable[[], None]:
    def then() -> None:
        raise error

    return then


async def test_one_round_follows_the_other() -> None:
    job = Job()
    async with opened(job, every_s=0.0):
        for number in range(1, 4):
            await job.until_begun(number)
            assert job.begun == number, "two at once"
            job.let()


async def test_what_is_called_for_during_a_round_is_a_round_after_it_and_one_only() -> None:
    job = Job()
    async with opened(job, every_s=HOUR_S) as rounds:
        await job.until_begun(1)
        rounds.now()
        rounds.now()
        job.let()
        await job.until_begun(2)
        job.let()
        await asyncio.wait([asyncio.ensure_future(asyncio.sleep(0)) for _ in range(20)])
        assert job.begun == 2


async def test_the_first_comes_after_its_own_time_or_when_it_is_called_for() -> None:
    job = Job()
    async with opened(job, every_s=HOUR_S, first_s=HOUR_S) as rounds:
        await asyncio.wait([asyncio.ensure_future(asyncio.sleep(0)) for _ in range(20)])
        assert not job.begun
        rounds.now()
        await job.until_begun(1)


async def test_what_fails_goes_on_and_is_told_once_until_it_is_something_else(caplog: pytest.LogCaptureFixture) -> None:
    away, mistake = Unavailable("database_unavailable", "It is away.", "Wait."), KeyError("nobody's fault")
    job = Job()
    with caplog.at_level(logging.WARNING, "intramural.core.rounds"):
        async with opened(job, every_s=0.0):
            for number, then in enumerate([away, away, mistake, None, mistake, away], 1):
                await job.until_begun(number)
                job.then = fails(then) if then else lambda: None
                job.let()
            await job.until_begun(7)
    told = [(record.getMessage(), bool(record.exc_info)) for record in caplog.records]
    assert told == [
        ("looking failed, and is tried again: It is away. Wait. [database_unavailable]", False),
        ('looking failed, and is tried again: "nobody\'s fault"', True),
        ('looking failed, and is tried again: "nobody\'s fault"', True),
        ("looking failed, and is tried again: It is away. Wait. [database_unavailable]", False),
    ]


async def test_it_ends_in_the_middle_of_a_round_and_only_then() -> None:
    ended: list[str] = []

    async def job() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("undone")

    begun = asyncio.Event()
    rounds = Rounds("looking", job, HOUR_S)
    await rounds.close()  # was never opened
    rounds.open()
    await begun.wait()
    assert not ended
    await rounds.close()
    assert ended == ["undone"]
    await rounds.close()


async def test_a_round_that_takes_its_end_for_something_else_is_told_again() -> None:
    began = asyncio.Event()

    async def do() -> None:
        began.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)

    rounds = Rounds("deaf", do, every_s=3600)
    rounds.open()
    await began.wait()
    await asyncio.wait_for(rounds.close(), 30)
