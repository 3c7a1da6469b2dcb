"""What is read back of the log: which entries are wanted, and how they are found."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, select

from intramural.audit.record import parse
from intramural.storage import Database
from intramural.storage.schema import audit_entries, people

#: Entries in one answer.
LIMIT_MOST = 1_000
#: Entries read at once on a walk: about 5 ms of the loop's time.
_WALK_PART = 500
#: Entries looked at in one search.
SEARCHED_MOST = 50_000


@dataclass(frozen=True, slots=True)
class Entry:
    """An event read back. `username` is who has that identifier today (None: nobody); the log holds no names."""

    position: int
    time_ms: int
    event: str
    actor_kind: str
    actor_id: str
    actor_role: str
    credential_id: str
    username: str | None
    target: str
    outcome: str
    request_id: str | None
    facts: Mapping[str, Any]
    texts: Mapping[str, Any]
    skew_ms: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries are looked for. What has a column is looked for there; the rest in what is read."""

    before: int | None = None
    event: str | None = None
    actor_id: str | None = None
    request_id: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    target: str | None = None
    outcome: str | None = None
    text: str | None = None
    workspace: str | None = None
    after: int | None = None
    purpose: str | None = None

    def clauses(self) -> list[ColumnElement[bool]]:
        """An event that ends in `.` or `*` stands for all that begin so."""
        table = audit_entries.c
        found: list[ColumnElement[bool]] = []
        if self.before is not None:
            found.append(table.position < self.before)
        if self.after is not None:
            found.append(table.position > self.after)
        if self.event is not None:
            start = self.event.rstrip("*")
            is_start = self.event.endswith(("*", "."))
            found.append(table.event.startswith(start, autoescape=True) if is_start else table.event == start)
        if self.from_ms is not None:
            found.append(table.time_ms >= self.from_ms)
        if self.to_ms is not None:
            found.append(table.time_ms < self.to_ms)
        for column, value in ((table.actor_id, self.actor_id), (table.request_id, self.request_id)):
            if value is not None:
                found.append(column == value)
        return found

    @property
    def is_read_for(self) -> bool:
        """Whether there is something that no column tells."""
        read = (self.target, self.outcome, self.text, self.workspace, self.purpose)
        return any(each is not None for each in read)

    def has(self, entry: Entry) -> bool:
        """What the columns do not tell: target (or its beginning), outcome, the workspace (asked there, or changed),
        the purpose of a connection, and text anywhere in facts or target.
        """
        if self.target is not None and not entry.target.startswith(self.target):
            return False
        if self.outcome is not None and entry.outcome != self.outcome:
            return False
        if self.purpose is not None and entry.facts.get("purpose") != self.purpose:
            return False
        if self.workspace is not None and not self._is_of_workspace(entry):
            return False
        if self.text is None:
            return True
        looked_in = f"{entry.event} {entry.target} {entry.username or ''} {msgspec.json.encode(entry.facts).decode()}"
        return self.text.casefold() in looked_in.casefold()

    def _is_of_workspace(self, entry: Entry) -> bool:
        return entry.facts.get("workspace") == self.workspace or entry.target == f"workspace:{self.workspace}"


@dataclass(frozen=True, slots=True)
class Found:
    """Entries, newest first; `older`: the position below which to look for more (None: there are no more)."""

    entries: list[Entry]
    older: int | None


async def search(db: Database, wanted: Wanted, limit: int) -> Found:
    """Up to `limit` (at most 1,000) wanted entries, newest first.

    What no column tells is looked for in `SEARCHED_MOST` entries, and then `older` says where to go on.
    """
    limit = max(0, min(limit, LIMIT_MOST))
    found: list[Entry] = []
    looked_at, older = 0, wanted.before
    newest = audit_entries.c.position.desc()
    while len(found) < limit and looked_at < SEARCHED_MOST:
        size = _WALK_PART if wanted.is_read_for else limit - len(found)
        entries, older = await _part(db, replace(wanted, before=older), (), newest, size)
        found += entries
        looked_at += size
        if older is None:
            break
    if len(found) > limit:
        found, older = found[:limit], found[limit - 1].position
    return Found(found, older)


async def walk(db: Database, wanted: Wanted) -> AsyncGenerator[Entry, None]:
    """Every entry that is `wanted`, the oldest first, read in parts that keep nobody waiting."""
    at: int | None = -1
    while at is not None:
        beyond = audit_entries.c.position > at
        rows, at = await _part(db, wanted, [beyond], audit_entries.c.position.asc(), _WALK_PART)
        for entry in rows:
            yield entry


async def _part(
    db: Database, wanted: Wanted, beyond: Sequence[ColumnElement[bool]], order: ColumnElement[Any], size: int
) -> tuple[list[Entry], int | None]:
    """Those of the next `size` entries that are wanted, and the position of the last (None: there are no more)."""
    table = audit_entries.c
    joined = audit_entries.outerjoin(people, people.c.id == table.actor_id)
    query = select(table.position, table.record, people.c.username).select_from(joined)
    async with db.reading() as connection:
        query = query.where(*wanted.clauses(), *beyond).order_by(order).limit(size)
        rows = (await connection.execute(query)).all()
    entries = [_entry(data, username) for _, data, username in rows]
    return [each for each in entries if wanted.has(each)], rows[-1].position if len(rows) == size else None


def _entry(data: bytes, username: str | None) -> Entry:
    found = parse(data)
    return Entry(
        position=found.position,
        time_ms=found.time_ms,
        event=found.event,
        actor_kind=found.actor.kind,
        actor_id=found.actor.id,
        actor_role=found.actor.role,
        credential_id=found.actor.credential,
        username="system" if found.actor.kind == "system" else username,
        target=found.target,
        outcome=found.outcome,
        request_id=found.request_id,
        facts=found.facts,
        texts=found.texts,
        skew_ms=found.skew_ms,
    )
