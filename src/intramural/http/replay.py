"""Streams that outlive their connection, for clients that ask for it (`X-Intramural-Resumable: 1`).

Without that wish a client that leaves frees its slot at once. With it the answer goes on being written into a bounded
ring, each event under a number (`id:`), and whoever asked may come back with the last number they saw. Nothing of it
reaches a disk. Only forms of server-sent events can do this: lines of JSON have no place for a number.

Promises: a ring holds no more than `RING_BYTES`, there are no more than `MOST` of them; when a ring is full of what
nobody has taken, the engine is held back; `AWAY_S` after the last reader left the answer is cancelled and forgotten.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from itertools import islice

from starlette.types import Scope

from intramural.core.actor import Actor
from intramural.core.errors import Conflicting, IntramuralError, Missing
from intramural.http.wire import Wire

#: A stream of tokens is some 250 bytes an event: this is the whole of an answer of 16,000 tokens.
RING_BYTES = 4 * 2**20
#: Long enough to change from one network to another, short against what a slot costs those who wait.
AWAY_S = 60.0
#: Together at most 256 MiB of rings; one person's programs cannot have them all.
MOST, MOST_EACH = 64, 8
WISH = b"x-intramural-resumable"
_KEY = "intramural.streams"


class Waits:
    """Queue positions on their way from the scheduler to the stream."""

    def __init__(self) -> None:
        self.position = 0
        self.wait_s = 0.0
        self.changed = asyncio.Event()

    def __call__(self, position: int, wait_s: float = 0.0) -> None:
        self.position, self.wait_s = position, wait_s
        self.changed.set()


class Held:
    """One answer being written, whether somebody reads it or not. Made by `Streams.hold`."""

    def __init__(
        self,
        frames: AsyncGenerator[bytes, None],
        waits: Waits,
        wire: Wire,
        actor: Actor,
        *,
        ring_bytes: int,
        away_s: float,
        forget: Callable[[], None],
    ) -> None:
        """`forget` is called once nobody has read for `away_s` seconds."""
        self._waits = waits
        self.wire = wire
        self.actor = actor
        self.over = False
        self.size_bytes = 0  # of the ring, now
        self._frames = frames
        self._ring_bytes = ring_bytes
        self._away_s = away_s
        self._forget = forget
        self._ring: deque[tuple[int, bytes]] = deque()
        self._last = 0  # number of the newest event
        self._taken = 0  # up to here the present reader has taken events
        self._reader = 0  # which of the readers is the present one; those before have been replaced
        self._error: IntramuralError | None = None
        self._grown = asyncio.Event()
        self._room = asyncio.Event()
        self._left()
        self._writing = asyncio.create_task(self._write(), name="held-stream")

    def follow(self, after: int) -> AsyncGenerator[bytes, None]:
        """Events after number `after`, those to come too; the reader before is sent away.

        Raises Conflicting(`events_gone`) here and now; iterating raises what ended the answer, at its place, and
        Conflicting(`stream_taken_over`).
        """
        first = self._ring[0][0] if self._ring else self._last + 1
        if not first - 1 <= after <= self._last:
            message = f"The events after number {after} are not held."
            raise Conflicting("events_gone", message, "Ask for the answer again.", param="Last-Event-ID")
        return self._follow(after)

    async def _follow(self, after: int) -> AsyncGenerator[bytes, None]:
        self._timer.cancel()
        self._reader += 1
        mine, self._taken = self._reader, after
        self._grown.set()  # whoever followed so far sees that they no longer do
        try:
            while True:
                for number, event in self._events(self._taken):
                    yield b"id: %d\n" % number + event
                    self._still(mine)
                    self._taken = number
                    self._room.set()
                if self._taken < self._last:
                    continue
                if self.over:
                    break
                self._grown.clear()
                await self._grown.wait()
                self._still(mine)
            if self._error is not None:
                raise self._error
        finally:
            if mine == self._reader:
                self._left()

    @property
    def waits(self) -> Waits:
        """The place in the queue, for whoever follows: as long as nothing has come."""
        return self._waits if not self._last else Waits()

    async def cancel(self) -> None:
        """Stop writing; returns when the answer's ending is written down."""
        if not self.over:
            self._error = Conflicting("stream_cancelled", "The answer was cancelled.", "Ask again.")
            self._writing.cancel()
            await asyncio.wait([self._writing])
            await self._frames.aclose()  # where writing had not even begun
            self.over = True
            self._grown.set()

    def discard(self) -> None:
        """Never call `forget`: it is being forgotten."""
        self._timer.cancel()

    def _left(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._away_s, self._forget)

    def _still(self, reader: int) -> None:
        if reader != self._reader:
            raise Conflicting("stream_taken_over", "Another connection follows this stream now.", "Let that one go on.")

    def _events(self, after: int) -> list[tuple[int, bytes]]:
        """What the ring holds after that number; from its end, where a reader that keeps up is."""
        found = []
        for each in reversed(self._ring):
            if each[0] <= after:
                break
            found.append(each)
        return found[::-1]

    async def _write(self) -> None:
        try:
            async for frame in self._frames:
                for event in frame.removesuffix(b"\n\n").split(b"\n\n"):  # JSON on one line holds no empty line
                    await self._put(event + b"\n\n")
        except IntramuralError as error:
            self._error = error
        finally:
            await self._frames.aclose()
            self.over = True
            self._grown.set()

    async def _put(self, event: bytes) -> None:
        while self.size_bytes + len(event) > self._ring_bytes and self._ring:
            if self._ring[0][0] > self._taken:
                self._room.clear()
                await self._room.wait()
                continue
            self.size_bytes -= len(self._ring.popleft()[1])
        self._last += 1
        self._ring.append((self._last, event))
        self.size_bytes += len(event)
        self._grown.set()


