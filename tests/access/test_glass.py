"""Openings: what can become of one, and what one lets somebody read. Every state with every step; every fact."""

from dataclasses import replace
from itertools import product
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from tests.audit.settable_clock import SettableClock

from intramural.access.glass import (
    LIVE,
    NEXT,
    PURPOSES,
    STATES,
    STEPS,
    Glass,
    Opening,
    after,
    check_minutes,
    check_purpose,
    check_reason,
    ends_ms,
    require_open,
)
from intramural.access.openings import Openings
from intramural.access.policy import ROLE_SCOPES, THROUGH_GLASS, Action, Thing, decide, role_permissions
from intramural.access.rules import parse
from intramural.core.actor import CONSOLE, ROLES, SCOPES, Actor, Place
from intramural.core.config import BreakGlassConfig
from intramural.core.errors import Conflicting, Misasked
from intramural.storage import Database
from intramural.vault import Vault

#: The whole machine once more, as it is promised: state, step -> state; what is not here is refused.
PROMISED = """
requested approve approved
requested refuse  refused
requested close   closed
requested time    expired
requested bar     closed
approved  open    open
approved  refuse  refused
approved  close   closed
approved  time    expired
approved  bar     closed
open      close   closed
open      time    closed
open      bar     closed
"""
NOW = 1_000_000
ASKED = Opening("opening_1", "ada", "bob", None, "legal", "r" * 20, 60, True, "requested", 0, NOW + 1)


def test_the_machine_is_the_one_that_is_promised() -> None:
    promised = {(state, step): to for state, step, to in map(str.split, PROMISED.strip().splitlines())}
    assert dict(NEXT) == promised
    assert {state for state, _ in NEXT} == set(LIVE)
    assert set(STATES) - set(LIVE) == {"closed", "refused", "expired"}


