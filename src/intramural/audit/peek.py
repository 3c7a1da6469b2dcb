"""Looking into a log from outside the service, without changing it (blocking)."""

from pathlib import Path

from sqlalchemy import select

from intramural.audit.events import Event
from intramural.audit.record import StoredRecord, parse
from intramural.storage import reading_file
from intramural.storage.schema import audit_entries


def first_and_newest(file: Path, event: Event) -> tuple[StoredRecord | None, StoredRecord | None]:
    """The first entry of the log in `file`, and the newest of `event`; None where there is none."""
    table = audit_entries.c
    first = select(table.record).order_by(table.position).limit(1)
    newest = select(table.record).where(table.event == str(event)).order_by(table.position.desc()).limit(1)
    with reading_file(file) as connection:
        found = [connection.execute(query).scalar() for query in (first, newest)]
    records = [None if data is None else parse(data) for data in found]
    return records[0], records[1]
