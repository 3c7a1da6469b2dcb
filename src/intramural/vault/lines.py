"""A list in a file outside the database, which restoring that does not undo: a line of JSON for each entry.

Lines are added, durably, and never changed. One that a crash cut off is no line: nothing was done before it was whole.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class Lines:
    """One such file. Blocking."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def add(self, entry: Mapping[str, Any]) -> None:
        """Add a line, durably. Raises OSError."""
        # a line before it that a crash cut off is ended first
        line = "\n" * (not self._ends_well()) + json.dumps(entry) + "\n"
        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "ab") as out:
            out.write(line.encode())
            out.flush()
            os.fsync(out.fileno())

    def read(self) -> Iterator[tuple[int, Any]]:
        """Every entry with its number (from 1); None in the place of a line that is none. Raises OSError."""
        try:
            lines = self.file.read_text("utf-8", "replace").split("\n")
        except FileNotFoundError:
            return
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line)
            except ValueError:
                if line.rstrip().endswith("}"):
                    yield number, None

    def _ends_well(self) -> bool:
        try:
            with self.file.open("rb") as opened:
                return opened.seek(0, os.SEEK_END) == 0 or opened.seek(-1, os.SEEK_END) < 0 or opened.read() == b"\n"
        except FileNotFoundError:
            return True
