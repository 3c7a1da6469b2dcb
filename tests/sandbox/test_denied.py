"""What the service and its spawner may not call: their programs run in a little machine, on both architectures."""

import pytest
from tests.sandbox.test_filter import _ARCHITECTURES, ABSENT, ALLOW, KILL, REFUSE, TELL, answer

from intramural.sandbox.bpf import Instruction
from intramural.sandbox.denied import Who, program
from intramural.sandbox.syscalls import NUMBERS

_PID = 4242
_WHO: tuple[Who, ...] = ("gateway", "spawner")
_CLONE_THREAD_OF_GLIBC = 0x3D0F00
_UNIX, _INET, _INET6, _NETLINK, _PACKET, _VSOCK = 1, 2, 10, 16, 17, 40
_STREAM, _DATAGRAM, _RAW, _NONBLOCK = 1, 2, 3, 0o4000
_FASTOPEN = 0x20000000
#: name → (x86_64, aarch64), written down a second time, from the kernel's tables
_EXEC = {"execve": (59, 221), "execveat": (322, 281), "unshare": (272, 97), "setns": (308, 268), "capset": (126, 91)}
_ALWAYS = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "io_uring_setup": (425, 425), "bpf": (321, 280),
    "mount": (165, 40), "keyctl": (250, 219), "finit_module": (313, 273), "kexec_file_load": (320, 294),
    "userfaultfd": (323, 282), "perf_event_open": (298, 241), "pidfd_getfd": (438, 438), "fsopen": (430, 430),
}  # fmt: skip


def _programs(machine: str) -> dict[tuple[Who, bool], list[Instruction]]:
    return {(who, out): program(who, machine, _PID, outward=out) for who in _WHO for out in (False, True)}


@pytest.mark.parametrize("machine", _ARCHITECTURES)
def test_what_nobody_needs_is_refused_to_both(machine: str) -> None:
    arch, column = _ARCHITECTURES[machine]
    for (who, _), steps in _programs(machine).items():
        for name, numbers in _ALWAYS.items():
            # what the spawner refuses, its children's listeners hear of; it has none itself, and is refused
            assert answer(steps, arch, numbers[column]) == (REFUSE if who == "gateway" else TELL), (who, name)
        for name, numbers in _EXEC.items():
            assert answer(steps, arch, numbers[column]) == (REFUSE if who == "gateway" else ALLOW), (who, name)
        for number in (463, 467, 1000):
            assert answer(steps, arch, number) == ABSENT
        assert answer(steps, 0x40000003, 11) == KILL, "a call of another architecture"


def test_x32_calls_are_refused() -> None:
    for steps in _programs("x86_64").values():
        assert answer(steps, _ARCHITECTURES["x86_64"][0], 0x40000000 | 59) == REFUSE


#: call → (arguments, what the gateway that connects to nobody is told, what one that may connect is told)
_CASES: dict[str, tuple[tuple[tuple[int, ...], str, str], ...]] = {
    "socket": (
        ((_UNIX, _STREAM | _NONBLOCK), ALLOW, ALLOW),
        ((_UNIX, _DATAGRAM), REFUSE, REFUSE),
        ((_INET, _STREAM), REFUSE, ALLOW),
        ((_INET6, _DATAGRAM | _NONBLOCK), REFUSE, ALLOW),
        ((_NETLINK, _RAW), REFUSE, ALLOW),
        ((_PACKET, _RAW), REFUSE, REFUSE),
        ((_VSOCK, _STREAM), REFUSE, REFUSE),
    ),
    "socketpair": (
        ((_UNIX, _STREAM), ALLOW, ALLOW),
        ((_UNIX, _DATAGRAM), REFUSE, REFUSE),
        ((_UNIX, 5), ALLOW, ALLOW),
        ((_INET, _STREAM), REFUSE, REFUSE),
    ),
    "sendto": (
        ((3, 4096, 1, 0, 0, 0), ALLOW, ALLOW),
        ((3, 4096, 1, 0, 4096, 16), REFUSE, ALLOW),
        ((3, 4096, 1, 0, 1 << 32, 16), REFUSE, ALLOW),
    ),
    "sendmsg": (((3, 4096, 0), ALLOW, ALLOW), ((3, 4096, _FASTOPEN), REFUSE, ALLOW)),
    "clone": (
        ((_CLONE_THREAD_OF_GLIBC,), ALLOW, ALLOW),
        ((17,), REFUSE, REFUSE),
        ((0x10000000 | 17,), REFUSE, REFUSE),
    ),
    "clone3": (((4096, 88), ABSENT, ABSENT),),
    "tgkill": (((_PID, 1, 6), ALLOW, ALLOW), ((1, 1, 9), REFUSE, REFUSE)),
    "prctl": (((15,), ALLOW, ALLOW), ((4, 1), REFUSE, REFUSE), ((1, 0), REFUSE, REFUSE)),
    "fcntl": (((3, 10), ALLOW, ALLOW), ((3, 8), REFUSE, REFUSE), ((3, 15), REFUSE, REFUSE)),
    "ioctl": (((3, 0x5421), ALLOW, ALLOW), ((0, 0x5412), REFUSE, REFUSE)),
    "read": (((3, 4096, 1), ALLOW, ALLOW),),
    "openat": (((3, 4096, 2), ALLOW, ALLOW),),
    "mprotect": (((0, 4096, 5), ALLOW, ALLOW),),
}
_MORE = {"socketpair": (53, 199), "sendmsg": (46, 211)}


@pytest.mark.parametrize("machine", _ARCHITECTURES)
@pytest.mark.parametrize("name", _CASES)
def test_where_it_depends_on_the_arguments(name: str, machine: str) -> None:
    arch, column = _ARCHITECTURES[machine]
    number = {**NUMBERS, **_MORE}[name][column]
    assert number is not None
    programs = _programs(machine)
    for arguments, inside, outward in _CASES[name]:
        assert answer(programs["gateway", False], arch, number, arguments) == inside, arguments
        assert answer(programs["gateway", True], arch, number, arguments) == outward, arguments


def test_the_program_is_one_that_the_kernel_takes() -> None:
    for machine in _ARCHITECTURES:
        for steps in _programs(machine).values():
            assert len(steps) <= 4096
            assert all(0 <= each <= 255 for step in steps for each in step[1:3])
