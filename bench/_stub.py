"""An engine that costs next to nothing: what is measured against it is what stands before it.

    python -m bench._stub WHERE --tokens-per-s RATE      (WHERE: the path of a Unix socket, or a TCP port on loopback)

It answers any chat with `max_tokens` words. A stream comes a word a write, as fast as it is read, or with `seed: 1` at
RATE; a whole answer at once. Frames are made once, so that the stub takes some 20 µs of processor a frame.
"""

import argparse
import asyncio
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import httptools
import uvloop

PROMPT_TOKENS = 12
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/event-stream\r\n\r\n"
#: What an engine says besides answers.
_OTHERS: dict[bytes, object] = {
    b"/health": {"status": "ok"},
    b"/slots": [],
    b"/props": {"chat_template": "{{ messages }}", "chat_template_caps": {}},
}


class Stub(asyncio.Protocol):
    """One connection: request after request."""

    def __init__(self, tokens_per_s: float) -> None:
        self._slow_s = 1 / tokens_per_s
        self._pause_s = 0.0
        self._parser = httptools.HttpRequestParser(self)
        self._target, self._body = b"", b""
        self._frames: Iterator[bytes] = iter(())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._loop = asyncio.get_running_loop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._frames = iter(())

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._target, self._body = url, b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if not self._target.endswith(b"/completions"):
            self._transport.write(_message(_OTHERS.get(self._target, {})))
            return
        asked = json.loads(self._body)
        count = asked.get("max_tokens") or asked.get("max_completion_tokens") or 16
        if not asked.get("stream"):
            self._transport.write(_answer(count))
            return
        self._transport.write(_STREAM_HEAD)
        self._frames = iter(_stream(count))
        self._pause_s = self._slow_s if asked.get("seed") == 1 else 0.0
        self._next()

    def _next(self) -> None:
        frame = next(self._frames, None)
        if frame is None or self._transport.is_closing():
            return
        self._transport.write(frame)
        self._loop.call_later(self._pause_s, self._next) if self._pause_s else self._loop.call_soon(self._next)


def _message(value: object) -> bytes:
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


_CHUNK = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "stub"}


def _usage(count: int) -> dict[str, int]:
    return {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": count, "total_tokens": PROMPT_TOKENS + count}


@lru_cache
def _answer(count: int) -> bytes:
    message = {"role": "assistant", "content": " ".join(f"word{place}" for place in range(count))}
    choices = [{"index": 0, "message": message, "finish_reason": "length"}]
    return _message({**_CHUNK, "object": "chat.completion", "choices": choices, "usage": _usage(count)})


@lru_cache
def _stream(count: int) -> list[bytes]:
    frames = [_frame({"role": "assistant", "content": None}, 0)]
    frames += [_frame({"content": f" word{place}"}, place + 1) for place in range(count)]
    last = {**_CHUNK, "choices": [], "usage": _usage(count), "timings": _timings(count)}
    return [*frames, _frame({}, count, "length"), _chunk(json.dumps(last)) + _chunk("[DONE]") + b"0\r\n\r\n"]


def _frame(delta: Mapping[str, str | None], count: int, reason: str | None = None) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
    return _chunk(json.dumps({**_CHUNK, "choices": choices, "timings": _timings(count)}, separators=(",", ":")))


def _timings(count: int) -> dict[str, float]:
    return {"cache_n": 0, "prompt_n": PROMPT_TOKENS, "prompt_ms": 1.0, "predicted_n": count, "predicted_ms": 1.0}


def _chunk(data: str) -> bytes:
    line = f"data: {data}\n\n".encode()
    return f"{len(line):x}\r\n".encode() + line + b"\r\n"


async def serve(where: str, tokens_per_s: float) -> None:
    loop = asyncio.get_running_loop()
    if where.isdigit():
        server = await loop.create_server(lambda: Stub(tokens_per_s), "127.0.0.1", int(where), backlog=1024)
    else:
        server = await loop.create_unix_server(lambda: Stub(tokens_per_s), where, backlog=1024)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("where")
    parser.add_argument("--tokens-per-s", type=float, default=2.0)
    told, _ = parser.parse_known_args()  # what an engine is told besides makes no difference here
    uvloop.run(serve(told.where, told.tokens_per_s))


if __name__ == "__main__":
    main()
