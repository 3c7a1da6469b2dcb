"""A name server on loopback that says what a test wants, by UDP and TCP. RFC 1035 as far as a stub resolver sees it."""

import asyncio
import contextlib
import ipaddress
import struct
from collections.abc import Callable, Mapping, Sequence

Records = Mapping[tuple[str, int], Sequence[str]]
_A, _CNAME, _AAAA = 1, 5, 28


def _name(name: str) -> bytes:
    return b"".join(bytes([len(each)]) + each.encode() for each in name.split(".")) + b"\0"


def question(packet: bytes) -> tuple[str, int]:
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode())
        at += 1 + packet[at]
    return ".".join(labels).lower(), struct.unpack_from("!H", packet, at + 1)[0]


def answer(
    packet: bytes, records: Records, *, code: int = 0, truncated: bool = False, everything: bool = False
) -> bytes:
    """The answer to a question. `everything`: all records, whether or not they were asked for."""
    name, kind = question(packet)
    wanted: list[tuple[str, int, str]] = []
    if everything:
        wanted = [(owner, each, data) for (owner, each), all_ in records.items() for data in all_]
    else:
        at: str | None = name
        while at is not None:
            wanted += [(at, kind, data) for data in records.get((at, kind), ())]
            alias = next(iter(records.get((at, _CNAME), ())), None)
            if alias is not None:
                wanted.append((at, _CNAME, alias))
            at = alias
        if not any(owner == name for owner, _ in records):
            code = code or 3
    out = struct.pack("!6H", *struct.unpack_from("!H", packet), 0x8180 | code | truncated << 9, 1, len(wanted), 0, 0)
    out += packet[12 : 12 + len(_name(name)) + 4]
    for owner, each, data in wanted:
        value = _name(data) if each == _CNAME else ipaddress.ip_address(data).packed
        head = b"\xc0\x0c" if owner == name else _name(owner)  # a pointer to the question, as servers write it
        out += head + struct.pack("!2HIH", each, 1, 60, len(value)) + value
    return out


class NameServer:
    """`async with NameServer(records) as server`. `records` may be changed meanwhile; `asked` is what was.

    Knobs: `silent` (to all, or `silent_for` one type), `code`, `garbage`, `truncate` (so that TCP is needed), and
    `before`: called with each question by UDP and who asks it, before it is answered.
    """

    def __init__(
        self,
        records: Records,
        *,
        silent: bool = False,
        silent_for: int = 0,
        code: int = 0,
        garbage: bool = False,
        truncate: bool = False,
        before: Callable[[bytes, tuple[str, int]], None] | None = None,
    ) -> None:
        self.records = dict(records)
        self.asked: list[tuple[str, int]] = []
        self.by_tcp = 0
        self.port = 0
        self._silent, self._silent_for, self._code = silent, silent_for, code
        self._garbage, self._truncate, self._before = garbage, truncate, before

    async def __aenter__(self) -> "NameServer":
        server = self

        class Protocol(asyncio.DatagramProtocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = transport

            def datagram_received(self, packet: bytes, who: tuple[str, int]) -> None:
                if server._before:
                    server._before(packet, who)
                if (said := server._said(packet, by_udp=True)) is not None:
                    self.transport.sendto(said, who)  # type: ignore[attr-defined]  # a datagram transport

        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._tcp.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(Protocol, local_addr=("127.0.0.1", self.port))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._udp.close()
        self._tcp.close()
        await self._tcp.wait_closed()

    def _said(self, packet: bytes, *, by_udp: bool) -> bytes | None:
        self.asked.append(question(packet))
        if self._silent or self.asked[-1][1] == self._silent_for:
            return None
        if self._garbage:
            return b"\xff" * 20
        if by_udp and self._truncate:
            return answer(packet, {}, truncated=True, code=0, everything=True)
        return answer(packet, self.records, code=self._code)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            (size,) = struct.unpack("!H", await reader.readexactly(2))
            self.by_tcp += 1
            if (said := self._said(await reader.readexactly(size), by_udp=False)) is not None:
                writer.write(struct.pack("!H", len(said)) + said)
                await writer.drain()
        writer.close()
