"""Copying models to registries on other machines. Weights leave this one: an administrator asks, and it is logged."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial

from intramural.access import Action
from intramural.audit import AuditLog, Event, Fact, Outcome
from intramural.core.actor import Actor
from intramural.core.errors import IntramuralError
from intramural.core.outward import Connect
from intramural.library import Library, Outside, Push, Pushed, Reference, require_released
from intramural.services.gate import Gate
from intramural.services.watched import watched


class PushDesk:
    """Pushes. `outside` is what an administrator decided about other machines; `way`, how they are reached."""

    def __init__(
        self, gate: Gate, library: Library, audit: AuditLog, outside: Outside, way: Callable[[Actor, str], Connect]
    ) -> None:
        self._gate = gate
        self._library = library
        self._audit = audit
        self._outside = outside
        self._way = way

    async def push(self, actor: Actor, name: str, target: Reference) -> AsyncGenerator[Pushed | str, None]:
        """Copy the model `name` to `target`: how far it is, and last the digest of its manifest there. Closing this
        stops it; what a registry has of it then is no model there.

        Every byte is hashed first. Raises Refused(policy, `network_off`, `model_quarantined`, `push_unsupported`),
        Missing(`model_not_found`), Untrusted(`model_digest_mismatch`), and what `Push.run` raises.
        """
        await self._gate.require(actor, Action.MODELS_EXPORT, target=f"model:{name}")
        self._outside.require()
        manifest = self._library.get(name)
        require_released(manifest)
        await self._library.verify(manifest)
        outside = self._outside.through(self._way(actor, f"{target.scheme}:{target.text}"))
        job = Push(target, outside.registries, self._library.open_unverified)
        facts: dict[str, Fact] = {"weights": manifest.digest, "target": f"{target.scheme}:{target.text}"}
        await self._audit.record(Event.MODEL_PUSH_ASKED, actor, target=f"model:{name}", facts=facts)
        outcome: Outcome = "cancelled"
        try:
            async with aclosing(watched(partial(job.run, manifest))) as states:
                async for each in states:
                    if isinstance(each, str):
                        outcome, facts = "finished", facts | {"manifest": each}
                    yield each
        except IntramuralError as error:
            outcome, facts = "failed", facts | {"code": error.code}
            raise
        finally:
            await self._audit.record(Event.MODEL_PUSHED, actor, target=f"model:{name}", outcome=outcome, facts=facts)
