"""Responses that programs asked to be kept: what was sent, what was answered, and from which one it goes on.

What an item or a response object looks like is its dialect's affair: here they are JSON with an `id`.
"""

import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import msgspec
from sqlalchemy import CTE, ColumnElement, Insert, Row, and_, insert, literal, select

from intramural.core.actor import Whose
from intramural.core.clock import Clock
from intramural.core.errors import Missing
from intramural.storage import BlockingConnection, Condition, Connection, Database
from intramural.storage import schema as t
from intramural.vault import Heads, Kind, Part, Vault, row_id
from intramural.vault.heads import all_kept_changed, kept_changed
from intramural.vault.places import RESPONSE, RESPONSE_EVENTS, RESPONSE_HEAD, RESPONSE_ITEM
from intramural.vault.sums import Head

#: One part of a conversation, as its dialect has it; it has an `id`.
Item = dict[str, Any]

DAY_MS = 86_400_000
_BODY, _EVENTS, _ITEM = RESPONSE.place, RESPONSE_EVENTS.place, RESPONSE_ITEM.place
_INSERT_RESPONSE, _INSERT_ITEM = insert(t.responses), insert(t.response_items)


@dataclass(frozen=True, slots=True)
class KeptResponse:
    """A response with its own input (not that of those before it). `body` is the object without `output`."""

    id: str
    body: dict[str, Any]
    input: tuple[Item, ...]
    output: tuple[Item, ...]
    previous_id: str | None = None


@dataclass(frozen=True, slots=True)
class ListedResponse:
    """A response in a list: `body` as in `KeptResponse`."""

    id: str
    body: dict[str, Any]
    created_ms: int
    workspace_id: str | None


