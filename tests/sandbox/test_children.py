"""Waiting for a child's end, by more than one."""

import asyncio
import os
import signal

import pytest

from intramural.sandbox.children import Child, _Log, _Pipe


class Killed:
    """A child's process that was killed, and whose output is still to be read."""

    pid = 1
    status = -signal.SIGKILL

    def __init__(self) -> None:
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.ended.set_result(self.status)

    def signal(self, number: signal.Signals) -> None:
        """It is gone."""


async def test_who_stops_waiting_does_not_end_the_reading_of_its_log() -> None:
    reads, writes = os.pipe()
    child = Child(Killed(), (), _Log(_Pipe(reads)))
    waiting = asyncio.ensure_future(child.wait())
    os.write(writes, b"first")
    async with asyncio.timeout(30):
        while child.log_tail() != "first":
            await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    os.write(writes, b" and last words")
    os.close(writes)
    assert await child.stop(30) == -signal.SIGKILL
    assert child.log_tail() == "first and last words"
