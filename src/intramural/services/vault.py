"""The keys under which what people write is kept: changing them, and sealing what an older version left."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from intramural.access import Action, People
from intramural.audit import AuditLog, Event, Fact, Outcome, Wanted
from intramural.core.actor import CONSOLE, SYSTEM, Actor
from intramural.services.conversations import KEPT
from intramural.services.gate import Gate
from intramural.vault import Stored, Vault, Whole, Wrong
from intramural.vault.sums import told_changes

#: What heads were made of, as entries that name no kinds mean it.
_FIRST_KINDS = ["chats"]


@dataclass(frozen=True, slots=True)
class Checked:
    """How many people's things were looked at, and what is not as it was left."""

    people: int
    wrong: tuple[Wrong, ...]


class VaultDesk:
    """`upgrade` when the house is opened, before anybody reads."""

    def __init__(
        self,
        gate: Gate,
        audit: AuditLog,
        people: People,
        vault: Vault,
        stored: Stored,
        whole: Whole,
        seal_files: Callable[[], Awaitable[int]],
        reseal_files: Callable[[str], Awaitable[None]],
    ) -> None:
        self._gate = gate
        self._audit = audit
        self._people = people
        self._vault = vault
        self._stored = stored
        self._whole = whole
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
        if not await self._stored.is_sealed():
            await self._seal_all()
        # the log says that it was done, and not a row that somebody could take away
        made = await self._audit.entries(limit=len(self._whole.names), event=Event.HEADS_MADE)
        there = {kind for each in made for kind in each.facts.get("kinds", _FIRST_KINDS)}
        if missing := [each for each in self._whole.names if each not in there]:
            count = await self._whole.make(missing, self._vault.prepare)
            await self._audit.record(Event.HEADS_MADE, SYSTEM, facts={"kinds": missing, "things": count})

    async def _seal_all(self) -> None:
        values = await self._stored.seal_clear(self._vault)
        files = await self._seal_files()
        await self._audit.record(Event.VAULT_SEALED, SYSTEM, facts={"values": values, "files": files})
        await self._stored.note_sealed()

    async def check(self, actor: Actor) -> Checked:
        """Hold all that people keep against what it comes to, and that against what the log was told of it."""
        await self._gate.require(actor, Action.AUDIT_VERIFY)
        logged = await self._logged()
        wrong: list[Wrong] = []
        people = await self._people.list()
        for person in people:
            if self._vault.knows(person.id):
                wrong += await self._whole.check(person.id, logged.get(person.id))
        things = [each.thing_id for each in wrong]
        facts: dict[str, Fact] = {"people": len(people), "wrong": len(wrong), "things": things}
        outcome: Outcome = "failed" if wrong else "allowed"
        await self._audit.record(Event.VAULT_CHECKED, actor, outcome=outcome, facts=facts)
        return Checked(len(people), tuple(wrong))

    async def accept(self, actor: Actor, person_id: str) -> tuple[int, int]:
        """Take what a person keeps as it lies here, after something was wrong with it; how many things, and how many
        values in them open for nobody. What was wrong stays in the log.
        """
        target = f"person:{person_id}"
        await self._gate.require(actor, Action.VAULT_CHANGE_KEYS, target=target)
        await self._people.get(person_id)
        await self._vault.prepare(person_id)
        async with self._audit.transaction() as (connection, record):
            things, lost = await self._whole.accept(connection, person_id)
            record(Event.HISTORY_ACCEPTED, actor, target=target, facts={"things": things, "lost": lost})
        return things, lost

    async def _logged(self) -> dict[str, str]:
        """What the log was told last of what everybody keeps."""
        found: dict[str, str] = {}
        for event in (Event.CHAT_ASKED, Event.CHAT_DELETED):
            async for entry in self._audit.walk(Wanted(event=event)):
                kept = entry.facts.get(KEPT)
                if isinstance(kept, str):
                    found[entry.actor_id] = max(kept, found.get(entry.actor_id, "0."), key=told_changes)
        return found

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
