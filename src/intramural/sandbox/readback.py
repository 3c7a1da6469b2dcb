"""What confines a process, as the kernel tells anybody who asks: read back, not remembered. Source: proc_pid_status(5),
proc_pid_net(5).

Whether Landlock holds is told by nobody; the process that put it in force says so itself (`layers`).
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

#: What a process of the service's is there for. `child`: one that works on one thing and ends.
Role = Literal["gateway", "spawner", "broker", "worker", "child"]


@dataclass(frozen=True, slots=True)
class Held:
    """One process. `filters`: programs of seccomp in force (-1: the kernel does not count); `capabilities` as hex;
    `interfaces`: of its network, `lo` alone where that is empty; `network`: the number of its network namespace, if it
    may be known; `sockets`: how many it has open (of a process in a network of its own: how many were made there),
    `internet` of them are over the internet's protocols; None: nobody may know. `layers`: what it says itself.
    """

    name: str
    role: Role
    pid: int
    user: int
    seccomp: bool
    filters: int
    no_new_privileges: bool
    capabilities: str
    interfaces: tuple[str, ...]
    network: int | None
    sockets: int | None = None
    internet: int | None = None
    layers: tuple[str, ...] = ()


def held(name: str, role: Role, pid: int, layers: tuple[str, ...] = ()) -> Held | None:
    """What holds around process `pid` now; None: it is gone."""
    home = Path("/proc") / str(pid)
    try:
        status = dict(line.split(":", 1) for line in (home / "status").read_text().splitlines() if ":" in line)
        interfaces = _interfaces((home / "net/dev").read_text())
        sockets, internet = _own_sockets() if pid == os.getpid() else _sockets_of(home, role)
    except OSError:
        return None
    return Held(
        name=name,
        role=role,
        pid=pid,
        user=int(status["Uid"].split()[1]),
        seccomp=status.get("Seccomp", "0").strip() == "2",
        filters=int(status.get("Seccomp_filters", "-1")),
        no_new_privileges=status.get("NoNewPrivs", "0").strip() == "1",
        capabilities=status["CapEff"].strip(),
        interfaces=interfaces,
        network=_namespace(home),
        sockets=sockets,
        internet=internet,
        layers=layers,
    )


def _interfaces(text: str) -> tuple[str, ...]:
    return tuple(line.partition(":")[0].strip() for line in text.splitlines() if ":" in line)


def _namespace(home: Path) -> int | None:
    try:
        return (home / "ns/net").stat().st_ino
    except OSError:  # of a process that nobody may look into
        return None


def _own_sockets() -> tuple[int, int]:
    """How many sockets this process has open, and how many of them are the internet's."""
    found = set()
    for each in os.listdir("/proc/self/fd"):  # noqa: PTH208 — numbers, not paths
        try:
            kind, _, inode = os.readlink(f"/proc/self/fd/{each}").partition(":")  # noqa: PTH115 — no path is read
        except OSError:  # the descriptor with which we look
            continue
        if kind == "socket":
            found.add(inode.strip("[]"))
    named: set[str] = set()
    for table in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
        file = Path("/proc/self/net") / table
        if file.exists():  # without IPv6 half of them are not there
            named |= {line.split()[9] for line in file.read_text().splitlines()[1:]}
    return len(found), len(found & named)


def _sockets_of(home: Path, role: Role) -> tuple[int | None, int | None]:
    """Of a process that nobody may look into: what was made in its network, where that is its own."""
    if role not in ("worker", "child"):
        return None, None
    used = internet = 0
    for line in (home / "net/sockstat").read_text().splitlines():
        kind, _, rest = line.partition(":")
        words = rest.split()
        if kind == "sockets":
            used = int(words[1])
        elif kind in ("TCP", "UDP", "RAW"):
            internet += int(words[1])
    return used, internet
