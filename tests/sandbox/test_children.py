"""Waiting for a child's end, by more than one."""

import asyncio
import os
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
import uvloop

from intramural.sandbox.children import Child, _Log, _Pipe


class Killed:
    """A child's process that was killed, and whose output is still to be read."""

    pid = 1
    layers: tuple[str, ...] = ()
    status = -signal.SIGKILL

    def __init__(self) -> None:
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.ended.set_result(self.status)

    def signal(self, number: signal.Signals) -> None:
        """It is gone."""


async def test_who_stops_waiting_does_not_end_the_reading_of_its_log() -> None:
    reads, writes = os.pipe()
    child = Child(Killed(), _Log(_Pipe(reads)))
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


def test_a_descriptor_of_another_thread_is_never_closed(tmp_path: Path) -> None:
    """A number that was closed is at once somebody else's: closing it twice closed SQLite's files now and then."""
    stop = threading.Event()
    lost: list[BaseException] = []

    def works_with_files(folder: Path) -> None:
        while not stop.is_set():
            try:
                with closing(sqlite3.connect(folder / "some.db")) as database:
                    database.execute("PRAGMA journal_mode=WAL")
                    database.execute("CREATE TABLE IF NOT EXISTS some (value)")
            except sqlite3.Error as error:
                lost.append(error)

    async def children_come_and_go() -> None:
        for _ in range(4000):
            reads, writes = os.pipe()
            log = _Log(_Pipe(reads))
            os.write(writes, b"last words")
            os.close(writes)
            await log.done()
            assert log.text() == "last words"

    folders = [tmp_path / str(number) for number in range(2)]
    threads = [threading.Thread(target=works_with_files, args=(folder,)) for folder in folders]
    for folder, thread in zip(folders, threads, strict=True):
        folder.mkdir()
        thread.start()
    try:
        uvloop.run(children_come_and_go())
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not lost


async def test_lines_end_where_they_end() -> None:
    reads, writes = os.pipe()
    pipe = _Pipe(reads)
    os.write(writes, b"one\ntwo\nthr")
    assert [await pipe.line(), await pipe.line()] == [b"one\n", b"two\n"]
    third = asyncio.ensure_future(pipe.line())
    await asyncio.sleep(0)
    os.write(writes, b"ee")
    os.close(writes)
    assert [await third, await pipe.line()] == [b"three", b""]
    pipe.close()
    pipe.close()
