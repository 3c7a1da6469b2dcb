"""Breaking the glass: who asks, who agrees, what is read meanwhile, and what the owner is told.

Nothing of what somebody wrote is read here: `Shown` does that, and is handed a `Looking`, which is made for one request
of who opened it. It asks the policy, has it written down, and only then shows anything.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from sqlalchemy.exc import DBAPIError

from intramural.access import Action, Notice, Opening, Openings, People, Thing, Workspaces
from intramural.access.glass import Step, check_minutes, check_purpose, check_reason, require_open
from intramural.access.openings import missing
from intramural.access.workspaces import missing as no_workspace
from intramural.audit import AuditLog, Event, Fact
from intramural.audit.log import RecordInTransaction
from intramural.core.actor import CONSOLE, SYSTEM, Actor
from intramural.core.config import BreakGlassConfig
from intramural.core.errors import Conflicting, IntramuralError, Misasked, Unauthenticated
from intramural.services.gate import Gate
from intramural.services.looking import Looking
from intramural.storage import Connection
from intramural.vault import Vault

#: Between two looks whether what is open has run out, or who opened it is not let in any more.
LOOK_EVERY_S = 1.0
_ENDED: Mapping[str, Event] = {
    "closed": Event.BREAKGLASS_CLOSED,
    "refused": Event.BREAKGLASS_REFUSED,
    "expired": Event.BREAKGLASS_EXPIRED,
}

_log = logging.getLogger(__name__)


class BreakGlass:
    """Openings. `watch` when the house is opened, `rest` before it is left."""

    def __init__(
        self,
        gate: Gate,
        openings: Openings,
        people: People,
        workspaces: Workspaces,
        vault: Vault,
        owners_in: Callable[[str], Awaitable[Sequence[str]]],
        audit: AuditLog,
        again: Callable[[str, str, str], Awaitable[Actor]],
        config: BreakGlassConfig,
    ) -> None:
        """`owners_in`: who has something in a workspace; `again`: whether somebody is still let in."""
        self._gate = gate
        self._openings = openings
        self._people = people
        self._workspaces = workspaces
        self._vault = vault
        self._owners_in = owners_in
        self._audit = audit
        self._again = again
        self._config = config
        self._task: asyncio.Task[None] | None = None
        self._asked = asyncio.Event()

    # what is asked for

    async def ask(
        self,
        actor: Actor,
        *,
        username: str | None,
        workspace: str | None,
        purpose: str,
        reason: str,
        minutes: int | None,
    ) -> Opening:
        """Ask to read what is of a person, or in a workspace (called by its identifier or name), or both at once.

        Raises Refused, Misasked(`bad_opening`, `bad_purpose`, `bad_reason`, `bad_minutes`), Missing(`person_not_found`,
        `workspace_not_found`).
        """
        await self._gate.require(actor, Action.BREAKGLASS_ASK, owner_id=actor.person_id)
        reason, purpose = check_reason(reason), check_purpose(purpose)
        minutes = check_minutes(minutes, self._config.minutes, self._config.most_minutes)
        person_id = None if username is None else (await self._people.named(username)).id
        if person_id == actor.person_id or (person_id is None and workspace is None):
            message = "An opening is of one other person, or of one workspace."
            raise Misasked("bad_opening", message, "Name the person, the workspace, or both.", param="person")
        workspace_id = None if workspace is None else await self._workspace_id(actor, workspace)
        second = self._config.second_person or actor.kind == "system"
        async with self._audit.transaction() as (connection, record):
            opening = await self._openings.ask(
                connection,
                actor.person_id,
                person_id=person_id,
                workspace_id=workspace_id,
                purpose=purpose,
                reason=reason,
                minutes=minutes,
                second=second,
            )
            facts = {**_facts(opening), "minutes": minutes, "second_person": second}
            record(Event.BREAKGLASS_ASKED, actor, target=opening.target, facts=facts, texts={"reason": reason})
        self._asked.set()
        return opening

    async def list(self, actor: Actor) -> list[Opening]:
        """All of them, for overseers; for who may only ask, what they have asked for."""
        if self._gate.decide(actor, Action.BREAKGLASS_LIST).allowed:
            await self._gate.require(actor, Action.BREAKGLASS_LIST)
            return await self._openings.list()
        await self._gate.require(actor, Action.BREAKGLASS_ASK, owner_id=actor.person_id)
        return await self._openings.list(actor.person_id)

    async def get(self, actor: Actor, opening_id: str) -> Opening:
        """One of those that `list` has. Raises Missing(`opening_not_found`)."""
        if self._gate.decide(actor, Action.BREAKGLASS_LIST).allowed:
            return await self._openings.get(opening_id)
        await self._gate.require(actor, Action.BREAKGLASS_ASK, owner_id=actor.person_id)
        opening = await self._openings.get(opening_id)
        if opening.asker_id != actor.person_id:
            raise missing()
        return opening

    # what becomes of it

    async def approve(self, actor: Actor, opening_id: str) -> Opening:
        """Agree, as a second person. Raises Refused(`not_oneself`, `person_required`, …), Conflicting."""
        await self._gate.require(actor, Action.BREAKGLASS_APPROVE, target=f"opening:{opening_id}")
        before = await self._openings.get(opening_id)
        thing = Thing(before.asker_id)
        await self._gate.require(actor, Action.BREAKGLASS_APPROVE, target=f"opening:{opening_id}", thing=thing)
        async with self._audit.transaction() as (connection, record):
            opening = await self._openings.move(connection, opening_id, "approve", actor.person_id)
            facts = {**_facts(opening), "asker": opening.asker_id}
            record(Event.BREAKGLASS_APPROVED, actor, target=opening.target, facts=facts)
        return opening

    async def refuse(self, actor: Actor, opening_id: str) -> Opening:
        """Say no to it, or take back that one agreed. Raises Refused, Missing, Conflicting."""
        await self._gate.require(actor, Action.BREAKGLASS_CLOSE, target=f"opening:{opening_id}")
        return await self._end(actor, opening_id, "refuse")

    async def close(self, actor: Actor, opening_id: str) -> Opening:
        """End it: who asked may, and whoever may close them. Raises Refused, Missing, Conflicting."""
        target = f"opening:{opening_id}"
        if self._gate.decide(actor, Action.BREAKGLASS_CLOSE).allowed:
            await self._gate.require(actor, Action.BREAKGLASS_CLOSE, target=target)
        else:
            await self._own(actor, opening_id)
        return await self._end(actor, opening_id, "close")

    async def open(self, actor: Actor, opening_id: str) -> Opening:
        """Begin to look: from now on it lasts for its minutes, and the owners have been told.

        Raises Refused, Missing, Conflicting(`opening_not_ready`, `opening_over`).
        """
        before = await self._own(actor, opening_id)
        owners = [before.person_id] if before.person_id else await self._owners_in(before.workspace_id or "")
        for owner_id in owners:
            await self._vault.prepare(owner_id)
        async with self._audit.transaction() as (connection, record):
            opening = await self._openings.move(connection, opening_id, "open", actor.person_id)
            facts = {**_facts(opening), "ends_ms": opening.ends_ms}
            record(Event.BREAKGLASS_OPENED, actor, target=opening.target, facts=facts)
            for owner_id in owners:
                await self._tell(connection, record, actor, opening, owner_id, read=False)
        return opening

    # what is read meanwhile

    async def looking(self, actor: Actor, opening_id: str) -> Looking:
        """What other services take in the place of being the owner, for one request of who opened it.

        Raises Refused, Missing(`opening_not_found`), Conflicting(`opening_over`, `opening_not_ready`).
        """
        opening = await self._own(actor, opening_id)
        require_open(opening, self._openings.now_ms(opening))
        return Looking(actor, opening.glass, partial(self._note, actor, opening_id))

    async def owners(self, looking: Looking) -> Sequence[str]:
        """Whose things it may show, by identifier."""
        glass = looking.glass
        return [glass.person_id] if glass.person_id else await self._owners_in(glass.workspace_id or "")

    async def _note(self, actor: Actor, opening_id: str, owner_id: str, target: str, facts: Mapping[str, Fact]) -> None:
        await self._vault.prepare(owner_id)
        async with self._audit.transaction() as (connection, record):
            opening = await self._openings.still(connection, opening_id)
            await self._tell(connection, record, actor, opening, owner_id, read=True)
            given = {"opening": opening.id, "owner": owner_id, "purpose": opening.purpose, **facts}
            record(Event.BREAKGLASS_READ, actor, target=target, facts=given)

    async def _tell(
        self,
        connection: Connection,
        record: RecordInTransaction,
        actor: Actor,
        opening: Opening,
        owner_id: str,
        *,
        read: bool,
    ) -> None:
        if await self._openings.tell(connection, opening, owner_id, read=read):
            facts: dict[str, Fact] = {"opening": opening.id, "purpose": opening.purpose, "ends_ms": opening.ends_ms}
            record(Event.BREAKGLASS_TOLD, actor, target=f"person:{owner_id}", facts=facts)

    # what the owner is told

    async def notices(self, actor: Actor) -> Sequence[Notice]:
        """Who opened what is the actor's, why, and until when; the newest first."""
        await self._gate.require(actor, Action.ME_READ_OPENINGS, owner_id=actor.person_id)
        return await self._openings.notices(actor.person_id)

    async def seen(self, actor: Actor, opening_id: str) -> None:
        """The actor has seen the notice of it. Raises Missing(`opening_not_found`)."""
        await self._gate.require(actor, Action.ME_READ_OPENINGS, owner_id=actor.person_id)
        if any(each.opening_id == opening_id and each.seen_ms for each in await self.notices(actor)):
            return
        async with self._audit.transaction() as (connection, record):
            await self._openings.seen(connection, actor.person_id, opening_id)
            record(Event.BREAKGLASS_SEEN, actor, target=f"opening:{opening_id}")

    async def names(self) -> Mapping[str, str]:
        """What identifiers of people and workspaces are called today, for whoever is shown openings or notices."""
        found = {person.id: person.username for person in await self._people.list()}
        places = {each.place.id: each.place.name for each in await self._workspaces.list()}
        return {"console": "console", **found, **places}

    # as time goes by

    async def watch(self) -> None:
        """At start: what ran out meanwhile is over. From now on it is looked at, while anything is live."""
        await self.sweep()
        self._asked.set()
        self._task = asyncio.create_task(self._look(), name="break-glass")

    async def rest(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def sweep(self) -> bool:
        """End what has run out, and what is of somebody who is not let in any more; whether anything is live still."""
        live = await self._openings.live()
        left = 0
        for opening in live:
            step: Step | None = "time" if opening.is_over(self._openings.now_ms(opening)) else None
            if step is None and not await self._is_let_in(opening.asker_id):
                step = "bar"
            if step is None:
                left += 1
                continue
            try:
                await self._end(SYSTEM, opening.id, step)
            except Conflicting:  # somebody was faster
                continue
        return left > 0

    async def _look(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                again = await self.sweep()
            except (DBAPIError, IntramuralError) as error:  # the log or the database is away: it comes back
                _log.warning("could not look whether openings are over: %s", error)
                again = True
            if again:
                self._asked.set()
                await asyncio.sleep(LOOK_EVERY_S)

    async def _is_let_in(self, person_id: str) -> bool:
        """Whether who asked is let in, and may ask still."""
        if person_id == CONSOLE.person_id:
            return True
        try:
            actor = await self._again("person", person_id, "break-glass")
        except Unauthenticated:
            return False
        return self._gate.decide(actor, Action.BREAKGLASS_ASK, Thing(person_id)).allowed

    async def _end(self, actor: Actor, opening_id: str, step: Step) -> Opening:
        async with self._audit.transaction() as (connection, record):
            opening = await self._openings.move(connection, opening_id, step, actor.person_id)
            facts = {**_facts(opening), "asker": opening.asker_id, "why": opening.why}
            record(_ENDED[opening.state], actor, target=opening.target, facts=facts)
        return opening

    async def _own(self, actor: Actor, opening_id: str) -> Opening:
        """One that the actor has asked for, and still may."""
        await self._gate.require(actor, Action.BREAKGLASS_ASK, owner_id=actor.person_id)
        opening = await self._openings.get(opening_id)
        if opening.asker_id != actor.person_id:
            target, thing = f"opening:{opening_id}", Thing(opening.asker_id)
            await self._gate.require(actor, Action.BREAKGLASS_ASK, target=target, thing=thing)
            raise missing()
        return opening

    async def _workspace_id(self, actor: Actor, called: str) -> str:
        found = await self._workspaces.place(actor, called)
        if found is None:
            raise no_workspace()
        return found[0].id


def _facts(opening: Opening) -> dict[str, Fact]:
    """What entries say of an opening. `person` is whose things it is about: reports on disclosures go by it."""
    return {
        "opening": opening.id,
        "person": opening.person_id,
        "workspace": opening.workspace_id,
        "purpose": opening.purpose,
    }
