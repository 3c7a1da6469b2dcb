"""The system calls a confined process may make: a small program for the kernel's filter machine, put together here.

Deny by default: what is not listed fails with EPERM (with ENOSYS where it is newer than this list, so that a newer C
library falls back to a call that is older). So io_uring, exec, fork, ptrace, `connect`, `sendmsg`, namespaces,
mounts, keys, BPF, changing a file's mode or time, and calls that no kernel has yet, need no rule of their own. Calls of
another architecture (int 0x80) end the process; x32 calls fail.

`program()` is pure and can be run in a test's own little machine; `install()` hands it to the kernel.
Source: seccomp(2), linux/filter.h, linux/audit.h.
"""

import ctypes
import errno
import platform
import struct
from collections.abc import Mapping, Sequence
from typing import Literal

from intramural.sandbox.kernel import check, failed, libc
from intramural.sandbox.syscalls import NUMBERS

Profile = Literal["engine", "parser", "broker"]

#: Harmless whatever their arguments.
_ALWAYS = (
    # files that are open already, and opening more (which ones is Landlock's business)
    "read write readv writev pread64 preadv close close_range lseek flock fadvise64 readahead dup "
    "dup2 dup3 fstat stat lstat newfstatat statx access faccessat faccessat2 readlink "
    "readlinkat getdents64 getcwd "
    # memory
    "munmap mremap brk madvise mincore membarrier "
    # waiting, timers, pipes of its own
    "poll ppoll select pselect6 epoll_create1 epoll_ctl epoll_wait epoll_pwait eventfd2 pipe pipe2 "
    "nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time pause restart_syscall "
    # signals to itself, threads
    "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack "
    "futex futex_waitv futex_wait futex_wake futex_requeue set_robust_list rseq "
    "set_tid_address sched_yield sched_getaffinity sched_getparam sched_getscheduler "
    "sched_get_priority_max sched_get_priority_min getpriority getcpu "
    # what it may know of itself and the machine (not its load: by that, OpenMP would leave out threads)
    "getpid gettid getppid getuid geteuid getgid getegid getresuid getresgid getpgrp getpgid getsid "
    "getgroups getrandom uname getrlimit getrusage times wait4 waitid exit exit_group "
)
#: A worker answers on a Unix stream socket that it binds in its private directory. It can never connect.
_LISTENING = "bind listen accept accept4 getsockname getpeername getsockopt shutdown recvfrom"
#: A broker connects, asks name servers, and hands descriptors over. It never listens.
_CONNECTING = "connect getsockname getpeername getsockopt shutdown recvfrom recvmsg sendmsg"
_CALLS: Mapping[Profile, str] = {"engine": _LISTENING, "parser": "", "broker": _CONNECTING}

_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_X32_BIT = 0x40000000
_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_SOCK_STREAM, _SOCK_DGRAM, _SOCK_TYPE_MASK = 1, 2, 0xF
_PROT_EXEC = 4
#: The flags of pthread_create in glibc and in musl. No other clone is a thread and nothing but a thread.
_THREAD = (0x3D0F00, 0x7D0F00)
#: Above it, calls are newer than `NUMBERS`, which was written with Linux 6.10.
_LAST_KNOWN = 462
_SOL_SOCKET = 1
#: SO_REUSEADDR, _SNDBUF, _RCVBUF, _KEEPALIVE, _LINGER, _REUSEPORT, time-outs old and new. No program for the kernel to
#: run on a socket (SO_ATTACH_FILTER and its like).
_SOCKET_OPTIONS = (2, 7, 8, 9, 13, 15, 20, 21, 66, 67)
_PR_SET_NAME = 15
#: O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_TMPFILE: the same on both architectures.
_WRITING = 0o3 | 0o100 | 0o1000 | 0o20000000
#: O_WRONLY, O_CREAT, O_TRUNC: the C library's mode "wb".
_REWRITING = 0o1 | 0o100 | 0o1000
#: FIONBIO, FIONREAD, FIOCLEX, FIONCLEX
_IOCTLS = (0x5421, 0x541B, 0x5451, 0x5450)
#: F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, the three locks, F_DUPFD_CLOEXEC. Never F_SETOWN and F_SETSIG: with them
#: the kernel sends any signal to any process of the same user.
_FCNTLS = (0, 1, 2, 3, 4, 5, 6, 7, 1030)

_LD, _JEQ, _JGE, _AND, _RET = 0x20, 0x15, 0x35, 0x54, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NR_AT, _ARCH_AT = 0, 4
_SECCOMP_SET_MODE_FILTER, _TSYNC = 1, 1
_SECCOMP_CALL = {"x86_64": 317, "aarch64": 277}

Instruction = tuple[int, int, int, int]
_REFUSE: Instruction = (_RET, 0, 0, _ERRNO | errno.EPERM)
_ABSENT: Instruction = (_RET, 0, 0, _ERRNO | errno.ENOSYS)
_PERMIT: Instruction = (_RET, 0, 0, _ALLOW)


