"""What a child is refused and no healthy one tries is heard of by whoever started it: the tables, and real children."""

import json
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.heard import heard
from tests.sandbox.test_child import until
from tests.sandbox.test_filter import (
    _ARCHITECTURES,
    _CASES_OF,
    _PID,
    ABSENT,
    ALLOW,
    KILL,
    REFUSE,
    TELL,
    answer,
)
from tests.sandbox.test_spawner import through
from tests.sandbox.told_entries import ATTEMPTS

from intramural.sandbox import Launch, denied, hearing, probe, run_once, spawn, told
from intramural.sandbox.bpf import Instruction
from intramural.sandbox.control import ENTRY as CONTROL
from intramural.sandbox.hearing import ANSWERS_A_BEAT, MOST_NAMES, OTHERS, Denied, Tally
from intramural.sandbox.seccomp import Profile, program, shut
from intramural.sandbox.starting import last_denied
from intramural.sandbox.syscalls import NUMBERS

_ENTRIES = "tests.sandbox.told_entries"
_TIMEOUT_S = 60.0
_HAND = 7
_PROFILES: tuple[Profile, ...] = ("engine", "parser", "broker")
_both = pytest.mark.parametrize("machine", _ARCHITECTURES)
_profiles = pytest.mark.parametrize("profile", _PROFILES)

# the tables -----------------------------------------------------------------------------------------------------------

#: Written down a second time: name → (x86_64, aarch64) of calls that no profile may make, and that are told.
_TOLD = {
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, None), "vfork": (58, None), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "kill": (62, 129), "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "bpf": (321, 280),
    "io_uring_setup": (425, 425), "userfaultfd": (323, 282), "perf_event_open": (298, 241), "keyctl": (250, 219),
    "memfd_create": (319, 279), "pkey_mprotect": (329, 288), "setresuid": (117, 147), "chmod": (90, None),
    "renameat2": (316, 276), "mkdirat": (258, 34), "truncate": (76, 45),
    "sendmmsg": (307, 269), "init_module": (175, 105), "personality": (135, 92), "get_robust_list": (274, 100),
}  # fmt: skip
#: Refused without a word, whoever asks.
_QUIET = {
    "sysinfo": (99, 179), "sched_setscheduler": (144, 119), "set_mempolicy": (238, 237), "setpriority": (141, 140),
    "get_mempolicy": (239, 236), "inotify_init1": (294, 26), "statfs": (137, 43), "landlock_create_ruleset": (444, 444),
}  # fmt: skip
_GRAVE = {"prctl": {1, 4, 0x59616D61}, "fcntl": {8, 10, 15}, "ioctl": {0x5412, 0x541C, 0x8901, 0x8902}}


def _pair(profile: Profile, machine: str) -> tuple[list[Instruction], list[Instruction]]:
    return program(profile, machine, _PID), program(profile, machine, _PID, tells=True)


@_both
@_profiles
def test_telling_changes_nothing_but_who_hears_of_a_refusal(machine: str, profile: Profile) -> None:
    arch, column = _ARCHITECTURES[machine]
    plain, telling = _pair(profile, machine)
    calls = [(number, (2**64 - 1,) * 6) for number in range(1024)] + [(number, ()) for number in range(1024)]
    for name, cases in _CASES_OF[profile].items():
        calls += [(number, each) for each, _ in cases if (number := NUMBERS[name][column]) is not None]
    for number, arguments in calls:
        before, after = (answer(steps, arch, number, arguments) for steps in (plain, telling))
        assert after == before or (before, after) == (REFUSE, TELL), (number, arguments)
    assert answer(telling, 0x40000003, 11) == KILL
    assert len(telling) <= 4096


@_both
@_profiles
def test_what_is_told_is_what_no_healthy_process_tries(machine: str, profile: Profile) -> None:
    arch, column = _ARCHITECTURES[machine]
    _, telling = _pair(profile, machine)
    for expected, table in ((TELL, _TOLD), (REFUSE, _QUIET)):
        for name, numbers in table.items():
            if numbers[column] is not None:
                assert answer(telling, arch, numbers[column]) == expected, name
    assert answer(telling, arch, 435) == ABSENT, "clone3: the C library tries it for every thread"
    for name, cases in _CASES_OF[profile].items():
        for arguments, result in cases:
            number = NUMBERS[name][column]
            if result != REFUSE or number is None:
                continue
            graves = _GRAVE.get(name)
            at = 0 if name == "prctl" else 1
            quiet = name in ("sched_setaffinity", "setsockopt") or (profile == "broker" and name in ("open", "openat"))
            quiet = quiet or (name, arguments) == ("clone", (0x4111,))  # as posix_spawn has it
            quiet = quiet or (graves is not None and arguments[at] & 0xFFFFFFFF not in graves)
            assert answer(telling, arch, number, arguments) == (REFUSE if quiet else TELL), (name, arguments)


