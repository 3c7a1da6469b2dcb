"""The breaker as a table, and what holds in any order of events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intramural.serving.remote.breaker import Breaker, Rules, asked, failed, given_up, succeeded

RULES = Rules(failures=3, pause_s=2.0, longest_pause_s=10.0)
CLOSED, TWICE = Breaker(), Breaker("closed", 2)
OPEN = Breaker("open", 3, 1, 12.0)
TRYING = Breaker("half-open", 3, 1, 12.0)


@pytest.mark.parametrize(
    ("before", "event", "now_s", "after"),
    [
        (CLOSED, "failed", 10.0, Breaker("closed", 1)),
        (TWICE, "failed", 10.0, OPEN),
        (TWICE, "succeeded", 10.0, CLOSED),
        (TWICE, "given up", 10.0, TWICE),
        (OPEN, "failed", 11.0, OPEN),
        (OPEN, "succeeded", 11.0, OPEN),
        (OPEN, "given up", 11.0, OPEN),
        (TRYING, "failed", 13.0, Breaker("open", 4, 2, 17.0)),
        (Breaker("half-open", 9, 4, 12.0), "failed", 13.0, Breaker("open", 10, 5, 23.0)),
        (TRYING, "succeeded", 13.0, CLOSED),
        (TRYING, "given up", 13.0, OPEN),
    ],
)
def test_what_becomes_of_it(before: Breaker, event: str, now_s: float, after: Breaker) -> None:
    found = {
        "failed": lambda: failed(before, now_s, RULES),
        "succeeded": lambda: succeeded(before),
        "given up": lambda: given_up(before),
    }[event]()
    assert found == after


@pytest.mark.parametrize(
    ("before", "now_s", "after", "may"),
    [
        (CLOSED, 10.0, CLOSED, True),
        (TWICE, 10.0, TWICE, True),
        (OPEN, 11.9, OPEN, False),
        (OPEN, 12.0, TRYING, True),
        (TRYING, 13.0, TRYING, False),
    ],
)
def test_who_may_ask(before: Breaker, now_s: float, after: Breaker, may: bool) -> None:
    assert asked(before, now_s) == (after, may)


def test_how_long_to_wait() -> None:
    assert (CLOSED.wait_s(11.0), OPEN.wait_s(11.0), OPEN.wait_s(13.0), TRYING.wait_s(13.0)) == (0.0, 1.0, 0.0, 1.0)


EVENTS = st.lists(st.tuples(st.sampled_from(["ask", "ok", "fail", "leave"]), st.floats(0, 30)), max_size=60)


@given(EVENTS)
def test_one_at_most_tries_an_engine_that_failed_and_somebody_always_may_in_the_end(
    events: list[tuple[str, float]],
) -> None:
    breaker, now_s, trying = Breaker(), 0.0, 0
    for kind, passed_s in events:
        now_s += passed_s
        if kind == "ask":
            breaker, may = asked(breaker, now_s)
            trying += may and breaker.phase == "half-open"
        elif kind == "ok":
            breaker = succeeded(breaker)
        elif kind == "fail":
            breaker = failed(breaker, now_s, RULES)
        else:
            breaker = given_up(breaker)
        if breaker.phase != "half-open":
            trying = 0
        assert trying <= 1
        assert (breaker.phase == "closed") == (breaker.pauses == 0)
        assert breaker.wait_s(now_s) <= RULES.longest_pause_s
    breaker = given_up(breaker)
    assert asked(breaker, now_s + RULES.longest_pause_s)[1]
