"""Conversations of a person's programs: items that grow with every response. The page's are `conversations`."""

from collections.abc import Mapping, Sequence

from intramural.access import Action
from intramural.audit import AuditLog, Event
from intramural.chats import Item, Transcript, Transcripts
from intramural.core.actor import Actor
from intramural.core.errors import Missing, Refused
from intramural.services.gate import Gate, where


class TranscriptDesk:
    """Transcripts of an actor's person, of the workspace that they ask in.

    Others are Missing(`conversation_not_found`).
    """

    def __init__(self, gate: Gate, transcripts: Transcripts, audit: AuditLog) -> None:
        self._gate = gate
        self._transcripts = transcripts
        self._audit = audit

    async def create(self, actor: Actor, notes: Mapping[str, str], items: Sequence[Item]) -> Transcript:
        """Begin one. Raises Refused(`person_required`) for the console, which is nobody."""
        await self._gate.require(actor, Action.CONVERSATIONS_CREATE, owner_id=actor.person_id)
        if actor.kind == "system":
            raise Refused("person_required", "The console keeps no conversations.", "Use a person's key.")
        return await self._transcripts.create(actor.whose, notes, items)

    async def get(self, actor: Actor, transcript_id: str) -> Transcript:
        await self._gate.require(actor, Action.CONVERSATIONS_READ, owner_id=actor.person_id)
        return await self._transcripts.get(actor.whose, transcript_id)

    async def note(self, actor: Actor, transcript_id: str, notes: Mapping[str, str]) -> Transcript:
        """Replace what its owner's program noted about it."""
        await self._gate.require(actor, Action.CONVERSATIONS_CHANGE, owner_id=actor.person_id)
        await self._require_unheld(actor, transcript_id)
        return await self._transcripts.note(actor.whose, transcript_id, notes)

    async def items(self, actor: Actor, transcript_id: str) -> tuple[Item, ...]:
        """All of its items in order."""
        await self._gate.require(actor, Action.CONVERSATIONS_READ, owner_id=actor.person_id)
        return await self._transcripts.items(actor.whose, transcript_id)

    async def item(self, actor: Actor, transcript_id: str, item_id: str) -> Item:
        """One of its items. Raises Missing(`item_not_found`) too."""
        for item in await self.items(actor, transcript_id):
            if item["id"] == item_id:
                return item
        raise Missing("item_not_found", "There is no such item in this conversation.", "List its items.")

    async def add(self, actor: Actor, transcript_id: str, items: Sequence[Item]) -> None:
        """Put items at its end."""
        await self._gate.require(actor, Action.CONVERSATIONS_CHANGE, owner_id=actor.person_id)
        await self._transcripts.append(actor.whose, transcript_id, items)

    async def remove_item(self, actor: Actor, transcript_id: str, item_id: str) -> Transcript:
        """Take one item out; what is left. Raises Missing(`item_not_found`) too."""
        await self._gate.require(actor, Action.CONVERSATIONS_CHANGE, owner_id=actor.person_id)
        await self._require_unheld(actor, transcript_id)
        async with self._audit.transaction() as (connection, record):
            await self._transcripts.remove_item(actor.whose, transcript_id, item_id, connection)
            record(Event.CONVERSATION_CHANGED, actor, target=f"conversation:{transcript_id}", facts=where(actor))
        return await self._transcripts.get(actor.whose, transcript_id)

    async def _require_unheld(self, actor: Actor, transcript_id: str) -> None:
        target = f"conversation:{transcript_id}"
        await self._gate.require_unheld(actor, Action.CONVERSATIONS_CHANGE, target=target)

    async def delete(self, actor: Actor, transcript_id: str) -> None:
        await self._gate.require(actor, Action.CONVERSATIONS_DELETE, owner_id=actor.person_id)
        async with self._audit.transaction() as (connection, record):
            await self._transcripts.delete(actor.whose, transcript_id, connection)
            record(Event.CONVERSATION_DELETED, actor, target=f"conversation:{transcript_id}", facts=where(actor))
