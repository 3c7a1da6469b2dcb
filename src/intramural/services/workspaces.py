"""Workspaces: who makes them, and how a request comes to be asked in one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec.structs import replace

from intramural.access import Action, Charter, Thing, Workspace, Workspaces
from intramural.access.workspaces import BELOW_FLOOR, missing
from intramural.audit import AuditLog, Event, Fact
from intramural.core.actor import Actor, Place
from intramural.core.errors import Misasked, Refused
from intramural.core.retention import Floor, below_floor
from intramural.retention.holds import RULE, refusal
from intramural.services.gate import Gate, HeldBy


class WorkspaceDesk:
    """Entering workspaces, and administering them."""

    def __init__(self, gate: Gate, workspaces: Workspaces, audit: AuditLog, held_by: HeldBy) -> None:
        """`held_by`: the legal hold that is on a workspace."""
        self._held_by = held_by
        self._gate = gate
        self._workspaces = workspaces
        self._audit = audit

    async def enter(self, actor: Actor, called: str, purpose: str = "") -> Actor:
        """`actor`, asking in the workspace that is called so (by identifier or name), for `purpose`; where it has one
        purpose alone, that one is meant. With nothing called they stay where they are.

        Raises Missing(`workspace_not_found`), which is also said to whoever is no member, and recorded then;
        Refused(`other_workspace`) where a key is of another one.
        """
        if not called:
            return replace(actor, purpose=purpose) if purpose else actor
        found = await self._workspaces.place(actor, called)
        if found is None:
            raise missing()
        place, member = found
        try:
            await self._gate.require(
                actor, Action.WORKSPACE_ENTER, target=f"workspace:{place.id}", thing=Thing(place=place, member=member)
            )
        except Refused as error:
            if error.code != "not_in_workspace":
                raise
            raise missing() from None
        only = place.purposes[0] if len(place.purposes) == 1 else ""
        return actor.inside(place, purpose or actor.purpose or only)

    async def place(self, workspace_id: str) -> Place:
        """What rules know of a workspace, for a service that asks them. Raises Missing(`workspace_not_found`)."""
        return (await self._workspaces.get(workspace_id)).place

    async def of(self, actor: Actor) -> tuple[Place, ...]:
        """Those that `actor` is a member of."""
        await self._gate.require(actor, Action.WORKSPACES_READ, owner_id=actor.person_id)
        return await self._workspaces.of(actor)

    async def list(self, actor: Actor) -> list[Workspace]:
        """All of them, with their members."""
        await self._gate.require(actor, Action.WORKSPACES_READ)
        return await self._workspaces.list()

    async def create(self, actor: Actor, charter: Charter) -> Workspace:
        await self._gate.require(actor, Action.WORKSPACES_CHANGE)
        async with self._floors(actor, charter), self._audit.transaction() as (connection, record):
            made = await self._workspaces.create(connection, charter)
            record(Event.WORKSPACE_CREATED, actor, target=f"workspace:{made.place.id}", facts=_facts(made))
        return made

    async def change(self, actor: Actor, workspace_id: str, charter: Charter) -> Workspace:
        """Give it another charter as a whole; its members stay."""
        target = f"workspace:{workspace_id}"
        await self._gate.require(actor, Action.WORKSPACES_CHANGE, target=target)
        async with self._floors(actor, charter, target), self._audit.transaction() as (connection, record):
            changed = await self._workspaces.change(connection, workspace_id, charter)
            record(Event.WORKSPACE_CHANGED, actor, target=target, facts=_facts(changed))
        return changed

    @asynccontextmanager
    async def _floors(self, actor: Actor, charter: Charter, target: str = "") -> AsyncIterator[None]:
        """That the log was to be kept shorter than the law has it is written down."""
        try:
            yield
        except Misasked as error:
            days = charter.retention_days or {}
            if error.code == BELOW_FLOOR and (floor := below_floor(charter.label, days)):
                facts = refused_facts(floor, days["log"])
                await self._audit.record(Event.RETENTION_REFUSED, actor, target=target, outcome="refused", facts=facts)
            raise

    async def remove(self, actor: Actor, workspace_id: str) -> None:
        """Remove one that nothing is of. Raises Missing, Conflicting(`workspace_not_empty`), Refused(`legal_hold`)."""
        target = f"workspace:{workspace_id}"
        await self._gate.require(actor, Action.WORKSPACES_CHANGE, target=target)
        if (hold_id := await self._held_by("", (), workspace_id)) is not None:
            await self._gate.note_refusal(actor, Action.WORKSPACES_CHANGE, target, RULE)
            raise refusal(hold_id)
        async with self._audit.transaction() as (connection, record):
            await self._workspaces.remove(connection, workspace_id)
            record(Event.WORKSPACE_REMOVED, actor, target=target)

    async def close(self, actor: Actor, workspace_id: str, *, closed: bool) -> Workspace:
        """Close it to everybody, with all that is of it, or open it again. What runs there ends within seconds."""
        target = f"workspace:{workspace_id}"
        await self._gate.require(actor, Action.WORKSPACES_CHANGE, target=target)
        async with self._audit.transaction() as (connection, record):
            changed = await self._workspaces.close(connection, workspace_id, closed=closed)
            record(Event.WORKSPACE_CLOSED if closed else Event.WORKSPACE_OPENED, actor, target=target)
        return changed

    async def admit(self, actor: Actor, workspace_id: str, member_id: str) -> None:
        """Make a person or a group a member."""
        target = f"workspace:{workspace_id}"
        await self._gate.require(actor, Action.WORKSPACES_CHANGE, target=target)
        async with self._audit.transaction() as (connection, record):
            await self._workspaces.admit(connection, workspace_id, member_id)
            record(Event.WORKSPACE_JOINED, actor, target=target, facts={"member": member_id})

    async def dismiss(self, actor: Actor, workspace_id: str, member_id: str) -> None:
        """End a membership: what they have there is theirs, and out of reach until they are a member again."""
        target = f"workspace:{workspace_id}"
        await self._gate.require(actor, Action.WORKSPACES_CHANGE, target=target)
        async with self._audit.transaction() as (connection, record):
            await self._workspaces.dismiss(connection, workspace_id, member_id)
            record(Event.WORKSPACE_LEFT, actor, target=target, facts={"member": member_id})


def refused_facts(floor: Floor, days: int) -> dict[str, Fact]:
    """What the log says of a wish to keep it shorter than the law has it."""
    return {"class": "log", "days": days, "least_days": floor.days, "rule": floor.rule}


def _facts(workspace: Workspace) -> dict[str, Fact]:
    place = workspace.place
    return {
        "label": place.label,
        "models": None if place.models is None else sorted(place.models),
        "purposes": list(place.purposes),
        "retention_days": {**workspace.retention_days},
    }
