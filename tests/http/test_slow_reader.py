"""A client that does not read, over real TCP: what is made for it is bounded, and in the end it loses its slot."""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from intramural.http import sse
from intramural.http.wire import OPENAI, frame

FRAME = frame({"choices": [{"delta": {"content": "x" * 200}}]})
#: The server's write buffer (64 KiB) and the kernel's two socket buffers, which Linux lets grow to some megabytes.
BOUND_BYTES = 12 * 2**20


class Endless:
    """Frames without end, as fast as they are taken."""

    def __init__(self) -> None:
        self.made_bytes = 0
        self.closed = asyncio.Event()

    async def frames(self) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                self.made_bytes += len(FRAME)
                yield FRAME
        finally:
            self.closed.set()


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[socket.socket]:
    """`app` behind uvicorn on a free port, and a client's socket with its request sent."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, loop="none", http="httptools", ws="none", lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    running = asyncio.ensure_future(server._serve([listener]))
    client = socket.create_connection(listener.getsockname())
    client.setblocking(False)
    await asyncio.get_running_loop().sock_sendall(client, b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
    try:
        yield client
    finally:
        client.close()
        server.should_exit = True
        await running
        listener.close()


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4096


async def settled(source: Endless) -> int:
    """What was made once nothing more is made."""
    await asyncio.sleep(0.05)
    before = -1
    while before != source.made_bytes or not before:
        before = source.made_bytes
        await asyncio.sleep(0.3)
    return before


async def test_what_is_made_for_a_client_that_does_not_read_is_bounded() -> None:
    source = Endless()
    stream = sse.EventStream(source.frames(), sse.Waits(), OPENAI)
    start_bytes = rss_bytes()
    async with served(stream) as client:
        stopped_at = await settled(source)
        assert stopped_at < BOUND_BYTES
        assert rss_bytes() - start_bytes < BOUND_BYTES
        loop = asyncio.get_running_loop()
        while source.made_bytes < stopped_at + 2**20:  # it goes on as soon as somebody reads
            assert await loop.sock_recv(client, 2**16)
        assert not source.closed.is_set()
    await asyncio.wait_for(source.closed.wait(), 10)


async def test_a_client_that_never_reads_loses_its_slot() -> None:
    source = Endless()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await sse.EventStream(source.frames(), sse.Waits(), OPENAI, stalled_s=0.2)(scope, receive, send)

    async with served(app):
        await asyncio.wait_for(source.closed.wait(), 20)
        assert source.made_bytes < BOUND_BYTES
