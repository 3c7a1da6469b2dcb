"""Processors given to workers while they compute."""

import json
import os
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.families.running import worker
from tests.serving.pools import eventually, model, request

from intramural.core.chat import Delta
from intramural.core.clock import SystemClock
from intramural.core.config import ServingConfig
from intramural.sandbox import probe
from intramural.serving import Pool, SandboxedSpawner, ServingPlan
from intramural.serving.adapting import Adapting, Seen, cpu_s, may_place, place
from intramural.serving.threads import at_most

TWO, FOUR = (0, 1), (0, 1, 2, 3)


def look(cpus: tuple[int, ...], others: float, own: dict[int, float], cores: float = 0.0) -> Seen:
    """All processors alike: others use `others` cores in all, workers what `own` says."""
    each = (others + sum(own.values())) / len(cpus)
    return Seen(dict.fromkeys(cpus, each), own, cores or len(cpus))


def counts(state: Adapting) -> dict[int, int]:
    return {worker: len(share) for worker, share in state.given.items()}


@pytest.mark.parametrize(
    ("cpus", "others", "workers", "cores", "expected"),
    [
        (TWO, 0.0, (1,), 0, [2]),
        (TWO, 0.4, (1,), 0, [2]),
        (TWO, 0.5, (1,), 0, [1]),
        (TWO, 1.4, (1,), 0, [1]),
        (TWO, 2.0, (1,), 0, [1]),
        (FOUR, 1.0, (1,), 0, [3]),
        (FOUR, 0.0, (1, 2), 0, [2, 2]),
        (FOUR, 1.0, (1, 2), 0, [2, 1]),
        (TWO, 0.0, (1, 2, 3), 0, [1, 1, 1]),
        (FOUR, 0.0, (1,), 2.5, [2]),
        (FOUR, 1.0, (1,), 2.0, [2]),
        (FOUR, 3.0, (1,), 2.0, [1]),
    ],
)
def test_what_others_leave_is_shared_evenly(
    cpus: tuple[int, ...], others: float, workers: tuple[int, ...], cores: float, expected: list[int]
) -> None:
    state = Adapting().next(look(cpus, others, dict.fromkeys(workers, 0.0), cores))
    assert [len(state.given[worker]) for worker in workers] == expected


@pytest.mark.parametrize(
    ("others", "own", "group", "expected"),
    [
        (30.0, 4.0, 4.2, 4),  # the machine's other tenants do not touch our four cores
        (62.0, 2.0, 2.0, 2),  # but for two of them
        (10.0, 2.0, 4.0, 2),  # two are used by somebody in our own container
        (10.0, 4.0, 0.0, 4),  # nobody counts
    ],
)
def test_a_quota_on_a_large_machine(others: float, own: float, group: float, expected: int) -> None:
    cpus = tuple(range(64))
    seen = Seen(dict.fromkeys(cpus, (others + own) / 64), {1: own}, 4.0, group)
    assert counts(Adapting().next(seen)) == {1: expected}


def test_workers_get_different_processors() -> None:
    state = Adapting().next(look(FOUR, 0.0, {1: 0.0, 2: 0.0}))
    assert not state.given[1] & state.given[2]


def test_a_workers_own_work_is_nobody_elses() -> None:
    state = Adapting()
    for _ in range(10):
        state = state.next(look(TWO, 0.0, {7: 2.0}))
        assert counts(state) == {7: 2}


def test_room_is_made_at_once_and_taken_back_after_a_while() -> None:
    state = Adapting().next(look(TWO, 0.0, {1: 2.0}))
    state = state.next(look(TWO, 0.9, {1: 1.1}))
    assert counts(state) == {1: 1}
    seen = []
    for _ in range(5):
        state = state.next(Seen({0: 1.0, 1: 0.0} if 0 in state.given[1] else {0: 0.0, 1: 1.0}, {1: 1.0}, 2))
        seen.append(len(state.given[1]))
    assert seen == [1, 1, 1, 2, 2]


@pytest.mark.parametrize("use", [0.36, 0.45, 0.6])
def test_a_neighbour_about_half_busy_is_left_its_core(use: float) -> None:
    state = Adapting().next(look(TWO, 0.5, {1: 1.5}))
    for _ in range(20):
        state = state.next(look(TWO, use, {1: 1.0}))
        assert counts(state) == {1: 1}


def test_a_neighbour_that_comes_and_goes_is_not_followed() -> None:
    state, changes, before = Adapting(), 0, 2
    for turn in range(40):
        state = state.next(look(TWO, 1.0 if turn % 3 == 0 else 0.0, {1: 1.0}))
        changes, before = changes + (len(state.given[1]) != before), len(state.given[1])
    assert changes == 1


