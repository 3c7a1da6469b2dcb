"""Runs every attempt under every combination of layers, as the user it is started as, and prints what came of them.

    python -m tests.sandbox.matrix      {column: {attempt: result}} as JSON; and in `told` the calls that were heard of

A program of its own, so that it can be started as root and as an ordinary user alike.
"""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.heard import heard
from tests.sandbox.attempts import ATTEMPTS, libc
from tests.sandbox.sealed import OWN

from intramural.sandbox import Launch, run_once, spawn

LAYERS = frozenset({"netns", "landlock", "seccomp"})
#: column → the layers left out. `user`: none of the three, only another user without any capability, and limits.
COLUMNS: Mapping[str, frozenset[str]] = {
    "user": LAYERS,
    "netns": LAYERS - {"netns"},
    "landlock": LAYERS - {"landlock"},
    "seccomp": LAYERS - {"seccomp"},
    "all": frozenset(),
}
TOGETHER = [name for name, attempt in ATTEMPTS.items() if not attempt.alone]
ALONE = [name for name, attempt in ATTEMPTS.items() if attempt.alone]
#: Landlock as Ubuntu 22.04 and Debian 12 have it.
OLDER_ABIS = (1, 2)
_TIMEOUT_S = 60.0


@contextlib.contextmanager
def staged() -> Iterator[dict[str, Any]]:
    """Everything a hostile process would like to reach, made reachable by any user."""
    with tempfile.TemporaryDirectory(prefix="intramural-") as name, contextlib.ExitStack() as stack:
        root = Path(name)
        root.chmod(0o755)
        stage: dict[str, Any] = {"open": str(root / "open"), "private": str(root / "private")}
        _make_files(root, stage)
        _make_sockets(root, stage, stack)
        stage["shared_memory"] = stack.enter_context(_shared_memory())
        sibling = stack.enter_context(_sibling())
        stage["sibling"] = sibling.pid
        stage["sibling_address"] = int(Path(f"/proc/{sibling.pid}/maps").read_text().split("-", 1)[0], 16)
        yield stage


def _make_files(root: Path, stage: dict[str, Any]) -> None:
    for name, mode in (("open", 0o777), ("private", 0o700), ("mount", 0o755)):
        (root / name).mkdir()
        (root / name).chmod(mode)
    for name, path, mode in (
        ("model", root / "model", 0o444),
        ("other_model", root / "other", 0o644),
        ("victim", root / "open/victim", 0o666),
        ("removable", root / "open/removable", 0o666),
    ):
        path.write_bytes(b"weights of a model")
        path.chmod(mode)
        stage[name] = str(path)
    stage["mount"] = str(root / "mount")


def _make_sockets(root: Path, stage: dict[str, Any], stack: contextlib.ExitStack) -> None:
    abstract = f"intramural-{root.name}"
    stream, datagram = str(root / "stream.sock"), str(root / "datagram.sock")
    for name, family, kind, address in (
        ("tcp4", socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
        ("tcp6", socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0)),
        ("udp", socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
        ("unix_stream", socket.AF_UNIX, socket.SOCK_STREAM, stream),
        ("unix_datagram", socket.AF_UNIX, socket.SOCK_DGRAM, datagram),
        ("unix_abstract", socket.AF_UNIX, socket.SOCK_STREAM, "\0" + abstract),
    ):
        if family == socket.AF_INET6 and not has_ipv6():
            stage[name] = 9
            continue
        server = stack.enter_context(socket.socket(family, kind))
        server.bind(address)
        if kind == socket.SOCK_STREAM:
            server.listen()
        stage[name] = server.getsockname() if family == socket.AF_UNIX else server.getsockname()[1]
    stage["unix_abstract"] = abstract
    for path in (stream, datagram):
        Path(path).chmod(0o777)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as server:
            server.bind(("::1", 0))
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _shared_memory() -> Iterator[int]:
    number = libc.shmget(0, 4096, 0o1666)
    try:
        yield number
    finally:
        libc.shmctl(number, 0, None)


@contextlib.contextmanager
def _sibling() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"], preexec_fn=_be_a_sibling)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _be_a_sibling() -> None:
    """It ignores SIGTERM; SIGUSR1 stays pending for all to see; it holds no capability that its user does not have."""
    libc.prctl(47, 4, 0, 0, 0)  # PR_CAP_AMBIENT, clear all
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])


