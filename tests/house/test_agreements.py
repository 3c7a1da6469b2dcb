"""Numbers that two rooms must agree on, where neither may import the other."""

import re
from pathlib import Path

from intramural.library import fit
from intramural.library.provenance import LEVELS, Check
from intramural.serving import engine


def test_the_plan_reckons_with_the_batches_that_the_engine_makes() -> None:
    assert fit.BATCH_TOKENS == engine.BATCH_TOKENS


def test_the_page_on_trust_numbers_the_checks_as_the_code_does() -> None:
    page = (Path(__file__).parents[2] / "docs/trust.md").read_text("utf-8")
    rows = re.findall(r"^\| ([0-9]+) \| (\w+) \| (.+) \|$", page, re.MULTILINE)
    assert rows == [(str(check.number), check.when, check.what) for check in Check]
    assert [check.number for check in Check] == list(range(1, len(Check) + 1))


def test_the_page_on_trust_has_the_levels_in_order() -> None:
    page = (Path(__file__).parents[2] / "docs/trust.md").read_text("utf-8")
    assert tuple(re.findall(r"^\| `(\w+)` \| ", page, re.MULTILINE)) == LEVELS
