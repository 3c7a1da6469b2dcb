"""The spawner: the same children by way of another process, which gives no more than it was told to at its start."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.sandbox.conftest import ROOT
from tests.sandbox.test_child import _held, until

from intramural.core import config as settings
from intramural.core.errors import Broken, Conflicting, Untrusted
from intramural.sandbox import Launch, missing_layers, probe, run_once, spawn
from intramural.sandbox.launch import Rules
from intramural.sandbox.posture import Level
from intramural.sandbox.seal import Needs
from intramural.sandbox.spawning import Spawner
from intramural.services.enclosure import spawner_needs

_ENTRIES = "tests.sandbox.entries"
_TIMEOUT_S = 30.0


@asynccontextmanager
async def through(
    tmp_path: Path, package: str = "tests", without: frozenset[str] = frozenset(), needs: Needs | None = None
) -> AsyncIterator[Spawner]:
    run_dir = tmp_path / "run"
    run_dir.mkdir(mode=0o700, exist_ok=True)
    spawner = Spawner(Rules(package, without, run_dir, None, frozenset({"OMP_NUM_THREADS"}), connects=False), needs)
    spawner.attach()
    try:
        yield spawner
    finally:
        spawner.close()


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_a_child_is_the_spawners_and_does_what_children_do(tmp_path: Path) -> None:
    with Path(__file__).open("rb") as model:
        async with through(tmp_path) as spawner:
            launch = Launch("engine", f"{_ENTRIES}:wait", {}, {"model": model.fileno()})
            child = await spawn(launch)
            assert _parent(child.pid) == spawner.pid and _parent(spawner.pid) == os.getpid()
            assert {"netns", "landlock", "seccomp"} <= set(child.layers)
            await until(lambda: "ready" in child.log_tail())
            assert child.returncode is None
            assert await child.stop(_TIMEOUT_S) == child.returncode == -signal.SIGTERM
            child.kill()  # of what has ended: nothing happens
            stubborn = await spawn(Launch("engine", f"{_ENTRIES}:ignore_sigterm", {}))
            await until(lambda: "ready" in stubborn.log_tail())
            assert await stubborn.stop(0.1) == -signal.SIGKILL
            found = await run_once(Launch("parser", f"{_ENTRIES}:descriptors", {}, {"model": model.fileno()}), 30)
            assert found["files"] == {"model": model.fileno()}
            assert len(found["kinds"]) == 5, "its three, the model, and a pipe for the answer"


async def test_errors_come_back_as_themselves(tmp_path: Path) -> None:
    async with through(tmp_path):
        with pytest.raises(Conflicting):
            await run_once(Launch("parser", f"{_ENTRIES}:refuse", {}), _TIMEOUT_S)
        with pytest.raises(Untrusted):
            await run_once(Launch("parser", f"{_ENTRIES}:crash", {}), _TIMEOUT_S)
        with pytest.raises(Broken) as caught:
            await spawn(Launch("engine", "tests.sandbox.starts_thread:entry", {}))
        assert (caught.value.code, caught.value.param) == ("confinement_failed", "threads")


async def test_what_is_long_arrives_whole(tmp_path: Path) -> None:
    arg = {"long": "x" * 2**20}
    async with through(tmp_path):
        assert await run_once(Launch("parser", f"{_ENTRIES}:give_back", arg), _TIMEOUT_S) == arg


async def test_the_machine_is_probed_through_it(tmp_path: Path) -> None:
    async with through(tmp_path, package="intramural"):
        assert (await probe()).level is Level.FULL


#: what a service that was taken over asks for → the layer that the error names
_REFUSED = {
    "another program": (Launch("parser", "os:system", {}), "entry"),
    "a module that only begins like ours": (Launch("parser", "testsuite.mine:entry", {}), "entry"),
    "a way to the network": (Launch("broker", f"{_ENTRIES}:wait", {}), "network"),
    "without a layer": (Launch("parser", f"{_ENTRIES}:wait", {}, without=frozenset({"seccomp"})), "seccomp"),
    "as root": (Launch("parser", f"{_ENTRIES}:wait", {}, without=frozenset({"uid"})), "uid"),
    "a library of its own": (Launch("parser", f"{_ENTRIES}:wait", {}, env={"LD_PRELOAD": "/tmp/x.so"}), "environment"),
    "a path for a number": (Launch("parser", f"{_ENTRIES}:wait", {}, env={"OMP_NUM_THREADS": "/tmp"}), "environment"),
    "somebody's directory": (Launch("engine", f"{_ENTRIES}:wait", {}, private_dir=Path("/etc")), "private_dir"),
}


@pytest.mark.parametrize("what", _REFUSED)
async def test_it_gives_nothing_that_was_not_laid_down_at_its_start(what: str, tmp_path: Path) -> None:
    launch, layer = _REFUSED[what]
    async with through(tmp_path):
        with pytest.raises(Broken) as caught:
            await spawn(launch)
        assert (caught.value.code, caught.value.param) == ("confinement_failed", layer)


async def test_no_directory_is_given_away_by_a_link_or_by_going_up(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (tmp_path / "run").mkdir(mode=0o700)
    (tmp_path / "run/link").symlink_to(victim)
    before = victim.stat().st_uid, tmp_path.stat().st_uid
    async with through(tmp_path):
        for path in (tmp_path / "run/link", tmp_path / "run/.."):
            if os.geteuid() != 0 and path.name == "link":
                continue  # nothing is given away: there is only one user
            with pytest.raises(Broken):
                await spawn(Launch("engine", f"{_ENTRIES}:wait", {}, private_dir=path))
    assert (victim.stat().st_uid, tmp_path.stat().st_uid) == before


async def test_a_downgrade_that_was_named_is_given(tmp_path: Path) -> None:
    without = missing_layers(Level.NO_NETNS)
    async with through(tmp_path, without=without):
        child = await spawn(Launch("engine", f"{_ENTRIES}:wait", {}, without=without))
        assert "netns" not in child.layers and "seccomp" in child.layers
        child.kill()
        await child.wait()


async def test_its_own_walls_stand(tmp_path: Path) -> None:
    async with through(tmp_path) as spawner:
        await run_once(Launch("parser", f"{_ENTRIES}:give_back", {}), _TIMEOUT_S)
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{spawner.pid}/status").read_text().splitlines() if ":" in line
        )
        assert (status["Seccomp"].strip(), status["NoNewPrivs"].strip(), status["Threads"].strip()) == ("2", "1", "1")


async def test_its_fence_is_its_childrens_too_and_lets_through_what_they_need(open_tmp: str) -> None:
    """With their own Landlock left out, what is refused is refused by the spawner's."""
    home = Path(tempfile.mkdtemp(dir=open_tmp))
    home.chmod(0o755)
    secret, blob = home / "secrets/key", home / "library/blob"
    for file in (secret, blob):
        file.parent.mkdir()
        file.write_bytes(b"bytes")
    needs = spawner_needs(settings.load({}, data_dir=home))
    needs = replace(needs, read=(*needs.read, ROOT))
    without = frozenset({"landlock", "seccomp"})

    async def read(path: Path) -> object:
        return await run_once(
            Launch("parser", f"{_ENTRIES}:tries_to_read", {"path": str(path)}, without=without), _TIMEOUT_S
        )

    async with through(home, without=without) as spawner:
        assert (await read(secret), await read(blob)) == ("read", "read"), "that it is the fence which refuses"
        assert spawner.layers == ("seccomp",)
    async with through(home, without=without, needs=needs) as spawner:
        assert (await read(secret), await read(blob)) == ("refused", "read")
        program = Launch("parser", f"{_ENTRIES}:tries_to_run", {"program": "/bin/true"}, without=without)
        assert await run_once(program, _TIMEOUT_S) == "refused"
        whole = Launch("parser", f"{_ENTRIES}:give_back", {"said": 1})
        assert await run_once(whole, _TIMEOUT_S) == {"said": 1}, "with all of its own layers"
        assert spawner.layers == ("landlock", "seccomp")


