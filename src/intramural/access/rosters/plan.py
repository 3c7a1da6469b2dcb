"""What a list would change here. Pure: a roster and what is here → steps, each with what is to be written down of it.

What people here changed since the list last said something stays, until it says something else: a role or an age that
was given here, somebody who was shut out here. Whoever is in a group by hand stays there.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from intramural.access.people import fold
from intramural.access.rosters.roster import Listed, Problems, Roster
from intramural.core.actor import Age

What = Literal[
    "group.created", "group.changed", "person.created", "person.adopted", "person.changed", "person.disabled",
    "member.joined", "member.changed", "member.left", "identity.tied", "age.set",
]  # fmt: skip
#: In this order, so that whatever a step needs is there.
ORDER: tuple[What, ...] = (
    "group.created", "group.changed", "person.created", "person.adopted", "identity.tied", "age.set",
    "person.changed", "person.disabled", "member.joined", "member.changed", "member.left",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Known:
    """Somebody who is here."""

    id: str
    username: str
    role: str
    disabled: bool
    kind: str


@dataclass(frozen=True, slots=True)
class Link:
    """Who somebody on the list is here, and what the list said of them the last time (`age` None: nothing yet)."""

    person_id: str
    role: str
    active: bool
    age: Age | None = None


@dataclass(frozen=True, slots=True)
class KnownGroup:
    """A group that the list keeps."""

    id: str
    name: str
    parent_id: str | None


@dataclass(frozen=True, slots=True)
class Standing:
    """What is here. `links` and `groups`: by the list's identifiers; `members`: person and group, by ours → whether
    they manage it, and who put them there; `identities`: issuer and subject → person; `ages`: of people, by our
    identifiers, where one is known."""

    people: Mapping[str, Known]
    links: Mapping[str, Link]
    groups: Mapping[str, KnownGroup]
    members: Mapping[tuple[str, str], tuple[bool, str | None]]
    identities: Mapping[tuple[str, str], str]
    ages: Mapping[str, Age] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choices:
    """What the administrator said. `issuers`: of the providers that a list may name; `roles`: all that people have."""

    source: str
    file: str
    disable_missing: bool = False
    adopt: bool = False
    issuers: Mapping[str, str] = field(default_factory=dict)
    roles: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One change: `target` is what it is of (`person:…`, `group:…`), `name` what people call that, `line` where the
    list says so (0: by its silence). `given`: what is done, `facts`: what is written down of it."""

    what: What
    target: str
    name: str
    line: int
    given: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """`steps` in an order in which they can be done. `missing`: who is known by the list and not on it any more;
    `known`: how many it knew; `roles`: of everybody that is acted upon, or given; `held`: how many memberships of those
    on the list it had given; `unlisted_groups`: how many of its groups it does not name any more."""

    steps: tuple[Step, ...]
    missing: tuple[Known, ...]
    known: int
    held: int
    unlisted_groups: int
    roles: frozenset[str]
    counts: Mapping[What, int]

    def told(self, most: int) -> list[Step]:
        """Steps to show: the first of each kind."""
        found: list[Step] = []
        at = 0
        for count in self.counts.values():  # they lie in the order of the kinds
            found += self.steps[at : at + min(count, most)]
            at += count
        return found


def planned(roster: Roster, here: Standing, choices: Choices, new_id: Callable[[str], str]) -> Plan:
    """The steps from `here` to what `roster` says. `new_id` makes identifiers (`person`, `group`).

    Raises Flawed(`roster_refused`) where a line clashes with who is here.
    """
    planner = _Planner(roster, here, choices, new_id)
    planner.groups()
    planner.people()
    planner.members()
    planner.missing()
    planner.keep_an_administrator()
    planner.problems.refuse()
    return planner.plan()