@_both
@_profiles
def test_what_is_told_by_a_child_is_not_refused_by_the_spawner_without_a_word(machine: str, profile: Profile) -> None:
    """A plain refusal in any filter around a process outranks one that is told."""
    arch, column = _ARCHITECTURES[machine]
    _, telling = _pair(profile, machine)
    for outward in (False, True):
        spawners = denied.program("spawner", machine, _PID, outward=outward)
        silent = denied.program("spawner", machine, _PID, outward=outward, tells=False)
        for number in range(1024):
            every = [each for name, cases in _CASES_OF[profile].items() if NUMBERS[name][column] == number
                     for each, _ in cases]  # fmt: skip
            for arguments in ((), (2**64 - 1,) * 6, *every):
                if answer(telling, arch, number, arguments) == TELL:
                    assert answer(spawners, arch, number, arguments) in (ALLOW, TELL), (number, arguments)
                now, older = (answer(each, arch, number, arguments) for each in (spawners, silent))
                assert now == older or (older, now) == (REFUSE, TELL)


@_both
@_profiles
def test_what_is_open_while_the_listener_is_handed_over_is_shut_after_it(machine: str, profile: Profile) -> None:
    arch, column = _ARCHITECTURES[machine]
    _, telling = _pair(profile, machine)
    during = program(profile, machine, _PID, tells=True, hand=_HAND)
    after = shut(profile, machine, _HAND)
    sendmsg, seccomp = NUMBERS["sendmsg"][column], (317, 277)[column]
    assert answer(during, arch, seccomp, (1,)) == ALLOW == answer(during, arch, sendmsg, (_HAND,))
    for number in range(1024):
        for arguments in ((), (_HAND,), (_HAND + 1,), (2**64 - 1,) * 6):
            whole = {answer(each, arch, number, arguments) for each in (during, after)}
            effect = next(each for each in (KILL, REFUSE, ABSENT, TELL, ALLOW) if each in whole)
            untold = number == seccomp or (profile != "broker" and number == sendmsg and arguments == (_HAND,))
            wanted = REFUSE if untold else answer(telling, arch, number, arguments)
            assert effect == wanted, (number, arguments)


@_both
def test_every_number_that_can_be_told_is_one_calls(machine: str) -> None:
    column = _ARCHITECTURES[machine][1]
    every = [*NUMBERS.items(), *denied.CONDITIONAL.items(), *denied.NEVER.items(), *denied.NOT_THE_SERVICE.items()]
    every += told._MORE.items()
    of: dict[int, set[str]] = {}
    for name, numbers in every:
        if numbers[column] is not None:
            of.setdefault(numbers[column] or 0, set()).add(name)
    assert all(len(names) == 1 for names in of.values()), of
    assert {number: name for number, (name,) in ((n, tuple(each)) for n, each in of.items())} == dict(
        told.names(machine)
    )


def test_who_tries_everything_is_told_by_a_bounded_number_of_names() -> None:
    tally = Tally()
    for number in range(1000):
        tally.add(f"call {number}")
    assert len(tally.new) == MOST_NAMES + 1
    assert sum(tally.new.values()) == 1000
    assert tally.new[OTHERS] == 1000 - MOST_NAMES
    tally.told()
    tally.add("call 3")
    tally.add("call 999")
    assert tally.new == {"call 3": 1, OTHERS: 1}


def test_who_ends_by_a_call_of_another_architecture_tried_that() -> None:
    assert last_denied({"kill": 2}, -signal.SIGKILL) == {"kill": 2}
    assert last_denied({}, -signal.SIGSYS) == {told.ANOTHER_ARCHITECTURE: 1}


# real children --------------------------------------------------------------------------------------------------------


def _sum(found: list[Denied]) -> dict[str, int]:
    calls: Counter[str] = Counter()
    for each in found:
        calls.update(each.calls)
    return dict(calls)


@asynccontextmanager
async def _by(way: str, tmp_path: Path) -> AsyncIterator[list[Denied]]:
    """What is heard of children that the process starts itself, or its spawner."""
    with heard() as found:
        if way == "here":
            yield found
        else:
            async with through(tmp_path):
                yield found


