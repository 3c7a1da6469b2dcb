"""Groups of people, and roles of the institution's own."""

from collections.abc import Sequence

from intramural.access import Action, CustomRole, Group, Groups, Keep, Member, Roles, Thing
from intramural.audit import AuditLog, Event
from intramural.core.actor import Actor
from intramural.core.errors import Missing
from intramural.services.gate import Gate


class GroupDesk:
    """What administrators do with groups, and what managers see of theirs."""

    def __init__(self, gate: Gate, groups: Groups, audit: AuditLog) -> None:
        self._gate = gate
        self._groups = groups
        self._audit = audit

    async def list(self, actor: Actor) -> list[Group]:
        """Every group; for a manager, those they manage and all within."""
        mine = Thing(groups=frozenset(actor.manages))
        decision = await self._gate.require(actor, Action.GROUPS_READ, thing=mine)
        groups = await self._groups.list()
        if decision.rule != "manages":
            return groups
        below = await self._groups.below(actor.manages)
        return [each for each in groups if each.id in below]

    async def sizes(self, actor: Actor) -> dict[str, int]:
        """How many people are in each group itself, for who may list groups."""
        await self._gate.require(actor, Action.GROUPS_READ, thing=Thing(groups=frozenset(actor.manages)))
        return await self._groups.sizes()

    async def members(self, actor: Actor, group_id: str) -> Sequence[Member]:
        """Whoever was put into this group itself."""
        try:
            thing = Thing(groups=await self._groups.around(group_id))
        except Missing:
            thing = Thing()  # who may not ask does not learn that it is not there
        await self._gate.require(actor, Action.GROUPS_READ, target=f"group:{group_id}", thing=thing)
        await self._groups.get(group_id)
        return await self._groups.members(group_id)

    async def create(self, actor: Actor, name: str, parent_id: str | None, external_id: str | None) -> Group:
        await self._gate.require(actor, Action.GROUPS_CHANGE)
        async with self._audit.transaction() as (connection, record):
            group = await self._groups.create(connection, name, parent_id, external_id)
            record(Event.GROUP_CREATED, actor, target=f"group:{group.id}", facts={"parent": parent_id})
        return group

    async def change(
        self,
        actor: Actor,
        group_id: str,
        *,
        name: str | None,
        parent_id: str | Keep | None,
        external_id: str | Keep | None,
    ) -> Group:
        """Rename it, or put it into another one (None: into none)."""
        target = f"group:{group_id}"
        await self._gate.require(actor, Action.GROUPS_CHANGE, target=target)
        moved = {} if isinstance(parent_id, Keep) else {"parent": parent_id}
        async with self._audit.transaction() as (connection, record):
            group = await self._groups.change(
                connection, group_id, name=name, parent_id=parent_id, external_id=external_id
            )
            record(Event.GROUP_CHANGED, actor, target=target, facts=moved)
        return group

    async def remove(self, actor: Actor, group_id: str) -> None:
        target = f"group:{group_id}"
        await self._gate.require(actor, Action.GROUPS_CHANGE, target=target)
        async with self._audit.transaction() as (connection, record):
            await self._groups.remove(connection, group_id)
            record(Event.GROUP_REMOVED, actor, target=target)

    async def put(self, actor: Actor, group_id: str, person_id: str, *, manager: bool) -> None:
        """Put a person into it, or change whether they manage it."""
        target = f"group:{group_id}"
        await self._gate.require(actor, Action.GROUPS_CHANGE, target=target)
        async with self._audit.transaction() as (connection, record):
            await self._groups.put(connection, group_id, person_id, manager=manager)
            record(Event.GROUP_JOINED, actor, target=target, facts={"person": person_id, "manager": manager})

    async def take_out(self, actor: Actor, group_id: str, person_id: str) -> None:
        target = f"group:{group_id}"
        await self._gate.require(actor, Action.GROUPS_CHANGE, target=target)
        async with self._audit.transaction() as (connection, record):
            await self._groups.take_out(connection, group_id, person_id)
            record(Event.GROUP_LEFT, actor, target=target, facts={"person": person_id})


class RoleDesk:
    """The institution's own roles."""

    def __init__(self, gate: Gate, roles: Roles, audit: AuditLog) -> None:
        self._gate = gate
        self._roles = roles
        self._audit = audit

    async def list(self, actor: Actor) -> list[CustomRole]:
        await self._gate.require(actor, Action.ROLES_READ)
        return await self._roles.list()

    async def put(self, actor: Actor, name: str, permissions: Sequence[str]) -> CustomRole:
        """Make a role, or give one that there is other permissions: they count at the next request."""
        await self._gate.require(actor, Action.ROLES_CHANGE, target=f"role:{name}")
        async with self._audit.transaction() as (connection, record):
            role = await self._roles.put(connection, name, permissions)
            facts = {"permissions": sorted(role.permissions)}
            record(Event.ROLE_CHANGED, actor, target=f"role:{name}", facts=facts)
        return role

    async def remove(self, actor: Actor, name: str) -> None:
        await self._gate.require(actor, Action.ROLES_CHANGE, target=f"role:{name}")
        async with self._audit.transaction() as (connection, record):
            await self._roles.remove(connection, name)
            record(Event.ROLE_REMOVED, actor, target=f"role:{name}")
