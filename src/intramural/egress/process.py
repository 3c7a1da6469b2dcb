"""The broker itself: a confined process that makes TCP connections and hands them over. It reads no file, starts
nothing, listens nowhere, and sees nothing of what a connection is used for.

A name is resolved once for each request; of its addresses only those are tried that are where the request says; and
what is handed over is the very connection to the address that was looked at.
"""

import asyncio
import errno
import socket
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from intramural.egress import wire
from intramural.egress.resolver import NoAnswer, NoSuchName, resolve
from intramural.egress.rules import Nearness, nearness
from intramural.egress.wire import Cancel, Connect, Connected, Failed, Failure, Names, Ready

#: Before the next address is tried as well (RFC 8305, 5).
_NEXT_ADDRESS_S = 0.25
_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EACCES})


class _FailedError(Exception):
    def __init__(self, code: Failure, detail: str = "") -> None:
        super().__init__(code)
        self.code, self.detail = code, detail


def run(arg: Mapping[str, Any], files: Mapping[str, int]) -> None:
    """The child's entry; ends when the service closes its end."""
    socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()  # who could make none is no use: end, and say so
    with socket.socket(fileno=files["channel"]) as channel:
        channel.setblocking(False)
        asyncio.run(_Broker(channel).serve())


class _Broker:
    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._names = Names(())
        self._working: dict[int, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()
        self._over = asyncio.Event()

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._channel, self._read)
        await self._say(Ready())
        await self._over.wait()
        loop.remove_reader(self._channel)
        for task in self._working.values():
            task.cancel()

    def _read(self) -> None:
        try:
            packet = self._channel.recv(wire.MAX_BYTES)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            self._over.set()
            return
        match wire.asked(packet):
            case Connect() as wanted:
                self._working[wanted.id] = asyncio.ensure_future(self._work(wanted))
            case Cancel(id=number):
                if task := self._working.get(number):
                    task.cancel()
            case Names() as names:
                self._names = names

    async def _work(self, wanted: Connect) -> None:
        try:
            try:
                if len(self._working) > wire.MOST_AT_ONCE:
                    raise _FailedError("busy")
                async with asyncio.timeout(wanted.timeout_s):
                    made = await _connection(wanted, self._names)
            except _FailedError as failed:
                await self._say(Failed(wanted.id, failed.code, failed.detail))
            except TimeoutError:
                await self._say(Failed(wanted.id, "timed_out"))
            else:
                with made:
                    await self._say(Connected(wanted.id, made.getpeername()[0]), made)
        finally:
            del self._working[wanted.id]

    async def _say(self, said: wire.Said, beside: socket.socket | None = None) -> None:
        packet, descriptors = wire.encode(said), [] if beside is None else [beside.fileno()]
        async with self._turn:
            while True:
                try:
                    socket.send_fds(self._channel, [packet], descriptors)
                    return
                except BlockingIOError:
                    await self._writable()
                except OSError:  # nobody is there any more
                    self._over.set()
                    return

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        room: asyncio.Future[None] = loop.create_future()
        loop.add_writer(self._channel, _there, room)
        try:
            await room
        finally:
            loop.remove_writer(self._channel)


def _there(room: "asyncio.Future[None]") -> None:
    if not room.done():
        room.set_result(None)


async def _connection(wanted: Connect, names: Names) -> socket.socket:
    """Raises _FailedError."""
    addresses: Sequence[str] = wanted.addresses
    if not addresses:
        try:
            addresses = await resolve(wanted.host, names)
        except NoSuchName:
            raise _FailedError("no_such_name") from None
        except NoAnswer:
            raise _FailedError("no_answer") from None
    allowed = [each for each in addresses if _is_near(each, wanted.near)]
    if not allowed:
        raise _FailedError("address_refused", addresses[0])
    return await _first(allowed, wanted.port)


def _is_near(address: str, near: Collection[Nearness]) -> bool:
    where = nearness(address)
    return where != "never" and where in near


async def _first(addresses: Sequence[str], port: int) -> socket.socket:
    """The first that comes about; the next one is begun when one fails, or is slow (RFC 8305)."""
    waiting: set[asyncio.Task[socket.socket]] = set()
    left, last = list(addresses), _FailedError("unreachable")
    try:
        while left or waiting:
            if left:
                waiting.add(asyncio.ensure_future(_to(left.pop(0), port)))
            done, _ = await asyncio.wait(
                waiting, timeout=_NEXT_ADDRESS_S if left else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                waiting.discard(task)
                if (error := task.exception()) is None:
                    return task.result()
                last = _failure(error)
        raise last
    finally:
        for task in waiting:
            task.cancel()
        for ended in await asyncio.gather(*waiting, return_exceptions=True):
            if isinstance(ended, socket.socket):  # it came about meanwhile
                ended.close()


async def _to(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, (address, port))
    except BaseException:
        made.close()
        raise
    return made


def _failure(error: BaseException) -> _FailedError:
    if isinstance(error, ConnectionRefusedError):
        return _FailedError("refused")
    if isinstance(error, TimeoutError):  # the kernel gave up
        return _FailedError("timed_out")
    if isinstance(error, OSError):
        detail = "" if error.errno in _UNREACHABLE else errno.errorcode.get(error.errno or 0, "")
        return _FailedError("unreachable", detail)
    raise error
