"""Set-up, sign-in, sign-out, and a person's own account."""

from intramural.access import Action, People, Person, Session, Sessions, Setup
from intramural.audit import AuditLog, Event
from intramural.core.actor import SYSTEM, Actor
from intramural.core.errors import IntramuralError, Misasked
from intramural.services.gate import Gate


class SignIn:
    """Everything a person does to become, and stop being, an actor."""

    def __init__(self, gate: Gate, people: People, sessions: Sessions, setup: Setup, audit: AuditLog) -> None:
        self._gate = gate
        self._people = people
        self._sessions = sessions
        self._setup = setup
        self._audit = audit

    async def setup_needed(self) -> bool:
        """Whether there is nobody yet."""
        return await self._setup.needed()

    async def set_up(self, token: str, username: str, password: str, user_agent: str) -> tuple[str, Session, Person]:
        """Make the first administrator with the one-time token, and sign them in: (cookie token, session, person)."""
        prepared = await self._people.prepare(username, password, "administrator")
        async with self._audit.transaction() as (connection, record):
            await self._setup.consume(connection, token)
            person = await self._people.create(connection, prepared)
            secret, session = await self._sessions.open(connection, person, user_agent)
            await record(Event.SETUP_COMPLETED, SYSTEM, target=f"person:{person.id}")
        return secret, session, person

    async def sign_in(self, username: str, password: str, address: str, user_agent: str) -> tuple[str, Session, Person]:
        """Check name and password: (cookie token, session, person). Raises Unauthenticated or Throttled."""
        try:
            person = await self._people.authenticate(username, password, address)
        except IntramuralError as error:
            await self._audit.record(
                Event.LOGIN_FAILED, SYSTEM, target="person:unknown", outcome="refused", facts={"code": error.code}
            )
            raise
        async with self._audit.transaction() as (connection, record):
            secret, session = await self._sessions.open(connection, person, user_agent)
            await record(Event.LOGIN_SUCCEEDED, person.actor(session.id), target=f"person:{person.id}")
        return secret, session, person

    async def sign_out(self, actor: Actor, session_id: str) -> None:
        async with self._audit.transaction() as (connection, record):
            await self._sessions.close(connection, session_id)
            await record(Event.LOGOUT, actor, target=f"session:{session_id}")

    async def change_password(self, actor: Actor, old: str, new: str, address: str, keep_session: str | None) -> None:
        """Change one's own password; every other session ends."""
        await self._gate.require(actor, Action.ACCOUNT_CHANGE, owner_id=actor.person_id)
        await self._people.authenticate(actor.username, old, address)
        if old == new:
            raise Misasked("same_password", "The new password is the old one.", "Choose another.", param="new")
        hashed = await self._people.hash_password(actor.username, new)
        async with self._audit.transaction() as (connection, record):
            await self._people.set_password(connection, actor.person_id, hashed)
            await self._sessions.close_all(connection, actor.person_id, except_id=keep_session)
            await record(Event.PASSWORD_CHANGED, actor, target=f"person:{actor.person_id}")

    async def sessions(self, actor: Actor) -> list[Session]:
        """One's own sessions, newest first."""
        await self._gate.require(actor, Action.ACCOUNT_CHANGE, owner_id=actor.person_id)
        return await self._sessions.list(actor.person_id)

    async def revoke_session(self, actor: Actor, session_id: str) -> None:
        """End one of one's own sessions."""
        await self._gate.require(actor, Action.ACCOUNT_CHANGE, owner_id=actor.person_id)
        async with self._audit.transaction() as (connection, record):
            await self._sessions.close(connection, session_id, person_id=actor.person_id)
            await record(Event.SESSION_REVOKED, actor, target=f"session:{session_id}")
