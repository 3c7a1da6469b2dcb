"""Transcripts: the conversations of programs, as lists of items that grow. The page's are `chats`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, Select, and_, delete, func, insert, select, update

from intramural.chats.responses import DAY_MS, Item
from intramural.core.actor import Whose
from intramural.core.clock import Clock
from intramural.core.errors import Missing
from intramural.core.ids import new_id
from intramural.storage import BlockingConnection, Condition, Connection, Database
from intramural.storage import schema as t
from intramural.vault import Heads, Kind, Part, Vault, row_id
from intramural.vault.heads import all_kept_changed, kept_changed
from intramural.vault.places import TRANSCRIPT_HEAD, TRANSCRIPT_ITEM, TRANSCRIPT_NOTES
from intramural.vault.sums import NOTHING, Head, together

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
        kind = Kind("conversation", "conversations", TRANSCRIPT_HEAD, kept_changed, all_kept_changed)
        self.heads = self._heads = Heads(vault, clock, kind, self._lying)

    async def create(self, whose: Whose, notes: Mapping[str, str], items: Sequence[Item]) -> Transcript:
        """Begin one, with some items already."""
        now_ms = self._now_ms()
        made = Transcript(new_id("conv", self._clock), notes, now_ms, whose.workspace_id)
        noted = msgspec.json.encode(notes)
        head = Head(0, NOTHING, self._about(whose, made.id, noted, now_ms))
        row = {
            "id": made.id,
            "person_id": whose.person_id,
            "workspace_id": whose.workspace_id,
            "notes": self._vault.seal(whose.person_id, _NOTES, made.id, noted),
            "head": self._heads.sealed(whose.person_id, made.id, head),
        }

        def work(connection: BlockingConnection) -> None:
            connection.execute(insert(t.transcripts).values(**row, created_ms=now_ms, updated_ms=now_ms))
            self._heads.moved(connection, whose.person_id, made.id, None, head)
            self._append(connection, whose.person_id, made.id, head, items)

        await self._db.write(work)
        return made

    async def get(self, whose: Whose, transcript_id: str) -> Transcript:
        """Raises Missing(`conversation_not_found`), Untrusted(`kept_changed`, `all_kept_changed`)."""
        async with self._db.reading() as connection:
            row = await connection.run_sync(self._row, whose, transcript_id)
        return self._transcript(row)

    async def newest(self, whose: Whose, *, limit: int, before: str | None = None) -> list[Transcript]:
        """These, the newest first; `before`: those that are older than this one."""
        wanted = select(t.transcripts).where(*_of(whose))
        if before is not None:
            wanted = wanted.where(t.transcripts.c.id < before)
        async with self._db.reading() as connection:
            await connection.run_sync(self._heads.require_all, whose.person_id)
            rows = await connection.execute(wanted.order_by(t.transcripts.c.id.desc()).limit(limit))
            return [self._transcript(row) for row in rows]

    async def note(self, whose: Whose, transcript_id: str, notes: Mapping[str, str]) -> Transcript:
        """Replace its notes. Raises Missing(`conversation_not_found`)."""
        noted = msgspec.json.encode(notes)
        values = {
            "notes": self._vault.seal(whose.person_id, _NOTES, transcript_id, noted),
            "updated_ms": self._now_ms(),
        }

        def work(connection: BlockingConnection) -> None:
            row = self._row(connection, whose, transcript_id)
            before = self._heads.opened(whose.person_id, row.id, row.head)
            about = self._about(whose, row.id, noted, row.created_ms)
            connection.execute(update(t.transcripts).where(t.transcripts.c.id == row.id).values(**values))
            after = Head(before.changes + 1, before.said, about)
            self._heads.put(connection, whose.person_id, row.id, before, after)

        await self._db.write(work)
        return await self.get(whose, transcript_id)

    async def append(self, whose: Whose, transcript_id: str, items: Sequence[Item]) -> None:
        """Add items to its end. Raises Missing(`conversation_not_found`)."""
        now_ms = self._now_ms()

        def work(connection: BlockingConnection) -> None:
            row = self._row(connection, whose, transcript_id)
            touched = update(t.transcripts).where(t.transcripts.c.id == row.id).values(updated_ms=now_ms)
            connection.execute(touched)
            head = self._heads.opened(whose.person_id, row.id, row.head)
            self._append(connection, whose.person_id, row.id, head, items)

        await self._db.write(work)

    async def items(self, whose: Whose, transcript_id: str) -> tuple[Item, ...]:
        """All of its items in order. Raises Missing(`conversation_not_found`), Untrusted(`kept_changed`,
        `all_kept_changed`).
        """
        async with self._db.reading() as connection:
            return tuple(await connection.run_sync(self._items, whose, transcript_id))

    async def found(self, whose: Whose, item_ids: Sequence[str]) -> dict[str, Item]:
        """Those of `item_ids` that one of these transcripts holds; the newest, where several do."""
        of = t.transcript_items.c
        query = (
            select(t.transcripts.c.id)
            .join(t.transcript_items, t.transcripts.c.id == of.transcript_id)
            .where(*_of(whose), of.item_id.in_(item_ids))
            .order_by(t.transcripts.c.updated_ms)
        )
        async with self._db.reading() as connection:
            ids = dict.fromkeys((await connection.execute(query)).scalars())
            said = [item for each in ids for item in await connection.run_sync(self._items, whose, each)]
        return {item["id"]: item for item in said if item["id"] in item_ids}

    async def remove_item(self, whose: Whose, transcript_id: str, item_id: str, connection: Connection) -> None:
        """Take one item out. Raises Missing(`conversation_not_found`, `item_not_found`)."""

        def work(inside: BlockingConnection) -> None:
            row = self._row(inside, whose, transcript_id)
            before = self._heads.opened(whose.person_id, row.id, row.head)
            gone = [part for part in self._parts(inside, whose.person_id, row.id) if part.id == item_id]
            if not gone:
                raise Missing("item_not_found", "There is no such item in this conversation.", "List its items.")
            of = t.transcript_items.c
            inside.execute(delete(t.transcript_items).where(of.transcript_id == row.id, of.item_id == item_id))
            said = together(before.said, self._heads.said(whose.person_id, row.id, gone))
            self._heads.put(inside, whose.person_id, row.id, before, Head(before.changes + 1, said, before.about))

        await connection.run_sync(work)

    async def delete(self, whose: Whose, transcript_id: str, connection: Connection) -> None:
        """Take it away with every item. Raises Missing(`conversation_not_found`)."""
        if not await connection.run_sync(self._heads.remove, and_(*_own(whose, transcript_id))):
            raise _missing()

    async def purge(self, connection: Connection, transcript_ids: Collection[str]) -> int:
        """Take away those of these that are there, in the caller's transaction. How many."""
        return sum((await connection.run_sync(self._heads.remove, t.transcripts.c.id.in_(transcript_ids))).values())

    async def any_expired(self, held: Condition) -> bool:
        """Whether there is anything for `expire` to do."""
        query = select(t.transcripts.c.id).where(self._old(held)).limit(1)
        async with self._db.reading() as connection:
            return (await connection.execute(query)).first() is not None

    async def expire(self, connection: Connection, held: Condition) -> int:
        """Take away what nobody used for long enough and is not `held`. How many there were."""
        return sum((await connection.run_sync(self._heads.remove, self._old(held))).values())

    def _old(self, held: Condition) -> ColumnElement[bool]:
        of = t.transcripts.c
        return (of.updated_ms < self._since_ms()) & ~held(of.person_id, of.get("workspace_id"))

    def _append(
        self, connection: BlockingConnection, person_id: str, transcript_id: str, head: Head, items: Sequence[Item]
    ) -> None:
        """At its end, with its head, which is `head` until then."""
        of = t.transcript_items.c
        end = select(func.coalesce(func.max(of.position) + 1, 0)).where(of.transcript_id == transcript_id)
        first = connection.execute(end).scalar_one()
        parts = [Part(at, item["id"], "", msgspec.json.encode(item)) for at, item in enumerate(items, first)]
        rows = [
            {
                "transcript_id": transcript_id,
                "position": part.position,
                "item_id": part.id,
                "body": self._vault.seal(person_id, _ITEM, row_id(transcript_id, part.position), part.content),
            }
            for part in parts
        ]
        if rows:
            connection.execute(insert(t.transcript_items), rows)
            said = together(head.said, self._heads.said(person_id, transcript_id, parts))
            after = replace(head, changes=head.changes + 1, said=said)
            self._heads.put(connection, person_id, transcript_id, head, after)

    def _row(self, connection: BlockingConnection, whose: Whose, transcript_id: str) -> Row[Any]:
        """One's own, whose notes are as they were left. Raises Missing(`conversation_not_found`), Untrusted."""
        row = connection.execute(select(t.transcripts).where(*_own(whose, transcript_id))).one_or_none()
        if row is None:
            raise _missing()
        self._heads.require_all(connection, whose.person_id, again_s=inf)
        self._transcript(row)
        return row

    def _items(self, connection: BlockingConnection, whose: Whose, transcript_id: str) -> list[Item]:
        row = self._row(connection, whose, transcript_id)
        parts = self._parts(connection, whose.person_id, row.id)
        head = self._heads.opened(whose.person_id, row.id, row.head)
        self._heads.require(whose.person_id, row.id, head, parts)
        return [msgspec.json.decode(part.content) for part in parts]

    def _parts(self, connection: BlockingConnection, person_id: str, transcript_id: str) -> list[Part]:
        return [
            Part(each.position, each.item_id, "", self._vault.reveal(person_id, _ITEM, _at(each), each.body))
            for each in connection.execute(_items_of(transcript_id))
        ]

    def _transcript(self, row: Row[Any]) -> Transcript:
        notes = self._vault.reveal(row.person_id, _NOTES, row.id, row.notes)
        self._heads.require_about(row, _said_of(notes, row.created_ms))
        return Transcript(row.id, msgspec.json.decode(notes), row.created_ms, row.workspace_id)

    def _about(self, whose: Whose, transcript_id: str, notes: bytes, created_ms: int) -> bytes:
        return self._heads.about(whose.person_id, transcript_id, _said_of(notes, created_ms), whose.workspace_id)

    def _lying(self, connection: BlockingConnection, row: Row[Any]) -> tuple[Head, int]:
        """What a row comes to as it lies here: see `vault.heads`."""
        parts, lost = [], 0
        for each in connection.execute(_items_of(row.id)):
            content = self._heads.revealed(row.person_id, TRANSCRIPT_ITEM, _at(each), each.body)
            lost += content is None
            parts.append(Part(each.position, each.item_id, "", content or b""))
        notes = self._heads.revealed(row.person_id, TRANSCRIPT_NOTES, row.id, row.notes)
        lost += notes is None
        about = self._heads.about(row.person_id, row.id, _said_of(notes or b"", row.created_ms), row.workspace_id)
        return Head(0, self._heads.said(row.person_id, row.id, parts), about), lost

    def _since_ms(self) -> int:
        return self._now_ms() - self._keep_ms if self._keep_ms else 0

    def _now_ms(self) -> int:
        return int(self._clock.now_s() * 1000)


def _items_of(transcript_id: str) -> Select[Any]:
    of = t.transcript_items.c
    return select(t.transcript_items).where(of.transcript_id == transcript_id).order_by(of.position)


def _at(row: Row[Any]) -> str:
    return row_id(row.transcript_id, row.position)


def _said_of(notes: bytes, created_ms: int) -> bytes:
    """What a transcript's head holds of it beside its items."""
    return f"{created_ms}|".encode() + notes


def _own(whose: Whose, transcript_id: str) -> tuple[Any, ...]:
    """The only way from an identifier to a transcript: whose it is, and where, is part of the question."""
    wanted = transcript_id.encode(errors="replace").decode()  # what cannot be stored cannot be found
    return t.transcripts.c.id == wanted, *_of(whose)


def _of(whose: Whose) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return t.transcripts.c.person_id == whose.person_id, t.transcripts.c.workspace_id == whose.workspace_id


def _missing() -> Missing:
    return Missing("conversation_not_found", "There is no such conversation.", "It may have been deleted.")
