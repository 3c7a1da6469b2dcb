"""A stand-in engine: a real process that speaks the engine's HTTP on a Unix socket, and misbehaves on request.

    python -m tests.fakes.engine SOCKET [knobs]

    --die-at-start --hang-at-start --slow-start S --ignore-sigterm
    --die-after-tokens N --stall-after-tokens N --garbage http|frame|shape|endless
    --memory-limit-after-tokens N
    --tokens-per-s R --slots N --context N --answer TEXT --script JSON --thinks never|always|either
    --degrees --tools --forced TEXT --counts-times X

It counts a word as a token and answers "word0 word1 …" (or `--script`, a list of deltas, one a token; or `--forced`,
where it is held to a schema). It offers `/slots`, so that tests can see what is really busy.
`tests/serving/contracts` holds it to the same tests as the real engine.
"""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

Json = dict[str, Any]
#: What it exits with when the kernel refuses it memory.
OUT_OF_MEMORY = 12


class Engine:
    """The engine's state: its knobs and which slots are busy."""

    def __init__(self, knobs: argparse.Namespace) -> None:
        self.knobs = knobs
        self.free = asyncio.Semaphore(knobs.slots)
        self.busy = 0
        self.written_bytes = 0
        self.ready_at = self.now_s() + knobs.slow_start

    # What another kind of stand-in does otherwise: see `simulate.worker`

    def now_s(self) -> float:
        return time.monotonic()

    def die(self) -> None:
        """At once, as of a mistake."""
        os.kill(os.getpid(), signal.SIGSEGV)

    def words(self, body: Json) -> list[str]:
        """What it would answer, if it might be as long as it liked."""
        return (self.knobs.answer or " ".join(f"word{i}" for i in range(10_000))).split(" ")

    @contextlib.asynccontextmanager
    async def slot(self, body: Json) -> AsyncIterator[None]:
        """A slot for a generation."""
        async with self.free:
            self.busy += 1
            try:
                yield
            finally:
                self.busy -= 1

    async def serve(self) -> None:
        server = await asyncio.start_unix_server(self.connected, self.knobs.socket)
        async with server:
            await server.serve_forever()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            length = 0
            while (header := await reader.readline()).strip():
                name, _, value = header.decode().partition(":")
                length = int(value) if name.lower() == "content-length" else length
            body = json.loads(await reader.readexactly(length) or b"{}")
            target = line.split()[1].decode()
            work = asyncio.ensure_future(self.answer(target, body, writer))
            gone = asyncio.ensure_future(reader.read(1))  # the client never sends more: a byte or an end is the end
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            work.cancel()
            gone.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
        except (ConnectionError, asyncio.IncompleteReadError, IndexError, ValueError):
            pass
        finally:
            writer.close()

    async def answer(self, target: str, body: Json, writer: asyncio.StreamWriter) -> None:
        if target == "/health":
            if time.monotonic() < self.ready_at:
                return self.whole(writer, 503, {"error": {"code": 503, "message": "Loading model", "type": "x"}})
            return self.whole(writer, 200, {"status": "ok"})
        if target == "/slots":
            slots = [{"id": i, "is_processing": i < self.busy} for i in range(self.knobs.slots)]
            return self.whole(writer, 200, slots)
        if target == "/props":
            tools = self.knobs.tools
            caps = {
                "supports_reasoning_effort": self.knobs.degrees,
                "supports_tools": tools,
                "supports_tool_calls": tools,
            }
            return self.whole(writer, 200, {"chat_template": "{{ messages }}", "chat_template_caps": caps})
        if target == "/written":  # how far it came, for tests of a reader who does not read
            return self.whole(writer, 200, {"bytes": self.written_bytes})
        if target == "/tokenize":
            words = body["content"].split()
            ids: list[Any] = [len(word) for word in words]
            if body.get("with_pieces"):
                ids = [{"id": number, "piece": word} for number, word in zip(ids, words, strict=True)]
            return self.whole(writer, 200, {"tokens": ids})
        if target == "/v1/chat/completions/input_tokens":
            return self.whole(writer, 200, {"input_tokens": len(self.rendered(body).split())})
        if target == "/apply-template":
            return self.whole(writer, 200, {"prompt": self.rendered(body)})
        if target == "/v1/embeddings":
            return await self.embed(body, writer)
        return await self.generate(target, body, writer)

    def rendered(self, body: Json) -> str:
        text = " ".join(m["content"] for m in body["messages"])
        thinking = (body.get("chat_template_kwargs") or {}).get("enable_thinking", True)
        opened = self.knobs.thinks == "always" or (self.knobs.thinks == "either" and thinking)
        return f"{text} <think>" if opened else text

    async def embed(self, body: Json, writer: asyncio.StreamWriter) -> None:
        async with self.free:
            tokens = len(body["input"].split()) if isinstance(body["input"], str) else len(body["input"])
            vector = [1.0, float(tokens), 0.5]
        self.whole(writer, 200, {"data": [{"embedding": vector}], "usage": {"prompt_tokens": tokens}})

    async def generate(self, target: str, body: Json, writer: asyncio.StreamWriter) -> None:
        prompt = body["prompt"] if "prompt" in body else " ".join(m["content"] for m in body["messages"])
        tokens = len(prompt.split()) if isinstance(prompt, str) else len(prompt)
        schema = (body.get("response_format") or {}).get("json_schema", {}).get("schema", {})
        refused = any("x-refused" in tool["function"]["parameters"] for tool in body.get("tools", ()))
        if refused or schema.get("type") == "strin":
            message = "Automatic parser generation failed: JSON schema error at #: unrecognized type strin"
            error = {"code": 400, "message": message, "type": "invalid_request_error"}
            return self.whole(writer, 400, {"error": error})
        if tokens > self.knobs.context:
            message = f"request ({tokens} tokens) exceeds the available context size"
            error = {"code": 400, "message": message, "type": "exceed_context_size_error"}
            error |= {"n_prompt_tokens": tokens, "n_ctx": self.knobs.context}
            return self.whole(writer, 400, {"error": error})
        async with self.slot(body):
            return await self.stream(target.endswith("chat/completions"), body, tokens, writer)

    async def stream(self, chat: bool, body: Json, prompt_tokens: int, writer: asyncio.StreamWriter) -> None:
        if self.knobs.garbage == "http":
            writer.write(b"HELLO I AM NO SERVER\r\n\r\n")
            return
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n")
        if chat:
            progress = {"total": prompt_tokens, "cache": 0, "processed": prompt_tokens, "time_ms": 1}
            self.frame(writer, {"choices": [self.piece(chat, None)], "prompt_progress": progress})
        forced = ("response_format" in body or "grammar" in body) and self.knobs.forced
        begun = body.get("prompt") if not chat else body["messages"][-1]["content"]
        begun = begun if isinstance(begun, str) and (not chat or body["messages"][-1]["role"] == "assistant") else ""
        words = forced.split(" ") if forced else self.words(body)
        script = [{"content": word if place == 0 else " " + word} for place, word in enumerate(words)]
        script = json.loads(self.knobs.script) if self.knobs.script and not forced else script
        limit = body.get("max_tokens") or max(16, len(json.loads(self.knobs.script or "[]")))
        count = 0
        whole = "".join(delta.get("content", "") for delta in script[:2000])
        past = next((n for n in range(min(len(begun), len(whole)), 0, -1) if whole.startswith(begun[-n:])), 0)
        while past > 0 and script:  # it goes on where the answer that is begun ends
            past -= len(script.pop(0).get("content", "")) or past
        for delta in script[:limit]:
            await self.misbehave(count, writer)
            await asyncio.sleep(1 / self.knobs.tokens_per_s)
            count += 1
            text = delta.get("content", "")
            choice = self.piece(chat, text)
            if chat:
                choice["delta"] = delta
            if "n_probs" in body or body.get("logprobs"):
                one = {"token": text, "logprob": -0.5, "bytes": list(text.encode())}
                choice["logprobs"] = {"content": [{**one, "top_logprobs": [{**one, "top_logprobs": []}]}]}
            self.frame(writer, {"choices": [choice], "timings": self.timings(prompt_tokens, count)})
            await writer.drain()
        reason = "length" if len(script) > limit else "stop"
        usage = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": int(count * self.knobs.counts_times),
            "prompt_tokens_details": {"cached_tokens": 0},
        }
        last = {"choices": [{**self.piece(chat, None), "finish_reason": reason}]}
        self.frame(writer, last)
        self.frame(writer, {"choices": [], "usage": usage, "timings": self.timings(prompt_tokens, count)})
        self.chunk(writer, b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def misbehave(self, count: int, writer: asyncio.StreamWriter) -> None:
        if count == self.knobs.die_after_tokens:
            await writer.drain()
            self.die()
        if count == self.knobs.memory_limit_after_tokens:
            await writer.drain()
            resource.setrlimit(resource.RLIMIT_DATA, (1 << 20, 1 << 20))
            try:
                self.taken = bytearray(1 << 30)
            except MemoryError:
                os._exit(OUT_OF_MEMORY)
        if count == self.knobs.stall_after_tokens:
            await asyncio.sleep(3600)
        if count == 2 and self.knobs.garbage == "frame":
            self.chunk(writer, b"data: {this is no json\n\n")
        if count == 2 and self.knobs.garbage == "shape":
            self.chunk(writer, b'data: {"choices": [{"delta": {"content": 7}}]}\n\n')
        if count == 2 and self.knobs.garbage == "endless":
            while True:
                self.chunk(writer, b"x" * 65536)
                await writer.drain()

    def piece(self, chat: bool, text: str | None) -> Json:
        choice: Json = {"index": 0, "finish_reason": None}
        if chat:
            choice["delta"] = {"content": text} if text is not None else {}
        else:
            choice["text"] = text or ""
        return choice

    def timings(self, prompt_tokens: int, count: int) -> Json:
        return {
            "cache_n": 0,
            "prompt_n": prompt_tokens,
            "prompt_ms": 1.0,
            "predicted_n": int(count * self.knobs.counts_times),
            "predicted_ms": count * 1000 / self.knobs.tokens_per_s,
        }

    def frame(self, writer: asyncio.StreamWriter, value: Json) -> None:
        self.chunk(writer, b"data: " + json.dumps(value).encode() + b"\n\n")

    def chunk(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        self.written_bytes += len(data)
        writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def whole(self, writer: asyncio.StreamWriter, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


def knobs(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("socket")
    parser.add_argument("--die-after-tokens", type=int, default=-1)
    parser.add_argument("--memory-limit-after-tokens", type=int, default=-1)
    parser.add_argument("--stall-after-tokens", type=int, default=-1)
    parser.add_argument("--garbage", choices=("http", "frame", "shape", "endless"))
    parser.add_argument("--slow-start", type=float, default=0.0)
    parser.add_argument("--hang-at-start", action="store_true")
    parser.add_argument("--die-at-start", action="store_true")
    parser.add_argument("--ignore-sigterm", action="store_true")
    parser.add_argument("--tokens-per-s", type=float, default=500.0)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--answer")
    parser.add_argument("--forced")
    parser.add_argument("--script")
    parser.add_argument("--thinks", choices=("never", "always", "either"), default="never")
    parser.add_argument("--counts-times", type=float, default=1.0)
    parser.add_argument("--degrees", action="store_true")
    parser.add_argument("--tools", action="store_true")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    chosen = knobs(arguments)
    if chosen.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if chosen.die_at_start:
        print("cannot load these weights", file=sys.stderr)
        sys.exit(3)
    if chosen.hang_at_start:
        signal.pause()
    asyncio.run(Engine(chosen).serve())


if __name__ == "__main__":
    main(sys.argv[1:])
