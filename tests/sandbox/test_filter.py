"""The seccomp program, run in a little machine of our own: every call, both architectures, every profile."""

import errno
import os
import struct

import pytest

from intramural.sandbox.bpf import Instruction
from intramural.sandbox.landlock import handled
from intramural.sandbox.seccomp import Profile, program
from intramural.sandbox.syscalls import NUMBERS

_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_OTHERS = (0x40000003, 0x40000028, 0xC00000B7, 0xC000003E, 0)  # i386, arm, the other one of ours, nonsense
_PID = 4242
_NEWEST = 462  # mseal: the last call when the list was written
_HIGH = 1 << 32

ALLOW, REFUSE, KILL, ABSENT, TELL = "allow", "refuse", "kill", "absent", "tell"
_ANSWERS = {
    0x7FFF0000: ALLOW,
    0x7FC00000: TELL,
    0x80000000: KILL,
    0x00050000 | errno.EPERM: REFUSE,
    0x00050000 | errno.ENOSYS: ABSENT,
}


def answer(steps: list[Instruction], machine_arch: int, number: int, arguments: tuple[int, ...] = ()) -> str:
    """What the kernel's filter machine returns for one call: classic BPF over struct seccomp_data."""
    padded = (*arguments, *[0] * (6 - len(arguments)))
    data = struct.pack("<IIQ6Q", number, machine_arch, 0xDEAD, *padded)
    accumulator, at = 0, 0
    while True:
        code, if_true, if_false, operand = steps[at]
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, operand)
            case 0x54:
                accumulator &= operand
            case 0x15:
                at += if_true if accumulator == operand else if_false
            case 0x35:
                at += if_true if accumulator >= operand else if_false
            case 0x06:
                return _ANSWERS[operand]
            case _:
                raise AssertionError(f"no such instruction: {code:#x}")


#: What a profile may do besides what all may, whatever the arguments.
_TALKING = {"getsockname", "getpeername", "getsockopt", "shutdown", "recvfrom"}
_OWN: dict[Profile, set[str]] = {
    "engine": {"bind", "listen", "accept", "accept4", *_TALKING},
    "parser": set(),
    "broker": {"connect", "recvmsg", "sendmsg", *_TALKING},
}
_OPENED = (
    *((flags, ALLOW) for flags in (0, os.O_CLOEXEC, os.O_DIRECTORY | os.O_NONBLOCK, os.O_PATH, os.O_NOFOLLOW)),
    *((flags, REFUSE) for flags in (os.O_WRONLY, os.O_RDWR, 3, os.O_CREAT, os.O_TRUNC, os.O_TMPFILE, _HIGH | 1)),
)
#: call → ((arguments, answer) …) where it depends on them
_CASES: dict[str, tuple[tuple[tuple[int, ...], str], ...]] = {
    "open": tuple(((1, flags), answer) for flags, answer in _OPENED),
    "openat": tuple(((-100 & 2**64 - 1, 1, flags), answer) for flags, answer in _OPENED),
    "mmap": (
        ((0, 4096, 3), ALLOW),
        ((0, 4096, 1, 2, 5, 0), ALLOW),
        ((0, 4096, 4), REFUSE),
        ((0, 4096, 7), REFUSE),
        ((0, 4096, 5 | _HIGH), REFUSE),
    ),
    "mprotect": (((0, 4096, 0), ALLOW), ((0, 4096, 3), ALLOW), ((0, 4096, 5), REFUSE), ((0, 4096, 7), REFUSE)),
    "clone": (
        ((0x3D0F00,), ALLOW),
        ((0x7D0F00,), ALLOW),
        ((17,), REFUSE),
        ((0x4111,), REFUSE),
        ((0x10000000 | 17,), REFUSE),
        ((0x10000,), REFUSE),
        *(((0x3D0F00 | more,), REFUSE) for more in (17, 0x2000, 0x20000, 0x10000000, 0x40000000)),
    ),
    "clone3": (((1, 88), ABSENT),),
    "tgkill": (
        *(((_PID, 7, number), ALLOW) for number in (6, 11, 15)),
        *(((_PID, 7, number), REFUSE) for number in (9, 9 | _HIGH)),
        *((arguments, REFUSE) for arguments in ((_PID + 1, 7, 15), (0, 0, 0), (2**32 - 1,))),
    ),
    "prlimit64": (
        *(((process, 7, 0, 4096), ALLOW) for process in (0, _PID)),
        *(((process, 7, new, 4096), REFUSE) for process in (0, _PID) for new in (1, 4096, _HIGH)),
        *(((process, 7), REFUSE) for process in (1, _PID + 1)),
    ),
    "sched_setaffinity": (((0, 8), ALLOW), ((_PID, 8), ALLOW), ((1, 8), REFUSE), ((_PID - 1, 8), REFUSE)),
    "ioctl": (
        ((1, 0x5421), ALLOW),
        ((1, 0x541B), ALLOW),
        ((1, 0x5451), ALLOW),
        ((1, 0x5450), ALLOW),
        ((0, 0x5412), REFUSE),  # TIOCSTI
        ((1, 0x5452), REFUSE),  # FIOASYNC
        ((1, 0x8901), REFUSE),  # FIOSETOWN
        ((1, 0x8902), REFUSE),  # SIOCSPGRP
        ((1, 0x5412 | _HIGH), REFUSE),
    ),
    "fcntl": (
        *(((1, command), ALLOW) for command in (0, 1, 2, 3, 4, 5, 6, 7, 1030)),
        *(((1, command), REFUSE) for command in (8, 10, 15, 36, 1024, 1026, 1031, 1033)),
    ),
    "prctl": (((15,), ALLOW), *(((option,), REFUSE) for option in (1, 4, 8, 22, 23, 24, 38, 47, 0x59616D61))),
}
_ENGINE_CASES: dict[str, tuple[tuple[tuple[int, ...], str], ...]] = {
    "socket": (
        ((1, 1), ALLOW),
        ((1, 1 | 0o4000 | 0o2000000), ALLOW),
        ((1, 2), REFUSE),
        ((1, 3), REFUSE),
        ((1, 5), REFUSE),
        *(((family, 1), REFUSE) for family in (0, 2, 10, 16, 17, 29, 38, 40)),
    ),
}
#: For whom answers on sockets, and for whom connects.
_TALKING_CASES: dict[str, tuple[tuple[tuple[int, ...], str], ...]] = {
    "setsockopt": (
        *(((3, 1, option), ALLOW) for option in (2, 7, 8, 9, 13, 15, 20, 21, 66, 67)),
        *(((3, 1, option), REFUSE) for option in (1, 25, 26, 27, 36, 50, 51, 52)),
        *(((3, level, 2), REFUSE) for level in (0, 6, 41, 270)),
    ),
    "sendto": (
        ((3, 1, 9, 0, 0, 0), ALLOW),
        ((3, 1, 9, 0, 0x7FFF1234, 16), REFUSE),
        ((3, 1, 9, 0, 1 << 32, 16), REFUSE),
        ((3, 1, 9, 0, 1, 16), REFUSE),
    ),
}

