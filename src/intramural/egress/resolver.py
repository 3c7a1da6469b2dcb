"""Names to addresses: a stub resolver (RFC 1035, 3596) for a process that may open no file.

The C library's reads files at every question, and loads more code where the system is set up so; the broker may do
neither. So the service reads `/etc/hosts` and `/etc/resolv.conf` (`NameFiles`), and the broker asks the name servers
that stand there, and nobody else. What is only known to other modules of nsswitch.conf(5) is not found.
"""

import asyncio
import contextlib
import ipaddress
import re
import secrets
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from intramural.egress.wire import MAX_ADDRESSES, Names

A, AAAA, CNAME = 1, 28, 5
_IN = 1
_RECURSE, _TRUNCATED, _ANSWER = 0x0100, 0x0200, 0x8000
_CODE = 0x000F
NO_ERROR, NO_SUCH_NAME = 0, 3
_MAX_UDP_BYTES = 4096
_MAX_ALIASES = 16
#: How long the addresses of one family wait for those of the other (RFC 8305, 3, has 50 ms; name servers in schools
#: are slower than that).
_OTHER_FAMILY_S = 0.3
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
#: As in glibc: three servers, and no more search domains than make sense to wait for.
_MAX_SERVERS, _MAX_SEARCH = 3, 6
_DNS_PORT = 53


class NoSuchName(Exception):
    """Name servers say that there is no such name, or that it has no address."""


class NoAnswer(Exception):
    """No name server answers, or none as it should."""


# the machine's own files ----------------------------------------------------------------------------------------------


class NameFiles:
    """`/etc/hosts` and `/etc/resolv.conf`, read anew whenever they changed."""

    def __init__(self, hosts: Path = Path("/etc/hosts"), resolv: Path = Path("/etc/resolv.conf")) -> None:
        self._hosts, self._resolv = hosts, resolv
        self._hosts_mark: object = ()
        self._resolv_mark: object = ()
        self._known: dict[str, tuple[str, ...]] = {}
        self._names = Names(())

    def known(self, host: str) -> tuple[str, ...]:
        """The addresses of a host for which nobody has to be asked; none where name servers have to be."""
        try:
            return (str(ipaddress.ip_address(host)),)
        except ValueError:
            pass
        if (mark := _mark(self._hosts)) != self._hosts_mark:
            self._hosts_mark, self._known = mark, hosts_of(_text(self._hosts))
        if found := self._known.get(host):
            return found
        return ("127.0.0.1", "::1") if host == "localhost" or host.endswith(".localhost") else ()

    def names(self) -> Names:
        """The name servers to ask."""
        if (mark := _mark(self._resolv)) != self._resolv_mark:
            self._resolv_mark, self._names = mark, names_of(_text(self._resolv))
        return self._names


def hosts_of(text: str) -> dict[str, tuple[str, ...]]:
    """hosts(5): name → addresses, in the order in which they stand."""
    found: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if _is_address(address):
            for name in names:
                key = name.rstrip(".").lower()
                found[key] = tuple(dict.fromkeys((*found.get(key, ()), address)))[:MAX_ADDRESSES]
    return found


def names_of(text: str) -> Names:
    """resolv.conf(5). Servers with a scope (`fe80::1%eth0`) are left out."""
    servers: list[tuple[str, int]] = []
    search: tuple[str, ...] = ()
    options: dict[str, int] = {}
    for line in text.splitlines():
        match re.split(r"[#;]", line, maxsplit=1)[0].split():
            case ["nameserver", address] if _is_address(address):
                servers.append((address, _DNS_PORT))
            case ["search" | "domain", *domains]:
                search = tuple(each.rstrip(".") for each in domains)[:_MAX_SEARCH]
            case ["options", *given]:
                for each in given:
                    name, _, number = each.partition(":")
                    if number.isascii() and number.isdigit():
                        options[name] = int(number[:3])
    return Names(
        tuple(servers[:_MAX_SERVERS]) or (("127.0.0.1", _DNS_PORT),),
        search,
        ndots=min(options.get("ndots", 1), 15),
        timeout_s=float(min(max(options.get("timeout", 5), 1), 30)),
        attempts=min(max(options.get("attempts", 2), 1), 5),
    )


