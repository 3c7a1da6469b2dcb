"""Heads of things and roots of people, as they are kept: moved along with every change, and held against what is read.

Each room that keeps things has `Heads` of its kind, and says what a row of it comes to. Everything here works on the
caller's open connection: a change and what it comes to are one transaction, and what is read is held against a head of
the same moment.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, delete, insert, select, update

from intramural.core.clock import Clock
from intramural.core.errors import IntramuralError, Untrusted
from intramural.storage import BlockingConnection, Connection, Database
from intramural.storage import schema as t
from intramural.vault.places import CHAT_ROOT, Sealed
from intramural.vault.sums import NOTHING, Head, Root, all_of, of_about, of_part, of_thing, together, told_changes
from intramural.vault.vault import Vault

#: All of a person's things of a kind are held against their root when they come, and when they read again after this
#: long. Who asks a model does not wait for that.
AGAIN_S = 600.0
HINT = "An administrator finds out with `intramural vault check`, compares with a backup, or accepts what is here."


class Part(NamedTuple):
    """A message, an item, a line: in its place, with what it is called there."""

    position: int
    id: str
    role: str
    content: bytes


#: What a row comes to as it lies here, and how many values of it do not open at all.
ComesTo = Callable[[BlockingConnection, Row[Any]], tuple[Head, int]]


@dataclass(frozen=True, slots=True)
class Kind:
    """Things of a kind: what one is called in sums and to people, what all are in the root, and where heads lie."""

    word: str
    name: str
    head: Sealed
    changed: Callable[[], Untrusted]
    all_changed: Callable[[], Untrusted]


@dataclass(frozen=True, slots=True)
class Wrong:
    """Something that is not as it was left; `thing_id` None: it is about all of somebody's things of that kind."""

    person_id: str
    word: str
    thing_id: str | None
    code: str


