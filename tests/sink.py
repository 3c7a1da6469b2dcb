"""A network of a test's own: loopback, and one way out, which ends in a sink that writes every packet down.

    inside ─ `way` ═══ `out` ─ sink

Two network namespaces and a veth pair between them. Inside, the default routes and the resolver lead to the sink; it
answers nothing, so whoever looks something up or connects waits for the time-out that a firewall gives. What the
kernel says by itself (ARP, router solicitations, MLD, duplicate address detection) is switched off, so that an idle
network counts 0 and every packet is somebody's.

Runs as root (then nothing but the network changes) or, where the kernel lets ordinary users have namespaces, as one.
Alone and with the standard library only: `python sink.py REPORT COMMAND…` runs the command inside and writes what came
out of it to REPORT, as JSON. With `--shut` there is no way out at all.
"""

import ctypes
import json
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

NOT_HERE = 77
"""How the program ends where this machine gives it no network of its own."""
NAMESERVER = "192.0.2.53"
"""Where the resolver inside asks (documentation addresses, RFC 5737: nobody has them)."""
OUTSIDE = "198.51.100.7"
"""Some address elsewhere."""
_INSIDE_4, _INSIDE_6 = ("192.0.2.2", 24), ("2001:db8::2", 64)

_NEWNS, _NEWUSER, _NEWNET = 0x00020000, 0x10000000, 0x40000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
_ETH_P_ALL = 3
_IP, _IP6, _TCP, _UDP = 0x0800, 0x86DD, 6, 17


@dataclass(frozen=True, slots=True)
class Packet:
    """What left: `kind` is `tcp`, `udp`, `dns` or a number; `name` is what a DNS question asks for."""

    kind: str
    to: str
    port: int
    name: str = ""


def read(frame: bytes) -> Packet:
    """What an Ethernet frame carries, as far as it says who is being called. Pure."""
    kind = int.from_bytes(frame[12:14], "big")
    if kind == _IP and len(frame) >= 34:
        protocol, to = frame[23], socket.inet_ntop(socket.AF_INET, frame[30:34])
        body = frame[14 + (frame[14] & 15) * 4 :]
    elif kind == _IP6 and len(frame) >= 54:
        protocol, to = frame[20], socket.inet_ntop(socket.AF_INET6, frame[38:54])
        body = frame[54:]
    else:
        return Packet(f"ethernet {kind:#06x}", "", 0)
    if protocol not in (_TCP, _UDP) or len(body) < 8:
        return Packet(f"ip {protocol}", to, 0)
    port = int.from_bytes(body[2:4], "big")
    if protocol == _UDP and port == 53:
        return Packet("dns", to, port, _question(body[20:]))
    return Packet("tcp" if protocol == _TCP else "udp", to, port)


def _question(data: bytes) -> str:
    labels, at = [], 0
    while at < len(data) and 0 < data[at] < 64:
        labels.append(data[at + 1 : at + 1 + data[at]].decode("ascii", "replace"))
        at += 1 + data[at]
    return ".".join(labels)


# for tests ------------------------------------------------------------------------------------------------------------


class NoNamespacesError(Exception):
    """The kernel, or what guards it, does not let us have a network of our own."""


@dataclass(frozen=True, slots=True)
class Report:
    """How the command ended, what it wrote, and what left meanwhile, in order. `counted`: by the interface itself."""

    status: int
    output: str
    packets: tuple[Packet, ...]
    counted: int


def run(
    command: Sequence[str],
    *,
    prefix: Sequence[str] = (),
    shut: bool = False,
    timeout_s: float = 300,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
) -> Report:
    """Run `command` inside. `prefix` goes before it there (another user); `shut`: without any way out.

    Raises NoNamespacesError where this machine gives us no network of our own.
    """
    with tempfile.TemporaryDirectory(prefix="intramural-sink-") as folder:
        report = Path(folder) / "report"
        words = [sys.executable, "-I", __file__, *(["--shut"] if shut else []), str(report), *prefix, *command]
        done = subprocess.run(
            words, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout_s
        )
        if done.returncode == NOT_HERE:
            raise NoNamespacesError(done.stdout[-2000:])
        assert report.exists(), done.stdout[-2000:]
        told = json.loads(report.read_text())
    packets = tuple(Packet(**each) for each in told["packets"])
    return Report(told["status"], done.stdout, packets, told["counted"])


def left() -> int:
    """How many packets have left this network: asked inside."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, counts = line.partition(":")
        if name.strip() == "way":
            return int(counts.split()[9])
    return 0


# the program ----------------------------------------------------------------------------------------------------------

_libc = ctypes.CDLL(None, use_errno=True)


def main(words: list[str]) -> int:
    shut = words[0] == "--shut"
    report, *command = words[1:] if shut else words
    try:
        _own_namespaces()
        told = _watched(command, shut)
    except OSError as error:  # also by what guards a kernel that would
        print(f"sink: {error}", flush=True)
        return NOT_HERE
    Path(report).write_text(json.dumps(told))
    return 0


def _watched(command: list[str], shut: bool) -> dict[str, Any]:
    """Run `command` inside; what is written down of it. Raises OSError where there is no such network to be had."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL)) as heard:
        heard.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        made_read, made_write = os.pipe()
        go_read, go_write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(go_write)
            try:
                _checked(_libc.unshare(_NEWNET | _NEWNS), "unshare")
                os.write(made_write, b"!")
                if os.read(go_read, 1):
                    _inside(shut)
                    os.execvp(command[0], command)
            except BaseException as error:
                print(f"sink: {error!r}", file=sys.stderr, flush=True)
            finally:
                os._exit(NOT_HERE)
        os.close(made_write)
        if not os.read(made_read, 1):
            raise OSError("no network of its own")
        kept = os.open(f"/proc/{child}/ns/net", os.O_RDONLY)  # the cable goes with it, and its count
        if not shut:
            with _Links() as links:
                links.pair("out", "way", child)
                _set("out", disable_ipv6=1)  # it shall say nothing itself
                links.up("out")
        os.write(go_write, b"!")
        watch = os.pidfd_open(child)
        packets: list[Packet] = []
        while not _ready(heard, watch):
            packets += _heard(heard)
        packets += _heard(heard)
        _, status = os.waitpid(child, 0)
        ended = os.waitstatus_to_exitcode(status)
        if ended == NOT_HERE:
            raise OSError("no network of its own")
        counted = _received("out")
        os.close(kept)
    return {"status": ended, "packets": [asdict(each) for each in packets], "counted": counted}