def program(profile: Profile, machine: str, pid: int, *, rewrites: bool = False) -> list[Instruction]:
    """The filter as (code, jump if true, jump if false, operand). `pid` is the process it is for.

    `rewrites`: a file may be opened to be written anew from its beginning (which ones is Landlock's business).
    """
    arch, column = _ARCHITECTURES[machine]
    out: list[Instruction] = [(_LD, 0, 0, _ARCH_AT), (_JEQ, 1, 0, arch), (_RET, 0, 0, _KILL), (_LD, 0, 0, _NR_AT)]
    if machine == "x86_64":
        out += [(_JGE, 0, 1, _X32_BIT), _REFUSE]
    for name in _ALWAYS.split() + _CALLS[profile].split():
        out += _rule(NUMBERS[name][column], [_PERMIT])
    for name, body in _conditional(profile, pid, rewrites=rewrites).items():
        out += _rule(NUMBERS[name][column], body)
    return [*out, (_JGE, 0, 1, _LAST_KNOWN + 1), _ABSENT, _REFUSE]


def _conditional(profile: Profile, pid: int, *, rewrites: bool) -> dict[str, list[Instruction]]:
    rules = {
        # For reading only: nothing is written, made or emptied even where Landlock is left out, or so old (before ABI
        # 3) that it lets a file be emptied by opening it.
        "open": _opening(1, rewrites=rewrites),
        "openat": _opening(2, rewrites=rewrites),
        "mmap": _unless_bits(2, _PROT_EXEC),
        "mprotect": _unless_bits(2, _PROT_EXEC),
        "clone": _if_equal(0, _THREAD),
        "clone3": [_ABSENT],  # its flags are out of sight; the C library then uses clone
        "fcntl": _if_equal(1, _FCNTLS),
        "tgkill": _if_equal(0, (pid,)),
        "sched_setaffinity": _if_equal(0, (0, pid)),  # else also the processors of whoever has the same user
        "prlimit64": _if_equal(0, (0, pid)),
        "ioctl": _if_equal(1, _IOCTLS),
        "prctl": _if_equal(0, (_PR_SET_NAME,)),
    }
    if profile == "broker":  # it reads no file: what it has to know of names comes with its messages
        del rules["open"], rules["openat"]
        kinds = _of_type(_SOCK_STREAM, _SOCK_DGRAM)
        rules["socket"] = [*_load(0), (_JEQ, 2, 0, _AF_INET), (_JEQ, 1, 0, _AF_INET6), _REFUSE, *kinds]
        # for the event loop to wake itself; of datagrams, each end could send to any Unix socket by its path
        rules["socketpair"] = [*_load(0), (_JEQ, 1, 0, _AF_UNIX), _REFUSE, *_of_type(_SOCK_STREAM)]
    if profile == "engine":
        rules["socket"] = [*_load(0), (_JEQ, 1, 0, _AF_UNIX), _REFUSE, *_of_type(_SOCK_STREAM)]
    if profile in ("engine", "broker"):
        rules["setsockopt"] = [*_load(1), (_JEQ, 1, 0, _SOL_SOCKET), _REFUSE, *_if_equal(2, _SOCKET_OPTIONS)]
        rules["sendto"] = [  # only without an address: to whom it is connected already
            *_load(4), (_JEQ, 1, 0, 0), _REFUSE, (_LD, 0, 0, _argument(4) + 4), (_JEQ, 0, 1, 0), _PERMIT, _REFUSE,
        ]  # fmt: skip
    return rules


def _rule(number: int | None, body: Sequence[Instruction]) -> list[Instruction]:
    """If the call is `number`, run `body` (which always returns); else go on behind it."""
    return [] if number is None else [(_JEQ, 0, len(body), number), *body]


def _argument(index: int) -> int:
    """Where the low half of argument `index` lies in struct seccomp_data (both architectures are little-endian)."""
    return 16 + 8 * index


def _load(index: int) -> list[Instruction]:
    return [(_LD, 0, 0, _argument(index))]


def _unless_bits(index: int, bits: int) -> list[Instruction]:
    return [*_load(index), (_AND, 0, 0, bits), (_JEQ, 0, 1, 0), _PERMIT, _REFUSE]


def _of_type(*types: int) -> list[Instruction]:
    """Where the second argument is one of these types of socket, whatever its flags."""
    tests = [step for value in types for step in ((_JEQ, 0, 1, value), _PERMIT)]
    return [*_load(1), (_AND, 0, 0, _SOCK_TYPE_MASK), *tests, _REFUSE]


def _opening(index: int, *, rewrites: bool) -> list[Instruction]:
    allowed = (0, _REWRITING) if rewrites else (0,)
    tests = [step for value in allowed for step in ((_JEQ, 0, 1, value), _PERMIT)]
    return [*_load(index), (_AND, 0, 0, _WRITING), *tests, _REFUSE]


def _if_equal(index: int, values: Sequence[int]) -> list[Instruction]:
    tests = [step for value in values for step in ((_JEQ, 0, 1, value), _PERMIT)]
    return [*_load(index), *tests, _REFUSE]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install(profile: Profile, pid: int, *, rewrites: bool = False) -> None:
    """Filter this process from now on, every thread of it. Needs no_new_privs. Raises Broken(`confinement_failed`)."""
    machine = platform.machine()
    steps = program(profile, machine, pid, rewrites=rewrites)
    packed = b"".join(struct.pack("<HBBI", *step) for step in steps)
    handle = _Program(len(steps), packed)
    call = _SECCOMP_CALL[machine]
    unsynchronised = check("seccomp", libc.syscall(call, _SECCOMP_SET_MODE_FILTER, _TSYNC, ctypes.byref(handle)))
    if unsynchronised:  # not an error number: the thread that could not be filtered, and then none is
        raise failed("seccomp", f"thread {unsynchronised} could not be filtered")
