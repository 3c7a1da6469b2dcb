"""The kernel's packet filter, as whoever administers a network may read it: which chains there are, and what they do
with what no rule of theirs names. What the rules themselves say is not judged.

It is asked over netlink, so no program is needed for it; the kernel answers whoever has CAP_NET_ADMIN over the network
namespace, and nobody else. nftables and iptables (as it is since 1.8) are one to the kernel. Of the older kind
(`legacy`) the kernel names the tables that were ever used, and no more. What filters beside it (XDP, tc) is not here.

Sources: `linux/netlink.h`, `linux/netfilter/nfnetlink.h`, `linux/netfilter/nf_tables.h`, netlink(7).
"""

import errno
import hashlib
import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_NETLINK_NETFILTER = 12
_SUBSYSTEM = 10 << 8  # NFNL_SUBSYS_NFTABLES
_GET_TABLES, _GET_CHAINS, _GET_RULES = 1, 4, 7
_REQUEST_A_DUMP = 0x001 | 0x300
_ERROR, _DONE = 2, 3
_INTERRUPTED = 0x10  # NLM_F_DUMP_INTR: it was changed while it was told
_HEADER, _ABOUT, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BBH"), struct.Struct("=HH")
#: The bits of an attribute's type that say how it is written.
_TYPE_MASK = 0x3FFF

_FAMILIES: Mapping[int, str] = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_HOOKS: Mapping[str, Sequence[str]] = {
    "arp": ("input", "output", "forward"),
    "netdev": ("ingress", "egress"),
}
_USUAL_HOOKS = ("prerouting", "input", "forward", "output", "postrouting", "ingress")
#: Where what leaves the machine passes.
_OUTWARD = frozenset({"output", "postrouting", "egress"})
#: What of a rule changes with every packet, or with the time.
_COUNTS = frozenset({"counter", "quota", "last"})
_OLDER = (Path("/proc/self/net/ip_tables_names"), Path("/proc/self/net/ip6_tables_names"))

_READ_BYTES, _MOST_BYTES = 2**16, 16 * 2**20
_TRIES = 3
_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain that packets pass at `hook`, with how many rules it has itself; `drops`: what no rule lets through."""

    family: str
    table: str
    name: str
    type: str
    hook: str
    priority: int
    drops: bool
    rules: int

    @property
    def is_outward(self) -> bool:
        """Whether it decides about what goes out."""
        return self.type == "filter" and self.hook in _OUTWARD


@dataclass(frozen=True, slots=True)
class PacketFilter:
    """The packet filter of one network at `read_ms`. `rules`: of all chains. `sha256`: of the rules, without what
    counts packets, and without the elements of sets. `older`: tables of the older kind, whose rules were not read."""

    read_ms: int
    tables: int
    chains: tuple[Chain, ...]
    rules: int
    sha256: str
    older: tuple[str, ...]


def read(now_ms: int) -> PacketFilter:
    """That of the network this process is in (blocking, milliseconds). Raises OSError: the kernel does not tell."""
    for _ in range(_TRIES):
        try:
            tables, chains, rules = (_dumped(kind) for kind in (_GET_TABLES, _GET_CHAINS, _GET_RULES))
        except InterruptedError:
            continue
        return understood(now_ms, tables, chains, rules, tuple(_older()))
    raise OSError(errno.EBUSY, "it was changed each time that it was read")


def _older() -> Iterator[str]:
    for file in _OLDER:
        if file.exists():  # it is not where the kernel has none of the kind
            yield from (f"{file.name.partition('_')[0]} {each}" for each in file.read_text().split())


def _dumped(kind: int) -> bytes:
    """The messages that answer a request for everything of a kind. Raises OSError, InterruptedError."""
    request = _ABOUT.pack(socket.AF_UNSPEC, 0, 0)
    header = _HEADER.pack(_HEADER.size + len(request), _SUBSYSTEM | kind, _REQUEST_A_DUMP, kind, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as kernel:
        kernel.settimeout(_TIMEOUT_S)
        kernel.sendto(header + request, (0, 0))
        found = bytearray()
        while len(found) < _MOST_BYTES:
            part = kernel.recv(_READ_BYTES)
            for type_, flags, body in messages(part):
                if flags & _INTERRUPTED:
                    raise InterruptedError
                if type_ == _ERROR:
                    number = -struct.unpack_from("=i", body)[0]
                    raise OSError(number, os.strerror(number))
                if type_ == _DONE:
                    return bytes(found)
            found += part
    raise OSError(errno.EMSGSIZE, "it has more rules than are read")


# pure -----------------------------------------------------------------------------------------------------------------


def understood(now_ms: int, tables: bytes, chains: bytes, rules: bytes, older: tuple[str, ...] = ()) -> PacketFilter:
    """What these messages of the kernel's say. A message that is cut short says nothing."""
    counts: dict[tuple[str, str, str], int] = {}
    lines = []
    for family, part in _told(rules):
        of = family, _text(part, 1), _text(part, 2)
        counts[of] = counts.get(of, 0) + 1
        lines.append(b"\0".join((*map(str.encode, of), *_lasting(part.get(4, b"")))))
    found = [_chain(family, part, counts) for family, part in _told(chains) if 4 in part]
    return PacketFilter(
        read_ms=now_ms,
        tables=sum(1 for _ in _told(tables)),
        chains=tuple(sorted(found, key=lambda each: (each.hook, each.family, each.priority, each.table, each.name))),
        rules=len(lines),
        sha256=hashlib.sha256(b"".join(hashlib.sha256(line).digest() for line in lines)).hexdigest(),
        older=older,
    )


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, flags and body of each."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, type_, flags, _, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        yield type_, flags, data[at + _HEADER.size : at + length]
        at += _aligned(length)


def _told(data: bytes) -> Iterator[tuple[str, Mapping[int, bytes]]]:
    """The family of each message, and its attributes."""
    for _, _, body in messages(data):
        if len(body) >= _ABOUT.size:
            family = _ABOUT.unpack_from(body)[0]
            yield _FAMILIES.get(family, str(family)), dict(_attributes(body[_ABOUT.size :]))


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, type_ = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield type_ & _TYPE_MASK, data[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)


def _chain(family: str, part: Mapping[int, bytes], counts: Mapping[tuple[str, str, str], int]) -> Chain:
    hook = dict(_attributes(part[4]))
    number, names = _number(hook.get(1, b"")), _HOOKS.get(family, _USUAL_HOOKS)
    table, name = _text(part, 1), _text(part, 3)
    return Chain(
        family=family,
        table=table,
        name=name,
        type=_text(part, 7),
        hook=names[number] if 0 <= number < len(names) else str(number),
        priority=_number(hook.get(2, b"")),
        drops=5 in part and _number(part[5]) == 0,
        rules=counts.get((family, table, name), 0),
    )


def _lasting(expressions: bytes) -> Iterator[bytes]:
    """The expressions of a rule, as the kernel writes them; of those that count, the name."""
    for _, each in _attributes(expressions):
        part = dict(_attributes(each))
        name = _text(part, 1)
        yield name.encode() if name in _COUNTS else each


def _text(part: Mapping[int, bytes], type_: int) -> str:
    return part.get(type_, b"").rstrip(b"\0").decode("utf-8", "replace")


def _number(data: bytes) -> int:
    """Four bytes as networks have them; -1 where there are none."""
    return int(struct.unpack(">i", data)[0]) if len(data) == 4 else -1


def _aligned(length: int) -> int:
    return (length + 3) & ~3
