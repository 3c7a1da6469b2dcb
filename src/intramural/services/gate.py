"""May they? One call, used by every service; a refusal is written down."""

from collections.abc import Awaitable, Callable, Collection, Sequence

from msgspec.structs import replace

from intramural.access import ANYTHING, Action, Decision, Rule, Thing, When, decide
from intramural.audit import AuditLog, Event, Fact
from intramural.core.actor import CONSOLE, SYSTEM, Actor
from intramural.core.errors import Refused
from intramural.retention.holds import RULE, refusal
from intramural.vault import Vault

#: The hold that keeps a person's things (who is in these groups), or those in a workspace.
HeldBy = Callable[[str, Collection[str], str | None], Awaitable[str | None]]
#: What is somebody's own, and gone afterwards: not while it is held.
_DELETES = frozenset(
    {
        Action.CHATS_DELETE,
        Action.FILES_DELETE,
        Action.BATCHES_DELETE,
        Action.RESPONSES_DELETE,
        Action.CONVERSATIONS_DELETE,
    }
)


class Gate:
    """Asks the policy and records refusals. Whoever gets through has keys in `vault`: what they write can be kept.
    What `held_by` says is under a legal hold is not given free to be deleted."""

    def __init__(
        self,
        audit: AuditLog,
        rules: Sequence[Rule] = (),
        vault: Vault | None = None,
        held_by: HeldBy | None = None,
        when: Callable[[], When] = When,
    ) -> None:
        """`when`: what decisions look at of the moment."""
        self._audit = audit
        self._when = when
        self._rules = tuple(rules)
        self._vault = vault
        self._held_by = held_by

    def decide(self, actor: Actor, action: Action, thing: Thing = ANYTHING) -> Decision:
        """The decision, with the institution's own rules; nothing is written down."""
        return decide(actor, action, thing, self._rules, self._when())

    async def require(
        self,
        actor: Actor,
        action: Action,
        *,
        target: str = "",
        model: str | None = None,
        owner_id: str | None = None,
        thing: Thing = ANYTHING,
        request_id: str | None = None,
    ) -> Decision:
        """The decision if `actor` may; else record it and raise Refused with the rule, the reason and what to do.

        `target` is what the record names. What is known of it is `thing`, or only its `owner_id` or the `model`'s name.
        """
        if owner_id is not None or model is not None:
            thing = replace(thing, owner_id=owner_id or thing.owner_id, model=model or thing.model)
        decision = self.decide(actor, action, thing)
        if decision.allowed:
            if self._vault is not None and not self._vault.knows(actor.person_id):
                await self._vault.prepare(actor.person_id)
            if action in _DELETES:
                await self.require_unheld(actor, action, target=target, thing=thing)
            return decision
        await self.note_refusal(actor, action, target, decision.rule, request_id)
        raise decision.refusal(_asked(actor, action, thing))

    async def require_unheld(self, actor: Actor, action: Action, *, target: str = "", thing: Thing = ANYTHING) -> None:
        """Return if no legal hold is on the actor, or on the workspace that `thing` is in; else record it and raise
        Refused(`legal_hold`). For what changes or deletes a part of something; `require` asks it of what deletes all.
        """
        if self._held_by is None:
            return
        workspace_id = thing.place.id if thing.place is not None else actor.workspace
        hold_id = await self._held_by(actor.person_id, actor.groups, workspace_id)
        if hold_id is not None:
            await self.note_refusal(actor, action, target, RULE)
            raise refusal(hold_id)

    async def note_refusal(
        self, actor: Actor, action: Action, target: str, rule: str, request_id: str | None = None
    ) -> None:
        """Write down that `rule` refused it."""
        await self._audit.record(
            Event.ACCESS_REFUSED,
            actor,
            target=target,
            outcome="refused",
            request_id=request_id,
            facts={"action": action.value, "rule": rule},
        )


def _asked(actor: Actor, action: Action, thing: Thing) -> dict[str, str]:
    """The question as `explain` takes it; whose something of somebody else's is, is not theirs to know."""
    whose = "own" if thing.owner_id == actor.person_id else "all"
    return {
        "action": action.value,
        "thing": whose if thing.model is None else f"model:{thing.model}",
        "workspace": actor.place.name if actor.place else "",
        "purpose": actor.purpose,
    }


def where(actor: Actor) -> dict[str, Fact]:
    """The workspace in which it is asked, for the log."""
    if actor.place is None:
        return {}
    return {"workspace": actor.place.id, "label": actor.place.label, "purpose": actor.purpose}


def require_here(actor: Actor) -> None:
    """Raises Refused(`console_only`) for everybody who is not at the machine itself."""
    if actor not in (CONSOLE, SYSTEM):
        message = "Files of this machine are named only by whoever works on it."
        raise Refused("console_only", message, "Use the command line there: `intramural …`.")
