"""What became of workers is counted from the scheduler's steps, each under its reason."""

import random
from collections.abc import Iterable

import pytest

from intramural.core.errors import Broken
from intramural.serving import Ending, Tally
from intramural.serving.scheduler import (
    Arrived,
    Demand,
    Event,
    Left,
    Phase,
    Rules,
    ShutdownAsked,
    StartWorker,
    State,
    Ticked,
    UnloadAsked,
    WorkerGone,
    WorkerMisbehaved,
    WorkerReady,
    step,
)

A, B = Demand("a", "sha256:a", 60, 1), Demand("b", "sha256:b", 60, 1)
RULES = Rules(budget_bytes=100, keep_alive_s=50, queue_limit=1)


def told(*events: Event, rules: Rules = RULES) -> Tally:
    tally, state = Tally(), State(rules)
    for event in events:
        before = state
        state, effects = step(before, event)
        tally.note(before, event, effects)
    return tally


def loaded(*more: Event) -> Iterable[Event]:
    """`a` is asked for, ready after three seconds, and free again."""
    return (Arrived(0, "t", A), WorkerReady(3, 1), Left(4, "t"), *more)


def test_a_load_and_how_long_it_took() -> None:
    tally = told(*loaded())
    assert tally.loads == {"a": 1}
    assert tally.load_s == {"a": 3.0}
    assert not tally.ended


def test_idle_too_long() -> None:
    tally = told(*loaded(Ticked(54), WorkerGone(55, 1, None, crashed=True)))
    assert tally.ended == {("a", Ending.IDLE): 1}


def test_evicted_for_another() -> None:
    tally = told(*loaded(Arrived(10, "u", B), WorkerGone(11, 1)))
    assert tally.ended == {("a", Ending.ROOM): 1}


def test_unloaded_idle_or_after_its_last_answer() -> None:
    assert told(*loaded(UnloadAsked(5, "a"))).ended == {("a", Ending.UNLOADED): 1}
    drained = told(Arrived(0, "t", A), WorkerReady(3, 1), UnloadAsked(4, "a"), Left(5, "t"))
    assert drained.ended == {("a", Ending.UNLOADED): 1}


def test_shut_down() -> None:
    assert told(*loaded(ShutdownAsked(5))).ended == {("a", Ending.SHUTDOWN): 1}


def test_crashed_killed_misbehaved_or_never_started() -> None:
    assert told(*loaded(WorkerGone(5, 1))).ended == {("a", Ending.CRASHED): 1}
    assert told(*loaded(WorkerGone(5, 1, None, crashed=False, how="SIGKILL"))).ended == {("a", Ending.KILLED): 1}
    error = Broken("worker_garbage", "Nonsense.", "")
    assert told(*loaded(WorkerMisbehaved(5, 1, error))).ended == {("a", Ending.MISBEHAVED): 1}
    never = told(Arrived(0, "t", A), WorkerGone(1, 1, error, crashed=False))
    assert never.ended == {("a", Ending.NOT_STARTED): 1}
    assert never.refused == {("a", "worker_garbage"): 1}
    assert not never.loads


def test_refused_by_code_but_not_who_only_wanted_a_spare_slot() -> None:
    tally = told(
        Arrived(0, "t", A),
        Arrived(0, "u", A),
        Arrived(0, "v", A, spare_only=True),
        Arrived(1, "w", Demand("c", "c", 200, 1)),
    )
    assert tally.refused == {("a", "queue_full"): 1, ("c", "not_enough_memory"): 1}


@pytest.mark.parametrize("seed", range(60))
def test_every_worker_that_was_started_is_there_or_has_one_ending(seed: int) -> None:
    chance, tally, state, started, now_s = random.Random(seed), Tally(), State(RULES), 0, 0.0
    for turn in range(80):
        now_s += chance.choice((0.1, 3, 60))
        number, demand = chance.randint(1, max(1, state.next_worker)), chance.choice((A, B))
        event = chance.choice(
            (
                Arrived(now_s, f"t{turn}", demand),
                Left(now_s, f"t{chance.randint(0, turn)}"),
                WorkerReady(now_s, number),
                WorkerReady(now_s, state.next_worker - 1),
                WorkerGone(now_s, number, None, crashed=chance.random() < 0.5),
                WorkerMisbehaved(now_s, number, Broken("worker_garbage", "Nonsense.", "")),
                UnloadAsked(now_s, demand.name),
                Ticked(now_s),
            )
        )
        before = state
        state, effects = step(before, event)
        tally.note(before, event, effects)
        started += sum(isinstance(effect, StartWorker) for effect in effects)
        there = sum(worker.phase is not Phase.STOPPING for worker in state.workers.values())
        assert started == there + tally.ended.total()
        assert tally.loads.total() <= started
    assert started
