"""The same request with the same seed gives the same bytes, whoever else is about. The real engine."""

import asyncio
import json
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.fakes.spawner import PlainSpawner
from tests.serving.pools import eventually, model, request, running

from intramural.core.chat import ChatRequest, Delta, Message, Sampling
from intramural.core.errors import Misasked
from intramural.serving import ModelToServe, Pool
from intramural.serving.marks import marks_of
from intramural.serving.request import build, check, placed
from intramural.serving.slots import Slots

STORY = ChatRequest(
    id="r",
    model="m",
    messages=(Message("user", "Invent a strange animal and describe it."),),
    sampling=Sampling(temperature=1.3, seed=41, max_tokens=24, logprobs=True, top_logprobs=2),
    deterministic=True,
)


def test_a_seed_is_needed() -> None:
    with pytest.raises(Misasked) as caught:
        check(replace(STORY, sampling=Sampling()))
    assert (caught.value.code, caught.value.param) == ("seed_needed", "seed")


def test_nothing_that_was_left_is_used() -> None:
    slots, marks = Slots(1), marks_of(STORY, b"key")
    for alone, reuse in [(False, False), (False, True), (True, False)]:
        seat = slots.seat("ann")
        assert seat.take(marks, 0.0, alone=alone).reuse is reuse
        seat.begun(0.0)
        seat.leave(0.0)
    assert json.loads(placed(build(STORY, 0)[1], 1, reuse=False))["cache_prompt"] is False


async def read(pool: Pool, served: ModelToServe, asked: ChatRequest) -> list[Delta]:
    """Every piece, with its probabilities to the last bit."""
    return [event async for event in pool.chat(served, asked) if isinstance(event, Delta)]


async def test_a_replay_is_the_same_to_the_last_bit_with_others_competing(weights: Path) -> None:
    async with running(PlainSpawner(real=True)) as pool:
        served = model(slots=3, context_tokens=512, weights=weights)
        first = await read(pool, served, STORY)
        assert len(first) > 5
        over = asyncio.Event()

        async def compete(number: int) -> None:
            while not over.is_set():
                await read(pool, served, request(f"Tell story {number}.", max_tokens=6))

        rivals = [asyncio.create_task(compete(number)) for number in range(4)]
        await eventually(lambda: pool.status().workers[0].slots_busy > 1)
        for _ in range(3):
            # Somebody who leaves while being computed for is no rival either.
            leaver = pool.chat(served, request("Count to one thousand.", max_tokens=400))
            await anext(leaver)
            replay = asyncio.create_task(read(pool, served, STORY))
            await asyncio.sleep(0)
            await leaver.aclose()
            assert await replay == first
        over.set()
        await asyncio.gather(*rivals)


async def test_several_choices_are_replayed_too(weights: Path) -> None:
    async with running(PlainSpawner(real=True)) as pool:
        served = model(slots=2, context_tokens=512, weights=weights)
        asked = replace(STORY, choices=3, sampling=replace(STORY.sampling, max_tokens=8, stop=("the",)))
        first, second = await read(pool, served, asked), await read(pool, served, asked)
        assert first == second
        assert {event.index for event in first} <= {0, 1, 2}


async def test_nobody_computes_beside_it() -> None:
    spawner = PlainSpawner(per_start=(("--tokens-per-s", "50"),))
    async with running(spawner) as pool:
        served = model(slots=2)
        await pool.load(served)
        alone = pool.chat(served, replace(STORY, sampling=Sampling(seed=1, max_tokens=20)))
        await anext(alone)
        other = asyncio.create_task(read(pool, served, request(max_tokens=1)))
        async for _ in alone:
            assert pool.status().workers[0].slots_busy <= 1
            if not other.done():
                assert pool.status().queued == 1 or pool.status().workers[0].slots_busy <= 1
        assert [event.text for event in await other] == ["word0"]
