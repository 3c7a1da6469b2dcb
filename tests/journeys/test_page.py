"""The page in real Chromium against the real service and real weights; the journeys themselves are in ui/tests/e2e."""

import os
import subprocess
from pathlib import Path

import pytest
from tests.service import Service

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(600)
def test_the_journeys_pass_in_chromium(fresh: Service) -> None:
    fresh.start()
    assert fresh.setup_link is not None
    done = subprocess.run(
        [str(ROOT / "scripts/with-node"), "npm", "run", "--silent", "e2e"],
        cwd=ROOT / "ui",
        env={**os.environ, "BASE_URL": fresh.address, "SETUP_TOKEN": fresh.setup_link.split("token=")[1]},
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