class KeptResponses:
    """Everybody's responses, each reached only by saying whose it is, and of which workspace.

    After `keep_days` a response counts as gone; `expire` takes it away.
    """

    def __init__(self, db: Database, vault: Vault, clock: Clock, keep_days: int) -> None:
        self._db = db
        self._vault = vault
        self._clock = clock
        self._keep_ms = keep_days * DAY_MS
        kind = Kind("response", "responses", RESPONSE_HEAD, kept_changed, all_kept_changed)
        self.heads = self._heads = Heads(vault, clock, kind, self._lying)

    def insertions(
        self, whose: Whose, response: KeptResponse, events: Sequence[Any] | None = None
    ) -> tuple[list[tuple[Insert, Mapping[str, Any]]], Callable[[BlockingConnection], None]]:
        """The statements and values that keep a new `response`, in their order, and what is to be done after them, for
        whoever commits them with something else. `events`: its stream, to be replayed.

        The statements are the same objects each time, so that many rows can be inserted in one go.
        """
        person_id = whose.person_id
        if not self._vault.knows(person_id):
            return [], lambda _: None  # erased while it was being written
        seal, of, created_ms = self._vault.seal, response.id, self._now_ms()
        stream = None if events is None else zlib.compress(msgspec.json.encode(events))
        body = msgspec.json.encode(response.body)
        said = [(item, _role(True)) for item in response.input] + [(item, _role(False)) for item in response.output]
        parts = [Part(n, item["id"], role, msgspec.json.encode(item)) for n, (item, role) in enumerate(said)]
        about = self._heads.about(person_id, of, _said_of(body, response.previous_id, created_ms), whose.workspace_id)
        head = Head(0, self._heads.said(person_id, of, parts), about)
        row = {
            "id": response.id,
            "person_id": person_id,
            "workspace_id": whose.workspace_id,
            "previous_id": response.previous_id,
            "body": seal(person_id, _BODY, of, body),
            "events": None if stream is None else seal(person_id, _EVENTS, of, stream),
            "created_ms": created_ms,
            "head": self._heads.sealed(person_id, of, head),
        }
        rows: list[tuple[Insert, Mapping[str, Any]]] = [(_INSERT_RESPONSE, row)]
        rows += [(_INSERT_ITEM, self._row(person_id, of, part)) for part in parts]

        def then(inside: BlockingConnection) -> None:
            if self._vault.knows(person_id):
                self._heads.moved(inside, person_id, of, None, head)

        return rows, then

    async def keep(self, whose: Whose, response: KeptResponse, events: Sequence[Any] | None = None) -> None:
        """Keep `response`, in the place of an earlier state of it. `events` as for `insertions`."""
        rows, then = self.insertions(whose, response, events)

        def work(connection: BlockingConnection) -> None:
            self._heads.remove(connection, t.responses.c.id == response.id)
            for statement, values in rows:
                connection.execute(statement, values)
            then(connection)

        await self._db.write(work)

    async def get(self, whose: Whose, response_id: str) -> KeptResponse:
        """Raises Missing(`response_not_found`), Untrusted(`kept_changed`, `all_kept_changed`)."""
        async with self._db.reading() as connection:
            found = await connection.run_sync(self._whole, whose, [_text(response_id)])
        if not found:
            raise _missing()
        return found[0]

    async def newest(self, whose: Whose, *, limit: int, before: str | None = None) -> list[ListedResponse]:
        """These, the newest first; `before`: those that are older than this one."""
        own = t.responses.c
        wanted = select(t.responses).where(*_of(whose), own.created_ms >= self._since_ms())
        if before is not None:
            wanted = wanted.where(own.id < before)
        async with self._db.reading() as connection:
            await connection.run_sync(self._heads.require_all, whose.person_id)
            rows = (await connection.execute(wanted.order_by(own.id.desc()).limit(limit))).all()
        return [
            ListedResponse(row.id, self._body(whose.person_id, row), row.created_ms, whose.workspace_id) for row in rows
        ]

    async def context(self, whose: Whose, response_id: str, *, with_output: bool = True) -> tuple[Item, ...]:
        """Everything said up to and in a response, oldest first: what its successor goes on from.

        Without output, what it was made from itself. Raises Missing(`response_not_found`), also where one of those
        before it is gone.
        """
        chain = self._chain(whose, response_id)
        async with self._db.reading() as connection:
            ids = (await connection.execute(select(chain.c.id).order_by(chain.c.depth.desc()))).scalars().all()
            found = await connection.run_sync(self._whole, whose, ids)
        if not found or found[0].previous_id is not None:
            raise _missing()
        said = [item for each in found for item in (*each.input, *each.output)]
        return tuple(said if with_output else said[: len(said) - len(found[-1].output)])

    async def items(self, whose: Whose, item_ids: Sequence[str]) -> dict[str, Item]:
        """Those of `item_ids` that one of these responses holds; the newest, where several do."""
        own = t.responses.c
        query = (
            select(own.id)
            .join(t.response_items, own.id == t.response_items.c.response_id)
            .where(*_of(whose), own.created_ms >= self._since_ms())
            .where(t.response_items.c.item_id.in_(item_ids))
            .order_by(own.created_ms)
        )
        async with self._db.reading() as connection:
            ids = list(dict.fromkeys((await connection.execute(query)).scalars()))
            found = await connection.run_sync(self._whole, whose, ids)
        said = (item for each in found for item in (*each.input, *each.output))
        return {item["id"]: item for item in said if item["id"] in item_ids}

    async def events(self, whose: Whose, response_id: str) -> list[Any] | None:
        """The stream that was kept with it, if one was. Raises Missing(`response_not_found`)."""
        async with self._db.reading() as connection:
            query = select(t.responses.c.events).where(*self._own(whose, response_id))
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise _missing()
        if row.events is None:
            return None
        stream = self._vault.reveal(whose.person_id, _EVENTS, response_id, row.events)
        return list(msgspec.json.decode(zlib.decompress(stream)))

    async def told(self, person_id: str) -> str | None:
        """What the audit log is told of all that this person keeps, as it is now; None where there is nothing."""
        async with self._db.reading() as connection:
            return await connection.run_sync(self._heads.told, person_id)

    async def delete(self, whose: Whose, response_id: str, connection: Connection) -> None:
        """Take it away with all its items. Raises Missing(`response_not_found`)."""
        if not await connection.run_sync(self._heads.remove, and_(*self._own(whose, response_id))):
            raise _missing()

    async def purge(self, connection: Connection, response_ids: Collection[str]) -> int:
        """Take away those of these that are there, in the caller's transaction. How many."""
        return sum((await connection.run_sync(self._heads.remove, t.responses.c.id.in_(response_ids))).values())

    async def any_expired(self, held: Condition) -> bool:
        """Whether there is anything for `expire` to do."""
        query = select(t.responses.c.id).where(self._old(held)).limit(1)
        async with self._db.reading() as connection:
            return (await connection.execute(query)).first() is not None

    async def expire(self, connection: Connection, held: Condition) -> int:
        """Take away what was kept long enough and is not `held`. How many there were."""
        return sum((await connection.run_sync(self._heads.remove, self._old(held))).values())

    def _old(self, held: Condition) -> ColumnElement[bool]:
        of = t.responses.c
        return (of.created_ms < self._since_ms()) & ~held(of.person_id, of.get("workspace_id"))

    def _chain(self, whose: Whose, response_id: str) -> CTE:
        """The response (depth 0) and all those before it that are there."""
        own = t.responses.c
        first = select(own.id, own.previous_id, literal(0).label("depth")).where(*self._own(whose, response_id))
        chain = first.cte("chain", recursive=True)
        before = select(own.id, own.previous_id, chain.c.depth + 1).join(chain, own.id == chain.c.previous_id)
        return chain.union_all(before.where(*_of(whose), own.created_ms >= self._since_ms()))

    def _own(self, whose: Whose, response_id: str) -> tuple[Any, ...]:
        """The only way from an identifier to a response: whose it is, and where, is part of the question."""
        own = t.responses.c
        return own.id == _text(response_id), *_of(whose), own.created_ms >= self._since_ms()

    def _row(self, person_id: str, response_id: str, part: Part) -> dict[str, Any]:
        return {
            "response_id": response_id,
            "position": part.position,
            "item_id": part.id,
            "is_input": part.role == _role(True),
            "body": self._vault.seal(person_id, _ITEM, row_id(response_id, part.position), part.content),
        }

    def _whole(self, connection: BlockingConnection, whose: Whose, ids: Sequence[str]) -> list[KeptResponse]:
        """Those of these that are there, in this order, all as they were left. Raises Untrusted(`kept_changed`,
        `all_kept_changed`).
        """
        self._heads.require_all(connection, whose.person_id, again_s=inf)
        own, of = t.responses.c, t.response_items.c
        wanted = select(t.responses).where(own.id.in_(ids), *_of(whose), own.created_ms >= self._since_ms())
        rows = {row.id: row for row in connection.execute(wanted)}
        parts: dict[str, list[Part]] = {name: [] for name in rows}
        items = select(t.response_items).where(of.response_id.in_(list(rows))).order_by(of.response_id, of.position)
        for each in connection.execute(items):
            at = row_id(each.response_id, each.position)
            content = self._vault.reveal(whose.person_id, _ITEM, at, each.body)
            parts[each.response_id].append(Part(each.position, each.item_id, _role(each.is_input), content))
        return [self._fitting(rows[name], parts[name]) for name in ids if name in rows]

    def _fitting(self, row: Row[Any], parts: Sequence[Part]) -> KeptResponse:
        body = self._vault.reveal(row.person_id, _BODY, row.id, row.body)
        head = self._heads.require_about(row, _said_of(body, row.previous_id, row.created_ms))
        self._heads.require(row.person_id, row.id, head, parts)
        said = {role: tuple(_read(part) for part in parts if part.role == role) for role in map(_role, (True, False))}
        return KeptResponse(
            id=row.id,
            body=msgspec.json.decode(body),
            input=said[_role(True)],
            output=said[_role(False)],
            previous_id=row.previous_id,
        )

    def _body(self, person_id: str, row: Row[*tuple[Any, ...]]) -> dict[str, Any]:
        body = self._vault.reveal(person_id, _BODY, row.id, row.body)
        self._heads.require_about(row, _said_of(body, row.previous_id, row.created_ms))
        found: dict[str, Any] = msgspec.json.decode(body)
        return found

    def _lying(self, connection: BlockingConnection, row: Row[Any]) -> tuple[Head, int]:
        """What a row comes to as it lies here: see `vault.heads`."""
        of, parts, lost = t.response_items.c, [], 0
        for each in connection.execute(select(t.response_items).where(of.response_id == row.id).order_by(of.position)):
            at = row_id(row.id, each.position)
            content = self._heads.revealed(row.person_id, RESPONSE_ITEM, at, each.body)
            lost += content is None
            parts.append(Part(each.position, each.item_id, _role(each.is_input), content or b""))
        body = self._heads.revealed(row.person_id, RESPONSE, row.id, row.body)
        lost += body is None
        said_of = _said_of(body or b"", row.previous_id, row.created_ms)
        about = self._heads.about(row.person_id, row.id, said_of, row.workspace_id)
        return Head(0, self._heads.said(row.person_id, row.id, parts), about), lost

    def _now_ms(self) -> int:
        return int(self._clock.now_s() * 1000)

    def _since_ms(self) -> int:
        return self._now_ms() - self._keep_ms


def _of(whose: Whose) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return t.responses.c.person_id == whose.person_id, t.responses.c.workspace_id == whose.workspace_id


def _role(is_input: bool) -> str:
    return "input" if is_input else "output"


def _said_of(body: bytes, previous_id: str | None, created_ms: int) -> bytes:
    """What a response's head holds of it beside its items."""
    return f"{previous_id or ''}|{created_ms}|".encode() + body


def _read(part: Part) -> Item:
    found: Item = msgspec.json.decode(part.content)
    return found


def _text(identifier: str) -> str:
    """What cannot be stored cannot be found: JSON and URLs may carry halves of surrogate pairs."""
    return identifier.encode(errors="replace").decode()


def _missing() -> Missing:
    return Missing("response_not_found", "There is no such response.", "It may have been deleted, or not been stored.")