def _mark(file: Path) -> object:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8", "replace")
    except OSError:
        return ""


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


# messages (pure) ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reply:
    """What of an answer matters: its code, whether it was cut short, and the addresses."""

    code: int
    truncated: bool
    addresses: tuple[str, ...]


def query(number: int, name: str, kind: int) -> bytes:
    """One question. Raises ValueError for what is no name."""
    return struct.pack("!6H", number, _RECURSE, 1, 0, 0, 0) + _name(name) + struct.pack("!2H", kind, _IN)


def reply(packet: bytes, number: int, name: str, kind: int) -> Reply | None:
    """The answer to that question, None if it is to another. Raises ValueError where it is malformed.

    Of the records only those count that lead from the name asked for, over aliases, to addresses.
    """
    try:
        found, flags, questions, answers, _, _ = struct.unpack_from("!6H", packet)
        if found != number or not flags & _ANSWER or questions != 1:
            return None
        asked, at = _read_name(packet, 12)
        asked_kind, asked_class = struct.unpack_from("!2H", packet, at)
        if (asked, asked_kind, asked_class) != (name.rstrip(".").lower(), kind, _IN):
            return None
        records = list(_records(packet, at + 4, answers))
    except (struct.error, IndexError) as error:
        raise ValueError("a message that ends too early") from error
    return Reply(flags & _CODE, bool(flags & _TRUNCATED), _follow(records, asked, kind, packet))


def _follow(records: Sequence[tuple[str, int, int, int]], name: str, kind: int, packet: bytes) -> tuple[str, ...]:
    for _ in range(_MAX_ALIASES):
        size = 4 if kind == A else 16
        found = [packet[at : at + length] for owner, each, at, length in records if (owner, each) == (name, kind)]
        if found:
            addresses = [str(ipaddress.ip_address(data)) for data in found if len(data) == size]
            return tuple(dict.fromkeys(addresses))[:MAX_ADDRESSES]
        alias = next((at for owner, each, at, _ in records if (owner, each) == (name, CNAME)), None)
        if alias is None:
            return ()
        name, _ = _read_name(packet, alias)
    return ()


def _records(packet: bytes, at: int, number: int) -> Iterator[tuple[str, int, int, int]]:
    """(owner, type, where its data begins, how long that is) of each."""
    for _ in range(number):
        owner, at = _read_name(packet, at)
        kind, of_class, _, length = struct.unpack_from("!2HIH", packet, at)
        at += 10
        if at + length > len(packet):
            raise ValueError("a record that ends behind the message")
        if of_class == _IN:
            yield owner, kind, at, length
        at += length


def _name(name: str) -> bytes:
    labels = name.rstrip(".").split(".")
    if not all(_LABEL.fullmatch(each) for each in labels):
        raise ValueError(f"{name[:80]!r} is no name")
    out = b"".join(bytes([len(each)]) + each.encode("ascii") for each in labels) + b"\0"
    if len(out) > 255:
        raise ValueError("a name that is too long")
    return out


def _read_name(packet: bytes, at: int) -> tuple[str, int]:
    """The name at `at`, lower case, and where what follows it begins. Pointers lead backwards only."""
    labels: list[str] = []
    after: int | None = None
    bound = at
    while length := packet[at]:
        if length & 0xC0 == 0xC0:
            after = at + 2 if after is None else after
            at = (length & 0x3F) << 8 | packet[at + 1]
            if at >= bound:
                raise ValueError("a name that leads forwards")
            bound = at
            continue
        if length & 0xC0:
            raise ValueError("a label of an unknown kind")
        labels.append(packet[at + 1 : at + 1 + length].decode("latin-1").lower())
        at += 1 + length
        if len(labels) > 127:
            raise ValueError("a name without end")
    return ".".join(labels), at + 1 if after is None else after


