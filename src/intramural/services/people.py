"""Administering people."""

from msgspec.structs import replace

from intramural.access import Action, Groups, People, PeoplePage, Person, Roles, Sought, Thing
from intramural.access.people import NO_PASSWORD
from intramural.audit import AuditLog, Event
from intramural.core.actor import ROLES, Actor
from intramural.core.errors import Misasked, Missing
from intramural.services.gate import Gate


class PeopleDesk:
    """What an administrator does with people (`personal` removes them), and what a manager sees.

    Disabling ends sessions and keys at once.
    """

    def __init__(self, gate: Gate, people: People, groups: Groups, roles: Roles, audit: AuditLog) -> None:
        self._gate = gate
        self._people = people
        self._groups = groups
        self._roles = roles
        self._audit = audit

    async def page(self, actor: Actor, sought: Sought) -> PeoplePage:
        """Those of everybody who are sought; for a manager, of whoever is in a group of theirs or within."""
        decision = await self._gate.require(actor, Action.PEOPLE_READ, thing=Thing(groups=frozenset(actor.manages)))
        theirs = await self._groups.within(actor.manages) if decision.rule == "manages" else None
        return await self._people.page(sought, theirs)

    async def create(self, actor: Actor, username: str, password: str | None, role: str) -> Person:
        """Add a person; without a password a service account, or with a role that is a person's, one who comes in by
        an invitation to sign in elsewhere.
        """
        await self._gate.require(actor, Action.PEOPLE_CREATE, thing=Thing(grants=await self._granted(role)))
        hashed = NO_PASSWORD if role in ROLES and role != "service" else None
        hashed = hashed if password is None else await self._people.hash_new(username, password)
        async with self._audit.transaction() as (connection, record):
            person = await self._people.create(connection, username, hashed, role)
            facts = {"role": role, "kind": person.kind}
            record(Event.PERSON_CREATED, actor, target=f"person:{person.id}", facts=facts)
        return person

    async def change(
        self, actor: Actor, person_id: str, *, role: str | None, disabled: bool | None, password: str | None
    ) -> Person:
        """Change role, enabled state or password (whichever is given), all or nothing."""
        thing = await self._people.acted_upon(person_id)
        if role is not None:
            thing = replace(thing, grants=thing.grants | await self._granted(role))
        await self._gate.require(actor, Action.PEOPLE_CHANGE, target=f"person:{person_id}", thing=thing)
        if role is None and disabled is None and password is None:
            raise Misasked("nothing_to_change", "The request changes nothing.", "Send a role, disabled or a password.")
        person = await self._people.get(person_id)
        hashed = None if password is None else await self._people.hash_new(person.username, password)
        target = f"person:{person_id}"
        async with self._audit.transaction() as (connection, record):
            if role is not None or disabled is not None:
                await self._people.change(connection, person_id, role=role, disabled=disabled)
                event = Event.PERSON_DISABLED if disabled else Event.PERSON_CHANGED
                record(event, actor, target=target, facts={"role": role, "disabled": disabled})
            if hashed is not None:
                await self._people.set_password(connection, person_id, hashed)
                record(Event.PASSWORD_CHANGED, actor, target=target)
        return await self._people.get(person_id)

    async def _granted(self, role: str) -> frozenset[str]:
        """What a role gives; nothing where there is no such role, which the room itself refuses."""
        try:
            return await self._roles.grants(role)
        except Missing:
            return frozenset()
