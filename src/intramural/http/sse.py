"""Streaming answers: frames in a dialect's own form, and noticing that the client left.

Frames: `data: …` (a JSON object) with `event: …` before it where a dialect names its events, or lines of JSON; notes of
the place in the queue while the request waits; a sign of life through long silences; and whatever the dialect ends
with. An error before the first byte becomes an ordinary HTTP error; after it, a frame of its own.

Backpressure: the next frame is made when the last has been taken. What a client does not read stays in the server's
write buffer (64 KiB) and in the engine's connection (`serving.exchange`), and nowhere else.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from intramural.core.errors import IntramuralError
from intramural.http import labels, replay
from intramural.http.replay import Waits as Waits
from intramural.http.wire import Wire

T = TypeVar("T")
_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # a proxy in front must not hold tokens back
]
#: Names the request in the log and in the meter.
REQUEST_ID = "X-Request-Id"
#: Where the signed record of this very answer is to be had.
RECEIPT = "X-Intramural-Receipt"
#: Where the stream can be had again from some event on, if the client wished for that.
STREAM = "X-Intramural-Stream"
#: The place in the queue, 1 being next, when a stream's headers were sent to somebody who waits.
QUEUE_POSITION = "X-Intramural-Queue-Position"
#: About how many seconds that will be, as far as can be said.
QUEUE_WAIT = "X-Intramural-Queue-Wait-Seconds"
#: A silence this long gets a sign of life: the HTML standard's advice for event streams, and well within the 30 to 60
#: seconds after which proxies give up. A model may be loading, a prompt being read, a tool call being put together.
HEARTBEAT_S = 15.0
#: A client that has taken nothing for this long counts as gone: it keeps a slot from somebody who waits. Longer than
#: a laptop takes to change its network.
STALLED_S = 120.0
#: Frames sent in one go before everything else gets a turn. Where a client takes them as fast as they are made, or has
#: left so that nothing holds them back, sending never waits by itself: a source with much at hand (a held stream that
#: is followed from its beginning) would keep the loop, and the client's leaving would not be seen before its end.
GIVE_WAY_FRAMES = 64


class EventStream(Response):
    """An ASGI response that sends frames as they come and cancels their making when the client leaves.

    `frames` yields ready bytes and is closed on every ending. `wire` words what all streams of a dialect share: errors
    (a status before the first byte, a frame after it), waiting, silence, the end. `headers` name the request
    (`X-Request-Id`), and so its receipt.
    """

    def __init__(
        self,
        frames: AsyncGenerator[bytes, None],
        waits: Waits,
        wire: Wire,
        *,
        headers: dict[str, str] | None = None,
        heartbeat_s: float = HEARTBEAT_S,
        stalled_s: float = STALLED_S,
    ) -> None:
        self._frames = frames
        self._waits = waits
        self._wire = wire
        self._own = {} if headers is None else dict(headers)
        if request_id := self._own.get(REQUEST_ID):
            self._own[RECEIPT] = receipt_path(request_id)
        self._heartbeat_s = heartbeat_s
        self._stalled_s = stalled_s
        #: Headers that are known only when the response begins.
        self.late_headers: Callable[[], Mapping[str, str]] = dict
        #: Which model writes a request's answer, known then too.
        self.written_by: Callable[[str], tuple[str, str] | None] = lambda _: None
        self.background = None
        self.status_code = 200

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._hold(scope)
        own = [(name.lower().encode(), value.encode("latin-1")) for name, value in self._own.items()]
        head = [(b"content-type", self._wire.media_type), *_HEADERS, *own]
        outlet = _Outlet(send, head, self._late, self._wire.heartbeat, self._heartbeat_s, self._stalled_s)
        try:
            await until_client_leaves(receive, self._send_all(outlet, scope, receive, send), outlet.stalled)
        finally:
            await outlet.close()

    def _late(self) -> list[tuple[bytes, bytes]]:
        known = dict(self.late_headers())
        if writer := self.written_by(self._own.get(REQUEST_ID, "")):
            known[labels.GENERATED] = labels.header(*writer)
        return [(name.lower().encode(), value.encode("latin-1")) for name, value in known.items()]

    def _hold(self, scope: Scope) -> None:
        """Read the frames through a ring that outlives this connection, where the client wished for it."""
        request_id = self._own.get(REQUEST_ID)
        if request_id and (held := replay.held(scope, request_id, self._frames, self._waits, self._wire)) is not None:
            self._frames = held.follow(0)
            self._own[STREAM] = stream_path(request_id)

    async def _send_all(self, outlet: "_Outlet", scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._send_first(outlet)
            sent = 0
            async for each in self._frames:
                await outlet.put(each)
                sent += 1
                if sent % GIVE_WAY_FRAMES == 0:
                    await asyncio.sleep(0)
            await outlet.put(self._wire.end, more=False)
        except IntramuralError as error:
            if not outlet.started:
                await outlet.close()  # it must not begin a response beside this one
                response = self._wire.response(error)
                response.headers.update(self.late_headers())
                response.headers.update({k: v for k, v in self._own.items() if k not in (RECEIPT, STREAM)})
                await response(scope, receive, send)
                return
            await outlet.put(self._wire.frame_error(error))
            await outlet.put(self._wire.end, more=False)
        finally:
            await self._frames.aclose()

    async def _send_first(self, outlet: "_Outlet") -> None:
        """Notes of the queue position until the first frame, then that."""
        first = asyncio.ensure_future(anext(self._frames))
        first.add_done_callback(lambda _: self._waits.changed.set())
        try:
            while await self._waits.changed.wait() and not first.done():
                self._waits.changed.clear()
                if note := self._wire.waiting(self._waits.position, self._waits.wait_s):
                    outlet.add_headers(self._waiting_headers())
                    await outlet.put(note)
        finally:
            if not first.done():
                first.cancel()
                with suppress(asyncio.CancelledError):
                    await first
        with suppress(StopAsyncIteration):
            await outlet.put(first.result())

    def _waiting_headers(self) -> list[tuple[bytes, bytes]]:
        found = ((QUEUE_POSITION, str(self._waits.position)), (QUEUE_WAIT, f"{self._waits.wait_s:.0f}"))
        return [(name.lower().encode(), value.encode()) for name, value in found]


class _Outlet:
    """The way to one client: begins the response with the first bytes, and keeps it alive through silences.

    One timer for the whole stream looks at the clock now and then; a frame costs no timer of its own.
    """

    def __init__(
        self,
        send: Send,
        head: list[tuple[bytes, bytes]],
        late: Callable[[], list[tuple[bytes, bytes]]],
        heartbeat: bytes,
        heartbeat_s: float,
        stalled_s: float,
    ) -> None:
        self._send = send
        self._head = head
        self._late = late
        self._heartbeat = heartbeat
        self._heartbeat_s = heartbeat_s
        self._stalled_s = stalled_s
        self._loop = asyncio.get_running_loop()
        self._sending = False
        self._since_s = self._loop.time()  # when the present sending, or the present silence, began
        self._beat: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(min(heartbeat_s, stalled_s), self._look)
        self.started = False
        #: Done once the client has taken nothing for too long.
        self.stalled: asyncio.Future[None] = self._loop.create_future()

    def add_headers(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Send these too, if none have been sent yet."""
        if not self.started:
            self._head = [*self._head, *headers]

    async def put(self, body: bytes, *, more: bool = True) -> None:
        """Hand `body` to the client; returns when there is room for more."""
        if self._beat is not None and self._beat is not asyncio.current_task():
            await self._beat
        self._sending, self._since_s = True, self._loop.time()
        if not self.started:
            self.started = True
            headers = [*self._head, *self._late()]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": body, "more_body": more})
        self._sending, self._since_s = False, self._loop.time()

    async def close(self) -> None:
        """No more signs of life."""
        self._timer.cancel()
        if self._beat is not None:
            self._beat.cancel()
            await asyncio.wait([self._beat])

    def _look(self) -> None:
        past_s = self._loop.time() - self._since_s
        limit_s = self._stalled_s if self._sending else self._heartbeat_s
        if past_s < limit_s:
            self._timer = self._loop.call_later(min(limit_s - past_s, self._heartbeat_s), self._look)
        elif self._sending:
            if not self.stalled.done():
                self.stalled.set_result(None)
        else:
            self._timer = self._loop.call_later(self._heartbeat_s, self._look)
            if self._heartbeat:
                self._beat = asyncio.ensure_future(self.put(self._heartbeat))
                self._beat.add_done_callback(self._beaten)

    def _beaten(self, _: "asyncio.Task[None]") -> None:
        self._beat = None


