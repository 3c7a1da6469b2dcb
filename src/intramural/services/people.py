"""Administering people."""

from intramural.access import Action, People, Person
from intramural.audit import AuditLog, Event
from intramural.core.actor import Actor, Role
from intramural.core.errors import Misasked
from intramural.services.gate import Gate


class PeopleDesk:
    """What an administrator does with people; `personal` removes them. Disabling ends sessions and keys at once."""

    def __init__(self, gate: Gate, people: People, audit: AuditLog) -> None:
        self._gate = gate
        self._people = people
        self._audit = audit

    async def list(self, actor: Actor) -> list[Person]:
        await self._gate.require(actor, Action.PEOPLE_READ)
        return await self._people.list()

    async def create(self, actor: Actor, username: str, password: str, role: Role) -> Person:
        await self._gate.require(actor, Action.PEOPLE_CREATE)
        hashed = await self._people.hash_new(username, password)
        async with self._audit.transaction() as (connection, record):
            person = await self._people.create(connection, username, hashed, role)
            record(Event.PERSON_CREATED, actor, target=f"person:{person.id}", facts={"role": role})
        return person

    async def change(
        self, actor: Actor, person_id: str, *, role: Role | None, disabled: bool | None, password: str | None
    ) -> Person:
        """Change role, enabled state or password (whichever is given), all or nothing."""
        await self._gate.require(actor, Action.PEOPLE_CHANGE, target=f"person:{person_id}")
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
