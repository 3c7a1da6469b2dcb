"""Of the calls that a confined process is refused, those that are told. Pure: tables, and what they make of a filter.

Told is what no healthy process of ours ever tries and what taken-over code tries first: another program, another
process, the network, files to write, new machine code, more rights, ways into the kernel. The rest is refused without
a word: what C libraries and engines try for want of knowing better (`QUIET` has the reasons). An alarm that is
wrong once is not believed the next time, so a call is on the list by name, and everything new starts off it.
"""

from collections.abc import Mapping, Sequence
from functools import cache

from intramural.sandbox import bpf
from intramural.sandbox.bpf import ARCHITECTURES, TELL, Instruction
from intramural.sandbox.denied import CONDITIONAL, NEVER, NOT_THE_SERVICE
from intramural.sandbox.syscalls import NUMBERS

#: Told besides what not even the service does (`denied`): name → (x86_64, aarch64).
_MORE: Mapping[str, tuple[int | None, int | None]] = {
    # the network; a worker may do some of these, a parser none
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "recvmsg": (47, 212),
    "recvmmsg": (299, 243),
    # files: to make, change or lose one
    "creat": (85, None),
    "truncate": (76, 45),
    "ftruncate": (77, 46),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "link": (86, None),
    "linkat": (265, 37),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "rmdir": (84, None),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    # machine code of its own
    "pkey_mprotect": (329, 288),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    # others
    "pidfd_open": (434, 434),
    "setrlimit": (160, 164),
}
#: Refused by their arguments, and told whichever they are.
_WHATEVER = frozenset(
    ("socket", "socketpair", "sendto", "sendmsg", "open", "openat", "mmap", "mprotect", "tgkill", "prlimit64")
)
#: Refused by one argument, and told where that is one of these.
_GRAVE: Mapping[str, Sequence[int]] = {
    "prctl": (1, 4, 0x59616D61),  # PR_SET_PDEATHSIG, _DUMPABLE, _PTRACER
    "fcntl": (8, 10, 15),  # F_SETOWN, F_SETSIG, F_SETOWN_EX
    "ioctl": (0x5412, 0x541C, 0x8901, 0x8902),  # TIOCSTI, TIOCLINUX, FIOSETOWN, SIOCSPGRP
}
#: Refused by one argument, and told unless that is one of these.
_CLUMSY: Mapping[str, Sequence[int]] = {"clone": (0x4111,)}  # CLONE_VM, CLONE_VFORK, SIGCHLD: posix_spawn
#: Refused without a word: name → why. What it has to say is for people; the filter goes by what is above.
QUIET: Mapping[str, str] = {
    "clone3": "the C library tries it for every thread, is told that there is none, and makes the thread by clone",
    "clone": "as posix_spawn has it: an engine tries ffprobe on a picture that it cannot read, in case it is a film",
    "ioctl": "opening a file in Python asks whether it is a terminal",
    "prctl": "C libraries give their memory names, and ask what they may",
    "sysinfo": "engines ask for the machine's load; by that they would leave out threads",
    "sched_setscheduler": "engines ask for another priority of their threads",
    "sched_setaffinity": "engines lay out their threads over the processors, naming each",
    "open": "a broker opens nothing; Python looks for its sources to show them with an error",
    "setsockopt": "clients of a socket ask for what it does without",
    "seccomp": "the child's own second filter is put in force by it; after that it is refused for good",
    "x32": "no program of this kind of calls runs on common kernels",
}
#: What a process that ended by a call of another architecture's is said to have tried.
ANOTHER_ARCHITECTURE = "call of another architecture"


@cache
def names(machine: str) -> Mapping[int, str]:
    """Number → name of every call that can be told."""
    column = ARCHITECTURES[machine][1]
    every = {**NUMBERS, **CONDITIONAL, **NEVER, **NOT_THE_SERVICE, **_MORE}
    return {number: name for name, numbers in every.items() if (number := numbers[column]) is not None}


def body(name: str, refusing: Sequence[Instruction]) -> list[Instruction]:
    """What a filter does about the call `name`, which `refusing` lets through or refuses, where refusals are told."""
    if name in _WHATEVER:
        return bpf.told(refusing)
    if name in _CLUMSY:
        return bpf.told_unless(refusing, _CLUMSY[name])
    return bpf.told_if(refusing, _GRAVE[name]) if name in _GRAVE else list(refusing)


def rules(machine: str, decided: frozenset[str]) -> list[Instruction]:
    """A rule for each call that is told whatever its arguments, but those that the filter has decided before."""
    column = ARCHITECTURES[machine][1]
    out: list[Instruction] = []
    for name, numbers in {**CONDITIONAL, **NEVER, **NOT_THE_SERVICE, **_MORE}.items():
        if name not in decided and name not in QUIET:
            out += bpf.rule(numbers[column], [TELL])
    return out
