"""Giving up who we are: user, capabilities, network namespace, limits, and outliving our parent."""

import ctypes
import os
import resource
import signal
import struct
from pathlib import Path
from typing import Any

from intramural.sandbox.kernel import check, failed, libc

_CLONE_NEWUSER, _CLONE_NEWNET, _CLONE_NEWIPC = 0x10000000, 0x40000000, 0x08000000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CAPABILITY_VERSION_3 = 0x20080522
_CAPSET = {"x86_64": 126, "aarch64": 91}
#: A service that is root reaches files and sockets of its workers' users (DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER) and
#: gives their threads processors and priorities (SYS_NICE). It mounts, traces, binds and becomes nothing.
SERVICE_KEEPS = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 23


def empty_network() -> None:
    """Move into a network namespace in which there is nothing, not even loopback that is up.

    An ordinary user needs a user namespace around it. Raises Broken(`confinement_failed`).
    """
    flags = _CLONE_NEWNET | _CLONE_NEWIPC
    if os.geteuid() != 0:
        flags |= _CLONE_NEWUSER
    check("netns", libc.unshare(flags))


def empty_network_as_root() -> bool:
    """The same, before becoming somebody else; False where root may not (in many containers it lacks CAP_SYS_ADMIN).

    Then `empty_network` is for the user it becomes, who can make a user namespace like any other.
    """
    return int(libc.unshare(_CLONE_NEWNET | _CLONE_NEWIPC)) == 0


def become(uid: int) -> None:
    """Be the user `uid` with no groups, for good. Raises Broken(`confinement_failed`)."""
    try:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    except OSError as error:
        raise failed("uid", error.strerror or str(error)) from None


def drop_capabilities() -> None:
    """Hold no capability at all (a user namespace gives its maker every one)."""
    header = struct.pack("<Ii", _CAPABILITY_VERSION_3, 0)
    nothing = bytes(24)
    check("capabilities", libc.syscall(_CAPSET[os.uname().machine], header, nothing))


def keep_capabilities(keep: int) -> None:
    """Of the capabilities that there are, hold those in the mask `keep`, and none to pass on."""
    held = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapPrm:"))
    kept = int(held.split()[1], 16) & keep
    low, high = kept & 0xFFFFFFFF, kept >> 32
    header = struct.pack("<Ii", _CAPABILITY_VERSION_3, 0)
    data = struct.pack("<6I", low, low, 0, high, high, 0)
    check("capabilities", libc.syscall(_CAPSET[os.uname().machine], header, data))


def limit(limits: dict[str, Any]) -> None:
    """Set resource limits: soft and hard alike, so that they cannot be raised again."""
    names = {
        "memory_bytes": resource.RLIMIT_AS,
        "data_bytes": resource.RLIMIT_DATA,
        "open_files": resource.RLIMIT_NOFILE,
        "cpu_s": resource.RLIMIT_CPU,
        "file_size_bytes": resource.RLIMIT_FSIZE,
        "processes": resource.RLIMIT_NPROC,
    }
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for field, kind in names.items():
        value = limits.get(field)
        if value is not None:
            _, hard = resource.getrlimit(kind)
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (value, value))


def no_new_privileges() -> None:
    """From now on no exec gives more rights than there are."""
    check("no_new_privs", libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def hide_memory() -> None:
    """No core dump, and no process of the same user may look inside."""
    check("dumpable", libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0))


def die_with(parent: int) -> None:
    """Be killed when `parent` ends. Set after every change of user, which would clear it."""
    check("parent_death", libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0))
    if os.getppid() != parent:
        raise failed("parent_death", "the parent is gone already")
