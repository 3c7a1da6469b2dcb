"""From the bytes that were sent to a list: one CSV file, or a zip file of OneRoster's."""

import io
import zipfile
import zlib

from intramural.access.people import fold
from intramural.access.rosters import oneroster, plain
from intramural.access.rosters.roster import Problems, Reading, Roster
from intramural.core.errors import Misasked

#: What a zip file may unpack to: ten times a large district's.
MAX_UNPACKED_BYTES = 256 << 20
_MAX_ENTRIES = 100


def read(name: str, data: bytes, reading: Reading) -> Roster:
    """The list in `data` (blocking; a second for 5,000 people). `name` is what its mistakes are told under.

    Raises Flawed(`roster_refused`) with every mistake and its line, Misasked(`bad_bundle`).
    """
    problems = Problems()
    if data.startswith(b"PK"):
        roster = oneroster.read(_unpacked(data), reading, problems)
    else:
        roster = plain.read(name, data, reading, problems)
    _check_names(roster, problems, "users.csv" if data.startswith(b"PK") else name)
    problems.refuse()
    if not roster.people:
        raise Misasked("empty_roster", "There is nobody on the list.", "Nothing was done.")
    return roster


def _check_names(roster: Roster, problems: Problems, file: str) -> None:
    """One name, one person."""
    first: dict[str, int] = {}
    for person in roster.people.values():
        folded = fold(person.username)
        if folded in first:
            message = f"The username {person.username!r} is in line {first[folded]} already."
            problems.add(file, person.line, "duplicate_username", message)
        first.setdefault(folded, person.line)


def _unpacked(data: bytes) -> dict[str, bytes]:
    """Those files of a zip file that are OneRoster's, wherever they lie in it. Raises Misasked(`bad_bundle`)."""
    found: dict[str, bytes] = {}
    left = MAX_UNPACKED_BYTES
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if len(entries) > _MAX_ENTRIES:
                raise _bad("it holds too many files")
            for entry in entries:
                name = entry.filename.rpartition("/")[2]
                if name not in oneroster.FILES:
                    continue
                if name in found:
                    raise _bad(f"{name} is in it twice")
                if entry.file_size > left:  # what it says of itself; below, what it is
                    raise _bad("it unpacks to more than 256 MiB")
                with archive.open(entry) as opened:
                    found[name] = opened.read(left + 1)
                left -= len(found[name])
                if left < 0:
                    raise _bad("it unpacks to more than 256 MiB")
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, OSError) as error:
        raise _bad("it cannot be unpacked") from error  # RuntimeError: it wants a password
    return found


def _bad(what: str) -> Misasked:
    return Misasked("bad_bundle", f"The zip file is refused: {what}.", "Export it again.")
