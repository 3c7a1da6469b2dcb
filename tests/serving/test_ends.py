"""What the end of a worker's process says of its weights."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from intramural.serving.ends import End, judged, killed_between, memory_kills, memory_kills_in

_ANYTHING = (None, False, True)


@pytest.mark.parametrize("killed", _ANYTHING)
@pytest.mark.parametrize(
    ("status", "how"), [(-signal.SIGSEGV, "SIGSEGV"), (-signal.SIGTERM, "SIGTERM"), (0, "status 0"), (3, "status 3")]
)
def test_what_ends_by_itself_crashed_whatever_the_machine_did(status: int, how: str, killed: bool | None) -> None:
    assert judged(status, by_itself=True, killed_for_memory=killed) == End(how, crashed=True)


def test_a_kill_that_is_not_ours_counts_unless_it_came_from_outside() -> None:
    assert judged(-9, by_itself=True, killed_for_memory=False) == End("SIGKILL", crashed=False)
    assert judged(-9, by_itself=True, killed_for_memory=True) == End("SIGKILL (out of memory)", crashed=True)
    assert judged(-9, by_itself=True, killed_for_memory=None) == End("SIGKILL", crashed=True), "to be safe"


@pytest.mark.parametrize("killed", _ANYTHING)
def test_how_we_ended_it_is_not_told_and_the_rest_is(killed: bool | None) -> None:
    """Whether that counts is the scheduler's to say, which gave the order."""
    for status in (0, -signal.SIGTERM, -signal.SIGKILL):
        assert judged(status, by_itself=False, killed_for_memory=killed) == End("", crashed=True)
    assert judged(-signal.SIGABRT, by_itself=False, killed_for_memory=killed) == End("SIGABRT", crashed=True)


def test_what_the_kernel_says_of_memory() -> None:
    assert memory_kills_in("nr_free_pages 12\noom_kill 3\noom_kill_more 9\n") == 3
    assert memory_kills_in("nr_free_pages 12\n") is None
    assert [killed_between(*each) for each in ((3, 3), (3, 4), (None, 3), (3, None))] == [False, True, None, None]


@pytest.fixture
def little_memory() -> Iterator[Path]:
    """A group of processes that may have 32 MB together."""
    root = Path("/sys/fs/cgroup")
    first, name = (root, "memory.max") if (root / "cgroup.controllers").exists() else (root / "memory", "")
    group = first / f"intramural-{os.getpid()}"
    try:
        group.mkdir()
        (group / (name or "memory.limit_in_bytes")).write_text("32000000")
    except OSError as error:
        pytest.skip(f"no group with a limit can be made here: {error}")
    yield group
    group.rmdir()


def test_a_kill_for_memory_is_told_from_others(little_memory: Path) -> None:
    """By the real kernel."""
    before = memory_kills()
    subprocess.run(["sh", "-c", "kill -9 $$"], check=False)
    assert killed_between(before, memory_kills()) is False
    eats = f"open('{little_memory}/cgroup.procs', 'w').write('0'); bytearray(200_000_000)"
    assert subprocess.run([sys.executable, "-c", eats], check=False).returncode == -signal.SIGKILL
    assert killed_between(before, memory_kills()) is True