_BROKER_CASES: dict[str, tuple[tuple[tuple[int, ...], str], ...]] = {
    "socket": (
        *(((family, kind), ALLOW) for family in (2, 10) for kind in (1, 2, 1 | 0o4000 | 0o2000000)),
        *(((family, kind), REFUSE) for family in (2, 10) for kind in (0, 3, 4, 5, 10)),  # raw, and the like
        *(((family, 1), REFUSE) for family in (0, 1, 16, 17, 29, 38, 40)),
    ),
    "socketpair": (((1, 1), ALLOW), ((1, 2), REFUSE), ((1, 5), REFUSE), ((2, 1), REFUSE)),
    "open": (((1, 0), REFUSE), ((1, 2), REFUSE)),
    "openat": (((-100 & 2**64 - 1, 1, 0), REFUSE), ((-100 & 2**64 - 1, 1, os.O_PATH), REFUSE)),
}
_CASES_OF: dict[Profile, dict[str, tuple[tuple[tuple[int, ...], str], ...]]] = {
    "engine": _CASES | _TALKING_CASES | _ENGINE_CASES,
    "parser": _CASES,
    "broker": _CASES | _TALKING_CASES | _BROKER_CASES,
}

_both = pytest.mark.parametrize("machine", _ARCHITECTURES)
_profiles = pytest.mark.parametrize("profile", ["engine", "parser", "broker"])
_readers = pytest.mark.parametrize("profile", ["engine", "parser"])


@_both
@_profiles
def test_every_call_is_answered_as_wanted(machine: str, profile: Profile) -> None:
    arch, column = _ARCHITECTURES[machine]
    steps = program(profile, machine, _PID)
    cases = _CASES_OF[profile]
    unconditional = set(NUMBERS) - {name for each in _CASES_OF.values() for name in each}
    unconditional -= {name for each in _OWN.values() for name in each} - _OWN[profile]
    allowed = {NUMBERS[name][column]: name for name in unconditional}
    conditional = {NUMBERS[name][column]: name for name in cases}
    for number in range(1024):
        if number in conditional:
            for arguments, expected in cases[conditional[number]]:
                assert answer(steps, arch, number, arguments) == expected, (conditional[number], arguments)
        else:
            expected = ALLOW if number in allowed else ABSENT if number > _NEWEST else REFUSE
            assert answer(steps, arch, number, (2**64 - 1,) * 6) == expected, (number, allowed.get(number))


