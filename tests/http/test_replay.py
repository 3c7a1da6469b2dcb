"""Streams that outlive their connection: numbers, the ring's bound, who may follow, when it ends."""

import asyncio
import re
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from tests.http.test_sse import Client

from intramural.core.actor import Actor
from intramural.core.errors import Conflicting, Missing, Unavailable
from intramural.http import replay, sse
from intramural.http.wire import ANTHROPIC, OLLAMA, OPENAI, Wire

KEY = Actor("key", "person_ada", "ada", "member", frozenset({"inference"}), "key_1")
OTHER_KEY = Actor("key", "person_ada", "ada", "member", frozenset({"inference"}), "key_2")
SESSION = Actor("person", "person_ada", "ada", "member", frozenset({"inference"}), "session_1")
BOB = Actor("person", "person_bob", "bob", "member", frozenset({"inference"}), "session_2")


class Source:
    """Frames that come when told, and whether their making was ended."""

    def __init__(self, count: int, size_bytes: int = 4) -> None:
        self.count, self.size_bytes = count, size_bytes
        self.go = asyncio.Semaphore(0)
        self.made = 0
        self.closed = asyncio.Event()

    async def frames(self) -> AsyncGenerator[bytes, None]:
        try:
            for number in range(1, self.count + 1):
                await self.go.acquire()
                self.made = number
                yield b"data: %0*d\n\n" % (self.size_bytes, number)
        finally:
            self.closed.set()

    def let(self, count: int) -> None:
        for _ in range(count):
            self.go.release()


def scope(streams: replay.Streams, actor: Actor, *, wish: bool = True) -> dict[str, Any]:
    headers = [(b"x-intramural-resumable", b"1")] if wish else []
    made: dict[str, Any] = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    replay.offer(made, streams, actor)
    return made


def answer(source: Source, wire: Wire = OPENAI) -> sse.EventStream:
    return sse.EventStream(source.frames(), sse.Waits(), wire, headers={sse.REQUEST_ID: "req_1"})


def numbers(body: bytes) -> list[int]:
    return [int(n) for n in re.findall(rb"^id: (\d+)$", body, re.MULTILINE)]


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def rest(held: replay.Held, after: int) -> list[int]:
    return [number async for event in held.follow(after) for number in numbers(event)]


async def test_a_client_that_left_goes_on_where_it_was() -> None:
    streams, source, client = replay.Streams(), Source(6), Client()
    running = asyncio.ensure_future(answer(source)(scope(streams, KEY), client.receive, client.send))
    source.let(3)
    await until(lambda: numbers(client.body) == [1, 2, 3])
    assert dict(client.sent[0]["headers"])[b"x-intramural-stream"] == b"/v1/streams/req_1"
    client.leave.set()
    await running
    source.let(2)  # it goes on meanwhile
    await until(lambda: source.made == 5)
    back = Client()
    held = streams.get("req_1", KEY)
    resumed = sse.EventStream(held.follow(2), held.waits, held.wire, headers={sse.REQUEST_ID: "req_1"})
    source.let(1)
    await resumed(scope(streams, KEY), back.receive, back.send)
    assert numbers(back.body) == [3, 4, 5, 6] and back.body.endswith(b"data: [DONE]\n\n")
    assert await rest(held, 0) == [1, 2, 3, 4, 5, 6]  # what was over can be had again for a while
    await streams.close()


async def test_without_the_wish_or_the_room_for_numbers_nothing_is_held() -> None:
    for wire, wish in ((OPENAI, False), (OLLAMA, True)):
        streams, source, client = replay.Streams(), Source(3), Client()
        running = asyncio.ensure_future(
            answer(source, wire)(scope(streams, KEY, wish=wish), client.receive, client.send)
        )
        source.let(1)
        await until(lambda: client.body)  # noqa: B023 — awaited within the turn
        assert b"id: " not in client.body and b"x-intramural-stream" not in dict(client.sent[0]["headers"])
        client.leave.set()
        await running
        assert source.closed.is_set()
        with pytest.raises(Missing):
            streams.get("req_1", KEY)


async def test_several_events_in_a_frame_are_numbered_each() -> None:
    async def frames() -> AsyncGenerator[bytes, None]:
        yield b"event: a\ndata: 1\n\nevent: b\ndata: 2\n\n"

    streams, client = replay.Streams(), Client()
    stream = sse.EventStream(frames(), sse.Waits(), ANTHROPIC, headers={sse.REQUEST_ID: "req_1"})
    await stream(scope(streams, KEY), client.receive, client.send)
    assert client.body == b"id: 1\nevent: a\ndata: 1\n\nid: 2\nevent: b\ndata: 2\n\n"
    await streams.close()


