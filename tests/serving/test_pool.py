"""The pool with stand-in engines: real processes that misbehave on request."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from itertools import count

import pytest
from msgspec import structs
from tests.fakes.spawner import PlainSpawner
from tests.serving.pools import MiB, eventually, model, request, running

from intramural.core.chat import ChatEvent, Delta, Finished, Usage
from intramural.core.errors import Broken, IntramuralError, Misasked, Refused, Unavailable, Untrusted
from intramural.serving import Ending, ModelToServe, Pool, Quarantine, ServingPlan

SLOW = ("--tokens-per-s", "20")


async def read(stream: AsyncIterator[ChatEvent]) -> str:
    """The whole text."""
    return "".join([event.text async for event in stream if isinstance(event, Delta)])


async def fails(pool: Pool, served: ModelToServe, **sampling: object) -> IntramuralError:
    """What a request ends with."""
    with pytest.raises(IntramuralError) as caught:
        await read(pool.chat(served, request(**sampling)))
    return caught.value


async def test_a_model_is_loaded_on_demand_and_answers() -> None:
    async with running(PlainSpawner()) as pool:
        stream = pool.chat(model(), request("one two three", max_tokens=3))
        events = [event async for event in stream]
        assert [event for event in events if isinstance(event, Delta)] == [
            Delta(0, "word0"),
            Delta(0, " word1"),
            Delta(0, " word2"),
        ]
        assert events[-2] == Finished(0, "length")
        assert isinstance(events[-1], Usage)
        assert (events[-1].prompt_tokens, events[-1].completion_tokens) == (3, 3)
        assert stream.usage == events[-1]
        assert stream.waited_ms > 0


async def test_a_model_that_makes_no_embeddings_says_so_before_it_is_loaded() -> None:
    spawner = PlainSpawner()
    async with running(spawner) as pool:
        with pytest.raises(Misasked, match="no embeddings") as caught:
            await pool.embed(replace(model(), pooling=None), ["text"])
        assert caught.value.code == "no_embeddings"
        assert not spawner.processes


async def test_many_requests_at_once_start_one_worker() -> None:
    spawner = PlainSpawner()
    async with running(spawner) as pool:
        served = model(slots=3)
        answers = await asyncio.gather(*(read(pool.chat(served, request(max_tokens=2))) for _ in range(12)))
        assert answers == ["word0 word1"] * 12
        assert spawner.started == ["m"]


async def test_a_request_is_told_its_place_in_the_queue() -> None:
    async with running(PlainSpawner(per_start=(SLOW,))) as pool:
        served, places = model(slots=1), []
        first = pool.chat(served, request(max_tokens=8))
        await anext(first)
        second = asyncio.create_task(read(pool.chat(served, request(max_tokens=1), lambda *told: places.append(told))))
        await eventually(lambda: places)
        assert [place for place, _ in places] == [1]
        assert all(wait_s > 0 for _, wait_s in places), "and about how long it will be"
        await first.aclose()
        assert await second == "word0"


async def test_an_idle_model_makes_room_for_another_within_the_budget() -> None:
    async with running(PlainSpawner(), budget_bytes=150 * MiB) as pool:
        await pool.load(model("a"))
        await pool.load(model("b"))
        status = pool.status()
        assert [worker.name for worker in status.workers] == ["b"]
        assert status.planned_bytes <= status.budget_bytes


async def test_a_pinned_model_stays() -> None:
    async with running(PlainSpawner(), budget_bytes=150 * MiB) as pool:
        await pool.load(model("a"))
        pool.pin("a", True)
        assert (await fails(pool, model("b"))).code == "not_enough_memory"
        assert pool.status().workers[0].pinned
        pool.pin("a", False)
        await pool.load(model("b"))


async def test_unloading() -> None:
    async with running(PlainSpawner(per_start=(SLOW,))) as pool:
        served = model()
        await pool.load(served)
        assert await pool.unload("m")
        assert pool.status().workers == ()
        assert await pool.unload("m"), "what is not loaded is gone already"
        stream = pool.chat(served, request(max_tokens=5))
        await anext(stream)
        assert not await pool.unload("m"), "it finishes its answer first"
        assert pool.status().workers[0].state == "stopping"
        assert await read(stream) == " word1 word2 word3 word4"
        await eventually(lambda: not pool.status().workers)


async def test_an_idle_worker_is_stopped_after_keep_alive() -> None:
    async with running(PlainSpawner(), keep_alive_s=0.2) as pool:
        await read(pool.chat(model(), request(max_tokens=1)))
        await eventually(lambda: not pool.status().workers)


async def test_a_worker_killed_in_mid_answer_is_reported_and_the_next_request_works() -> None:
    async with running(PlainSpawner(per_start=(("--die-after-tokens", "3"), ()))) as pool:
        stream = pool.chat(model(), request("one two", max_tokens=9))
        got = []
        with pytest.raises(Broken) as caught:
            async for event in stream:
                got.append(event)
        assert caught.value.code == "worker_died"
        assert [event.text for event in got if isinstance(event, Delta)] == ["word0", " word1", " word2"]
        assert (stream.usage.prompt_tokens, stream.usage.completion_tokens) == (2, 3), "what was counted so far"
        assert await read(pool.chat(model(), request(max_tokens=2))) == "word0 word1"


async def test_those_who_wait_for_a_worker_that_is_killed_are_served_by_the_next() -> None:
    spawner = PlainSpawner(per_start=(SLOW, ()))
    async with running(spawner) as pool:
        served = model(slots=1)
        first = pool.chat(served, request(max_tokens=100))
        await anext(first)
        second = asyncio.create_task(read(pool.chat(served, request(max_tokens=2))))
        await eventually(lambda: pool.status().queued)
        os.kill(spawner.processes[0].pid, signal.SIGKILL)
        with pytest.raises(Broken):
            await read(first)
        assert await second == "word0 word1"


async def test_three_crashes_quarantine_a_model() -> None:
    async with running(PlainSpawner(per_start=(("--die-after-tokens", "1"),))) as pool:
        told: list[Quarantine] = []
        pool.on_quarantine = told.append
        assert [(await fails(pool, model())).code for _ in range(3)] == ["worker_died"] * 3
        await eventually(lambda: not pool.status().workers)
        error = await fails(pool, model())
        assert error.code == "model_quarantined"
        assert isinstance(error, Refused)
        (order,) = told
        assert (order.demand.digest, order.crashes) == ("sha256:m", 3)
        pool.release("sha256:m")
        assert (await fails(pool, model())).code == "worker_died", "it is started again"


async def test_how_a_worker_ended_is_said() -> None:
    async with running(PlainSpawner(per_start=(SLOW,))) as pool:
        told: list[Quarantine] = []
        pool.on_quarantine = told.append
        for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGSEGV):
            stream = pool.chat(model(), request(max_tokens=100))
            await anext(stream)
            pid = pool.status().workers[-1].pid
            assert pid is not None
            os.kill(pid, number)
            with pytest.raises(Broken):
                await read(stream)
            await eventually(lambda: not pool.status().workers)
        assert [order.how for order in told] == ["SIGSEGV"]


async def test_a_kill_counts_where_the_kernel_wanted_memory_and_else_does_not() -> None:
    async with running(PlainSpawner(per_start=(SLOW,))) as pool:
        told: list[Quarantine] = []
        pool.on_quarantine = told.append
        for kills in (count(step=0), count()):  # as the kernel counts them, from reading to reading
            pool.memory_kills = lambda kills=kills: next(kills)  # type: ignore[misc]
            assert told == []
            for _ in range(3):
                stream = pool.chat(model(), request(max_tokens=100))
                await anext(stream)
                (worker,) = pool.status().workers
                assert worker.pid is not None
                os.kill(worker.pid, signal.SIGKILL)
                with pytest.raises(Broken) as caught:
                    await read(stream)
                assert caught.value.code == "worker_died"
                await eventually(lambda: not pool.status().workers)
        assert [order.how for order in told] == ["SIGKILL (out of memory)"]
        assert (await fails(pool, model())).code == "model_quarantined"
        assert pool.tally.ended == {("m", Ending.KILLED): 3, ("m", Ending.CRASHED): 3}


async def test_a_worker_that_dies_while_starting_is_reported_with_its_last_words() -> None:
    async with running(PlainSpawner(per_start=(("--die-at-start",), ()))) as pool:
        error = await fails(pool, model())
        assert error.code == "worker_start_failed"
        assert "cannot load these weights" in error.hint
        assert await read(pool.chat(model(), request(max_tokens=1))) == "word0"


async def test_a_worker_that_hangs_while_starting_is_killed_and_reported() -> None:
    spawner = PlainSpawner(per_start=(("--hang-at-start", "--ignore-sigterm"), ()))
    async with running(spawner, start_timeout_s=1.0) as pool:
        assert (await fails(pool, model())).code == "worker_start_timeout"
        await eventually(lambda: spawner.processes[0].process.returncode is not None)
        assert await read(pool.chat(model(), request(max_tokens=1))) == "word0"


async def test_a_slow_start_is_waited_for() -> None:
    async with running(PlainSpawner(per_start=(("--slow-start", "0.5"),))) as pool:
        assert await read(pool.chat(model(), request(max_tokens=1))) == "word0"


async def test_a_worker_that_ignores_sigterm_is_killed() -> None:
    spawner = PlainSpawner(per_start=(("--ignore-sigterm",),))
    async with running(spawner, stop_grace_s=0.2) as pool:
        await pool.load(model())
        assert await pool.unload("m")
        assert spawner.processes[0].process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("where", ["http", "frame", "shape", "endless"])
async def test_a_worker_that_babbles_is_reported_and_replaced(where: str) -> None:
    spawner = PlainSpawner(per_start=(("--garbage", where, "--ignore-sigterm"), ()))
    async with running(spawner) as pool:
        assert (await fails(pool, model())).code == "worker_garbage"
        assert await read(pool.chat(model(), request(max_tokens=1))) == "word0"
        assert spawner.processes[0].process.returncode == -signal.SIGKILL


async def test_a_worker_that_falls_silent_is_reported_and_replaced() -> None:
    spawner = PlainSpawner(per_start=(("--stall-after-tokens", "2"), ()))
    async with running(spawner, stall_timeout_s=0.5) as pool:
        assert (await fails(pool, model())).code == "worker_stalled"
        assert await read(pool.chat(model(), request(max_tokens=1))) == "word0"


async def test_a_client_that_leaves_frees_its_slot() -> None:
    async with running(PlainSpawner(per_start=(SLOW,))) as pool:
        served = model(slots=1)
        stream = pool.chat(served, request("one two", max_tokens=1000))
        async with aclosing(stream):
            await anext(stream)
            await anext(stream)
        assert (stream.usage.prompt_tokens, stream.usage.completion_tokens) == (2, 2)
        await eventually(lambda: pool.status().workers[0].slots_busy == 0)
        assert await read(pool.chat(served, request(max_tokens=1))) == "word0"


async def test_cancelling_the_reader_is_leaving_too() -> None:
    async with running(PlainSpawner(per_start=(SLOW,))) as pool:
        served = model(slots=1)
        reader = asyncio.create_task(read(pool.chat(served, request(max_tokens=1000))))
        await eventually(lambda: pool.status().workers and pool.status().workers[0].slots_busy)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        await eventually(lambda: pool.status().workers[0].slots_busy == 0)


async def test_leaving_while_waiting() -> None:
    async with running(PlainSpawner(per_start=(SLOW,))) as pool:
        served = model(slots=1)
        first = pool.chat(served, request(max_tokens=1000))
        await anext(first)
        second = asyncio.create_task(read(pool.chat(served, request())))
        await eventually(lambda: pool.status().queued == 1)
        second.cancel()
        await eventually(lambda: pool.status().queued == 0)
        await first.aclose()


async def test_beyond_the_limit_of_the_queue_requests_are_refused() -> None:
    async with running(PlainSpawner(per_start=(SLOW,)), queue_limit=2) as pool:
        served = model(slots=1)
        first = pool.chat(served, request(max_tokens=1000))
        await anext(first)
        waiting = [asyncio.create_task(read(pool.chat(served, request(max_tokens=1)))) for _ in range(2)]
        await eventually(lambda: pool.status().queued == 2)
        error = await fails(pool, served)
        assert error.code == "queue_full"
        assert isinstance(error, Unavailable)
        assert error.retry_after_s >= 1
        await first.aclose()
        assert await asyncio.gather(*waiting) == ["word0", "word0"]


async def test_who_waits_too_long_is_refused() -> None:
    async with running(PlainSpawner(per_start=(SLOW,)), queue_timeout_s=3.0) as pool:
        served = model(slots=1)
        first = pool.chat(served, request(max_tokens=1000))
        await anext(first)
        assert (await fails(pool, served)).code == "queue_timeout"
        await first.aclose()


async def test_several_choices_come_from_several_requests_on_no_more_slots_than_there_are() -> None:
    async with running(PlainSpawner()) as pool:
        served = model(slots=2)
        asked = request("one two", max_tokens=3)
        stream = pool.chat(served, structs.replace(asked, choices=5))
        texts: dict[int, str] = {}
        events = []
        async for event in stream:
            events.append(event)
            assert pool.status().workers[0].slots_busy <= 2
            if isinstance(event, Delta):
                texts[event.index] = texts.get(event.index, "") + event.text
        assert texts == dict.fromkeys(range(5), "word0 word1 word2")
        assert sorted(e.index for e in events if isinstance(e, Finished)) == [0, 1, 2, 3, 4]
        assert [e for e in events if isinstance(e, Usage)] == [events[-1]]
        assert (events[-1].prompt_tokens, events[-1].completion_tokens) == (2, 15)


async def test_leaving_several_choices_frees_every_slot() -> None:
    async with running(PlainSpawner(per_start=(SLOW,))) as pool:
        asked = request(max_tokens=1000)
        stream = pool.chat(model(slots=2), structs.replace(asked, choices=3))
        await anext(stream)
        await eventually(lambda: pool.status().workers[0].slots_busy == 2)
        await stream.aclose()
        await eventually(lambda: pool.status().workers[0].slots_busy == 0)
        assert stream.usage.completion_tokens >= 1


async def test_a_worker_killed_while_writing_several_choices() -> None:
    async with running(PlainSpawner(per_start=(("--die-after-tokens", "3"),))) as pool:
        asked = request()
        stream = pool.chat(model(slots=2), structs.replace(asked, choices=4))
        with pytest.raises(Broken, match="worker"):
            await read(stream)


async def test_weights_that_fail_their_check_are_reported_and_are_no_crash() -> None:
    async def changed() -> int:
        raise Untrusted("model_digest_mismatch", "A byte changed.")

    async with running(PlainSpawner()) as pool:
        served = ModelToServe("m", "sha256:m", changed, ServingPlan(100, 1, MiB))
        for _ in range(4):
            assert (await fails(pool, served)).code == "model_digest_mismatch"


async def test_a_request_that_is_wrong_is_refused_before_it_waits() -> None:
    spawner = PlainSpawner()
    async with running(spawner) as pool:
        with pytest.raises(Misasked) as caught:
            pool.chat(model(), request(max_tokens=-1))
        assert caught.value.param == "max_tokens"
        assert spawner.started == []


async def test_a_prompt_that_is_too_long_is_refused_with_numbers() -> None:
    async with running(PlainSpawner()) as pool:
        with pytest.raises(Misasked) as caught:
            await read(pool.chat(model(context_tokens=5), request("a b c d e f g")))
        assert caught.value.code == "context_length_exceeded"
        assert "7" in caught.value.message
        assert "5" in caught.value.message


async def test_closing_tells_everybody_and_leaves_no_process() -> None:
    spawner = PlainSpawner(per_start=(("--ignore-sigterm", *SLOW),))
    async with running(spawner, stop_grace_s=0.2) as pool:
        served = model(slots=1)
        first = pool.chat(served, request(max_tokens=1000))
        await anext(first)
        second = asyncio.create_task(fails(pool, served))
        await eventually(lambda: pool.status().queued == 1)
        closing = asyncio.create_task(pool.close())
        assert (await second).code == "shutting_down"
        with pytest.raises(Unavailable, match="shutting_down"):
            await read(first)
        await closing
        assert spawner.processes[0].process.returncode is not None


async def test_closing_while_a_worker_is_starting() -> None:
    spawner = PlainSpawner(per_start=(("--hang-at-start",),))
    async with running(spawner) as pool:
        waiting = asyncio.create_task(fails(pool, model()))
        await eventually(lambda: spawner.processes)
        await pool.close()
        assert (await waiting).code == "shutting_down"
