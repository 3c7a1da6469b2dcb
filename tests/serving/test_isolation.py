"""What one person has asked is no use to another, and no sign either: the real engine, the starter weights."""

import json
import random
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec.structs import replace
from tests.fakes.spawner import PlainSpawner
from tests.serving.pools import model, request, running

from intramural.core.chat import ChatRequest, Usage
from intramural.serving import ModelToServe, Owner, Pool

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORDS = Path(__file__).read_text().split()


def fresh(rng: random.Random, words: int = 40) -> str:
    """A prompt that nobody has sent before, about as long as any other."""
    return " ".join(f"{rng.choice(WORDS)[:6]}{rng.randrange(10, 99)}" for _ in range(words))


def of(person: str) -> Owner:
    return Owner((person,), tenant=person)


class Bench:
    def __init__(self, pool: Pool, spawner: PlainSpawner, served: ModelToServe) -> None:
        self.pool = pool
        self.spawner = spawner
        self.served = served

    async def ask(self, person: str, asked: str | ChatRequest, max_tokens: int = 1) -> Usage:
        asked = request(asked, max_tokens=max_tokens) if isinstance(asked, str) else asked
        *_, last = [event async for event in self.pool.chat(self.served, asked, owner=of(person))]
        assert isinstance(last, Usage)
        return last

    async def engine(self, prompt: str, **fields: object) -> tuple[int, int]:
        """Asked past the pool: how many tokens the prompt has, and how many were there already."""
        body = json.dumps({"prompt": prompt, "max_tokens": 1, **fields}).encode()
        status, answer = await self.spawner.workers[-1].ask_whole("POST", "/v1/completions", body, stall_s=60)
        assert status == 200, answer
        timings = json.loads(answer)["timings"]
        return timings["cache_n"] + timings["prompt_n"], timings["cache_n"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(weights: Path) -> AsyncIterator[Bench]:
    spawner = PlainSpawner(real=True)
    async with running(spawner) as pool:
        yield Bench(pool, spawner, model(slots=2, context_tokens=1024, weights=weights))


async def test_within_a_person_what_was_read_is_not_read_again(bench: Bench) -> None:
    text = fresh(random.Random(1))
    first, second = await bench.ask("ann", text), await bench.ask("ann", text)
    assert first.cached_tokens < 40  # what the template puts before everything
    assert second.cached_tokens == second.prompt_tokens - 1


async def test_anothers_prompt_is_read_from_its_first_token(bench: Bench) -> None:
    text = fresh(random.Random(2))
    await bench.ask("ann", text)
    for person in ("ben", "cas", "dan"):  # more of them than there are slots
        assert (await bench.ask(person, text)).cached_tokens == 0
    assert (await bench.ask("dan", text)).cached_tokens > 0


async def test_people_without_a_name_share_nothing(bench: Bench) -> None:
    text = fresh(random.Random(3))
    for _ in range(3):
        assert (await bench.ask("", text)).cached_tokens == 0


async def test_a_slot_that_begins_at_nothing_is_wiped(bench: Bench) -> None:
    """What the engine is told on a hand-over leaves nothing of what was there, whatever is asked for next."""
    await bench.ask("ann", "Hello.")  # so that a worker runs
    long, short = fresh(random.Random(4)), "Good morning to you."
    await bench.engine(long, id_slot=0, cache_prompt=True)
    assert (await bench.engine(long, id_slot=0, cache_prompt=True))[1] > 0
    assert (await bench.engine(short, id_slot=0, cache_prompt=False))[1] == 0
    tokens, cached = await bench.engine(long, id_slot=0, cache_prompt=True)
    assert cached <= 1 < tokens
    assert (await bench.engine(long, id_slot=1, cache_prompt=True))[1] <= 1  # and slots share nothing


async def test_vectors_leave_nothing_to_be_used(bench: Bench) -> None:
    text = fresh(random.Random(5))
    await bench.pool.embed(bench.served, [text], owner=of("ben"))
    raw = ChatRequest(id="r", model="m", prompt=text, sampling=request(max_tokens=1).sampling)
    for person in ("ann", "ben"):  # both slots
        assert (await bench.ask(person, raw)).cached_tokens == 0


async def test_several_choices_read_the_prompt_once(bench: Bench) -> None:
    rng = random.Random(6)
    asked = replace(request(fresh(rng), max_tokens=2), choices=4)
    usage = await bench.ask("eve", asked)
    assert usage.completion_tokens == 8


def differ(one: list[float], other: list[float], rng: random.Random, rounds: int = 4000) -> float:
    """Probability of what was seen if it were all the same: signed ranks of the pairs, by permutation."""
    gaps = sorted((a - b for a, b in zip(one, other, strict=True)), key=abs)

    def weight(signs: list[int]) -> int:
        return abs(sum(sign * rank for rank, sign in enumerate(signs, 1)))

    seen = weight([1 if gap > 0 else -1 for gap in gaps])
    chance = sum(weight([rng.choice((1, -1)) for _ in gaps]) >= seen for _ in range(rounds))
    return (1 + chance) / (1 + rounds)


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_the_time_to_the_first_token_does_not_tell_what_another_asked(bench: Bench) -> None:
    """A probe: Ben asks what Ann has just asked, and what nobody has, in turns. Then Ann does, as a control."""
    rng = random.Random(7)
    rounds = 16
    times: dict[tuple[str, bool], list[float]] = {(who, known): [] for who in ("ann", "ben") for known in (True, False)}

    async def timed(person: str, text: str) -> float:
        began_s = time.perf_counter()
        usage = await bench.ask(person, text)
        taken_s = time.perf_counter() - began_s
        assert person == "ann" or usage.cached_tokens <= 40
        return taken_s

    for _ in range(rounds):
        for person in ("ben", "ann"):
            asks = [True, False]
            rng.shuffle(asks)
            for known in asks:
                text, unknown = fresh(rng), fresh(rng)
                await bench.ask("ann", text)
                times[person, known].append(await timed(person, text if known else unknown))
    chance = {who: differ(times[who, True], times[who, False], random.Random(8)) for who in ("ann", "ben")}
    print({key: round(statistics.median(value), 4) for key, value in times.items()}, chance)
    assert chance["ann"] < 0.001, "the probe itself is blind"
    assert chance["ben"] > 0.01
