"""Streams: waiting comments, errors before and after the first frame, clients that leave."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from intramural.core.errors import Unavailable
from intramural.http import sse
from intramural.http.wire import ANTHROPIC, CHAT_PAGE, OLLAMA, OPENAI, PAGE, RESPONSES, Wire


class Client:
    """A client at the other end of an ASGI connection, that leaves when told."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.leave = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(m.get("body", b"") for m in self.sent)


def stream(
    frames: AsyncGenerator[bytes, None], waits: sse.Waits | None = None, wire: Wire = OPENAI, **times_s: float
) -> sse.EventStream:
    return sse.EventStream(frames, waits or sse.Waits(), wire, **times_s)


SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": []}


async def test_frames_then_the_end() -> None:
    async def frames() -> AsyncGenerator[bytes, None]:
        yield b"data: 1\n\n"
        yield b"data: 2\n\n"

    client = Client()
    await stream(frames())(SCOPE, client.receive, client.send)
    assert (client.status, client.body) == (200, b"data: 1\n\ndata: 2\n\ndata: [DONE]\n\n")


async def test_an_early_error_is_a_status() -> None:
    async def frames() -> AsyncGenerator[bytes, None]:
        raise Unavailable("queue_full", "Too many wait.", "Later.", retry_after_s=7)
        yield b""

    client = Client()
    await stream(frames())(SCOPE, client.receive, client.send)
    assert client.status == 503
    assert dict(client.sent[0]["headers"])[b"retry-after"] == b"7"


async def test_a_late_error_is_a_frame() -> None:
    async def frames() -> AsyncGenerator[bytes, None]:
        yield b"data: 1\n\n"
        raise Unavailable("worker_died", "It died.", "Again.")

    client = Client()
    await stream(frames())(SCOPE, client.receive, client.send)
    assert client.status == 200
    assert b'"code":"worker_died"' in client.body and client.body.endswith(b"data: [DONE]\n\n")


async def test_the_queue_position_is_told_while_waiting() -> None:
    waits = sse.Waits()
    go = asyncio.Event()

    async def frames() -> AsyncGenerator[bytes, None]:
        await go.wait()
        yield b"data: 1\n\n"

    client = Client()
    running = asyncio.ensure_future(stream(frames(), waits)(SCOPE, client.receive, client.send))
    for position in (3, 1):
        waits(position, 1.6 * (position - 1))
        await asyncio.sleep(0.02)
    go.set()
    await running
    assert client.body == b": waiting 3, about 3 s\n\n: waiting 1\n\ndata: 1\n\ndata: [DONE]\n\n"
    told = {name: value for name, value in client.sent[0]["headers"] if b"queue" in name}
    assert told == {b"x-intramural-queue-position": b"3", b"x-intramural-queue-wait-seconds": b"3"}


async def test_a_client_that_leaves_cancels_the_work_and_it_tidies_up() -> None:
    tidied = asyncio.Event()

    async def frames() -> AsyncGenerator[bytes, None]:
        try:
            yield b"data: 1\n\n"
            await asyncio.sleep(3600)
        finally:
            tidied.set()

    client = Client()
    running = asyncio.ensure_future(stream(frames())(SCOPE, client.receive, client.send))
    await asyncio.sleep(0.02)
    client.leave.set()
    await asyncio.wait_for(running, 5)
    assert tidied.is_set()


async def test_a_client_that_leaves_before_the_first_frame_cancels_too() -> None:
    tidied = asyncio.Event()

    async def frames() -> AsyncGenerator[bytes, None]:
        try:
            await asyncio.sleep(3600)
            yield b""
        finally:
            tidied.set()

    client = Client()
    running = asyncio.ensure_future(stream(frames())(SCOPE, client.receive, client.send))
    await asyncio.sleep(0.02)
    client.leave.set()
    await asyncio.wait_for(running, 5)
    assert tidied.is_set()


