"""Sessions: somebody signed in on the page. The token is in their browser's cookie and, as a keyed hash, here."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Row, delete, insert, select

from intramural.access.lately import Lately
from intramural.access.people import Proven
from intramural.access.secret import Pepper, new_token, same
from intramural.core.clock import Clock
from intramural.core.config import AccessConfig
from intramural.core.errors import Missing, Unauthenticated
from intramural.core.ids import new_id
from intramural.storage import Connection, Database
from intramural.storage import schema as t

PURPOSE = "session"
MAX_AGENT_CHARS = 200
#: Sessions of one person at a time; signing in once more ends the one unseen longest.
MAX_SESSIONS = 50
#: How long somebody may take to show what their session awaits, or to set it up.
AWAITING_S = 900.0


@dataclass(frozen=True, slots=True)
class Session:
    """A sign-in without its token. Times in milliseconds since the epoch; it ends at `ends_ms` at the latest."""

    id: str
    person_id: str
    csrf_token: str = field(repr=False)
    created_ms: int
    last_seen_ms: int
    ends_ms: int
    user_agent: str
    #: `oidc`, `ldap`, `passkey`; None: a password.
    method: str | None = None
    #: What must still be shown before it opens anything; None: nothing.
    awaits: str | None = None
    issuer: str | None = None
    issuer_session: str | None = None

    def csrf_matches(self, given: str) -> bool:
        """Whether `given` (a header of an unsafe request) is this session's token against forged requests."""
        return same(self.csrf_token, given)


class Sessions:
    """Every session. Changing methods work on the caller's open transaction."""

    def __init__(self, db: Database, clock: Clock, config: AccessConfig, pepper: Pepper, lately: Lately) -> None:
        self._db = db
        self._clock = clock
        self._config = config
        self._pepper = pepper
        self._lately = lately

    async def open(
        self, connection: Connection, proven: Proven, user_agent: str, *, awaits: str | None = None
    ) -> tuple[str, Session]:
        """Begin a session for who has just shown who they are: (the token for their cookie, the session).

        Always a new one: a token that was in the browser before is never taken up. `awaits`: what is still to be shown
        before it opens anything; it then lasts minutes. Raises Unauthenticated(`sign_in_failed`) when the person was
        disabled or the password changed in the meantime.
        """
        await self._still_true(connection, proven)
        now_ms = int(self._clock.now_s() * 1000)
        token = new_token(self._clock)
        session = Session(
            id=new_id("session", self._clock),
            person_id=proven.person.id,
            csrf_token=new_token(self._clock),
            created_ms=now_ms,
            last_seen_ms=now_ms,
            ends_ms=now_ms + int((AWAITING_S if awaits else self._config.session_absolute_s) * 1000),
            user_agent=_printable(user_agent),
            method=proven.method,
            awaits=awaits,
            issuer=proven.issuer,
            issuer_session=proven.issuer_session,
        )
        await self._make_room(connection, proven.person.id)
        digest = self._pepper.digest(PURPOSE, token)
        values = {column: getattr(session, column) for column in Session.__slots__}
        await connection.execute(insert(t.sessions).values(token_hash=digest, **values))
        return token, session

    async def close(self, connection: Connection, session_id: str, person_id: str) -> None:
        """End one session of this person. Raises Missing(`session_not_found`), also for somebody else's."""
        where = (t.sessions.c.id == session_id) & (t.sessions.c.person_id == person_id)
        if not (await connection.execute(delete(t.sessions).where(where))).rowcount:
            raise Missing("session_not_found", "There is no such session.", "It may have ended already.")

    async def close_all(self, connection: Connection, person_id: str) -> int:
        """End every session of this person; how many there were."""
        where = t.sessions.c.person_id == person_id
        return (await connection.execute(delete(t.sessions).where(where))).rowcount

    async def close_those_of(
        self, connection: Connection, issuer: str, person_id: str | None, theirs: str | None
    ) -> int:
        """End the sessions that rest on this issuer's word: a person's, or those of one session there, or of both;
        how many there were."""
        where = t.sessions.c.issuer == issuer
        if person_id is not None:
            where &= t.sessions.c.person_id == person_id
        if theirs is not None:
            where &= t.sessions.c.issuer_session == theirs
        return (await connection.execute(delete(t.sessions).where(where))).rowcount

    async def list(self, person_id: str) -> list[Session]:
        """The sessions of this person that have not ended, the latest begun first."""
        query = select(t.sessions).where(t.sessions.c.person_id == person_id).order_by(t.sessions.c.id.desc())
        now_ms = int(self._clock.now_s() * 1000)
        async with self._db.reading() as connection:
            found = [session_from(row, self._lately) for row in await connection.execute(query)]
        return [session for session in found if not ended(session, self._config, now_ms)]

    async def sweep(self) -> int:
        """Delete the rows of sessions that have ended by themselves; how many there were."""
        now_ms = int(self._clock.now_s() * 1000)
        idle_ms = now_ms - int(self._config.session_idle_s * 1000)
        gone = (t.sessions.c.ends_ms <= now_ms) | (t.sessions.c.last_seen_ms <= idle_ms)
        async with self._db.reading() as connection:
            if (await connection.execute(select(t.sessions.c.id).where(gone).limit(1))).first() is None:
                return 0
        async with self._db.writing() as connection:
            return (await connection.execute(delete(t.sessions).where(gone))).rowcount

    async def _still_true(self, connection: Connection, proven: Proven) -> None:
        columns = (t.people.c.password_hash, t.people.c.disabled_ms, t.people.c.kind)
        row = (await connection.execute(select(*columns).where(t.people.c.id == proven.person.id))).one_or_none()
        changed = proven.password_hash is not None and row is not None and row.password_hash != proven.password_hash
        # Nobody signs in as a service account, whatever showed that they are it.
        if row is None or row.disabled_ms is not None or changed or row.kind == "service":
            raise Unauthenticated("sign_in_failed", "The name or the password is wrong.", "Sign in again.")

    async def _make_room(self, connection: Connection, person_id: str) -> None:
        kept = (
            select(t.sessions.c.id)
            .where(t.sessions.c.person_id == person_id)
            .order_by(t.sessions.c.last_seen_ms.desc(), t.sessions.c.id.desc())
            .limit(MAX_SESSIONS - 1)
        )
        where = (t.sessions.c.person_id == person_id) & t.sessions.c.id.not_in(kept)
        if (await connection.execute(select(t.sessions.c.id).where(where).limit(1))).first() is not None:
            await connection.execute(delete(t.sessions).where(where))


def session_from(row: Row[Any] | SimpleNamespace, lately: Lately) -> Session:
    """A session as the table and the latest notes have it."""
    return Session(
        id=row.id,
        person_id=row.person_id,
        csrf_token=row.csrf_token,
        created_ms=row.created_ms,
        last_seen_ms=max(row.last_seen_ms, lately.sessions.get(row.id, 0)),
        ends_ms=row.ends_ms,
        user_agent=row.user_agent,
        method=row.method,
        awaits=row.awaits,
        issuer=row.issuer,
        issuer_session=row.issuer_session,
    )


def ended(session: Session, config: AccessConfig, now_ms: int) -> bool:
    """Whether the session is over: unseen for too long, or too old. Pure."""
    return now_ms >= session.ends_ms or now_ms - session.last_seen_ms >= config.session_idle_s * 1000


def _printable(user_agent: str) -> str:
    return "".join(char for char in user_agent if char.isprintable())[:MAX_AGENT_CHARS]
