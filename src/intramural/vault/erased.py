"""The list of erased people: a file outside the database, so that an old backup of that does not bring them back.

A line of JSON for each: who, when, and whether it was begun or taken back (the erasure failed, and they are there). It
is written before the erasure is, and replayed at every start. It holds identifiers, which lead to nobody any more.
"""

import json
import os
from pathlib import Path
from typing import Literal

from intramural.core.errors import Unavailable, Untrusted

ERASED_FILE = "erased.jsonl"


class Erased:
    """The list in one file. Blocking."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def note(self, person_id: str, time_ms: int, state: Literal["begun", "undone"]) -> None:
        """Add a line, durably. Raises Unavailable(`erased_list_unwritable`): then nobody may be erased."""
        # a line before it that a crash cut off is ended first
        line = "\n" * (not self._ends_well()) + json.dumps({"person_id": person_id, "time_ms": time_ms, "state": state})
        line += "\n"
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "ab") as out:
                out.write(line.encode())
                out.flush()
                os.fsync(out.fileno())
        except OSError as error:
            message = f"The list of erased people cannot be written: {error.strerror}."
            raise Unavailable("erased_list_unwritable", message, "Check vault.erased_file.") from error

    def _ends_well(self) -> bool:
        try:
            with self._file.open("rb") as opened:
                return opened.seek(0, os.SEEK_END) == 0 or opened.seek(-1, os.SEEK_END) < 0 or opened.read() == b"\n"
        except FileNotFoundError:
            return True

    def people(self) -> dict[str, int]:
        """Who is erased, and since when (milliseconds). Raises Untrusted(`erased_list_damaged`)."""
        found: dict[str, int] = {}
        try:
            lines = self._file.read_text("utf-8").split("\n")
        except FileNotFoundError:
            return found
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line) if line.strip() else None
                if entry is not None and entry["state"] == "begun":
                    found[str(entry["person_id"])] = int(entry["time_ms"])
                elif entry is not None:
                    found.pop(str(entry["person_id"]), None)
            except (ValueError, KeyError, TypeError):
                if not line.rstrip().endswith("}"):
                    continue  # cut off by a crash: nothing was erased before it was whole
                message = f"Line {number} of {self._file} is no entry of the list of erased people."
                raise Untrusted("erased_list_damaged", message, "Restore the file from a backup.") from None
        return found
