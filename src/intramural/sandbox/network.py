"""What a process has of a network, as the kernel tells anybody who asks: interfaces, their counters, and sockets.

Sources: proc_pid_net(5), proc_pid_stat(5). Whose a socket is stands there as a user and an inode, not as a process.

Which network namespace a process is in is told only to who may look into the process. But every namespace has files of
its own below `/proc/PID/net`, with inodes that the kernel gives out once: two processes whose `net/dev` is the same
inode are in one namespace. That is what `place` holds, and it can be read of any process.
"""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Literal

#: Of one table, 20,000 sockets or so: what is more is said to be cut off.
MOST_BYTES = 4 * 2**20
TABLES = ("tcp", "tcp6", "udp", "udp6", "raw", "raw6", "packet")
#: Those that a kernel without IPv6, or without packet sockets, does not have.
_OPTIONAL = frozenset({"tcp6", "udp6", "raw6", "packet"})
State = Literal["listening", "connected", "other"]

_PROC = Path("/proc")
_LISTEN = 0x0A
#: A TCP socket that no longer says anything to anybody: TIME_WAIT and CLOSE belong to no process.
_OVER = frozenset({0x06, 0x07})


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface and what went over it since its namespace was made, in bytes and packets."""

    name: str
    received_bytes: int
    received_packets: int
    sent_bytes: int
    sent_packets: int


@dataclass(frozen=True, slots=True)
class Socket:
    """One line of one table. `remote` is empty where the socket is connected to nobody; a packet socket has neither."""

    table: str
    state: State
    local: str
    local_port: int
    remote: str
    remote_port: int
    user: int
    inode: int

    @property
    def is_loopback(self) -> bool:
        """Whether it can only be about this machine: who listens there is reached from here alone."""
        address = self.remote or self.local
        return bool(address) and _plain(ip_address(address)).is_loopback


@dataclass(frozen=True, slots=True)
class Sockets:
    """What a network namespace has of them. `cut`: tables of which only the beginning was read; `unread`: tables that
    could not be read at all, with the reason."""

    found: tuple[Socket, ...]
    cut: tuple[str, ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)


def place(pid: int) -> int:
    """A number that two processes share if they are in one network namespace, and only then. Raises OSError."""
    return (_PROC / str(pid) / "net/dev").stat().st_ino


def interfaces(pid: int) -> tuple[Interface, ...]:
    """The interfaces of the namespace that `pid` is in. Raises OSError."""
    return parse_interfaces((_PROC / str(pid) / "net/dev").read_text())


def sockets(pid: int) -> Sockets:
    """The sockets of the namespace that `pid` is in (blocking). Raises ProcessLookupError: it ended."""
    found: list[Socket] = []
    cut: list[str] = []
    unread: dict[str, str] = {}
    for table in TABLES:
        try:
            text, whole = _bounded(_PROC / str(pid) / "net" / table)
        except FileNotFoundError:
            if table not in _OPTIONAL:  # also of a process that ended and was not waited for
                raise ProcessLookupError(f"process {pid} has no network any more") from None
        except OSError as error:
            unread[table] = error.strerror or str(error)
        else:
            found += parse_sockets(table, text)
            if not whole:
                cut.append(table)
    return Sockets(tuple(found), tuple(cut), unread)


def own_sockets() -> frozenset[int]:
    """The inodes of the sockets that this process has open (blocking). Raises OSError."""
    found = set()
    for each in (_PROC / "self/fd").iterdir():
        try:
            target = str(each.readlink())
        except OSError:  # closed meanwhile
            continue
        if target.startswith("socket:["):
            found.add(int(target[8:-1]))
    return frozenset(found)


def began_s(pid: int) -> float:
    """When `pid` was started, in seconds since 1970. Raises OSError."""
    after_name = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    boot = next(line for line in (_PROC / "stat").read_text().splitlines() if line.startswith("btime "))
    return int(boot.split()[1]) + int(after_name[19]) / os.sysconf("SC_CLK_TCK")


def _bounded(path: Path) -> tuple[str, bool]:
    """The text of a table up to its last whole line within bounds, and whether that is all."""
    parts, length = list[bytes](), 0
    with path.open("rb") as file:  # a read of it gives a page or so, whatever is asked for
        while length <= MOST_BYTES and (part := file.read(2**16)):
            parts.append(part)
            length += len(part)
    data = b"".join(parts)
    if length <= MOST_BYTES:
        return data.decode("ascii", "replace"), True
    return data[: data.rfind(b"\n", 0, MOST_BYTES) + 1].decode("ascii", "replace"), False


# pure -----------------------------------------------------------------------------------------------------------------


def parse_interfaces(text: str) -> tuple[Interface, ...]:
    """`/proc/PID/net/dev`: two lines of titles, then eight numbers received and eight sent."""
    found = []
    for line in text.splitlines():
        name, colon, numbers = line.rpartition(":")
        fields = numbers.split()
        if colon and len(fields) >= 10 and all(map(str.isdecimal, fields[:10])):
            found.append(Interface(name.strip(), *(int(fields[at]) for at in (0, 1, 8, 9))))
    return tuple(found)


def parse_sockets(table: str, text: str) -> Sequence[Socket]:
    """One of `TABLES`. TCP's that are over belong to nobody, and are left out."""
    read = _packet if table == "packet" else _internet
    return [each for line in text.splitlines()[1:] if (each := read(table, line.split())) is not None]


def _internet(table: str, fields: Sequence[str]) -> Socket | None:
    if len(fields) < 10:
        return None
    state = int(fields[3], 16)
    if table.startswith("tcp") and state in _OVER:
        return None
    (local, local_port), (remote, remote_port) = _address(fields[1]), _address(fields[2])
    connected = not _is_nobody(remote)
    listening = state == _LISTEN if table.startswith("tcp") else not connected
    return Socket(
        table,
        "listening" if listening else "connected" if connected else "other",
        local,
        local_port,
        remote if connected else "",
        remote_port,
        int(fields[7]),
        int(fields[9]),
    )


def _packet(table: str, fields: Sequence[str]) -> Socket | None:
    return None if len(fields) < 9 else Socket(table, "other", "", 0, "", 0, int(fields[7]), int(fields[8]))


def _address(text: str) -> tuple[str, int]:
    """`0100007F:1F90`: 32-bit words as the processor has them, then the port in hexadecimal."""
    words, _, port = text.partition(":")
    data = b"".join(bytes.fromhex(words[at : at + 8])[::_ORDER] for at in range(0, len(words), 8))
    address = IPv4Address(data) if len(data) == 4 else IPv6Address(data)
    return str(_plain(address)), int(port, 16)


#: The tables print a word of an address as the processor reads it.
_ORDER = -1 if socket.ntohs(1) != 1 else 1


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


def _is_nobody(address: str) -> bool:
    return ip_address(address).is_unspecified
