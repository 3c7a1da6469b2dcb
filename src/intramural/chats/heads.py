"""Heads of chats: what their messages, titles and workspaces come to. See `vault.heads`."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from sqlalchemy import Row, select

from intramural.core.clock import Clock
from intramural.core.errors import Untrusted
from intramural.storage import BlockingConnection
from intramural.storage import schema as t
from intramural.vault import Heads, Kind, Part, Vault
from intramural.vault.heads import HINT
from intramural.vault.places import CHAT_HEAD, CHAT_TITLE, MESSAGE
from intramural.vault.sums import NOTHING, Head


class Said(Protocol):
    """A message, as far as sums go."""

    @property
    def id(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def content(self) -> str: ...


class ChatHeads(Heads):
    """In the words of chats."""

    def __init__(self, vault: Vault, clock: Clock) -> None:
        super().__init__(vault, clock, Kind("chat", "chats", CHAT_HEAD, changed, all_changed), self._lying)

    def of(self, row: Row[Any], title: str) -> Head:
        """The head of a chat's row, whose title and workspace fit it. Raises Untrusted(`chat_changed`)."""
        return self.require_about(row, title.encode())

    def begun(self, person_id: str, chat_id: str, title: str, workspace_id: str | None) -> Head:
        """Of a chat without messages."""
        return Head(0, NOTHING, self.about(person_id, chat_id, title.encode(), workspace_id))

    def titled(self, person_id: str, chat_id: str, head: Head, title: str, workspace_id: str | None) -> Head:
        """The next head, with another title."""
        about = self.about(person_id, chat_id, title.encode(), workspace_id)
        return replace(head, changes=head.changes + 1, about=about)

    def _lying(self, connection: BlockingConnection, row: Row[Any]) -> tuple[Head, int]:
        messages = t.chat_messages
        wanted = select(messages).where(messages.c.chat_id == row.id).order_by(messages.c.position)
        parts, lost = [], 0
        for each in connection.execute(wanted):
            content = self.revealed(row.person_id, MESSAGE, each.id, each.content)
            lost += content is None
            parts.append(Part(each.position, each.id, each.role, content or b""))
        title = self.revealed(row.person_id, CHAT_TITLE, row.id, row.title)
        lost += title is None
        about = self.about(row.person_id, row.id, title or b"", row.workspace_id)
        return Head(0, self.said(row.person_id, row.id, parts), about), lost


def parts_of(messages: Sequence[Said], first: int = 0) -> list[Part]:
    """These messages, of which the first is at that position."""
    return [Part(at, each.id, each.role, each.content.encode()) for at, each in enumerate(messages, first)]


def changed() -> Untrusted:
    """A chat is not as it was left: a message of it is older than it was, gone, added or moved."""
    return Untrusted("chat_changed", "Something in this chat is not as it was left.", HINT)


def all_changed() -> Untrusted:
    """Somebody's chats are not those that they had: one is older than it was, gone, or back."""
    return Untrusted("chats_changed", "These chats are not as they were left: one is older, gone or back.", HINT)
