"""What is written in one turn of the loop goes out in one piece, in order, and nothing of it is lost or kept long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send

from intramural.http.gathered import Gathered, GatheringProtocol


class Transport:
    """Writes down what it is given."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def made() -> tuple[Transport, Any]:
    transport: Any = Transport()
    return transport, Gathered(transport)


async def test_one_turn_is_one_write() -> None:
    transport, gathered = made()
    gathered.write(b"head")
    gathered.write(b"body")
    assert transport.written == []
    await asyncio.sleep(0)
    gathered.write(b"next")
    await asyncio.sleep(0)
    assert transport.written == [b"headbody", b"next"]


async def test_much_is_not_held_back() -> None:
    transport, gathered = made()
    gathered.write(b"a")
    gathered.write(b"b" * 100_000)
    assert transport.written == [b"a" + b"b" * 100_000]
    await asyncio.sleep(0)
    assert len(transport.written) == 1


async def test_what_was_given_goes_before_the_end() -> None:
    transport, gathered = made()
    gathered.write(b"last")
    gathered.close()
    assert (transport.written, transport.closed, gathered.is_closing()) == ([b"last"], True, True)
    await asyncio.sleep(0)
    assert transport.written == [b"last"]


async def test_nothing_is_written_to_a_connection_that_is_gone() -> None:
    transport, gathered = made()
    gathered.write(b"late")
    transport.closed = True
    await asyncio.sleep(0)
    assert transport.written == []


async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"body"})


@asynccontextmanager
async def served() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to uvicorn with this protocol."""
    config = uvicorn.Config(app, http=GatheringProtocol, ws="none", lifespan="off", log_level="warning")
    config.load()
    state = uvicorn.server.ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: GatheringProtocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    try:
        yield reader, writer
    finally:
        writer.close()
        server.close()


async def test_answers_of_a_kept_connection_come_whole_and_in_order() -> None:
    async with served() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" * 3)
        for _ in range(3):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(4) == b"body"


async def test_the_last_answer_comes_before_the_connection_is_closed() -> None:
    async with served() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"\r\n\r\nbody")
