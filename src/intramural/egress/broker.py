"""The service's side of the broker: has one at hand, asks it for connections, and believes nothing of what it says.

A broker that died is replaced by the spare one, or by a new one, and what it was working on is asked again: nothing was
sent yet. One that answers what makes no sense, or hands over what was not asked for, is ended. So is one that lets its
own time pass.
"""

import asyncio
import errno
import logging
import os
import socket
import stat
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Protocol

from intramural.core.errors import IntramuralError, Unavailable, Untrusted
from intramural.egress import wire
from intramural.egress.passage import Passage
from intramural.egress.resolver import NameFiles
from intramural.egress.rules import Destination, Nearness, address_refused, nearness
from intramural.egress.wire import Cancel, Connect, Connected, Failed, Names, Ready
from intramural.sandbox import Launch, Limits, spawn

log = logging.getLogger(__name__)

#: Connections that are being made at a time; who comes later waits for their turn.
_AT_ONCE = 32
_START_TIMEOUT_S = 20.0
#: How much longer than it was given a broker may take over its answer.
_GRACE_S = 2.0
#: Each connect may have two addresses on their way, and two questions to name servers.
_LIMITS = Limits(open_files=64 + 4 * wire.MOST_AT_ONCE, processes=8)
_FD_BYTES = socket.CMSG_SPACE(4)


class Process(Protocol):
    """A broker's process."""

    async def wait(self) -> int: ...
    def kill(self) -> None: ...


#: Starts a broker; (its process, our end of what it is spoken with on). Raises IntramuralError.
Start = Callable[[], Awaitable[tuple[Process, socket.socket]]]


def confined_broker(without: frozenset[str] = frozenset()) -> Start:
    """Starts a real one. `without`: layers that this machine lacks, and an administrator has named."""

    async def start() -> tuple[Process, socket.socket]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            entry = "intramural.egress.process:run"
            launch = Launch("broker", entry, {}, channel=theirs.fileno(), limits=_LIMITS, without=without)
            return await spawn(launch), ours
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()

    return start


class Broker:
    """Makes connections. The process starts with `open`, or else when it is first needed."""

    def __init__(self, start: Start, files: NameFiles | None = None) -> None:
        self._start = start
        self._files = files or NameFiles()
        self._wanted_spares = 0
        self._line: _Line | None = None
        self._spares: deque[_Line] = deque()
        self._starting = asyncio.Lock()
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._refilling: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def is_running(self) -> bool:
        """Whether there is a process now."""
        return self._line is not None and self._line.is_alive

    async def open(self, spares: int = 0) -> None:
        """Start it now, and from now on keep so many more that wait for its end: once the service can make no sockets,
        no child of it can. Raises Unavailable(`egress_unavailable`)."""
        self._wanted_spares = spares
        await self._one()
        if self._refilling is not None:
            await asyncio.shield(self._refilling)

    async def close(self) -> None:
        """End all of them; what is being made is given up."""
        self._closed = True
        if self._refilling is not None:
            self._refilling.cancel()
            await asyncio.gather(self._refilling, return_exceptions=True)
        lines = [*([] if self._line is None else [self._line]), *self._spares]
        self._line = None
        self._spares.clear()
        await asyncio.gather(*(line.end() for line in lines))

    async def connect(self, to: Destination, near: Collection[Nearness], timeout_s: float) -> tuple[Passage, str]:
        """A connection to `to` and the address it is to, which is near as said.

        Raises Refused(`egress_address_refused`), Unavailable(`egress_unavailable`), Untrusted(`egress_broker_lied`),
        and OSError as connecting does: TimeoutError, ConnectionRefusedError, socket.gaierror.
        """
        async with asyncio.timeout(timeout_s):
            await self._turns.acquire()
        try:
            line, said, passage = await self._asked(to, near, timeout_s)
        finally:
            self._turns.release()
        if isinstance(said, Failed):
            raise _failure(said, to)
        assert passage is not None, "a line sees to it"
        try:
            _check(passage, said.address, to, near)
        except Untrusted:
            passage.close()
            line.lose("handed over what was not asked for")
            raise
        return passage, said.address

    async def _asked(
        self, to: Destination, near: Collection[Nearness], timeout_s: float
    ) -> "tuple[_Line, Connected | Failed, Passage | None]":
        known = self._files.known(to.host)
        for _ in range(2):
            line = await self._one()
            with suppress(_LostError):
                return line, *await line.ask(to, tuple(near), known, self._files.names(), timeout_s)
        raise _unavailable("It ended while it was asked.")

    async def _one(self) -> "_Line":
        """One that is alive."""
        async with self._starting:
            if self._line is not None and self._line.is_alive:
                return self._line
            if self._closed:
                raise _unavailable("The service is stopping.")
            if self._line is not None:
                log.warning("the broker ended and is replaced")
            while self._spares:
                spare = self._spares.popleft()
                if spare.is_alive:
                    self._line = spare
                    break
            else:
                self._line = await self._begun()
            if len(self._spares) < self._wanted_spares and (self._refilling is None or self._refilling.done()):
                self._refilling = asyncio.create_task(self._refill(), name="egress-spares")
            return self._line

    async def _refill(self) -> None:
        try:
            while len(self._spares) < self._wanted_spares:
                self._spares.append(await self._begun())
        except Unavailable as error:
            log.warning("no spare broker can be started; when this one ends, nothing goes out: %s", error.hint)

    async def _begun(self) -> "_Line":
        try:
            process, channel = await self._start()
        except IntramuralError as error:
            raise _unavailable(str(error)) from error
        line = _Line(process, channel)
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                await line.ready
        except (TimeoutError, _LostError):
            line.lose("did not begin")
            raise _unavailable("It ended at its beginning: it may make no sockets.") from None
        except BaseException:
            line.lose("nobody waits for it")
            raise
        return line