@pytest.mark.parametrize(("state", "step"), [*product(STATES, STEPS)])
def test_every_state_with_every_step(state: str, step: str) -> None:
    opening = replace(ASKED, state=state)  # type: ignore[arg-type]
    wanted = NEXT.get((state, step))  # type: ignore[call-overload]
    if wanted is None:
        with pytest.raises(Conflicting) as caught:
            after(opening, step, NOW)  # type: ignore[arg-type]
        assert caught.value.code == ("opening_not_ready" if state in LIVE else "opening_over")
        assert caught.value.hint
    else:
        assert after(opening, step, NOW) == wanted  # type: ignore[arg-type]
    late = NOW + 1
    if step not in ("time", "bar"):  # at the moment at which it ends nobody does anything any more
        with pytest.raises(Conflicting) as caught:
            after(opening, step, late)  # type: ignore[arg-type]
        assert caught.value.code == "opening_over"


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 3)), max_size=12))
def test_nothing_is_open_that_was_not_agreed_to_and_nothing_comes_back(
    steps: list[tuple[str, int]],
) -> None:
    opening, now, seen = ASKED, 0, ["requested"]
    for step, later in steps:
        now += later * (NOW // 4)
        try:
            state = after(opening, step, now)  # type: ignore[arg-type]
        except Conflicting:
            continue
        opening = replace(opening, state=state)
        seen.append(state)
    assert "open" not in seen or "approved" in seen[: seen.index("open")]
    for at, state in enumerate(seen):
        if state not in LIVE:
            assert at == len(seen) - 1


def test_one_looks_only_while_it_is_open() -> None:
    for state, now in product(STATES, (NOW, NOW + 1)):
        opening = replace(ASKED, state=state)
        if state == "open" and now == NOW:
            require_open(opening, now)
            continue
        with pytest.raises(Conflicting):
            require_open(opening, now)


def test_what_begins_in_a_time_to_come_is_over() -> None:
    """The clock was set back since; a little of that is how clocks are set right."""
    begun = replace(ASKED, state="open", asked_ms=NOW, opened_ms=NOW + 1000, ends_ms=NOW + 3_600_000)
    assert not begun.is_over(NOW + 1000 - 600_000)
    assert begun.is_over(NOW + 1000 - 600_001)
    for step in ("close", "open"):
        with pytest.raises(Conflicting) as caught:
            after(begun, step, NOW - 86_400_000)  # type: ignore[arg-type]
        assert caught.value.code == "opening_over"
    assert after(begun, "time", NOW - 86_400_000) == "closed"


class HourClock(SettableClock):
    """One with which hours go by at once."""

    passed_s = 0.0

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.passed_s


def test_a_clock_that_is_set_back_does_not_lengthen_it() -> None:
    clock = HourClock()
    openings = Openings(cast(Database, None), cast(Vault, None), BreakGlassConfig(), clock)
    now_ms = int(clock.now_s() * 1000)
    opening = replace(ASKED, state="open", asked_ms=now_ms, opened_ms=now_ms, ends_ms=now_ms + 3_600_000)
    assert not opening.is_over(openings.now_ms(opening))
    clock.offset_s = -540.0  # by less than shows in the opening itself, and again and again
    clock.passed_s = 3_599.0
    assert not opening.is_over(openings.now_ms(opening))
    clock.passed_s = 3_601.0
    assert opening.is_over(openings.now_ms(opening))
    clock.offset_s, clock.passed_s = 3_601.0, 0.0
    assert opening.is_over(openings.now_ms(opening)), "set forward, it is over as well"


def test_its_time_runs_from_when_it_is_opened() -> None:
    given_times = {"minutes": 60, "request_hours": 24, "before_ms": 77}
    assert ends_ms("requested", 1000, **given_times) == 1000 + 24 * 3_600_000
    assert ends_ms("approved", 1000, **given_times) == 77
    assert ends_ms("open", 1000, **given_times) == 1000 + 3_600_000
    assert ends_ms("closed", 1000, **given_times) == 77


def test_reasons_purposes_and_minutes_are_bounded() -> None:
    assert check_reason("  The parents of\nthe pupil   have asked. ") == "The parents of the pupil have asked."
    for bad in ("", "too short", "x" * 1001, "right to left \u202e override", "bell \x07 in the middle", "\ud800" * 20):
        with pytest.raises(Misasked) as caught:
            check_reason(bad)
        assert caught.value.code == "bad_reason"
    for purpose in PURPOSES:
        assert check_purpose(purpose) == purpose
    with pytest.raises(Misasked):
        check_purpose("curiosity")
    assert check_minutes(None, 60, 240) == 60
    assert check_minutes(None, 60, 30) == 30
    assert check_minutes(240, 60, 240) == 240
    for minutes in (0, -1, 241):
        with pytest.raises(Misasked):
            check_minutes(minutes, 60, 240)


# what the policy makes of one -----------------------------------------------------------------------------------------

WARD = Place("workspace_1", "Ward", "phi")
OTHER = Place("workspace_2", "Other", "phi")


def person(role: str, who: str = "ada", **more: object) -> Actor:
    return Actor("person", who, who, role, ROLE_SCOPES[role], "session_1", **more)  # type: ignore[index,arg-type]


IDS = st.sampled_from(["ada", "bob", "eve", None])
PLACES = st.sampled_from([None, WARD, OTHER])
GLASSES = st.builds(
    Glass, st.just("opening_1"), st.sampled_from(["ada", "eve"]), IDS, st.sampled_from([None, "workspace_1"])
)


@given(st.sampled_from(ROLES), st.sampled_from(list(Action)), IDS, PLACES, GLASSES)
def test_an_opening_gives_its_asker_reading_of_its_owner_and_place_and_nothing_else(
    role: str, action: Action, owner_id: str | None, place: Place | None, glass: Glass
) -> None:
    actor = person(role)
    without = decide(actor, action, Thing(owner_id, place=place))
    with_it = decide(actor, action, Thing(owner_id, place=place, glass=glass))
    covered = (
        glass.asker_id == "ada"
        and owner_id is not None
        and (glass.person_id is not None or glass.workspace_id is not None)
        and glass.person_id in (None, owner_id)
        and glass.workspace_id in (None, place.id if place else None)
    )
    if action in THROUGH_GLASS and role == "administrator" and covered:
        assert with_it.allowed and with_it.rule == "break_glass"
    else:
        assert with_it == without


@given(st.sampled_from(ROLES), st.sampled_from(list(THROUGH_GLASS)), GLASSES)
def test_no_key_looks_through_it(role: str, action: Action, glass: Glass) -> None:
    actor = Actor("key", "ada", "ada", role, frozenset(SCOPES), "key_1")
    thing = Thing("bob", glass=glass)
    assert not decide(actor, action, thing).allowed


def test_an_auditor_agrees_and_never_looks_and_nobody_agrees_to_their_own() -> None:
    glass = Glass("opening_1", "ada", "bob", None)
    assert decide(person("auditor"), Action.BREAKGLASS_APPROVE, Thing("eve")).allowed
    assert not decide(person("auditor"), Action.CHATS_READ, Thing("bob", glass=glass)).allowed
    for role in ("administrator", "auditor"):
        assert decide(person(role), Action.BREAKGLASS_APPROVE, Thing("ada")).rule == "not_oneself"
    assert decide(CONSOLE, Action.BREAKGLASS_APPROVE, Thing("ada")).rule == "person_required"


def test_the_console_reads_nothing_without_one() -> None:
    for action in THROUGH_GLASS:
        assert decide(CONSOLE, action, Thing("bob")).rule == "break_glass_needed"
        assert decide(CONSOLE, action, Thing("bob", glass=Glass("o", "console", "eve", None))).rule
        assert not decide(CONSOLE, action, Thing("bob", glass=Glass("o", "console", "eve", None))).allowed
        assert decide(CONSOLE, action, Thing("bob", glass=Glass("o", "console", "bob", None))).allowed


def test_a_role_of_ones_own_can_be_given_it_and_cannot_take_word_of_it_away() -> None:
    officer = Actor(
        "person", "ada", "ada", "officer", frozenset(), "session_1", permissions=frozenset({"breakglass.ask"})
    )
    glass = Glass("opening_1", "ada", "bob", None)
    assert decide(officer, Action.CHATS_READ, Thing("bob", glass=glass)).allowed
    assert not decide(officer, Action.CHATS_READ, Thing("eve", glass=glass)).allowed
    assert not decide(officer, Action.BREAKGLASS_APPROVE, Thing("eve")).allowed
    bare = structs.replace(officer, permissions=frozenset({"models.read"}))
    assert not decide(bare, Action.CHATS_READ, Thing("bob", glass=glass)).allowed
    assert decide(bare, Action.ME_READ_OPENINGS, Thing("ada")).allowed
    assert not decide(bare, Action.ME_READ_OPENINGS, Thing("bob")).allowed
    assert "breakglass.ask" not in role_permissions("auditor")


def test_the_institutions_rules_see_where_it_is_and_what_for() -> None:
    rules = parse(
        """
[[rule]]
name = "no_investigations_in_wards"
when = { action = ["chats.read"], label = ["phi"], purpose = ["investigation"] }
reason = "Not of patients."
hint = "Ask the ethics board."
match = [{ action = "chats.read", label = "phi", purpose = "investigation" }]
no_match = [{ action = "chats.read", label = "phi", purpose = "legal" }]
""",
        frozenset(Action),
    )
    elsewhere = person("administrator").inside(Place("workspace_9", "Mine", "public"), "legal")
    for purpose, allowed in (("investigation", False), ("legal", True)):
        glass = Glass("opening_1", "ada", "bob", None, purpose)
        decision = decide(elsewhere, Action.CHATS_READ, Thing("bob", place=WARD, glass=glass), rules)
        assert decision.allowed is allowed
    nowhere = Thing("bob", glass=Glass("o", "ada", "bob", None, "investigation"))
    assert not decide(elsewhere, Action.CHATS_READ, structs.replace(nowhere, place=WARD), rules).allowed
