"""Who begins processes: this process, or the spawner that it started before it gave that up.

A process has one way, set before the first child is started: the service's is its spawner, because the kernel lets it
start none itself (see `seal`); that of a command which opens the house for a moment is itself.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from intramural.core.errors import IntramuralError
from intramural.sandbox import launch as launching
from intramural.sandbox.hearing import Calls, Denied, Hearing
from intramural.sandbox.launch import Launch, Rules, Started
from intramural.sandbox.told import ANOTHER_ARCHITECTURE

_log = logging.getLogger(__name__)
#: A number for each child of this process; those of processes are given out again.
NUMBERS = count(1)


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
    """Whoever can begin a child. `gone`: why it can begin none any more, and all that it had have ended."""

    @property
    def gone(self) -> IntramuralError | None: ...

    async def begin(self, launch: Launch, log: int, answer: int) -> Begun:
        """As `launch.begin`; cancelled, it leaves no process behind."""
        ...


class Here:
    """This process begins its children itself."""

    gone = None

    async def begin(self, launch: Launch, log: int, answer: int) -> Begun:
        return _Own(launching.begin(launch, log, answer, Rules()), launch)


@dataclass
class _Own:
    """A child of this process. Its user is lent until it has ended, whether or not anybody waits for it."""

    started: Started
    launch: Launch

    def __post_init__(self) -> None:
        self.layers: tuple[str, ...] = ()
        self.unset: tuple[str, ...] | None = None
        self._number = next(NUMBERS)
        self._loop = asyncio.get_running_loop()
        self._hearing = Hearing(self._listen, self._loop.remove_reader, self._tell)
        self._beat: asyncio.TimerHandle | None = None
        if self.started.door is not None:
            self._hearing.add(self.pid, self.started.door)
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
        if self._beat is not None:
            self._beat.cancel()
        code = os.waitstatus_to_exitcode(status)
        if calls := last_denied(self._hearing.drop(self.pid), code):
            self._tell(self.pid, calls)
        self.ended.set_result(code)

    def _listen(self, descriptor: int, what: Callable[[], None]) -> None:
        self._loop.add_reader(descriptor, self._heard, what)

    def _heard(self, what: Callable[[], None]) -> None:
        what()
        pause_s = self._hearing.pause_s()
        if pause_s is not None and self._beat is None:
            self._beat = self._loop.call_later(pause_s, self._on)

    def _on(self) -> None:
        self._beat = None
        self._heard(self._hearing.beat)

    def _tell(self, pid: int, calls: Calls) -> bool:
        deny(Denied(self._number, pid, self.launch.entry, self.launch.about, calls))
        return True


def last_denied(calls: Calls, status: int) -> Calls:
    """What a child that ended with `status` (negative: by that signal) was refused and nobody was told yet. Pure."""
    return {**calls, ANOTHER_ARCHITECTURE: 1} if status == -signal.SIGSYS else calls


def deny(denied: Denied) -> None:
    """A child was refused something: tell whoever wants to know, or the log of this process."""
    if _wants_to_know is not None:
        _wants_to_know(denied)
        return
    _log.warning("process %d (%s) was refused: %s", denied.pid, denied.entry, ", ".join(denied.calls))


def on_denied(what: Callable[[Denied], None] | None) -> None:
    """From now on `what` is called with whatever children are refused (see `told`); it must not take long."""
    global _wants_to_know
    _wants_to_know = what


_here = Here()
_current: Starter = _here
_wants_to_know: Callable[[Denied], None] | None = None


def current() -> Starter:
    """The one way of this process."""
    return _current


def start_through(starter: Starter | None) -> None:
    """From now on children are begun by `starter`; None: by this process itself."""
    global _current
    _current = _here if starter is None else starter
