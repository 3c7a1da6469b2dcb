"""Where temporary files go: into the data directory, which is all that the sealed service writes to."""

import os
import tempfile
from pathlib import Path


def keep_temporary_files_in(data_dir: Path) -> None:
    """For Python, SQLite and whoever else asks the environment. SQLite asks when it is imported, so call it before."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = data_dir / "tmp"
    folder.mkdir(mode=0o700, exist_ok=True)
    for left in folder.iterdir():  # of a service that was killed
        if not left.is_dir():
            left.unlink()
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
