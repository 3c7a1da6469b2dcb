"""Moving an installation's rows into another database: SQLite to PostgreSQL, or back. The service must be stopped.

Where they went is noted in the data directory, so that no service goes on with what was left behind: the log would have
two ends.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.util import greenlet_spawn

from intramural.audit import newest_checkpoint, verify_connection
from intramural.core.durable import ORDINARY, write_whole
from intramural.core.errors import Conflicting, Untrusted
from intramural.storage import copying, without_password
from intramural.storage.copying import Content

#: The file that says where the database was moved to.
_PLACE = "database-moved-to"
_FILE = "sqlite"


@dataclass(frozen=True, slots=True)
class Moved:
    """What was moved: each table's content, how many entries the log has, and its newest checkpoint."""

    tables: Mapping[str, Content]
    log_entries: int
    checkpoint: str | None

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(each.rows for each in self.tables.values())


async def move(source: Path | str, target: Path | str, public_key: str) -> Moved:
    """Copy every row of `source` into `target`, which must be empty, and compare both before anything is committed.

    Raises Conflicting(`database_not_empty`), Untrusted(`audit_log_broken`, `copy_differs`), and as `Database.open`.
    Then, or where it is interrupted, `target` has no row (as a file it is not there), and `source` is as it was.
    """
    if isinstance(target, Path) and target.exists():
        raise _not_empty(str(target))
    async with copying.reading(source) as theirs, copying.filling(target) as ours:
        return await greenlet_spawn(_copy, theirs, ours, public_key)


def _copy(source: Connection, target: Connection, public_key: str) -> Moved:
    if (table := copying.holds_rows(target)) is not None:
        raise _not_empty(f"its table {table}")
    for each in copying.tables():
        copying.fill(target, each, copying.batches(source, each))
    found = {}
    for each in copying.tables():
        found[each.name] = copying.content(target, each)
        if found[each.name] != copying.content(source, each):
            message = f"The table {each.name} is not the same in the copy."
            raise Untrusted("copy_differs", message, "Nothing was moved; try again.")
    note = newest_checkpoint(source)
    verdict = verify_connection(target, public_key, [] if note is None else [note])
    if not verdict.ok:
        raise Untrusted(
            "audit_log_broken",
            f"The audit log is not as it was left. {verdict.reason}",
            "Run `intramural audit verify`; nothing was moved.",
        )
    return Moved(found, verdict.size, note)


def note_place(data_dir: Path, address: Path | str) -> None:
    """From now on this is where the database is."""
    write_whole(data_dir / _PLACE, f"{_name(address)}\n".encode(), mode=ORDINARY)


def require_place(data_dir: Path, address: Path | str) -> None:
    """Raises Conflicting(`database_moved`) where the database was moved, and not to `address`."""
    try:
        place = (data_dir / _PLACE).read_text("utf-8").strip()
    except FileNotFoundError:
        return
    if place != _name(address):
        setting = "Take storage.url out" if place == _FILE else f"Set storage.url to {place}"
        hint = f"{setting}. To go back to the old state knowingly, delete {data_dir / _PLACE}."
        raise Conflicting("database_moved", "This installation's database was moved.", hint)


def _name(address: Path | str) -> str:
    return _FILE if isinstance(address, Path) else without_password(address)


def _not_empty(what: str) -> Conflicting:
    return Conflicting(
        "database_not_empty", f"There is something in the target already: {what}.", "Name an empty database."
    )
