"""The keys under which what people write is kept: changing them, and sealing what an older version left."""

from collections.abc import Awaitable, Callable

from intramural.access import Action, People
from intramural.audit import AuditLog, Event
from intramural.core.actor import CONSOLE, SYSTEM, Actor
from intramural.services.gate import Gate
from intramural.vault import Stored, Vault


class VaultDesk:
    """`upgrade` when the house is opened, before anybody reads."""

    def __init__(
        self,
        gate: Gate,
        audit: AuditLog,
        people: People,
        vault: Vault,
        stored: Stored,
        seal_files: Callable[[], Awaitable[int]],
        reseal_files: Callable[[str], Awaitable[None]],
    ) -> None:
        self._gate = gate
        self._audit = audit
        self._people = people
        self._vault = vault
        self._stored = stored
        self._seal_files = seal_files
        self._reseal_files = reseal_files

    async def upgrade(self) -> None:
        """At start: see that the service itself has keys, and seal what an older version kept in clear.

        Ended at any moment, it goes on at the next start.
        """
        for actor in (SYSTEM, CONSOLE):
            await self._vault.prepare(actor.person_id)
        if self._vault.rewrapped:
            await self._audit.record(Event.VAULT_KEY_CHANGED, SYSTEM, facts={"data_keys": self._vault.rewrapped})
        if await self._stored.is_sealed():
            return
        values = await self._stored.seal_clear(self._vault)
        files = await self._seal_files()
        await self._audit.record(Event.VAULT_SEALED, SYSTEM, facts={"values": values, "files": files})
        await self._stored.note_sealed()

    async def change_key(self, actor: Actor) -> int:
        """Put a new installation's key in the place of the present one, which opens nothing from then on. How many
        data keys were wrapped anew. People go on reading and writing meanwhile.
        """
        await self._gate.require(actor, Action.VAULT_CHANGE_KEYS)
        await self._audit.record(Event.VAULT_KEY_CHANGING, actor)
        count = await self._vault.change_wrapping_key()
        await self._audit.record(Event.VAULT_KEY_CHANGED, actor, facts={"data_keys": count})
        return count

    async def change_data_key(self, actor: Actor, person_id: str) -> int:
        """Give a person a new data key, seal everything of theirs with it and destroy the old one. How many values
        were sealed anew. They go on reading and writing meanwhile. Cut off, it is asked for again: nothing is lost.
        """
        await self._gate.require(actor, Action.VAULT_CHANGE_KEYS, target=f"person:{person_id}")
        await self._people.get(person_id)
        await self._audit.record(Event.DATA_KEY_CHANGING, actor, target=f"person:{person_id}")
        await self._vault.add_generation(person_id)
        count = await self._stored.reseal(self._vault, person_id)
        await self._reseal_files(person_id)
        await self._vault.drop_older_generations(person_id)
        facts = {"values": count, "generation": self._vault.generation(person_id)}
        await self._audit.record(Event.DATA_KEY_CHANGED, actor, target=f"person:{person_id}", facts=facts)
        return count
