"""Every column in which somebody's words lie sealed, and going through them row by row.

One list, for whoever must reach all of it: what was kept before there was a vault is sealed (`seal_some`), what an
older data key sealed is sealed with the newest (`reseal_some`), and a person's export shows all of it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Column, ColumnElement, Table, func, literal, select, tuple_, update
from sqlalchemy.sql.expression import FromClause
from sqlalchemy.types import LargeBinary

from intramural.storage import BlockingConnection, Database
from intramural.storage import schema as t
from intramural.vault.envelope import MAGIC, Place, generation_of
from intramural.vault.vault import Vault

#: Rows in one transaction: others write between two of them.
ROWS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed column: its rows' keys (whose values, joined by `/`, are the row's identifier), and whose they are."""

    column: Column[Any]
    keys: tuple[Column[Any], ...]
    person: Column[Any]
    joined: tuple[tuple[Table, ColumnElement[bool]], ...] = field(default=(), compare=False)

    @property
    def place(self) -> Place:
        return Place(self.column.table.name, self.column.name)

    def rows(self) -> FromClause:
        """The table, joined with where it says whose the row is."""
        found: FromClause = self.column.table
        for table, on in self.joined:
            found = found.join(table, on)
        return found


def row_id(*keys: object) -> str:
    """What a row is called in what is bound to its values."""
    return "/".join(map(str, keys))


_IN_CHAT = ((t.chats, t.chats.c.id == t.chat_messages.c.chat_id),)
_IN_RESPONSE = ((t.responses, t.responses.c.id == t.response_items.c.response_id),)
_IN_TRANSCRIPT = ((t.transcripts, t.transcripts.c.id == t.transcript_items.c.transcript_id),)
_IN_FILE = ((t.files, t.files.c.id == t.file_passages.c.file_id),)
_IN_BATCH = ((t.batches, t.batches.c.id == t.batch_lines.c.batch_id),)

CHAT_TITLE = Sealed(t.chats.c.title, (t.chats.c.id,), t.chats.c.person_id)
MESSAGE = Sealed(t.chat_messages.c.content, (t.chat_messages.c.id,), t.chats.c.person_id, _IN_CHAT)
RESPONSE = Sealed(t.responses.c.body, (t.responses.c.id,), t.responses.c.person_id)
RESPONSE_EVENTS = Sealed(t.responses.c.events, (t.responses.c.id,), t.responses.c.person_id)
RESPONSE_ITEM = Sealed(
    t.response_items.c.body,
    (t.response_items.c.response_id, t.response_items.c.position),
    t.responses.c.person_id,
    _IN_RESPONSE,
)
TRANSCRIPT_NOTES = Sealed(t.transcripts.c.notes, (t.transcripts.c.id,), t.transcripts.c.person_id)
TRANSCRIPT_ITEM = Sealed(
    t.transcript_items.c.body,
    (t.transcript_items.c.transcript_id, t.transcript_items.c.position),
    t.transcripts.c.person_id,
    _IN_TRANSCRIPT,
)
FILE_NAME = Sealed(t.files.c.name, (t.files.c.id,), t.files.c.person_id)
PASSAGE = Sealed(
    t.file_passages.c.body,
    (t.file_passages.c.file_id, t.file_passages.c.position),
    t.files.c.person_id,
    _IN_FILE,
)
BATCH_NOTES = Sealed(t.batches.c.notes, (t.batches.c.id,), t.batches.c.person_id)
BATCH_ERRORS = Sealed(t.batches.c.errors, (t.batches.c.id,), t.batches.c.person_id)
_LINE = (t.batch_lines.c.batch_id, t.batch_lines.c.position)
BATCH_LINE = Sealed(t.batch_lines.c.body, _LINE, t.batches.c.person_id, _IN_BATCH)
BATCH_LINE_NAME = Sealed(t.batch_lines.c.custom_id, _LINE, t.batches.c.person_id, _IN_BATCH)
AUDIT_TEXT = Sealed(t.audit_texts.c.body, (t.audit_texts.c.nonce, t.audit_texts.c.name), t.audit_texts.c.person_id)
CHAT_HEAD = Sealed(t.chats.c.head, (t.chats.c.id,), t.chats.c.person_id)
RESPONSE_HEAD = Sealed(t.responses.c.head, (t.responses.c.id,), t.responses.c.person_id)
TRANSCRIPT_HEAD = Sealed(t.transcripts.c.head, (t.transcripts.c.id,), t.transcripts.c.person_id)
FILE_HEAD = Sealed(t.files.c.head, (t.files.c.id,), t.files.c.person_id)
BATCH_HEAD = Sealed(t.batches.c.head, (t.batches.c.id,), t.batches.c.person_id)
CHAT_ROOT = Sealed(t.chat_roots.c.root, (t.chat_roots.c.person_id,), t.chat_roots.c.person_id)
OPENING_REASON = Sealed(t.openings.c.reason, (t.openings.c.id,), t.openings.c.asker_id)
_NOTICE = (t.opening_notices.c.opening_id, t.opening_notices.c.person_id)
NOTICE_REASON = Sealed(t.opening_notices.c.reason, _NOTICE, t.opening_notices.c.person_id)