@_both
@_readers
def test_with_memory_to_write_to_a_file_may_be_written_anew_and_nothing_else(machine: str, profile: Profile) -> None:
    arch, column = _ARCHITECTURES[machine]
    steps = program(profile, machine, _PID, rewrites=True)
    cases = {"open": (), "openat": (0,)} if machine == "x86_64" else {"openat": (0,)}
    for name, before in cases.items():
        for flags in (0, 0o2000000, 0o1101, 0o2001101):  # reading; mode "wb"
            assert answer(steps, arch, NUMBERS[name][column], (*before, 1, flags)) == ALLOW, (name, oct(flags))
        for flags in (1, 2, 3, 0o100, 0o101, 0o102, 0o1000, 0o1001, 0o1102, 0o20000001, 0o20001101):
            assert answer(steps, arch, NUMBERS[name][column], (*before, 1, flags)) == REFUSE, (name, oct(flags))


@_both
@_profiles
def test_calls_of_another_architecture_kill(machine: str, profile: Profile) -> None:
    arch, _ = _ARCHITECTURES[machine]
    steps = program(profile, machine, _PID)
    for other in set(_OTHERS) - {arch}:
        for number in (0, 1, 39, 60, 102, 359, 0x40000027):
            assert answer(steps, other, number) == KILL


@_profiles
def test_x32_calls_are_refused(profile: Profile) -> None:
    steps = program(profile, "x86_64", _PID)
    for number in (0, 1, 39, 231, 512, 547):
        assert answer(steps, 0xC000003E, 0x40000000 | number) == REFUSE
    assert answer(steps, 0xC000003E, 0xFFFFFFFF) == REFUSE


@_both
@_profiles
def test_it_is_a_program_the_kernel_takes(machine: str, profile: Profile) -> None:
    steps = program(profile, machine, _PID)
    assert 0 < len(steps) <= 4096
    for at, (code, if_true, if_false, operand) in enumerate(steps):
        assert code in (0x20, 0x15, 0x35, 0x54, 0x06)
        assert 0 <= operand < 2**32
        for jump in (if_true, if_false):
            assert 0 <= jump < 256
            if code in (0x15, 0x35):
                assert at + 1 + jump < len(steps)
        if code == 0x20:
            assert operand % 4 == 0
            assert operand < 64
    assert steps[-1] == (0x06, 0, 0, 0x00050000 | errno.EPERM)


@_both
def test_numbers_are_those_of_the_machine_and_of_one_call_each(machine: str) -> None:
    column = _ARCHITECTURES[machine][1]
    numbers = [pair[column] for pair in NUMBERS.values() if pair[column] is not None]
    assert len(numbers) == len(set(numbers))


#: Landlock ABI → (file rights, network rights, scopes, size of the structure). include/uapi/linux/landlock.h
_ABIS = {
    0: (0, 0, 0, 8),
    1: (0x1FFF, 0, 0, 8),
    2: (0x3FFF, 0, 0, 8),  # refer
    3: (0x7FFF, 0, 0, 8),  # truncate
    4: (0x7FFF, 3, 0, 16),  # TCP bind, connect
    5: (0xFFFF, 3, 0, 16),  # device ioctl
    6: (0xFFFF, 3, 3, 24),  # abstract Unix sockets, signals
    7: (0xFFFF, 3, 3, 24),
    8: (0xFFFF, 3, 3, 24),
    9: (0x1FFFF, 3, 3, 24),  # pathname Unix sockets
    10: (0x1FFFF, 0xF, 3, 24),  # UDP
    11: (0x1FFFF, 0xF, 3, 24),  # not known yet: as the newest that is
    12: (0x1FFFF, 0xF, 3, 24),
}


@pytest.mark.parametrize("abi", _ABIS)
def test_landlock_handles_all_that_the_kernel_knows(abi: int) -> None:
    files, network, scopes, size = _ABIS[abi]
    found = handled(abi)
    assert (found.files, found.network, found.scopes) == (files, network, scopes)
    assert found.packed == struct.pack("<QQQ", files, network, scopes)[:size]
    if abi:
        older = handled(abi - 1)
        assert older.files & ~found.files == older.network & ~found.network == older.scopes & ~found.scopes == 0


@pytest.mark.parametrize("abi", _ABIS)
def test_for_who_connects_landlock_handles_all_but_connecting(abi: int) -> None:
    every, found = handled(abi), handled(abi, connects=True)
    assert (found.files, found.scopes) == (every.files, every.scopes)
    assert found.network == (1 if abi >= 4 else 0)  # listening on TCP
