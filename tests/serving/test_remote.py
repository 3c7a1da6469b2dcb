"""Engines elsewhere that misbehave: each fault has its error, and after some of them the engine is left alone."""

import asyncio
import contextlib
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from tests.fakes.llama_server import KEY, remote
from tests.fakes.remote_engine import Engine, sse
from tests.fakes.spawner import PlainSpawner
from tests.fakes.web import Reply, certificate, serving
from tests.serving.pools import eventually, model, request, running

from intramural.core.chat import (
    ChatRequest,
    Delta,
    Finished,
    Message,
    Reasoning,
    ResponseFormat,
    Thinking,
    Tool,
    ToolCallDelta,
    ToolChoice,
    Usage,
)
from intramural.core.clock import SystemClock
from intramural.core.engines import Address
from intramural.core.errors import Broken, IntramuralError, Misasked, Refused, TooLarge, Unavailable, Untrusted
from intramural.egress.rules import Destination, address_refused
from intramural.serving import ModelToServe, Owner, Pool
from intramural.serving.remote.link import Link


@dataclass
class Bench:
    pool: Pool
    engine: Engine
    model: ModelToServe

    async def events(self, asked: ChatRequest | None = None) -> list[Any]:
        return [event async for event in self.pool.chat(self.model, asked or request())]

    async def fails(self, asked: ChatRequest | None = None) -> IntramuralError:
        with pytest.raises(IntramuralError) as caught:
            await self.events(asked)
        return caught.value


@contextlib.asynccontextmanager
async def bench(
    kind: Any = "vllm", *, tls: ssl.SSLContext | None = None, settings: Any = None, memory_bytes: int = 0, **about: Any
) -> AsyncIterator[Bench]:
    engine = Engine()
    about = {"theirs": "theirs", **about}
    async with serving(engine, tls=tls) as server, running(PlainSpawner(), **(settings or {})) as pool:
        elsewhere = remote(server.url, kind, **about)
        pooling = {"chat": None, "embedding": "last", "rerank": "rank"}[elsewhere.model.purpose]
        yield Bench(pool, engine, model(memory_bytes=memory_bytes, remote=elsewhere, pooling=pooling))


async def test_a_request_reaches_it_in_its_own_words_and_the_answer_comes_back_in_ours() -> None:
    async with bench() as on:
        on.engine.reasoning = ("hm",)
        events = await on.events(request("Hi.", temperature=0.5, top_k=0, repeat_penalty=1.1, logit_bias={5: -1.0}))
        path, asked = on.engine.asked[0]
    assert events == [
        Reasoning(0, "hm"), Delta(0, "one"), Delta(0, " two"), Delta(0, " three"), Finished(0, "stop"),
        Usage(11, 4, reasoning_tokens=1),
    ]  # fmt: skip
    assert path == "/v1/chat/completions"
    assert len(asked.pop("cache_salt")) == 64
    assert asked == {
        "messages": [{"role": "user", "content": "Hi."}],
        "model": "theirs", "stream": True, "temperature": 0.5, "top_k": -1, "repetition_penalty": 1.1,
        "logit_bias": {"5": -1.0}, "stream_options": {"include_usage": True, "continuous_usage_stats": True},
    }  # fmt: skip


async def test_only_known_routes_are_asked_and_the_key_goes_in_a_header_and_no_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    async with bench() as on:
        await on.events()
        on.engine.replies = [Engine.error(401), Engine.error(500)]
        await on.fails()
        await on.fails()
        seen = on.engine.seen
    assert {(each.method, each.path) for each in seen} == {
        ("GET", "/health"), ("GET", "/v1/models"), ("POST", "/v1/chat/completions"),
    }  # fmt: skip
    assert all(each.headers["authorization"] == f"Bearer {KEY}" for each in seen)
    assert KEY not in caplog.text


