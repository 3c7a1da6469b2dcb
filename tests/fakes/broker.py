"""A broker without a process of its own, that can be slow, ill or lying. Without knobs it does what a real one does."""

import asyncio
import os
import socket
import struct
from dataclasses import dataclass, field
from typing import Literal

from intramural.egress import wire
from intramural.egress.rules import nearness

Lie = Literal[
    "another port", "another address", "no socket", "no descriptor", "two descriptors", "not connected",
    "a Unix socket", "no json", "nobody's number", "more than there is room for", "a descriptor where there is none",
]  # fmt: skip


@dataclass
class FakeBroker:
    """`start` is for `Broker`. `lie`: in the place of the next answer; `dies`: at the next request, once; `holds`: no
    answer until it is set; `silent`: never one; `never_ready`: it does not begin."""

    lie: Lie | None = None
    dies: bool = False
    silent: bool = False
    never_ready: bool = False
    holds: asyncio.Event | None = None
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    started: int = 0
    asked: list[wire.Asked] = field(default_factory=list)
    lives: "list[_Life]" = field(default_factory=list)

    async def start(self) -> "tuple[_Life, socket.socket]":
        self.started += 1
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.setblocking(False)
        life = _Life(self, theirs)
        self.lives.append(life)
        return life, ours


class _Life:
    """One process, as it were."""

    def __init__(self, fake: FakeBroker, channel: socket.socket) -> None:
        self._fake, self._channel = fake, channel
        self._task = asyncio.ensure_future(self._serve())
        self._working: dict[int, asyncio.Task[None]] = {}

    async def wait(self) -> int:
        await asyncio.wait([self._task])
        return -9

    def kill(self) -> None:
        self._task.cancel()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            if self._fake.never_ready:
                return
            self._say(wire.Ready())
            while packet := await loop.sock_recv(self._channel, wire.MAX_BYTES):
                asked = wire.asked(packet)
                self._fake.asked.append(asked)
                if isinstance(asked, wire.Connect):
                    if self._fake.dies:
                        self._fake.dies = False
                        return
                    self._working[asked.id] = asyncio.ensure_future(self._work(asked, self._fake.holds))
                elif isinstance(asked, wire.Cancel) and asked.id in self._working:
                    self._working.pop(asked.id).cancel()
        except ConnectionError:
            pass
        finally:
            for task in self._working.values():
                task.cancel()
            self._channel.close()

    async def _work(self, wanted: wire.Connect, holds: asyncio.Event | None) -> None:
        if self._fake.silent:
            return None
        if holds is not None:
            await holds.wait()
        found = wanted.addresses or self._fake.names.get(wanted.host, ())
        if not found:
            return self._say(wire.Failed(wanted.id, "no_such_name"))
        near = [each for each in found if nearness(each) in wanted.near]
        if not near:
            return self._say(wire.Failed(wanted.id, "address_refused", found[0]))
        made = socket.socket(socket.AF_INET6 if ":" in near[0] else socket.AF_INET)
        made.setblocking(False)
        try:
            async with asyncio.timeout(wanted.timeout_s):
                await asyncio.get_running_loop().sock_connect(made, (near[0], wanted.port))
        except TimeoutError:
            return self._say(wire.Failed(wanted.id, "timed_out"))
        except OSError:
            return self._say(wire.Failed(wanted.id, "refused"))
        with made:
            if self._fake.lie is not None:
                return self._lied(wanted, near[0], made)
            return self._say(wire.Connected(wanted.id, near[0]), made.fileno())

    def _lied(self, wanted: wire.Connect, address: str, made: socket.socket) -> None:
        lie, self._fake.lie = self._fake.lie, None
        yes = wire.Connected(wanted.id, address)
        match lie:
            case "another port" | "another address":
                with socket.create_server(("127.0.0.2" if lie == "another address" else "127.0.0.1", 0)) as other:
                    port = 0 if lie == "another port" else wanted.port
                    with socket.create_connection(other.getsockname()) as theirs:
                        assert port != theirs.getpeername()[1]
                        self._say(yes, theirs.fileno())
            case "no socket":
                read, write = os.pipe()
                self._say(yes, read)
                os.close(read)
                os.close(write)
            case "a Unix socket":
                left, right = socket.socketpair()
                self._say(yes, left.fileno())
                left.close()
                right.close()
            case "not connected":
                with socket.socket() as other:
                    self._say(yes, other.fileno())
            case "no descriptor":
                self._say(yes)
            case "two descriptors":
                self._say(yes, made.fileno(), made.fileno())
            case "more than there is room for":
                self._say(yes, *[made.fileno()] * 40)
            case "a descriptor where there is none":
                self._say(wire.Failed(wanted.id, "refused"), made.fileno())
            case "nobody's number":
                self._say(wire.Connected(wanted.id + 1000, address), made.fileno())
            case "no json":
                self._raw(b"\xff{", made.fileno())

    def _say(self, said: wire.Said, *descriptors: int) -> None:
        self._raw(wire.encode(said), *descriptors)

    def _raw(self, packet: bytes, *descriptors: int) -> None:
        beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(descriptors)}i", *descriptors))]
        self._channel.sendmsg([packet], beside if descriptors else [])
