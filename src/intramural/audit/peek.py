"""Looking into a log from outside the service, without changing it (blocking, on a thread that runs no event loop)."""

from pathlib import Path

from sqlalchemy import select

from intramural.audit.events import Event
from intramural.audit.record import StoredRecord, parse
from intramural.storage import BlockingConnection, read_apart
from intramural.storage.schema import audit_entries


def first_and_newest(address: Path | str, event: Event) -> tuple[StoredRecord | None, StoredRecord | None]:
    """The first entry of the log at `address`, and the newest of `event`; None where there is none."""
    table = audit_entries.c
    first = select(table.record).order_by(table.position).limit(1)
    newest = select(table.record).where(table.event == str(event)).order_by(table.position.desc()).limit(1)

    def work(connection: BlockingConnection) -> list[StoredRecord | None]:
        found = [connection.execute(query).scalar() for query in (first, newest)]
        return [None if data is None else parse(data) for data in found]

    records = read_apart(address, work)
    return records[0], records[1]
