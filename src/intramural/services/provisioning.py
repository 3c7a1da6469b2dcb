"""A directory elsewhere keeps the people here (SCIM): makes, changes and shuts them out, and says who is in its groups.

It sees the people whom it keeps, and whoever may no more than a member: those it may take over, and then keeps. Groups
it sees are its own. What people here did stays until the directory says something else: who was shut out here stays
out, who was put into a group by hand stays in it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from intramural.access import KEEP, Access, Action, Group, Member, Person, Thing
from intramural.access.external import Link, of_group
from intramural.access.people import NO_PASSWORD, check_username, fold
from intramural.access.roles import grants
from intramural.audit import AuditLog, Event, Fact
from intramural.audit.log import RecordInTransaction
from intramural.core.actor import Actor
from intramural.core.errors import Misasked, Missing
from intramural.services.gate import Gate
from intramural.storage import Connection, Database

MAX_MEMBERS_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """A person as the directory wants them to be. `about`: names and addresses, which it is told again."""

    username: str
    active: bool = True
    external_id: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Provided:
    """A person as the directory sees them, with its groups (identifier, name) that they are in."""

    person: Person
    link: Link | None
    groups: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ProvidedGroup:
    """A group of the directory's. `external_id` is what it calls it."""

    group: Group
    external_id: str | None
    members: Sequence[Member]


@dataclass(frozen=True, slots=True)
class Membership:
    """What becomes of a group's members: first `only` (None: whoever is in it), then more, then fewer."""

    only: frozenset[str] | None = None
    more: frozenset[str] = frozenset()
    fewer: frozenset[str] = frozenset()

    def of(self, members: Iterable[str]) -> frozenset[str]:
        """The people who are in it then."""
        return ((frozenset(members) if self.only is None else self.only) | self.more) - self.fewer


