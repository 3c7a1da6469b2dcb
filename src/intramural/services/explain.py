"""Why somebody may, or may not: the policy's answer to a question that nobody has asked yet."""

from dataclasses import dataclass

from msgspec.structs import replace

from intramural.access import Access, Action, Decision, Thing
from intramural.audit import AuditLog, Event
from intramural.core.actor import Actor
from intramural.core.errors import Misasked
from intramural.services.gate import Gate

#: What a thing can be named by.
THINGS = "own, all, model:NAME, person:NAME, group:ID, workspace:NAME or key:ID"


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to the policy. `thing` as in `THINGS`, or empty: one's own. `workspace`: that it would be asked in."""

    action: str
    thing: str = ""
    workspace: str = ""
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class Explained:
    """What would be answered, and as whom. `group_names`: of their groups, in the same order."""

    about: Actor
    decision: Decision
    group_names: tuple[str, ...]


class PolicyDesk:
    """Explaining the policy."""

    def __init__(self, gate: Gate, access: Access, audit: AuditLog) -> None:
        self._gate = gate
        self._access = access
        self._audit = audit

    async def explain(self, actor: Actor, username: str | None, asked: Asked) -> Explained:
        """What would be answered to a person (None: to `actor`) in a session of theirs, and as whom.

        Raises Refused, Misasked(`bad_action`, `bad_thing`), Missing(`person_not_found`), and what finding the thing
        raises.
        """
        action = _action(asked.action)
        if username is None or username == actor.username:
            await self._gate.require(actor, Action.POLICY_EXPLAIN, owner_id=actor.person_id)
            about = actor
        else:
            await self._gate.require(actor, Action.POLICY_EXPLAIN)
            person = await self._access.people.named(username)
            about = await self._access.identify.again("person", person.id, "policy")
            facts = {"action": action.value, "thing": asked.thing}
            await self._audit.record(Event.POLICY_EXPLAINED, actor, target=f"person:{person.id}", facts=facts)
        about, refused = await self._placed(about, asked)
        decision = refused or self._gate.decide(about, action, await self._thing(actor, about, action, asked))
        return Explained(about, decision, await self._access.groups.named(about.groups))

    async def _placed(self, about: Actor, asked: Asked) -> tuple[Actor, Decision | None]:
        """In the workspace that is asked for; and what keeps them out of it."""
        if not asked.workspace:
            return replace(about, purpose=asked.purpose), None
        thing = await self._workspace(about, asked.workspace)
        entering = self._gate.decide(about, Action.WORKSPACE_ENTER, thing)
        if thing.place is None or not entering.allowed:
            return about, entering
        only = thing.place.purposes[0] if len(thing.place.purposes) == 1 else ""
        return about.inside(thing.place, asked.purpose or only), None

    async def _thing(self, actor: Actor, about: Actor, action: Action, asked: Asked) -> Thing:
        kind, _, name = asked.thing.partition(":")
        match kind:
            case "all":
                return Thing(groups=frozenset(about.manages))
            case "" | "own":
                return Thing(about.person_id, frozenset(about.groups))
            case "model" if name:
                return Thing(model=name)
            case "workspace" if name:
                return await self._workspace(about, name)
            case "group" if name:
                return Thing(groups=await self._access.groups.around(name))
            case "person" | "key" if name and _may_look_up(self._gate, actor):
                person_id = (await self._access.keys.get(name)).person_id if kind == "key" else None
                return await self._access.people.thing(person_id or (await self._access.people.named(name)).id)
        message = f"{asked.thing!r} names nothing that you may ask about."
        raise Misasked("bad_thing", message, f"Name {THINGS}.", param="thing")

    async def _workspace(self, about: Actor, name: str) -> Thing:
        """To who is no member it looks as if it were not there."""
        found = await self._access.workspaces.place(about, name)
        return Thing(place=found[0], member=True) if found is not None and found[1] else Thing()


def _may_look_up(gate: Gate, actor: Actor) -> bool:
    return gate.decide(actor, Action.PEOPLE_READ).allowed


def _action(text: str) -> Action:
    try:
        return Action(text)
    except ValueError:
        hint = f"Actions: {', '.join(Action)}."
        raise Misasked("bad_action", f"There is no action {text!r}.", hint, param="action") from None
