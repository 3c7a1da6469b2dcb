"""Set-up, sign-in, sign-out, and a person's own account."""

from collections.abc import Sequence

from intramural.access import Action, People, Proven, Session, Sessions, Setup
from intramural.access.oidc.flow import must_be_set_up
from intramural.access.people import fold
from intramural.audit import AuditLog, Event
from intramural.core.actor import SYSTEM, Actor
from intramural.core.errors import IntramuralError, Misasked, Unauthenticated, Unavailable
from intramural.services.directory import Directory
from intramural.services.federation import Federation
from intramural.services.gate import Gate
from intramural.services.seating import Seat, Seating


class SignIn:
    """Everything a person does to become, and stop being, an actor."""

    def __init__(
        self,
        gate: Gate,
        people: People,
        sessions: Sessions,
        setup: Setup,
        seating: Seating,
        audit: AuditLog,
        federation: Federation,
        directories: Sequence[Directory] = (),
    ) -> None:
        self._gate = gate
        self._people = people
        self._sessions = sessions
        self._setup = setup
        self._seating = seating
        self._audit = audit
        self._federation = federation
        self._directories = directories

    async def setup_needed(self) -> bool:
        """Whether there is nobody yet."""
        return await self._setup.needed()

    async def set_up(self, token: str, username: str, password: str, user_agent: str) -> Seat:
        """Make the first administrator with the one-time token, and sign them in."""
        await self._setup.check(token)
        hashed = await self._people.hash_new(username, password)
        async with self._audit.transaction() as (connection, record):
            proven = await self._setup.complete(connection, token, username, hashed)
            record(Event.SETUP_COMPLETED, SYSTEM, target=f"person:{proven.person.id}")
            return await self._seating.open(connection, record, proven, user_agent)

    async def sign_in(self, username: str, password: str, address: str, user_agent: str) -> Seat:
        """Check name and password and open a session, which may still await more (`session.awaits`).

        Who has a password here is asked for that one; whoever else, for the one that a directory knows. Raises
        Unauthenticated, which is recorded, or Throttled; what asking a directory raises.
        """
        if self._directories and not await self._people.has_password(username):
            return await self._sign_in_elsewhere(username, password, address, user_agent)
        proven = await self._authenticate(username, password, address)
        async with self._audit.transaction() as (connection, record):
            return await self._seating.open(connection, record, proven, user_agent)

    async def _sign_in_elsewhere(self, username: str, password: str, address: str, user_agent: str) -> Seat:
        if await self._setup.needed():
            raise must_be_set_up()
        attempt = self._people.admit(username, address)
        name, was_looked_at, seat = "", True, None
        try:
            for directory in self._directories:
                name = directory.settings.name
                # what cannot be a name here is not asked for there
                arrival = await directory.arrival(username, password) if fold(username) else None
                if arrival is not None:
                    break
            else:
                raise Unauthenticated(
                    "sign_in_failed", "The name or the password is wrong.", "Check both; an administrator can reset it."
                )
            async with self._audit.transaction() as (connection, record):
                person = await self._federation.let_in(connection, record, arrival, "anyone", "")
                proven = Proven(person, None, method="ldap", issuer=arrival.issuer)
                seat = await self._seating.open(connection, record, proven, user_agent, {"provider": name})
        except IntramuralError as error:
            was_looked_at = not isinstance(error, Unavailable)  # the directory was not there: no guess
            facts = {"code": error.code, "method": "ldap", "provider": name}
            await self._audit.record(
                Event.LOGIN_FAILED, SYSTEM, target="person:unknown", outcome="refused", facts=facts
            )
            raise
        finally:
            self._people.failed(attempt) if seat is None and was_looked_at else self._people.succeeded(attempt)
        return seat

    async def sign_out(self, actor: Actor, session_id: str) -> None:
        """End this session."""
        async with self._audit.transaction() as (connection, record):
            await self._sessions.close(connection, session_id, actor.person_id)
            record(Event.LOGOUT, actor, target=f"session:{session_id}")

    async def change_password(self, actor: Actor, old: str, new: str, address: str, user_agent: str) -> Seat:
        """Change one's own password. Every session ends; the one returned takes their place here."""
        await self._gate.require(actor, Action.ME_CHANGE_PASSWORD, owner_id=actor.person_id)
        await self._authenticate(actor.username, old, address)
        if old == new:
            raise Misasked("same_password", "The new password is the old one.", "Choose another.", param="new")
        hashed = await self._people.hash_new(actor.username, new)
        async with self._audit.transaction() as (connection, record):
            proven = await self._people.set_password(connection, actor.person_id, hashed)
            secret, session = await self._sessions.open(connection, proven, user_agent)
            record(Event.PASSWORD_CHANGED, actor, target=f"person:{actor.person_id}")
        return Seat(secret, session, proven)

    async def sessions(self, actor: Actor) -> list[Session]:
        """One's own sessions, newest first."""
        await self._gate.require(actor, Action.ME_READ_SESSIONS, owner_id=actor.person_id)
        return await self._sessions.list(actor.person_id)

    async def revoke_session(self, actor: Actor, session_id: str) -> None:
        """End one of one's own sessions."""
        await self._gate.require(actor, Action.ME_CLOSE_SESSION, owner_id=actor.person_id)
        async with self._audit.transaction() as (connection, record):
            await self._sessions.close(connection, session_id, actor.person_id)
            record(Event.SESSION_REVOKED, actor, target=f"session:{session_id}")

    async def _authenticate(self, username: str, password: str, address: str) -> Proven:
        try:
            return await self._people.authenticate(username, password, address)
        except Unauthenticated as error:
            # Not the name that was typed: people type passwords into the wrong field. A throttled attempt is not
            # recorded: those before it were, and a stranger must not be able to make the disk write without limit.
            facts = {"code": error.code}
            await self._audit.record(
                Event.LOGIN_FAILED, SYSTEM, target="person:unknown", outcome="refused", facts=facts
            )
            raise