async def until_client_leaves(
    receive: Receive, work: Awaitable[T], stalled: "asyncio.Future[None] | None" = None
) -> T | None:
    """Await `work`; if the client goes away first, or is `stalled`, cancel it, wait until it has tidied up and return
    None."""
    me, left = asyncio.current_task(), False
    assert me is not None

    def leave(_: object) -> None:
        nonlocal left
        if not left:
            left = True
            me.cancel()

    watch = asyncio.ensure_future(_disconnected(receive))
    ends: list[asyncio.Future[Any]] = [watch] if stalled is None else [watch, stalled]
    for end in ends:
        end.add_done_callback(leave)
    try:
        result = await work
        if left:
            me.uncancel()  # it was told, and had come to its end
        return result
    except asyncio.CancelledError:
        if not left or me.uncancel():
            raise  # somebody else wants it to end
        return None
    finally:
        for end in ends:
            end.remove_done_callback(leave)
        watch.cancel()


async def _disconnected(receive: Receive) -> None:
    message: Message = {"type": "http.request"}
    while message["type"] != "http.disconnect":
        message = await receive()


async def answered(request: Request, work: Awaitable[Response], *, receipt: bool = True) -> Response:
    """`work`'s response, unless the client leaves first (then an empty one that nobody reads).

    One that says its request's identifier also says where its `receipt` is, if what was done is in the log.
    """
    response = await until_client_leaves(request.receive, work)
    if response is None:
        return Response(status_code=499)
    if receipt and (request_id := response.headers.get(REQUEST_ID)):
        response.headers[RECEIPT] = receipt_path(request_id)
    return response


def receipt_path(request_id: str) -> str:
    """Where the receipt of a request is."""
    return f"/v1/receipts/{request_id}"


def stream_path(request_id: str) -> str:
    """Where the held stream of a request is."""
    return f"/v1/streams/{request_id}"
