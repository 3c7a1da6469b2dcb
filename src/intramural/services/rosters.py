"""Taking in a list of people: read all of it, say what it would change, then change it a part at a time.

Nothing is changed where one line is wrong. What is changed is changed in parts of `AT_ONCE` steps, each part with its
events in one transaction: so others are answered in between, and whatever ends it early, every change that was made is
in the log; the same list again does the rest.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import groupby

from intramural.access import KEEP, Access, Action, Consents, Person, Thing
from intramural.access.external import Link, check_source, of_group
from intramural.access.oidc.claims import Arrival
from intramural.access.rosters import Choices, Plan, Reading, Roster, Step, planned, read
from intramural.access.rosters.plan import What
from intramural.audit import AuditLog, Event, Fact, Wanted
from intramural.core.actor import ROLES, Actor
from intramural.core.clock import Clock
from intramural.core.errors import Conflicting, Missing
from intramural.core.ids import new_id
from intramural.services.gate import Gate
from intramural.services.roster_runs import Run, runs
from intramural.storage import Connection

#: Steps in one transaction: about 30 ms, in which nobody else can write.
AT_ONCE = 200
#: Of those whom the list knew (or of the memberships it gave), more than this share is not taken away unasked.
MOST_TAKEN = 0.2
#: Entries of the log that are looked at for what was done before: some months of a nightly list.
_LOOKED_AT = 200
_EVENTS: Mapping[What, Event] = {
    "group.created": Event.GROUP_CREATED,
    "group.changed": Event.GROUP_CHANGED,
    "person.created": Event.PERSON_CREATED,
    "person.adopted": Event.PERSON_LINKED,
    "person.changed": Event.PERSON_CHANGED,
    "person.disabled": Event.PERSON_DISABLED,
    "identity.tied": Event.IDENTITY_TIED,
    "age.set": Event.AGE_SET,
    "member.joined": Event.GROUP_JOINED,
    "member.changed": Event.GROUP_JOINED,
    "member.left": Event.GROUP_LEFT,
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be done with a list. `source` is what it is called, `file` what its mistakes are told under; `roles`:
    what a role there is here; `adopt`: who has the name of somebody on the list is that person; `anyway`: however many
    would be taken away."""

    source: str = "roster"
    file: str = "the list"
    dry_run: bool = False
    disable_missing: bool = False
    adopt: bool = False
    anyway: bool = False
    roles: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Planned:
    """What would be changed. `warnings`: sentences; `too_many`: why it will not be done unless `anyway`."""

    roster: Roster
    plan: Plan
    warnings: Sequence[str]
    too_many: str | None


@dataclass(frozen=True, slots=True)
class Applied:
    """How far it has come."""

    done: int
    total: int


