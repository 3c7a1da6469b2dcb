"""Landlock: which files a process may touch, and (from ABI 4) that it may use no TCP, (6) reach nobody outside.

Every right the running kernel knows is handled, so that everything not allowed here is denied; newer kernels deny more.
The tables are the kernel's (linux/landlock.h). ABI 8 to 10 could not be tried on the machine this was written on; a
kernel that does not know a bit refuses the whole ruleset, so a wrong one would fail closed.
"""

import ctypes
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from intramural.sandbox.kernel import check, libc

#: Least ABI with which a process counts as confined. The first fences every file; what later ones add is refused by
#: seccomp as well, and TCP, UDP and abstract sockets by the network namespace too. Linux 5.13 to 6.1, which many
#: servers still run, have 1 and 2.
FLOOR_ABI = 1
_NEWEST_ABI = 10

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # the same on every architecture
_VERSION_FLAG = 1
_PATH_BENEATH = 1

EXECUTE, _MAKE_CHAR, _MAKE_BLOCK = 1 << 0, 1 << 6, 1 << 11
_WRITE_FILE, READ_FILE, READ_DIR, MAKE_SOCK = 1 << 1, 1 << 2, 1 << 3, 1 << 9
_TRUNCATE, _RESOLVE_UNIX = 1 << 14, 1 << 16
#: To read a folder; to do whatever is done with folders and files, but start a program or make a device.
READ = READ_FILE | READ_DIR
WRITE = (1 << 15) - 1 & ~(EXECUTE | _MAKE_CHAR | _MAKE_BLOCK)
#: The rights that a rule on what is no folder can give.
OF_A_FILE = EXECUTE | _WRITE_FILE | READ_FILE | _TRUNCATE

#: (since ABI, how many rights of the kind there are then)
_FILE_RIGHTS = ((1, 13), (2, 14), (3, 15), (5, 16), (9, 17))
_NET_RIGHTS = ((4, 2), (10, 4))
_BIND_TCP = 1
_SCOPES = ((6, 2),)


@dataclass(frozen=True, slots=True)
class Handled:
    """Bit masks of everything one ABI can deny, and the size of the structure that says so."""

    files: int
    network: int
    scopes: int

    @property
    def packed(self) -> bytes:
        """struct landlock_ruleset_attr as far as the ABI knows it."""
        if self.scopes:
            return struct.pack("<QQQ", self.files, self.network, self.scopes)
        return struct.pack("<QQ", self.files, self.network) if self.network else struct.pack("<Q", self.files)


def handled(abi: int, *, connects: bool = False) -> Handled:
    """Everything `abi` can deny. Pure; an ABI newer than known is treated as the newest known.

    `connects`: of the network only that TCP is listened on; connecting, and UDP as a whole, is left to seccomp.
    """
    abi = min(abi, _NEWEST_ABI)
    network = _mask(_NET_RIGHTS, abi) & (_BIND_TCP if connects else -1)
    return Handled(_mask(_FILE_RIGHTS, abi), network, _mask(_SCOPES, abi))


def _mask(table: Iterable[tuple[int, int]], abi: int) -> int:
    return max(((1 << count) - 1 for since, count in table if since <= abi), default=0)


def abi() -> int:
    """The running kernel's Landlock ABI; 0 where it has none or it is switched off."""
    return max(0, int(libc.syscall(_CREATE, None, 0, _VERSION_FLAG)))


def but_unix_sockets(everything: Handled) -> Handled:
    """What is denied a service: it connects to Unix sockets with a path, which are its workers'. Pure."""
    return Handled(everything.files & ~_RESOLVE_UNIX, everything.network, everything.scopes)


@dataclass(frozen=True, slots=True)
class Allowed:
    """One exception: `rights` on what `descriptor` refers to, and on everything beneath it if that is a directory."""

    descriptor: int
    rights: int


def restrict(exceptions: Iterable[Allowed], what: Handled) -> None:
    """Deny this thread (and all it starts) all of `what` but `exceptions`. Needs no_new_privs.

    Raises Broken(`confinement_failed`).
    """
    attributes = what.packed
    ruleset = check("landlock", libc.syscall(_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0))
    try:
        for each in exceptions:
            rule = struct.pack("<Qi", each.rights, each.descriptor)
            check("landlock", libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))
        check("landlock", libc.syscall(_RESTRICT, ruleset, 0))
    finally:
        os.close(ruleset)
