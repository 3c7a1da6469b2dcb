"""`intramural …` from a process that has imported it already: each start takes two seconds of processor less.

One such process (`python -m tests.preloaded`) belongs to each process of the tests. Whoever wants the program started
connects, says with which words and environment, and hands over three files; it forks, and the child is from there on
what `python -m intramural` is: it parses the words, opens the house, ends as programs end. Some services of the tests
are started afresh nevertheless (`Service.afresh`), as users do.
"""

import atexit
import ctypes
import functools
import gc
import importlib
import importlib.util
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

#: What a service or command imports sooner or later.
_MODULES = ("intramural.cli", "intramural.app", "intramural.cli.serve", "intramural.storage.migrate")
_PACKET_BYTES = 1 << 20


# the side of the tests ------------------------------------------------------------------------------------------------


class Program:
    """A program under way, as `subprocess.Popen` is one."""

    def __init__(self, words: Sequence[str], env: Mapping[str, str], stdin: int, stdout: int, stderr: int) -> None:
        """Starts it; it has the three files, by our descriptors, as its own."""
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PACKET_BYTES)
        self._line.connect(_address())
        asked = {"words": [*map(str, words)], "env": dict(env), "cwd": str(Path.cwd())}
        socket.send_fds(self._line, [json.dumps(asked).encode()], [stdin, stdout, stderr])
        self.pid: int = json.loads(self._line.recv(_PACKET_BYTES))["pid"]
        self.stdout: IO[str] | None = None
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._line.settimeout(timeout)
            try:
                told = self._line.recv(_PACKET_BYTES)
            except (TimeoutError, BlockingIOError):  # the latter: `timeout` is none at all
                raise subprocess.TimeoutExpired("intramural", timeout or 0) from None
            assert told, "the process that programs are started from has ended"
            self.returncode = json.loads(told)["status"]
            self._line.close()
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(words: Sequence[str], env: Mapping[str, str], stderr: IO[str]) -> Program:
    """A program whose `stdout` is ours to read."""
    ours, theirs = os.pipe()
    with open(os.devnull, "rb") as nothing:
        program = Program(words, env, nothing.fileno(), theirs, stderr.fileno())
    os.close(theirs)
    program.stdout = os.fdopen(ours)
    return program


def run(
    words: Sequence[str], env: Mapping[str, str], stdin: str = "", timeout_s: float = 120
) -> "subprocess.CompletedProcess[str]":
    """A program from beginning to end. `stdin`: no more than a pipe holds, 64 KiB."""
    reads, writes = os.pipe()
    os.write(writes, stdin.encode())
    os.close(writes)
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        program = Program(words, env, reads, out.fileno(), err.fileno())
        os.close(reads)
        try:
            status = program.wait(timeout_s)
        except subprocess.TimeoutExpired:
            program.kill()
            raise
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess([*words], status, out.read(), err.read())


@functools.cache
def _address() -> str:
    """Where the process listens; started when it is first wanted."""
    address = f"{tempfile.mkdtemp(prefix='intramural-preloaded-')}/socket"
    reads, writes = os.pipe()  # it ends when this end is closed: whatever becomes of us
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.preloaded", address, str(reads)],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        pass_fds=(reads,),
        start_new_session=True,
    )
    os.close(reads)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    process.stdout.close()

    def end() -> None:
        os.close(writes)
        process.wait()

    atexit.register(end)
    return address


# the other side -------------------------------------------------------------------------------------------------------


class _Forked(Exception):
    pass


def _serve(address: str, parent: int) -> None:
    """Fork a program for each connection, and say how it ended. Raises _Forked in the child."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    listener.listen(64)
    os.write(1, b"ready\n")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    running: dict[int, tuple[int, socket.socket]] = {}  # descriptor of the process → its number, who waits
    with selectors.DefaultSelector() as events:
        events.register(listener, selectors.EVENT_READ)
        events.register(parent, selectors.EVENT_READ)
        while True:
            for key, _ in events.select():
                if key.fd == parent:
                    for pid, _line in running.values():
                        os.kill(pid, signal.SIGKILL)
                    shutil.rmtree(Path(address).parent)
                    return
                if key.fd == listener.fileno():
                    line, _ = listener.accept()
                    asked, files, _, _ = socket.recv_fds(line, _PACKET_BYTES, 3)
                    pid = os.fork()
                    if pid == 0:
                        for each in (listener, line, *(other for _, other in running.values())):
                            each.close()
                        for descriptor in (parent, null, *running):
                            os.close(descriptor)
                        _become(json.loads(asked), files)
                        raise _Forked
                    for each in files:
                        os.close(each)
                    line.send(json.dumps({"pid": pid}).encode())
                    descriptor = os.pidfd_open(pid)
                    running[descriptor] = pid, line
                    events.register(descriptor, selectors.EVENT_READ)
                    continue
                pid, line = running.pop(key.fd)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                events.unregister(key.fd)
                os.close(key.fd)
                with suppress(OSError), line:
                    line.send(json.dumps({"status": status}).encode())


def _become(asked: Any, files: Sequence[int]) -> None:
    for number, each in enumerate(files):
        os.dup2(each, number)
        os.close(each)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv[1:] = asked["words"]
    # SQLite learned where temporary files go when it was imported: it learns it anew.
    found = importlib.util.find_spec("_sqlite3")
    ctypes.CDLL(found.origin if found is not None and found.has_location else None).sqlite3_shutdown()


def _main() -> None:
    gc.disable()
    importlib.import_module("intramural.core.quiet").switch_off()  # as the program does before it imports anything else
    for each in _MODULES:
        importlib.import_module(each)
    gc.collect()
    gc.freeze()
    gc.enable()
    try:
        _serve(sys.argv[1], int(sys.argv[2]))
    except _Forked:
        pass
    else:
        return
    from intramural import __main__ as program

    sys.argv[0] = str(program.__file__)
    ended: SystemExit = SystemExit(0)
    try:
        program.main()
    except SystemExit as error:
        ended = error
    # as Python ends, but for taking every module apart: the pages they lie on are shared until somebody writes there
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for file in (sys.stdout, sys.stderr):
        file.flush()
    os._exit(ended.code if isinstance(ended.code, int) else 1 if ended.code else 0)


if __name__ == "__main__":
    _main()
