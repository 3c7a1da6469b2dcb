"""Ages and guardians' consents: who writes them down, for one person or for a whole class at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from intramural.access import (
    Action,
    AgeRules,
    Consent,
    Consents,
    Feature,
    Given,
    Groups,
    People,
    Sought,
    Thing,
    band_of,
)
from intramural.access.ages import check_age
from intramural.access.consents import missing
from intramural.access.people import fold
from intramural.audit import AuditLog, Event, Fact
from intramural.core.actor import Actor, Age
from intramural.core.errors import Misasked, Missing
from intramural.services.gate import Gate
from intramural.vault import Vault

#: People in one request: a large school's year.
MAX_PEOPLE = 2_000
_YEAR_MS = 365.2425 * 86_400_000


@dataclass(frozen=True, slots=True)
class Of:
    """One of many: a person, and what is particular about them. `age`, or a `birth_year`, of which the band is kept."""

    username: str
    age: str | None = None
    birth_year: int | None = None
    until_ms: int | None = None
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """How one person stands: their age, what needs consent at that age, what is consented to now. `shut_out`: they
    are not let in, whatever is consented to.
    """

    person_id: str
    username: str
    age: Age
    needed: frozenset[Feature]
    consents: frozenset[str]
    shut_out: bool = False

    @property
    def lacks(self) -> bool:
        """Whether a consent is missing without which they are refused something."""
        return not self.shut_out and not self.needed <= self.consents


@dataclass(frozen=True, slots=True)
class Sifted:
    """Which people are wanted: whose name holds `text`, of this band, in this group or within, and with `lacking` those
    alone who are let in and lack a consent that they need. At most `limit` (None: all), from the one after `after` on.
    """

    text: str = ""
    age: Age | None = None
    group_id: str | None = None
    lacking: bool = False
    after: str = ""
    limit: int | None = None


EVERYBODY = Sifted()


@dataclass(frozen=True, slots=True)
class StandingPage:
    """Some of the people wanted, by name. `total`: how many there are; `after`: where to go on, None at the end."""

    people: Sequence[Shown]
    total: int
    after: str | None


class ConsentDesk:
    """What administrators, and managers for the people of their groups, write down; and what people see of it."""

    def __init__(
        self,
        gate: Gate,
        consents: Consents,
        people: People,
        groups: Groups,
        rules: AgeRules,
        vault: Vault,
        audit: AuditLog,
    ) -> None:
        self._gate = gate
        self._consents = consents
        self._people = people
        self._groups = groups
        self._rules = rules
        self._vault = vault
        self._audit = audit

    # many at once

    async def listed(self, people: Sequence[Of], group_id: str | None) -> list[tuple[str, Of]]:
        """Identifiers of everybody that is meant: those named, and the pupils of a group and all within.

        Raises Missing(`person_not_found`, `group_not_found`), Misasked(`too_many_people`, `nobody_named`). Only for
        whoever has been let in: it tells who is there.
        """
        found: dict[str, Of] = {}
        by_name = await self._consents.named([fold(each.username) for each in people])
        for each in people:
            if (person_id := by_name.get(fold(each.username))) is None:
                message = f"There is nobody named {each.username!r:.80}; nothing was written down."
                raise Missing("person_not_found", message, "Mend the list and send it again as a whole.")
            found[person_id] = each
        if group_id is not None:
            await self._groups.get(group_id)
            for person_id in await self._consents.pupils(await self._groups.below([group_id])):
                found.setdefault(person_id, Of(""))
        if not found:
            raise Misasked("nobody_named", "Nobody is named.", "Name people, or a group that has members in it.")
        if len(found) > MAX_PEOPLE:
            message = f"{len(found)} people are named; at once it may be {MAX_PEOPLE}."
            raise Misasked("too_many_people", message, "Send them in parts.")
        return list(found.items())

    async def set_ages(self, actor: Actor, people: Sequence[Of], group_id: str | None, age: str | None) -> int:
        """Write down ages: of each their own, or `age`. How many changed; all, or nothing."""
        await self._let_in(actor, Action.AGES_CHANGE)
        meant = {person_id: self._age(each, age) for person_id, each in await self.listed(people, group_id)}
        await self._require(actor, Action.AGES_CHANGE, list(meant))
        async with self._audit.transaction() as (connection, record):
            before = await self._consents.set_ages(connection, meant)
            for person_id, band in meant.items():
                facts: dict[str, Fact] = {"age": band, "before": before.get(person_id, "unknown")}
                record(Event.AGE_SET, actor, target=f"person:{person_id}", facts=facts)
        return sum(before.get(person_id, "unknown") != band for person_id, band in meant.items())

    async def give(self, actor: Actor, people: Sequence[Of], group_id: str | None, given: Given) -> Sequence[Consent]:
        """Record consents: `given`, with what is particular of each person. All, or nothing."""
        await self._let_in(actor, Action.CONSENTS_CHANGE)
        meant = await self.listed(people, group_id)
        await self._require(actor, Action.CONSENTS_CHANGE, [person_id for person_id, _ in meant])
        for person_id, _ in meant:
            await self._vault.prepare(person_id)
        own = [(person_id, _particular(given, each)) for person_id, each in meant]
        async with self._audit.transaction() as (connection, record):
            done = await self._consents.give(connection, own, actor.person_id)
            for consent in done:
                record(Event.CONSENT_RECORDED, actor, target=f"person:{consent.person_id}", facts=_facts(consent))
        return done

    # one

    async def withdraw(self, actor: Actor, consent_id: str) -> Consent:
        """End a consent: what it allowed is refused from the next request on, and what runs ends within seconds."""
        person_id = await self._consents.owner(consent_id)
        thing = Thing() if person_id is None else await self._people.thing(person_id)
        await self._gate.require(actor, Action.CONSENTS_CHANGE, target=f"consent:{consent_id}", thing=thing)
        if person_id is None:
            raise missing()
        async with self._audit.transaction() as (connection, record):
            consent = await self._consents.withdraw(connection, consent_id, actor.person_id)
            record(Event.CONSENT_WITHDRAWN, actor, target=f"person:{person_id}", facts=_facts(consent))
        return consent

    async def of(self, actor: Actor, person_id: str) -> tuple[Age, Sequence[Consent]]:
        """Somebody's age and consents, with references. That somebody else was shown them is recorded."""
        own = person_id == actor.person_id
        try:
            thing = Thing(person_id) if own else await self._people.thing(person_id)
        except Missing:
            await self._gate.require(actor, Action.CONSENTS_READ, target=f"person:{person_id}")
            raise
        await self._gate.require(actor, Action.CONSENTS_READ, target=f"person:{person_id}", thing=thing)
        found = await self._consents.of(person_id)
        if not own:
            facts: dict[str, Fact] = {"consents": len(found)}
            await self._audit.record(Event.CONSENT_READ, actor, target=f"person:{person_id}", facts=facts)
        return await self._consents.age(person_id), found

    async def standing(self, actor: Actor, sifted: Sifted = EVERYBODY) -> StandingPage:
        """How those stand who are wanted, of everybody that `actor` may see: all, or the people of groups that they
        manage."""
        mine = Thing(groups=frozenset(actor.manages))
        decision = await self._gate.require(actor, Action.AGES_READ, thing=mine)
        people = (await self._people.page(Sought(sifted.text, "person"))).people
        if decision.rule == "manages":
            theirs = await self._groups.within(actor.manages)
            people = [each for each in people if each.id in theirs]
        if sifted.group_id is not None:
            # who is in a group that a manager does not manage is not theirs to find out
            seen = decision.rule != "manages" or sifted.group_id in await self._groups.below(actor.manages)
            there = await self._groups.within([sifted.group_id]) if seen else frozenset[str]()
            people = [each for each in people if each.id in there]
        ages, given = await self._consents.ages(), await self._consents.current()
        found = [
            Shown(
                each.id,
                each.username,
                age,
                self._rules.limits(age).consent,
                given.get(each.id, frozenset()),
                each.disabled_ms is not None,
            )
            for each in people
            for age in [ages.get(each.id, "unknown")]
        ]
        return sift(found, sifted)

    async def limits(self, actor: Actor) -> Mapping[str, Any]:
        """What `actor`'s age lets them do where they ask now: for the page."""
        await self._gate.require(actor, Action.ME_READ, owner_id=actor.person_id)
        limits = self._rules.limits(actor.standing.age, actor.place)
        return {
            "age": actor.standing.age,
            "off": sorted(limits.off),
            "needed": sorted(limits.consent),
            "consents": sorted(actor.standing.consents),
            "keep_days": limits.keep_days,
            "guard": limits.guard,
            "hours": None if limits.hours is None else limits.hours.text,
        }

    async def _let_in(self, actor: Actor, action: Action) -> None:
        """Raises Refused for who may do this to nobody at all, before anything is said of who is there."""
        await self._gate.require(actor, action, thing=Thing(groups=frozenset(actor.manages)))

    async def _require(self, actor: Actor, action: Action, person_ids: Sequence[str]) -> None:
        """Raises Refused for the first of them that `actor` may not do this to."""
        if self._gate.decide(actor, action).allowed:
            return
        for person_id in person_ids:
            thing = await self._people.thing(person_id)
            await self._gate.require(actor, action, target=f"person:{person_id}", thing=thing)

    def _age(self, each: Of, age: str | None) -> Age:
        if each.age is not None:
            return check_age(each.age)
        if each.birth_year is not None:
            return band_of(each.birth_year, 1970 + int(self._consents.now_ms() / _YEAR_MS))
        if age is None:
            raise Misasked("bad_age", f"There is no age for {each.username!r:.80}.", "Give a band or a birth year.")
        return check_age(age)


def sift(people: Sequence[Shown], sifted: Sifted) -> StandingPage:
    """Those of `people` who are wanted, besides by what is in their names. Pure."""
    wanted = [each for each in people if sifted.age in (None, each.age) and (each.lacks or not sifted.lacking)]
    by_name = sorted(wanted, key=lambda each: fold(each.username))
    later = [each for each in by_name if fold(each.username) > sifted.after]
    shown = later if sifted.limit is None else later[: sifted.limit]
    after = fold(shown[-1].username) if len(shown) < len(later) else None
    return StandingPage(shown, len(wanted), after)


def _particular(given: Given, each: Of) -> Given:
    """What is given, with what is particular of one person."""
    until_ms = given.until_ms if each.until_ms is None else each.until_ms
    return replace(given, until_ms=until_ms, reference=given.reference if each.reference is None else each.reference)


def _facts(consent: Consent) -> dict[str, Fact]:
    given = consent.given
    return {
        "consent": consent.id,
        "features": sorted(given.features),
        "given_by": given.given_by,
        "how": given.how,
        "given_ms": given.given_ms,
        "until_ms": given.until_ms,
    }