class _LostError(Exception):
    """The broker that was asked is gone."""


class _Line:
    """One broker that runs, and those who wait for its answers."""

    def __init__(self, process: Process, channel: socket.socket) -> None:
        channel.setblocking(False)
        loop = asyncio.get_running_loop()
        self._process, self._channel = process, channel
        self._waiting: dict[int, asyncio.Future[tuple[Connected | Failed, Passage | None]]] = {}
        self._last = 0
        self._names: Names | None = None
        self._turn = asyncio.Lock()
        self.is_alive = True
        self.ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(channel, self._read)

    async def ask(
        self, to: Destination, near: tuple[Nearness, ...], known: tuple[str, ...], names: Names, timeout_s: float
    ) -> tuple[Connected | Failed, Passage | None]:
        """Raises _LostError, TimeoutError."""
        if not self.is_alive:
            raise _LostError
        self._last += 1
        number = self._last
        answer: asyncio.Future[tuple[Connected | Failed, Passage | None]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            if names != self._names:
                self._names = names
                await self._send(names)
            await self._send(Connect(number, to.host, to.port, near, timeout_s, known))
            async with asyncio.timeout(timeout_s + _GRACE_S):
                return await answer
        except TimeoutError:
            self.lose("let its time pass")
            raise
        except asyncio.CancelledError:
            if self.is_alive:
                with suppress(OSError):  # where there is no room the broker's own time is up soon
                    self._channel.send(wire.encode(Cancel(number)))
            raise
        finally:
            del self._waiting[number]
            if answer.done() and not answer.cancelled():
                answer.exception()  # it may be that nobody is there any more to see it

    def lose(self, why: str) -> None:
        """It is done with: end it, and tell who waits."""
        if not self.is_alive:
            return
        self.is_alive = False
        log.debug("a broker is done with: it %s", why)
        asyncio.get_running_loop().remove_reader(self._channel)
        self._channel.close()
        self._process.kill()
        if not self.ready.done():
            self.ready.set_exception(_LostError())
            self.ready.exception()  # whether or not anybody waits for it
        for each in self._waiting.values():
            if not each.done():
                each.set_exception(_LostError())

    async def end(self) -> None:
        """Closing its channel is how it is told."""
        self.lose("is no longer needed")
        await self._process.wait()

    async def _send(self, asked: wire.Asked) -> None:
        packet, loop = wire.encode(asked), asyncio.get_running_loop()
        async with self._turn:
            while self.is_alive:
                try:
                    self._channel.send(packet)
                    return
                except BlockingIOError:
                    room: asyncio.Future[None] = loop.create_future()
                    loop.add_writer(self._channel, _there, room)
                    try:
                        async with asyncio.timeout(_GRACE_S):
                            await room
                    finally:
                        loop.remove_writer(self._channel)
                except OSError:
                    self.lose("is gone")
        raise _LostError

    def _read(self) -> None:
        try:
            packet, beside, flags, _ = self._channel.recvmsg(wire.MAX_BYTES, _FD_BYTES, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            packet, beside, flags = b"", [], 0
        passages = [_passage(number) for _, _, data in beside for number in _numbers(data)]
        try:
            if not packet:
                self.lose("is gone")
            elif flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC) or not self._heard(wire.said(packet), passages):
                self.lose("said what makes no sense")
        except ValueError:
            self.lose("said what makes no sense")
        finally:
            for each in passages:  # nobody took it
                if each is not None:
                    each.close()

    def _heard(self, said: wire.Said, passages: list[Passage | None]) -> bool:
        """Whether it makes sense; a connection that somebody waits for is taken out of `passages`."""
        if isinstance(said, Ready):
            if not self.ready.done():
                self.ready.set_result(None)
            return not passages
        is_made = isinstance(said, Connected)
        if not 0 < said.id <= self._last or len(passages) != is_made or (is_made and passages[0] is None):
            return False
        waiting = self._waiting.get(said.id)
        if waiting is not None and not waiting.done():
            waiting.set_result((said, passages.pop() if is_made else None))
        return True


def _there(room: "asyncio.Future[None]") -> None:
    if not room.done():
        room.set_result(None)


def _numbers(data: bytes) -> list[int]:
    return list(memoryview(data[: len(data) - len(data) % 4]).cast("i"))


def _passage(number: int) -> Passage | None:
    """None for what is no socket."""
    if stat.S_ISSOCK(os.fstat(number).st_mode):
        return Passage(fileno=number)
    os.close(number)
    return None


def _check(passage: Passage, said: str, to: Destination, near: Collection[Nearness]) -> None:
    """Whether it is what was asked for, by what the kernel says of it. Raises Untrusted(`egress_broker_lied`)."""
    try:
        fits = passage.family in (socket.AF_INET, socket.AF_INET6) and passage.type == socket.SOCK_STREAM
        address, port = passage.getpeername()[:2] if fits else ("", 0)
        fits = fits and address == said and port == to.port and nearness(address) in near
    except (OSError, ValueError):
        fits = False
    if not fits:
        raise Untrusted(
            "egress_broker_lied",
            f"What was handed over is no connection to {to} that was allowed.",
            "Nothing was sent. Tell whoever looks after this machine.",
        )
    passage.setblocking(False)


def _failure(said: Failed, to: Destination) -> Exception:
    match said.code:
        case "no_such_name":
            return socket.gaierror(socket.EAI_NONAME, f"there is no {to.host}")
        case "no_answer":
            return socket.gaierror(socket.EAI_AGAIN, f"no name server says where {to.host} is")
        case "refused":
            return ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens there")
        case "timed_out":
            return TimeoutError(errno.ETIMEDOUT, "it does not answer")
        case "address_refused":
            try:
                where = f"{said.detail} ({nearness(said.detail)})"
            except ValueError:
                where = "an address"
            return address_refused(to, where)
        case "busy":
            return _unavailable("It has too much to do.")
    return OSError(errno.EHOSTUNREACH, "no way leads there")


def _unavailable(why: str) -> Unavailable:
    message = "What makes connections to other machines does not run."
    return Unavailable("egress_unavailable", message, why, retry_after_s=5.0)
