"""Turns in a running pool, with the stand-in: in whose name, who gives way, and what is begun again."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace
from tests.fakes.spawner import PlainSpawner
from tests.serving.pools import eventually, model, request, running
from tests.serving.test_pool import SLOW, read

from intramural.core.actor import Actor
from intramural.core.chat import ChatEvent, ChatRequest, Delta, Finished, Message
from intramural.core.config import ServingConfig
from intramural.core.errors import IntramuralError, Misasked
from intramural.core.work import Work
from intramural.services.turns import Turns, weights
from intramural.serving import Owner, Pool, WorkerProcess
from intramural.serving.fairness import Open
from intramural.serving.owned import length_of

ANN, BEN = Owner(("ann", "key")), Owner(("ben", "key"))
BATCH = Owner(("dan", "key"), work=Work.BATCH)
LINE = Owner(("dan", "key"), work=Work.BATCH, repeatable=True)


async def test_who_asks_much_waits_behind_themselves() -> None:
    async with running(PlainSpawner(per_start=(SLOW,))) as pool:
        served, order = model(slots=1), []

        async def ask(name: str, owner: Owner) -> None:
            await read(pool.chat(served, request(max_tokens=2), owner=owner))
            order.append(name)

        asked = [asyncio.create_task(ask(f"ann {n}", ANN)) for n in range(4)]
        await eventually(lambda: pool.status().queued >= 3)
        asked.append(asyncio.create_task(ask("ben", BEN)))
        await asyncio.gather(*asked)
        assert order.index("ben") <= 1


async def busy(pool: Pool) -> int:
    """Slots that the engine itself says are in use."""
    async with pool.lease(model(slots=1), needs_slot=False) as lease:
        return sum(slot.is_processing for slot in await lease._slots())


async def test_batch_work_gives_way_between_two_tokens_and_is_begun_again_whole() -> None:
    async with running(PlainSpawner(per_start=(SLOW,))) as pool:
        served = model(slots=1)
        line = pool.chat(served, request(max_tokens=30), owner=LINE)
        whole = asyncio.create_task(read(line))
        await eventually(lambda: line.usage.completion_tokens >= 2)
        assert await read(pool.chat(served, request(max_tokens=2), owner=ANN)) == "word0 word1"
        assert not whole.done(), "it was stopped, and has begun again"
        assert (await whole).split() == [f"word{n}" for n in range(30)], "and nothing of the first time is in it"
        assert line.usage.completion_tokens == 30
        assert line.waited_ms > 0
        assert len(pool.status().workers) == 1
        assert not pool._state.crashes, "nobody blames the worker"


async def test_what_was_stopped_often_is_left_in_peace() -> None:
    async with running(PlainSpawner(per_start=(SLOW,))) as pool:
        served = model(slots=1)
        whole = asyncio.create_task(read(pool.chat(served, request(max_tokens=12), owner=LINE)))
        people = 0
        while not whole.done():
            assert await read(pool.chat(served, request(max_tokens=1), owner=ANN)) == "word0"
            people += 1
            async with asyncio.timeout(30):
                while not whole.done() and not await busy(pool):
                    await asyncio.sleep(0.01)
        assert len((await whole).split()) == 12
        # Three stops, then a token at least between two pauses; and who came before the first or after the last.
        assert people <= 3 + 12 + 2, "every beginning wrote something, although somebody always came"


async def test_a_background_answer_that_is_seen_pauses_and_goes_on_where_it_was() -> None:
    async with running(PlainSpawner(per_start=(SLOW,)), slice_s=0.5) as pool:
        served = model(slots=1)
        seen = pool.chat(served, request("a b", max_tokens=20), owner=BATCH)
        assert await anext(seen) == Delta(0, "word0")
        rest = asyncio.create_task(read(seen))
        assert await read(pool.chat(served, request(max_tokens=2), owner=ANN)) == "word0 word1"
        assert not rest.done(), "it waited meanwhile"
        assert (await rest).split() == [f"word{n}" for n in range(1, 20)]
        assert (seen.usage.prompt_tokens, seen.usage.completion_tokens) == (2, 20), "as if nothing had been"
        assert seen.waited_ms > 0


@pytest.mark.parametrize("raw", [False, True])
async def test_who_has_several_answers_pauses_one_for_who_has_none(raw: bool) -> None:
    async with running(PlainSpawner(per_start=(SLOW,)), slice_s=0.5) as pool:
        served = model(slots=2)
        asked = request("a b", max_tokens=20)
        if raw:
            asked = replace(asked, messages=(), prompt="a b")
        streams = [pool.chat(served, asked, owner=ANN) for _ in range(2)]
        answers = [asyncio.create_task(told(stream)) for stream in streams]
        await eventually(lambda: all(each.pausable_s for each in opened(pool)) and len(opened(pool)) == 2)
        assert await read(pool.chat(served, request(max_tokens=2), owner=BEN)) == "word0 word1"
        assert not any(answer.done() for answer in answers), "Ben did not wait for any"
        for stream, answer in zip(streams, answers, strict=True):
            events = await answer
            assert "".join(e.text for e in events if isinstance(e, Delta)).split() == [f"word{n}" for n in range(20)]
            assert [event for event in events if isinstance(event, Finished)] == [Finished(0, "length")]
            assert events[-1] == stream.usage
            assert stream.usage.completion_tokens == 20


async def test_nobody_is_asked_how_the_worker_is_when_it_was_us_who_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slot would be held until a busy engine has answered that."""
    doubted = []

    async def is_lost(_: WorkerProcess, error: IntramuralError) -> bool:
        doubted.append(error.code)
        return False

    monkeypatch.setattr(WorkerProcess, "is_lost", is_lost)
    async with running(PlainSpawner(per_start=(SLOW,)), slice_s=0.5) as pool:
        served = model(slots=1)
        for owner in (LINE, BATCH):
            stopped = pool.chat(served, request(max_tokens=20), owner=owner)
            rest = asyncio.create_task(read(stopped))
            await eventually(lambda stopped=stopped: stopped.usage.completion_tokens)  # type: ignore[misc]
            assert await read(pool.chat(served, request(max_tokens=1), owner=ANN)) == "word0"
            assert not rest.done()
            await rest
    assert doubted == []


