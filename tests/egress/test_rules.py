"""The table of what may go out, cell by cell; and what holds of it whatever the list says."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intramural.core.errors import Misasked
from intramural.egress.rules import (
    ASKED_FOR,
    MODES,
    PURPOSES,
    Decision,
    Destination,
    Mode,
    Rule,
    decide,
    near_of,
    nearness,
    parse_mode,
    refusal,
)

HUB = Destination("hub.example", 443)
NOW = 1_000_000
ALLOW = Rule("allow", "pull", "hub.example", 443)
DENY = replace(ALLOW, id="deny", verdict="deny")
PAST = replace(ALLOW, id="past", expires_ms=NOW)
LATER = replace(ALLOW, id="later", expires_ms=NOW + 1)
ONCE = replace(ALLOW, id="once", once=True)
DENIED_TILL_NOW = replace(DENY, id="denied till now", expires_ms=NOW)

#: rules | who asked may decide | sealed | supervised | open
TABLE: Sequence[tuple[list[Rule], bool, str, str, str]] = [
    ([], False, "refused egress_sealed", "ask egress_unknown", "allowed open"),
    ([], True, "refused egress_sealed", "allowed asked_for", "allowed asked_for"),
    ([ALLOW], False, "refused egress_sealed", "allowed allow", "allowed allow"),
    ([ALLOW], True, "refused egress_sealed", "allowed allow", "allowed allow"),
    ([DENY], False, "refused egress_sealed", "refused egress_denied", "refused egress_denied"),
    ([DENY], True, "refused egress_sealed", "refused egress_denied", "refused egress_denied"),
    ([ALLOW, DENY], True, "refused egress_sealed", "refused egress_denied", "refused egress_denied"),
    ([PAST], False, "refused egress_sealed", "ask egress_expired", "allowed open"),
    ([PAST], True, "refused egress_sealed", "allowed asked_for", "allowed asked_for"),
    ([PAST, LATER], False, "refused egress_sealed", "allowed later", "allowed later"),
    ([DENIED_TILL_NOW], False, "refused egress_sealed", "ask egress_unknown", "allowed open"),
    ([ONCE, LATER], False, "refused egress_sealed", "allowed later", "allowed later"),
    ([ONCE], False, "refused egress_sealed", "allowed once", "allowed once"),
]


@pytest.mark.parametrize("column", range(3))
@pytest.mark.parametrize("row", TABLE)
def test_the_table(row: tuple[list[Rule], bool, str, str, str], column: int) -> None:
    rules, by_approver, *expected = row
    decision = decide(MODES[column], rules, HUB, "pull", NOW, by_approver=by_approver)
    assert f"{decision.verdict} {decision.by}" == expected[column]


@pytest.mark.parametrize(
    ("rule", "covered"),
    [
        (ALLOW, True),
        (replace(ALLOW, port=8443), False),
        (replace(ALLOW, port=None), True),
        (replace(ALLOW, purpose="push"), False),
        (replace(ALLOW, host="*.example"), True),
        (replace(ALLOW, host="*.hub.example"), False),
        (replace(ALLOW, host="example"), False),
        (replace(ALLOW, host="hub.example.evil"), False),
    ],
)
def test_a_rule_is_for_a_host_a_port_and_a_purpose(rule: Rule, covered: bool) -> None:
    assert rule.covers(HUB, "pull") is covered


@pytest.mark.parametrize(
    ("address", "where"),
    [
        *((each, "here") for each in ("127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "2002:7f00:1::")),
        *((each, "inside") for each in ("10.0.0.1", "172.16.9.9", "192.168.1.1", "100.64.0.1", "fc00::1")),
        *((each, "inside") for each in ("::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "192.0.2.1")),
        *((each, "outside") for each in ("8.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8")),
        *((each, "never") for each in ("169.254.169.254", "fe80::1", "fe80::1%eth0", "224.0.0.1", "ff02::1")),
        *((each, "never") for each in ("0.0.0.0", "0.1.2.3", "::", "255.255.255.255", "240.0.0.1", "2001:0:1::1")),
        *((each, "never") for each in ("fec0::1", "fd00:ec2::254", "100.100.100.200", "::ffff:169.254.169.254")),
    ],
)
def test_where_addresses_are(address: str, where: str) -> None:
    assert nearness(address) == where


@pytest.mark.parametrize(
    ("host", "inside", "near"),
    [
        ("hub.example", False, {"outside"}),
        ("hub.example", True, {"inside", "outside"}),
        ("localhost", False, {"here"}),
        ("models.localhost", True, {"here"}),
        ("127.0.0.1", False, {"here"}),
        ("10.0.0.1", False, {"inside"}),
        ("8.8.8.8", True, {"outside"}),
        ("169.254.169.254", True, {"never"}),
    ],
)
def test_what_a_name_says_of_its_address(host: str, inside: bool, near: set[str]) -> None:
    assert near_of(host, inside=inside) == near


@pytest.mark.parametrize("host", ["", "a b", "a/b", "ä.example", "a@b", "x" * 254, "fe80::1%eth0", "a\0b", "*.example"])
def test_what_is_no_host(host: str) -> None:
    with pytest.raises(Misasked) as caught:
        Destination.of(host, 443)
    assert caught.value.code == "bad_destination"


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_what_is_no_port(port: int) -> None:
    with pytest.raises(Misasked):
        Destination.of("hub.example", port)


def test_a_host_is_written_in_one_way() -> None:
    assert Destination.of("HUB.Example.", 443) == HUB
    assert str(Destination.of("[::1]", 8080)) == "[::1]:8080"


def test_refusals_name_the_rule_and_what_to_do() -> None:
    unknown = refusal(Decision("ask", "egress_unknown"), HUB, "pull")
    assert unknown.code == "egress_unknown"
    assert "intramural egress allow hub.example:443 --purpose pull" in unknown.hint
    assert "intramural egress forget deny" in refusal(Decision("refused", "egress_denied", DENY), HUB, "pull").hint
    assert "sealed" in refusal(Decision("refused", "egress_sealed"), HUB, "pull").message


def test_a_mode_is_one_of_three() -> None:
    assert [parse_mode(each) for each in MODES] == list(MODES)
    with pytest.raises(Misasked):
        parse_mode("opened")


_RULES = st.builds(
    Rule,
    id=st.text("abc", min_size=1, max_size=3),
    purpose=st.sampled_from(PURPOSES),
    host=st.sampled_from(["hub.example", "*.example", "other.example", "*"]),
    port=st.sampled_from([None, 443, 80]),
    verdict=st.sampled_from(["allow", "deny"]),
    near=st.frozensets(st.sampled_from(["here", "inside", "outside"])),
    expires_ms=st.none() | st.integers(NOW - 2, NOW + 2),
    once=st.booleans(),
)
_ASKED = {
    "to": st.builds(Destination, st.sampled_from(["hub.example", "other.example"]), st.sampled_from([443, 80])),
    "purpose": st.sampled_from(PURPOSES),
    "rules": st.lists(_RULES, max_size=5),
    "by_approver": st.booleans(),
}


@given(**_ASKED)
def test_sealed_lets_nothing_out(to, purpose, rules, by_approver) -> None:
    assert decide("sealed", rules, to, purpose, NOW, by_approver=by_approver).verdict == "refused"


@given(mode=st.sampled_from(MODES), more=_RULES, **_ASKED)
def test_denying_more_never_allows_more(mode: Mode, more: Rule, to, purpose, rules, by_approver) -> None:
    before = decide(mode, rules, to, purpose, NOW, by_approver=by_approver)
    denied = [*rules, replace(more, verdict="deny")]
    after = decide(mode, denied, to, purpose, NOW, by_approver=by_approver)
    assert after.verdict != "allowed" or before.verdict == "allowed"


@given(later_ms=st.integers(NOW, NOW + 9), **_ASKED)
def test_what_was_allowed_for_a_time_is_not_allowed_after_it(later_ms: int, to, purpose, rules, by_approver) -> None:
    allowing = [rule for rule in rules if rule.verdict == "allow"]
    now = decide("supervised", allowing, to, purpose, NOW, by_approver=by_approver)
    later = decide("supervised", allowing, to, purpose, later_ms, by_approver=by_approver)
    assert later.verdict != "allowed" or now.verdict == "allowed"


@given(**_ASKED)
def test_what_is_allowed_says_where_it_may_be(to, purpose, rules, by_approver) -> None:
    decision = decide("supervised", rules, to, purpose, NOW, by_approver=by_approver)
    if decision.verdict != "allowed":
        assert decision.near == frozenset()
    elif decision.rule is None:
        assert decision.by == ASKED_FOR and "here" not in decision.near
    else:
        assert decision.near == decision.rule.near and decision.rule.covers(to, purpose)