_ways = pytest.mark.parametrize("way", ["here", "spawner"])


@_ways
async def test_each_attempt_is_refused_as_before_and_told_by_its_name(way: str, tmp_path: Path) -> None:
    arg = {"names": list(ATTEMPTS), "times": 2}
    async with _by(way, tmp_path) as found:
        parsed = await run_once(Launch("parser", f"{_ENTRIES}:tries", arg, about="a file"), _TIMEOUT_S)
        assert parsed == dict.fromkeys(ATTEMPTS, "EPERM")
        assert _sum(found) == dict.fromkeys(ATTEMPTS, 2)
        assert {(each.entry, each.about) for each in found} == {(f"{_ENTRIES}:tries", "a file")}
        assert len({each.number for each in found}) == 1
        found.clear()
        engine = await spawn(Launch("engine", f"{_ENTRIES}:tries_and_says", arg))
        assert "told" in engine.layers
        assert await engine.wait() == 0
        assert json.loads(engine.log_tail().replace("'", '"')) == parsed
        assert _sum(found) == dict.fromkeys(ATTEMPTS, 2)


@_ways
async def test_what_libraries_try_is_not_told(way: str, tmp_path: Path) -> None:
    async with _by(way, tmp_path) as found:
        child = await spawn(Launch("engine", f"{_ENTRIES}:tries_quietly", {}))
        assert await child.wait() == 0, child.log_tail()
        assert found == []


async def test_who_is_there_to_try_what_is_refused_alarms_nobody() -> None:
    with heard() as found:
        await probe()
        child = await spawn(Launch("parser", CONTROL, {"host": "127.0.0.1", "port": 9, "path": "/"}))
        await child.wait()
        assert "EPERM" in child.log_tail()
        assert found == []


async def test_a_child_that_floods_waits_and_nobody_else_does(tmp_path: Path) -> None:
    async with _by("spawner", tmp_path) as found:
        flooding = await spawn(Launch("engine", f"{_ENTRIES}:tries_for_ever", {"threads": 8}))
        try:
            await until(lambda: _sum(found).get("kill", 0) > 2 * ANSWERS_A_BEAT)
            assert max(sum(each.calls.values()) for each in found) <= 2 * ANSWERS_A_BEAT
            other = Launch("parser", f"{_ENTRIES}:tries", {"names": ["bpf"]})
            assert await run_once(other, _TIMEOUT_S) == {"bpf": "EPERM"}
            assert _sum(found)["bpf"] == 1
        finally:
            flooding.kill()
            await flooding.wait()


async def test_who_interrupts_its_own_calls_is_heard_all_the_same(tmp_path: Path) -> None:
    async with _by("spawner", tmp_path) as found:
        launch = Launch("parser", f"{_ENTRIES}:tries_while_interrupted", {"times": 60})
        outcomes = await run_once(launch, _TIMEOUT_S)
        assert set(outcomes) <= {"EPERM", "EINTR"} and sum(outcomes.values()) == 61
        assert _sum(found)["bpf"] == 1, "it is listened to, to the end"


async def test_when_nobody_hears_any_more_it_is_still_refused() -> None:
    with heard():
        child = await spawn(Launch("engine", f"{_ENTRIES}:tries_for_ever", {"threads": 0}))
        try:
            await until(lambda: "EPERM" in child.log_tail())
            child._begun._hearing.drop(child.pid)  # type: ignore[attr-defined]  # as if whoever listened were gone
            await until(lambda: "ENOSYS" in child.log_tail())
            assert "works" not in child.log_tail()
        finally:
            child.kill()
            await child.wait()


async def test_a_kernel_that_tells_nobody_refuses_as_well() -> None:
    with heard() as found:
        launch = Launch("parser", "tests.sandbox.untelling_kernel:tries", {"names": ["kill", "socket"]})
        assert await run_once(launch, _TIMEOUT_S) == {"kill": "EPERM", "socket": "EPERM"}
        assert found == []


async def test_nothing_of_it_is_left_open(tmp_path: Path) -> None:
    def held() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with heard() as found:
        before = held()
        for _ in range(3):
            await run_once(Launch("parser", f"{_ENTRIES}:tries", {"names": ["kill"]}), _TIMEOUT_S)
        assert held() == before
        assert len(found) == 3 == len({each.number for each in found})


def test_a_beat_is_bounded_whatever_is_asked() -> None:
    """The figures that docs/security.md has."""
    assert (hearing.BEAT_S, ANSWERS_A_BEAT, MOST_NAMES) == (1.0, 64, 64)
