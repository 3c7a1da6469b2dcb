"""What hostile code in a worker can do: every attempt, each layer alone and all together, as root and ordinary user."""

import json
import os
import warnings
from functools import cache
from pathlib import Path

import pytest
from tests.sandbox.attempts import ATTEMPTS
from tests.sandbox.conftest import ROOT, Runner, users
from tests.sandbox.expected import COLUMNS, EXPECTED, LANDLOCK_SINCE, MACHINES_DIFFER, NO_CONTROL, OPEN, SERVICE, TOLD
from tests.sandbox.sealed import OWN

from intramural.sandbox import landlock

_WORDS = {"w": "works", "r": "refused"}
_ALWAYS_REFUSAL = frozenset({"EPERM", "EACCES"})
_PAGE = ROOT / "docs/security.md"
_TABLE_ABI = 7

Found = dict[str, dict[str, str]]
_ran: dict[str, Found] = {}


@pytest.fixture(scope="module")
def found(as_user: Runner) -> Found:
    """column → attempt → result, as the user of the fixture."""
    if as_user.who not in _ran:
        _ran[as_user.who] = json.loads(as_user.run("-m", "tests.sandbox.matrix"))
    return _ran[as_user.who]


def _expected(name: str, column: str, who: str) -> str:
    word = _WORDS[EXPECTED[name][0 if who == "root" else 1][COLUMNS.index(column)]]
    since = LANDLOCK_SINCE.get(name)
    if column == "landlock" and since is not None and (since <= landlock.abi()) != (since <= _TABLE_ABI):
        return "refused" if since <= landlock.abi() else _expected(name, "user", who)
    return word


def _outcome(name: str, result: str) -> str:
    """Refused means refused by something whose job it is: any other error is a broken attempt, not a wall."""
    if result == "works":
        return "works"
    refusals = _ALWAYS_REFUSAL | {**ATTEMPTS, **OWN}[name].refusals
    return "refused" if result in refusals else f"failed with {result}"


def test_every_attempt_is_recorded() -> None:
    assert set(ATTEMPTS) <= set(EXPECTED)
    assert {*OPEN, *NO_CONTROL, *LANDLOCK_SINCE, *MACHINES_DIFFER} <= set(EXPECTED)
    assert set(SERVICE) == {*EXPECTED, *OWN}


def test_all_layers_refuse_everything_but_what_is_stated(found: Found, as_user: Runner) -> None:
    for column in ("all", "all, Landlock ABI 1", "all, Landlock ABI 2", "parser"):
        works = {name for name, result in found[column].items() if _outcome(name, result) != "refused"}
        assert works == OPEN, f"{column} as {as_user.who}: { ({name: found[column][name] for name in works ^ OPEN}) }"
    assert set(found["all"]) == set(ATTEMPTS)


@pytest.mark.parametrize("column", COLUMNS)
def test_each_layer_does_what_is_recorded(column: str, found: Found, as_user: Runner) -> None:
    wrong = {}
    for name, result in found[column].items():
        expected, outcome = _expected(name, column, as_user.who), _outcome(name, result)
        if outcome == expected or (name in NO_CONTROL and outcome != "works"):
            continue
        if name in MACHINES_DIFFER and expected == "works":
            warnings.warn(f"{name}: {result} on this machine as {as_user.who}, column {column}", stacklevel=1)
            continue
        wrong[name] = f"{result}, recorded is {expected}"
    assert not wrong, f"{column} as {as_user.who}: {wrong}"


@pytest.mark.parametrize("column", ["service", "service that connects"])
def test_the_sealed_service_is_refused_what_is_recorded(column: str, found: Found, as_user: Runner) -> None:
    wrong = {}
    for name, result in found[column].items():
        expected, outcome = _WORDS[SERVICE[name][column != "service"]], _outcome(name, result)
        if outcome != expected and (outcome == "works" or name not in MACHINES_DIFFER):
            wrong[name] = f"{result}, recorded is {expected}"
    assert not wrong, f"{column} as {as_user.who}: {wrong}"
    assert set(found[column]) == {*ATTEMPTS, *OWN}


def test_every_attempt_works_where_nothing_confines_it(found: Found, as_user: Runner) -> None:
    """Else it would be refused in a worker for a reason of its own. An ordinary user's control is the `user` column."""
    if as_user.who != "root":
        assert sum(result == "works" for result in found["nothing"].values()) > len(ATTEMPTS) / 2
        return
    without = {name for name, result in found["nothing"].items() if result != "works"}
    assert without <= {*NO_CONTROL, *MACHINES_DIFFER}, without


def test_x32_is_refused_by_the_filter_not_by_its_absence(found: Found) -> None:
    if "x32 call" in ATTEMPTS:
        assert found["seccomp"]["x32 call"] == "EPERM"


def test_what_was_tried_was_heard_of(found: Found, as_user: Runner) -> None:
    if os.uname().machine == "x86_64":
        assert set(found["told"]) == TOLD, f"as {as_user.who}: {set(found['told']) ^ TOLD}"
    else:  # which of several calls does a thing is the C library's choice there
        assert len(set(found["told"]) & TOLD) > len(TOLD) / 2


def test_both_users_were_tried() -> None:
    assert users() == (("root", "ordinary") if os.geteuid() == 0 else ("ordinary",))


@cache
def table() -> str:
    """The attempts as the page shows them."""
    head = ["attempt", "nothing (root)", "own user, no capability, limits", "+ network namespace", "+ Landlock"]
    lines = ["| " + " | ".join([*head, "+ seccomp", "all"]) + " |", "|---" * 7 + "|"]
    for name, (as_root, as_ordinary) in EXPECTED.items():
        cells = [_WORDS[as_root[0]], *map(_cell, as_root[1:-1], as_ordinary[1:-1])]
        last = f"**{_cell(as_root[-1], as_ordinary[-1])}**"
        lines.append("| " + " | ".join([name, *cells, last]) + " |")
    return "\n".join(lines)


@cache
def service_table() -> str:
    """What the service itself is refused, as the page shows it."""
    lines = ["| attempt | connects to nobody | may connect |", "|---|---|---|"]
    for name, letters in SERVICE.items():
        words = (f"**{_WORDS[each]}**" if each == "r" else _WORDS[each] for each in letters)
        lines.append("| " + " | ".join([name, *words]) + " |")
    return "\n".join(lines)


def _cell(as_root: str, as_ordinary: str) -> str:
    words = _WORDS[as_root], _WORDS[as_ordinary]
    return words[0] if as_root == as_ordinary else " / ".join(words)


@pytest.mark.parametrize("what", ["attempts", "service"])
def test_the_page_shows_the_recorded_table(what: str) -> None:
    begin, end = f"<!-- {what}: written by tests/sandbox/test_attempts.py -->\n", f"\n<!-- end of {what} -->"
    shown = _PAGE.read_text().split(begin)[1].split(end)[0]
    written = table() if what == "attempts" else service_table()
    assert shown == written, f"docs/security.md shows another table; it should be:\n{written}"


def test_the_page_names_what_stays_open() -> None:
    text = Path(_PAGE).read_text()
    for name in OPEN:
        assert f"- {name}" in text
