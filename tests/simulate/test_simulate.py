"""Some seeds of `make simulate`, and that a seed is always the same: also in another process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from simulate.plan import FAULTS, plan_of
from simulate.run import checked, run

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("seed", range(10))
def test_nothing_is_wrong(seed: int) -> None:
    assert checked(seed, twice_every=5).wrong == []


#: Each found something once: what, stands in the log of the repository.
@pytest.mark.parametrize("seed", [18, 23, 97, 222, 497])
def test_what_was_found_is_mended(seed: int) -> None:
    assert run(seed).wrong == []


def test_seeds_have_all_kinds_of_faults_and_none() -> None:
    plans = [plan_of(seed) for seed in range(200)]
    assert {fault for plan in plans for fault in plan.faults} == set(FAULTS)
    assert any(plan.calm for plan in plans)


def test_a_seed_is_the_same_in_another_process() -> None:
    """Whatever the salt of that process's hashes, and whatever was run before."""
    run(4)
    path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    command = [sys.executable, "-m", "simulate", "--seed", "3"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"trace {run(3).digest[:16]}" in done.stdout