class Heads:
    """Heads and roots of one kind. The key of the sums is the person's, and stays when their data key is changed."""

    def __init__(self, vault: Vault, clock: Clock, kind: Kind, comes_to: ComesTo) -> None:
        self.kind = kind
        self._vault = vault
        self._clock = clock
        self._comes_to = comes_to
        self._table: Any = kind.head.column.table
        self._fitted: dict[str, float] = {}

    # of one thing

    def said(self, person_id: str, thing_id: str, parts: Iterable[Part]) -> bytes:
        """What these parts come to."""
        key = self._vault.heads_key(person_id)
        return all_of(of_part(key, thing_id, *each) for each in parts)

    def about(self, person_id: str, thing_id: str, content: bytes, workspace_id: str | None) -> bytes:
        """What comes to be said of it beside its parts."""
        return of_about(self._vault.heads_key(person_id), thing_id, content, workspace_id)

    def require_about(self, row: Row[Any], content: bytes) -> Head:
        """The head of a row, of which `content` is said as it was left. Raises Untrusted, as the kind says it."""
        head = self.opened(row.person_id, row.id, row.head)
        if head.about != self.about(row.person_id, row.id, content, row.workspace_id):
            raise self.kind.changed()
        return head

    def require(self, person_id: str, thing_id: str, head: Head, parts: Iterable[Part]) -> None:
        """Return if they are all of that thing, as they were left. Raises Untrusted."""
        if self.said(person_id, thing_id, parts) != head.said:
            raise self.kind.changed()

    def sealed(self, person_id: str, thing_id: str, head: Head) -> bytes:
        """As it is kept in the thing's row."""
        return self._vault.seal(person_id, self.kind.head.place, thing_id, head.to_bytes())

    def opened(self, person_id: str, thing_id: str, sealed: bytes | None) -> Head:
        """Raises Untrusted (as the kind says it, `sealed_wrong`)."""
        if sealed is None:
            raise self.kind.changed()
        try:
            return Head.from_bytes(self._vault.reveal(person_id, self.kind.head.place, thing_id, sealed))
        except ValueError:
            raise self.kind.changed() from None

    def opened_or_none(self, person_id: str, thing_id: str, sealed: bytes | None) -> Head | None:
        """None where it is none."""
        try:
            return self.opened(person_id, thing_id, sealed)
        except IntramuralError:
            return None

    # changes

    def put(self, inside: BlockingConnection, person_id: str, thing_id: str, before: Head, after: Head) -> str:
        """A thing that is there comes to `after` now. What to tell the log."""
        head = self.sealed(person_id, thing_id, after)
        inside.execute(update(self._table).where(self._table.c.id == thing_id).values(head=head))
        return self.moved(inside, person_id, thing_id, before, after)

    def moved(
        self, inside: BlockingConnection, person_id: str, thing_id: str, before: Head | None, after: Head | None
    ) -> str:
        """A thing has another head now (None: it was not there, or is gone), and so its person another root. What to
        tell the log.
        """
        key = self._vault.heads_key(person_id)
        parts = [of_thing(key, self.kind.word, thing_id, each) for each in (before, after) if each is not None]
        return self._shift(inside, person_id, parts)

    def remove(self, inside: BlockingConnection, where: ColumnElement[bool]) -> dict[str, int]:
        """Delete these things with all that is of them, also those that are not as they were left; of whom how many."""
        of = self._table.c
        rows = inside.execute(select(of.id, of.person_id, of.head).where(where)).all()
        inside.execute(delete(self._table).where(where))
        gone: defaultdict[str, list[bytes]] = defaultdict(list)
        counts: defaultdict[str, int] = defaultdict(int)
        for row in rows:
            counts[row.person_id] += 1
            head = self.opened_or_none(row.person_id, row.id, row.head)
            if head is not None:
                key = self._vault.heads_key(row.person_id)
                gone[row.person_id].append(of_thing(key, self.kind.word, row.id, head))
        for person_id, parts in gone.items():
            self._shift(inside, person_id, parts)
        return counts

    def _shift(self, inside: BlockingConnection, person_id: str, parts: Sequence[bytes]) -> str:
        root = self._root(inside, person_id) or Root(0, {})
        root = root.then(self.kind.name, together(root.of(self.kind.name), *parts))
        self._put_root(inside, person_id, root)
        return root.told(self._vault.heads_key(person_id))

    # of all things of a person

    def told(self, connection: BlockingConnection, person_id: str) -> str | None:
        """What the log would be told of the root as it is; None where there is none."""
        root = self._root(connection, person_id)
        return None if root is None else root.told(self._vault.heads_key(person_id))

    def require_all(self, connection: BlockingConnection, person_id: str, *, again_s: float = AGAIN_S) -> None:
        """Return if this person's things are those that their root is of; looked at anew after so many seconds.

        Raises Untrusted, as the kind says it: one is older than it was, gone, or back.
        """
        now_s = self._clock.monotonic_s()
        if now_s < self._fitted.get(person_id, -inf) + again_s:
            return
        self.fit(connection, person_id)
        self._fitted[person_id] = now_s

    def fit(self, connection: BlockingConnection, person_id: str) -> None:
        """As `require_all`, now. Some 20 µs a thing."""
        of = self._table.c
        heads = connection.execute(select(of.id, of.head).where(of.person_id == person_id)).all()
        root = self._root(connection, person_id)
        if root is None and not heads:
            return
        key = self._vault.heads_key(person_id)
        parts = [of_thing(key, self.kind.word, row.id, self.opened(person_id, row.id, row.head)) for row in heads]
        if root is None or root.of(self.kind.name) != all_of(parts):
            raise self.kind.all_changed()

    def check(self, connection: BlockingConnection, person_id: str) -> Sequence[Wrong]:
        """Hold everything of this kind against what it should come to. What is wrong."""
        wrong: list[Wrong] = []
        of = self._table.c
        for row in connection.execute(select(self._table).where(of.person_id == person_id).order_by(of.id)).all():
            try:
                head = self.opened(person_id, row.id, row.head)
                found, lost = self._comes_to(connection, row)
                if lost:
                    wrong.append(Wrong(person_id, self.kind.word, row.id, "sealed_wrong"))
                elif (found.said, found.about) != (head.said, head.about):
                    raise self.kind.changed()
            except IntramuralError as error:
                wrong.append(Wrong(person_id, self.kind.word, row.id, error.code))
        try:
            self.fit(connection, person_id)
        except IntramuralError as error:
            wrong.append(Wrong(person_id, self.kind.word, None, error.code))
        return wrong

    def make(self, inside: BlockingConnection, person_id: str) -> tuple[int, int]:
        """Heads and a root of what lies here now, whatever was before; how many things, and how many values did not
        open at all and were left out of it: those things can only be deleted.
        """
        self._fitted.pop(person_id, None)
        key = self._vault.heads_key(person_id)
        rows = inside.execute(select(self._table).where(self._table.c.person_id == person_id)).all()
        parts, lost = [], 0
        for row in rows:
            head, missing = self._comes_to(inside, row)
            if missing:  # nothing shall fit it
                head = replace(head, said=self._clock.token_bytes(32))
            lost += missing
            put = update(self._table).where(self._table.c.id == row.id)
            inside.execute(put.values(head=self.sealed(person_id, row.id, head)))
            parts.append(of_thing(key, self.kind.word, row.id, head))
        root = self._root_or_none(inside, person_id) or Root(0, {})
        self._put_root(inside, person_id, root.then(self.kind.name, all_of(parts)))
        return len(rows), lost

    def people(self, connection: BlockingConnection) -> Sequence[str]:
        """Whose things of this kind there are."""
        return connection.execute(select(self._table.c.person_id).distinct()).scalars().all()

    def revealed(self, person_id: str, sealed: Sealed, at: str, value: bytes) -> bytes | None:
        """A value, for `ComesTo`; None where it does not open."""
        try:
            return self._vault.reveal(person_id, sealed.place, at, value)
        except IntramuralError:
            return None

    def _root(self, connection: BlockingConnection, person_id: str) -> Root | None:
        wanted = select(t.chat_roots.c.root).where(t.chat_roots.c.person_id == person_id)
        sealed = connection.execute(wanted).scalar()
        if sealed is None:
            return None
        try:
            return Root.from_bytes(self._vault.reveal(person_id, CHAT_ROOT.place, person_id, sealed))
        except ValueError:
            raise self.kind.all_changed() from None

    def _root_or_none(self, connection: BlockingConnection, person_id: str) -> Root | None:
        try:
            return self._root(connection, person_id)
        except IntramuralError:
            return None

    def _put_root(self, inside: BlockingConnection, person_id: str, root: Root) -> None:
        sealed = self._vault.seal(person_id, CHAT_ROOT.place, person_id, root.to_bytes())
        mine = t.chat_roots.c.person_id == person_id
        if not (inside.execute(update(t.chat_roots).where(mine).values(root=sealed))).rowcount:
            inside.execute(insert(t.chat_roots).values(person_id=person_id, root=sealed))


