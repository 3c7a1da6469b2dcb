"""Hearing of the system calls that children were refused: every one is refused here, and counted.

Whoever starts a child holds the listener of its filter (seccomp_unotify(2)). A child waits in its call until it is
answered, so the answer must not hang on anything: it is always the same refusal, nothing of the call is looked at but
its number, and nobody is told between hearing and answering. A listener that is gone refuses too (ENOSYS).

Nobody can be kept busy by it. A child is answered so often in each beat and then waits for the next one; what it was
refused is told once in a beat, as counts by name.
"""

import errno
import fcntl
import os
import platform
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from intramural.sandbox import told

#: In one beat a child is answered this often, about a thousandth of a processor's time, and told of once.
BEAT_S, ANSWERS_A_BEAT = 1.0, 64
#: Calls of one child that are told by their names. Taken over it could try all there are; the rest are `OTHERS`.
MOST_NAMES = 64
OTHERS = "others"

_RECEIVE, _SEND = 0xC0502100, 0xC0182101
#: struct seccomp_notif: id, process, flags; of seccomp_data the call's number; the rest is not looked at.
_NOTIFICATION, _NOTIFICATION_BYTES = struct.Struct("<QIIi"), 80
#: struct seccomp_notif_resp: id, value, error, flags.
_ANSWER = struct.Struct("<QqiI")

Calls = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Denied:
    """What a child was refused: call → how often since this was last told. `number`: of the child, which no other one
    of this process has; `about`: what it was started for."""

    number: int
    pid: int
    entry: str
    about: str
    calls: Calls


class Tell(Protocol):
    """Passes on what process `pid` was refused, without waiting; False: not now."""

    def __call__(self, pid: int, calls: Calls) -> bool: ...


@dataclass(slots=True)
class Tally:
    """What one child was refused, and not told yet. Pure."""

    _new: Counter[str] = field(default_factory=Counter)
    _names: set[str] = field(default_factory=set)

    def add(self, name: str) -> None:
        """One more call."""
        if name not in self._names:
            if len(self._names) >= MOST_NAMES:
                name = OTHERS
            self._names.add(name)
        self._new[name] += 1

    @property
    def new(self) -> Calls:
        """What is not told yet."""
        return dict(self._new)

    def told(self) -> None:
        """It is told."""
        self._new.clear()


class Hearing:
    """The ears of one process: `add` a child when it was started, `drop` it when it has ended.

    `watch` has a function called whenever a descriptor can be read, until `unwatch`. Whoever owns them calls `beat`
    when `pause_s` is over.
    """

    def __init__(
        self,
        watch: Callable[[int, Callable[[], None]], None],
        unwatch: Callable[[int], object],
        tell: Tell,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.watch = watch
        self.unwatch = unwatch
        self._tell = tell
        self._now_s = now_s
        self._ears: dict[int, _Ear] = {}
        self._beat_s: float | None = None

    def add(self, pid: int, door: socket.socket) -> None:
        """From now on hear child `pid`, which hands its listener over by the other end of `door`."""
        self._ears[pid] = _Ear(self, pid, door)

    def drop(self, pid: int) -> Calls:
        """It has ended: what it was refused and nobody was told."""
        ear = self._ears.pop(pid, None)
        if ear is None:
            return {}
        ear.close()
        return ear.tally.new

    def pause_s(self) -> float | None:
        """Until the next beat; None: there is nothing to wait for."""
        return None if self._beat_s is None else max(0.0, self._beat_s - self._now_s())

    def beat(self) -> None:
        """If it is time, tell what is untold, and let those go on who have had their share."""
        if self._beat_s is None or self._now_s() < self._beat_s:
            return
        self._beat_s = None
        for ear in self._ears.values():
            if ear.tally.new:
                self._say(ear)
            ear.go_on()

    def heard(self, ear: "_Ear") -> None:
        """`ear` heard something: if nothing was told in this beat, it is told at once."""
        if self._beat_s is None:
            self._say(ear)

    def _say(self, ear: "_Ear") -> None:
        self._beat_s = self._now_s() + BEAT_S
        if ear.tally.new and self._tell(ear.pid, ear.tally.new):
            ear.tally.told()


class _Ear:
    """At first the door by which the listener comes, then the listener."""

    def __init__(self, hearing: Hearing, pid: int, door: socket.socket) -> None:
        self.pid = pid
        self.tally = Tally()
        self._names = told.names(platform.machine())
        self._hearing = hearing
        self._door = door
        self._listener: int | None = None
        self._answers = 0
        self._resting = False
        self._closed = False
        door.setblocking(False)
        hearing.watch(door.fileno(), self._take)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._listener is not None:
            if not self._resting:
                self._hearing.unwatch(self._listener)
            os.close(self._listener)
        elif self._door.fileno() >= 0:
            self._hearing.unwatch(self._door.fileno())
            self._door.close()

    def go_on(self) -> None:
        """A new beat: hear again, after a rest."""
        self._answers = 0
        if self._resting and not self._closed and self._listener is not None:
            self._resting = False
            self._hearing.watch(self._listener, self._hear)

    def _take(self) -> None:
        if self._closed:
            return
        try:
            _, descriptors, _, _ = socket.recv_fds(self._door, 1, 1, flags=socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            descriptors = []
        self._hearing.unwatch(self._door.fileno())
        self._door.close()
        if not descriptors:  # it ended before, or its kernel tells nobody
            self._closed = True
            return
        self._listener = descriptors[0]
        self._hearing.watch(self._listener, self._hear)

    def _hear(self) -> None:
        """One call: refuse it, and count it."""
        if self._closed or self._resting or self._listener is None:
            return
        waits = _waits(self._listener)
        if waits is None:
            self.close()
            return
        self._answers += 1
        try:
            if waits:
                call, number = _received(self._listener)
                self.tally.add(self._names.get(number, f"call {number}"))
                _refuse(self._listener, call)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EINTR):  # else: it was interrupted while it waited, or killed
                self.close()
                return
        self._hearing.heard(self)
        if self._answers >= ANSWERS_A_BEAT:
            self._resting = True
            self._hearing.unwatch(self._listener)


def _waits(listener: int) -> bool | None:
    """Whether a call waits at `listener`; where none does, to receive one would wait for it. None: there will be none,
    because nobody is left who is filtered."""
    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    events = sum(found for _, found in waiting.poll(0))
    if events & select.POLLIN:
        return True
    return None if events else False


def _received(listener: int) -> tuple[int, int]:
    """The call that waits at `listener`, and which system call it is. Raises OSError."""
    notification = bytearray(_NOTIFICATION_BYTES)  # the kernel wants it empty
    fcntl.ioctl(listener, _RECEIVE, notification)
    call, _, _, number = _NOTIFICATION.unpack_from(notification)
    return call, number


def _refuse(listener: int, call: int) -> None:
    fcntl.ioctl(listener, _SEND, _ANSWER.pack(call, 0, -errno.EPERM, 0))
