"""Compute threads and spinning, decided from what is free."""

from pathlib import Path

import pytest

from intramural.serving.threads import Capacity, at_most, busy_cores, busy_each, decide, group_cpu_s, measure


@pytest.mark.parametrize(
    ("capacity", "others", "threads", "spin"),
    [
        (Capacity(2), 0, 2, "500"),
        (Capacity(2, busy_cores=0.4), 0, 2, "500"),
        (Capacity(2, busy_cores=1.0), 0, 1, "100"),
        (Capacity(8), 0, 8, "500"),
        (Capacity(8, busy_cores=3.2), 0, 5, "100"),
        (Capacity(8), 6, 2, "500"),
        (Capacity(2), 2, 1, "100"),
        (Capacity(2, pressure=0.5), 0, 2, "100"),
        (Capacity(1), 0, 1, "500"),
        (Capacity(1.5), 0, 1, "500"),
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


def test_threads_that_follow_the_processors() -> None:
    assert (at_most(2.5).threads, at_most(2.5).live) == (2, True)
    assert at_most(8).env["OMP_DYNAMIC"] == "true"
    assert not at_most(1.0).live


def test_busy_cores_between_two_readings() -> None:
    before = "cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 100 0 0 900 0 0 0 0 0 0\ncpu1 0 0 0 1000 0 0 0 0 0 0\nctxt 1\n"
    after = "cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 120 0 0 900 0 0 0 0 0 0\ncpu1 5 0 0 1010 5 0 0 0 0 0\nctxt 2\n"
    assert busy_cores(before, after, {0, 1}) == pytest.approx(1.25)
    assert busy_cores(before, after, {1, 7}) == pytest.approx(0.25)
    assert busy_each(before, after, {0, 7}) == {0: 1.0, 7: 0.0}
    assert busy_cores("", after, {0, 1}) == 0.0
    assert busy_cores(after, after, {0, 1}) == 0.0


async def test_measuring(tmp_path: Path) -> None:
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure/cpu").write_text("some avg10=12.50 avg60=1.00 avg300=0.00 total=1\nfull avg10=0.00\n")
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    found = await measure(tmp_path, tmp_path)
    assert found == Capacity(cores=1.0, busy_cores=0.0, pressure=0.125)


def test_what_a_group_has_used(tmp_path: Path) -> None:
    assert group_cpu_s(tmp_path) == 0.0
    (tmp_path / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    assert group_cpu_s(tmp_path) == 2.5


async def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    found = await measure(tmp_path, tmp_path)
    assert found.cores >= 1
    assert (found.busy_cores, found.pressure) == (0.0, 0.0)


async def test_this_machine() -> None:
    found = await measure()
    assert found.cores >= 1
    assert 0 <= found.busy_cores <= found.cores
    assert 0 <= found.pressure <= 1