class Whole:
    """All kinds of things together."""

    def __init__(self, db: Database, heads: Sequence[Heads]) -> None:
        self._db = db
        self._heads = heads

    @property
    def names(self) -> Sequence[str]:
        """The kinds, as roots call them."""
        return [each.kind.name for each in self._heads]

    async def check(self, person_id: str, logged: str | None) -> Sequence[Wrong]:
        """Hold everything of a person against what it should come to, and that against what the log was told of it last
        (None: nothing). What is wrong.
        """
        async with self._db.reading() as connection:
            return await connection.run_sync(self._checked, person_id, logged)

    def _checked(self, connection: BlockingConnection, person_id: str, logged: str | None) -> Sequence[Wrong]:
        wrong = [found for each in self._heads for found in each.check(connection, person_id)]
        first = self._heads[0]
        try:
            if logged is not None and _is_behind(first.told(connection, person_id), logged):
                wrong.append(Wrong(person_id, first.kind.word, None, "chats_rolled_back"))
        except IntramuralError:
            pass  # the root does not open, which was said of each kind
        return wrong

    async def accept(self, connection: Connection, person_id: str) -> tuple[int, int]:
        """Take all that a person keeps as it lies here; how many things, and how many values do not open whatever is
        accepted.
        """
        made = [await connection.run_sync(each.make, person_id) for each in self._heads]
        return sum(number for number, _ in made), sum(lost for _, lost in made)

    async def make(self, names: Sequence[str], prepare: Callable[[str], Awaitable[None]]) -> int:
        """Once, for what an older version kept of these kinds: what it comes to from now on. How many things there are.
        `prepare` sees that a person has keys.
        """
        count = 0
        for heads in self._heads:
            if heads.kind.name in names:
                async with self._db.reading() as connection:
                    people = await connection.run_sync(heads.people)
                for person_id in people:
                    await prepare(person_id)
                    count += (await self._db.write(partial(heads.make, person_id=person_id)))[0]
        return count


def _is_behind(told: str | None, logged: str) -> bool:
    """Whether what lies here is older than what the log was told. Pure."""
    if told is None or told == logged:
        return told is None
    return told_changes(told) <= told_changes(logged)


def kept_changed() -> Untrusted:
    """Something that a program keeps is not as it was left: a part of it is older than it was, gone, added or moved."""
    return Untrusted("kept_changed", "Something that is kept here is not as it was left.", HINT)


def all_kept_changed() -> Untrusted:
    """Things that programs keep are not those that there were: one is older than it was, gone, or back."""
    message = "What is kept here is not as it was left: something is older, gone or back."
    return Untrusted("all_kept_changed", message, HINT)


__all__ = [
    "AGAIN_S",
    "HINT",
    "NOTHING",
    "Heads",
    "Kind",
    "Part",
    "Whole",
    "Wrong",
    "all_kept_changed",
    "kept_changed",
]
