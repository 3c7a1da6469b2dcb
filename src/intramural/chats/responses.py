"""Responses that programs asked to be kept: what was sent, what was answered, and from which one it goes on.

What an item or a response object looks like is its dialect's affair: here they are JSON with an `id`.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import CTE, ColumnElement, Insert, Row, delete, func, insert, literal, select

from intramural.core.actor import Whose
from intramural.core.clock import Clock
from intramural.core.errors import Missing
from intramural.storage import BlockingConnection, Condition, Connection, Database
from intramural.storage import schema as t
from intramural.vault import Vault, row_id
from intramural.vault.places import RESPONSE, RESPONSE_EVENTS, RESPONSE_ITEM

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

    def insertions(
        self, whose: Whose, response: KeptResponse, events: Sequence[Any] | None = None
    ) -> list[tuple[Insert, Mapping[str, Any]]]:
        """The statements and values that keep a new `response`, in their order, for whoever commits them with something
        else. `events`: its stream, to be replayed.

        The statements are the same objects each time, so that many rows can be inserted in one go.
        """
        person_id = whose.person_id
        if not self._vault.knows(person_id):
            return []  # erased while it was being written
        seal, of = self._vault.seal, response.id
        stream = None if events is None else zlib.compress(msgspec.json.encode(events))
        row = {
            "id": response.id,
            "person_id": person_id,
            "workspace_id": whose.workspace_id,
            "previous_id": response.previous_id,
            "body": seal(person_id, _BODY, of, msgspec.json.encode(response.body)),
            "events": None if stream is None else seal(person_id, _EVENTS, of, stream),
            "created_ms": self._now_ms(),
        }
        said = [(item, True) for item in response.input] + [(item, False) for item in response.output]
        items = [self._row(person_id, of, n, item, is_input=is_input) for n, (item, is_input) in enumerate(said)]
        return [(_INSERT_RESPONSE, row), *((_INSERT_ITEM, item) for item in items)]

    async def keep(self, whose: Whose, response: KeptResponse, events: Sequence[Any] | None = None) -> None:
        """Keep `response`, in the place of an earlier state of it. `events` as for `insertions`."""
        rows = self.insertions(whose, response, events)

        def work(connection: BlockingConnection) -> None:
            connection.execute(delete(t.responses).where(t.responses.c.id == response.id))
            for statement, values in rows:
                connection.execute(statement, values)

        await self._db.write(work)

    async def get(self, whose: Whose, response_id: str) -> KeptResponse:
        """Raises Missing(`response_not_found`)."""
        async with self._db.reading() as connection:
            query = select(t.responses.c.id, t.responses.c.body, t.responses.c.previous_id)
            row = (await connection.execute(query.where(*self._own(whose, response_id)))).one_or_none()
            if row is None:
                raise _missing()
            of = select(t.response_items)
            of = of.where(t.response_items.c.response_id == response_id).order_by(t.response_items.c.position)
            items = [(each.is_input, self._item(whose.person_id, each)) for each in await connection.execute(of)]
        return KeptResponse(
            id=response_id,
            body=self._body(whose.person_id, row),
            input=tuple(item for is_input, item in items if is_input),
            output=tuple(item for is_input, item in items if not is_input),
            previous_id=row.previous_id,
        )

    async def newest(self, whose: Whose, *, limit: int, before: str | None = None) -> list[ListedResponse]:
        """These, the newest first; `before`: those that are older than this one."""
        own = t.responses.c
        wanted = select(own.id, own.body, own.created_ms).where(*_of(whose), own.created_ms >= self._since_ms())
        if before is not None:
            wanted = wanted.where(own.id < before)
        async with self._db.reading() as connection:
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
            ends = select(func.count(), func.count().filter(chain.c.previous_id.is_(None))).select_from(chain)
            length, complete = (await connection.execute(ends)).one()
            if not length or not complete:
                raise _missing()
            query = select(t.response_items).join(chain, chain.c.id == t.response_items.c.response_id)
            if not with_output:
                query = query.where((chain.c.depth > 0) | t.response_items.c.is_input)
            ordered = query.order_by(chain.c.depth.desc(), t.response_items.c.position)
            return tuple(self._item(whose.person_id, row) for row in await connection.execute(ordered))

    async def items(self, whose: Whose, item_ids: Sequence[str]) -> dict[str, Item]:
        """Those of `item_ids` that one of these responses holds; the newest, where several do."""
        own = t.responses.c
        query = (
            select(t.response_items)
            .join(t.responses, own.id == t.response_items.c.response_id)
            .where(*_of(whose), own.created_ms >= self._since_ms())
            .where(t.response_items.c.item_id.in_(item_ids))
            .order_by(own.created_ms)
        )
        async with self._db.reading() as connection:
            return {row.item_id: self._item(whose.person_id, row) for row in await connection.execute(query)}

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

    async def delete(self, whose: Whose, response_id: str, connection: Connection) -> None:
        """Take it away with all its items. Raises Missing(`response_not_found`)."""
        if (await connection.execute(delete(t.responses).where(*self._own(whose, response_id)))).rowcount == 0:
            raise _missing()

    async def any_expired(self, held: Condition) -> bool:
        """Whether there is anything for `expire` to do."""
        query = select(t.responses.c.id).where(self._old(held)).limit(1)
        async with self._db.reading() as connection:
            return (await connection.execute(query)).first() is not None

    async def expire(self, connection: Connection, held: Condition) -> int:
        """Take away what was kept long enough and is not `held`. How many there were."""
        return (await connection.execute(delete(t.responses).where(self._old(held)))).rowcount

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

    def _row(self, person_id: str, response_id: str, position: int, item: Item, *, is_input: bool) -> dict[str, Any]:
        body = self._vault.seal(person_id, _ITEM, row_id(response_id, position), msgspec.json.encode(item))
        return {
            "response_id": response_id,
            "position": position,
            "item_id": item["id"],
            "is_input": is_input,
            "body": body,
        }

    def _body(self, person_id: str, row: Row[*tuple[Any, ...]]) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(self._vault.reveal(person_id, _BODY, row.id, row.body))
        return found

    def _item(self, person_id: str, row: Row[Any]) -> Item:
        at = row_id(row.response_id, row.position)
        found: Item = msgspec.json.decode(self._vault.reveal(person_id, _ITEM, at, row.body))
        return found

    def _now_ms(self) -> int:
        return int(self._clock.now_s() * 1000)

    def _since_ms(self) -> int:
        return self._now_ms() - self._keep_ms


def _of(whose: Whose) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return t.responses.c.person_id == whose.person_id, t.responses.c.workspace_id == whose.workspace_id


def _text(identifier: str) -> str:
    """What cannot be stored cannot be found: JSON and URLs may carry halves of surrogate pairs."""
    return identifier.encode(errors="replace").decode()


def _missing() -> Missing:
    return Missing("response_not_found", "There is no such response.", "It may have been deleted, or not been stored.")
