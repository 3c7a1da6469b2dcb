"""The list of erased people: a file outside the database, so that an old backup of that does not bring them back.

A line of JSON for each: who, when, and whether it was begun or taken back (the erasure failed, and they are there). It
is written before the erasure is, and replayed at every start. It holds identifiers, which lead to nobody any more.
"""

from pathlib import Path
from typing import Literal

from intramural.core.errors import Unavailable, Untrusted
from intramural.vault.lines import Lines

ERASED_FILE = "erased.jsonl"


class Erased:
    """The list in one file. Blocking."""

    def __init__(self, file: Path) -> None:
        self._lines = Lines(file)

    def note(self, person_id: str, time_ms: int, state: Literal["begun", "undone"]) -> None:
        """Add a line, durably. Raises Unavailable(`erased_list_unwritable`): then nobody may be erased."""
        try:
            self._lines.add({"person_id": person_id, "time_ms": time_ms, "state": state})
        except OSError as error:
            message = f"The list of erased people cannot be written: {error.strerror}."
            raise Unavailable("erased_list_unwritable", message, "Check vault.erased_file.") from error

    def people(self) -> dict[str, int]:
        """Who is erased, and since when (milliseconds). Raises Untrusted(`erased_list_damaged`)."""
        found: dict[str, int] = {}
        for number, entry in self._lines.read():
            try:
                if entry["state"] == "begun":
                    found[str(entry["person_id"])] = int(entry["time_ms"])
                else:
                    found.pop(str(entry["person_id"]), None)
            except (ValueError, KeyError, TypeError):
                message = f"Line {number} of {self._lines.file} is no entry of the list of erased people."
                raise Untrusted("erased_list_damaged", message, "Restore the file from a backup.") from None
        return found
