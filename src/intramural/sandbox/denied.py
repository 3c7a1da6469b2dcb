"""System calls that the service, and its spawner, may not make once they have started.

A worker's list says what may be done (`seccomp`); this one says what may not. The service is Python with a dozen native
libraries, whose calls nobody can list for every machine: one that is missing fails in the middle of somebody's work.
What may not be done is what the service never does and an attacker wants: start a program, look into or signal another
process, talk to the kernel past this filter (io_uring), change who it is, what is mounted, which kernel runs; and to
open sockets toward anybody, unless something in the settings needs it. Calls newer than our tables do not exist.

`program()` is pure. Source: the kernel's tables (asm/unistd_64.h; asm-generic/unistd.h).
"""

import os
import platform
from collections.abc import Mapping
from typing import Literal

from intramural.sandbox import bpf
from intramural.sandbox.bpf import ABSENT, ARCHITECTURES, LAST_KNOWN, PERMIT, REFUSE, TELL, Instruction

Who = Literal["gateway", "spawner"]

#: name → (x86_64, aarch64). Nobody here has a use for them.
NEVER: Mapping[str, tuple[int | None, int | None]] = {
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "get_robust_list": (274, 100),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "msgget": (68, 186),
    "semget": (64, 190),
    # ways around a filter, and into the kernel
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "personality": (135, 92),
    "modify_ldt": (154, None),
    "iopl": (172, None),
    "ioperm": (173, None),
    "uselib": (134, None),
    "syslog": (103, 116),
    "lookup_dcookie": (212, 18),
    "fanotify_init": (300, 262),
    # files by other means than their names
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "mknod": (133, None),
    "mknodat": (259, 33),
    # the machine
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "acct": (163, 89),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "vhangup": (153, 58),
}
#: What the spawner, and the children that inherit its filter until they have one of their own, still do.
NOT_THE_SERVICE: Mapping[str, tuple[int | None, int | None]] = {
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, None),
    "vfork": (58, None),
    "unshare": (272, 97),
    "setns": (308, 268),
    "capset": (126, 91),
    "setuid": (105, 146),
    "setgid": (106, 144),
    "setreuid": (113, 145),
    "setregid": (114, 143),
    "setresuid": (117, 147),
    "setresgid": (119, 149),
    "setfsuid": (122, 151),
    "setfsgid": (123, 152),
    "setgroups": (116, 159),
    "pidfd_send_signal": (424, 424),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "tkill": (200, 130),
}
CONDITIONAL: Mapping[str, tuple[int | None, int | None]] = {
    "clone": (56, 220),
    "clone3": (435, 435),
    "kill": (62, 129),
    "tgkill": (234, 131),
    "prlimit64": (302, 261),
    "prctl": (157, 167),
    "ioctl": (16, 29),
    "fcntl": (72, 25),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
}
_CLONE_THREAD = 0x10000
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_STREAM, _DATAGRAM, _RAW, _PACKETS, _TYPE_MASK = 1, 2, 3, 5, 0xF
#: Connects without connect(2), which Landlock does not see.
_MSG_FASTOPEN = 0x20000000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
#: Typing into somebody's terminal; having a signal sent to whoever is said to own a descriptor.
_TIOCSTI, _TIOCLINUX, _FIOSETOWN, _SIOCSPGRP = 0x5412, 0x541C, 0x8901, 0x8902
_F_SETOWN, _F_SETOWN_EX = 8, 15


def program(who: Who, machine: str, pid: int, *, outward: bool, tells: bool = True) -> list[Instruction]:
    """The filter of the service or its spawner, whose process is `pid`. `outward`: it may make internet sockets.

    The spawner's is its children's too, and a plain refusal outranks what theirs would tell of (`told`). So it refuses
    by `TELL`, and has no listener: that is ENOSYS to itself. `tells`: whether the kernel knows of that.
    """
    _, column = ARCHITECTURES[machine]
    silent = who == "gateway" or not tells
    never = NEVER if who == "spawner" else {**NEVER, **NOT_THE_SERVICE}
    out = bpf.opening(machine)
    for numbers in never.values():
        out += bpf.rule(numbers[column], [REFUSE] if silent else [TELL])
    for name, body in _conditional(who, pid, outward=outward).items():
        out += bpf.rule(CONDITIONAL[name][column], body if silent else bpf.told(body))
    return [*out, *bpf.newer(LAST_KNOWN, ABSENT), PERMIT]


def _conditional(who: Who, pid: int, *, outward: bool) -> dict[str, list[Instruction]]:
    stream = bpf.if_masked(1, _TYPE_MASK, (_STREAM,))
    internet = bpf.guarded(
        0, (_AF_INET, _AF_INET6, _AF_NETLINK), bpf.if_masked(1, _TYPE_MASK, (_STREAM, _DATAGRAM, _RAW))
    )
    rules = {
        "socket": [*bpf.load(0), *bpf.rule(_AF_UNIX, stream), *(internet if outward else [REFUSE])],
        # of datagrams, each end could send to any Unix socket of the host by sendmsg, whose address is out of sight
        "socketpair": bpf.guarded(0, (_AF_UNIX,), bpf.if_masked(1, _TYPE_MASK, (_STREAM, _PACKETS))),
        "ioctl": bpf.unless_equal(1, (_TIOCSTI, _TIOCLINUX, _FIOSETOWN, _SIOCSPGRP)),
    }
    if not outward:
        rules["sendto"] = bpf.if_null(4)
        rules["sendmsg"] = bpf.unless_bits(2, _MSG_FASTOPEN)
        rules["sendmmsg"] = bpf.unless_bits(3, _MSG_FASTOPEN)
    if who == "gateway":
        rules |= {
            "clone": bpf.if_bits(0, _CLONE_THREAD),
            "clone3": [ABSENT],  # its flags are out of sight; the C library then uses clone
            "kill": bpf.if_equal(0, (pid,)),
            "tgkill": bpf.if_equal(0, (pid,)),
            "prlimit64": bpf.if_equal(0, (0, pid)),
            "prctl": bpf.unless_equal(0, (_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE)),
            "fcntl": bpf.unless_equal(1, (_F_SETOWN, _F_SETOWN_EX)),
        }
    return rules


def install(who: Who, *, outward: bool) -> None:
    """Filter this process from now on, every thread of it. Needs no_new_privs. Raises Broken(`confinement_failed`)."""
    bpf.install(program(who, platform.machine(), os.getpid(), outward=outward, tells=bpf.can_tell()))
