"""Who makes room: pure, tabulated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intramural.serving.eviction import HALF_LIFE_S, NO_HABITS, Habit, Holding, cheapest, remembered

GB = 10**9


def asked(times: int, *, every_s: float = 60.0, load_s: float | None = None) -> Habit:
    """Asked so often, the last time at 0."""
    habit = Habit(load_s=load_s)
    for number in range(times):
        habit = habit.asked((number + 1 - times) * every_s)
    return habit


@pytest.mark.parametrize(
    ("cheaper", "dearer"),
    [
        ((asked(1, load_s=5), GB), (asked(10, load_s=5), GB)),  # nobody wants it
        ((asked(10, load_s=1), 9 * GB), (asked(10, load_s=20), GB)),  # it is back at once
        ((asked(3), GB), (asked(3), 8 * GB)),  # never timed: it is larger
        ((asked(100, load_s=0.5), GB), (asked(3, load_s=30), 20 * GB)),
        ((Habit(load_s=60), GB), (asked(1, load_s=1), GB)),  # asked for by nobody at all
    ],
)
def test_what_an_absence_costs(cheaper: tuple[Habit, int], dearer: tuple[Habit, int]) -> None:
    costs = [habit.absence_s(0.0, memory) for habit, memory in (cheaper, dearer)]
    assert costs[0] < costs[1]


def test_what_was_asked_for_is_forgotten_by_halves() -> None:
    habit = asked(8, every_s=0.0)
    assert [round(habit.decayed(HALF_LIFE_S * n), 3) for n in range(4)] == [8, 4, 2, 1]
    assert 0 < habit.likelihood(HALF_LIFE_S * 5) < habit.likelihood(0.0) < 1
    assert habit.decayed(-50.0) == 8  # a clock never goes back; if it seems to, nothing is invented


@pytest.mark.parametrize(
    ("holdings", "need", "expected"),
    [
        ([(1, 4, 2.0), (2, 4, 1.0)], 4, [2]),
        ([(1, 4, 2.0), (2, 4, 1.0)], 5, [1, 2]),
        ([(1, 4, 2.0), (2, 4, 1.0)], 9, None),
        ([(1, 8, 5.0), (2, 4, 1.0), (3, 4, 1.0)], 8, [2, 3]),  # two that nobody wants, not the one that a class uses
        ([(1, 8, 1.5), (2, 4, 1.0), (3, 4, 1.0)], 8, [1]),
        ([(1, 4, 0.0), (2, 4, 0.0)], 4, [1]),  # equal: the first
        ([(1, 4, 0.0), (2, 9, 0.0)], 0, []),
        ([], 1, None),
    ],
)
def test_the_cheapest_that_are_enough(
    holdings: list[tuple[int, int, float]], need: int, expected: list[int] | None
) -> None:
    assert cheapest([Holding(*each) for each in holdings], need) == expected


@given(
    st.lists(st.tuples(st.integers(1, 50), st.floats(0, 100)), min_size=1, max_size=16),
    st.integers(0, 400),
)
def test_it_is_always_enough_and_never_one_too_many(sizes: list[tuple[int, float]], need: int) -> None:
    holdings = [Holding(number, *each) for number, each in enumerate(sizes)]
    chosen = cheapest(holdings, need)
    total = sum(each.memory_bytes for each in holdings)
    assert (chosen is None) == (total < need)
    assert chosen is None or sum(holdings[each].memory_bytes for each in chosen) >= need
    if chosen and len(holdings) <= 10:
        freed = sum(holdings[each].memory_bytes for each in chosen)
        spare = [each for each in chosen if freed - holdings[each].memory_bytes >= need and holdings[each].cost > 1e-5]
        assert not spare


def test_what_is_remembered_has_a_bound() -> None:
    habits = NO_HABITS
    for number in range(1000):
        habits = remembered(habits, (f"m{number}", ""), Habit(1.0, float(number)))
    assert len(habits) == 256
    assert ("m999", "") in habits
