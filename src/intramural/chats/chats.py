"""Conversations and their turns."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Any, Literal, TypeVar, cast, get_args

from sqlalchemy import Row, Select, bindparam, delete, func, insert, select, update

from intramural.chats.heads import ChatHeads, parts_of
from intramural.chats.text import auto_title, snippet
from intramural.core.clock import Clock
from intramural.core.errors import Misasked, Missing, TooLarge
from intramural.core.ids import new_id
from intramural.storage import BlockingConnection, Connection, Database
from intramural.storage import schema as t
from intramural.vault import Vault
from intramural.vault.places import CHAT_TITLE, MESSAGE
from intramural.vault.sums import Head, together

Result = TypeVar("Result")
#: How an answer ended; None while it is being written, and for the person's own messages.
Outcome = Literal["finished", "length", "cancelled", "failed"]

MAX_TITLE_CHARS = 200
MAX_MODEL_CHARS = 256
MAX_QUERY_CHARS = 200
MAX_CONTENT_CHARS = 2_000_000
MAX_LIST = 200
_TITLE, _CONTENT = CHAT_TITLE.place, MESSAGE.place
#: Chats that a search looks through at a time.
_SEARCHED_AT_ONCE = 50

_WORKSPACE = select(t.chats.c.workspace_id).where(
    t.chats.c.id == bindparam("id"), t.chats.c.person_id == bindparam("person_id")
)


@dataclass(frozen=True, slots=True)
class Chat:
    """One conversation. `title` is empty until the first turn, unless one was given. Times in milliseconds.
    `workspace_id`: of the workspace it is in, if it is in one.
    """

    id: str
    title: str
    model: str
    created_ms: int
    updated_ms: int
    workspace_id: str | None = None


@dataclass(frozen=True, slots=True)
class FoundChat:
    """A chat in a list; `snippet` shows the words that were searched for, where a message holds them."""

    chat: Chat
    snippet: str | None


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message. `model`, `outcome` and `request_id` belong to answers."""

    id: str
    role: Literal["system", "user", "assistant"]
    content: str
    model: str | None
    outcome: Outcome | None
    request_id: str | None
    created_ms: int


@dataclass(frozen=True, slots=True)
class Turn:
    """A question that is kept and the empty answer to be filled with `finish_message`.

    `history` is what the model is to be given: every message up to and with the question.
    """

    chat: Chat
    user_message_id: str
    assistant_message_id: str
    history: tuple[StoredMessage, ...]
    #: What the audit log is told of the person's chats as they are now.
    kept: str = ""


