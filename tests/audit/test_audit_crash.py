"""`kill -9` at random moments: nothing acknowledged is lost, the log verifies, and the writer continues."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests import databases

from intramural.audit import Verdict, public_key, verify_database

_WRITER = Path(__file__).with_name("writer.py")


def _killed_while_writing(folder: Path, first: int, after_s: float) -> list[int]:
    """Run the writer, kill it `after_s` seconds after it is ready; which numbers it acknowledged."""
    command = [
        sys.executable,
        str(_WRITER),
        str(databases.place(folder / "intramural.db")),
        str(folder / "secrets"),
        str(first),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        started = process.stdout.readline()
        if started != b"ready\n":
            process.kill()
            raise AssertionError(process.stderr.read().decode())
        time.sleep(after_s)
        process.kill()
        return [int(line) for line in process.stdout.read().split(b"\n") if line]


def _stored(folder: Path) -> tuple[set[int], set[int]]:
    """The numbers in the log, and those of the rows that were written beside or with an event."""
    address = databases.place(folder / "intramural.db")
    logged = {
        json.loads(record)["facts"]["n"] for (record,) in databases.query(address, "SELECT record FROM audit_entries")
    }
    rows = {int(name[1:]) for (name,) in databases.query(address, "SELECT name FROM model_settings")}
    return logged, rows


def _survives(folder: Path, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    acknowledged: set[int] = set()
    for turn in range(kills):
        first = turn * 1_000_000
        said = _killed_while_writing(folder, first, chance.choice([0.0, 0.02, 0.1, 0.25]) * chance.random())
        acknowledged.update(said)
        logged, rows = _stored(folder)
        assert acknowledged <= logged, f"lost: {sorted(acknowledged - logged)[:5]}"
        assert rows == {number for number in logged if number % 4 == 0 or number % 3 == 0}
    verdict: Verdict = verify_database(
        databases.place(folder / "intramural.db"), public_key(folder / "secrets", "intramural.local/audit")
    )
    assert verdict.ok, verdict
    assert verdict.size == len(_stored(folder)[0])
    print(f"{kills} kills, {len(acknowledged)} acknowledged, {verdict.size} stored")


def test_a_dozen_kills(tmp_path: Path) -> None:
    _survives(tmp_path, 12, seed=1)


@pytest.mark.slow  # the same, until chance has had its say
@pytest.mark.timeout(1800)
def test_200_kills(tmp_path: Path) -> None:
    _survives(tmp_path, 200, seed=2)
