"""The kernel's filter machine: small programs that say of each system call whether it may be made.

Pure but for `can_tell`, `install` and `install_told`. Source: seccomp(2), seccomp_unotify(2), linux/filter.h,
linux/audit.h.
"""

import ctypes
import errno
import platform
import struct
from collections.abc import Sequence

from intramural.sandbox.kernel import check, failed, libc

#: machine → (how the kernel calls it, its column in `syscalls.NUMBERS`)
ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
#: Above it, calls are newer than `NUMBERS`, which was written with Linux 6.10.
LAST_KNOWN = 462

_X32_BIT = 0x40000000
_LD, _JEQ, _JGE, _AND, _RET = 0x20, 0x15, 0x35, 0x54, 0x06
_ALLOW, _KILL, _ERRNO, _USER_NOTIF = 0x7FFF0000, 0x80000000, 0x00050000, 0x7FC00000
_NR_AT, _ARCH_AT = 0, 4
_SECCOMP_SET_MODE_FILTER, _SECCOMP_GET_ACTION_AVAIL, _SECCOMP_GET_NOTIF_SIZES = 1, 2, 3
_TSYNC, _NEW_LISTENER, _TSYNC_ESRCH = 1 << 0, 1 << 3, 1 << 4
#: Of what is told and of what is answered (`hearing` knows their fields), and of what a filter sees.
_NOTIF_SIZES = (80, 24, 64)
_SECCOMP_CALL = {"x86_64": 317, "aarch64": 277}

Instruction = tuple[int, int, int, int]
REFUSE: Instruction = (_RET, 0, 0, _ERRNO | errno.EPERM)
ABSENT: Instruction = (_RET, 0, 0, _ERRNO | errno.ENOSYS)
PERMIT: Instruction = (_RET, 0, 0, _ALLOW)
#: Refused, and whoever holds the filter's listener is told and answers. Without a listener the kernel refuses (ENOSYS).
#: Where two filters say so it is the newer one's listener that hears; where one says `REFUSE`, nobody is told.
TELL: Instruction = (_RET, 0, 0, _USER_NOTIF)


def opening(machine: str) -> list[Instruction]:
    """How every program begins: calls by another architecture's entry end the process, x32 calls fail."""
    arch, _ = ARCHITECTURES[machine]
    out: list[Instruction] = [(_LD, 0, 0, _ARCH_AT), (_JEQ, 1, 0, arch), (_RET, 0, 0, _KILL), (_LD, 0, 0, _NR_AT)]
    if machine == "x86_64":
        out += [(_JGE, 0, 1, _X32_BIT), REFUSE]
    return out


def rule(number: int | None, body: Sequence[Instruction]) -> list[Instruction]:
    """If the call is `number`, run `body` (which always returns); else go on behind it. None: there is no such call."""
    return [] if number is None else [(_JEQ, 0, len(body), number), *body]


def newer(than: int, body: Instruction) -> list[Instruction]:
    """If the call's number is above `than`, end with `body`; else go on."""
    return [(_JGE, 0, 1, than + 1), body]


def load(index: int, *, high: bool = False) -> list[Instruction]:
    """Take the low (or high) half of argument `index`: both architectures are little-endian."""
    return [(_LD, 0, 0, 16 + 8 * index + 4 * high)]


def unless_bits(index: int, bits: int) -> list[Instruction]:
    """Permit if argument `index` has none of `bits`."""
    return [*load(index), (_AND, 0, 0, bits), *_decided(0)]


def if_bits(index: int, bits: int) -> list[Instruction]:
    """Permit if argument `index` has all of `bits`."""
    return [*load(index), (_AND, 0, 0, bits), *_decided(bits)]


def if_equal(index: int, values: Sequence[int]) -> list[Instruction]:
    """Permit if argument `index` is one of `values`."""
    return [*load(index), *(step for value in values for step in _decided(value)[:-1]), REFUSE]


