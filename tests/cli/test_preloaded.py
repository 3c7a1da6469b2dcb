"""What tests start from a process that has imported everything is what users start."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests import preloaded


@pytest.mark.parametrize(
    ("words", "stdin"),
    [("version --json", ""), ("nonsense", ""), ("guard check --label public", "Born on May 3")],
)
def test_it_says_and_ends_the_same(words: str, stdin: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)  # a first command would tell of a new installation
    env = {**os.environ, "INTRAMURAL_DATA_DIR": str(tmp_path / "data"), "COLUMNS": "100"}
    usual = [sys.executable, "-m", "intramural", *words.split()]
    afresh = subprocess.run(usual, env=env, input=stdin, capture_output=True, text=True, timeout=100)
    forked = preloaded.run(words.split(), env, stdin)
    assert (forked.returncode, forked.stdout, forked.stderr) == (afresh.returncode, afresh.stdout, afresh.stderr)
    assert afresh.stdout + afresh.stderr


def test_whoever_started_it_can_end_it_and_is_told_how_it_ended(tmp_path: Path) -> None:
    env = {**os.environ, "INTRAMURAL_DATA_DIR": str(tmp_path / "data"), "INTRAMURAL_SERVER_PORT": "0"}
    with (tmp_path / "log").open("w") as log:
        program = preloaded.start(["serve", "--json"], env, log)
    assert program.stdout is not None and program.stdout.readline() == "{\n"
    assert program.poll() is None
    program.kill()
    assert program.wait(60) == program.poll() == -signal.SIGKILL
    program.stdout.close()
