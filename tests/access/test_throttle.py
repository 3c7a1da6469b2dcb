"""Sliding windows: what they admit, how long they say to wait, what they remember."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intramural.access.throttle import OPEN_MOST, SlidingWindow, Throttle
from intramural.core.errors import Throttled

# Steps of (who, whole seconds since the step before): whole numbers add up exactly.
STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40)), max_size=80)


@given(steps=STEPS, limit=st.integers(1, 5), window_s=st.integers(1, 60))
def test_no_window_anywhere_holds_more_than_the_limit(steps, limit, window_s):
    window = SlidingWindow(limit, window_s)
    admitted: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    now_s = 0
    for who, gap_s in steps:
        now_s += gap_s
        if window.wait_s(who, now_s) == 0:
            window.count(who, now_s)
            admitted[who].append(now_s)
    for times in admitted.values():
        for start in times:
            assert sum(start <= at < start + window_s for at in times) <= limit


@given(steps=STEPS, limit=st.integers(1, 5), window_s=st.integers(1, 60))
def test_a_name_is_refused_only_by_its_own_attempts_and_exactly_as_long_as_it_is_told(steps, limit, window_s):
    window = SlidingWindow(limit, window_s)
    now_s = 0
    mine: list[int] = []
    for who, gap_s in steps:
        now_s += gap_s
        wait_s = window.wait_s(who, now_s)
        if who == "a":
            assert (wait_s > 0) == (sum(at + window_s > now_s for at in mine) >= limit)
        if wait_s:
            assert window.wait_s(who, now_s + wait_s) == 0
            assert window.wait_s(who, now_s + wait_s - 1) > 0
            continue
        window.count(who, now_s)
        mine += [now_s] if who == "a" else []


@given(names=st.lists(st.text(max_size=3), max_size=200), capacity=st.integers(1, 10))
def test_memory_is_bounded(names, capacity):
    window = SlidingWindow(3, 60, capacity)
    for second, name in enumerate(names):
        window.count(name, second)
        assert len(window) <= capacity


def test_what_has_lapsed_is_forgotten():
    window = SlidingWindow(3, 60)
    for name in "abc":
        window.count(name, 0)
    window.count("d", 100)
    assert len(window) == 1


def guess(throttle, name, address, now_s):
    """An attempt that fails."""
    throttle.failed(throttle.admit(name, address, now_s), now_s)


def test_a_name_is_throttled_from_every_address_and_an_address_for_every_name():
    throttle = Throttle(3, 60)
    for each in range(3):
        throttle.admit("ada", f"10.0.0.{each}", 0)
    with pytest.raises(Throttled) as caught:
        throttle.admit("ada", "10.0.0.9", 10)
    assert caught.value.code == "too_many_attempts"
    assert caught.value.retry_after_s == 50
    for each in range(3):
        guess(throttle, f"name{each}", "10.0.1.1", 0)
    with pytest.raises(Throttled):
        throttle.admit("another", "10.0.1.1", 0)
    throttle.admit("another", "10.0.1.2", 0)


def test_a_refused_attempt_does_not_prolong_the_wait():
    throttle = Throttle(2, 60)
    throttle.admit("ada", "10.0.0.1", 0)
    throttle.admit("ada", "10.0.0.1", 30)
    for second in range(31, 60):
        with pytest.raises(Throttled):
            throttle.admit("ada", "10.0.0.1", second)
    throttle.admit("ada", "10.0.0.1", 60)


def test_success_takes_back_its_own_attempt_and_no_earlier_failure():
    throttle = Throttle(2, 60)
    throttle.admit("ada", "10.0.0.1", 0)
    for second in range(1, 20):
        throttle.succeeded(throttle.admit("ada", "10.0.0.1", second))
    throttle.admit("ada", "10.0.0.1", 20)
    with pytest.raises(Throttled):
        throttle.admit("ada", "10.0.0.1", 21)


def test_one_ipv6_machine_is_one_address_however_many_it_uses():
    throttle = Throttle(2, 60)
    guess(throttle, "a", "2001:db8:1:2::1", 0)
    guess(throttle, "b", "2001:db8:1:2:ffff::2", 0)
    with pytest.raises(Throttled):
        throttle.admit("c", "2001:db8:1:2:abcd::3", 0)
    throttle.admit("c", "2001:db8:1:3::1", 0)
    guess(throttle, "d", "::ffff:10.0.0.1", 0)
    guess(throttle, "e", "10.0.0.1", 0)
    with pytest.raises(Throttled):
        throttle.admit("f", "10.0.0.1", 0)
    throttle.admit("g", "not an address", 0)


def test_many_who_sign_in_from_one_address_at_once_wait_for_seconds_and_only_failures_count():
    throttle = Throttle(10, 300, address_attempts=5)
    under_way = [throttle.admit(f"n{each}", "10.0.0.1", 0) for each in range(OPEN_MOST)]
    with pytest.raises(Throttled) as caught:
        throttle.admit("next", "10.0.0.1", 0)
    assert (caught.value.code, caught.value.retry_after_s < 10) == ("sign_in_busy", True)
    throttle.admit("elsewhere", "10.0.0.2", 0)
    for each in under_way[:50]:
        throttle.succeeded(each)
    throttle.succeeded(throttle.admit("next", "10.0.0.1", 1))
    for each in under_way[50:55]:
        throttle.failed(each, 2)
    with pytest.raises(Throttled) as caught:
        throttle.admit("next", "10.0.0.1", 2)
    assert (caught.value.code, caught.value.retry_after_s) == ("too_many_attempts", 300)


@given(steps=st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.integers(0, 30)), max_size=60))
def test_no_address_fails_more_often_than_its_window_holds(steps):
    throttle = Throttle(1000, 60, address_attempts=3)
    now_s, failures = 0, {"a": [], "b": []}
    for address, fails, gap_s in steps:
        now_s += gap_s
        try:
            attempt = throttle.admit(f"name{now_s}", address, now_s)
        except Throttled:
            assert sum(at + 60 > now_s for at in failures[address]) >= 3
            continue
        if fails:
            throttle.failed(attempt, now_s)
            failures[address].append(now_s)
        else:
            throttle.succeeded(attempt)
    assert throttle._open == {}
    for times in failures.values():
        assert all(sum(start <= at < start + 60 for at in times) <= 3 for start in times)