LATE = {
    "openai": (OPENAI, lambda body: json.loads(body.split(b"data: ")[1])["error"]["code"]),
    "responses": (RESPONSES, lambda body: json.loads(body.split(b"data: ")[1])["code"]),
    "anthropic": (ANTHROPIC, lambda body: json.loads(body.split(b"data: ")[1])["error"]["code"]),
    "ollama": (OLLAMA, lambda body: json.loads(body)["code"]),
    "page": (PAGE, lambda body: json.loads(body.split(b"data: ")[1])["error"]["code"]),
    "chat page": (CHAT_PAGE, lambda body: json.loads(body.split(b"data: ")[1])["error"]["code"]),
}


@pytest.mark.parametrize("name", LATE)
async def test_a_late_error_has_the_dialect_s_own_form(name: str) -> None:
    wire, code_in = LATE[name]

    async def frames() -> AsyncGenerator[bytes, None]:
        yield b"first"
        raise Unavailable("worker_died", "It died.", "Again.")

    client = Client()
    await stream(frames(), wire=wire)(SCOPE, client.receive, client.send)
    said = client.body.removeprefix(b"first").removesuffix(wire.end)
    assert client.status == 200 and code_in(said) == "worker_died"
    assert client.body.endswith(wire.end)


@pytest.mark.parametrize("wire", [OPENAI, RESPONSES, ANTHROPIC, PAGE])
async def test_silence_gets_signs_of_life_before_the_first_frame_and_after_it(wire: Wire) -> None:
    steps = [asyncio.Event(), asyncio.Event()]

    async def frames() -> AsyncGenerator[bytes, None]:
        await steps[0].wait()
        yield b"one"
        await steps[1].wait()
        yield b"two"

    client = Client()
    running = asyncio.ensure_future(stream(frames(), wire=wire, heartbeat_s=0.01)(SCOPE, client.receive, client.send))
    for step in steps:
        seen = client.body.count(wire.heartbeat)
        while client.body.count(wire.heartbeat) < seen + 2:
            await asyncio.sleep(0.005)
        step.set()
    await running
    assert client.status == 200
    assert client.body.replace(wire.heartbeat, b"") == b"onetwo" + wire.end
    assert [m["type"] for m in client.sent].count("http.response.start") == 1


async def test_a_form_without_room_for_it_stays_silent() -> None:
    async def frames() -> AsyncGenerator[bytes, None]:
        await asyncio.sleep(0.1)
        yield b"{}\n"

    client = Client()
    await stream(frames(), wire=OLLAMA, heartbeat_s=0.01)(SCOPE, client.receive, client.send)
    assert client.body == b"{}\n"


async def test_an_error_after_a_sign_of_life_is_a_frame() -> None:
    go = asyncio.Event()

    async def frames() -> AsyncGenerator[bytes, None]:
        await go.wait()
        raise Unavailable("queue_timeout", "Too long.", "Later.")
        yield b""

    client = Client()
    running = asyncio.ensure_future(stream(frames(), heartbeat_s=0.01)(SCOPE, client.receive, client.send))
    while not client.sent:
        await asyncio.sleep(0.005)
    go.set()
    await running
    assert client.status == 200 and b'"code":"queue_timeout"' in client.body


async def test_a_client_that_takes_nothing_counts_as_gone() -> None:
    tidied = asyncio.Event()

    async def frames() -> AsyncGenerator[bytes, None]:
        try:
            yield b"data: 1\n\n"
        finally:
            tidied.set()

    class Deaf(Client):
        async def send(self, message: Any) -> None:
            await asyncio.sleep(3600)

    client = Deaf()
    await asyncio.wait_for(stream(frames(), stalled_s=0.05)(SCOPE, client.receive, client.send), 5)
    assert tidied.is_set()


async def test_who_waits_for_the_work_can_be_stopped_by_others_too() -> None:
    client, tidied = Client(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            tidied.set()

    task = asyncio.create_task(sse.until_client_leaves(client.receive, work()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tidied.is_set()


async def test_after_a_client_has_left_its_task_goes_on_as_if_nothing_had_been() -> None:
    client = Client()
    client.leave.set()
    assert await sse.until_client_leaves(client.receive, asyncio.Event().wait()) is None
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_work_that_ends_all_the_same_counts() -> None:
    client = Client()
    client.leave.set()

    async def work() -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return 7
        return 0

    assert await sse.until_client_leaves(client.receive, work()) == 7
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
