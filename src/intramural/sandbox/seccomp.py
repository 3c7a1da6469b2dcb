"""The system calls a confined process may make: a small program for the kernel's filter machine, put together here.

Deny by default: what is not listed fails with EPERM (with ENOSYS where it is newer than this list, so that a newer C
library falls back to a call that is older). So io_uring, exec, fork, ptrace, `connect`, `sendmsg`, namespaces,
mounts, keys, BPF, changing a file's mode or time, and calls that no kernel has yet, need no rule of their own. Calls of
another architecture (int 0x80) end the process; x32 calls fail.

What is refused is refused without a word, or told to whoever started the process (`told` says which).

`program()` is pure and can be run in a test's own little machine; `install()` hands it to the kernel.
"""

import os
import platform
import socket
from collections.abc import Mapping
from typing import Literal

from intramural.sandbox import bpf, told
from intramural.sandbox.bpf import ABSENT, ARCHITECTURES, LAST_KNOWN, PERMIT, REFUSE, Instruction
from intramural.sandbox.kernel import failed
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

_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_SOCK_STREAM, _SOCK_DGRAM, _SOCK_TYPE_MASK = 1, 2, 0xF
_PROT_EXEC = 4
#: The flags of pthread_create in glibc and in musl. No other clone is a thread and nothing but a thread.
_THREAD = (0x3D0F00, 0x7D0F00)
_SOL_SOCKET = 1
#: SO_REUSEADDR, _SNDBUF, _RCVBUF, _KEEPALIVE, _LINGER, _REUSEPORT, time-outs old and new. No program for the kernel to
#: run on a socket (SO_ATTACH_FILTER and its like).
_SOCKET_OPTIONS = (2, 7, 8, 9, 13, 15, 20, 21, 66, 67)
_PR_SET_NAME = 15
_SIGKILL = 9
#: O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_TMPFILE: the same on both architectures.
_WRITING = 0o3 | 0o100 | 0o1000 | 0o20000000
#: O_WRONLY, O_CREAT, O_TRUNC: the C library's mode "wb".
_REWRITING = 0o1 | 0o100 | 0o1000
#: (x86_64, aarch64)
_SECCOMP = (317, 277)
#: FIONBIO, FIONREAD, FIOCLEX, FIONCLEX
_IOCTLS = (0x5421, 0x541B, 0x5451, 0x5450)
#: F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, the three locks, F_DUPFD_CLOEXEC. Never F_SETOWN and F_SETSIG: with them
#: the kernel sends any signal to any process of the same user.
_FCNTLS = (0, 1, 2, 3, 4, 5, 6, 7, 1030)


def program(
    profile: Profile, machine: str, pid: int, *, rewrites: bool = False, tells: bool = False, hand: int | None = None
) -> list[Instruction]:
    """The filter as (code, jump if true, jump if false, operand). `pid` is the process it is for.

    `rewrites`: a file may be opened to be written anew from its beginning (which ones is Landlock's business).
    `tells`: what is refused and stands in `told` goes to the filter's listener. `hand`: the descriptor by which that
    is handed over; until `shut` is in force too, something may be sent on it, and a filter be put in force.
    """
    _, column = ARCHITECTURES[machine]
    out = bpf.opening(machine)
    permitted = _ALWAYS.split() + _CALLS[profile].split()
    for name in permitted:
        out += bpf.rule(NUMBERS[name][column], [PERMIT])
    conditional = _conditional(profile, pid, rewrites=rewrites)
    if hand is not None:
        out += bpf.rule(_SECCOMP[column], [PERMIT])
        if "sendmsg" not in permitted:
            conditional["sendmsg"] = bpf.if_equal(0, (hand,))
    for name, body in conditional.items():
        out += bpf.rule(NUMBERS[name][column], told.body(name, body) if tells else body)
    if tells:
        out += told.rules(machine, frozenset((*permitted, *conditional)))
    return [*out, *bpf.newer(LAST_KNOWN, ABSENT), REFUSE]