def _own_namespaces() -> None:
    """A network of ours, and as an ordinary user the right to one: a user namespace in which we stay who we are."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        _checked(_libc.unshare(_NEWNET), "unshare")
        return
    _checked(_libc.unshare(_NEWUSER | _NEWNET), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def _inside(shut: bool) -> None:
    """In the inner namespace: addresses, routes, a quiet kernel, the resolver."""
    with _Links() as links:
        links.up("lo")
        if not shut:
            # No link-local address (addr_gen_mode), so nothing to announce.
            _set("way", accept_ra=0, autoconf=0, router_solicitations=0, dad_transmits=0, addr_gen_mode=1)
            links.up("way")
            links.address("way", *_INSIDE_4)
            links.default("way", socket.AF_INET)
            if Path("/proc/sys/net/ipv6").exists():
                links.address("way", *_INSIDE_6)
                links.default("way", socket.AF_INET6)
    _checked(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "mount")
    with tempfile.NamedTemporaryFile("w", prefix="resolv-") as file:
        file.write(f"nameserver {NAMESERVER}\noptions timeout:1 attempts:1\n")
        file.flush()
        os.chmod(file.name, 0o644)
        there = os.path.realpath("/etc/resolv.conf")
        if os.path.exists(there):
            _checked(_libc.mount(file.name.encode(), there.encode(), None, _MS_BIND, None), "mount resolv.conf")


def _set(name: str, **values: int) -> None:
    """What an interface does by itself under IPv6, if the kernel has it."""
    for setting, value in values.items():
        file = Path(f"/proc/sys/net/ipv6/conf/{name}/{setting}")
        if file.exists():
            file.write_text(str(value))


def _checked(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def _ready(heard: socket.socket, watch: int) -> bool:
    """Wait for packets, or for the end: whether that is it."""
    found, _, _ = select.select([heard, watch], [], [])
    return watch in found


def _heard(heard: socket.socket) -> Iterable[Packet]:
    while True:
        try:
            frame, about = heard.recvfrom(65_536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        if about[0] == "out":
            yield read(frame)


def _received(name: str) -> int:
    """Packets that an interface of this namespace received, by the kernel's count."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        found, _, counts = line.partition(":")
        if found.strip() == name:
            return int(counts.split()[1])
    return 0


class _Links:
    """Interfaces, addresses and routes, by rtnetlink(7)."""

    _NEWLINK, _NEWADDR, _NEWROUTE = 16, 20, 24
    _REQUEST, _ACK, _CREATE, _EXCL = 1, 4, 0x400, 0x200
    _IFF_UP, _IFF_NOARP = 1, 0x80
    _NODAD = 2

    def __enter__(self) -> "_Links":
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def pair(self, here: str, there: str, pid: int) -> None:
        """Two ends of a cable; `there` lies in the namespace of the process `pid`."""
        peer = self._link() + self._text(3, there) + self._attribute(19, struct.pack("=I", pid))
        data = self._attribute(2, self._attribute(1, peer))
        self._ask(
            self._NEWLINK,
            self._link() + self._text(3, here) + self._attribute(18, self._text(1, "veth") + data),
            self._CREATE | self._EXCL,
        )

    def up(self, name: str) -> None:
        """In service; a neighbour's address is not asked for, so that nothing is sent before the packet itself."""
        flags = self._IFF_UP | (0 if name == "lo" else self._IFF_NOARP)
        self._ask(self._NEWLINK, self._link(socket.if_nametoindex(name), flags), 0)

    def address(self, name: str, address: str, bits: int) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        packed = socket.inet_pton(family, address)
        head = struct.pack("=BBBBI", family, bits, self._NODAD, 0, socket.if_nametoindex(name))
        self._ask(
            self._NEWADDR, head + self._attribute(2, packed) + self._attribute(1, packed), self._CREATE | self._EXCL
        )

    def default(self, name: str, family: int) -> None:
        head = struct.pack("=BBBBBBBBI", family, 0, 0, 0, 254, 3, 253, 1, 0)  # main table, boot, link, unicast
        index = struct.pack("=I", socket.if_nametoindex(name))
        self._ask(self._NEWROUTE, head + self._attribute(4, index), self._CREATE)

    @staticmethod
    def _link(index: int = 0, flags: int = 0) -> bytes:
        return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, flags)

    @staticmethod
    def _attribute(kind: int, value: bytes) -> bytes:
        return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)

    def _text(self, kind: int, value: str) -> bytes:
        return self._attribute(kind, value.encode() + b"\0")

    def _ask(self, kind: int, body: bytes, flags: int) -> None:
        head = struct.pack("=IHHII", 16 + len(body), kind, self._REQUEST | self._ACK | flags, 1, 0)
        self._socket.send(head + body)
        answer = self._socket.recv(65_536)
        error = -int(struct.unpack("=i", answer[16:20])[0])
        if error:
            raise OSError(error, f"rtnetlink {kind}: {os.strerror(error)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