async def test_it_takes_none_of_our_memory_and_says_that_it_is_not_confined() -> None:
    async with bench() as on:
        await on.pool.load(on.model)
        (worker,) = on.pool.status().workers
        assert (worker.memory_bytes, worker.rss_bytes, worker.pid, worker.threads) == (0, 0, None, 0)
        assert worker.layers == ("remote, not confined by us",)
        assert on.pool.status().planned_bytes == 0


async def test_no_more_than_its_slots_are_asked_at_once() -> None:
    async with bench() as on:
        await on.pool.load(on.model)
        on.engine.replies = [Reply(body=on.engine.body(), stall_after=200) for _ in range(2)]
        two = [asyncio.create_task(on.events()) for _ in range(2)]
        await eventually(lambda: len(on.engine.asked) == 2)
        third = asyncio.create_task(on.events())
        await eventually(lambda: on.pool.status().queued == 1)
        assert len(on.engine.asked) == 2
        for task in two:
            task.cancel()
        await asyncio.gather(*two, return_exceptions=True)
        assert (await third)[-1] == Usage(11, 3)


FAULTS: list[tuple[str, Reply, type[IntramuralError], str]] = [
    ("its own failure", Engine.error(500), Broken, "engine_failed"),
    ("a proxy before it", Reply(502, body=b"<html>Bad gateway"), Broken, "engine_failed"),
    ("our key", Engine.error(401), Broken, "engine_key_refused"),
    ("our key, forbidden", Reply(403), Broken, "engine_key_refused"),
    ("too many", Engine.error(429, "slow down", **{"Retry-After": "7"}), Unavailable, "engine_busy"),
    ("overloaded", Reply(503), Unavailable, "engine_busy"),
    ("a redirect", Reply(302, {"Location": "http://127.0.0.1:1/v1/chat/completions"}), Broken, "engine_redirects"),
    ("a redirect that keeps the method", Reply(307, {"Location": "/elsewhere"}), Broken, "engine_redirects"),
    ("another model", Engine.error(404, "The model `theirs` does not exist."), Broken, "engine_lacks_model"),
    ("no such route", Reply(404), Broken, "engine_lacks_model"),
    ("too large", Reply(413), TooLarge, "engine_refused"),
    ("our fault", Engine.error(400, "temperature must be nice"), Misasked, "engine_refused"),
    ("a detail", Engine.json({"detail": "unprocessable"}, 422), Misasked, "engine_refused"),
    ("its older words", Engine.json({"object": "error", "message": "bad"}, 400), Misasked, "engine_refused"),
    ("a schema", Engine.error(400, "xgrammar: unsupported keyword"), Misasked, "invalid_schema"),
    ("a garbage frame", Reply(body=b"data: {nonsense\n\n"), Broken, "worker_garbage"),
    ("no event stream", Reply(body=b"<html>hello</html>\n"), Broken, "worker_garbage"),
    ("a wrong shape", Reply(body=sse({"choices": [{"delta": {"content": 7}}]})), Broken, "worker_garbage"),
    ("choices nobody wants", Reply(body=sse({"choices": [{"delta": {}}, {"delta": {}}]})), Broken, "worker_garbage"),
    ("an unknown end", Reply(body=sse({"choices": [{"finish_reason": "abort"}]})), Broken, "worker_garbage"),
    ("an error in mid-stream", Reply(body=sse({"error": {"message": "x", "code": 500}})), Broken, "engine_failed"),
    ("a cut stream", Reply(body=Engine().body(), cut_after=200), Broken, "worker_died"),
    ("a stream without an end", Reply(body=Engine().body()[:200]), Broken, "worker_died"),
    ("an endless body", Reply(endless=True), Broken, "worker_garbage"),
    ("an endless error", Reply(500, endless=True), Broken, "worker_garbage"),
    ("compressed", Reply(200, {"Content-Encoding": "gzip"}, b"\x1f\x8b"), Broken, "worker_garbage"),
]  # fmt: skip


