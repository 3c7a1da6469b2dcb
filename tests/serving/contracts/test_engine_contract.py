"""What we rely on in an engine, held against the stand-in, the simulated one, the real one, and a real one elsewhere,
alike.

Starter weights, one thread; elsewhere is a llama-server on TCP.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace
from simulate.plan import Wires
from simulate.worker import SimulatedSpawner
from tests.fakes.llama_server import llama_server, remote
from tests.fakes.spawner import PlainSpawner
from tests.serving.pools import eventually, model, request, running

from intramural.core.chat import (
    ChatRequest,
    Delta,
    Finished,
    Message,
    ResponseFormat,
    Sampling,
    Tool,
    ToolChoice,
    Usage,
)
from intramural.core.errors import Misasked
from intramural.serving import ModelToServe, Pool

pytestmark = pytest.mark.asyncio(loop_scope="module")


#: The starter's end-of-text and end-of-turn tokens: with them out of the way an answer is as long as it may be.
ENDLESS = {0: -100.0, 2: -100.0}


class Bench:
    """A pool with one model, and a look at its engine's own slots."""

    def __init__(
        self, pool: Pool, served: ModelToServe, real: bool, slots: Callable[[], Awaitable[Any]], log: Callable[[], str]
    ) -> None:
        self.pool = pool
        self.model = served
        self.real = real
        self.slots = slots
        self.log = log

    async def events(self, asked: ChatRequest) -> list[Any]:
        return [event async for event in self.pool.chat(self.model, asked)]

    async def busy(self) -> int:
        """How many slots the engine itself says are working."""
        return sum(slot["is_processing"] for slot in await self.slots())


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["stand-in", "simulated", "real", "remote"])
async def bench(request: pytest.FixtureRequest, weights: Path) -> AsyncIterator[Bench]:
    if request.param == "remote":
        async with elsewhere(weights) as found:
            yield found
        return
    real = request.param == "real"
    spawner: PlainSpawner | SimulatedSpawner = PlainSpawner(real=real, per_start=(("--tokens-per-s", "50"),))
    if request.param == "simulated":
        spawner = SimulatedSpawner(Random(0), ({"tokens_per_s": 50.0},), Wires(late_s=0.002, splits=0.5))
    served = model(slots=2, context_tokens=512, weights=weights)
    async with running(spawner) as pool:
        await pool.load(served)

        async def slots() -> Any:
            status, body = await spawner.workers[-1].ask_whole("GET", "/slots", b"", stall_s=30)
            assert status == 200
            return json.loads(body)

        yield Bench(pool, served, real, slots, spawner.processes[-1].log_tail)


@contextlib.asynccontextmanager
async def elsewhere(weights: Path) -> AsyncIterator[Bench]:
    async with llama_server(weights) as server, running(PlainSpawner()) as pool:
        served = model(slots=2, context_tokens=512, memory_bytes=0, remote=remote(server.url))
        await pool.load(served)

        async def slots() -> Any:
            return await asyncio.to_thread(server.ask, "/slots")

        # What another machine's engine logs is not ours to see: here it is what our own would.
        yield Bench(pool, served, True, slots, lambda: "")


async def test_an_answer_is_text_then_an_end_then_counts(bench: Bench) -> None:
    events = await bench.events(request("Say hi.", max_tokens=5, logit_bias=ENDLESS))
    assert [type(event) for event in events[:-2]] == [Delta] * (len(events) - 2)
    assert "".join(event.text for event in events[:-2])
    assert events[-2] == Finished(0, "length")
    assert isinstance(events[-1], Usage)
    assert events[-1].completion_tokens == 5
    assert events[-1].prompt_tokens >= 2


async def test_a_raw_prompt_is_continued(bench: Bench) -> None:
    asked = ChatRequest(id="r", model="m", prompt="One two three", sampling=Sampling(max_tokens=3, logit_bias=ENDLESS))
    events = await bench.events(asked)
    assert events[-2] == Finished(0, "length")
    assert (events[-1].prompt_tokens, events[-1].completion_tokens) == (3, 3)


async def test_token_ids_are_a_prompt_too(bench: Bench) -> None:
    sampling = Sampling(max_tokens=2, logit_bias=ENDLESS)
    events = await bench.events(ChatRequest(id="r", model="m", prompt=(40, 41, 42), sampling=sampling))
    assert (events[-1].prompt_tokens, events[-1].completion_tokens) == (3, 2)