# asking ---------------------------------------------------------------------------------------------------------------


async def resolve(host: str, names: Names) -> list[str]:
    """The addresses of `host`, IPv6 and IPv4 in turn. Raises NoSuchName, NoAnswer."""
    dots = host.count(".")
    whole = [f"{host}.{each}" for each in names.search]
    candidates = [host] if host.endswith(".") else [host, *whole] if dots >= names.ndots else [*whole, host]
    for candidate in candidates:
        with contextlib.suppress(NoSuchName):
            return await _both(candidate, names)
    raise NoSuchName(host)


async def _both(name: str, names: Names) -> list[str]:
    questions = [asyncio.ensure_future(_asked(name, kind, names)) for kind in (AAAA, A)]
    try:
        done, waiting = await asyncio.wait(questions, return_when=asyncio.FIRST_COMPLETED)
        if any(each.exception() is None and each.result() for each in done) and waiting:
            await asyncio.wait(waiting, timeout=_OTHER_FAMILY_S)
        elif waiting:
            await asyncio.wait(waiting)
        ended = [each for each in questions if each.done()]
        found = [each.result() for each in ended if each.exception() is None]
        failed = [error for each in ended if (error := each.exception()) is not None]
    finally:
        for each in questions:
            each.cancel()
        await asyncio.gather(*questions, return_exceptions=True)
    if addresses := _in_turn(found):
        return addresses
    raise next((error for error in failed if not isinstance(error, NoSuchName)), NoSuchName(name))


def _in_turn(families: Sequence[Sequence[str]]) -> list[str]:
    longest = max(map(len, families), default=0)
    return [each[at] for at in range(longest) for each in families if at < len(each)]


async def _asked(name: str, kind: int, names: Names) -> tuple[str, ...]:
    """Each server in turn, so often. No address of this kind is no failure: then there are none."""
    try:
        query(0, name, kind)
    except ValueError as error:  # what cannot be asked for is nowhere
        raise NoSuchName(name) from error
    for _ in range(names.attempts):
        for server in names.servers:
            try:
                async with asyncio.timeout(names.timeout_s):
                    said = await _by_udp(server, name, kind)
                    if said.truncated:
                        said = await _by_tcp(server, name, kind)
            except (OSError, ValueError):  # TimeoutError is an OSError
                continue
            if said.code == NO_ERROR:
                return said.addresses
            if said.code == NO_SUCH_NAME:
                raise NoSuchName(name)
    raise NoAnswer(name)


async def _by_udp(server: tuple[str, int], name: str, kind: int) -> Reply:
    """A socket of its own for each question, so that its port is one that nobody can foretell."""
    loop, number = asyncio.get_running_loop(), secrets.randbits(16)
    with _socket(server, socket.SOCK_DGRAM) as asking:
        await loop.sock_connect(asking, server)
        await loop.sock_sendall(asking, query(number, name, kind))
        while True:
            packet = await loop.sock_recv(asking, _MAX_UDP_BYTES)
            with contextlib.suppress(ValueError):
                if (said := reply(packet, number, name, kind)) is not None:
                    return said


async def _by_tcp(server: tuple[str, int], name: str, kind: int) -> Reply:
    loop, number = asyncio.get_running_loop(), secrets.randbits(16)
    with _socket(server, socket.SOCK_STREAM) as asking:
        await loop.sock_connect(asking, server)
        question = query(number, name, kind)
        await loop.sock_sendall(asking, struct.pack("!H", len(question)) + question)
        (size,) = struct.unpack("!H", await _exactly(asking, 2))
        said = reply(await _exactly(asking, size), number, name, kind)
    if said is None:
        raise ValueError("an answer to something else")
    return said


async def _exactly(asking: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        chunk = await asyncio.get_running_loop().sock_recv(asking, size - len(found))
        if not chunk:
            raise ValueError("an answer that ends too early")
        found += chunk
    return found


def _socket(server: tuple[str, int], kind: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    found = socket.socket(family, kind)
    found.setblocking(False)
    return found