def shut(profile: Profile, machine: str, hand: int) -> list[Instruction]:
    """What `program` let through for its listener to be handed over by `hand` is over: a filter on top of it."""
    _, column = ARCHITECTURES[machine]
    out = [*bpf.opening(machine), *bpf.rule(_SECCOMP[column], [REFUSE])]
    if profile != "broker":  # that sends as it likes
        out += bpf.rule(NUMBERS["sendmsg"][column], bpf.unless_equal(0, (hand,)))
    return [*out, PERMIT]


def _conditional(profile: Profile, pid: int, *, rewrites: bool) -> dict[str, list[Instruction]]:
    rules = {
        # For reading only: nothing is written, made or emptied even where Landlock is left out, or so old (before ABI
        # 3) that it lets a file be emptied by opening it.
        "open": _opening(1, rewrites=rewrites),
        "openat": _opening(2, rewrites=rewrites),
        "mmap": bpf.unless_bits(2, _PROT_EXEC),
        "mprotect": bpf.unless_bits(2, _PROT_EXEC),
        "clone": bpf.if_equal(0, _THREAD),
        "clone3": [ABSENT],  # its flags are out of sight; the C library then uses clone
        "fcntl": bpf.if_equal(1, _FCNTLS),
        # Not SIGKILL, nor a limit by which the kernel would send it: whoever gets that was killed from outside, and a
        # model that has its worker end cannot pass for that (`serving.ends`).
        "tgkill": bpf.guarded(0, (pid,), bpf.unless_equal(2, (_SIGKILL,))),
        "prlimit64": bpf.guarded(0, (0, pid), bpf.if_null(2)),
        "sched_setaffinity": bpf.if_equal(0, (0, pid)),  # else also the processors of whoever has the same user
        "ioctl": bpf.if_equal(1, _IOCTLS),
        "prctl": bpf.if_equal(0, (_PR_SET_NAME,)),
    }
    stream = bpf.if_masked(1, _SOCK_TYPE_MASK, (_SOCK_STREAM,))
    if profile == "broker":  # it reads no file: what it has to know of names comes with its messages
        del rules["open"], rules["openat"]
        kinds = bpf.if_masked(1, _SOCK_TYPE_MASK, (_SOCK_STREAM, _SOCK_DGRAM))
        rules["socket"] = bpf.guarded(0, (_AF_INET, _AF_INET6), kinds)
        # for the event loop to wake itself; of datagrams, each end could send to any Unix socket by its path
        rules["socketpair"] = bpf.guarded(0, (_AF_UNIX,), stream)
    if profile == "engine":
        rules["socket"] = bpf.guarded(0, (_AF_UNIX,), stream)
    if profile in ("engine", "broker"):
        rules["setsockopt"] = bpf.guarded(1, (_SOL_SOCKET,), bpf.if_equal(2, _SOCKET_OPTIONS))
        rules["sendto"] = bpf.if_null(4)  # only without an address: to whom it is connected already
    return rules


def _opening(index: int, *, rewrites: bool) -> list[Instruction]:
    return bpf.if_masked(index, _WRITING, (0, _REWRITING) if rewrites else (0,))


def install(profile: Profile, pid: int, *, rewrites: bool = False, hand: int | None = None) -> bool:
    """Filter this process from now on, every thread of it. Needs no_new_privs. Raises Broken(`confinement_failed`).

    `hand`: a Unix socket at whose other end somebody hears of what is refused, and answers; it is closed. True: so it
    is. False: the kernel does not tell, or not us, and what would be told is refused without a word.
    """
    machine = platform.machine()
    if hand is None:
        bpf.install(program(profile, machine, pid, rewrites=rewrites))
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=hand) as channel:
        telling = program(profile, machine, pid, rewrites=rewrites, tells=True, hand=hand)
        listener = bpf.install_told(telling) if bpf.can_tell() else None
        if listener is None:
            bpf.install(program(profile, machine, pid, rewrites=rewrites))
            return False
        try:
            socket.send_fds(channel, [b"."], [listener])
        except OSError as error:
            raise failed("seccomp", f"nobody is there to be told: {error.strerror}") from None
        os.close(listener)
    bpf.install(shut(profile, machine, hand))
    return True
