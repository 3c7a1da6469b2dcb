"""A person's second factors: setting them up, showing them, taking them away."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from intramural.access import Action, People, Person, Proven, Session, Sessions, totp
from intramural.access.factors import Factors, Held, Rules, applies
from intramural.audit import AuditLog, Event, Fact
from intramural.core.actor import SYSTEM, Actor
from intramural.core.clock import Clock
from intramural.core.errors import Conflicting, IntramuralError, Refused, Throttled
from intramural.services.gate import Gate
from intramural.services.seating import Seat, Seating

#: Whoever changes how they sign in has signed in a moment ago: a browser left open, or a stolen cookie, is not enough.
FRESH_S = 900.0
_SERVICE = "intramural"


@dataclass(frozen=True, slots=True)
class AppSetup:
    """What an app needs to make codes; shown this once. `address` is what the picture of it says."""

    secret: str = field(repr=False)
    address: str = field(repr=False)


class FactorDesk:
    """What a person does about their second factors, and an administrator who helps them out."""

    def __init__(
        self,
        gate: Gate,
        people: People,
        sessions: Sessions,
        factors: Factors,
        seating: Seating,
        audit: AuditLog,
        clock: Clock,
    ) -> None:
        self._gate = gate
        self._people = people
        self._sessions = sessions
        self._factors = factors
        self._seating = seating
        self._audit = audit
        self._clock = clock

    @property
    def rules(self) -> Rules:
        """Of whom what is asked."""
        return self._factors.rules

    async def mine(self, actor: Actor) -> Held:
        """What one has."""
        await self._gate.require(actor, Action.ME_READ_SESSIONS, owner_id=actor.person_id)
        return await self._factors.held_now(actor.person_id)

    async def begin_codes(self, actor: Actor, session: Session) -> AppSetup:
        """A secret for an app. Raises Refused(`sign_in_again`, `more_needed`), Conflicting(`codes_exist`)."""
        await self.may_change(actor, session)
        async with self._audit.transaction() as (connection, record):
            secret = await self._factors.begin_codes(connection, actor.person_id)
            record(Event.FACTOR_BEGUN, actor, target=_target(actor), facts={"factor": "codes"})
        return AppSetup(totp.base32(secret), totp.address(secret, _SERVICE, actor.username))

    async def confirm_codes(
        self, actor: Actor, session: Session, code: str, user_agent: str
    ) -> tuple[Sequence[str], Seat | None]:
        """The app makes codes: it counts. Returns codes for paper, and a whole session where this one awaited that.

        Raises as `Factors.confirm_codes`.
        """
        await self.may_change(actor, session)
        try:
            async with self._audit.transaction() as (connection, record):
                paper = await self._factors.confirm_codes(connection, actor.person_id, code)
                record(Event.FACTOR_ADDED, actor, target=_target(actor), facts={"factor": "codes"})
                seat = None
                if session.awaits is not None:
                    proven = self.carried(await self._people.arrived(connection, actor.person_id), session, strong=True)
                    await self._sessions.close(connection, session.id, actor.person_id)
                    seat = await self._seating.open(connection, record, proven, user_agent, {"factor": "codes"})
        except IntramuralError as error:
            await self._record_failure(actor, error)
            raise
        return paper, seat

    async def show(self, actor: Actor, session: Session, code: str, user_agent: str) -> Seat:
        """Show a code to the session that awaits one, of the app or from paper: a whole session takes its place.

        Raises Unauthenticated(`code_wrong`), Throttled(`too_many_codes`), Conflicting(`nothing_awaited`),
        Refused(`passkey_needed`).
        """
        if session.awaits == "passkey":
            message = "Your sign-in needs your passkey; a code does not stand for it."
            hint = "Use it, or ask another administrator to take it away (`intramural user reset-factors NAME`)."
            raise Refused("passkey_needed", message, hint)
        if session.awaits != "second":
            raise Conflicting("nothing_awaited", "No code is asked of you.", "Go on.")
        try:
            async with self._audit.transaction() as (connection, record):
                shown = await self._factors.show(connection, actor.person_id, code)
                proven = self.carried(await self._people.arrived(connection, actor.person_id), session, strong=True)
                await self._sessions.close(connection, session.id, actor.person_id)
                if shown == "recovery":
                    left = (await self._factors.held(connection, actor.person_id)).recovery
                    record(Event.RECOVERY_CODE_USED, actor, target=_target(actor), facts={"left": left})
                return await self._seating.open(connection, record, proven, user_agent, {"factor": shown})
        except IntramuralError as error:
            await self._record_failure(actor, error)
            raise

    async def new_recovery_codes(self, actor: Actor, session: Session) -> Sequence[str]:
        """Fresh codes for paper; those before are worth nothing. Raises as `Factors.new_recovery_codes`."""
        await self.may_change(actor, session, whole=True)
        async with self._audit.transaction() as (connection, record):
            codes = await self._factors.new_recovery_codes(connection, actor.person_id)
            record(Event.RECOVERY_CODES_MADE, actor, target=_target(actor))
        return codes

    async def remove_codes(self, actor: Actor, session: Session) -> None:
        """Take one's app away. Raises Missing(`no_codes`), Conflicting(`factor_required`)."""
        await self.may_change(actor, session, whole=True)
        held = await self._factors.held_now(actor.person_id)
        if applies(self._factors.rules.second_factor_for, actor.role) and not held.passkeys:
            message = "A second factor is asked of you, and this is your only one."
            raise Conflicting("factor_required", message, "Set up a passkey first.")
        async with self._audit.transaction() as (connection, record):
            await self._factors.remove_codes(connection, actor.person_id)
            await self._factors.drop_idle_paper(connection, actor.person_id)
            record(Event.FACTOR_REMOVED, actor, target=_target(actor), facts={"factor": "codes"})

    async def reset(self, actor: Actor, person_id: str) -> None:
        """Take all second factors of somebody away, who has lost them, and end their sessions.

        The password stays: they sign in with it, and are asked to set up again what the rules ask for.
        """
        thing = await self._people.acted_upon(person_id)
        await self._gate.require(actor, Action.PEOPLE_CHANGE, target=f"person:{person_id}", thing=thing)
        if actor.person_id == person_id:
            message = "One's own second factors are not taken away all at once."
            raise Refused("not_ones_own", message, "Remove them one by one, or ask another administrator.")
        async with self._audit.transaction() as (connection, record):
            await self._people.arrived(connection, person_id)
            held = await self._factors.remove_all(connection, person_id)
            await self._sessions.close_all(connection, person_id)
            facts: dict[str, Fact] = {"factor": "all", "codes": held.codes_ms is not None, "passkeys": held.passkeys}
            record(Event.FACTOR_REMOVED, actor, target=f"person:{person_id}", facts=facts)

    async def may_change(self, actor: Actor, session: Session, *, whole: bool = False) -> None:
        """Raises Refused(`sign_in_again`) where the sign-in was too long ago, Refused(`more_needed`) for a session that
        awaits what its person has already (or, with `whole`, anything)."""
        await self._gate.require(actor, Action.ME_CHANGE_PASSWORD, owner_id=actor.person_id)
        if session.awaits in ("second", "passkey") or (whole and session.awaits is not None):
            raise Refused("more_needed", "You are not wholly signed in yet.", "Show your second factor first.")
        if self._clock.now_s() * 1000 - session.created_ms > FRESH_S * 1000:
            message = "How you sign in is changed only soon after you signed in."
            raise Refused("sign_in_again", message, "Sign out, sign in, and do it then.")

    @staticmethod
    def carried(person: Person, session: Session, *, strong: bool = False, passkey: bool = False) -> Proven:
        """What a session that awaited something proves once that was shown."""
        return Proven(
            person,
            None,
            method=session.method,
            issuer=session.issuer,
            issuer_session=session.issuer_session,
            strong=strong,
            passkey=passkey,
        )

    async def _record_failure(self, actor: Actor, error: IntramuralError) -> None:
        if isinstance(error, Throttled):  # those before it were recorded
            return
        facts: dict[str, Fact] = {"code": error.code, "method": "second"}
        await self._audit.record(Event.LOGIN_FAILED, SYSTEM, target=_target(actor), outcome="refused", facts=facts)


def _target(actor: Actor) -> str:
    return f"person:{actor.person_id}"
