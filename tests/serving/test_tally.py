"""What became of workers is counted from the scheduler's steps, each under its reason."""

from collections.abc import Iterable

from intramural.core.errors import Broken
from intramural.serving import Ending, Tally
from intramural.serving.scheduler import (
    Arrived,
    Demand,
    Event,
    Left,
    Rules,
    ShutdownAsked,
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


def test_crashed_misbehaved_or_never_started() -> None:
    assert told(*loaded(WorkerGone(5, 1))).ended == {("a", Ending.CRASHED): 1}
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
