"""Entries of confined children for the tests: good ones, and ones that die, hang, eat or lie."""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import resource
import signal
import socket
import stat
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from intramural.core.errors import Conflicting, Throttled

Arg = Mapping[str, Any]
Files = Mapping[str, int]
_libc = ctypes.CDLL(None)


def wait(_arg: Arg, _files: Files) -> None:
    """Says that it runs, and waits."""
    print("ready", flush=True)
    while True:
        signal.pause()


def ignore_sigterm(_arg: Arg, _files: Files) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    wait(_arg, _files)


def say(arg: Arg, _files: Files) -> None:
    print(arg["words"], flush=True)


def end_with(arg: Arg, _files: Files) -> None:
    os._exit(arg["status"])


def tries_to_read(arg: Arg, _files: Files) -> str:
    try:
        return "read" if Path(arg["path"]).read_bytes() else "empty"
    except PermissionError:
        return "refused"


def tries_to_run(arg: Arg, _files: Files) -> str:
    try:
        os.execv(arg["program"], [arg["program"]])
    except PermissionError:
        return "refused"


def do_its_work(arg: Arg, files: Files) -> None:
    """Everything an engine needs: all of it has to work behind all layers."""
    with mmap.mmap(files["model"], 0, prot=mmap.PROT_READ) as mapped:
        found = {"mapped": bytes(mapped[:5]).decode()}
    found["by path"] = Path(f"/proc/self/fd/{files['model']}").read_text()[:5]
    found["cpuinfo"] = str(bool(Path("/proc/cpuinfo").read_bytes()))
    found["processors"] = str(Path("/sys/devices/system/cpu/cpu0") in Path("/sys/devices/system/cpu").iterdir())
    thread = threading.Thread(target=lambda: found.update(thread="ran"))
    thread.start()
    thread.join()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(arg["socket"])
        server.listen()
        print(json.dumps(found), flush=True)
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"re: " + connection.recv(100))


def descriptors(_arg: Arg, files: Files) -> dict[str, Any]:
    """Every open descriptor, by asking for each, and what it is."""
    kinds = {}
    for fd in range(4096):
        try:
            fcntl.fcntl(fd, fcntl.F_GETFD)
        except OSError:
            continue
        mode = os.fstat(fd).st_mode
        kinds[str(fd)] = "pipe" if stat.S_ISFIFO(mode) else "device" if stat.S_ISCHR(mode) else "file"
    return {"kinds": kinds, "files": dict(files)}


def environment(_arg: Arg, _files: Files) -> dict[str, str]:
    return dict(os.environ)


def give_back(arg: Arg, _files: Files) -> Arg:
    return arg


def refuse(_arg: Arg, _files: Files) -> NoReturn:
    raise Conflicting("taken", "That is taken.", "Take another.", param="name")


def refuse_with_more(_arg: Arg, _files: Files) -> NoReturn:
    raise Throttled("slowly", "Not so fast.", retry_after_s=3)


def fail(_arg: Arg, _files: Files) -> NoReturn:
    raise ValueError("of the parser's own")


def answer_no_json(_arg: Arg, _files: Files) -> Any:
    return {1, 2}


def crash(_arg: Arg, _files: Files) -> None:
    ctypes.string_at(8)


def ends_itself(_arg: Arg, _files: Files) -> None:
    """By SIGKILL, or by a limit that the kernel enforces with it; where neither is allowed, as engines do: abort()."""
    with suppress(PermissionError):
        signal.pthread_kill(threading.get_ident(), signal.SIGKILL)
    with suppress(PermissionError, ValueError):  # the latter: Python's word for EPERM here
        resource.setrlimit(resource.RLIMIT_CPU, (0, 0))
    os.abort()


def loop(_arg: Arg, _files: Files) -> NoReturn:
    while True:
        pass


def sleep(_arg: Arg, _files: Files) -> None:
    time.sleep(600)


def recurse(_arg: Arg, _files: Files) -> None:
    recurse(_arg, _files)


def eat_memory(_arg: Arg, _files: Files) -> None:
    eaten = []
    while True:
        eaten.append(bytearray(2**24))


def answer_too_much(_arg: Arg, _files: Files) -> str:
    return "x" * (40 * 2**20)


def forge(arg: Arg, _files: Files) -> None:
    """Write the answer itself, as code that a hostile file has taken over would."""
    for fd in range(3, 1024):
        try:
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                os.write(fd, arg["answer"].encode())
        except OSError:
            continue
    os._exit(0)


def flood(arg: Arg, _files: Files) -> None:
    """Write far more to its log than anybody keeps."""
    for number in range(arg["lines"]):
        print(f"line {number}", "x" * 1000)


def rewrite(arg: Arg, _files: Files) -> list[str]:
    """Write to each of the paths anew; what came of it."""
    found = []
    for path in arg["paths"]:
        try:
            with Path(path).open("wb", buffering=0) as file:
                found.append(f"wrote {file.write(bytes(arg['size_bytes']))}")
        except OSError as error:
            found.append(errno.errorcode[error.errno or 0])
    return found


def start_program(_arg: Arg, _files: Files) -> None:
    os.execv("/bin/true", ["true"])
