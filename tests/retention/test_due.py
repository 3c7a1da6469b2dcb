"""What is due: every combination that makes a difference, in a table."""

import pytest

from intramural.core.retention import DAY_MS, Floor
from intramural.retention import Rule, Thing, verdict
from intramural.retention.due import counted_days

LAW = Floor(184, "the law")
FOR_EVER = Floor(None, "the law")

#: days | floor | held | age in days | why | goes at an age of
TABLE = [
    (None, None, False, 0, "kept for ever", None),
    (None, None, True, 99_999, "kept for ever", None),
    (None, LAW, False, 99_999, "kept for ever", None),
    (30, None, False, -1, "not yet", 30),  # the clock was set back
    (30, None, False, 0, "not yet", 30),
    (30, None, False, 29.999, "not yet", 30),
    (30, None, False, 30, "due", 30),
    (30, None, False, 400, "due", 30),
    (30, None, True, 29, "not yet", 30),
    (30, None, True, 30, "held", 30),
    (30, None, True, 9_999, "held", 30),
    (1, None, False, 1, "due", 1),
    (30, LAW, False, 29, "not yet", 184),
    (30, LAW, False, 30, "below the floor", 184),
    (30, LAW, False, 183.9, "below the floor", 184),
    (30, LAW, False, 184, "due", 184),
    (30, LAW, True, 100, "below the floor", 184),
    (30, LAW, True, 184, "held", 184),
    (184, LAW, False, 183.9, "not yet", 184),
    (184, LAW, False, 184, "due", 184),
    (365, LAW, False, 364, "not yet", 365),
    (365, LAW, False, 365, "due", 365),
    (365, LAW, True, 365, "held", 365),
    (30, FOR_EVER, False, 99_999, "below the floor", None),
    (30, FOR_EVER, True, 99_999, "below the floor", None),
]


@pytest.mark.parametrize(("days", "floor", "held", "age", "why", "goes_at"), TABLE)
def test_what_is_due(days, floor, held, age, why, goes_at):
    since_ms = 1_000_000 * DAY_MS
    rule = Rule("log", None, days, "a rule", floor)
    found = verdict(Thing("x", "mia", since_ms, held), rule, since_ms + int(age * DAY_MS))
    assert (found.why, found.goes) == (why, why == "due")
    assert found.at_ms == (None if goes_at is None else since_ms + goes_at * DAY_MS)
    assert counted_days(rule) == goes_at  # what rows are looked for by is what decides
