"""Every family the catalogue offers: our reader passes its files, the confined engine loads them and generates.

Weights are random: what is shown is that reader, plan, sandbox and engine hold for the architecture.
"""

import os
from pathlib import Path

import pytest
from tests.families.families import ROWS, Row
from tests.families.running import generate, worker
from tests.families.tiny import write

from intramural.library.examination import examine
from intramural.serving import ServingPlan

PROMPT = [1, *range(60, 140)]  # longer than a batch, and than the window of those that have one


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_it_passes_the_reader_loads_confined_and_generates(row: Row, tmp_path: Path) -> None:
    file = write(tmp_path / "tiny.gguf", row.architecture, row.family, row.size)
    descriptor = os.open(file, os.O_RDONLY)
    try:
        facts = examine([descriptor])
    finally:
        os.close(descriptor)
    assert facts is not None
    assert facts.architecture == row.architecture
    assert facts.shape.layers == row.size.layers
    async with worker(tmp_path / "run", file, ServingPlan(512, 1, 200 << 20), row.pooling) as started:
        assert {"landlock", "seccomp"} <= set(started.process.layers)
        assert await generate(started, prompt=PROMPT, slot=0, tokens=8) == 8