async def test_log_probabilities(bench: Bench) -> None:
    for prompt, top in ((None, 2), (None, 0), ("One two", 1)):
        asked = request("Say hi.", max_tokens=3, logprobs=True, top_logprobs=top, temperature=0, logit_bias=ENDLESS)
        if prompt:
            asked = replace(asked, messages=(), prompt=prompt)
        tokens = [token for event in await bench.events(asked) if isinstance(event, Delta) for token in event.logprobs]
        assert 1 <= len(tokens) <= 3, "bytes of one character that come as several tokens are one entry"
        assert all(token.logprob <= 0 and token.bytes_ for token in tokens)
        assert all(len(token.top) <= top for token in tokens)


async def test_a_prompt_that_does_not_fit_is_refused_with_numbers(bench: Bench) -> None:
    for asked in (request("word " * 600), ChatRequest(id="r", model="m", prompt="word " * 600)):
        with pytest.raises(Misasked) as caught:
            await bench.events(asked)
        assert caught.value.code == "context_length_exceeded"
        assert "512" in caught.value.message
        assert await bench.busy() == 0


async def test_a_schema_that_cannot_be_enforced_is_refused(bench: Bench) -> None:
    with pytest.raises(Misasked) as caught:
        await bench.events(replace(request(), response_format=ResponseFormat("json_schema", {"type": "strin"})))
    assert caught.value.code == "invalid_schema"


async def test_a_tool_that_cannot_be_enforced_is_refused(bench: Bench) -> None:
    if not bench.real:
        return  # the stand-in knows no schemas but one
    tool = Tool("t", "", {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}})
    with pytest.raises(Misasked) as caught:
        await bench.events(replace(request(), tools=(tool,), tool_choice=ToolChoice("required")))
    assert (caught.value.code, caught.value.param) == ("invalid_schema", "tools")


async def test_a_client_that_leaves_frees_the_engines_slot_and_keeps_its_counts(bench: Bench) -> None:
    stream = bench.pool.chat(bench.model, request("Tell me a long story.", max_tokens=400, logit_bias=ENDLESS))
    for _ in range(3):
        await anext(stream)
    assert await bench.busy() == 1
    await stream.aclose()
    async with asyncio.timeout(30):
        while await bench.busy():
            await asyncio.sleep(0.01)
    assert stream.usage.prompt_tokens >= 2
    assert 3 <= stream.usage.completion_tokens < 400


async def test_leaving_while_the_prompt_is_read_frees_the_slot_too(bench: Bench) -> None:
    words = " ".join(str(number) for number in range(120))
    stream = bench.pool.chat(bench.model, request(words, max_tokens=400))
    reader = asyncio.ensure_future(anext(stream))
    await eventually(lambda: bench.pool.status().workers[0].slots_busy)
    async with asyncio.timeout(30):
        while not await bench.busy() and not reader.done():
            await asyncio.sleep(0)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    async with asyncio.timeout(30):
        while await bench.busy():
            await asyncio.sleep(0.01)


async def test_embeddings_of_texts_and_tokens(bench: Bench) -> None:
    result = await bench.pool.embed(bench.model, ["one", "one two three", (40, 41)])
    assert len(result.vectors) == 3
    assert len({len(vector) for vector in result.vectors}) == 1
    assert result.vectors[0] != result.vectors[1]
    assert result.prompt_tokens >= 6


async def test_tokens_are_counted(bench: Bench) -> None:
    assert len(await bench.pool.tokenize(bench.model, "one two three")) == 3
    assert await bench.pool.count_tokens(bench.model, request("one two three")) >= 3


async def test_a_request_sampled_twice_with_one_seed_gives_one_answer(bench: Bench) -> None:
    async def text(seed: int) -> str:
        asked = request("Invent a word.", max_tokens=8, temperature=1.5, seed=seed)
        return "".join(event.text for event in await bench.events(asked) if isinstance(event, Delta))

    first = await text(7)  # once before, so that both compared runs find the prompt's tokens in the cache
    assert await text(7) == await text(7)
    assert first


async def test_two_answers_at_once(bench: Bench) -> None:
    one, two = await asyncio.gather(
        bench.events(request("Say hi.", max_tokens=6, logit_bias=ENDLESS)),
        bench.events(request("Say bye.", max_tokens=6, logit_bias=ENDLESS)),
    )
    assert one[-1].completion_tokens == two[-1].completion_tokens == 6


async def test_nothing_that_was_said_is_in_the_log(bench: Bench) -> None:
    secret = "xylophonecanary"
    messages = (Message("user", secret),)
    await bench.events(replace(request(max_tokens=2), messages=messages))
    for wrong in ({"type": "strin", "title": secret}, {"type": "string", "pattern": secret + "("}):
        asked = replace(request(secret, max_tokens=2), response_format=ResponseFormat("json_schema", wrong))
        with contextlib.suppress(Misasked):
            await bench.events(asked)
    assert secret not in bench.log()
