"""A person's conversations: kept, searched, answered. Nobody else's can be reached from here."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from intramural.access import Action, Thing
from intramural.audit import AuditLog, Event
from intramural.chats import Chat, Chats, FoundChat, Outcome, StoredMessage, Turn, not_found
from intramural.core.actor import Actor
from intramural.core.chat import ChatEvent, ChatRequest, Delta, Finished, Message, Sampling
from intramural.core.clock import Clock
from intramural.core.errors import IntramuralError, Missing
from intramural.core.ids import new_id
from intramural.services.gate import Gate
from intramural.services.inference import Inference
from intramural.services.workspaces import WorkspaceDesk
from intramural.serving import WaitNote

#: The fact by which the log says what all of somebody's chats come to: what lies here is never older than that.
KEPT = "kept"


@dataclass(frozen=True, slots=True)
class WholeChat:
    """A chat with its messages, in order."""

    chat: Chat
    messages: tuple[StoredMessage, ...]


@dataclass(frozen=True, slots=True)
class Answering:
    """A turn that is kept already (the person's message and an empty answer), and the answer as it comes. `labelled`:
    it has to say that an AI wrote it."""

    turn: Turn
    request: ChatRequest
    events: AsyncGenerator[ChatEvent, None]
    labelled: bool


class Conversations:
    """Chats of an actor's person."""

    def __init__(
        self,
        gate: Gate,
        chats: Chats,
        inference: Inference,
        audit: AuditLog,
        clock: Clock,
        workspaces: WorkspaceDesk,
    ) -> None:
        self._gate = gate
        self._chats = chats
        self._workspaces = workspaces
        self._inference = inference
        self._audit = audit
        self._clock = clock

    async def mend(self) -> None:
        """At start: mark the answers that a crash cut off as failed."""
        await self._chats.mend()

    async def list(self, actor: Actor, *, query: str, limit: int, before_ms: int | None) -> list[FoundChat]:
        """Newest first; with `query`, those whose title or messages hold it (case does not matter). In a workspace
        only those of it; else also those of every workspace they are a member of.
        """
        await self._gate.require(actor, Action.CHATS_READ, owner_id=actor.person_id)
        here: list[str | None] = [actor.workspace]
        if actor.workspace is None:
            here += [place.id for place in await self._workspaces.of(actor)]
        return await self._chats.list(actor.person_id, query, limit=limit, before_ms=before_ms, workspaces=here)

    async def create(self, actor: Actor, *, model: str, title: str | None) -> Chat:
        """A new chat, in the workspace in which it is asked for."""
        await self._gate.require(actor, Action.CHATS_CREATE, owner_id=actor.person_id)
        return await self._chats.create(actor.person_id, model, title or "", workspace_id=actor.workspace)

    async def get(self, actor: Actor, chat_id: str) -> WholeChat:
        """The chat with its messages. Missing(`chat_not_found`) also when it is somebody else's."""
        actor = await self._within(actor, Action.CHATS_READ, chat_id)
        return WholeChat(*await self._chats.get(actor.person_id, chat_id))

    async def exported(self, actor: Actor, chat_id: str) -> tuple[WholeChat, bool]:
        """As `get`, and whether what models wrote in it has to say so."""
        actor = await self._within(actor, Action.CHATS_READ, chat_id)
        return WholeChat(*await self._chats.get(actor.person_id, chat_id)), self._inference.labels(actor)

    async def change(self, actor: Actor, chat_id: str, *, title: str | None, model: str | None) -> Chat:
        actor = await self._within(actor, Action.CHATS_CHANGE, chat_id)
        if title is not None:
            await self._require_unheld(actor, Action.CHATS_CHANGE, chat_id)
        return await self._chats.change(actor.person_id, chat_id, title=title, model=model)

    async def delete(self, actor: Actor, chat_id: str) -> None:
        actor = await self._within(actor, Action.CHATS_DELETE, chat_id)
        async with self._audit.transaction() as (connection, record):
            kept = await self._chats.delete(actor.person_id, chat_id, connection=connection)
            record(Event.CHAT_DELETED, actor, target=f"chat:{chat_id}", facts={KEPT: kept})
        await self._inference.forget(actor.person_id)

    async def _require_unheld(self, actor: Actor, action: Action, chat_id: str) -> None:
        """What was said would be gone: not while a legal hold is on it. `actor` is where the chat is."""
        await self._gate.require_unheld(actor, action, target=f"chat:{chat_id}")

    async def _within(self, actor: Actor, action: Action, chat_id: str) -> Actor:
        """`actor`, in the workspace that their chat is in, if they may do this to it there.

        Raises Missing(`chat_not_found`), Missing(`workspace_not_found`) where they are no member any more, Refused.
        """
        try:
            workspace_id = await self._chats.workspace_of(actor.person_id, chat_id)
        except Missing:
            await self._gate.require(actor, action, target=f"chat:{chat_id}", owner_id=actor.person_id)
            raise
        if actor.workspace is not None and workspace_id != actor.workspace:
            raise not_found()  # not to be had from there
        inside = actor
        if workspace_id is not None and not actor.workspace:
            inside = await self._workspaces.enter(actor, workspace_id)
        thing = Thing(inside.person_id, place=inside.place, member=True)
        await self._gate.require(inside, action, target=f"chat:{chat_id}", thing=thing)
        return inside

    async def ask(
        self,
        actor: Actor,
        chat_id: str,
        *,
        content: str | None,
        replace_from: str | None,
        model: str | None,
        sampling: Sampling,
        on_wait: WaitNote | None = None,
    ) -> Answering:
        """Add a turn (or replace everything from message `replace_from` on) and answer it.

        `content` None regenerates the answer `replace_from`. The answer is kept as far as it came, on every ending.
        """
        actor = await self._within(actor, Action.CHATS_CONTINUE, chat_id)
        if replace_from is not None:
            await self._require_unheld(actor, Action.CHATS_CONTINUE, chat_id)
        request_id = new_id("req", self._clock)
        if replace_from is not None:
            turn = await self._chats.replace_from(
                actor.person_id, chat_id, replace_from, content, model=model, request_id=request_id
            )
        else:
            turn = await self._chats.append_turn(
                actor.person_id, chat_id, content or "", model=model, request_id=request_id
            )
        request = ChatRequest(
            id=request_id,
            model=turn.chat.model,
            messages=tuple(Message(m.role, m.content) for m in turn.history if m.content),
            sampling=sampling,
        )
        events = self._answer(actor, turn, request, on_wait)
        return Answering(turn, request, events, self._inference.labels(actor))

    async def _answer(
        self, actor: Actor, turn: Turn, request: ChatRequest, on_wait: WaitNote | None
    ) -> AsyncGenerator[ChatEvent, None]:
        said: list[str] = []
        outcome: Outcome = "cancelled"
        events = self._inference.answer(actor, request, "page", "chat", on_wait=on_wait, told={KEPT: turn.kept})
        try:
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, Delta):
                        said.append(event.text)
                    elif isinstance(event, Finished):
                        outcome = "length" if event.reason == "length" else "finished"
                    yield event
        except IntramuralError:
            outcome = "failed"
            raise
        finally:
            await self._chats.finish_message(actor.person_id, turn.assistant_message_id, "".join(said), outcome)