@pytest.mark.parametrize(("reply", "kind", "code"), [each[1:] for each in FAULTS], ids=[each[0] for each in FAULTS])
async def test_each_fault_has_its_error_and_the_next_request_is_well(
    reply: Reply, kind: type[IntramuralError], code: str
) -> None:
    async with bench() as on:
        on.engine.replies = [reply]
        error = await on.fails()
        assert (type(error), error.code) == (kind, code)
        assert (await on.events())[-1] == Usage(11, 3)
        assert on.pool.status().workers[0].slots_busy == 0


async def test_how_long_to_wait_is_handed_on() -> None:
    async with bench() as on:
        on.engine.replies = [Engine.error(429, "slow", **{"Retry-After": each}) for each in ("7", "999999", "soon")]
        waits = [error.retry_after_s for _ in range(3) if isinstance(error := await on.fails(), Unavailable)]
    assert waits == [7.0, 1.0, 1.0]


CONTEXT = {
    "This model's maximum context length is 512 tokens. However, you requested 700 tokens (600 in the messages, 100 in "
    "the completion).": "600",
    "This model's maximum context length is 512 tokens. However, your request has 600 input tokens.": "600",
    "You passed 413 input tokens and requested 100 output tokens. However, the model's context length is only 512 "
    "tokens": "too many",
    "The input (600 tokens) is longer than the model's context length (512 tokens).": "600",
}


@pytest.mark.parametrize("words", CONTEXT)
async def test_a_prompt_that_does_not_fit_is_said_as_ours_says_it(words: str) -> None:
    async with bench() as on:
        on.engine.replies = [Engine.error(400, words)]
        error = await on.fails()
    assert error.code == "context_length_exceeded"
    assert "512" in error.message
    assert CONTEXT[words] in error.message


async def test_silence_ends_and_is_counted() -> None:
    async with bench(settings={"stall_timeout_s": 1.0}) as on:
        on.engine.replies = [Reply(body=on.engine.body(), stall_after=0)]
        assert (await on.fails()).code == "worker_stalled"
        assert (await on.events())[-1] == Usage(11, 3)


async def test_whoever_leaves_closes_the_connection_and_keeps_the_counts() -> None:
    async with bench() as on:
        on.engine.words = ("one",) * 50
        on.engine.replies = [Reply(body=on.engine.body(), stall_after=1000)]
        stream = on.pool.chat(on.model, request())
        assert await anext(stream) == Delta(0, "one")
        await anext(stream)
        await stream.aclose()
        assert stream.usage.prompt_tokens == 11
        assert stream.usage.completion_tokens >= 2
        await eventually(lambda: on.pool.status().workers[0].slots_busy == 0)


async def test_of_an_engine_that_counts_at_the_end_pieces_are_counted_until_then() -> None:
    async with bench("openai") as on:
        on.engine.counts = False
        assert (await on.events())[-1] == Usage(11, 3)
        on.engine.replies = [Reply(body=on.engine.body(), stall_after=300)]
        stream = on.pool.chat(on.model, request())
        await anext(stream)
        await anext(stream)
        await stream.aclose()
        assert stream.usage.completion_tokens >= 2


