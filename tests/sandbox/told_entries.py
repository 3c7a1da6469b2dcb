"""Entries of confined children that try what is told."""

import ctypes
import errno
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NoReturn

Arg = Mapping[str, Any]
Files = Mapping[str, int]
_libc = ctypes.CDLL(None, use_errno=True)


def _signal_init() -> None:
    os.kill(1, 0)


#: call as it is told → what makes it
ATTEMPTS = {
    "kill": _signal_init,
    "socket": lambda: socket.socket(socket.AF_INET).close(),
    "execve": lambda: os.execv("/bin/true", ["true"]),
    "openat": lambda: os.close(os.open("/tmp/intramural-told", os.O_WRONLY | os.O_CREAT)),
    "ptrace": lambda: _call(101, 117, 0, 1, 0, 0),
    "bpf": lambda: _call(321, 280, 0, 0, 0),
    "mprotect": lambda: _call(10, 226, 0, 4096, 7),
}


def _call(x86_64: int, aarch64: int, *arguments: int) -> None:
    number = x86_64 if os.uname().machine == "x86_64" else aarch64
    if _libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "")


def _outcome(name: str) -> str:
    try:
        ATTEMPTS[name]()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "works"


def tries(arg: Arg, _files: Files) -> dict[str, str]:
    """Each of `names`, `times` times; what came of it the last time."""
    return {name: [_outcome(name) for _ in range(arg.get("times", 1))][-1] for name in arg["names"]}


def tries_and_says(arg: Arg, files: Files) -> None:
    """The same for a process that lasts; it says what came of it."""
    print(tries(arg, files), flush=True)


def tries_quietly(_arg: Arg, _files: Files) -> None:
    """What libraries try for want of knowing better: whether this is a terminal, names for memory, priorities."""
    os.isatty(1)
    _libc.prctl(0x53564D41, 0, 0, 0, 0)  # PR_SET_VMA
    with suppress(PermissionError):
        os.posix_spawn("/bin/true", ["true"], {})
    for number in ((435, 435), (99, 179), (144, 119), (203, 122)):  # clone3, sysinfo, scheduler, affinity
        try:
            _call(*number, 1, 0, 0)
        except OSError:
            continue
    thread = threading.Thread(target=sys.getsizeof, args=("",))
    thread.start()
    thread.join()


def tries_while_interrupted(arg: Arg, _files: Files) -> dict[str, int]:
    """A second thread interrupts the first one's calls, whose error then is another; not the last one."""
    signal.signal(signal.SIGUSR1, lambda *_: None)
    stop, first = threading.Event(), threading.get_ident()

    def interrupt() -> None:
        while not stop.is_set():
            signal.pthread_kill(first, signal.SIGUSR1)

    thread = threading.Thread(target=interrupt)
    thread.start()
    outcomes = Counter(_outcome("ptrace") for _ in range(arg["times"]))
    stop.set()
    thread.join()
    outcomes[_outcome("bpf")] += 1
    return dict(outcomes)


def tries_for_ever(arg: Arg, _files: Files) -> NoReturn:
    """Says what comes of it each time; with `threads`, several at once that say nothing."""
    for _ in range(arg["threads"]):
        threading.Thread(target=_flood, daemon=True).start()
    print("ready", flush=True)
    while True:
        print(_outcome("kill"), flush=True)
        time.sleep(0.02)


def _flood() -> None:
    while True:
        _outcome("kill")
