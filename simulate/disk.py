"""The database's file under a simulated service: real SQLite on a real file, its threads run by the loop.

A full disk is a limit on how long files may grow, which the kernel enforces; a locked database is locked, by a second
connection; a kill leaves the file and its log of writes as they lie, and may tear the commit under way anywhere.
"""

import asyncio
import resource
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import aiosqlite.core
from sqlalchemy import Engine

from intramural.storage import sqlite
from intramural.storage.backend import Result
from intramural.storage.writer import Writer
from simulate.loop import Loop


class _Queue:
    """In the place of the queue to a connection's thread: the loop does what is put there."""

    def put_nowait(self, item: "tuple[asyncio.Future[Any] | None, Callable[[], Any]]") -> None:
        future, work = item
        loop = asyncio._get_running_loop()
        if isinstance(loop, Loop):
            loop.in_turn(self, work, future, skips=False)
        else:  # put away after its loop
            work()


class _Thread:
    """In the place of that thread."""

    daemon = True

    def __init__(self, target: Callable[..., None], args: tuple[object, ...]) -> None:
        """Nothing runs it."""

    def start(self) -> None:
        """The loop does its work."""


class _Writer(Writer):
    """The database's writer, whose work the loop does as well."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection = None
        self._closed = False

    async def run(self, work: Callable[[], Result]) -> Result:
        if self._closed:
            raise RuntimeError("the database is closed")
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        done: asyncio.Future[Result] = loop.create_future()
        loop.in_turn(self, work, done, skips=False)
        return await done

    def close(self) -> None:
        self._closed = True
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        loop.finish(self)
        self._disconnect()


@contextmanager
def inline() -> Iterator[None]:
    """The database's driver has no threads, and does not sleep where it meets a lock: the loop waits instead."""
    core: Any = aiosqlite.core
    before = core.SimpleQueue, core.Thread
    module: Any = sqlite
    writer = module.Writer
    timeout_s = sqlite._CONNECT_ARGS["timeout"]
    core.SimpleQueue, core.Thread = _Queue, _Thread
    module.Writer = _Writer
    sqlite._CONNECT_ARGS["timeout"] = 0.0
    try:
        yield
    finally:
        core.SimpleQueue, core.Thread = before
        module.Writer = writer
        sqlite._CONNECT_ARGS["timeout"] = timeout_s


def is_lock(error: Exception) -> bool:
    """Whether SQLite would have waited where this was raised."""
    return "database is locked" in str(error)


class Disk:
    """The disk under `file`."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._locker: sqlite3.Connection | None = None
        self._limits: tuple[int, int] | None = None
        self._signal: Any = None

    @property
    def log(self) -> Path:
        """SQLite's log of writes."""
        return self.file.with_name(self.file.name + "-wal")

    def fill(self, spare_bytes: int) -> None:
        """From now on no file grows by more than this."""
        if self._limits is None:
            self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)
            self._signal = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            longest = max(each.stat().st_size for each in (self.file, self.log) if each.exists())
            resource.setrlimit(resource.RLIMIT_FSIZE, (max(longest, 2**16) + spare_bytes, self._limits[1]))

    def lock(self) -> None:
        """Another process writes, and takes its time. It waits for whoever writes now."""
        if self._locker is None:
            self._locker = sqlite3.connect(self.file, timeout=0, isolation_level=None)
            try:
                self._locker.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                self._locker.close()
                self._locker = None

    def mend(self) -> None:
        """There is room, and nobody else."""
        if self._limits is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)
            signal.signal(signal.SIGXFSZ, self._signal)
            self._limits = None
        if self._locker is not None:
            self._locker.close()
            self._locker = None

    def left_by_a_kill(self, to: Path, loop: Loop, chance: Random, *, tears: bool) -> str:
        """Copy to the folder `to` what is durable now. With `tears` a commit under way may be there in part.

        Returns what became of that commit.
        """
        before = self._contents()
        found, told = before, "nothing"
        if tears and (jobs := loop.under_way()):
            self.mend()
            try:
                chance.choice(jobs)()
            except Exception:  # whatever it is, it is over with this process
                told = "failed"
            after = self._contents()
            if after[0] != before[0] or not after[1].startswith(before[1]):
                found, told = after, "whole"  # the log was begun anew
            elif len(after[1]) > len(before[1]):
                cut = chance.randint(len(before[1]), len(after[1]))
                rest = len(after[1]) - cut
                torn = chance.choice((b"", bytes(rest), chance.randbytes(rest)))
                found, told = (after[0], after[1][:cut] + torn), f"torn at {cut - len(before[1])} of {len(after[1])}"
        self.mend()
        shutil.copytree(self.file.parent, to, ignore=shutil.ignore_patterns(f"{self.file.name}*"))
        (to / self.file.name).write_bytes(found[0])
        if found[1]:
            (to / self.log.name).write_bytes(found[1])
        return told

    def _contents(self) -> tuple[bytes, bytes]:
        return self.file.read_bytes(), self.log.read_bytes() if self.log.exists() else b""
