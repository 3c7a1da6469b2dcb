"""What may go wrong with a worker and around it, and what is promised then; killed, hung and babbling: `test_pool`."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest
from tests.disks import disk_with
from tests.fakes.engine import OUT_OF_MEMORY
from tests.fakes.spawner import PlainSpawner
from tests.serving.pools import MiB, eventually, model, request, running
from tests.serving.test_pool import SLOW, fails, read
from tests.serving.test_warm import LONG, chat, files, of, service

from intramural.core.clock import SystemClock
from intramural.core.config import ServingConfig
from intramural.core.errors import IntramuralError
from intramural.sandbox import probe
from intramural.serving import Pool, SandboxedSpawner


async def test_a_slow_worker_is_waited_for_as_long_as_it_says_something() -> None:
    """The whole answer takes several times the silence that is allowed."""
    spawner = PlainSpawner(per_start=(("--tokens-per-s", "3"),))
    async with running(spawner, stall_timeout_s=1.0) as pool:
        assert await read(pool.chat(model(), request(max_tokens=9))) == " ".join(f"word{n}" for n in range(9))
        assert spawner.processes[0].process.returncode is None


@pytest.mark.parametrize("times", ["1000", "0"])
async def test_a_worker_that_lies_about_usage_is_reported_and_replaced(times: str) -> None:
    spawner = PlainSpawner(per_start=(("--counts-times", times), ()))
    async with running(spawner) as pool:
        assert (await fails(pool, model(), max_tokens=9)).code == "worker_garbage"
        assert await read(pool.chat(model(), request(max_tokens=9)))
        assert len(spawner.processes) == 2


async def test_a_worker_whose_socket_is_gone_is_reported_and_replaced() -> None:
    spawner = PlainSpawner()
    async with running(spawner) as pool:
        assert await read(pool.chat(model(), request(max_tokens=1)))
        spawner.workers[0].socket.unlink()
        assert (await fails(pool, model())).code == "worker_died"
        assert await read(pool.chat(model(), request(max_tokens=1))) == "word0"
        await eventually(lambda: spawner.processes[0].process.returncode is not None)


async def test_a_worker_that_needs_more_than_was_planned_is_refused_it_and_dies_alone(
    weights: Path, tmp_path: Path
) -> None:
    """The real engine, confined, told of a context that its plan has not counted: the kernel gives it no more."""
    pool = Pool(
        ServingConfig(threads=1), SystemClock(), SandboxedSpawner(tmp_path / "run", "full", await probe()), 2000 * MiB
    )
    await pool.start()
    try:
        other = model("other", slots=1, context_tokens=256, weights=weights)
        greedy = model("greedy", slots=16, context_tokens=8192, weights=weights, memory_bytes=MiB)
        async with aclosing(pool.chat(other, request("Count to a hundred.", max_tokens=40))) as beside:
            await anext(beside)
            assert (await fails(pool, greedy)).code == "worker_start_failed"
            assert await read(beside), "the other model's answer goes on"
        (left,) = pool.status().workers
        assert left.name == "other"
    finally:
        await pool.close()


async def test_a_worker_that_hits_its_limit_while_answering_is_replaced() -> None:
    spawner = PlainSpawner(per_start=(("--memory-limit-after-tokens", "3"), ()))
    async with running(spawner) as pool:
        assert (await fails(pool, model(), max_tokens=9)).code == "worker_died"
        assert await read(pool.chat(model(), request(max_tokens=2))) == "word0 word1"
        assert spawner.processes[0].process.returncode == OUT_OF_MEMORY


async def test_a_disk_that_is_full_while_a_state_is_saved_costs_only_that_state(weights: Path, tmp_path: Path) -> None:
    async with service(tmp_path, weights) as bench:
        said, _ = await bench.ask(of("ann"), chat(LONG))
        with disk_with(64 * 1024):
            assert await bench.pool.unload("m")
        assert (bench.warmth.counts.saved, bench.warmth.counts.failed) == (0, 1)
        assert files(tmp_path) == []
        again, usage = await bench.ask(of("ann"), chat(LONG))
        assert (again, usage.cached_tokens) == (said, 0)
        assert await bench.pool.unload("m")
        assert bench.warmth.counts.saved == 1 and len(files(tmp_path)) == 1


class Jumping(SystemClock):
    """The time of day, set wrong by somebody; what measures durations is not."""

    off_s = 0.0

    def now_s(self) -> float:
        return super().now_s() + self.off_s


@pytest.mark.parametrize("off_s", [-86_400.0, 86_400.0])
async def test_a_clock_that_jumps_ends_no_answer_and_nobodys_wait(off_s: float) -> None:
    clock, spawner = Jumping(), PlainSpawner(per_start=(SLOW,))
    pool = Pool(ServingConfig(threads=1, queue_timeout_s=30.0, keep_alive_s=60.0), clock, spawner, 1000 * MiB)
    await pool.start()
    try:
        served = model(slots=1)
        first = pool.chat(served, request(max_tokens=10))
        await anext(first)
        second = asyncio.create_task(read(pool.chat(served, request(max_tokens=1))))
        await eventually(lambda: pool.status().queued)
        clock.off_s = off_s
        assert await read(first) == " " + " ".join(f"word{n}" for n in range(1, 10))
        assert await second == "word0"
        assert pool.status().workers, "it does not count as idle for a day"
    finally:
        await pool.close()


async def test_five_hundred_clients_leave_at_once() -> None:
    spawner = PlainSpawner(per_start=(SLOW,))
    async with running(spawner, queue_limit=500) as pool:
        served = model(slots=4)
        tasks = [asyncio.create_task(read(pool.chat(served, request(max_tokens=1000)))) for _ in range(500)]
        await eventually(lambda: pool.status().queued == 496 and pool.status().workers[0].slots_busy == 4)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in ended)
        await eventually(lambda: (pool.status().queued, pool.status().workers[0].slots_busy) == (0, 0))
        assert await read(pool.chat(served, request(max_tokens=2))) == "word0 word1"
        assert len(spawner.processes) == 1


async def test_what_failed_is_always_one_of_ours() -> None:
    """Whatever the stand-in does, whoever asked gets an error with a name."""
    for knobs in (("--die-at-start",), ("--garbage", "http"), ("--counts-times", "0"), ("--die-after-tokens", "1")):
        async with running(PlainSpawner(per_start=(knobs,))) as pool:
            error: IntramuralError = await fails(pool, model())
            assert error.code and error.message and error.hint
