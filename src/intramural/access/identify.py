"""Who is this? From a key or a session token to an `Actor`, mostly without touching the database.

What was read is trusted for `TRUST_S`, and only as long as nothing changed through this process (`Changes`). The second
covers changes by another process on the same database (the command line). Expiry is held against the clock on every
use. Unknown secrets are not remembered, so guessing costs the guesser a look-up and us no memory.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from sqlalchemy import select

from intramural.access import keys, sessions
from intramural.access.changes import Changes
from intramural.access.lately import Lately
from intramural.access.policy import ROLE_SCOPES
from intramural.access.secret import Pepper, looks_like_key
from intramural.access.sessions import Session
from intramural.core.actor import Actor, Role
from intramural.core.clock import Clock
from intramural.core.config import AccessConfig
from intramural.core.errors import Unauthenticated
from intramural.storage import Database
from intramural.storage import schema as t

#: How long a row that was read may be used without asking again.
TRUST_S = 1.0
#: Keys, and apart from them sessions, remembered at once.
CAPACITY = 4096

_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class _KeyRow:
    actor: Actor
    expires_ms: int | None
    revoked: bool
    disabled: bool


@dataclass(frozen=True, slots=True)
class _SessionRow:
    actor: Actor
    session: Session
    disabled: bool


class _Memory(Generic[_Row]):
    """Rows by digest, each with the state and the time it was read in. Loads of one digest at one time are one load."""

    def __init__(self, changes: Changes, clock: Clock, read: Callable[[bytes], Awaitable[_Row | None]]) -> None:
        self._changes = changes
        self._clock = clock
        self._read = read
        self._rows: dict[bytes, tuple[int, float, _Row]] = {}
        self._loading: dict[tuple[bytes, int], asyncio.Task[_Row | None]] = {}

    def remembered(self, digest: bytes) -> _Row | None:
        """The row, if what was read of it may still be trusted."""
        entry = self._rows.get(digest)
        if entry is None or entry[0] != self._changes.state():
            return None
        return entry[2] if self._clock.monotonic_s() - entry[1] < TRUST_S else None

    async def load(self, digest: bytes) -> _Row | None:
        """Read the row, and remember it unless something changed meanwhile."""
        state = self._changes.state()
        if state is None:
            return await self._read(digest)
        task = self._loading.get((digest, state))
        if task is None:
            task = asyncio.create_task(self._load(digest, state))
            self._loading[digest, state] = task
            task.add_done_callback(lambda _: self._loading.pop((digest, state), None))
        return await asyncio.shield(task)  # one caller leaving must not end it for the others

    async def _load(self, digest: bytes, state: int) -> _Row | None:
        read_s = self._clock.monotonic_s()
        row = await self._read(digest)
        self._rows.pop(digest, None)
        if row is not None and self._changes.state() == state:
            while len(self._rows) >= CAPACITY:
                del self._rows[next(iter(self._rows))]  # the one read longest ago
            self._rows[digest] = (state, read_s, row)
        return row


class Identify:
    """Answers for keys and sessions. Raises Unauthenticated with a code that says what is wrong with the secret."""

    def __init__(
        self, db: Database, clock: Clock, config: AccessConfig, pepper: Pepper, changes: Changes, lately: Lately
    ) -> None:
        self._db = db
        self._clock = clock
        self._config = config
        self._pepper = pepper
        self._lately = lately
        self._keys = _Memory(changes, clock, self._read_key)
        self._sessions = _Memory(changes, clock, self._read_session)

    async def by_key(self, text: str) -> Actor:
        """Whose key this is. Raises Unauthenticated(`invalid_key`, `revoked_key`, `expired_key`, `disabled_person`)."""
        digest = self._pepper.digest(keys.PURPOSE, text)
        row = self._keys.remembered(digest)
        if row is None:
            if not looks_like_key(text):
                raise Unauthenticated(
                    "invalid_key",
                    "This is not a key of this service.",
                    "A key begins with im-; check it was copied whole.",
                )
            row = await self._keys.load(digest)
        now_ms = int(self._clock.now_s() * 1000)
        _check_key(row, now_ms)
        actor = cast(_KeyRow, row).actor
        self._lately.keys[actor.credential_id] = now_ms
        return actor

    async def by_session(self, token: str) -> tuple[Actor, Session]:
        """Whose session this is. Raises Unauthenticated(`session_ended`)."""
        digest = self._pepper.digest(sessions.PURPOSE, token)
        row = self._sessions.remembered(digest) or await self._sessions.load(digest)
        now_ms = int(self._clock.now_s() * 1000)
        if row is None or row.disabled or self._over(row.session, now_ms):
            raise Unauthenticated("session_ended", "You are not signed in, or no longer.", "Sign in again.")
        self._lately.sessions[row.session.id] = now_ms
        return row.actor, row.session

    def _over(self, session: Session, now_ms: int) -> bool:
        seen_ms = max(session.last_seen_ms, self._lately.sessions.get(session.id, 0))
        return now_ms >= session.ends_ms or now_ms - seen_ms >= self._config.session_idle_s * 1000

    async def _read_key(self, digest: bytes) -> _KeyRow | None:
        query = (
            select(t.keys, t.people.c.username, t.people.c.role, t.people.c.disabled_ms)
            .join(t.people)
            .where(t.keys.c.key_hash == digest)
        )
        async with self._db.reading() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            return None
        actor = Actor(
            kind="key",
            person_id=row.person_id,
            username=row.username,
            role=cast(Role, row.role),
            scopes=keys.scopes_from(row.scopes),
            credential_id=row.id,
            models=keys.models_from(row.models),
        )
        return _KeyRow(actor, row.expires_ms, row.revoked_ms is not None, row.disabled_ms is not None)

    async def _read_session(self, digest: bytes) -> _SessionRow | None:
        query = (
            select(t.sessions, t.people.c.username, t.people.c.role, t.people.c.disabled_ms)
            .join(t.people)
            .where(t.sessions.c.token_hash == digest)
        )
        async with self._db.reading() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            return None
        role = cast(Role, row.role)
        actor = Actor("person", row.person_id, row.username, role, ROLE_SCOPES[role], row.id)
        return _SessionRow(actor, sessions.session_from(row, self._lately), row.disabled_ms is not None)


#: What is wrong with a key, as (message, hint).
_WRONG: Mapping[str, tuple[str, str]] = {
    "invalid_key": ("This key is not known here.", "Make a new one; this one was removed, or is another service's."),
    "revoked_key": ("This key was revoked.", "Make a new one."),
    "expired_key": ("This key has expired.", "Make a new one."),
    "disabled_person": ("The person whose key this is was disabled.", "Ask an administrator."),
}


def _check_key(row: _KeyRow | None, now_ms: int) -> None:
    """Raise for a key that does not, or no longer, open anything."""
    code = ""
    if row is None:
        code = "invalid_key"
    elif row.revoked:
        code = "revoked_key"
    elif row.disabled:
        code = "disabled_person"
    elif row.expires_ms is not None and now_ms >= row.expires_ms:
        code = "expired_key"
    if code:
        raise Unauthenticated(code, *_WRONG[code])
