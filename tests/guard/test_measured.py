"""The floors that docs/guard.md promises, on templates that no rule was written against."""

import re
from pathlib import Path

import pytest
from bench import guard as bench
from bench._guard_scores import Scores
from bench._guard_set import APART, NOTHING, VERSION, WORKED_ON, documents

from intramural.guard import NAMED, STRUCTURED, Kind, found
from intramural.guard.measured import LEAK_RATE, SET

PAGE = (Path(__file__).parents[2] / "docs/guard.md").read_text("utf-8")
#: Numbers of a fixed form .99, what people write in many ways .97.
LOOSE = {Kind.DATE, Kind.PHONE, Kind.FAX, Kind.ZIP, Kind.STREET}
FLOORS = {kind: 0.97 if kind in LOOSE else 0.99 for kind in STRUCTURED}


@pytest.fixture(scope="module")
def scores() -> Scores:
    found_scores = Scores()
    for document in documents(APART, bench.EACH):
        found_scores.add(document, found(document.text, STRUCTURED), STRUCTURED)
    return found_scores


def test_the_set_has_a_hundred_of_every_class_and_the_same_ones_everywhere() -> None:
    every = documents(APART, bench.EACH)
    counts = Scores()
    for document in every:
        counts.add(document, (), STRUCTURED | NAMED)
    assert set(counts.there) == STRUCTURED | NAMED
    assert min(counts.there.values()) >= 100 and counts.there.total() >= 1_800
    assert every == documents(APART, bench.EACH)
    assert not set(APART) & set(WORKED_ON)
    # As on every machine: a set that changes is another version.
    assert documents(APART, 1)[5].text == (
        "In group 4 there were 25 pupils, in group 12 only 18. The wheelchair van has license plate JPH 9475; the "
        "spare van's plate is DS77 JYF."
    )


@pytest.mark.parametrize("kind", sorted(FLOORS))
def test_each_class_is_found_at_its_floor(kind: Kind, scores: Scores) -> None:
    missed = [(value, text) for each, value, text in scores.missed if each == kind]
    assert scores.recall(kind) >= FLOORS[kind], missed[:5]


def test_no_more_documents_leak_than_is_said(scores: Scores) -> None:
    assert scores.leak_rate <= LEAK_RATE
    assert scores.spurious_rate <= 0.01
    assert sum(len(found(text, STRUCTURED)) for text in NOTHING) <= 1


def test_the_page_says_what_is_measured(scores: Scores) -> None:
    assert SET == VERSION and f"Set {VERSION}" in PAGE and f"{LEAK_RATE:.1%}".replace("%", " %") in PAGE
    table = dict(re.findall(r"^\| `(\w+)` \|[^|]*\|[^|]*\| *([\d.]+) *\|", PAGE, re.MULTILINE))
    assert set(table) >= STRUCTURED
    for kind in STRUCTURED:
        assert float(table[kind]) == pytest.approx(scores.recall(kind), abs=0.0005), kind
        assert float(table[kind]) >= FLOORS[kind]
