"""Signing in by the word of somebody else: who may come in so, as whom, and what is written down."""

from collections.abc import Sequence
from dataclasses import dataclass

from intramural.access import Action, Identities, Identity, People, Person, Proven, Sessions, Setup
from intramural.access.oidc import Arrival, Flow, Going, Provider
from intramural.access.oidc.flow import Came, must_be_set_up
from intramural.access.oidc.refusal import TokenRefused
from intramural.access.people import NO_PASSWORD
from intramural.access.throttle import SlidingWindow
from intramural.audit import AuditLog, Event, Fact
from intramural.audit.log import RecordInTransaction
from intramural.core.actor import SYSTEM, Actor
from intramural.core.clock import Clock
from intramural.core.errors import Conflicting, IntramuralError, Misasked, Missing, Refused, Unauthenticated
from intramural.core.providers import Join
from intramural.services.belonging import Belonging
from intramural.services.gate import Gate
from intramural.services.seating import Seat, Seating
from intramural.storage import Connection

#: Answers that nobody here began are written down this often a minute: a stranger can send any number.
_LOST_A_MINUTE = 60


@dataclass(frozen=True, slots=True)
class Invitation:
    """The secret of a link by which somebody becomes a person here, and when it ends."""

    token: str
    expires_ms: int


class Federation:
    """OpenID providers, and the people whom they vouch for."""

    def __init__(
        self,
        gate: Gate,
        people: People,
        identities: Identities,
        sessions: Sessions,
        setup: Setup,
        seating: Seating,
        belonging: Belonging,
        audit: AuditLog,
        flow: Flow,
        providers: Sequence[Provider],
        clock: Clock,
    ) -> None:
        self._gate = gate
        self._people = people
        self._identities = identities
        self._sessions = sessions
        self._setup = setup
        self._seating = seating
        self._belonging = belonging
        self._audit = audit
        self._flow = flow
        self._providers = {each.settings.name: each for each in providers}
        self._clock = clock
        self._lost = SlidingWindow(_LOST_A_MINUTE, 60.0)

    def listed(self) -> list[tuple[str, str]]:
        """Name and title of every provider."""
        return [(name, each.settings.title) for name, each in self._providers.items()]

    async def begin(self, name: str, redirect_uri: str, invitation: str) -> Going:
        """Where to send somebody who wants to sign in at this provider.

        Raises Missing(`provider_not_found`), Refused(`not_set_up`) and what asking the provider raises.
        """
        if await self._setup.needed():
            raise must_be_set_up()
        if len(invitation) > 100:
            raise Misasked("bad_parameter", "That is no invitation.", "Copy the link again.", param="invitation")
        return await self._flow.begin(self._provider(name), redirect_uri, invitation)

    async def end(self, name: str, came: Came, user_agent: str) -> Seat:
        """Open a session for whom the provider's answer is about. Every refusal is recorded, once.

        Raises what `Flow.end` does, Unauthenticated(`disabled_person`, `invitation_invalid`),
        Refused(`not_invited`), Conflicting(`identity_taken`).
        """
        provider = self._provider(name)
        try:
            arrival, invitation = await self._flow.end(provider, came)
            async with self._audit.transaction() as (connection, record):
                person = await self.let_in(connection, record, arrival, provider.settings.join, invitation)
                proven = Proven(
                    person,
                    None,
                    method="oidc",
                    issuer=arrival.issuer,
                    issuer_session=arrival.session or None,
                    strong=arrival.strong,
                    passkey=arrival.phishing_resistant,
                )
                return await self._seating.open(connection, record, proven, user_agent, {"provider": name})
        except IntramuralError as error:
            await self._record_failure(name, error)
            raise

    async def left(self, name: str, token: str) -> None:
        """End the sessions of whom the provider says signed out there. Raises as `Flow.left`."""
        provider = self._provider(name)
        try:
            subject, theirs = await self._flow.left(provider, token)
        except IntramuralError as error:
            await self._record_failure(name, error)
            raise
        issuer = provider.settings.issuer
        async with self._audit.transaction() as (connection, record):
            person_id = None if subject is None else await self._identities.owner(connection, issuer, subject)
            here = subject is None or person_id is not None  # else somebody there who never came here
            count = await self._sessions.close_those_of(connection, issuer, person_id, theirs) if here else 0
            target = "person:unknown" if person_id is None else f"person:{person_id}"
            record(Event.LOGOUT_ELSEWHERE, SYSTEM, target=target, facts={"provider": name, "sessions": count})

    async def invite(self, actor: Actor, person_id: str) -> Invitation:
        """A link's secret for this person: whoever signs in at a provider with it becomes them. For a week, once."""
        thing = await self._people.acted_upon(person_id)
        await self._gate.require(actor, Action.PEOPLE_CHANGE, target=f"person:{person_id}", thing=thing)
        if not self._providers:
            message = "There is nobody to sign in with: sign-in.toml names no provider."
            raise Conflicting("no_providers", message, "Give the person a password, or name a provider.")
        async with self._audit.transaction() as (connection, record):
            await self._people.arrived(connection, person_id)
            token, ends_ms = await self._identities.invite(connection, person_id)
            record(Event.PERSON_INVITED, actor, target=f"person:{person_id}", facts={"expires_ms": ends_ms})
        return Invitation(token, ends_ms)

    async def identities(self, actor: Actor, person_id: str) -> list[Identity]:
        """Where this person has accounts by which they sign in here."""
        if person_id != actor.person_id:
            await self._gate.require(actor, Action.PEOPLE_READ, target=f"person:{person_id}")
        return await self._identities.of(person_id)

    async def untie(self, actor: Actor, person_id: str, name: str) -> None:
        """Take a person's account at this provider away, with the sessions that rest on it.

        Raises Missing(`identity_not_found`).
        """
        thing = await self._people.acted_upon(person_id)
        await self._gate.require(actor, Action.PEOPLE_CHANGE, target=f"person:{person_id}", thing=thing)
        found = [each for each in await self._identities.of(person_id) if each.provider == name]
        async with self._audit.transaction() as (connection, record):
            if not found or not await self._identities.untie(connection, person_id, name):
                message = "This person has no account at that provider."
                raise Missing("identity_not_found", message, "See the person's list.")
            for each in found:
                await self._sessions.close_those_of(connection, each.issuer, person_id, None)
            record(Event.IDENTITY_UNTIED, actor, target=f"person:{person_id}", facts={"provider": name})

    def _provider(self, name: str) -> Provider:
        if name not in self._providers:
            raise Missing("provider_not_found", "There is no such provider.", "See sign-in.toml.")
        return self._providers[name]

    async def let_in(
        self, connection: Connection, record: RecordInTransaction, arrival: Arrival, join: Join, invitation: str
    ) -> Person:
        """Whom `arrival` is here, made or tied where that is allowed; their role and groups as the provider has them.

        Raises Refused(`not_invited`), Unauthenticated(`disabled_person`, `invitation_invalid`),
        Conflicting(`identity_taken`).
        """
        owner = await self._identities.owner(connection, arrival.issuer, arrival.subject)
        if owner is None and not invitation:
            owner = await self._belonging.known(connection, record, arrival)
        if invitation:
            person = await self._invited(connection, record, arrival, owner, invitation)
        elif owner is not None:
            await self._identities.saw(connection, arrival)
            person = await self._people.arrived(connection, owner)
        elif join == "anyone":
            person = await self._join(connection, record, arrival)
        else:
            message = "You are known there, but nobody has invited you here."
            raise Refused("not_invited", message, "Ask an administrator for an invitation, and begin with its link.")
        if person.disabled_ms is not None:
            raise Unauthenticated("disabled_person", "You are not let in any more.", "Ask an administrator.")
        person = await self._with_role(connection, record, arrival, person)
        await self._belonging.apply(connection, record, arrival, person.id)
        return person

    async def _invited(
        self, connection: Connection, record: RecordInTransaction, arrival: Arrival, owner: str | None, invitation: str
    ) -> Person:
        person = await self._people.arrived(connection, await self._identities.accept(connection, invitation))
        if owner is not None and owner != person.id:
            message = "The account with which you signed in there is another person's here."
            raise Conflicting("identity_taken", message, "Sign out there, and in with your own.")
        if owner is None:
            await self._identities.tie(connection, arrival, person.id)
            facts: dict[str, Fact] = {"provider": arrival.provider, "invited": True}
            record(Event.IDENTITY_TIED, SYSTEM, target=f"person:{person.id}", facts=facts)
        return person

    async def _join(self, connection: Connection, record: RecordInTransaction, arrival: Arrival) -> Person:
        # Never by name: an account there that is called as somebody here gets another name, not their chats.
        username = await self._people.free_name(connection, arrival.username, arrival.spare_name)
        role = arrival.role or arrival.first_role
        person = await self._people.create(connection, username, NO_PASSWORD, role)
        target = f"person:{person.id}"
        record(Event.PERSON_CREATED, SYSTEM, target=target, facts={"role": role, "provider": arrival.provider})
        await self._identities.tie(connection, arrival, person.id)
        record(Event.IDENTITY_TIED, SYSTEM, target=target, facts={"provider": arrival.provider, "invited": False})
        return person

    async def _with_role(
        self, connection: Connection, record: RecordInTransaction, arrival: Arrival, person: Person
    ) -> Person:
        if arrival.role is None or arrival.role == person.role:
            return person
        try:
            changed = await self._people.change(connection, person.id, role=arrival.role)
        except Conflicting:  # the last administrator stays one: a provider's mistake must not leave the house to nobody
            return person
        facts: dict[str, Fact] = {"role": changed.role, "provider": arrival.provider}
        record(Event.PERSON_CHANGED, SYSTEM, target=f"person:{person.id}", facts=facts)
        return changed

    async def _record_failure(self, name: str, error: IntramuralError) -> None:
        if error.code == "sign_in_lost":
            now_s = self._clock.monotonic_s()
            if self._lost.wait_s(name, now_s):
                return
            self._lost.count(name, now_s)
        facts: dict[str, Fact] = {"code": error.code, "method": "oidc", "provider": name}
        if isinstance(error, TokenRefused):
            facts["why"] = error.why
        await self._audit.record(Event.LOGIN_FAILED, SYSTEM, target="person:unknown", outcome="refused", facts=facts)
