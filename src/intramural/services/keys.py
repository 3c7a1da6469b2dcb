"""Keys for programs: everyone makes and revokes their own, administrators revoke any."""

from collections.abc import Sequence

from intramural.access import Action, Identify, Key, Keys, People, Thing, Workspaces
from intramural.access.workspaces import missing
from intramural.audit import AuditLog, Event
from intramural.core.actor import Actor, Scope
from intramural.core.errors import Missing
from intramural.services.gate import Gate


class KeyDesk:
    """Making, listing and revoking keys."""

    def __init__(
        self, gate: Gate, keys: Keys, people: People, workspaces: Workspaces, identify: Identify, audit: AuditLog
    ) -> None:
        self._gate = gate
        self._keys = keys
        self._people = people
        self._workspaces = workspaces
        self._identify = identify
        self._audit = audit

    async def list(self, actor: Actor, *, everyone: bool) -> list[Key]:
        await self._gate.require(actor, Action.KEYS_READ, owner_id=None if everyone else actor.person_id)
        return await self._keys.list(None if everyone else actor.person_id)

    async def create(
        self,
        actor: Actor,
        person_id: str,
        *,
        name: str,
        scopes: Sequence[Scope],
        models: Sequence[str] | None,
        expires_ms: int | None,
        workspace: str | None = None,
    ) -> tuple[Key, str]:
        """A new key of `person_id`, and its secret (shown this once). With `workspace` (an identifier or a name), all
        that is asked with it is asked there. Raises Missing(`workspace_not_found`) also where its person is no member.
        """
        thing = Thing(owner_id=person_id)
        if person_id != actor.person_id:
            thing = await self._people.thing(person_id)
        await self._gate.require(actor, Action.KEYS_CREATE, target=f"person:{person_id}", thing=thing)
        workspace_id = None if workspace is None else await self._member_of(person_id, workspace)
        async with self._audit.transaction() as (connection, record):
            key, secret = await self._keys.create(connection, person_id, name, scopes, models, expires_ms, workspace_id)
            facts = {
                "scopes": sorted(scopes),
                "models": None if models is None else sorted(models),
                "workspace": workspace_id,
            }
            record(Event.KEY_CREATED, actor, target=f"key:{key.id}", facts=facts)
        return key, secret

    async def _member_of(self, person_id: str, workspace: str) -> str:
        holder = await self._identify.again("person", person_id, "key")
        found = await self._workspaces.place(holder, workspace)
        if found is None or not found[1]:
            raise missing()
        return found[0].id

    async def revoke(self, actor: Actor, key_id: str) -> None:
        """Revoke a key; it stops working before this returns."""
        key = await self._keys.get(key_id)
        if key.person_id != actor.person_id and not self._gate.decide(actor, Action.KEYS_READ).allowed:
            raise Missing(
                "key_not_found", "There is no such key.", "See the list of your keys."
            )  # not theirs to know of
        await self._gate.require(actor, Action.KEYS_REVOKE, target=f"key:{key_id}", owner_id=key.person_id)
        async with self._audit.transaction() as (connection, record):
            await self._keys.revoke(connection, key_id)
            record(Event.KEY_REVOKED, actor, target=f"key:{key_id}")
