"""Compute threads and spinning, decided from what is free."""

from pathlib import Path

import pytest

from intramural.serving.threads import Capacity, decide, measure


@pytest.mark.parametrize(
    ("capacity", "others", "threads", "spin"),
    [
        (Capacity(2), 0, 2, "2000"),
        (Capacity(2, busy_cores=1.0), 0, 1, "100"),
        (Capacity(8), 0, 8, "2000"),
        (Capacity(8, busy_cores=3.2), 0, 5, "100"),
        (Capacity(8), 6, 2, "2000"),
        (Capacity(2), 2, 1, "100"),
        (Capacity(2, pressure=0.5), 0, 2, "100"),
        (Capacity(1), 0, 1, "2000"),
        (Capacity(1.5), 0, 1, "2000"),
    ],
)
def test_the_pools_of_all_workers_fit_the_free_cores(capacity: Capacity, others: int, threads: int, spin: str) -> None:
    chosen = decide(capacity, other_workers_threads=others)
    assert chosen.threads == threads
    assert chosen.env["GOMP_SPINCOUNT"] == spin
    assert chosen.env["OMP_NUM_THREADS"] == str(threads)


def test_a_wanted_number_is_taken() -> None:
    assert decide(Capacity(8), wanted_threads=3).threads == 3
    assert decide(Capacity(2), wanted_threads=6).env["GOMP_SPINCOUNT"] == "100"


def test_measuring(tmp_path: Path) -> None:
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure/cpu").write_text("some avg10=12.50 avg60=1.00 avg300=0.00 total=1\nfull avg10=0.00\n")
    (tmp_path / "loadavg").write_text("0.75 0.50 0.40 2/100 12345\n")
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    found = measure(tmp_path, tmp_path)
    assert found.cores == 1.0
    assert found.busy_cores == 0.75
    assert found.pressure == 0.125
    assert measure(tmp_path, tmp_path, own_cores=2).busy_cores == 0.0


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    found = measure(tmp_path, tmp_path)
    assert found.cores >= 1
    assert (found.busy_cores, found.pressure) == (0.0, 0.0)
