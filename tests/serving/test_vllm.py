"""A real vLLM, where there is one: `INTRAMURAL_TEST_VLLM="http://127.0.0.1:8000 KEY MODEL"` names it.

Any model will do, also one of random weights (`--load-format dummy`): nothing here depends on what it says. It has to
have been started with `--max-model-len 1024`, and its `/metrics` must be open.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import requests
from msgspec.structs import replace
from tests.fakes.llama_server import remote
from tests.fakes.spawner import PlainSpawner
from tests.serving.pools import model, request, running

from intramural.core.chat import ChatRequest, Delta, Finished, Message, ResponseFormat, Sampling, Usage
from intramural.core.errors import Broken, Misasked
from intramural.serving import ModelToServe, Pool

WHERE = os.environ.get("INTRAMURAL_TEST_VLLM", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not WHERE, reason="INTRAMURAL_TEST_VLLM names no vLLM: it is 3.5 GB that few machines have"),
]
URL, KEY, THEIRS = WHERE.split() if WHERE else ("", "", "")


def served(key: str = KEY, theirs: str = THEIRS) -> ModelToServe:
    about: dict[str, Any] = {"theirs": theirs, "context_tokens": 1024, "slots": 4}
    return model(memory_bytes=0, remote=remote(URL, "vllm", key=key, **about), pooling=None)


@pytest_asyncio.fixture
async def pool() -> AsyncIterator[Pool]:
    async with running(PlainSpawner()) as started:
        yield started


async def events(pool: Pool, asked: ChatRequest) -> list[Any]:
    return [event async for event in pool.chat(served(), asked)]


async def test_an_answer_is_text_then_an_end_then_the_engines_counts(pool: Pool) -> None:
    everything = {"temperature": 0.7, "top_p": 0.9, "top_k": 0, "min_p": 0.05, "repeat_penalty": 1.1, "seed": 1}
    found = await events(pool, request("Hi.", max_tokens=8, **everything))
    assert isinstance(found[-2], Finished)
    assert isinstance(found[-1], Usage)
    assert 1 <= found[-1].completion_tokens <= 8
    assert found[-1].prompt_tokens > 0


@pytest.mark.parametrize("prompt", ["one two", (40, 41, 42)])
async def test_a_raw_prompt_is_continued(pool: Pool, prompt: Any) -> None:
    found = await events(pool, ChatRequest("r", "m", prompt=prompt, sampling=Sampling(max_tokens=4)))
    assert found[-1].completion_tokens <= 4


async def test_log_probabilities(pool: Pool) -> None:
    found = await events(
        pool, request("Hi.", max_tokens=16, seed=1, logprobs=True, top_logprobs=2, logit_bias={2: -100.0})
    )
    tokens = [token for event in found if isinstance(event, Delta) for token in event.logprobs]
    assert tokens and all(token.logprob <= 0 and len(token.top) <= 2 for token in tokens)


async def test_a_prompt_that_does_not_fit_is_said_as_ours_says_it(pool: Pool) -> None:
    with pytest.raises(Misasked) as caught:
        await events(pool, request("word " * 3000, max_tokens=4))
    assert caught.value.code == "context_length_exceeded"
    assert "1024" in caught.value.message


async def test_an_answer_is_held_to_json(pool: Pool) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]}
    wanted = ResponseFormat("json_schema", {**schema, "additionalProperties": False})
    asked = replace(request("Hi.", max_tokens=400, temperature=0), response_format=wanted)
    found = await events(pool, asked)  # which checks it: what does not fit raises
    assert isinstance(found[-1], Usage)


async def test_an_answer_that_is_begun_is_gone_on_with(pool: Pool) -> None:
    messages = (Message("user", "Hi."), Message("assistant", "He"))
    assert (await events(pool, replace(request(max_tokens=4), messages=messages)))[-1].completion_tokens <= 4


async def test_tokens_are_counted(pool: Pool) -> None:
    assert await pool.count_tokens(served(), request("one two three")) > 3
    assert await pool.detokenize(served(), (40, 41))


async def test_whoever_leaves_ends_the_work_there_and_keeps_the_counts(pool: Pool) -> None:
    stream = pool.chat(served(), request("Hi.", max_tokens=900, logit_bias={2: -100.0}))
    for _ in range(5):
        await anext(stream)
    await stream.aclose()
    assert stream.usage.prompt_tokens > 0
    assert stream.usage.completion_tokens >= 5
    async with asyncio.timeout(30):
        while await asyncio.to_thread(_running):
            await asyncio.sleep(0.05)


def _running() -> float:
    lines = requests.get(f"{URL}/metrics", timeout=10).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:num_requests_running"))


async def test_a_wrong_key_is_the_administrators_to_mend(pool: Pool) -> None:
    with pytest.raises(Broken) as caught:
        await pool.load(served(key="wrong"))
    assert caught.value.code == "engine_key_refused"


async def test_a_name_that_it_does_not_serve(pool: Pool) -> None:
    with pytest.raises(Broken) as caught:
        await pool.load(served(theirs="another"))
    assert caught.value.code == "engine_lacks_model"