def unless_equal(index: int, values: Sequence[int]) -> list[Instruction]:
    """Permit unless argument `index` is one of `values`."""
    return [*load(index), *(step for value in values for step in ((_JEQ, 0, 1, value), REFUSE)), PERMIT]


def if_masked(index: int, mask: int, values: Sequence[int]) -> list[Instruction]:
    """Permit if argument `index`, of which only `mask` counts, is one of `values`."""
    tests = [step for value in values for step in _decided(value)[:-1]]
    return [*load(index), (_AND, 0, 0, mask), *tests, REFUSE]


def if_null(index: int) -> list[Instruction]:
    """Permit if argument `index`, a pointer, is none."""
    return [*load(index), (_JEQ, 1, 0, 0), REFUSE, *load(index, high=True), *_decided(0)]


def guarded(index: int, values: Sequence[int], body: Sequence[Instruction]) -> list[Instruction]:
    """Run `body` (which always returns) if argument `index` is one of `values`; else refuse."""
    tests: list[Instruction] = [(_JEQ, len(values) - place, 0, value) for place, value in enumerate(values)]
    return [*load(index), *tests, REFUSE, *body]


def told(body: Sequence[Instruction]) -> list[Instruction]:
    """`body`, whose every refusal is told."""
    return [TELL if step == REFUSE else step for step in body]


def told_if(body: Sequence[Instruction], values: Sequence[int]) -> list[Instruction]:
    """`body`, which ends by refusing an argument that it has loaded; that is told if the argument is of `values`."""
    assert body[-1] == REFUSE
    return [*body[:-1], *(step for value in values for step in ((_JEQ, 0, 1, value), TELL)), REFUSE]


def told_unless(body: Sequence[Instruction], values: Sequence[int]) -> list[Instruction]:
    """`body`, which ends by refusing an argument that it has loaded; told unless that is of `values`."""
    assert body[-1] == REFUSE
    return [*body[:-1], *(step for value in values for step in ((_JEQ, 0, 1, value), REFUSE)), TELL]


def _decided(value: int) -> list[Instruction]:
    return [(_JEQ, 0, 1, value), PERMIT, REFUSE]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def can_tell() -> bool:
    """Whether this kernel tells of calls (Linux 5.0), in the form that we know."""
    call, sizes = _SECCOMP_CALL[platform.machine()], (ctypes.c_uint16 * 3)()
    action = ctypes.c_uint32(_USER_NOTIF)
    if libc.syscall(call, _SECCOMP_GET_ACTION_AVAIL, 0, ctypes.byref(action)):
        return False
    return not libc.syscall(call, _SECCOMP_GET_NOTIF_SIZES, 0, ctypes.byref(sizes)) and tuple(sizes) == _NOTIF_SIZES


def install(steps: Sequence[Instruction]) -> None:
    """Filter this process from now on, every thread of it. Needs no_new_privs. Raises Broken(`confinement_failed`)."""
    unsynchronised = check("seccomp", _installed(steps, _TSYNC))
    if unsynchronised:  # not an error number: the thread that could not be filtered, and then none is
        raise failed("seccomp", f"thread {unsynchronised} could not be filtered")


def install_told(steps: Sequence[Instruction]) -> int | None:
    """The same with a listener: its descriptor, at which to hear of what `TELL` refuses. None: nothing was put in
    force, because the kernel is older than Linux 5.7, or a filter around us has a listener of its own.

    Raises Broken(`confinement_failed`).
    """
    listener = _installed(steps, _TSYNC | _TSYNC_ESRCH | _NEW_LISTENER)
    if listener < 0 and ctypes.get_errno() in (errno.EINVAL, errno.EBUSY):
        return None
    return check("seccomp", listener)


def _installed(steps: Sequence[Instruction], flags: int) -> int:
    packed = b"".join(struct.pack("<HBBI", *step) for step in steps)
    handle = _Program(len(steps), packed)
    call = _SECCOMP_CALL[platform.machine()]
    return int(libc.syscall(call, _SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(handle)))
