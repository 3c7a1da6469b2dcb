"""The log, or its newest part, as a file that a stranger can check: `docs/formats.md` has the form `intramural-log/1`.

The first line says where it begins; then comes one line for each entry, with its leaf hash, and after the last entry
that it covers one for each checkpoint kept. It begins at a checkpoint (or at the first entry) and ends with one, so
that every entry in it is proved by the last line.
"""

import base64
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from intramural.audit.merkle import Frontier
from intramural.audit.record import canonical
from intramural.storage import Connection, Database
from intramural.storage.schema import audit_checkpoints, audit_entries

FORM = "intramural-log/1"
#: Entries read at once: about 5 ms of the loop's time.
_PART = 500


@dataclass(frozen=True, slots=True)
class Span:
    """Entries `start.size` (included) to `end` (excluded): from one checkpoint to another, whose note is `note`."""

    start: Frontier
    end: int
    note: str


async def span_of(db: Database, from_ms: int, to_ms: int) -> Span | None:
    """The least span between kept checkpoints with every entry of a period; None: the period has none."""
    entries, kept = audit_entries.c, audit_checkpoints.c
    period = entries.time_ms >= from_ms, entries.time_ms < to_ms
    async with db.reading() as connection:
        found = await connection.execute(select(func.min(entries.position), func.max(entries.position)).where(*period))
        first, last = found.one()
        if first is None:
            return None
        before = select(audit_checkpoints).where(kept.size <= first).order_by(kept.size.desc()).limit(1)
        after = select(audit_checkpoints).where(kept.size > last).order_by(kept.size).limit(1)
        begin, end = (await connection.execute(before)).first(), (await connection.execute(after)).one()
    start = Frontier() if begin is None else Frontier.from_bytes(begin.size, begin.frontier)
    return Span(start, end.size, end.note)


async def lines(db: Database, origin: str, span: Span, handed_out: Callable[[str], str]) -> AsyncGenerator[bytes, None]:
    """The lines of an export, each ending in a newline. `handed_out` gives a note the signatures of one that leaves."""
    yield _line(
        {
            "export": FORM,
            "frontier": [base64.b64encode(each).decode() for each in span.start.peaks],
            "origin": origin,
            "size": span.end,
            "start": span.start.size,
        }
    )
    at = span.start.size
    while at < span.end:
        async with db.reading() as connection:
            rows = await _entries(connection, at, min(at + _PART, span.end))
            notes = await _notes(connection, at, min(at + _PART, span.end))
        for position, leaf, record in rows:
            at = position + 1
            yield b'{"leaf":"%s","record":%s}\n' % (base64.b64encode(leaf), record)
            if at == span.end:
                yield _line({"checkpoint": handed_out(span.note)})
            elif at in notes:
                yield _line({"checkpoint": notes[at]})
        if not rows:  # somebody deleted entries; whoever reads this will see that they are missing
            return


async def _entries(connection: Connection, start: int, end: int) -> list[Any]:
    table = audit_entries.c
    query = select(table.position, table.leaf_hash, table.record).where(table.position >= start, table.position < end)
    return list((await connection.execute(query.order_by(table.position))).all())


async def _notes(connection: Connection, start: int, end: int) -> dict[int, str]:
    table = audit_checkpoints.c
    query = select(table.size, table.note).where(table.size > start, table.size <= end)
    return {size: note for size, note in (await connection.execute(query)).all()}  # noqa: C416 — rows are no pairs


def _line(fields: dict[str, Any]) -> bytes:
    return canonical(fields).encode("ascii") + b"\n"
