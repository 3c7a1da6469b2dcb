"""May they? One call, used by every service; a refusal is written down."""

from intramural.access import Action, Decision, decide
from intramural.audit import AuditLog, Event
from intramural.core.actor import CONSOLE, SYSTEM, Actor
from intramural.core.errors import Refused
from intramural.vault import Vault


class Gate:
    """Asks the policy and records refusals. Whoever gets through has keys in `vault`: what they write can be kept."""

    def __init__(self, audit: AuditLog, vault: Vault | None = None) -> None:
        self._audit = audit
        self._vault = vault

    async def require(
        self,
        actor: Actor,
        action: Action,
        *,
        target: str = "",
        model: str | None = None,
        owner_id: str | None = None,
        request_id: str | None = None,
    ) -> Decision:
        """The decision if `actor` may; else record it and raise Refused with the rule, the reason and what to do.

        `target` is what the record names; `model` the model's name where a key's list of models matters.
        """
        decision = decide(actor, action, target=model, owner_id=owner_id)
        if decision.allowed:
            if self._vault is not None and not self._vault.knows(actor.person_id):
                await self._vault.prepare(actor.person_id)
            return decision
        await self._audit.record(
            Event.ACCESS_REFUSED,
            actor,
            target=target,
            outcome="refused",
            request_id=request_id,
            facts={"action": action.value, "rule": decision.rule},
        )
        raise decision.refusal()


def require_here(actor: Actor) -> None:
    """Raises Refused(`console_only`) for everybody who is not at the machine itself."""
    if actor not in (CONSOLE, SYSTEM):
        message = "Files of this machine are named only by whoever works on it."
        raise Refused("console_only", message, "Use the command line there: `intramural …`.")
