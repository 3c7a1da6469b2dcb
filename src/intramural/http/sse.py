"""Streaming answers: server-sent events, and noticing that the client left.

Frames: `data: …` (a JSON object), `event: …` before it where a dialect names its events, `: waiting N` comments while
the request is queued, and whatever `end` the dialect closes with. An error before the first frame becomes an ordinary
HTTP error; after it, a frame of its own.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from intramural.core.errors import IntramuralError

T = TypeVar("T")
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # a proxy in front must not hold tokens back
]


def frame(value: Any, event: str | None = None) -> bytes:
    """One `data:` frame holding `value` as JSON."""
    head = b"" if event is None else b"event: " + event.encode() + b"\n"
    return head + b"data: " + msgspec.json.encode(value) + b"\n\n"


class Waits:
    """Queue positions on their way from the scheduler to the stream."""

    def __init__(self) -> None:
        self.position = 0
        self.changed = asyncio.Event()

    def __call__(self, position: int) -> None:
        self.position = position
        self.changed.set()


class EventStream(Response):
    """An ASGI response that sends frames as they come and cancels their making when the client leaves.

    `frames` yields ready bytes and is closed on every ending. `error_frame` writes an error that comes too late for a
    status, `error_response` one that comes in time.
    """

    def __init__(
        self,
        frames: AsyncGenerator[bytes, None],
        waits: Waits,
        *,
        end: bytes,
        error_frame: Callable[[IntramuralError], bytes],
        error_response: Callable[[IntramuralError], Response],
        headers: dict[str, str] | None = None,
    ) -> None:
        self._frames = frames
        self._waits = waits
        self._end = end
        self._error_frame = error_frame
        self._error_response = error_response
        self._extra = [(k.lower().encode(), v.encode("latin-1")) for k, v in (headers or {}).items()]
        self.background = None
        self.status_code = 200

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await until_client_leaves(receive, self._send_all(scope, receive, send))

    async def _send_all(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def put(body: bytes, *, more: bool = True) -> None:
            nonlocal started
            if not started:
                started = True
                await send({"type": "http.response.start", "status": 200, "headers": _HEADERS + self._extra})
            await send({"type": "http.response.body", "body": body, "more_body": more})

        try:
            async for each in self._with_waits():
                await put(each)
            await put(self._end, more=False)
        except IntramuralError as error:
            if not started:
                await self._error_response(error)(scope, receive, send)
                return
            await put(self._error_frame(error))
            await put(self._end, more=False)
        finally:
            await self._frames.aclose()

    async def _with_waits(self) -> AsyncGenerator[bytes, None]:
        """Comments with the queue position until the first frame, then the frames."""
        first = asyncio.ensure_future(anext(self._frames))
        first.add_done_callback(lambda _: self._waits.changed.set())
        try:
            while await self._waits.changed.wait() and not first.done():
                self._waits.changed.clear()
                yield f": waiting {self._waits.position}\n\n".encode()
            with suppress(StopAsyncIteration):
                yield first.result()
        finally:
            if not first.done():
                first.cancel()
                with suppress(asyncio.CancelledError):
                    await first
        async for each in self._frames:
            yield each


async def until_client_leaves(receive: Receive, work: Awaitable[T]) -> T | None:
    """Await `work`; if the client goes away first, cancel it, wait until it has tidied up and return None."""
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait((task, watch), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        watch.cancel()
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _disconnected(receive: Receive) -> None:
    message: Message = {"type": "http.request"}
    while message["type"] != "http.disconnect":
        message = await receive()


async def answered(request: Request, work: Awaitable[Response]) -> Response:
    """`work`'s response, unless the client leaves first (then an empty one that nobody reads)."""
    response = await until_client_leaves(request.receive, work)
    return response if response is not None else Response(status_code=499)
