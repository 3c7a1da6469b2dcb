"""Heads of chats and roots of people, as they are kept: moved along with every change, and held against what is read.

Everything here works on the caller's open connection: a change and what it comes to are one transaction, and what is
read is held against a head of the same moment.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Protocol

from sqlalchemy import Row, insert, select, update

from intramural.chats.sums import NOTHING, Head, Root, all_of, of_about, of_chat, of_message, together
from intramural.core.clock import Clock
from intramural.core.errors import IntramuralError, Untrusted
from intramural.storage import BlockingConnection
from intramural.storage import schema as t
from intramural.vault import Vault
from intramural.vault.places import CHAT_HEAD, CHAT_ROOT, CHAT_TITLE, MESSAGE

_ACCEPT = "An administrator finds out with `intramural vault check`, compares with a backup, or accepts what is here."
#: All chats of a person are held against their root when they come, and when they read again after this long. Who asks
#: a model does not wait for that.
AGAIN_S = 600.0


class Said(Protocol):
    """A message, as far as sums go."""

    @property
    def id(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def content(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Wrong:
    """Something that is not as it was left; `chat_id` None: it is about all of somebody's chats."""

    person_id: str
    chat_id: str | None
    code: str


class Heads:
    """Heads and roots. The key of the sums is the person's, and stays when their data key is changed."""

    def __init__(self, vault: Vault, clock: Clock) -> None:
        self._vault = vault
        self._clock = clock
        self._fitted: dict[str, float] = {}

    # of one chat

    def of(self, row: Row[Any], title: str) -> Head:
        """The head of a chat's row, whose title and workspace fit it. Raises Untrusted(`chat_changed`)."""
        head = self._head(row.person_id, row.id, row.head)
        key = self._vault.heads_key(row.person_id)
        if head.about != of_about(key, row.id, title, row.workspace_id):
            raise changed()
        return head

    def begun(self, person_id: str, chat_id: str, title: str, workspace_id: str | None) -> Head:
        """Of a chat without messages."""
        return Head(0, NOTHING, of_about(self._vault.heads_key(person_id), chat_id, title, workspace_id))

    def said(self, person_id: str, chat_id: str, messages: Sequence[Said], first: int = 0) -> bytes:
        """What these come to, of which the first is at that position."""
        key = self._vault.heads_key(person_id)
        return all_of(
            of_message(key, chat_id, first + at, each.id, each.role, each.content) for at, each in enumerate(messages)
        )

    def require(self, person_id: str, chat_id: str, head: Head, messages: Sequence[Said]) -> None:
        """Return if they are all of that chat, as they were left. Raises Untrusted(`chat_changed`)."""
        if self.said(person_id, chat_id, messages) != head.said:
            raise changed()

    def about(self, person_id: str, chat_id: str, head: Head, title: str, workspace_id: str | None) -> Head:
        """The next head, with another title."""
        key = self._vault.heads_key(person_id)
        return replace(head, changes=head.changes + 1, about=of_about(key, chat_id, title, workspace_id))

    def sealed(self, person_id: str, chat_id: str, head: Head) -> bytes:
        """As it is kept in the chat's row."""
        return self._vault.seal(person_id, CHAT_HEAD.place, chat_id, head.to_bytes())

    def opened(self, person_id: str, chat_id: str, sealed: bytes | None) -> Head:
        """Raises Untrusted(`chat_changed`, `sealed_wrong`)."""
        return self._head(person_id, chat_id, sealed)

    def opened_or_none(self, person_id: str, chat_id: str, sealed: bytes | None) -> Head | None:
        """None where it is none."""
        try:
            return self._head(person_id, chat_id, sealed)
        except IntramuralError:
            return None

    # of all chats of a person

    def moved(
        self, inside: BlockingConnection, person_id: str, chat_id: str, before: Head | None, after: Head | None
    ) -> str:
        """A chat has another head now (None: it was not there, or is gone): so has its person. What to tell the log."""
        key = self._vault.heads_key(person_id)
        parts = [of_chat(key, chat_id, each) for each in (before, after) if each is not None]
        root = self._root(inside, person_id) or Root(0, NOTHING)
        root = Root(root.changes + 1, together(root.chats, *parts))
        self._put_root(inside, person_id, root)
        return root.told(key)

    def told(self, connection: BlockingConnection, person_id: str) -> str | None:
        """What the log would be told of the root as it is; None where there is none."""
        root = self._root(connection, person_id)
        return None if root is None else root.told(self._vault.heads_key(person_id))

    def require_all(self, connection: BlockingConnection, person_id: str, *, again_s: float = AGAIN_S) -> None:
        """Return if this person's chats are those that their root is of; looked at anew after so many seconds.

        Raises Untrusted(`chats_changed`): one is older than it was, gone, or back.
        """
        now_s = self._clock.monotonic_s()
        if now_s < self._fitted.get(person_id, -inf) + again_s:
            return
        self.fit(connection, person_id)
        self._fitted[person_id] = now_s

    def fit(self, connection: BlockingConnection, person_id: str) -> None:
        """As `require_all`, now. Some 20 µs a chat."""
        heads = self._heads(connection, person_id)
        root = self._root(connection, person_id)
        if root is None and not heads:
            return
        key = self._vault.heads_key(person_id)
        parts = [of_chat(key, chat_id, self._head(person_id, chat_id, sealed)) for chat_id, sealed in heads]
        if root is None or root.chats != all_of(parts):
            raise all_changed()

    def make(self, inside: BlockingConnection, person_id: str) -> tuple[int, int]:
        """Heads and a root of what lies here now, whatever was before; how many chats, and how many messages and chats
        did not open at all and were left out of it: those chats can only be deleted.
        """
        self._fitted.pop(person_id, None)
        key = self._vault.heads_key(person_id)
        rows = (inside.execute(select(t.chats).where(t.chats.c.person_id == person_id))).all()
        parts, lost = [], 0
        for row in rows:
            head, missing = self._made(inside, person_id, row)
            lost += missing
            put = update(t.chats).where(t.chats.c.id == row.id)
            inside.execute(put.values(head=self.sealed(person_id, row.id, head)))
            parts.append(of_chat(key, row.id, head))
        before = self._root_or_none(inside, person_id)
        self._put_root(inside, person_id, Root((before.changes if before else 0) + 1, all_of(parts)))
        return len(rows), lost

    def _made(self, inside: BlockingConnection, person_id: str, row: Row[Any]) -> tuple[Head, int]:
        """The head of what lies in a chat; one that nothing fits, where something does not open."""
        key = self._vault.heads_key(person_id)
        messages = t.chat_messages
        wanted = select(messages).where(messages.c.chat_id == row.id).order_by(messages.c.position)
        parts, lost = [], 0
        for each in inside.execute(wanted):
            try:
                content = self._vault.reveal(person_id, MESSAGE.place, each.id, each.content).decode()
            except IntramuralError:
                lost += 1
                continue
            parts.append(of_message(key, row.id, each.position, each.id, each.role, content))
        try:
            title = self._vault.reveal(person_id, CHAT_TITLE.place, row.id, row.title).decode()
        except IntramuralError:
            title, lost = "", lost + 1
        said = self._clock.token_bytes(32) if lost else all_of(parts)
        return Head(0, said, of_about(key, row.id, title, row.workspace_id)), lost

    def _heads(self, connection: BlockingConnection, person_id: str) -> Sequence[tuple[str, bytes | None]]:
        wanted = select(t.chats.c.id, t.chats.c.head).where(t.chats.c.person_id == person_id)
        return [(row.id, row.head) for row in connection.execute(wanted)]

    def _head(self, person_id: str, chat_id: str, sealed: bytes | None) -> Head:
        if sealed is None:
            raise changed()
        try:
            return Head.from_bytes(self._vault.reveal(person_id, CHAT_HEAD.place, chat_id, sealed))
        except ValueError:
            raise changed() from None

    def _root(self, connection: BlockingConnection, person_id: str) -> Root | None:
        wanted = select(t.chat_roots.c.root).where(t.chat_roots.c.person_id == person_id)
        sealed = connection.execute(wanted).scalar()
        if sealed is None:
            return None
        try:
            return Root.from_bytes(self._vault.reveal(person_id, CHAT_ROOT.place, person_id, sealed))
        except ValueError:
            raise all_changed() from None

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


def changed() -> Untrusted:
    """A chat is not as it was left: a message of it is older than it was, gone, added or moved."""
    return Untrusted("chat_changed", "Something in this chat is not as it was left.", _ACCEPT)


def all_changed() -> Untrusted:
    """Somebody's chats are not those that they had: one is older than it was, gone, or back."""
    return Untrusted("chats_changed", "These chats are not as they were left: one is older, gone or back.", _ACCEPT)