class Provisioning:
    """What the key of a directory opens."""

    def __init__(self, gate: Gate, db: Database, access: Access, audit: AuditLog) -> None:
        self._gate = gate
        self._db = db
        self._people = access.people
        self._groups = access.groups
        self._external = access.external
        self._audit = audit

    async def admit(self, actor: Actor) -> None:
        """Whether they may at all."""
        await self._gate.require(actor, Action.PEOPLE_PROVISION)

    # people

    async def users(self, actor: Actor, *, start: int, count: int) -> tuple[int, list[Provided]]:
        """How many people the directory keeps, and `count` of them from the one at `start` (0 is the first) on."""
        await self.admit(actor)
        source = _source(actor)
        async with self._db.reading() as connection:
            total, links = await self._external.links(connection, source, start=start, count=count)
            people = await self._people.all_of(connection, [each.person_id for each in links])
            found = [Provided(people[link.person_id], link) for link in links if link.person_id in people]
            return total, await self._with_groups(connection, source, found)

    async def users_called(
        self, actor: Actor, *, username: str | None = None, external_id: str | None = None, person_id: str | None = None
    ) -> list[Provided]:
        """The one person who is called so by every name that is given, or nobody."""
        await self.admit(actor)
        source = _source(actor)
        async with self._db.reading() as connection:
            ids: set[str] = set()
            if username is not None:
                person = await self._people.called(connection, username)
                ids.add("" if person is None else person.id)
            if external_id is not None:
                ids.add(await self._external.owner(connection, source, external_id) or "")
            if person_id is not None:
                ids.add(person_id)
            if len(ids) != 1:
                return []
            try:
                found = await self._seen(connection, actor, ids.pop())
            except Missing:
                return []
            return await self._with_groups(connection, source, [found])

    async def user(self, actor: Actor, person_id: str) -> Provided:
        """Raises Missing(`person_not_found`)."""
        await self.admit(actor)
        async with self._db.reading() as connection:
            return await self._whole(connection, actor, person_id)

    async def add_user(self, actor: Actor, wanted: Wanted) -> Provided:
        """A new person, a member without a password; or one whom the directory had removed, who comes back.

        Raises Misasked(`bad_username`), Conflicting(`username_taken`, `external_id_taken`).
        """
        await self.admit(actor)
        source = _source(actor)
        async with self._audit.transaction() as (connection, record):
            there = await self._people.called(connection, check_username(wanted.username))
            known = None if there is None else await self._external.link(connection, source, there.id)
            if there is not None and known is not None and known.gone:
                await self._set(connection, record, actor, Provided(there, known), wanted)
                return await self._whole(connection, actor, there.id)
            person = await self._people.create(connection, wanted.username, NO_PASSWORD, "member")
            link = Link(source, person.id, wanted.external_id, "member", wanted.active, wanted.about)
            await self._external.link_all(connection, [link])
            facts: dict[str, Fact] = {"role": "member", "kind": "person", "source": source}
            record(Event.PERSON_CREATED, actor, target=f"person:{person.id}", facts=facts)
            if not wanted.active:
                await self._people.change(connection, person.id, disabled=True)
                facts = {"role": None, "disabled": True, "source": source}
                record(Event.PERSON_DISABLED, actor, target=f"person:{person.id}", facts=facts)
            return await self._whole(connection, actor, person.id)

    async def set_user(self, actor: Actor, person_id: str, wanted: Wanted) -> Provided:
        """The person as the directory wants them. Whoever is shut out has no session, no key that opens anything, and
        what runs for them ends within seconds.

        Raises Missing(`person_not_found`), Misasked(`bad_username`), Conflicting(`username_taken`,
        `external_id_taken`, `last_administrator`).
        """
        await self.admit(actor)
        async with self._db.reading() as connection:
            found = await self._whole(connection, actor, person_id)
        if not _differs(found, wanted):
            return found
        async with self._audit.transaction() as (connection, record):
            await self._set(connection, record, actor, await self._seen(connection, actor, person_id), wanted)
            return await self._whole(connection, actor, person_id)

    async def remove_user(self, actor: Actor, person_id: str) -> None:
        """Shut a person out whom the directory does not have any more. Nothing of theirs is erased: that is for people
        to decide. Raises Missing(`person_not_found`), Conflicting(`last_administrator`).
        """
        await self.admit(actor)
        source = _source(actor)
        async with self._audit.transaction() as (connection, record):
            found = await self._seen(connection, actor, person_id)
            await self._people.change(connection, person_id, disabled=True)
            link = found.link or Link(source, person_id, None, found.person.role, False)
            gone = replace(link, external_id=None, active=False, about={}, gone=True)
            await (self._external.link_all(connection, [gone]) if found.link is None
                   else self._external.change(connection, gone))  # fmt: skip
            facts: dict[str, Fact] = {"role": None, "disabled": True, "source": source, "gone": True}
            record(Event.PERSON_DISABLED, actor, target=f"person:{person_id}", facts=facts)

    async def _set(
        self, connection: Connection, record: RecordInTransaction, actor: Actor, found: Provided, wanted: Wanted
    ) -> None:
        person, before, source = found.person, found.link, _source(actor)
        target = f"person:{person.id}"
        known = before is not None and not before.gone
        if not known:
            record(Event.PERSON_LINKED, actor, target=target, facts={"source": source})
        facts: dict[str, Fact] = {"role": None, "disabled": None, "source": source}
        if check_username(wanted.username) != person.username:
            await self._people.rename(connection, person.id, wanted.username)
            facts["renamed"] = True
        # what was said the last time; of whom it takes over, how they are
        said = before.active if before is not None else person.disabled_ms is None
        if wanted.active != said and wanted.active == (person.disabled_ms is not None):
            await self._people.change(connection, person.id, disabled=not wanted.active)
            facts["disabled"] = not wanted.active
        link = Link(source, person.id, wanted.external_id, person.role, wanted.active, wanted.about)
        if before is None:
            await self._external.link_all(connection, [link])
        else:
            link = replace(link, role=before.role)
            await self._external.change(connection, link)
        event = Event.PERSON_DISABLED if facts["disabled"] is not None else Event.PERSON_CHANGED
        record(event, actor, target=target, facts=facts)

    # groups

    async def groups(
        self,
        actor: Actor,
        *,
        name: str | None = None,
        external_id: str | None = None,
        group_id: str | None = None,
        start: int,
        count: int,
        with_members: bool,
    ) -> tuple[int, list[ProvidedGroup]]:
        """How many of the directory's groups are called so, and `count` of them from the one at `start` on."""
        await self.admit(actor)
        source = _source(actor)
        external = None if external_id is None else of_group(source, external_id)
        async with self._db.reading() as connection:
            total, groups = await self._groups.of_source(
                connection, source, name=name, external_id=external, group_id=group_id, start=start, count=count
            )
            wanted = [each.id for each in groups] if with_members else []
            members = await self._groups.members_of(connection, wanted)
        return total, [_provided(source, each, members) for each in groups]

    async def group(self, actor: Actor, group_id: str) -> ProvidedGroup:
        """Raises Missing(`group_not_found`)."""
        await self.admit(actor)
        async with self._db.reading() as connection:
            return await self._whole_group(connection, actor, group_id)

    async def add_group(
        self, actor: Actor, name: str, external_id: str | None, members: Collection[str]
    ) -> ProvidedGroup:
        """Raises Misasked(`bad_group_name`, `no_such_member`), Conflicting(`external_id_taken`)."""
        await self.admit(actor)
        source = _source(actor)
        async with self._audit.transaction() as (connection, record):
            external = None if external_id is None else of_group(source, external_id)
            group = await self._groups.create(connection, name, None, external, source=source)
            facts: dict[str, Fact] = {"parent": None, "source": source}
            record(Event.GROUP_CREATED, actor, target=f"group:{group.id}", facts=facts)
            await self._members(connection, record, actor, group.id, Membership(frozenset(members)))
            return await self._whole_group(connection, actor, group.id)

    async def set_group(
        self, actor: Actor, group_id: str, name: str, external_id: str | None, members: Membership
    ) -> ProvidedGroup:
        """Name, identifier there and members as the directory wants them. Raises as `add_group`, and Missing."""
        await self.admit(actor)
        source = _source(actor)
        async with self._db.reading() as connection:
            found = await self._whole_group(connection, actor, group_id)
        renamed = (found.group.name, found.external_id) != (name, external_id)
        there = frozenset(each.person_id for each in found.members)
        by_hand = frozenset(each.person_id for each in found.members if each.source != source)
        if not renamed and members.of(there) | by_hand == there:
            return found
        async with self._audit.transaction() as (connection, record):
            if renamed:
                external = None if external_id is None else of_group(source, external_id)
                await self._groups.change(connection, group_id, name=name, parent_id=KEEP, external_id=external)
                record(Event.GROUP_CHANGED, actor, target=f"group:{group_id}", facts={"source": source})
            changed = await self._members(connection, record, actor, group_id, members)
            if not renamed and not changed:  # another request has done it in this moment
                record(Event.GROUP_CHANGED, actor, target=f"group:{group_id}", facts={"source": source})
            return await self._whole_group(connection, actor, group_id)

    async def remove_group(self, actor: Actor, group_id: str) -> None:
        """Raises Missing(`group_not_found`), Conflicting(`group_not_empty`)."""
        await self.admit(actor)
        source = _source(actor)
        async with self._audit.transaction() as (connection, record):
            await self._groups.kept(connection, source, group_id)
            await self._groups.remove(connection, group_id)
            record(Event.GROUP_REMOVED, actor, target=f"group:{group_id}", facts={"source": source})

    async def _members(
        self, connection: Connection, record: RecordInTransaction, actor: Actor, group_id: str, wanted: Membership
    ) -> int:
        """How many came and went."""
        source, target = _source(actor), f"group:{group_id}"
        there = {each.person_id: each.source for each in await self._groups.members_of(connection, [group_id])}
        then = wanted.of(there)
        joining = sorted(then - there.keys())
        leaving = sorted(each for each, given_by in there.items() if given_by == source and each not in then)
        if len(joining) > MAX_MEMBERS_AT_ONCE:
            message = f"At most {MAX_MEMBERS_AT_ONCE} people can be put into a group at once."
            raise Misasked("bad_parameter", message, "Send them in parts.", param="members")
        await self._check_members(connection, actor, joining)
        if joining:
            await self._groups.put_all(connection, source, [(each, group_id, False) for each in joining])
        if leaving:
            await self._groups.take_back(connection, source, [(each, group_id) for each in leaving])
        for each in joining:
            facts: dict[str, Fact] = {"person": each, "manager": False, "source": source}
            record(Event.GROUP_JOINED, actor, target=target, facts=facts)
        for each in leaving:
            record(Event.GROUP_LEFT, actor, target=target, facts={"person": each, "source": source})
        return len(joining) + len(leaving)

    async def _check_members(self, connection: Connection, actor: Actor, person_ids: Sequence[str]) -> None:
        people = await self._people.all_of(connection, person_ids)
        for each in person_ids:
            try:
                if each not in people:
                    raise Missing("person_not_found", "There is no such person.", "")
                await self._seen(connection, actor, each)
            except Missing:
                message = f"There is no user {each[:60]!r} to be a member."
                raise Misasked("no_such_member", message, "Make them first.", param="members") from None

    # what the directory sees

    async def _seen(self, connection: Connection, actor: Actor, person_id: str) -> Provided:
        """A person as far as the directory may know of them. Raises Missing(`person_not_found`)."""
        person = await self._people.arrived(connection, person_id)
        link = await self._external.link(connection, _source(actor), person_id)
        theirs = frozenset() if link is not None else await grants(connection, person.role)
        decision = self._gate.decide(actor, Action.PEOPLE_PROVISION, Thing(grants=theirs))
        if person.kind != "person" or (link is not None and link.gone) or not decision.allowed:
            raise Missing("person_not_found", "There is no such person.", "List the people to see who is there.")
        return Provided(person, link)

    async def _whole(self, connection: Connection, actor: Actor, person_id: str) -> Provided:
        found = await self._with_groups(connection, _source(actor), [await self._seen(connection, actor, person_id)])
        return found[0]

    async def _with_groups(self, connection: Connection, source: str, found: Sequence[Provided]) -> list[Provided]:
        groups: dict[str, list[tuple[str, str]]] = {}
        ids = [each.person.id for each in found]
        for person_id, group_id, name in await self._groups.named_of(connection, source, ids):
            groups.setdefault(person_id, []).append((group_id, name))
        return [replace(each, groups=tuple(groups.get(each.person.id, ()))) for each in found]

    async def _whole_group(self, connection: Connection, actor: Actor, group_id: str) -> ProvidedGroup:
        source = _source(actor)
        group = await self._groups.kept(connection, source, group_id)
        return _provided(source, group, await self._groups.members_of(connection, [group_id]))


def _source(actor: Actor) -> str:
    """The directory whose key this is: it is known by its service account's name, whatever key that has today."""
    return f"scim:{fold(actor.username)}"


def _provided(source: str, group: Group, members: Iterable[Member]) -> ProvidedGroup:
    external_id = None if group.external_id is None else group.external_id.removeprefix(f"{source}/")
    return ProvidedGroup(group, external_id, [each for each in members if each.group_id == group.id])


def _differs(found: Provided, wanted: Wanted) -> bool:
    """Whether anything is to be done, or remembered."""
    link = found.link
    if link is None or check_username(wanted.username) != found.person.username:
        return True
    said = (link.active, link.external_id, dict(link.about))
    return said != (wanted.active, wanted.external_id, dict(wanted.about))
