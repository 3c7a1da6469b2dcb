"""What a running child is, what it was given, and how it ends. Run a second time as an ordinary user."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.sandbox.conftest import ROOT
from tests.sandbox.matrix import staged

from intramural.core.errors import Broken, Unavailable
from intramural.core.quiet import SWITCHES
from intramural.sandbox import Child, Launch, Limits, run_once, spawn, users

_ENTRIES = "tests.sandbox.entries"
_TIMEOUT_S = 30.0


async def until(condition: Callable[[], object]) -> None:
    """Wait until it is so; fails after a generous while."""
    async with asyncio.timeout(_TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(launch: Launch) -> AsyncIterator[Child]:
    child = await spawn(launch)
    try:
        await until(lambda: "ready" in child.log_tail() or child.returncode is not None)
        yield child
    finally:
        child.kill()
        await child.wait()


@pytest.fixture
def model() -> Iterator[int]:
    read, write = os.pipe()  # only to have descriptors open that the child must not get
    with Path(__file__).open("rb") as file:
        yield file.fileno()
    os.close(read)
    os.close(write)


def _status(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}


async def test_it_has_given_up_everything(model: int) -> None:
    async with running(Launch("engine", f"{_ENTRIES}:wait", {}, {"model": model})) as child:
        status = _status(child.pid)
        for name in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
            assert int(status[name][0], 16) == 0, name
        assert (status["NoNewPrivs"], status["Seccomp"], status["Threads"]) == (["1"], ["2"], ["1"])
        root = os.geteuid() == 0
        assert set(child.layers) == {"netns", "landlock", "seccomp", "told", *(["uid"] if root else [])}
        for name in ("Uid", "Gid"):
            assert len(set(status[name])) == 1
            assert (int(status[name][0]) in range(61_000, 61_184)) == root
        if root:
            assert status["Groups"] == []


async def test_two_children_are_two_users_where_we_are_root() -> None:
    launch = Launch("engine", f"{_ENTRIES}:wait", {})
    async with running(launch) as one, running(launch) as two:
        assert (_status(one.pid)["Uid"] != _status(two.pid)["Uid"]) == (os.geteuid() == 0)


async def test_two_services_never_give_the_same_user() -> None:
    """A command beside the service, or two services: their workers are as apart as those of one."""
    with _other_service() as (_, other):
        async with running(Launch("engine", f"{_ENTRIES}:wait", {})) as child:
            assert (_status(child.pid)["Uid"] != _status(other)["Uid"]) == (os.geteuid() == 0)


async def test_a_user_is_lent_again_when_its_worker_has_ended() -> None:
    if os.geteuid() != 0:
        return  # there is only one user
    seen = set()
    for _ in range(5):
        async with running(Launch("engine", f"{_ENTRIES}:wait", {})) as child:
            seen.add(_status(child.pid)["Uid"][0])
    assert len(seen) < 5


async def test_when_no_user_is_left_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        return  # none is lent
    monkeypatch.setattr(users, "COUNT", 0)
    with pytest.raises(Unavailable) as caught:
        await spawn(Launch("engine", f"{_ENTRIES}:wait", {}))
    assert caught.value.code == "no_worker_user"


async def test_it_has_no_network_of_ours() -> None:
    async with running(Launch("engine", f"{_ENTRIES}:wait", {})) as child:
        # an undumpable process shows them to root alone; of an ordinary user's, `layers` and the attempts tell
        if os.geteuid() == 0:
            for kind in ("net", "ipc"):
                assert Path(f"/proc/{child.pid}/ns/{kind}").readlink() != Path(f"/proc/self/ns/{kind}").readlink()
        assert "netns" in child.layers


async def test_it_leaves_no_core_and_nobody_of_its_user_looks_inside() -> None:
    limits = Limits(memory_bytes=2**31, open_files=99, cpu_s=50, processes=33)
    async with running(Launch("engine", f"{_ENTRIES}:wait", {}, limits=limits)) as child:
        assert Path(f"/proc/{child.pid}/environ").stat().st_uid == 0  # what the kernel does to undumpable processes
        if os.geteuid() == 0:
            found = Path(f"/proc/{child.pid}/limits").read_text()
            rows = {line[:26].strip(): line[26:].split()[:2] for line in found.splitlines()[1:]}
            assert rows["Max core file size"] == ["0", "0"]
            assert rows["Max address space"] == [str(2**31)] * 2
            assert rows["Max open files"] == ["99", "99"]
            assert rows["Max cpu time"] == ["50", "50"]
            assert rows["Max processes"] == ["33", "33"]
            assert rows["Max file size"] == ["0", "0"]


async def test_it_holds_exactly_the_descriptors_it_was_handed(model: int) -> None:
    os.set_inheritable(model, True)
    found = await run_once(Launch("parser", f"{_ENTRIES}:descriptors", {}, {"model": model}), _TIMEOUT_S)
    answer = set(found["kinds"]) - {"0", "1", "2", str(model)}
    assert len(answer) == 1, "one pipe for the answer, and nothing besides"
    assert found == {
        "kinds": {"0": "device", "1": "pipe", "2": "pipe", str(model): "file", answer.pop(): "pipe"},
        "files": {"model": model},
    }


async def test_an_engine_keeps_no_pipe_to_us_but_its_log(model: int) -> None:
    async with running(Launch("engine", f"{_ENTRIES}:wait", {}, {"model": model})) as child:
        if os.geteuid() == 0:  # of an undumpable process only root may see them; an ordinary user has the test above
            assert {int(each.name) for each in Path(f"/proc/{child.pid}/fd").iterdir()} == {0, 1, 2, model}
            assert Path(f"/proc/{child.pid}/fd/0").readlink() == Path("/dev/null")


async def test_its_environment_is_an_allow_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTRAMURAL_SECRET", "hush")
    monkeypatch.setenv("LD_PRELOAD", "")
    monkeypatch.setenv("PYTHONSTARTUP", "/nowhere")
    launch = Launch("parser", f"{_ENTRIES}:environment", {}, env={"OMP_NUM_THREADS": "1"})
    found = await run_once(launch, _TIMEOUT_S)
    always = {"LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", **SWITCHES}
    assert found == {**always, "OMP_NUM_THREADS": "1"}
    async with running(Launch("engine", f"{_ENTRIES}:wait", {})) as child:
        if os.geteuid() == 0:
            seen = Path(f"/proc/{child.pid}/environ").read_bytes()
            assert set(seen.decode().split("\0")) == {*(f"{name}={value}" for name, value in always.items()), ""}


async def test_its_command_line_says_nothing() -> None:
    launch = Launch("engine", f"{_ENTRIES}:wait", {"key": "hush"}, env={"TOKEN": "hush"})
    async with running(launch) as child:
        words = Path(f"/proc/{child.pid}/cmdline").read_bytes().split(b"\0")
        assert b"hush" not in b" ".join(words)
        assert words[1:4] == [b"-I", b"-X", b"utf8"]
        assert words[4].endswith(b"sandbox/child.py")
        assert all(word.isdigit() for word in words[5:7])


async def test_what_an_engine_needs_works_behind_all_layers() -> None:
    with staged() as stage, Path(stage["model"]).open("rb") as model:
        path = f"{stage['private']}/s"
        launch = Launch(
            "engine",
            f"{_ENTRIES}:do_its_work",
            {"socket": path},
            {"model": model.fileno()},
            Path(stage["private"]),
        )
        child = await spawn(launch)
        await until(lambda: child.log_tail().endswith("}\n") or child.returncode is not None)
        expected = {"mapped": "weigh", "by path": "weigh", "cpuinfo": "True", "processors": "True", "thread": "ran"}
        assert json.loads(child.log_tail()) == expected, child.log_tail()
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"hello")
        assert await reader.read() == b"re: hello"
        writer.close()
        await writer.wait_closed()
        assert await child.wait() == 0


@contextmanager
def _other_service() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Another process like ours that has started a worker; the worker's process id."""
    parent = subprocess.Popen(
        [sys.executable, "-m", "tests.sandbox.short_lived_parent"],
        cwd=ROOT,
        env={"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    try:
        with parent.stdout:
            yield parent, int(parent.stdout.readline())
    finally:
        parent.kill()
        parent.wait()


async def test_it_dies_with_its_parent() -> None:
    with _other_service() as (parent, pid):
        assert _alive(pid)
        parent.kill()
        parent.wait()
        await until(lambda: not _alive(pid))


def _alive(pid: int) -> bool:
    try:
        return _status(pid)["State"][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_it_is_asked_to_stop_and_then_made_to() -> None:
    child = await spawn(Launch("engine", f"{_ENTRIES}:wait", {}))
    await until(lambda: "ready" in child.log_tail())
    assert await child.stop(_TIMEOUT_S) == -signal.SIGTERM
    stubborn = await spawn(Launch("engine", f"{_ENTRIES}:ignore_sigterm", {}))
    await until(lambda: "ready" in stubborn.log_tail())
    assert await stubborn.stop(0.1) == -signal.SIGKILL
    stubborn.kill()  # of what has ended already: nothing happens
    assert await stubborn.stop(0.1) == -signal.SIGKILL


async def test_how_it_ended_and_the_tail_of_its_log_are_known() -> None:
    child = await spawn(Launch("engine", f"{_ENTRIES}:end_with", {"status": 7}))
    assert await child.wait() == child.returncode == 7
    child = await spawn(Launch("engine", f"{_ENTRIES}:flood", {"lines": 2000}))
    assert await child.wait() == 0
    assert "line 1999" in child.log_tail()
    assert "line 0 " not in child.log_tail()
    assert len(child.log_tail()) <= 2**15


async def test_it_cannot_make_its_end_look_like_a_kill_from_outside() -> None:
    child = await spawn(Launch("engine", f"{_ENTRIES}:ends_itself", {}))
    assert await child.wait() == -signal.SIGABRT
    loose = await spawn(Launch("engine", f"{_ENTRIES}:ends_itself", {}, without=frozenset({"seccomp"})))
    assert await loose.wait() == -signal.SIGKILL


_CANNOT_START = {
    "no such module": ("tests.sandbox.not_there:entry", "child_died", None),
    "no such function": (f"{_ENTRIES}:not_there", "child_died", None),
    "an import that raises": ("tests.sandbox.raises:entry", "child_died", None),
    "an import that exits": ("tests.sandbox.exits:entry", "child_died", None),
    "a thread before confinement": ("tests.sandbox.starts_thread:entry", "confinement_failed", "threads"),
}


@pytest.mark.parametrize("why", _CANNOT_START)
async def test_what_cannot_start_says_why(why: str) -> None:
    entry, code, param = _CANNOT_START[why]
    with pytest.raises(Broken) as caught:
        await spawn(Launch("engine", entry, {}))
    assert (caught.value.code, caught.value.param) == (code, param)
    if entry.endswith("raises:entry"):
        assert "no such luck" in caught.value.hint


async def test_an_import_that_never_ends_is_given_up() -> None:
    with pytest.raises(Broken) as caught:
        await spawn(Launch("engine", "tests.sandbox.never_ready:entry", {}, confine_timeout_s=0.5))
    assert caught.value.code == "child_died"
    assert "0.5 seconds" in caught.value.message


async def test_memory_handed_over_may_be_written_to_and_nothing_else(model: int, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    victim.chmod(0o666)
    tmp_path.chmod(0o777)
    memory = os.memfd_create("state", os.MFD_CLOEXEC)
    handed = os.open(f"/proc/self/fd/{memory}", os.O_RDONLY | os.O_CLOEXEC)
    paths = [f"/proc/self/fd/{handed}", f"/proc/self/fd/{model}", str(victim), str(tmp_path / "new")]
    try:
        for size_bytes, came in ((1000, "wrote 1000"), (1001, "wrote 1000")):
            launch = Launch(
                "parser",
                f"{_ENTRIES}:rewrite",
                {"paths": paths, "size_bytes": size_bytes},
                {"model": model},
                memory=(handed,),
                limits=Limits(file_size_bytes=1000),
            )
            assert await run_once(launch, _TIMEOUT_S) == [came, "EACCES", "EACCES", "EACCES"]
            assert os.fstat(memory).st_size == 1000
        without = replace(launch, without=frozenset({"landlock"}))
        assert set(await run_once(without, _TIMEOUT_S)) == {"EPERM"}
        without = replace(launch, memory=())
        assert set(await run_once(without, _TIMEOUT_S)) <= {"EPERM", "ENOENT"}
    finally:
        os.close(memory)
        os.close(handed)
    assert victim.read_text() == "as it was"


async def test_only_memory_may_be_handed_over_for_writing(model: int) -> None:
    with pytest.raises(Broken) as caught:
        await spawn(Launch("engine", f"{_ENTRIES}:wait", {}, memory=(model,)))
    assert caught.value.code == "confinement_failed"


async def test_a_model_that_is_closed_already_starts_nothing(tmp_path: Path) -> None:
    descriptor = os.open(__file__, os.O_RDONLY)
    os.close(descriptor)
    before = _held()
    for files in ({"model": descriptor}, {"model": -1}):
        with pytest.raises(Broken) as caught:
            await spawn(Launch("engine", f"{_ENTRIES}:wait", {}, files))
        assert caught.value.code == "child_died"
    if os.geteuid() == 0:
        with pytest.raises(Broken):
            await spawn(Launch("engine", f"{_ENTRIES}:wait", {}, private_dir=tmp_path / "missing"))
    await until(lambda: _held() == before)


async def test_what_is_open_for_writing_is_not_handed_over(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.touch()
    for mode in ("r+b", "wb", "ab"):
        with path.open(mode) as file, pytest.raises(Broken) as caught:
            await spawn(Launch("engine", f"{_ENTRIES}:wait", {}, {"model": file.fileno()}))
        assert (caught.value.code, caught.value.param) == ("confinement_failed", "files")


async def test_what_it_says_cannot_act_on_a_terminal() -> None:
    child = await spawn(Launch("engine", f"{_ENTRIES}:say", {"words": "before \x1b[2J\u202e after"}))
    await child.wait()
    assert child.log_tail() == "before \N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER} after\n"


async def test_what_is_no_file_is_no_file_to_read() -> None:
    read, write = os.pipe()
    with pytest.raises(Broken) as caught:
        await spawn(Launch("engine", f"{_ENTRIES}:wait", {}, {"pipe": read}))
    os.close(read)
    os.close(write)
    assert (caught.value.code, caught.value.param) == ("confinement_failed", "landlock")


def _held() -> tuple[int, int]:
    """How many descriptors and children this process has."""
    children = sum(len(path.read_text().split()) for path in Path("/proc/self/task").glob("*/children"))
    return len(list(Path("/proc/self/fd").iterdir())), children


async def test_twenty_children_leave_nothing_behind() -> None:
    launches = [
        Launch("engine", f"{_ENTRIES}:end_with", {"status": 0}),
        Launch("engine", "tests.sandbox.exits:entry", {}),
        Launch("engine", "tests.sandbox.starts_thread:entry", {}),
        Launch("engine", f"{_ENTRIES}:wait", {}),
    ]

    async def once(launch: Launch) -> None:
        try:
            child = await spawn(launch)
        except Broken:
            return
        child.kill()
        await child.wait()

    await once(launches[0])  # what the loop keeps for itself is there afterwards
    before = _held()
    for _ in range(5):
        for launch in launches:
            await once(launch)
    await until(lambda: _held() == before)


async def test_a_spawn_that_is_cancelled_while_every_thread_is_busy_leaves_nothing_behind() -> None:
    """Starting a child, and ending it, waits for nobody's thread."""
    await (await spawn(Launch("engine", f"{_ENTRIES}:end_with", {"status": 0}))).wait()
    release = threading.Event()
    busy = [asyncio.ensure_future(asyncio.to_thread(release.wait)) for _ in range(64)]
    try:
        await asyncio.sleep(0)
        before = _held()
        task = asyncio.ensure_future(spawn(Launch("engine", "tests.sandbox.never_ready:entry", {})))
        await until(lambda: _held()[1] > before[1])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: _held() == before)
    finally:
        release.set()
        await asyncio.gather(*busy)


async def test_a_spawn_that_is_cancelled_leaves_nothing_behind() -> None:
    await (await spawn(Launch("engine", f"{_ENTRIES}:end_with", {"status": 0}))).wait()
    before = _held()
    for delay_s in (0.0, 0.005, 0.05):
        task = asyncio.ensure_future(spawn(Launch("engine", "tests.sandbox.never_ready:entry", {})))
        await asyncio.sleep(delay_s)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await until(lambda: _held() == before)