CONSENT_REFERENCE = Sealed(t.consents.c.reference, (t.consents.c.id,), t.consents.c.person_id)

ALL: Sequence[Sealed] = (
    CHAT_TITLE,
    CHAT_HEAD,
    CHAT_ROOT,
    RESPONSE_HEAD,
    TRANSCRIPT_HEAD,
    FILE_HEAD,
    BATCH_HEAD,
    MESSAGE,
    RESPONSE,
    RESPONSE_EVENTS,
    RESPONSE_ITEM,
    TRANSCRIPT_NOTES,
    TRANSCRIPT_ITEM,
    FILE_NAME,
    PASSAGE,
    BATCH_NOTES,
    BATCH_ERRORS,
    BATCH_LINE,
    BATCH_LINE_NAME,
    AUDIT_TEXT,
    CONSENT_REFERENCE,
    OPENING_REASON,
    NOTICE_REASON,
)


async def each_row(db: Database, work: Any) -> int:
    """Call `work(connection, after)` until it says that nothing is left."""
    count = 0
    after: Any = None
    while True:
        changed, after = await db.write(partial(work, after=after))
        count += int(changed)
        if after is None:
            return count
        await asyncio.sleep(0)


def seal_some(vault: Vault, each: Sealed, connection: BlockingConnection, after: Any) -> tuple[int, Any]:
    # nothing of an empty value is NULL on SQLite, which is neither equal nor unequal
    begins = func.coalesce(func.substr(each.column, 1, len(MAGIC)), literal(b"", LargeBinary))
    clear = begins != literal(MAGIC, LargeBinary)
    rows = _some(each, connection, after, clear)
    for *keys, person_id, value in rows:
        _put(each, connection, keys, vault.seal(person_id, each.place, row_id(*keys), value))
    return len(rows), _last(rows)


def reseal_some(
    vault: Vault, each: Sealed, person_id: str, connection: BlockingConnection, after: Any
) -> tuple[int, Any]:
    newest = vault.generation(person_id)
    rows = _some(each, connection, after, each.person == person_id)
    changed = 0
    for *keys, _, value in rows:
        if generation_of(each.place, value) < newest:
            clear = vault.reveal(person_id, each.place, row_id(*keys), value)
            _put(each, connection, keys, vault.seal(person_id, each.place, row_id(*keys), clear))
            changed += 1
    return changed, _last(rows)


def _some(
    each: Sealed, connection: BlockingConnection, after: Any, which: ColumnElement[bool]
) -> Sequence[tuple[Any, ...]]:
    wanted = (
        select(*each.keys, each.person, each.column).select_from(each.rows()).where(each.column.is_not(None), which)
    )
    if after is not None:
        wanted = wanted.where(tuple_(*each.keys) > tuple_(*(literal(key) for key in after)))
    wanted = wanted.order_by(*each.keys).limit(ROWS_AT_ONCE)
    return [tuple(row) for row in connection.execute(wanted)]


def _last(rows: Sequence[tuple[Any, ...]]) -> Any:
    return rows[-1][:-2] if len(rows) == ROWS_AT_ONCE else None


def _put(each: Sealed, connection: BlockingConnection, keys: Sequence[Any], value: bytes) -> None:
    where = [column == key for column, key in zip(each.keys, keys, strict=True)]
    connection.execute(update(each.column.table).where(*where).values({each.column.name: value}))
