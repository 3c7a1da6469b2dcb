"""When keys were last used and sessions last seen: noted in memory at once, written to the database in batches.

A crash loses the notes of a few seconds: a key's "last used" is a little early, a session's idle time a little long.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import bindparam, case, func, update

from intramural.storage import Database
from intramural.storage import schema as t


class Lately:
    """Times in milliseconds since the epoch, by the identifier of a key or a session."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.keys: dict[str, int] = {}
        self.sessions: dict[str, int] = {}

    async def write(self) -> None:
        """Write what was noted since the last time, in one transaction; nothing where nothing was noted."""
        keys, sessions = dict(self.keys), dict(self.sessions)
        if not keys and not sessions:
            return
        async with self._db.writing() as connection:
            for table, column, noted in ((t.keys, "last_used_ms", keys), (t.sessions, "last_seen_ms", sessions)):
                if noted:
                    noted_ms = bindparam("noted_ms", type_=table.c[column].type)
                    later = case((func.coalesce(table.c[column], 0) > noted_ms, table.c[column]), else_=noted_ms)
                    statement = update(table).where(table.c.id == bindparam("noted_id")).values({column: later})
                    await connection.execute(statement, _rows(noted))
        _settle(self.keys, keys)
        _settle(self.sessions, sessions)


def later_ms(stored_ms: int | None, noted_ms: int | None) -> int | None:
    """The later of what is written and what is noted."""
    if stored_ms is None or noted_ms is None:
        return noted_ms if stored_ms is None else stored_ms
    return max(stored_ms, noted_ms)


def _rows(noted: Mapping[str, int]) -> list[dict[str, Any]]:
    return [{"noted_id": each, "noted_ms": at_ms} for each, at_ms in noted.items()]


def _settle(notes: dict[str, int], written: Mapping[str, int]) -> None:
    """Drop what is written; what was noted again meanwhile stays for the next time."""
    for each, at_ms in written.items():
        if notes.get(each) == at_ms:
            del notes[each]