class Rosters:
    """Lists of people, taken in one at a time."""

    def __init__(
        self,
        gate: Gate,
        access: Access,
        consents: Consents,
        audit: AuditLog,
        clock: Clock,
        issuers: Mapping[str, str],
    ) -> None:
        """`issuers`: of the providers in sign-in.toml, by name."""
        self._gate = gate
        self._access = access
        self._consents = consents
        self._audit = audit
        self._clock = clock
        self._issuers = issuers
        self._busy = asyncio.Lock()
        self._now: Applied | None = None
        self._ending: asyncio.Future[int] | None = None  # the entry of the last end

    async def admit(self, actor: Actor) -> None:
        """Whether they may at all; before their list is received."""
        await self._gate.require(actor, Action.PEOPLE_IMPORT)

    async def before(self, actor: Actor) -> list[Run]:
        """What was done with lists, as the log has it, the newest first; of one that is under way how far it is."""
        await self._gate.require(actor, Action.PEOPLE_IMPORT)
        if self._ending is not None:
            await asyncio.wait([self._ending])  # a list that was just stopped is not one that the service broke off
        now = self._now
        found = await self._audit.search(Wanted(event="roster.*"), _LOOKED_AT)
        return runs(found.entries, None if now is None else now.done)

    async def take_in(self, actor: Actor, data: bytes, wish: Wish) -> AsyncGenerator[Planned | Applied, None]:
        """First what would be changed, then (unless it is a dry run) how far it has come.

        Raises Flawed(`roster_refused`) for a list with mistakes, Misasked(`bad_bundle`, `bad_source`, `empty_roster`),
        Conflicting(`roster_running`, `too_many_missing`, `first_person_must_administer`), and Conflicting where
        somebody changed the same meanwhile: then what was done stays, and the same list does the rest.
        """
        await self._gate.require(actor, Action.PEOPLE_IMPORT)
        if self._busy.locked():
            raise Conflicting("roster_running", "Another list is being taken in.", "Wait until that is done.")
        async with self._busy:
            found = await self._planned(data, wish)
            await self._gate.require(actor, Action.PEOPLE_IMPORT, thing=Thing(grants=await self._grants(found.plan)))
            if "age.set" in found.plan.counts:
                await self._gate.require(actor, Action.AGES_CHANGE)
            facts: dict[str, Fact] = {
                "source": wish.source,
                "digest": "sha256:" + hashlib.sha256(data).hexdigest(),
                "steps": {str(what): count for what, count in found.plan.counts.items()},
                "missing": len(found.plan.missing),
            }
            target = f"roster:{wish.source}"
            if wish.dry_run or (not found.plan.steps and found.too_many is None):
                await self._audit.record(Event.ROSTER_CHECKED, actor, target=target, facts=facts)
                yield found
                return
            if found.too_many is not None and not wish.anyway:
                hint = "Look at the file; if it is right, say so (`--yes`)."
                raise Conflicting("too_many_missing", found.too_many, hint)
            try:
                self._now = Applied(0, len(found.plan.steps))
                await self._audit.record(Event.ROSTER_BEGUN, actor, target=target, facts=facts)
                yield found
                async with aclosing(self._applied(actor, wish.source, found.plan.steps)) as parts:
                    async for applied in parts:
                        self._now = applied
                        yield applied
            finally:
                self._now = None

    async def _planned(self, data: bytes, wish: Wish) -> Planned:
        if await self._access.setup.needed():
            message = "The first person must be an administrator, made by hand."
            raise Conflicting("first_person_must_administer", message, "Set the service up first.")
        source = check_source(wish.source)
        today = datetime.fromtimestamp(self._clock.now_s(), UTC).date().isoformat()
        roster = await asyncio.to_thread(read, wish.file, data, Reading(wish.roles, today))
        here = await self._access.external.standing(source)
        choices = Choices(
            source=source,
            file="users.csv" if data.startswith(b"PK") else wish.file,
            disable_missing=wish.disable_missing,
            adopt=wish.adopt,
            issuers=self._issuers,
            roles={*(role for role in ROLES if role != "service"), *(r.name for r in await self._access.roles.list())},
        )
        plan = await asyncio.to_thread(planned, roster, here, choices, partial(new_id, clock=self._clock))
        return Planned(roster, plan, _warnings(roster, plan, wish), _too_many(plan, wish))

    async def _grants(self, plan: Plan) -> frozenset[str]:
        """What those may do whom the list makes or changes: nobody gets at more than they have by a list."""
        found: set[str] = set()
        for role in plan.roles:
            try:
                found |= await self._access.roles.grants(role)
            except Missing:
                continue  # a role that was taken away while somebody had it: grants nothing
        return frozenset(found)

    async def _applied(self, actor: Actor, source: str, steps: Sequence[Step]) -> AsyncGenerator[Applied, None]:
        done, outcome = 0, "failed"
        try:
            for start in range(0, len(steps), AT_ONCE):
                part = steps[start : start + AT_ONCE]
                async with self._audit.transaction() as (connection, record):
                    for what, same in groupby(part, lambda step: step.what):
                        await self._do(connection, source, what, list(same))
                    for step in part:
                        facts = {**step.facts, "source": source}
                        record(_EVENTS[step.what], actor, target=step.target, facts=facts)
                done += len(part)
                yield Applied(done, len(steps))
            outcome = "finished"
        except (asyncio.CancelledError, GeneratorExit):  # who asked for it has left
            outcome = "finished" if done == len(steps) else "cancelled"
            raise
        finally:
            facts = {"source": source, "done": done, "steps": len(steps), "outcome": outcome}
            self._ending = self._audit.record(Event.ROSTER_ENDED, actor, target=f"roster:{source}", facts=facts)
            await asyncio.shield(self._ending)  # who has left may not wait for it; it is written all the same

    async def _do(self, connection: Connection, source: str, what: What, steps: Sequence[Step]) -> None:
        groups = self._access.groups
        match what:
            case "group.created" | "group.changed":
                for step in steps:
                    await self._group(connection, source, step)
            case "person.created":
                await self._create(connection, source, steps)
            case "person.adopted":
                await self._access.external.link_all(connection, [_link(source, each, each.given) for each in steps])
            case "identity.tied":
                for step in steps:
                    await self._tie(connection, step)
            case "age.set":
                ages = {step.target.removeprefix("person:"): step.given["age"] for step in steps}
                await self._consents.set_ages(connection, ages)
                await self._access.external.say_ages(connection, source, ages)
            case "person.changed" | "person.disabled":
                for step in steps:
                    await self._change(connection, source, step)
            case "member.joined":
                rows = [(s.given["person_id"], s.given["group_id"], s.given["manager"]) for s in steps]
                await groups.put_all(connection, source, rows)
            case "member.changed":
                for step in steps:
                    await groups.put(connection, **step.given, source=source)
            case "member.left":
                await groups.take_back(connection, source, [(s.given["person_id"], s.given["group_id"]) for s in steps])

    async def _group(self, connection: Connection, source: str, step: Step) -> None:
        group_id, given = step.target.removeprefix("group:"), step.given
        if step.what == "group.created":
            external_id = of_group(source, given["external_id"])
            await self._access.groups.create(
                connection, given["name"], given["parent_id"], external_id, group_id=group_id, source=source
            )
            return
        parent_id = given["parent_id"] if "parent" in step.facts else KEEP
        await self._access.groups.change(connection, group_id, name=given["name"], parent_id=parent_id)

    async def _create(self, connection: Connection, source: str, steps: Iterable[Step]) -> None:
        now_ms = int(self._clock.now_s() * 1000)
        people, links = [], []
        for step in steps:
            person_id = step.target.removeprefix("person:")
            people.append(Person(person_id, step.given["username"], step.given["role"], now_ms, None))
            links.append(_link(source, step, {**step.given, "active": True}))
        await self._access.people.create_all(connection, people)
        await self._access.external.link_all(connection, links)

    async def _change(self, connection: Connection, source: str, step: Step) -> None:
        person_id, given = step.target.removeprefix("person:"), step.given
        if "username" in given:
            await self._access.people.rename(connection, person_id, given["username"])
        if "role" in given or "disabled" in given:
            await self._access.people.change(
                connection, person_id, role=given.get("role"), disabled=given.get("disabled")
            )
        if "said" in given:
            await self._access.external.change(connection, _link(source, step, given["said"]))

    async def _tie(self, connection: Connection, step: Step) -> None:
        arrival = Arrival(step.given["provider"], step.given["issuer"], step.given["subject"])
        await self._access.identities.tie(connection, arrival, step.target.removeprefix("person:"))