class Chats:
    """Everybody's chats, each reached only with the identifier of the person whose it is.

    A changing method works on `connection`'s transaction where one is given, else in one of its own.
    """

    def __init__(self, db: Database, vault: Vault, clock: Clock) -> None:
        self._db = db
        self._vault = vault
        self._clock = clock
        self.heads = self._heads = ChatHeads(vault, clock)

    async def create(
        self,
        person_id: str,
        model: str,
        title: str = "",
        *,
        workspace_id: str | None = None,
    ) -> Chat:
        """Begin a chat; in a workspace it stays in. Raises Misasked(`bad_title`, `bad_model`)."""
        title, model = _check_title(title), _check_model(model)

        def work(inside: BlockingConnection) -> Chat:
            now_ms = self._next_ms(inside, person_id)
            chat = Chat(new_id("chat", self._clock), title, model, now_ms, now_ms, workspace_id)
            self._heads.require_all(inside, person_id, again_s=inf)
            head = self._heads.begun(person_id, chat.id, title, workspace_id)
            values = {
                "id": chat.id,
                "person_id": person_id,
                "workspace_id": workspace_id,
                "title": self._sealed_title(person_id, chat.id, title),
                "model": model,
                "created_ms": now_ms,
                "updated_ms": now_ms,
                "head": self._heads.sealed(person_id, chat.id, head),
            }
            inside.execute(insert(t.chats).values(**values))
            self._heads.moved(inside, person_id, chat.id, None, head)
            return chat

        return await self._db.write(work)

    async def list(
        self,
        person_id: str,
        query: str = "",
        *,
        limit: int = 50,
        before_ms: int | None = None,
        workspaces: Collection[str | None] = (None,),
    ) -> list[FoundChat]:
        """This person's chats in these workspaces (None: in none), the latest used first; with `query` those whose
        title or messages hold it, in any case.

        The next page is the one before the last one's `updated_ms`, which no two chats of a person share. At most
        `limit` (1 to 200) are given. Raises Misasked(`bad_query`, `bad_limit`).
        """
        query = query.strip()
        if len(query) > MAX_QUERY_CHARS or not _is_text(query):
            raise Misasked(
                "bad_query", f"Search for {MAX_QUERY_CHARS} characters at most.", "Shorten it.", param="query"
            )
        if not 1 <= limit <= MAX_LIST:
            raise Misasked("bad_limit", f"The limit must be from 1 to {MAX_LIST}.", "Ask for pages.", param="limit")
        wanted = select(t.chats).where(t.chats.c.person_id == person_id).order_by(t.chats.c.updated_ms.desc())
        named = t.chats.c.workspace_id.in_([each for each in workspaces if each is not None])
        wanted = wanted.where(named | t.chats.c.workspace_id.is_(None) if None in workspaces else named)
        if before_ms is not None:
            wanted = wanted.where(t.chats.c.updated_ms < before_ms)
        async with self._db.reading() as connection:
            await connection.run_sync(self._heads.require_all, person_id)
            if query:
                return [*await self._search(connection, person_id, query, wanted, limit)]
            return [FoundChat(self._chat(row), None) for row in await connection.execute(wanted.limit(limit))]

    async def get(self, person_id: str, chat_id: str) -> tuple[Chat, tuple[StoredMessage, ...]]:
        """A chat and its messages in order. Raises Missing(`chat_not_found`)."""
        async with self._db.reading() as connection:
            return await connection.run_sync(self._whole, person_id, chat_id)

    async def workspace_of(self, person_id: str, chat_id: str) -> str | None:
        """The workspace that a chat is in, read on the spot. Raises Missing(`chat_not_found`)."""
        row = await self._db.look_up(_WORKSPACE, chat_id, person_id) if _is_text(chat_id) else None
        if row is None:
            raise not_found()
        workspace_id: str | None = row.workspace_id
        return workspace_id

    async def change(
        self,
        person_id: str,
        chat_id: str,
        *,
        title: str | None = None,
        model: str | None = None,
        connection: Connection | None = None,
    ) -> Chat:
        """Give another title or model; the chat keeps its place in the list. Raises Missing, Misasked."""

        def work(inside: BlockingConnection) -> Chat:
            chat, head = self._own(inside, person_id, chat_id)
            given = replace(
                chat,
                title=chat.title if title is None else _check_title(title),
                model=chat.model if model is None else _check_model(model),
            )
            values: dict[str, Any] = {"model": given.model}
            if given.title != chat.title:
                after = self._heads.titled(person_id, chat_id, head, given.title, chat.workspace_id)
                values["title"] = self._sealed_title(person_id, chat_id, given.title)
                values["head"] = self._heads.sealed(person_id, chat_id, after)
                self._heads.moved(inside, person_id, chat_id, head, after)
            inside.execute(update(t.chats).where(t.chats.c.id == chat_id).values(**values))
            return given

        return await self._write(work, connection)

    async def delete(self, person_id: str, chat_id: str, *, connection: Connection | None = None) -> str:
        """Delete a chat with every message, also one that is not as it was left; what the log is to be told of those
        that stay. Raises Missing(`chat_not_found`).
        """

        def work(inside: BlockingConnection) -> str:
            row = self._own_row(inside, person_id, chat_id)
            head = self._heads.opened_or_none(person_id, chat_id, row.head)
            inside.execute(delete(t.chats).where(t.chats.c.id == chat_id))
            return self._heads.moved(inside, person_id, chat_id, head, None)

        return await self._write(work, connection)

    async def purge(self, connection: Connection, chat_ids: Collection[str]) -> int:
        """Delete those of these chats that are there, with every message, in the caller's transaction. How many."""
        return sum((await connection.run_sync(self._heads.remove, t.chats.c.id.in_(chat_ids))).values())

    async def append_turn(
        self,
        person_id: str,
        chat_id: str,
        content: str,
        *,
        model: str | None = None,
        request_id: str | None = None,
    ) -> Turn:
        """Add a question and the place of its answer. `model` becomes the chat's; None: the chat's own.

        Raises Missing(`chat_not_found`), Misasked(`empty_message`, `bad_text`, `bad_model`), TooLarge.
        """
        _check_content(content)

        def work(inside: BlockingConnection) -> Turn:
            chat, head, before = self._left(inside, person_id, chat_id)
            asked = self._asked(content)
            self._place(inside, person_id, chat.id, asked, len(before))
            return self._answer(inside, person_id, chat, head, (*before, asked), model, request_id)

        return await self._db.write(work)

    async def replace_from(
        self,
        person_id: str,
        chat_id: str,
        message_id: str,
        content: str | None = None,
        *,
        model: str | None = None,
        request_id: str | None = None,
    ) -> Turn:
        """Do a turn again. With `content`, `message_id` is a question of the person's: it and all after it give way to
        the new one. Without, it is an answer: it and all after it give way to a new answer to the same question.

        Raises Missing(`chat_not_found`, `message_not_found`), Misasked(`bad_replacement`, …), TooLarge.
        """
        if content is not None:
            _check_content(content)

        def work(inside: BlockingConnection) -> Turn:
            chat, head, messages = self._left(inside, person_id, chat_id)
            kept = _kept(messages, message_id, edited=content is not None)
            where = (t.chat_messages.c.chat_id == chat_id) & (t.chat_messages.c.position >= len(kept))
            inside.execute(delete(t.chat_messages).where(where))
            if content is not None:
                asked = self._asked(content)
                self._place(inside, person_id, chat_id, asked, len(kept))
                kept = (*kept, asked)
            return self._answer(inside, person_id, chat, head, kept, model, request_id)

        return await self._db.write(work)

    async def finish_message(
        self, person_id: str, message_id: str, content: str, outcome: Outcome, *, request_id: str | None = None
    ) -> bool:
        """Fill an answer with what was written of it and how it ended. False where it is no longer there (deleted, or
        replaced while it was being written), which is no error.
        """
        if outcome not in get_args(Outcome):
            raise Misasked("bad_outcome", f"There is no outcome {outcome!r}.", f"It is one of {get_args(Outcome)}.")
        content = content.encode(errors="replace").decode()  # whatever an engine wrote, it can be kept
        if not self._vault.knows(person_id):
            return False  # erased while it was being written
        sealed = self._vault.seal(person_id, _CONTENT, message_id, content.encode())
        values: dict[str, Any] = {"content": sealed, "outcome": outcome}
        if request_id is not None:
            values["request_id"] = request_id
        return await self._db.write(partial(self._fill, person_id, message_id, content, values))

    def _fill(
        self, person_id: str, message_id: str, content: str, values: Mapping[str, Any], inside: BlockingConnection
    ) -> bool:
        message = t.chat_messages.c
        where = (message.id == message_id) & (message.role == "assistant") & (t.chats.c.person_id == person_id)
        wanted = select(t.chat_messages, t.chats.c.head).select_from(t.chat_messages.join(t.chats)).where(where)
        row = inside.execute(wanted).one_or_none()
        if row is None:
            return False
        chat_id, was = row.chat_id, self._message(person_id, row)
        before = self._heads.opened(person_id, chat_id, row.head)
        sums = [
            self._heads.said(person_id, chat_id, parts_of([each], row.position))
            for each in (was, replace(was, content=content))
        ]
        after = Head(before.changes + 1, together(before.said, *sums), before.about)
        inside.execute(update(t.chat_messages).where(message.id == message_id).values(**values))
        head = self._heads.sealed(person_id, chat_id, after)
        inside.execute(update(t.chats).where(t.chats.c.id == chat_id).values(head=head))
        self._heads.moved(inside, person_id, chat_id, before, after)
        return True

    async def mend(self) -> int:
        """At start, before anybody chats: answers the last run left unfinished have failed. How many there were."""
        where = (t.chat_messages.c.role == "assistant") & t.chat_messages.c.outcome.is_(None)
        async with self._db.writing() as connection:
            return (await connection.execute(update(t.chat_messages).where(where).values(outcome="failed"))).rowcount

    def _asked(self, content: str) -> StoredMessage:
        now_ms = int(self._clock.now_s() * 1000)
        return StoredMessage(new_id("message", self._clock), "user", content, None, None, None, now_ms)

    def _place(
        self, inside: BlockingConnection, person_id: str, chat_id: str, message: StoredMessage, position: int
    ) -> None:
        """Put a message at the end of its chat."""
        values = {name: getattr(message, name) for name in StoredMessage.__slots__}
        values["content"] = self._vault.seal(person_id, _CONTENT, message.id, message.content.encode())
        inside.execute(insert(t.chat_messages).values(chat_id=chat_id, position=position, **values))

    def _answer(
        self,
        inside: BlockingConnection,
        person_id: str,
        chat: Chat,
        head: Head,
        history: tuple[StoredMessage, ...],
        model: str | None,
        request_id: str | None,
    ) -> Turn:
        """Make the place of the answer to the last of `history`, and bring the chat with its head up to date."""
        asked = history[-1]
        model = chat.model if model is None else _check_model(model)
        title = chat.title or auto_title(asked.content)
        now_ms = self._next_ms(inside, person_id)
        answer = StoredMessage(new_id("message", self._clock), "assistant", "", model, None, request_id, now_ms)
        self._place(inside, person_id, chat.id, answer, len(history))
        after = self._heads.titled(person_id, chat.id, head, title, chat.workspace_id)
        after = replace(after, said=self._heads.said(person_id, chat.id, parts_of((*history, answer))))
        values = {
            "title": self._sealed_title(person_id, chat.id, title),
            "model": model,
            "updated_ms": now_ms,
            "head": self._heads.sealed(person_id, chat.id, after),
        }
        inside.execute(update(t.chats).where(t.chats.c.id == chat.id).values(**values))
        kept = self._heads.moved(inside, person_id, chat.id, head, after)
        chat = replace(chat, title=title, model=model, updated_ms=now_ms)
        return Turn(chat, asked.id, answer.id, history, kept)

    def _whole(
        self, connection: BlockingConnection, person_id: str, chat_id: str
    ) -> tuple[Chat, tuple[StoredMessage, ...]]:
        self._heads.require_all(connection, person_id)
        chat, _, messages = self._left(connection, person_id, chat_id)
        return chat, messages

    def _left(
        self, connection: BlockingConnection, person_id: str, chat_id: str
    ) -> tuple[Chat, Head, tuple[StoredMessage, ...]]:
        """One's chat with its head and its messages, all as they were left. Raises as `_own`."""
        chat, head = self._own(connection, person_id, chat_id)
        messages = self._messages(connection, person_id, chat_id)
        self._heads.require(person_id, chat_id, head, parts_of(messages))
        return chat, head, messages

    def _own(self, connection: BlockingConnection, person_id: str, chat_id: str) -> tuple[Chat, Head]:
        """One's chat, as it was left, with its head. Raises Missing, Untrusted(`chat_changed`, `chats_changed`)."""
        row = self._own_row(connection, person_id, chat_id)
        self._heads.require_all(connection, person_id, again_s=inf)
        return self._chat(row), self._heads.opened(person_id, chat_id, row.head)

    def _own_row(self, connection: BlockingConnection, person_id: str, chat_id: str) -> Row[Any]:
        """The only way from an identifier to a chat: whose it is is part of the question."""
        where = (t.chats.c.id == chat_id) & (t.chats.c.person_id == person_id)
        row = connection.execute(select(t.chats).where(where)).one_or_none() if _is_text(chat_id) else None
        if row is None:
            raise not_found()
        return row

    def _messages(self, connection: BlockingConnection, person_id: str, chat_id: str) -> tuple[StoredMessage, ...]:
        query = select(t.chat_messages).where(t.chat_messages.c.chat_id == chat_id)
        rows = connection.execute(query.order_by(t.chat_messages.c.position))
        return tuple(self._message(person_id, row) for row in rows)

    async def _search(
        self, connection: Connection, person_id: str, query: str, wanted: Select[Any], limit: int
    ) -> Sequence[FoundChat]:
        """What is sealed can only be looked through by opening it: chat by chat, until there are enough."""
        found: Sequence[FoundChat] = ()
        offset = 0
        while len(found) < limit:
            page = (await connection.execute(wanted.limit(_SEARCHED_AT_ONCE).offset(offset))).all()
            ids = [row.id for row in page]
            said = select(t.chat_messages.c.id, t.chat_messages.c.chat_id, t.chat_messages.c.content)
            said = said.where(t.chat_messages.c.chat_id.in_(ids)).order_by(t.chat_messages.c.position)
            rows = (await connection.execute(said)).all()
            held = await asyncio.to_thread(self._holding, person_id, query, page, [tuple(row) for row in rows])
            found = [*found, *held]
            if len(page) < _SEARCHED_AT_ONCE:
                break
            offset += _SEARCHED_AT_ONCE
        return found[:limit]

    def _holding(
        self, person_id: str, query: str, page: Sequence[Row[Any]], rows: Sequence[tuple[str, str, bytes]]
    ) -> Sequence[FoundChat]:
        """Those chats of `page` whose title or messages (`rows`) hold `query`, with the first place in a message."""
        wanted = query.casefold()
        hits: dict[str, str | None] = {}
        for message_id, chat_id, sealed in rows:
            if chat_id not in hits:
                content = self._vault.reveal(person_id, _CONTENT, message_id, sealed).decode()
                if wanted in content.casefold():
                    hits[chat_id] = snippet(content, query)
        chats = [self._chat(row) for row in page]
        return [
            FoundChat(chat, hits.get(chat.id)) for chat in chats if chat.id in hits or wanted in chat.title.casefold()
        ]

    def _sealed_title(self, person_id: str, chat_id: str, title: str) -> bytes:
        return self._vault.seal(person_id, _TITLE, chat_id, title.encode())

    def _chat(self, row: Row[Any]) -> Chat:
        title = self._vault.reveal(row.person_id, _TITLE, row.id, row.title).decode()
        self._heads.of(row, title)
        return Chat(row.id, title, row.model, row.created_ms, row.updated_ms, row.workspace_id)

    def _message(self, person_id: str, row: Row[Any]) -> StoredMessage:
        return StoredMessage(
            id=row.id,
            role=cast(Literal["system", "user", "assistant"], row.role),
            content=self._vault.reveal(person_id, _CONTENT, row.id, row.content).decode(),
            model=row.model,
            outcome=cast(Outcome | None, row.outcome),
            request_id=row.request_id,
            created_ms=row.created_ms,
        )

    def _next_ms(self, connection: BlockingConnection, person_id: str) -> int:
        """Now, or a moment after this person's latest chat: the list's pages depend on no two being the same."""
        wanted = select(func.max(t.chats.c.updated_ms)).where(t.chats.c.person_id == person_id)
        latest = connection.execute(wanted).scalar()
        return max(int(self._clock.now_s() * 1000), (latest or 0) + 1)

    async def _write(self, work: Callable[[BlockingConnection], Result], connection: Connection | None) -> Result:
        """`work` in the caller's transaction, or in one of its own, in one go."""
        return await (self._db.write(work) if connection is None else connection.run_sync(work))


