"""A smaller set of what `bench/mutations.py` does: mutated files, each in a confined reader, which answers by name."""

from pathlib import Path

import pytest
from bench import mutations

COUNT = 150


@pytest.fixture(scope="module")
def subjects(starter_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> list[mutations.Subject]:
    return mutations.subjects(tmp_path_factory.mktemp("subjects"), starter_wheel)


@pytest.mark.parametrize("position", range(1, 9))
async def test_the_reader_answers_by_name(subjects: list[mutations.Subject], position: int) -> None:
    others = [path for each in subjects[1:] for path in each.files]
    tally = await mutations.run(subjects[position], others, COUNT, first_seed=1_000_000)
    assert tally.crashes == []
    assert tally.outcomes["NO FIELD OR OFFSET"] == 0
    assert sum(tally.outcomes.values()) == COUNT
    assert len(tally.outcomes) > 10  # they really go everywhere
    assert tally.peak_bytes < 128 << 20


async def test_a_process_each(subjects: list[mutations.Subject], tmp_path: Path) -> None:
    tally = await mutations.one_shots(subjects[2], 8, tmp_path)
    assert tally.crashes == []
    assert sum(tally.outcomes.values()) == 8


def test_every_subject_is_here(subjects: list[mutations.Subject]) -> None:
    assert len(subjects) == 9
    assert sum(each.share for each in subjects) >= 1