def _link(source: str, step: Step, said: Mapping[str, Fact]) -> Link:
    person_id = step.target.removeprefix("person:")
    return Link(source, person_id, str(said["external_id"]), str(said["role"]), bool(said["active"]))


def _warnings(roster: Roster, plan: Plan, wish: Wish) -> list[str]:
    found = []
    if plan.missing and not wish.disable_missing:
        count = len(plan.missing)
        found.append(f"{count} people are not on the list any more and stay as they are (`--disable-missing`).")
    if plan.unlisted_groups:
        found.append(f"{plan.unlisted_groups} groups of this list are not on it any more; they stay, without people.")
    for role, count in sorted(roster.left_out.items()):
        found.append(f"{count} people with the role {role!r} are left out (`--role {role}=member` takes them in).")
    return found


def _too_many(plan: Plan, wish: Wish) -> str | None:
    """Why it looks as if the list were not whole."""
    missing, known = len(plan.missing), plan.known
    if wish.disable_missing and missing > known * MOST_TAKEN:
        return f"{missing} of {known} people would be shut out ({missing / known:.0%})."
    left = plan.counts.get("member.left", 0)
    if left > plan.held * MOST_TAKEN:
        return f"{left} of {plan.held} memberships would end ({left / plan.held:.0%})."
    return None
