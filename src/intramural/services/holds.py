"""Legal holds: put, listed and lifted, with a reason each time; and not lost by restoring a backup older than they."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from intramural.access import Action, Seal
from intramural.audit import AuditLog, Event, Fact
from intramural.core.actor import SYSTEM, Actor
from intramural.core.errors import IntramuralError, Misasked
from intramural.retention import Held, Hold, HoldList, Holds, learnt
from intramural.services.gate import Gate

MAX_REASON_CHARS = 2_000

_log = logging.getLogger(__name__)


class HoldDesk:
    """What an administrator or an auditor does with holds. Reasons are kept sealed: they may name people.

    `replay` when the house is opened, before anything is deleted.
    """

    def __init__(self, gate: Gate, holds: Holds, audit: AuditLog, seal: Seal, listed: HoldList) -> None:
        self._gate = gate
        self._listed = listed
        self._holds = holds
        self._audit = audit
        self._seal = seal

    async def put(self, actor: Actor, subject: str, subject_id: str, reason: str) -> Hold:
        """From now on nothing of this person, group or workspace is deleted. Raises Misasked(`bad_reason`,
        `bad_subject`), Missing, Conflicting(`held_already`)."""
        target = f"{subject}:{subject_id}"
        await self._gate.require(actor, Action.HOLDS_CHANGE, target=target)
        reason, hold_id = _checked(reason), self._holds.named()
        async with self._audit.transaction() as (connection, record):
            sealed = self._seal.close(hold_id, reason)
            hold = await self._holds.put(connection, hold_id, subject, subject_id, sealed, actor.person_id)
            facts: dict[str, Fact] = {"hold": hold.id, "people": hold.people}
            record(Event.LEGAL_HOLD_PUT, actor, target=target, facts=facts, texts={"reason": reason})
        await self._note()
        return self._opened(hold)

    async def lift(self, actor: Actor, hold_id: str, reason: str) -> Hold:
        """End a hold. Raises Misasked(`bad_reason`), Missing(`hold_not_found`), Conflicting(`hold_lifted`)."""
        await self._gate.require(actor, Action.HOLDS_CHANGE, target=f"hold:{hold_id}")
        reason = _checked(reason)
        async with self._audit.transaction() as (connection, record):
            hold = await self._holds.get(connection, hold_id)  # a name of nobody's choosing: sealed under is its own
            hold = await self._holds.lift(connection, hold.id, self._seal.close(hold.id, reason), actor.person_id)
            target = f"{hold.subject}:{hold.subject_id}"
            facts: dict[str, Fact] = {"hold": hold.id, "put_ms": hold.put_ms}
            record(Event.LEGAL_HOLD_LIFTED, actor, target=target, facts=facts, texts={"reason": reason})
        await self._note()
        return self._opened(hold)

    async def list(self, actor: Actor) -> Sequence[Hold]:
        """Every hold there was, the newest first."""
        await self._gate.require(actor, Action.HOLDS_READ)
        return [self._opened(each) for each in await self._holds.list()]

    async def follow(self) -> None:
        """Write down who came into groups that are held, in the database and on the list."""
        await self._holds.refresh()
        await self._note()

    async def replay(self) -> int:
        """At start: what is on the list and not here (an old backup was restored) is put, or lifted, again. How many.

        Raises Untrusted(`hold_list_damaged`).
        """
        found = learnt(await asyncio.to_thread(self._listed.held), await self._there())
        steps = [(each, Event.LEGAL_HOLD_PUT) for each in found.put]
        steps += [(each, Event.LEGAL_HOLD_PUT) for each in found.add if await self._holds.here(each.people)]
        steps += [(each, Event.LEGAL_HOLD_LIFTED) for each in found.lift]
        for held, event in steps:
            async with self._audit.transaction() as (connection, record):
                hold = await self._holds.restore(connection, held.hold, held.people)
                facts: dict[str, Fact] = {"hold": hold.id, "people": hold.people, "put_ms": hold.put_ms, "again": True}
                record(event, SYSTEM, target=f"{hold.subject}:{hold.subject_id}", facts=facts)
        await self._note()
        return len(steps)

    async def _there(self) -> dict[str, Held]:
        on = await self._holds.people()
        return {each.id: Held(each, frozenset(on.get(each.id, ()))) for each in await self._holds.list()}

    async def _note(self) -> None:
        """Bring the list up to date. Should it not be written, holds count all the same, and it is tried every hour."""
        try:
            for each in learnt(await asyncio.to_thread(self._listed.held), await self._there()).note:
                await asyncio.to_thread(self._listed.note, each)
        except IntramuralError as error:
            _log.error("a legal hold would be lost with this database: %s", error.message)

    def _opened(self, hold: Hold) -> Hold:
        lifted = None if hold.lifted_reason is None else self._read(hold.id, hold.lifted_reason)
        return replace(hold, reason=self._read(hold.id, hold.reason), lifted_reason=lifted)

    def _read(self, hold_id: str, sealed: str) -> str:
        try:
            return self._seal.open(hold_id, sealed)
        except Misasked:  # the pepper is another one: the hold counts all the same
            return "(cannot be read: it was sealed with another key)"


def _checked(reason: str) -> str:
    reason = reason.strip()
    if not 0 < len(reason) <= MAX_REASON_CHARS:
        hint = f"Say why in 1 to {MAX_REASON_CHARS} characters: the matter, and who asked for it."
        raise Misasked("bad_reason", "A legal hold needs a reason.", hint, param="reason")
    return reason
