"""How long a log is kept at least, by what it is about."""

import pytest

from intramural.core.actor import LABELS
from intramural.core.retention import AI_ACT_DAYS, HIPAA_DAYS, below_floor, floor_sentence, log_floor

TEN_YEARS = 3_653


@pytest.mark.parametrize(
    ("label", "days", "least"),
    [
        *((label, {}, AI_ACT_DAYS) for label in LABELS if label not in ("phi", "education")),
        ("phi", {}, HIPAA_DAYS),
        ("phi", {"chat": 1, "file": 1}, HIPAA_DAYS),
        ("education", {}, None),
        ("education", {"chat": 30}, None),  # files are kept for ever
        ("education", {"chat": 30, "file": 30}, AI_ACT_DAYS),
        ("education", {"chat": 30, "file": TEN_YEARS}, TEN_YEARS),
        ("education", {"chat": TEN_YEARS, "file": 30}, TEN_YEARS),
    ],
)
def test_the_floor(label, days, least):
    floor = log_floor(label, days)
    assert floor.days == least
    assert below_floor(label, days) is None  # no `log`: for ever
    assert below_floor(label, {**days, "log": (least or 36_500)}) == (floor if least is None else None)
    below = below_floor(label, {**days, "log": (least or 36_500) - 1})
    assert below == floor
    sentence = floor_sentence(floor, 7)
    assert floor.rule in sentence and "7 days" in sentence


def test_each_floor_names_its_law():
    rules = [log_floor(label, {}).rule for label in ("public", "phi", "education")]
    assert [rule.split(",")[0] for rule in rules] == ["EU AI Act", "HIPAA", "FERPA"]