async def test_the_ring_is_bounded_and_the_source_held_back() -> None:
    streams, source = replay.Streams(ring_bytes=10_000), Source(1000, 1000 - len("data: \n\n"))
    held = streams.hold("req_1", KEY, source.frames(), sse.Waits(), OPENAI)
    assert held is not None
    source.let(1000)
    await until(lambda: source.made == 11)
    for _ in range(20):
        await asyncio.sleep(0)
    assert (source.made, held.size_bytes) == (11, 10_000)  # the eleventh waits outside
    most, seen = 0, 0
    async for event in held.follow(0):
        most, seen = max(most, held.size_bytes), seen + 1
        assert numbers(event) == [seen]
    assert (seen, most) == (1000, 10_000)
    with pytest.raises(Conflicting) as error:
        await rest(held, 5)
    assert error.value.code == "events_gone"
    assert await rest(held, 995) == [996, 997, 998, 999, 1000]
    await streams.close()


async def test_events_that_never_were_are_not_waited_for() -> None:
    streams, source = replay.Streams(), Source(3)
    held = streams.hold("req_1", KEY, source.frames(), sse.Waits(), OPENAI)
    assert held is not None
    source.let(1)
    await until(lambda: source.made == 1)
    with pytest.raises(Conflicting):
        await rest(held, 7)
    await streams.close()


async def test_nobody_coming_back_ends_it() -> None:
    streams, source, client = replay.Streams(away_s=0.05), Source(9), Client()
    running = asyncio.ensure_future(answer(source)(scope(streams, KEY), client.receive, client.send))
    source.let(1)
    await until(lambda: client.body)
    client.leave.set()
    await running
    await asyncio.wait_for(source.closed.wait(), 5)
    with pytest.raises(Missing):
        streams.get("req_1", KEY)


async def test_a_client_that_never_read_is_waited_for_no_longer() -> None:
    streams, source = replay.Streams(away_s=0.05), Source(9)
    assert streams.hold("req_1", KEY, source.frames(), sse.Waits(), OPENAI) is not None
    await asyncio.sleep(0)
    source.let(1)
    await asyncio.wait_for(source.closed.wait(), 5)


async def test_cancelling_ends_it_at_once_and_tells_the_reader() -> None:
    streams, source, client = replay.Streams(), Source(9), Client()
    running = asyncio.ensure_future(answer(source)(scope(streams, KEY), client.receive, client.send))
    source.let(1)
    await until(lambda: client.body)
    await streams.cancel("req_1")
    assert source.closed.is_set()
    await running
    assert b"stream_cancelled" in client.body


async def test_only_one_follows() -> None:
    streams, source = replay.Streams(), Source(4)
    held = streams.hold("req_1", KEY, source.frames(), sse.Waits(), OPENAI)
    assert held is not None
    source.let(1)
    first = held.follow(0)
    await anext(first)
    waiting = asyncio.ensure_future(anext(first))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(rest(held, 0))
    with pytest.raises(Conflicting) as error:
        await waiting
    assert error.value.code == "stream_taken_over"
    source.let(3)
    assert await second == [1, 2, 3, 4]
    await streams.close()


async def test_an_early_error_is_a_status_and_a_late_one_a_frame() -> None:
    async def frames(*, first: bool) -> AsyncGenerator[bytes, None]:
        if first:
            yield b"data: 1\n\n"
        raise Unavailable("worker_died", "It died.", "Again.")

    for first, status in ((False, 503), (True, 200)):
        streams, client = replay.Streams(), Client()
        stream = sse.EventStream(frames(first=first), sse.Waits(), OPENAI, headers={sse.REQUEST_ID: "req_1"})
        await stream(scope(streams, KEY), client.receive, client.send)
        assert client.status == status and b"worker_died" in client.body
        with pytest.raises(Unavailable):  # whoever follows later learns it too
            await rest(streams.get("req_1", KEY), 0)
        await streams.close()


async def test_whose_it_is() -> None:
    streams = replay.Streams()
    assert streams.hold("req_1", KEY, Source(1).frames(), sse.Waits(), OPENAI) is not None
    assert streams.get("req_1", SESSION) is streams.get("req_1", KEY)
    for other in (OTHER_KEY, BOB):
        with pytest.raises(Missing):
            streams.get("req_1", other)
    await streams.close()


async def test_there_are_only_so_many_and_those_that_are_over_make_way() -> None:
    streams, sources = replay.Streams(), [Source(1) for _ in range(replay.MOST_EACH + 2)]
    for number, source in enumerate(sources[:-2]):
        assert streams.hold(f"req_{number}", KEY, source.frames(), sse.Waits(), OPENAI) is not None
    assert streams.hold("req_more", SESSION, sources[-2].frames(), sse.Waits(), OPENAI) is None
    assert streams.hold("req_bob", BOB, Source(1).frames(), sse.Waits(), OPENAI) is not None
    sources[3].let(1)
    await until(sources[3].closed.is_set)
    await asyncio.sleep(0)
    assert streams.hold("req_more", SESSION, sources[-1].frames(), sse.Waits(), OPENAI) is not None
    with pytest.raises(Missing):
        streams.get("req_3", KEY)
    await streams.close()
    assert all(source.closed.is_set() or source.made == 0 for source in sources)
