"""Quotas decided: which limits apply, how windows lie, and that no order of events goes over a limit."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Coroutine
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.chance import tries

from intramural.core.errors import Misasked
from intramural.metering import (
    Amounts,
    Asker,
    Charge,
    Ledger,
    Limit,
    Price,
    Rate,
    Refusal,
    Reservation,
    Standing,
    applying,
    checked_limit,
    parse_prices,
    zone_of,
)
from intramural.metering.quotas import SOON_S, Measure, decide
from intramural.metering.windows import PERIODS, Period, window

ADA = Asker("ada", "key_1", ("g1", "g2"), "w1")
TOKENS = Limit("q1", "everyone", "", None, "tokens", "day", 1_000, each=True)
UTC_ZONE = ZoneInfo("UTC")


def at(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


# what is decided ------------------------------------------------------------------------------------------------------


def test_there_is_room_up_to_the_limit_and_not_beyond() -> None:
    standing = Standing(TOKENS, used=600, held=300, renews_ms=10_000)
    assert decide([standing], Amounts(tokens=100), 0) is None
    refusal = decide([standing], Amounts(tokens=101), 0)
    assert refusal is not None and refusal.standing.remaining == 100


def test_a_refusal_says_when_it_may_be_tried_again() -> None:
    def retry_s(used: int, held: int, wanted: int) -> float | None:
        refusal = decide([Standing(TOKENS, used, held, 90_000)], Amounts(tokens=wanted), 30_000)
        assert refusal is not None
        return refusal.retry_s

    assert retry_s(1_000, 0, 1) == 60  # when the window ends
    assert retry_s(500, 500, 100) == SOON_S  # when others end
    assert retry_s(0, 0, 1_001) is None  # never


def test_of_several_refusals_the_longest_is_told() -> None:
    month = replace(TOKENS, id="q2", period="month")
    both = [Standing(TOKENS, 1_000, 0, 5_000), Standing(month, 1_000, 0, 50_000)]
    refusal = decide(both, Amounts(tokens=1), 0)
    assert refusal is not None and refusal.standing.limit == month


def test_what_is_not_wanted_is_not_refused() -> None:
    streams = replace(TOKENS, measure="streams", period="now", amount=0)
    assert decide([Standing(streams, 0, 0, None)], Amounts(tokens=5), 0) is None


def test_all_shared_limits_apply_and_of_personal_ones_the_nearest() -> None:
    shared = replace(TOKENS, id="pot", each=False)
    limits = [
        TOKENS,
        shared,
        replace(TOKENS, id="g1", subject="group", subject_id="g1", amount=5_000),
        replace(TOKENS, id="g2", subject="group", subject_id="g2", amount=2_000),
        replace(TOKENS, id="w1", subject="workspace", subject_id="w1", each=False),
        replace(TOKENS, id="other", subject="group", subject_id="g3"),
        replace(TOKENS, id="key", subject="key", subject_id="key_1", each=False),
        replace(TOKENS, id="requests", measure="requests"),
    ]
    found = {(limit.id, who) for limit, who in applying(limits, ADA, "m")}
    assert found == {("pot", ""), ("g1", "ada"), ("w1", ""), ("key", ""), ("requests", "ada")}
    mine = [*limits, replace(TOKENS, id="mine", subject="person", subject_id="ada", each=False, amount=1)]
    assert {limit.id for limit, who in applying(mine, ADA, "m") if who} == {"mine", "requests"}


def test_a_limit_on_a_model_is_for_that_alone_and_beside_that_on_all() -> None:
    limits = [TOKENS, replace(TOKENS, id="big", model="big", amount=10)]
    assert [limit.id for limit, _ in applying(limits, ADA, "small")] == ["q1"]
    assert [limit.id for limit, _ in applying(limits, ADA, "big")] == ["q1", "big"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"subject_id": "ada"},
        {"subject": "person"},
        {"amount": -1},
        {"amount": 2**53},
        {"period": "now"},
        {"measure": "streams"},
        {"measure": "storage_bytes", "period": "now", "model": "m"},
        {"measure": "storage_bytes", "period": "now", "subject": "workspace", "subject_id": "w", "each": True},
        {"measure": "storage_bytes", "period": "now", "subject": "key", "subject_id": "k", "each": True},
        {"subject": "person", "subject_id": "ada", "each": True},
        {"measure": "miles"},
    ],
)
def test_what_can_be_no_limit_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(Misasked, match="bad_quota"):
        checked_limit(replace(TOKENS, **wrong))  # type: ignore[arg-type]  # wrong on purpose


def test_prices_are_read_and_rounded_up() -> None:
    found = parse_prices("a=0.5, b:7b=0.2/0.8,*=1")
    assert found["b:7b"] == Price(200_000, 800_000) and set(found) == {"a", "b:7b", "*"}
    assert found["a"].of(1_000, 1_000) == 1_000_000
    assert Price(1, 1).of(1, 0) == 1
    for wrong in ("a", "a=", "=1", "a=x", "a=-1", "a=1e400", "a=nan"):
        with pytest.raises(Misasked, match="bad_setting"):
            parse_prices(wrong)


# windows --------------------------------------------------------------------------------------------------------------


def test_windows_are_the_calendars_of_the_institution() -> None:
    berlin = zone_of("Europe/Berlin")
    now = at("2026-03-29T12:34:56", "Europe/Berlin")  # the day the clocks change: 23 hours
    day = window("day", now, berlin)
    assert (day.start_ms, day.end_ms - day.start_ms) == (at("2026-03-29", "Europe/Berlin"), 23 * 3_600_000)
    month = window("month", at("2026-12-31T23:59:59", "Europe/Berlin"), berlin)
    assert month.end_ms == at("2027-01-01", "Europe/Berlin")
    india = window("hour", at("2026-01-01T10:20:00", "Asia/Kolkata"), zone_of("Asia/Kolkata"))
    assert india.start_ms == at("2026-01-01T10:00:00", "Asia/Kolkata")


@settings(max_examples=tries(300), deadline=None)
@given(
    st.sampled_from([period for period in PERIODS if period != "now"]),
    st.integers(0, 4_000_000_000_000),
    st.sampled_from(
        ["UTC", "Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Cairo"]
    ),
)
def test_every_moment_is_in_one_window_and_the_next_begins_where_it_ends(
    period: str, now_ms: int, zone_name: str
) -> None:
    zone = zone_of(zone_name)
    found = window(period, now_ms, zone)  # type: ignore[arg-type]  # drawn from the periods
    assert found.holds(now_ms)
    assert period == "hour" or window(period, found.start_ms, zone) == found  # type: ignore[arg-type]  # as above
    assert not window(period, found.end_ms, zone).holds(now_ms)  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("name", ["Nowhere/Land", "", "../etc/passwd", "Europe"])
def test_a_time_zone_that_is_none_is_a_bad_setting(name: str) -> None:
    with pytest.raises(Misasked, match="bad_setting"):
        zone_of(name)


# the ledger -----------------------------------------------------------------------------------------------------------

_LIMITS = (
    replace(TOKENS, amount=500),
    replace(TOKENS, id="pot", each=False, amount=900, period="hour"),
    replace(TOKENS, id="requests", measure="requests", period="minute", amount=4),
    replace(TOKENS, id="streams", measure="streams", period="now", amount=2),
    replace(TOKENS, id="money", measure="money", period="month", amount=3_000, each=False),
    replace(TOKENS, id="engine", measure="seconds", amount=9_000),
)
_STEP = st.one_of(
    st.tuples(st.just("ask"), st.integers(0, 2), st.integers(1, 400)),
    st.tuples(st.just("grow"), st.integers(0, 20), st.integers(1, 200)),
    st.tuples(st.just("shrink"), st.integers(0, 20), st.integers(1, 50)),
    st.tuples(st.just("end"), st.integers(0, 20), st.integers(0, 100)),
    st.tuples(st.just("clock"), st.sampled_from([-86_400_000, -3_600_000, 30_000, 3_600_000, 86_400_000]), st.just(0)),
    st.tuples(st.just("crash"), st.just(0), st.just(0)),
)

#: An ordinary day, and moments before clocks are changed: by an hour at three and at two, at midnight, by half an hour.
_WHEN = [
    (at("2026-05-05T10:00:00"), "UTC"),
    (at("2026-10-25T02:59:30", "Europe/Berlin"), "Europe/Berlin"),
    (at("2026-03-29T01:59:30", "Europe/Berlin"), "Europe/Berlin"),
    (at("2026-03-07T23:59:30", "America/Havana"), "America/Havana"),
    (at("2026-04-05T01:59:30", "Australia/Lord_Howe"), "Australia/Lord_Howe"),
]


def at_once(work: Coroutine[Any, Any, None]) -> None:
    """Run what never waits."""
    with pytest.raises(StopIteration):
        work.send(None)


class _House:
    """A ledger with the rows beside it, which outlive it."""

    def __init__(self, capacity: int, now_ms: int = at("2026-05-05T10:00:00"), zone: str = "UTC") -> None:
        self.rows = Counter[tuple[str, str, int]]()
        self.open: dict[str, Reservation] = {}
        self.now_ms, self.zone = now_ms, ZoneInfo(zone)
        self.names = iter(range(10**6))
        self.capacity = capacity
        self.start()

    def start(self) -> None:
        """As at a start: what was left open is charged in full, nothing is remembered."""
        for reservation in self.open.values():
            self._write(reservation.charges())
        self.open = {}
        self.ledger = Ledger(self._load, self.zone, self.capacity)
        self.ledger.use(_LIMITS)

    async def _load(self, *key: Any) -> int:
        return self.rows[key]

    def standings(self, who: str) -> list[Standing]:
        asker = Asker(who, None)
        at_once(self.ledger.prepare(asker, "m", self.now_ms))
        return self.ledger.standings(asker, "m", self.now_ms)

    def ask(self, who: int, tokens: int) -> None:
        name = str(next(self.names))
        wanted = Amounts(1, tokens, tokens * 10, 1, tokens * 3)
        at_once(self.ledger.prepare(Asker(f"p{who}", None), "m", self.now_ms))
        found = self.ledger.reserve(name, Asker(f"p{who}", None), "m", wanted, self.now_ms)
        if isinstance(found, Reservation):
            self.open[name] = found

    def change(self, which: int, factor: int) -> None:
        if name := self._name(which):
            tokens = self.open[name].wanted.tokens + factor if factor > 0 else 1
            self.ledger.change(self.open[name], Amounts(1, tokens, tokens * 10, 1, tokens * 3), self.now_ms)

    def end(self, which: int, percent: int) -> None:
        """It used some part of what it held."""
        if name := self._name(which):
            reservation = self.open.pop(name)
            tokens = reservation.wanted.tokens * percent // 100
            self._write(self.ledger.settle(reservation, Amounts(1, tokens, tokens * 10, 0, tokens * 3)))
            self.ledger.written(reservation)

    def _name(self, which: int) -> str | None:
        names = list(self.open)
        return names[which % len(names)] if names else None

    def _write(self, charges: list[Charge]) -> None:
        for each in charges:
            self.rows[each.limit_id, each.who, each.start_ms] += each.amount

    def check(self) -> None:
        """Of every limit and window: what is used and what is held are at most the limit."""
        amounts = {limit.id: limit.amount for limit in _LIMITS}
        total = defaultdict(int, self.rows)
        for reservation in self.open.values():
            for charge in reservation.charges():
                total[charge.limit_id, charge.who, charge.start_ms] += charge.amount
        for (limit_id, who, start_ms), amount in total.items():
            assert amount <= amounts[limit_id], (limit_id, who, start_ms)
        streams = Counter(charge.who for each in self.open.values() for charge in each.charges() if charge.who)
        assert all(self._streams(who) <= 2 for who in streams)
        for who in ("p0", "p1", "p2"):
            for standing in self.standings(who):
                assert standing.used + standing.held <= standing.limit.amount

    def _streams(self, who: str) -> int:
        return sum(any(charge.who == who for charge in each.charges()) for each in self.open.values())


@settings(max_examples=tries(400), deadline=None)
@given(st.lists(_STEP, max_size=60), st.sampled_from([2, 1_000]), st.sampled_from(_WHEN))
def test_no_order_of_events_goes_over_a_limit(
    steps: list[tuple[str, int, int]], capacity: int, when: tuple[int, str]
) -> None:
    """Clients that ask, go on and end in any order; clocks that are set, also over the days on which the institution's
    own change; crashes; a memory that forgets."""
    house = _House(capacity, *when)
    for what, one, two in steps:
        if what == "ask":
            house.ask(one, two)
        elif what == "grow":
            house.change(one, two)
        elif what == "shrink":
            house.change(one, 0)
        elif what == "end":
            house.end(one, two)
        elif what == "clock":
            house.now_ms += one
        else:
            house.start()
        house.check()


def test_a_clock_set_back_leads_into_the_window_that_was_there() -> None:
    house = _House(2)
    house.ask(0, 400)
    house.end(0, 100)
    house.now_ms += 86_400_000
    house.ask(0, 400)
    house.end(0, 100)
    house.now_ms -= 86_400_000
    (day,) = (s for s in house.standings("p0") if s.limit.id == "q1")
    assert (day.used, day.renews_ms) == (400, at("2026-05-06"))


#: Whose limit it is; who is under it; whose use is another balance; who is not under it at all.
_BEN, _CAI = Asker("ben", "key_2", ("g1",), "w1"), Asker("cai", "key_3", ("g9",), "w9")
_SUBJECTS: dict[str, tuple[dict[str, Any], Asker | None, Asker | None]] = {
    "everyone together": ({"subject": "everyone", "each": False}, None, None),
    "each of everyone": ({"subject": "everyone", "each": True}, _BEN, None),
    "a person": ({"subject": "person", "subject_id": "ada", "each": False}, None, _BEN),
    "a group together": ({"subject": "group", "subject_id": "g1", "each": False}, None, _CAI),
    "each of a group": ({"subject": "group", "subject_id": "g1", "each": True}, _BEN, _CAI),
    "a key": ({"subject": "key", "subject_id": "key_1", "each": False}, None, _BEN),
    "a workspace together": ({"subject": "workspace", "subject_id": "w1", "each": False}, None, _CAI),
    "each of a workspace": ({"subject": "workspace", "subject_id": "w1", "each": True}, _BEN, _CAI),
}
_WINDOWS = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000, "month": 31 * 86_400_000}
_ONE = {
    "requests": Amounts(requests=1),
    "tokens": Amounts(tokens=1),
    "seconds": Amounts(engine_ms=1),
    "money": Amounts(micros=1),
}


def _take(house: _House, asker: Asker, model: str, wanted: Amounts) -> bool:
    """Whether it was let through; used at once."""
    at_once(house.ledger.prepare(asker, model, house.now_ms))
    found = house.ledger.reserve(str(next(house.names)), asker, model, wanted, house.now_ms)
    if isinstance(found, Reservation):
        house._write(house.ledger.settle(found, wanted))
        house.ledger.written(found)
    return not isinstance(found, Refusal)


@pytest.mark.parametrize("period", _WINDOWS)
@pytest.mark.parametrize("subject", _SUBJECTS)
@pytest.mark.parametrize("measure", _ONE)
def test_every_measure_holds_for_every_subject_in_every_window(measure: Measure, subject: str, period: Period) -> None:
    """Of five, five pass; others have what is theirs; the next window has five again; and clocks set back by an hour
    or a day lead to windows in which no more than five pass either."""
    fields, own_balance, free = _SUBJECTS[subject]
    one = _ONE[measure]
    for model in (None, "m"):
        house = _House(2, at("2026-05-05T10:30:30"))
        whose = fields["subject"], fields.get("subject_id", "")
        limit = checked_limit(Limit("q", *whose, model, measure, period, 5, fields["each"]))
        house.ledger.use((limit,))
        assert [_take(house, ADA, "m", one) for _ in range(6)] == [True] * 5 + [False]
        assert _take(house, ADA, "other", one) == (model is not None)
        if own_balance is not None:
            assert [_take(house, own_balance, "m", one) for _ in range(6)] == [True] * 5 + [False]
        elif not limit.personal and fields["subject"] != "key":
            assert not _take(house, _BEN, "m", one)  # it is one balance for all of them
        if free is not None:
            assert all(_take(house, free, "m", one) for _ in range(6))
        began_ms = house.now_ms
        house.now_ms += _WINDOWS[period]
        assert [_take(house, ADA, "m", one) for _ in range(6)] == [True] * 5 + [False]
        for back_ms in (3_600_000, 86_400_000):
            house.now_ms = began_ms + _WINDOWS[period] - back_ms
            assert sum(_take(house, ADA, "m", one) for _ in range(12)) <= 5
        house.now_ms = began_ms
        assert not _take(house, ADA, "m", one)
        assert max(house.rows.values()) == 5


@pytest.mark.parametrize("subject", _SUBJECTS)
def test_streams_are_limited_for_every_subject_whatever_the_clock_says(subject: str) -> None:
    fields, _, free = _SUBJECTS[subject]
    house = _House(2)
    limit = Limit("q", fields["subject"], fields.get("subject_id", ""), None, "streams", "now", 2, fields["each"])
    house.ledger.use((checked_limit(limit),))
    under_way: list[Reservation] = []

    def begin(asker: Asker) -> bool:
        at_once(house.ledger.prepare(asker, "m", house.now_ms))
        found = house.ledger.reserve(str(next(house.names)), asker, "m", Amounts(1, 1, 1, 1), house.now_ms)
        if isinstance(found, Reservation):
            under_way.append(found)
        return not isinstance(found, Refusal)

    assert [begin(ADA) for _ in range(3)] == [True, True, False]
    for set_ms in (-86_400_000, 3_600_000, 86_400_000):
        house.now_ms += set_ms
        assert not begin(ADA)
    assert free is None or begin(free)
    house.ledger.settle(under_way.pop(0), Amounts(1, 1, 1, 1))
    assert [begin(ADA) for _ in range(2)] == [True, False]


def test_on_the_day_the_clocks_change_an_hour_more_or_less_is_the_same_day() -> None:
    """Ten tokens a day in Berlin: the day of October has 25 hours, that of March 23, and each gives ten."""
    for day, hours in (("2026-10-25", 25), ("2026-03-29", 23)):
        house = _House(2, at(day, "Europe/Berlin"), "Europe/Berlin")
        house.ledger.use((replace(TOKENS, amount=10),))
        passed = 0
        for _ in range(hours * 4):
            passed += _take(house, ADA, "m", Amounts(tokens=1))
            house.now_ms += 900_000
        assert passed == 10
        assert house.now_ms == at(day, "Europe/Berlin") + hours * 3_600_000
        assert _take(house, ADA, "m", Amounts(tokens=1))  # midnight


def test_what_is_let_go_is_there_for_the_next() -> None:
    house = _House(1_000)
    house.ask(0, 400)
    house.ask(0, 200)
    assert len(house.open) == 1
    house.end(0, 0)
    house.ask(0, 400)
    assert len(house.open) == 1


def test_limits_changed_while_answers_are_under_way() -> None:
    house = _House(1_000)
    house.ask(0, 400)
    house.ledger.use((replace(_LIMITS[0], amount=300),))
    (day,) = house.standings("p0")
    assert (day.held, day.remaining) == (400, 0)
    house.end(0, 50)
    (day,) = house.standings("p0")
    assert (day.used, day.held, day.remaining) == (200, 0, 100)


# rates ----------------------------------------------------------------------------------------------------------------


def test_a_rate_lets_a_burst_pass_and_then_what_comes_evenly() -> None:
    rate = Rate(60)
    assert [rate.wait_s("a", 0.0) for _ in range(60)] == [0.0] * 60
    assert rate.wait_s("a", 0.0) == pytest.approx(1.0)
    assert rate.wait_s("b", 0.0) == 0.0
    assert rate.wait_s("a", 1.0) == 0.0
    assert rate.wait_s("a", 1.0) > 0
    assert Rate(0).wait_s("a", 0.0) == 0.0


@given(st.lists(st.floats(0, 30), max_size=200), st.integers(1, 30))
def test_within_any_minute_no_more_than_twice_the_rate(gaps: list[float], per_minute: int) -> None:
    rate, now_s, passed = Rate(per_minute), 0.0, list[float]()
    for gap in gaps:
        now_s += gap
        if rate.wait_s("a", now_s) == 0:
            passed.append(now_s)
    for start_s in passed:
        assert sum(start_s <= each < start_s + 60 for each in passed) <= 2 * per_minute


def test_names_beyond_the_capacity_are_forgotten() -> None:
    rate = Rate(1, capacity=2)
    for name in "abc":
        rate.wait_s(name, 0.0)
    assert rate.wait_s("c", 0.0) > 0 and rate.wait_s("a", 0.0) == 0


async def test_a_balance_is_read_once_however_many_want_it_and_none_is_forgotten_meanwhile() -> None:
    """Reads that take long, a memory of one, and many at once: nobody is admitted for room that was given away."""
    rows, reads = Counter[tuple[str, str, int]](), list[str]()

    async def load(limit_id: str, who: str, start_ms: int) -> int:
        reads.append(who)
        found = rows[limit_id, who, start_ms]
        for _ in range(len(reads) % 5):
            await asyncio.sleep(0)
        return found

    ledger = Ledger(load, UTC_ZONE, capacity=1)
    ledger.use((replace(TOKENS, amount=10),))
    admitted, now_ms = Counter[str](), at("2026-05-05")

    async def ask(number: int) -> None:
        asker = Asker(f"p{number % 3}", None)
        await ledger.prepare(asker, "m", now_ms)
        found = ledger.reserve(str(number), asker, "m", Amounts(1, 1), now_ms)
        if isinstance(found, Reservation):
            admitted[asker.person_id] += 1
            await asyncio.sleep(0)
            for charge in ledger.settle(found, Amounts(1, 1)):
                rows[charge.limit_id, charge.who, charge.start_ms] += charge.amount
            ledger.written(found)

    for start in range(0, 300, 20):
        await asyncio.gather(*(ask(number) for number in range(start, start + 20)))
    assert admitted == {"p0": 10, "p1": 10, "p2": 10}