async def test_without_slices_nobody_pauses() -> None:
    async with running(PlainSpawner(per_start=(SLOW,)), slice_s=0) as pool:
        served = model(slots=1)
        first = asyncio.create_task(read(pool.chat(served, request(max_tokens=6), owner=ANN)))
        await eventually(lambda: opened(pool))
        await read(pool.chat(served, request(max_tokens=1), owner=BEN))
        assert first.done()


def opened(pool: Pool) -> list[Open]:
    pool.status()
    return list(pool._state.ledger.open.values())


async def told(stream: AsyncIterator[ChatEvent]) -> list[ChatEvent]:
    return [event async for event in stream]


async def test_what_was_written_is_charged() -> None:
    async with running(PlainSpawner()) as pool:
        served = model(slots=2)
        kept = pool.chat(served, request(max_tokens=4), owner=BEN)
        await anext(kept)  # while somebody is there, what was used is remembered
        await read(pool.chat(served, request("one two three", max_tokens=10), owner=ANN))
        pool.status()
        assert pool._state.ledger.tags[("ann",)] == 3 + 10 * 4
        await kept.aclose()
        pool.status()
        assert pool._state.ledger.tags == {}


def test_how_long_a_prompt_is_about() -> None:
    assert length_of(ChatRequest(id="r", model="m", messages=(Message("user", "x" * 400),))) == 100
    assert length_of(ChatRequest(id="r", model="m", messages=(), prompt=(1, 2, 3))) == 3


def actor(name: str, **more: Any) -> Actor:
    return Actor("key", f"id of {name}", name, "member", frozenset(), "key", **more)


@pytest.mark.parametrize(
    ("asking", "expected"),
    [
        (actor("ann"), Owner(("", "id of ann", "key"), (1.0, 4.0))),
        (actor("cid"), Owner(("", "id of cid", "key"), (1.0, 1.0))),
        (actor("eve"), Owner(("", "id of eve", "key"), (1.0, 1.0), Work.FIRST)),
        (actor("eve", work=Work.BATCH), Owner(("", "id of eve", "key"), (1.0, 1.0), Work.BATCH)),
        (actor("ann", groups=("ward", "house")), Owner(("ward", "id of ann", "key"), (3.0, 4.0))),
        (actor("cid", groups=("house", "ward")), Owner(("house", "id of cid", "key"), (1.0, 1.0))),
        (
            actor("ann", work=Work.BATCH, repeatable=True),
            Owner(("", "id of ann", "key"), (1.0, 4.0), Work.BATCH, repeatable=True),
        ),
    ],
)
def test_whose_turn_it_is(asking: Actor, expected: Owner) -> None:
    turns = Turns(ServingConfig(weights="ann=4, ben=0.5, ward=3", first="eve, mia"))
    assert turns.of(asking) == replace(expected, tenant=asking.person_id)


@pytest.mark.parametrize("text", ["ann", "ann=", "=4", "ann=-1", "ann=0", "ann=nan", "ann=1000", "ann=4;ben=2"])
def test_what_is_no_weight_is_said(text: str) -> None:
    with pytest.raises(Misasked, match=r"serving\.weights"):
        weights(text)
