"""Transcripts: the conversations of programs, as lists of items that grow. The page's are `chats`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, delete, func, insert, select, update

from intramural.chats.responses import DAY_MS, Item
from intramural.core.actor import Whose
from intramural.core.clock import Clock
from intramural.core.errors import Missing
from intramural.core.ids import new_id
from intramural.storage import BlockingConnection, Condition, Connection, Database
from intramural.storage import schema as t
from intramural.vault import Vault, row_id
from intramural.vault.places import TRANSCRIPT_ITEM, TRANSCRIPT_NOTES

_NOTES, _ITEM = TRANSCRIPT_NOTES.place, TRANSCRIPT_ITEM.place


@dataclass(frozen=True, slots=True)
class Transcript:
    """One conversation of a program. `notes` are its own words about it."""

    id: str
    notes: Mapping[str, str]
    created_ms: int
    workspace_id: str | None = None


class Transcripts:
    """Everybody's transcripts, each reached only by saying whose it is, and of which workspace."""

    def __init__(self, db: Database, vault: Vault, clock: Clock, keep_days: int = 0) -> None:
        """`keep_days` without use: then `expire` takes it away. 0: never."""
        self._db = db
        self._vault = vault
        self._clock = clock
        self._keep_ms = keep_days * DAY_MS

    async def create(self, whose: Whose, notes: Mapping[str, str], items: Sequence[Item]) -> Transcript:
        """Begin one, with some items already."""
        now_ms = self._now_ms()
        made = Transcript(new_id("conv", self._clock), notes, now_ms, whose.workspace_id)
        row = {
            "id": made.id,
            "person_id": whose.person_id,
            "workspace_id": whose.workspace_id,
            "notes": self._sealed_notes(whose.person_id, made.id, notes),
        }

        def work(connection: BlockingConnection) -> None:
            connection.execute(insert(t.transcripts).values(**row, created_ms=now_ms, updated_ms=now_ms))
            self._append(connection, whose.person_id, made.id, items)

        await self._db.write(work)
        return made

    async def get(self, whose: Whose, transcript_id: str) -> Transcript:
        """Raises Missing(`conversation_not_found`)."""
        async with self._db.reading() as connection:
            row = (await connection.execute(select(t.transcripts).where(*_own(whose, transcript_id)))).one_or_none()
        if row is None:
            raise _missing()
        return self._transcript(row)

    async def newest(self, whose: Whose, *, limit: int, before: str | None = None) -> list[Transcript]:
        """These, the newest first; `before`: those that are older than this one."""
        wanted = select(t.transcripts).where(*_of(whose))
        if before is not None:
            wanted = wanted.where(t.transcripts.c.id < before)
        async with self._db.reading() as connection:
            rows = await connection.execute(wanted.order_by(t.transcripts.c.id.desc()).limit(limit))
            return [self._transcript(row) for row in rows]

    async def note(self, whose: Whose, transcript_id: str, notes: Mapping[str, str]) -> Transcript:
        """Replace its notes. Raises Missing(`conversation_not_found`)."""
        sealed = self._sealed_notes(whose.person_id, transcript_id, notes)
        values = {"notes": sealed, "updated_ms": self._now_ms()}
        async with self._db.writing() as connection:
            where = _own(whose, transcript_id)
            if (await connection.execute(update(t.transcripts).where(*where).values(**values))).rowcount == 0:
                raise _missing()
        return await self.get(whose, transcript_id)

    async def append(self, whose: Whose, transcript_id: str, items: Sequence[Item]) -> None:
        """Add items to its end. Raises Missing(`conversation_not_found`)."""
        now_ms = self._now_ms()

        def work(connection: BlockingConnection) -> None:
            touched = update(t.transcripts).where(*_own(whose, transcript_id)).values(updated_ms=now_ms)
            if connection.execute(touched).rowcount == 0:
                raise _missing()
            self._append(connection, whose.person_id, transcript_id, items)

        await self._db.write(work)

    async def items(self, whose: Whose, transcript_id: str) -> tuple[Item, ...]:
        """All of its items in order. Raises Missing(`conversation_not_found`)."""
        await self.get(whose, transcript_id)
        of = t.transcript_items.c
        query = select(t.transcript_items).where(of.transcript_id == transcript_id).order_by(of.position)
        async with self._db.reading() as connection:
            return tuple(self._item(whose.person_id, row) for row in await connection.execute(query))

    async def found(self, whose: Whose, item_ids: Sequence[str]) -> dict[str, Item]:
        """Those of `item_ids` that one of these transcripts holds; the newest, where several do."""
        of = t.transcript_items.c
        query = (
            select(t.transcript_items)
            .join(t.transcripts, t.transcripts.c.id == of.transcript_id)
            .where(*_of(whose), of.item_id.in_(item_ids))
            .order_by(t.transcripts.c.updated_ms)
        )
        async with self._db.reading() as connection:
            return {row.item_id: self._item(whose.person_id, row) for row in await connection.execute(query)}

    async def remove_item(self, whose: Whose, transcript_id: str, item_id: str, connection: Connection) -> None:
        """Take one item out. Raises Missing(`conversation_not_found`, `item_not_found`)."""
        if (await connection.execute(select(1).where(*_own(whose, transcript_id)))).first() is None:
            raise _missing()
        of = t.transcript_items.c
        gone = delete(t.transcript_items).where(of.transcript_id == transcript_id, of.item_id == item_id)
        if (await connection.execute(gone)).rowcount == 0:
            raise Missing("item_not_found", "There is no such item in this conversation.", "List its items.")

    async def delete(self, whose: Whose, transcript_id: str, connection: Connection) -> None:
        """Take it away with every item. Raises Missing(`conversation_not_found`)."""
        gone = delete(t.transcripts).where(*_own(whose, transcript_id))
        if (await connection.execute(gone)).rowcount == 0:
            raise _missing()

    async def any_expired(self, held: Condition) -> bool:
        """Whether there is anything for `expire` to do."""
        query = select(t.transcripts.c.id).where(self._old(held)).limit(1)
        async with self._db.reading() as connection:
            return (await connection.execute(query)).first() is not None

    async def expire(self, connection: Connection, held: Condition) -> int:
        """Take away what nobody used for long enough and is not `held`. How many there were."""
        return (await connection.execute(delete(t.transcripts).where(self._old(held)))).rowcount

    def _old(self, held: Condition) -> ColumnElement[bool]:
        of = t.transcripts.c
        return (of.updated_ms < self._since_ms()) & ~held(of.person_id, of.get("workspace_id"))

    def _append(
        self, connection: BlockingConnection, person_id: str, transcript_id: str, items: Sequence[Item]
    ) -> None:
        of = t.transcript_items.c
        end = select(func.coalesce(func.max(of.position) + 1, 0)).where(of.transcript_id == transcript_id)
        first = connection.execute(end).scalar_one()
        rows = [
            {
                "transcript_id": transcript_id,
                "position": at,
                "item_id": item["id"],
                "body": self._vault.seal(person_id, _ITEM, row_id(transcript_id, at), msgspec.json.encode(item)),
            }
            for at, item in enumerate(items, first)
        ]
        if rows:
            connection.execute(insert(t.transcript_items), rows)

    def _item(self, person_id: str, row: Row[Any]) -> Item:
        at = row_id(row.transcript_id, row.position)
        found: Item = msgspec.json.decode(self._vault.reveal(person_id, _ITEM, at, row.body))
        return found

    def _transcript(self, row: Row[Any]) -> Transcript:
        notes = self._vault.reveal(row.person_id, _NOTES, row.id, row.notes)
        return Transcript(row.id, msgspec.json.decode(notes), row.created_ms, row.workspace_id)

    def _sealed_notes(self, person_id: str, transcript_id: str, notes: Mapping[str, str]) -> bytes:
        return self._vault.seal(person_id, _NOTES, transcript_id, msgspec.json.encode(notes))

    def _since_ms(self) -> int:
        return self._now_ms() - self._keep_ms if self._keep_ms else 0

    def _now_ms(self) -> int:
        return int(self._clock.now_s() * 1000)


def _own(whose: Whose, transcript_id: str) -> tuple[Any, ...]:
    """The only way from an identifier to a transcript: whose it is, and where, is part of the question."""
    wanted = transcript_id.encode(errors="replace").decode()  # what cannot be stored cannot be found
    return t.transcripts.c.id == wanted, *_of(whose)


def _of(whose: Whose) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return t.transcripts.c.person_id == whose.person_id, t.transcripts.c.workspace_id == whose.workspace_id


def _missing() -> Missing:
    return Missing("conversation_not_found", "There is no such conversation.", "It may have been deleted.")
