"""The table of a pull: the shelf is reached through Verify and Inspect, or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intramural.core.errors import Broken, Conflicting, IntramuralError, Unavailable, Untrusted
from intramural.library.pull import FINAL, MOVES, Event, IllegalMove, PullState, Step, advance, end


def walk(state: PullState, events: list[Event]) -> tuple[PullState, list[Event]]:
    """Apply those events that the table allows; returns where it led and what was applied."""
    applied = []
    for event in events:
        if event in MOVES[state.step]:
            state = advance(state, event)
            applied.append(event)
    return state, applied


@given(st.lists(st.sampled_from(Event), max_size=40))
def test_nothing_is_shelved_unchecked(events: list[Event]) -> None:
    state, applied = walk(PullState(), events)
    if state.step != Step.SHELVED:
        return
    arrived = max(applied.index(event) for event in (Event.FETCHED, Event.ON_SHELF) if event in applied)
    last_fetched = max([arrived, *(n for n, event in enumerate(applied) if event == Event.FETCHED)])
    assert applied[last_fetched + 1 :] == [Event.INTACT, Event.PASSED, Event.STORED]


def test_every_step_is_in_the_table_and_every_event_is_used() -> None:
    assert set(MOVES) == set(Step)
    assert {event for moves in MOVES.values() for event in moves} == set(Event)
    assert {Step.SHELVED, Step.REFUSED, Step.STOPPED} == FINAL
    for step in set(Step) - FINAL:
        assert MOVES[step][Event.FAILED_CHECK] == Step.REFUSED
        assert MOVES[step][Event.INTERRUPTED] == Step.STOPPED


@given(st.sampled_from(Step), st.sampled_from(Event))
def test_other_moves_are_bugs(step: Step, event: Event) -> None:
    if event in MOVES[step]:
        assert advance(PullState(step), event).step == MOVES[step][event]
    else:
        with pytest.raises(IllegalMove):
            advance(PullState(step), event)


@pytest.mark.parametrize(
    ("error", "step"),
    [
        (Untrusted("x", "m"), Step.REFUSED),
        (Conflicting("x", "m"), Step.REFUSED),
        (Broken("x", "m"), Step.STOPPED),
        (Unavailable("x", "m"), Step.STOPPED),
        (None, Step.STOPPED),
    ],
)
def test_endings(error: IntramuralError | None, step: Step) -> None:
    state = end(PullState(Step.FETCHING, 5, 10), error)
    assert (state.step, state.done_bytes) == (step, 5)
    assert state.code == ("x" if error else "cancelled")
    assert end(PullState(Step.SHELVED), error) == PullState(Step.SHELVED)


def test_counting_starts_again_with_each_pass_over_the_bytes() -> None:
    state = advance(PullState(Step.FETCHING, 10, 10), Event.FETCHED)
    assert (state.step, state.done_bytes, state.total_bytes) == (Step.VERIFYING, 0, 10)