def delivered(results: dict[str, str], sibling: int) -> dict[str, str]:
    """Whether a signal sent by way of a pipe arrived can only be seen at the receiver."""
    name = "signal another process through a pipe's owner"
    if results.get(name) == "works":
        lines = Path(f"/proc/{sibling}/status").read_text().splitlines()
        pending = next(int(line.split()[1], 16) for line in lines if line.startswith("ShdPnd"))
        results[name] = "works" if pending >> (signal.SIGUSR1 - 1) & 1 else "undelivered"
    return results


async def column(
    without: frozenset[str],
    names: list[str],
    entry: str = "tests.sandbox.attempts:report",
    env: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, str]:
    """What comes of the attempts in one child of profile `engine` that lacks the layers `without`."""
    with staged() as stage, Path(stage["model"]).open("rb") as model:
        child = await spawn(
            Launch(
                "engine",
                entry,
                {"stage": stage, "names": names},
                {"model": model.fileno()},
                Path(stage["private"]),
                env,
                without=without,
            )
        )
        status = await asyncio.wait_for(child.wait(), _TIMEOUT_S)
        assert set(child.layers) - {"uid", "told"} == LAYERS - without, child.layers
        assert ("told" in child.layers) == ("seccomp" in child.layers), child.layers
        return delivered(results_of(status, child.log_tail(), names), stage["sibling"])


def results_of(status: int, output: str, names: list[str]) -> dict[str, str]:
    if status == -signal.SIGSYS:
        return dict.fromkeys(names, "killed")
    assert status == 0, output
    found: dict[str, str] = json.loads(output.splitlines()[-1])
    return found


def control(names: list[str], module: str = "tests.sandbox.attempts", **told: Any) -> dict[str, str]:
    """What comes of the attempts in a process that nothing confines, or that confines itself (`module`)."""
    with staged() as stage:
        done = subprocess.run(
            [sys.executable, "-m", module, json.dumps({"stage": stage, "names": names, **told})],
            stdout=subprocess.PIPE,
            timeout=_TIMEOUT_S,
            check=False,
        )
        return delivered(results_of(done.returncode, done.stdout.decode(), names), stage["sibling"])


def sealed(*, connects: bool) -> dict[str, str]:
    """What comes of all attempts in a sealed service."""
    groups = [[*TOGETHER, *OWN], *[[name] for name in ALONE]]
    return control([], "tests.sandbox.sealed", groups=groups, connects=connects)


async def parser(names: list[str]) -> dict[str, str]:
    """What comes of the attempts in a fully confined child of profile `parser`."""
    with staged() as stage, Path(stage["model"]).open("rb") as model:
        launch = Launch(
            "parser",
            "tests.sandbox.attempts:try_all",
            {"stage": stage, "names": names},
            {"model": model.fileno()},
        )
        return delivered(await run_once(launch, _TIMEOUT_S), stage["sibling"])


async def older(abi: int, names: list[str]) -> dict[str, str]:
    """What comes of the attempts in a fully confined child on a kernel whose Landlock is of an older ABI."""
    entry, env = "tests.sandbox.older_kernel:report", {"ABI": str(abi)}
    return await column(frozenset(), names, entry, env)


async def main() -> None:
    """Every column, each with one child for all attempts and one more for each that may end its process."""
    groups = [TOGETHER, *[[name] for name in ALONE]]
    found: dict[str, dict[str, str]] = {name: {} for name in ("nothing", *COLUMNS, "parser")}
    with heard() as denied:
        for names in groups:
            found["nothing"] |= control(names)
            for name, without in COLUMNS.items():
                found[name] |= await column(without, names)
        for abi in OLDER_ABIS:
            found[f"all, Landlock ABI {abi}"] = await older(abi, TOGETHER)
        for name, connects in (("service", False), ("service that connects", True)):
            found[name] = sealed(connects=connects)
        found["parser"] = await parser([name for name in ATTEMPTS if "int 0x80" not in name])
    found["told"] = dict.fromkeys(sorted({call for each in denied for call in each.calls}), "told")
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main())