async def test_whoever_leaves_before_anything_came_closes_the_connection_too() -> None:
    asked, closed = asyncio.Event(), asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        if line.startswith(b"POST"):  # which is never answered
            asked.set()
            while await reader.read(1 << 16):
                pass
            closed.set()
        else:
            body = json.dumps({"data": [{"id": "theirs"}]}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server, running(PlainSpawner()) as pool:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        served = model(memory_bytes=0, remote=remote(url, "vllm", theirs="theirs"))
        reader = asyncio.ensure_future(anext(pool.chat(served, request())))
        await asked.wait()
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        async with asyncio.timeout(30):
            await closed.wait()


async def test_what_is_computed_for_one_person_is_kept_apart_at_the_engine() -> None:
    ann, ben = Owner(("ann", "key-1"), tenant="ann"), Owner(("ben", "key-2"), tenant="ben")
    async with bench() as on:
        for owner in (ann, ben, structs.replace(ann, path=("ann", "key-3")), Owner(), Owner()):
            [event async for event in on.pool.chat(on.model, request(), owner=owner)]
        first, second, third, *nobody = [asked["cache_salt"] for _, asked in on.engine.asked]
    assert first == third
    assert len({first, second, *nobody}) == 4
    assert "ann" not in first


# Being left alone


async def test_after_three_failures_nobody_asks_it_until_it_is_well_again() -> None:
    async with bench() as on:
        await on.events()
        on.engine.healthy = False
        on.engine.replies = [Engine.error(500)] * 3
        codes = [(await on.fails()).code for _ in range(3)]
        assert codes == ["engine_failed"] * 3
        assert on.pool.status().workers[0].state == "resting"
        asked = len(on.engine.asked)
        await eventually(lambda: len([each for each in on.engine.seen if each.path == "/health"]) >= 3)
        async with asyncio.timeout(30):
            error = await on.fails()
            assert isinstance(error, Unavailable)
            assert error.code in ("engine_paused", "engine_unreachable")
            assert len(on.engine.asked) == asked, "no words of anybody's go to an engine that is not well"
            on.engine.healthy = True
            while True:
                try:
                    assert (await on.events())[-1] == Usage(11, 3)
                    break
                except Unavailable as error:
                    assert error.code == "engine_paused"
                    await asyncio.sleep(0.01)
        assert on.pool.status().workers[0].state == "ready"


async def test_a_failure_that_is_the_requests_leaves_it_in_use() -> None:
    async with bench() as on:
        on.engine.replies = [Engine.error(500)] * 5
        for _ in range(5):
            assert (await on.fails()).code == "engine_failed"
        assert (await on.events())[-1] == Usage(11, 3), "its health check said all along that it is well"


async def test_one_that_is_not_there_is_an_error_that_says_so_and_no_crash_of_the_model() -> None:
    async with running(PlainSpawner()) as pool:
        served = model(memory_bytes=0, remote=remote("http://127.0.0.1:1", "vllm"))
        for _ in range(5):
            with pytest.raises(Unavailable) as caught:
                await pool.load(served)
            assert caught.value.code in ("engine_unreachable", "engine_paused"), "never model_quarantined"


async def test_one_that_serves_another_model_is_not_asked() -> None:
    async with bench(theirs="mine") as on:
        error = await on.fails()
        assert error.code == "engine_lacks_model"
        assert "'theirs'" in error.hint
        assert not on.engine.asked


async def test_one_with_less_context_than_was_written_down_is_not_asked() -> None:
    async with bench() as on:
        on.engine.max_model_len = 256
        error = await on.fails()
        assert error.code == "engine_context_smaller"
        assert "256" in error.message
        assert not on.engine.asked
        on.engine.max_model_len = None  # not told
        assert (await on.events())[-1] == Usage(11, 3)


# Where it is


async def test_a_name_is_looked_up_and_a_unix_socket_is_an_address_too(tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        body = json.dumps({"data": [{"id": "theirs"}]}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    elsewhere = remote("http://127.0.0.1:1", "vllm", theirs="theirs")
    async with (
        await asyncio.start_server(connected, "127.0.0.1", 0) as tcp,
        await asyncio.start_unix_server(connected, tmp_path / "engine.sock"),
        running(PlainSpawner()) as pool,
    ):
        port = tcp.sockets[0].getsockname()[1]
        addresses = (
            Address("http", "localhost", port, "/at"),
            Address("unix", "localhost", 0, f"{tmp_path}/engine.sock"),
        )
        for name, address in zip("ab", addresses, strict=True):
            engine = replace(elsewhere.engine, name=name, address=address)
            await pool.load(model(name, memory_bytes=0, remote=replace(elsewhere, engine=engine)))
    lines = [head.decode().splitlines()[:2] for head in heads]
    assert lines == [
        ["GET /at/health HTTP/1.1", f"host: localhost:{port}"],
        ["GET /at/v1/models HTTP/1.1", f"host: localhost:{port}"],
        ["GET /health HTTP/1.1", "host: localhost"],
        ["GET /v1/models HTTP/1.1", "host: localhost"],
    ]


async def test_a_certificate_is_checked(tmp_path: Path) -> None:
    tls, public = certificate(tmp_path, "127.0.0.1")
    async with bench(tls=tls, ca_file=public) as on:
        assert (await on.events())[-1] == Usage(11, 3)
    async with bench(tls=tls) as on:
        error = await on.fails()
        assert (type(error), error.code) == (Untrusted, "engine_certificate_wrong")
        assert not on.engine.seen
    (tmp_path / "other").mkdir()
    tls, public = certificate(tmp_path / "other", "other.example")
    async with bench(tls=tls, ca_file=public) as on:
        assert (await on.fails()).code == "engine_certificate_wrong"
        assert not on.engine.seen


async def test_an_address_outside_is_not_connected_to() -> None:
    async with bench() as on:
        assert on.model.remote is not None
        engine = on.model.remote.engine

        async def refused(host: str, port: int, timeout_s: float) -> socket.socket:
            raise address_refused(Destination(host, port), "192.0.2.1 (outside)")

        with pytest.raises(Refused) as caught:
            await Link(engine, SystemClock(), refused).check(on.model.remote)
        assert caught.value.code == "engine_outside"
        assert not on.engine.seen


async def test_the_environments_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setitem(os.environ, name, "http://127.0.0.1:1")
    async with bench() as on:
        assert (await on.events())[-1] == Usage(11, 3)


# What a kind cannot do

HI = (Message("user", "Hi."),)
CANNOT: list[tuple[str, str, ChatRequest, str | None]] = [
    ("llama-server", "deterministic", structs.replace(request(seed=1), deterministic=True), "deterministic"),
    ("vllm", "deterministic", structs.replace(request(seed=1), deterministic=True), "deterministic"),
    ("vllm", "typical_p", request(typical_p=0.5), "typical_p"),
    ("vllm", "repeat_last_n", request(repeat_last_n=64), "repeat_last_n"),
    ("vllm", "suffix", ChatRequest("r", "m", prompt="a", suffix="b"), "suffix"),
    ("vllm", "logprobs of a raw prompt", structs.replace(request(logprobs=True), messages=(), prompt="a"), "logprobs"),
    ("vllm", "format of a raw prompt", ChatRequest("r", "m", prompt="a", response_format=ResponseFormat("json_object")),
     "response_format"),
    ("vllm", "a budget of thinking", structs.replace(request(), thinking=Thinking("on", budget_tokens=9)), "thinking"),
    ("sglang", "typical_p", request(typical_p=0.5), "typical_p"),
    ("openai", "top_k", request(top_k=5), "top_k"),
    ("openai", "min_p", request(min_p=0.1), "min_p"),
    ("openai", "repeat_penalty", request(repeat_penalty=1.1), "repeat_penalty"),
    ("openai", "thinking", structs.replace(request(), thinking=Thinking("off")), "thinking"),
    ("openai", "an answer begun", structs.replace(request(), messages=(*HI, Message("assistant", "H"))), "messages"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "asked", "param"), [(k, a, p) for k, _, a, p in CANNOT], ids=[f"{k}: {n}" for k, n, *_ in CANNOT]
)
async def test_what_a_kind_cannot_honour_is_refused_by_name(kind: Any, asked: ChatRequest, param: str) -> None:
    async with bench(kind, thinks="either") as on:
        error = await on.fails(asked)
        assert (type(error), error.code, error.param) == (Misasked, "engine_cannot", param)
        assert kind in error.message
        assert not on.engine.asked


async def test_thinking_is_said_to_the_kinds_that_take_it() -> None:
    async with bench("vllm", thinks="either", efforts=True) as on:
        await on.events(structs.replace(request(), thinking=Thinking("off")))
        assert on.engine.asked[0][1]["chat_template_kwargs"] == {"enable_thinking": False, "thinking": False}
    async with bench("openai", thinks="either", efforts=True) as on:
        await on.events(structs.replace(request(), thinking=Thinking(effort="low")))
        assert on.engine.asked[0][1]["reasoning_effort"] == "low"


async def test_an_answer_that_is_begun_is_gone_on_with() -> None:
    async with bench("vllm") as on:
        await on.events(structs.replace(request(), messages=(*HI, Message("assistant", "H"))))
        asked = on.engine.asked[0][1]
    assert (asked["continue_final_message"], asked["add_generation_prompt"]) == (True, False)


async def test_a_format_goes_out_as_they_take_it_and_is_checked_when_it_comes_back() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    wanted = structs.replace(request(), response_format=ResponseFormat("json_schema", schema))
    async with bench("openai") as on:
        on.engine.words = ('{"a":', " 3}")
        events = await on.events(wanted)
        assert "".join(each.text for each in events if isinstance(each, Delta)) == '{"a": 3}'
        _, asked = on.engine.asked[0]
        assert asked["response_format"]["type"] == "json_schema"
        assert "grammar" not in asked
        on.engine.words = ('{"a": "no number"}',)
        assert (await on.fails(wanted)).code == "answer_outside_schema"
        on.engine.words = ("Sure! Here it is",)
        assert (await on.fails(wanted)).code == "invalid_schema"


TOOL = Tool("weather", "", {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})


async def test_calls_that_the_engine_reads_are_checked_and_handed_on() -> None:
    async with bench(tools=True) as on:
        call = {
            "index": 0,
            "id": "x",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city": "Ulm"}'},
        }
        frames = sse(
            {"choices": [{"delta": {"tool_calls": [call]}}]},
            {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
            {"choices": [], "usage": Engine.usage(5)}, "[DONE]",
        )  # fmt: skip
        on.engine.replies = [Reply(body=frames)]
        events = await on.events(structs.replace(request(), tools=(TOOL,)))
        (made,) = [each for each in events if isinstance(each, ToolCallDelta)]
        assert (made.name, json.loads(made.arguments)) == ("weather", {"city": "Ulm"})
        assert on.engine.asked[0][1]["tools"][0]["function"]["name"] == "weather"


async def test_where_the_engine_reads_no_calls_tools_are_described_and_held_to_a_form() -> None:
    async with bench() as on:
        on.engine.words = ('{"tool_calls": [{"name": "weather", "arguments": {"city": "Ulm"}}]}',)
        events = await on.events(structs.replace(request(), tools=(TOOL,), tool_choice=ToolChoice("required")))
        (made,) = [each for each in events if isinstance(each, ToolCallDelta)]
        asked = on.engine.asked[0][1]
    assert json.loads(made.arguments) == {"city": "Ulm"}
    assert "tools" not in asked
    assert asked["response_format"]["type"] == "json_schema"
    assert asked["messages"][0]["role"] == "system"


async def test_vectors_are_brought_to_length_one() -> None:
    async with bench(purpose="embedding") as on:
        found = await on.pool.embed(on.model, ["a", "b"])
        assert on.engine.asked[0][1] == {"model": "theirs", "input": ["a", "b"]} or len(on.engine.asked) == 2
    assert found.vectors[0] == pytest.approx((0.6, 0.8))
    assert found.prompt_tokens >= 7


async def test_ranks_come_in_the_documents_order() -> None:
    async with bench(purpose="rerank") as on:
        found = await on.pool.rerank(on.model, "q", ["a", "b"])
    assert (found.scores, found.prompt_tokens) == ((0.5, 0.6), 9)


async def test_tokens_are_counted_where_the_kind_can() -> None:
    async with bench() as on:
        assert await on.pool.count_tokens(on.model, request("Hi.")) == 5
        assert on.engine.asked[0] == (
            "/tokenize",
            {"messages": [{"role": "user", "content": "Hi."}], "model": "theirs"},
        )
    async with bench("openai") as on:
        with pytest.raises(Misasked) as caught:
            await on.pool.count_tokens(on.model, request("Hi."))
        assert caught.value.code == "engine_cannot"