async def test_when_it_dies_its_children_do_and_nobody_waits_for_ever(tmp_path: Path) -> None:
    async with through(tmp_path) as spawner:
        child = await spawn(Launch("engine", f"{_ENTRIES}:wait", {}))
        os.kill(spawner.pid, signal.SIGKILL)
        async with asyncio.timeout(_TIMEOUT_S):
            await spawner.lost
            assert await child.wait() == -signal.SIGKILL
            await until(lambda: not Path(f"/proc/{child.pid}").exists() or _parent(child.pid) != spawner.pid)
            with pytest.raises(Broken) as caught:
                await spawn(Launch("engine", f"{_ENTRIES}:wait", {}))
        assert caught.value.code == "spawner_died"


async def test_a_child_that_it_leaves_behind_half_confined_is_not_said_to_have_failed(tmp_path: Path) -> None:
    """It does not go on without its parent; that says nothing of whether the machine can confine."""
    async with through(tmp_path) as spawner:
        spawning = asyncio.ensure_future(spawn(Launch("engine", "tests.sandbox.stops_itself:entry", {})))
        await until(lambda: spawner.children)
        (pid,) = spawner.children
        stat = Path(f"/proc/{pid}/stat")
        await until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")
        os.kill(spawner.pid, signal.SIGKILL)
        await until(lambda: _parent(pid) != spawner.pid)
        os.kill(pid, signal.SIGCONT)
        with pytest.raises(Broken) as caught:
            await asyncio.wait_for(spawning, _TIMEOUT_S)
        assert caught.value.code == "spawner_died"
        assert isinstance(caught.value.__cause__, Broken) and "parent" in caught.value.__cause__.message


async def test_it_and_its_children_die_with_the_service() -> None:
    service = subprocess.Popen(
        [sys.executable, "-m", "tests.sandbox.short_lived_service"],
        cwd=ROOT,
        env={"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
    )
    assert service.stdout is not None
    with service.stdout:
        pids = json.loads(service.stdout.readline())
        watches = [os.pidfd_open(pid) for pid in pids]
        service.kill()
        service.wait()
    for watch in watches:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(watch, ended.set)
        async with asyncio.timeout(2):  # what was promised
            await ended.wait()
        loop.remove_reader(watch)
        os.close(watch)


async def test_a_spawn_that_is_cancelled_leaves_nothing_behind(tmp_path: Path) -> None:
    async with through(tmp_path) as spawner:
        await run_once(Launch("parser", f"{_ENTRIES}:give_back", {}), _TIMEOUT_S)
        children = Path(f"/proc/{spawner.pid}/task/{spawner.pid}/children")
        before = _held()
        for turns in (0, 1, 2, 3):
            task = asyncio.ensure_future(spawn(Launch("engine", "tests.sandbox.never_ready:entry", {})))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        task = asyncio.ensure_future(spawn(Launch("engine", "tests.sandbox.never_ready:entry", {})))
        await until(lambda: children.read_text())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not children.read_text() and _held() == before)
