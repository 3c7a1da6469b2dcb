"""Many clients of one HTTP service: kept-alive connections, whole answers or streams, and when each byte came."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httptools
import msgspec


@dataclass
class Answer:
    """What came of one request: its status, when it was sent and when data came, in seconds of `time.perf_counter`."""

    sent_s: float
    status: int = 0
    size_bytes: int = 0
    times_s: list[float] = field(default_factory=list)


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._done: asyncio.Future[Answer] | None = None
        self._answer = Answer(0.0)
        self._transport: Any = None

    async def ask(self, request: bytes) -> Answer:
        """Send `request`, whole as it goes over the wire, and wait for the end of the answer to it."""
        self._done = asyncio.get_running_loop().create_future()
        self._answer = Answer(time.perf_counter())
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(request)
        return await self._done

    def close(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(ConnectionError("the service closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._answer.times_s.append(time.perf_counter())
        self._answer.size_bytes += len(data)
        self._parser.feed_data(data)

    def on_headers_complete(self) -> None:
        self._answer.status = self._parser.get_status_code()

    def on_message_complete(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(self._answer)


def request(address: str, path: str, key: str, body: dict[str, Any]) -> bytes:
    """A POST with a bearer key, as bytes."""
    data = msgspec.json.encode(body)
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {urlsplit(address).netloc}\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


async def connect(address: str, count: int) -> list[Connection]:
    """`count` connections, made one after the other so that no queue of a listening socket is ever full."""
    loop, parts, made = asyncio.get_running_loop(), urlsplit(address), []
    for _ in range(count):
        _, connection = await loop.create_connection(Connection, parts.hostname, parts.port)
        made.append(connection)
    return made


async def press(connections: Sequence[Connection], request: bytes, lasting_s: float) -> tuple[list[Answer], float]:
    """Every connection asks again and again for `lasting_s`. Returns all answers and how long it took, in seconds."""
    answers: list[Answer] = []
    began = time.perf_counter()

    async def one(connection: Connection) -> None:
        while time.perf_counter() - began < lasting_s:
            answers.append(await connection.ask(request))

    await asyncio.gather(*(one(each) for each in connections))
    return answers, time.perf_counter() - began