def _kept(messages: tuple[StoredMessage, ...], message_id: str, *, edited: bool) -> tuple[StoredMessage, ...]:
    """What stays of a chat when it is taken up again: all before the edited question, or before the answer. Pure."""
    place = next((place for place, message in enumerate(messages) if message.id == message_id), None)
    if place is None:
        raise Missing("message_not_found", "There is no such message in this chat.", "It may have been replaced.")
    if edited and messages[place].role == "user":
        return messages[:place]
    if not edited and messages[place].role == "assistant" and place > 0 and messages[place - 1].role == "user":
        return messages[:place]
    raise Misasked(
        "bad_replacement",
        "Only a question of one's own can be edited, and only an answer be written anew.",
        "Send `content` with a user message, and none with an assistant message.",
        param="replace_from",
    )


def not_found() -> Missing:
    """The error for a chat that is not there, or not the caller's."""
    return Missing("chat_not_found", "There is no such chat.", "It may have been deleted.")


def _is_text(text: str) -> bool:
    """Whether it can be stored: JSON may carry halves of surrogate pairs, which are no characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def _check_title(title: str) -> str:
    title = " ".join(title.split())
    if len(title) > MAX_TITLE_CHARS or not _is_text(title):
        raise Misasked("bad_title", f"A title has {MAX_TITLE_CHARS} characters at most.", "Shorten it.", param="title")
    return title


def _check_model(model: str) -> str:
    if not 0 < len(model) <= MAX_MODEL_CHARS or not model.isprintable():
        raise Misasked("bad_model", "This cannot be a model's name.", "List the models to see theirs.", param="model")
    return model


def _check_content(content: str) -> None:
    if not content.strip():
        raise Misasked("empty_message", "The message is empty.", "Write something.", param="content")
    if len(content) > MAX_CONTENT_CHARS:
        raise TooLarge(
            "message_too_long", f"The message has over {MAX_CONTENT_CHARS} characters.", "Shorten it.", param="content"
        )
    if not _is_text(content):
        raise Misasked(
            "bad_text", "The message holds characters that are not valid text.", "Remove them.", param="content"
        )
