"""Set-up, sign-in, sign-out, and a person's own account."""

from intramural.access import Action, People, Proven, Session, Sessions, Setup
from intramural.audit import AuditLog, Event
from intramural.core.actor import SYSTEM, Actor
from intramural.core.errors import Misasked, Unauthenticated
from intramural.services.gate import Gate
from intramural.services.seating import Seat, Seating


class SignIn:
    """Everything a person does to become, and stop being, an actor."""

    def __init__(
        self, gate: Gate, people: People, sessions: Sessions, setup: Setup, seating: Seating, audit: AuditLog
    ) -> None:
        self._gate = gate
        self._people = people
        self._sessions = sessions
        self._setup = setup
        self._seating = seating
        self._audit = audit

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

        Raises Unauthenticated, which is recorded, or Throttled.
        """
        proven = await self._authenticate(username, password, address)
        async with self._audit.transaction() as (connection, record):
            return await self._seating.open(connection, record, proven, user_agent)

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
