"""Who begins processes: this process, or the spawner that it started before it gave that up.

A process has one way, set before the first child is started: the service's is its spawner, because the kernel lets it
start none itself (see `seal`); that of a command which opens the house for a moment is itself.
"""

import asyncio
import os
import signal
from dataclasses import dataclass
from typing import Protocol

from intramural.sandbox import launch as launching
from intramural.sandbox.launch import Launch, Rules, Started


class Begun(Protocol):
    """A child process that was begun. `ended` has its status once it has ended (negative: by that signal); `layers`,
    and `unset`, the switches of `core.quiet` that are not set, are what whoever waited for it heard it say."""

    layers: tuple[str, ...]
    unset: tuple[str, ...] | None

    @property
    def pid(self) -> int: ...
    @property
    def ended(self) -> asyncio.Future[int]: ...
    @property
    def status(self) -> int | None: ...

    def signal(self, number: signal.Signals) -> None:
        """Send it `number`, unless it has ended."""
        ...


class Starter(Protocol):
    """Whoever can begin a child."""

    async def begin(self, launch: Launch, log: int, answer: int) -> Begun:
        """As `launch.begin`; cancelled, it leaves no process behind."""
        ...


class Here:
    """This process begins its children itself."""

    async def begin(self, launch: Launch, log: int, answer: int) -> Begun:
        return _Own(launching.begin(launch, log, answer, Rules()))


@dataclass
class _Own:
    """A child of this process. Its user is lent until it has ended, whether or not anybody waits for it."""

    started: Started

    def __post_init__(self) -> None:
        self.layers: tuple[str, ...] = ()
        self.unset: tuple[str, ...] | None = None
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self._watch = os.pidfd_open(self.pid)
        self._loop.add_reader(self._watch, self._reap)

    @property
    def pid(self) -> int:
        return self.started.pid

    @property
    def status(self) -> int | None:
        return self.ended.result() if self.ended.done() else None

    def signal(self, number: signal.Signals) -> None:
        if not self.ended.done():
            signal.pidfd_send_signal(self._watch, number)

    def _reap(self) -> None:
        self._loop.remove_reader(self._watch)
        os.close(self._watch)
        _, status = os.waitpid(self.pid, 0)
        if self.started.lent is not None:
            self.started.lent.give_back()
        self.ended.set_result(os.waitstatus_to_exitcode(status))


_here = Here()
_current: Starter = _here


def current() -> Starter:
    """The one way of this process."""
    return _current


def start_through(starter: Starter | None) -> None:
    """From now on children are begun by `starter`; None: by this process itself."""
    global _current
    _current = _here if starter is None else starter
