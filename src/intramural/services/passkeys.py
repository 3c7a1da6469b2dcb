"""Passkeys: making them, signing in with them, taking them away."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from intramural.access import Action, People, Proven, Session, Sessions
from intramural.access.factors import Factors, applies
from intramural.access.passkeys import Asked, Passkey, PasskeyRefused, Passkeys
from intramural.access.throttle import SlidingWindow
from intramural.audit import AuditLog, Event, Fact
from intramural.core.actor import SYSTEM, Actor
from intramural.core.clock import Clock
from intramural.core.errors import Conflicting, IntramuralError
from intramural.services.factors import FactorDesk
from intramural.services.gate import Gate
from intramural.services.seating import Seat, Seating

#: Refused passkeys are written down this often a minute: a stranger can send any number.
_REFUSED_A_MINUTE = 60


@dataclass(frozen=True, slots=True)
class Added:
    """A new passkey. `recovery_codes`: for who had none; `seat`: a whole session, where this one awaited that."""

    passkey: Passkey
    recovery_codes: Sequence[str]
    seat: Seat | None


class PasskeyDesk:
    """What a person does with passkeys."""

    def __init__(
        self,
        gate: Gate,
        people: People,
        sessions: Sessions,
        factors: Factors,
        desk: FactorDesk,
        passkeys: Passkeys,
        seating: Seating,
        audit: AuditLog,
        clock: Clock,
    ) -> None:
        self._gate = gate
        self._people = people
        self._sessions = sessions
        self._factors = factors
        self._desk = desk
        self._passkeys = passkeys
        self._seating = seating
        self._audit = audit
        self._clock = clock
        self._refused = SlidingWindow(_REFUSED_A_MINUTE, 60.0)

    async def mine(self, actor: Actor) -> list[Passkey]:
        """One's own."""
        await self._gate.require(actor, Action.ME_READ_SESSIONS, owner_id=actor.person_id)
        return await self._passkeys.of(actor.person_id)

    async def begin_adding(self, actor: Actor, session: Session, origin: str) -> Asked:
        """What to ask the browser for. Raises as `FactorDesk.may_change` and `Passkeys.begin_adding`."""
        await self._desk.may_change(actor, session)
        return await self._passkeys.begin_adding(await self._people.get(actor.person_id), origin)

    async def add(
        self,
        actor: Actor,
        session: Session,
        ticket: str,
        credential: Mapping[str, Any],
        *,
        name: str,
        origin: str,
        user_agent: str,
    ) -> Added:
        """Keep what the browser made. Raises as `Passkeys.add`."""
        await self._desk.may_change(actor, session)
        await self._passkeys.ready()
        async with self._audit.transaction() as (connection, record):
            person = await self._people.arrived(connection, actor.person_id)
            passkey = await self._passkeys.add(connection, person, ticket, credential, name, origin)
            facts: dict[str, Fact] = {"factor": "passkey", "passkey": passkey.id}
            record(Event.FACTOR_ADDED, actor, target=f"person:{person.id}", facts=facts)
            codes: Sequence[str] = ()
            if not (await self._factors.held(connection, person.id)).recovery:
                codes = await self._factors.new_recovery_codes(connection, person.id)
            seat = None
            if session.awaits is not None:
                # Its authenticator has just checked the person: that is what using it would show.
                proven = self._desk.carried(person, session, strong=True, passkey=True)
                await self._sessions.close(connection, session.id, person.id)
                seat = await self._seating.open(connection, record, proven, user_agent, {"factor": "passkey"})
        return Added(passkey, codes, seat)

    async def begin_sign_in(self, origin: str) -> Asked:
        """What to ask the browser of who wants to sign in."""
        return await self._passkeys.begin_sign_in(origin)

    async def sign_in(self, ticket: str, credential: Mapping[str, Any], origin: str, user_agent: str) -> Seat:
        """Open a session for whose passkey was shown: no name, no password, nothing more is asked.

        Raises PasskeyRefused, Unauthenticated(`sign_in_failed`) for who was disabled.
        """
        await self._passkeys.ready()
        try:
            async with self._audit.transaction() as (connection, record):
                person_id = await self._passkeys.shown(connection, ticket, credential, origin)
                person = await self._people.arrived(connection, person_id)
                proven = Proven(person, None, method="passkey", strong=True, passkey=True)
                return await self._seating.open(connection, record, proven, user_agent)
        except IntramuralError as error:
            await self._record_failure(error)
            raise

    async def remove(self, actor: Actor, session: Session, passkey_id: str) -> None:
        """Take one of one's own away. Raises Missing(`passkey_not_found`), Conflicting(`factor_required`)."""
        await self._desk.may_change(actor, session, whole=True)
        held, rules = await self._factors.held_now(actor.person_id), self._factors.rules
        needed = applies(rules.passkey_for, actor.role) or (
            applies(rules.second_factor_for, actor.role) and held.codes_ms is None
        )
        if held.passkeys == 1 and needed:
            message = "A second factor is asked of you, and this is your only one."
            raise Conflicting("factor_required", message, "Set up another first.")
        async with self._audit.transaction() as (connection, record):
            await self._passkeys.remove(connection, actor.person_id, passkey_id)
            await self._factors.drop_idle_paper(connection, actor.person_id)
            facts: dict[str, Fact] = {"factor": "passkey", "passkey": passkey_id}
            record(Event.FACTOR_REMOVED, actor, target=f"person:{actor.person_id}", facts=facts)

    async def _record_failure(self, error: IntramuralError) -> None:
        now_s = self._clock.monotonic_s()
        if self._refused.wait_s("", now_s):
            return
        self._refused.count("", now_s)
        facts: dict[str, Fact] = {"code": error.code, "method": "passkey"}
        if isinstance(error, PasskeyRefused):
            facts["why"] = error.why
        await self._audit.record(Event.LOGIN_FAILED, SYSTEM, target="person:unknown", outcome="refused", facts=facts)
