"""The page in real Chromium against the stand-in of its own tests, which misbehaves when it is asked to: every journey
but those that `test_page` brings a real service.
"""

import pytest
from tests.journeys.test_page import ROOT, SERVED, pass_in_chromium

_THERE = sorted(file.name.removesuffix(".test.ts") for file in (ROOT / "ui/tests/e2e").glob("*.test.ts"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("journey", [each for each in _THERE if each not in SERVED])
def test_a_journey_passes_in_chromium(journey: str) -> None:
    pass_in_chromium(journey, {})