class Streams:
    """All held streams of this process."""

    def __init__(self, *, ring_bytes: int = RING_BYTES, away_s: float = AWAY_S) -> None:
        self._ring_bytes = ring_bytes
        self._away_s = away_s
        self._held: dict[str, Held] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def hold(
        self, request_id: str, actor: Actor, frames: AsyncGenerator[bytes, None], waits: Waits, wire: Wire
    ) -> Held | None:
        """Write `frames` into a ring from now on; None where there is no room for another."""
        if request_id in self._held or not (self._room(actor.person_id, MOST_EACH) and self._room(None, MOST)):
            return None
        self._held[request_id] = Held(
            frames,
            waits,
            wire,
            actor,
            ring_bytes=self._ring_bytes,
            away_s=self._away_s,
            forget=lambda: self._end(request_id),
        )
        return self._held[request_id]

    def get(self, request_id: str, actor: Actor) -> Held:
        """Somebody's own stream: begun with the same key, or by the same person who is now
        signed in, and in the workspace that they ask in.

        Raises Missing(`stream_not_found`), also where it is another's.
        """
        held = self._held.get(request_id)
        if held is None or not _same(held.actor, actor):
            raise Missing("stream_not_found", f"There is no stream {request_id!r}.", "It may be over for a while.")
        return held

    async def cancel(self, request_id: str) -> None:
        """Stop writing it and forget it; returns when its ending is written down."""
        self._end(request_id)
        await self._ended()

    async def close(self) -> None:
        """Cancel all."""
        for request_id in list(self._held):
            self._end(request_id)
        await self._ended()

    def _end(self, request_id: str) -> None:
        held = self._held.pop(request_id, None)
        if held is not None:
            held.discard()
            task = asyncio.ensure_future(held.cancel())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _ended(self) -> None:
        if self._ending:
            await asyncio.wait(self._ending)

    def _room(self, person_id: str | None, most: int) -> bool:
        """Whether there may be one more (of that person's, or of all); those that are over make way, oldest first."""
        names = [name for name, held in self._held.items() if person_id in (None, held.actor.person_id)]
        over = (name for name in names if self._held[name].over)
        for name in islice(over, max(0, len(names) - most + 1)):
            self._end(name)
        return sum(name in self._held for name in names) < most


def _same(owner: Actor, actor: Actor) -> bool:
    if owner.whose != actor.whose:
        return False
    return actor.kind == "person" or actor.credential_id == owner.credential_id


def offer(scope: Scope, streams: Streams, actor: Actor) -> None:
    """Note in a request's scope where its stream could be held, and whose it would be."""
    scope[_KEY] = (streams, actor)


def held(scope: Scope, request_id: str, frames: AsyncGenerator[bytes, None], waits: Waits, wire: Wire) -> Held | None:
    """Hold a stream if its client wishes it, the form has room for numbers, and there is room for another."""
    if (WISH, b"1") not in scope["headers"] or not wire.media_type.startswith(b"text/event-stream"):
        return None
    streams, actor = scope.get(_KEY, (None, None))
    return None if streams is None else streams.hold(request_id, actor, frames, waits, wire)
