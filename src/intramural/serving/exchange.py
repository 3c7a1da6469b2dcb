"""One HTTP request and its streamed response on one fresh Unix-socket connection. Closing it is how we cancel.

Fresh because the engine closes kept-alive connections under load, and because a cancelled answer must not leave
anything behind. Written on `asyncio.Protocol` and `httptools` directly: this is the token path.
"""

import asyncio
import socket
import time
from pathlib import Path
from typing import cast

import httptools

from intramural.core.errors import Broken

#: Beyond this many unread bytes the socket is not read any further, until the reader catches up.
_HIGH_WATER_BYTES = 256 * 1024
#: Most bytes of a response that is read whole (an embedding of 8192 floats is 200 KB of JSON).
_WHOLE_LIMIT_BYTES = 64 * 2**20
#: A worker accepts within microseconds, and lets five wait for that.
_BACKLOG_PAUSE_S = 0.002


def worker_died() -> Broken:
    """The worker's connection broke: its process is gone, or going."""
    return Broken("worker_died", "The worker died while answering.", "Send the request again.")


def worker_garbage(what: str) -> Broken:
    """The worker broke its own protocol. `what` names the place, never the content."""
    return Broken("worker_garbage", f"The worker sent something that is no answer ({what}).", "Send the request again.")


def worker_stalled(stall_s: float) -> Broken:
    """The worker sent nothing for `stall_s` seconds."""
    return Broken("worker_stalled", f"The worker fell silent for {stall_s:g} s and was stopped.", "Try again.")


class Exchange(asyncio.Protocol):
    """A request on its way. Made by `ask`; read with `read` until it returns b""; always `close` it."""

    def __init__(self, stall_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._stall_s = stall_s
        self._chunks: list[bytes] = []
        self._size_bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline_s = 0.0
        self._transport: asyncio.Transport | None = None
        self._error: Broken | None = None
        self._headers_done = False
        self._complete = False

    # Reading

    async def status(self) -> int:
        """The response's status code, once its headers are in."""
        while not self._headers_done:
            self._raise_error()
            await self._wait()
        return int(self._parser.get_status_code())

    async def read(self) -> bytes:
        """The next bytes of the body; b"" at its end. Raises Broken when the worker dies, stalls or babbles."""
        while not self._chunks:
            if self._complete:
                return b""
            self._raise_error()
            await self._wait()
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        if self._size_bytes > _HIGH_WATER_BYTES and self._transport is not None:
            self._transport.resume_reading()
        self._size_bytes = 0
        return data

    async def read_all(self) -> bytes:
        """The whole body."""
        parts: list[bytes] = []
        size_bytes = 0
        while part := await self.read():
            parts.append(part)
            size_bytes += len(part)
            if size_bytes > _WHOLE_LIMIT_BYTES:
                raise worker_garbage("an answer without end")
        return b"".join(parts)

    def close(self) -> None:
        """Let go at once; the worker sees a closed connection and frees the slot."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def fail(self, error: Broken) -> None:
        """Make the reader fail with `error` as soon as it has read what is there."""
        if not self._complete and self._error is None:
            self._error = error
        self._wake()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    async def _wait(self) -> None:
        self._deadline_s = self._loop.time() + self._stall_s
        if self._timer is None:
            self._timer = self._loop.call_later(self._stall_s, self._look_at_clock)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _look_at_clock(self) -> None:
        # Armed once and moved on lazily: re-arming a timer for each token would cost more than reading it.
        self._timer = None
        if self._waiter is None:
            return
        left_s = self._deadline_s - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look_at_clock)
        else:
            self.fail(worker_stalled(self._stall_s))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without saying so

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.fail(worker_garbage("broken HTTP"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.fail(worker_died())

    # httptools

    def on_headers_complete(self) -> None:
        self._headers_done = True
        self._wake()

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._size_bytes += len(body)
        if self._size_bytes > _HIGH_WATER_BYTES and self._transport is not None:
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        self._complete = True
        self._wake()


async def ask(socket_path: Path, method: str, target: str, body: bytes = b"", *, stall_s: float) -> Exchange:
    """Connect, send, and return at once. Raises Broken(`worker_died`) if nobody listens."""
    head = (
        f"{method} {target} HTTP/1.1\r\nhost: worker\r\nconnection: close\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    data = head.encode("ascii") + body
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.setblocking(False)
        await _connect(connection, socket_path, stall_s)
        # Written before the loop takes the socket over: the worker has the request two turns of the loop sooner.
        sent = connection.send(data)
        loop = asyncio.get_running_loop()
        transport, exchange = await loop.create_unix_connection(lambda: Exchange(stall_s), sock=connection)
    except OSError as error:
        connection.close()
        raise worker_died() from error
    except BaseException:
        connection.close()
        raise
    if sent < len(data):
        transport.write(data[sent:])
    return exchange


async def _connect(connection: socket.socket, path: Path, stall_s: float) -> None:
    """To a Unix socket, which answers at once, unless too many are waiting to be accepted."""
    until_s = time.monotonic() + stall_s
    while True:
        try:
            return connection.connect(str(path))
        except BlockingIOError:
            if time.monotonic() > until_s:
                raise worker_stalled(stall_s) from None
            await asyncio.sleep(_BACKLOG_PAUSE_S)
