"""What the log tells of lists that were taken in. Pure."""

import pytest

from intramural.audit import Entry
from intramural.services.roster_runs import runs

COUNTS = {"person.created": 3, "age.set": 1}


def entry(position: int, what: str, **facts: object) -> Entry:
    return Entry(
        position, 1_000 * position, f"roster.{what}", "session", "person_1", "administrator", "session_1", "ada",
        "roster:sis", "allowed", None, {"source": "sis", **facts}, {}, 0,
    )  # fmt: skip


BEGUN = entry(4, "begun", digest="sha256:00", steps=COUNTS, missing=2)


@pytest.mark.parametrize(
    ("ended", "done", "expected"),
    [
        ({"outcome": "finished", "done": 4}, None, ("finished", 4, 9_000)),
        ({"outcome": "cancelled", "done": 2}, None, ("cancelled", 2, 9_000)),
        ({"outcome": "failed", "done": 2}, None, ("failed", 2, 9_000)),
        ({}, None, ("failed", None, 9_000)),
        (None, 2, ("running", 2, None)),
        (None, None, ("interrupted", None, None)),  # the service ended before it could say so
    ],
)
def test_a_list_has_the_outcome_that_its_end_says(ended, done, expected):
    after = [] if ended is None else [entry(9, "ended", **ended)]
    [run] = runs([*after, BEGUN], done)
    assert (run.outcome, run.done, run.ended_ms) == expected
    assert (run.source, run.by, run.counts, run.missing, run.digest) == ("sis", "person_1", COUNTS, 2, "sha256:00")


def test_each_end_belongs_to_the_beginning_before_it_and_only_the_newest_can_be_under_way():
    log = [
        entry(9, "begun"),
        entry(8, "checked", steps={}),
        entry(7, "begun"),
        entry(6, "ended", outcome="finished", done=4),
        BEGUN,
        entry(3, "ended", outcome="finished", done=1),  # what it began is further back than was looked
    ]
    assert [(each.position, each.outcome) for each in runs(log, 5)] == [
        (9, "running"),
        (8, "checked"),
        (7, "interrupted"),
        (4, "finished"),
    ]
    assert [each.outcome for each in runs(log, None)] == ["interrupted", "checked", "interrupted", "finished"]