class _Planner:
    def __init__(self, roster: Roster, here: Standing, choices: Choices, new_id: Callable[[str], str]) -> None:
        self._roster = roster
        self._here = here
        self._choices = choices
        self._new_id = new_id
        self.problems = Problems()
        self._steps: dict[What, list[Step]] = {what: [] for what in ORDER}
        self._group_ids: dict[str, str] = {}
        self._person_ids: dict[str, str] = {}
        self._by_name = {fold(each.username): each.id for each in here.people.values()}
        self._linked = {link.person_id: external_id for external_id, link in here.links.items()}
        self._missing: list[Known] = []
        self._roles: set[str] = set()
        self._held = 0

    # groups

    def groups(self) -> None:
        for external_id in self._roster.groups:
            self._group(external_id)

    def _group(self, external_id: str) -> str:
        """Our identifier of a listed group, and the steps that make it so: those around it first."""
        if external_id in self._group_ids:
            return self._group_ids[external_id]
        listed = self._roster.groups[external_id]
        parent_id = None if listed.within is None else self._group(listed.within)
        known = self._here.groups.get(external_id)
        group_id = self._new_id("group") if known is None else known.id
        self._group_ids[external_id] = group_id
        given = {"name": listed.name, "parent_id": parent_id, "external_id": external_id}
        step = Step("group.created", f"group:{group_id}", listed.name, listed.line, given, {"parent": parent_id})
        if known is None:
            self._steps["group.created"].append(step)
        elif (known.name, known.parent_id) != (listed.name, parent_id):
            moved = {"parent": parent_id} if known.parent_id != parent_id else {}
            changed = Step("group.changed", step.target, listed.name, listed.line, given, moved)
            self._steps["group.changed"].append(changed)
        return group_id

    # people

    def people(self) -> None:
        for listed in self._roster.people.values():
            if listed.role not in self._choices.roles:
                self._wrong(listed, "unknown_role", f"There is no role {listed.role!r} for people here.")
                continue
            link = self._here.links.get(listed.external_id)
            if link is not None and link.person_id in self._here.people:
                self._linked_person(listed, link, self._here.people[link.person_id])
            else:
                self._new_person(listed)

    def _new_person(self, listed: Listed) -> None:
        there = self._by_name.get(fold(listed.username))
        if there is not None:
            self._adopted(listed, self._here.people[there])
        elif listed.active:
            person_id = self._new_id("person")
            given = {"username": listed.username, "role": listed.role, "external_id": listed.external_id}
            facts = {"role": listed.role, "kind": "person"}
            self._step("person.created", person_id, listed, given, facts)
            self._is_here(listed, person_id)

    def _adopted(self, listed: Listed, person: Known) -> None:
        if person.kind != "person" or person.id in self._linked:
            why = "a service account" if person.kind != "person" else f"{self._linked[person.id]!r} on this list"
            self._wrong(listed, "username_taken", f"{listed.username!r} is {why}.")
        elif not self._choices.adopt:
            message = f"There is somebody named {listed.username!r} here; if they are the same, say so (`adopt`)."
            self._wrong(listed, "username_taken", message)
        else:
            given = {"role": listed.role, "active": listed.active, "external_id": listed.external_id}
            self._roles.add(person.role)
            self._step("person.adopted", person.id, listed, given, {})
            self._is_here(listed, person.id)
            if not listed.active and not person.disabled:
                self._step("person.disabled", person.id, listed, {"disabled": True}, {"role": None, "disabled": True})

    def _linked_person(self, listed: Listed, link: Link, person: Known) -> None:
        changes: dict[str, Any] = {}
        if listed.username != person.username:
            if self._by_name.get(fold(listed.username), person.id) != person.id:
                self._wrong(listed, "username_taken", f"There is somebody named {listed.username!r} here already.")
            changes["username"] = listed.username
        if listed.role != link.role and person.role == link.role:
            changes["role"] = listed.role
            self._roles.add(listed.role)
        if listed.active != link.active and listed.active == person.disabled:
            changes["disabled"] = not listed.active
        self._is_here(listed, person.id)
        if changes or (listed.role, listed.active) != (link.role, link.active):
            self._roles.add(person.role)
            said = {"role": listed.role, "active": listed.active, "external_id": listed.external_id}
            facts = {"role": changes.get("role"), "disabled": changes.get("disabled")}
            if "username" in changes:
                facts["renamed"] = True
            what: What = "person.disabled" if changes.get("disabled") else "person.changed"
            self._step(what, person.id, listed, {"said": said, **changes}, facts)

    def _is_here(self, listed: Listed, person_id: str) -> None:
        self._person_ids[listed.external_id] = person_id
        self._roles.add(listed.role)
        self._aged(listed, person_id)
        if listed.identity is None:
            return
        provider, subject = listed.identity
        issuer = self._choices.issuers.get(provider)
        if issuer is None:
            self._wrong(listed, "unknown_provider", f"sign-in.toml names no provider {provider!r}.")
            return
        owner = self._here.identities.get((issuer, subject))
        if owner is None:
            given = {"issuer": issuer, "provider": provider, "subject": subject}
            self._step("identity.tied", person_id, listed, given, {"provider": provider, "invited": False})
        elif owner != person_id:
            self._wrong(listed, "identity_taken", "This account at the provider is another person's here.")

    def _aged(self, listed: Listed, person_id: str) -> None:
        """As with roles: the list's word counts when it is another than the last time."""
        link = self._here.links.get(listed.external_id)
        said = link.age if link is not None and link.person_id == person_id else None
        before = self._here.ages.get(person_id, "unknown")
        if listed.age is None or listed.age == said or (said is None and listed.age == before == "unknown"):
            return
        if (person := self._here.people.get(person_id)) is not None:
            self._roles.add(person.role)
        facts = {"age": listed.age, "before": before}
        self._step("age.set", person_id, listed, {"age": listed.age}, facts)

    # memberships

    def members(self) -> None:
        source = self._choices.source
        wanted: set[tuple[str, str]] = set()
        for (external_id, group), manager in self._roster.members.items():
            person_id = self._person_ids.get(external_id)
            if person_id is None:
                continue
            key = person_id, self._group_ids[group]
            wanted.add(key)
            held = self._here.members.get(key)
            if held is None:
                self._member("member.joined", key, external_id, group, manager)
            elif held[1] == source and held[0] != manager:
                self._member("member.changed", key, external_id, group, manager)
        by_id = {person_id: external_id for external_id, person_id in self._person_ids.items()}
        for key, (manager, given_by) in self._here.members.items():
            if given_by == source and key[0] in by_id:
                self._held += 1
                if key not in wanted:
                    self._member("member.left", key, by_id[key[0]], "", manager)

    def _member(self, what: What, key: tuple[str, str], external_id: str, group: str, manager: bool) -> None:
        listed = self._roster.people[external_id]
        person_id, group_id = key
        name = f"{listed.username} in {self._roster.groups[group].name}" if group else listed.username
        facts = {"person": person_id} if what == "member.left" else {"person": person_id, "manager": manager}
        given = {"person_id": person_id, "group_id": group_id, "manager": manager}
        self._steps[what].append(Step(what, f"group:{group_id}", name, listed.line, given, facts))

    # those who are not there any more

    def missing(self) -> None:
        for external_id, link in self._here.links.items():
            person = self._here.people.get(link.person_id)
            if person is None or external_id in self._roster.people or not link.active:
                continue
            self._missing.append(person)
            if self._choices.disable_missing:
                self._roles.add(person.role)
                said = {"role": link.role, "active": False, "external_id": external_id}
                given = {"said": said} if person.disabled else {"said": said, "disabled": True}
                facts = {"role": None, "disabled": True, "missing": True}
                step = Step("person.disabled", f"person:{person.id}", person.username, 0, given, facts)
                self._steps["person.disabled"].append(step)

    def keep_an_administrator(self) -> None:
        """Somebody must be left who can mend what a list did."""
        left = {each.id for each in self._here.people.values() if each.role == "administrator" and not each.disabled}
        for step in (*self._steps["person.changed"], *self._steps["person.disabled"]):
            person_id = step.target.removeprefix("person:")
            if person_id in left and (step.given.get("disabled") or "role" in step.given):
                left.discard(person_id)
                if not left:
                    message = f"{step.name!r} is the last enabled administrator and has to stay one."
                    self.problems.add(self._choices.file, step.line, "last_administrator", message)

    def plan(self) -> Plan:
        steps = tuple(step for what in ORDER for step in self._steps[what])
        known = sum(link.active for link in self._here.links.values())
        unlisted = len(self._here.groups.keys() - self._roster.groups.keys())
        counts = {what: len(self._steps[what]) for what in ORDER if self._steps[what]}
        return Plan(steps, tuple(self._missing), known, self._held, unlisted, frozenset(self._roles), counts)

    def _step(
        self, what: What, person_id: str, listed: Listed, given: Mapping[str, Any], facts: Mapping[str, Any]
    ) -> None:
        self._steps[what].append(Step(what, f"person:{person_id}", listed.username, listed.line, given, facts))

    def _wrong(self, listed: Listed, code: str, message: str) -> None:
        self.problems.add(self._choices.file, listed.line, code, message)
