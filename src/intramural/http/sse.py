"""Streaming answers: frames in a dialect's own form, and noticing that the client left.

Frames: `data: …` (a JSON object) with `event: …` before it where a dialect names its events, or lines of JSON; notes of
the place in the queue while the request waits; and whatever the dialect ends with. An error before the first frame
becomes an ordinary HTTP error; after it, a frame of its own.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import suppress
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from intramural.core.errors import IntramuralError
from intramural.http.wire import Wire

T = TypeVar("T")
_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # a proxy in front must not hold tokens back
]


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

    `frames` yields ready bytes and is closed on every ending. `wire` words what all streams of a dialect share: errors
    (a status before the first frame, a frame after it), waiting, the end.
    """

    def __init__(
        self,
        frames: AsyncGenerator[bytes, None],
        waits: Waits,
        wire: Wire,
        *,
        headers: dict[str, str] | None = None,
    ) -> None:
        self._frames = frames
        self._waits = waits
        self._wire = wire
        self._extra = [(k.lower().encode(), v.encode("latin-1")) for k, v in (headers or {}).items()]
        self.background = None
        self.status_code = 200

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await until_client_leaves(receive, self._send_all(scope, receive, send))

    async def _send_all(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False
        head = [(b"content-type", self._wire.media_type), *_HEADERS, *self._extra]

        async def put(body: bytes, *, more: bool = True) -> None:
            nonlocal started
            if not started:
                started = True
                await send({"type": "http.response.start", "status": 200, "headers": head})
            await send({"type": "http.response.body", "body": body, "more_body": more})

        try:
            async for each in self._with_waits():
                await put(each)
            await put(self._wire.end, more=False)
        except IntramuralError as error:
            if not started:
                await self._wire.response(error)(scope, receive, send)
                return
            await put(self._wire.frame_error(error))
            await put(self._wire.end, more=False)
        finally:
            await self._frames.aclose()

    async def _with_waits(self) -> AsyncGenerator[bytes, None]:
        """Comments with the queue position until the first frame, then the frames."""
        first = asyncio.ensure_future(anext(self._frames))
        first.add_done_callback(lambda _: self._waits.changed.set())
        try:
            while await self._waits.changed.wait() and not first.done():
                self._waits.changed.clear()
                if note := self._wire.waiting(self._waits.position):
                    yield note
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