def test_the_quietest_processors_are_taken_and_kept() -> None:
    state = Adapting().next(Seen({0: 1.0, 1: 0.0}, {1: 0.0}, 2))
    assert state.given == {1: {1}}
    state = state.next(Seen({0: 0.9, 1: 1.0}, {1: 1.0}, 2))
    assert state.given == {1: {1}}
    state = state.next(Seen({0: 0.6, 1: 1.0}, {1: 0.5}, 2))  # the other one is a little quieter: not worth it
    assert state.given == {1: {1}} or state.given == {1: {0}}
    moved = Adapting(1, 0, 0, {1: frozenset({0})}).next(Seen({0: 1.0, 1: 0.0}, {1: 0.2}, 2))
    assert moved.given == {1: {1}}


def test_a_worker_that_rests_frees_its_share() -> None:
    state = Adapting().next(look(FOUR, 0.0, {1: 2.0, 2: 2.0}))
    assert counts(state.next(look(FOUR, 0.0, {2: 2.0}))) == {2: 4}


def test_who_may_set_affinities() -> None:
    assert may_place("Name:\tpython\nCapEff:\t000001ffffffffff\n")
    assert not may_place("Name:\tpython\nCapEff:\t00000000a80425fb\n")  # root in a container, as usual
    assert not may_place("")
    assert cpu_s("12 (a) b) R 1 1 1 0 -1 4 0 0 0 0 150 50 0 0") == 200 / os.sysconf("SC_CLK_TCK")
    assert cpu_s("") == 0.0


def _used(pid: int) -> dict[int, float]:
    tasks = [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]
    return {task: cpu_s(Path(f"/proc/{pid}/task/{task}/stat").read_text()) for task in tasks}


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
@pytest.mark.skipif(not may_place(), reason="affinities of workers cannot be set here")
async def test_a_confined_engine_computes_with_as_many_threads_as_it_has_processors(
    weights: Path, tmp_path: Path
) -> None:
    both = frozenset(sorted(os.sched_getaffinity(0))[:2])
    body = json.dumps({"prompt": "Once", "n_predict": 32, "ignore_eos": True, "temperature": 0, "cache_prompt": False})
    plan = ServingPlan(512, 1, 2**30)
    texts = set()
    async with worker(tmp_path / "run", weights, plan, compute=at_most(2)) as started:
        for cpus in (both, both - {max(both)}, both):
            assert place(started.process.pid, cpus)
            before = _used(started.process.pid)
            _, answer = await started.ask_whole("POST", "/completion", body.encode(), stall_s=60.0)
            texts.add(json.loads(answer)["content"])
            used = [after - before.get(task, 0.0) for task, after in _used(started.process.pid).items()]
            assert sum(each > max(used) / 3 for each in used) == len(cpus)
    assert len(texts) == 1


@pytest.mark.skipif(not may_place(), reason="affinities of workers cannot be set here")
async def test_a_deterministic_answer_is_computed_with_all_threads_whoever_is_about(
    weights: Path, tmp_path: Path
) -> None:
    """A long prompt is rounded differently with another number of them."""
    posture = await probe()
    pool = Pool(ServingConfig(), SystemClock(), SandboxedSpawner(tmp_path / "run", posture.level, posture), 2**31)
    await pool.start()
    try:
        served = model(slots=1, context_tokens=2048, weights=weights)
        await pool.load(served)
        (worker,) = pool.status().workers
        assert worker.pid is not None
        asked = replace(
            request(
                "A fox met a hen on the road to the mill. " * 20, seed=3, temperature=0.0, max_tokens=8, top_logprobs=2
            ),
            deterministic=True,
        )
        answers = []
        for narrowed in (False, True):
            if narrowed:
                assert place(worker.pid, frozenset({min(os.sched_getaffinity(0))}))
            events = [event async for event in pool.chat(served, asked)]
            answers.append([(each.text, each.logprobs) for each in events if isinstance(each, Delta)])
            assert os.sched_getaffinity(worker.pid) == os.sched_getaffinity(0)
        assert answers[0] == answers[1] != []
    finally:
        await pool.close()


@pytest.mark.skipif(not may_place(), reason="affinities of workers cannot be set here")
async def test_a_pool_says_with_how_many_threads_a_worker_computes(weights: Path, tmp_path: Path) -> None:
    posture = await probe()
    spawner = SandboxedSpawner(tmp_path / "run", posture.level, posture)
    pool = Pool(ServingConfig(nice=3), SystemClock(), spawner, 2**31)
    await pool.start()
    try:
        served = model(slots=1, context_tokens=512, weights=weights)
        stream = pool.chat(served, request("Tell me a story.", max_tokens=400, logit_bias={0: -100.0, 2: -100.0}))
        await anext(stream)
        (worker,) = pool.status().workers
        assert worker.pid is not None
        assert os.getpriority(os.PRIO_PROCESS, worker.pid) == 3
        has = os.sched_getaffinity(worker.pid)
        assert has <= os.sched_getaffinity(0)
        await eventually(lambda: pool.status().workers[0].threads == len(os.sched_getaffinity(worker.pid)))
        await stream.aclose()
    finally:
        await pool.close()
