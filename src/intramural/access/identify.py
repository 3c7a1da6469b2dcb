"""Who is this? From a key or a session token to an `Actor`.

Asked anew for every request: what was revoked, disabled or changed a moment ago, by whatever process, counts now. The
look-up is one indexed row, read on the spot with its person's groups (0.04 ms; 0.12 ms with three groups in three).
"""

from collections.abc import Mapping
from functools import lru_cache
from types import SimpleNamespace

from msgspec.structs import replace
from sqlalchemy import bindparam, select

from intramural.access import keys, sessions
from intramural.access.groups import GROUPS_OF, groups_from
from intramural.access.lately import Lately
from intramural.access.policy import ROLE_SCOPES, scopes_of
from intramural.access.roles import permissions_from
from intramural.access.secret import Pepper, looks_like_key
from intramural.access.sessions import Session
from intramural.access.standing import STANDING_OF, standing_from
from intramural.access.workspaces import Workspaces
from intramural.core.actor import ROLES, Actor, ActorKind, Scope
from intramural.core.clock import Clock
from intramural.core.config import AccessConfig
from intramural.core.errors import Unauthenticated
from intramural.storage import Database
from intramural.storage import schema as t

_GRANTS = select(t.roles.c.permissions).where(t.roles.c.name == t.people.c.role).scalar_subquery().label("grants")
_OF_PERSON = (t.people.c.username, t.people.c.role, t.people.c.disabled_ms, GROUPS_OF, _GRANTS, *STANDING_OF)
_KEY = select(t.keys, *_OF_PERSON).join(t.people).where(t.keys.c.key_hash == bindparam("digest"))
_KEY_BY_ID = select(t.keys, *_OF_PERSON).join(t.people).where(t.keys.c.id == bindparam("id"))
_PERSON = select(t.people.c.id.label("person_id"), *_OF_PERSON).where(t.people.c.id == bindparam("id"))
_SESSION = select(t.sessions, *_OF_PERSON).join(t.people).where(t.sessions.c.token_hash == bindparam("digest"))


class Identify:
    """Answers for keys and sessions. Raises Unauthenticated with a code that says what is wrong with the secret."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        config: AccessConfig,
        pepper: Pepper,
        lately: Lately,
        workspaces: Workspaces,
    ) -> None:
        self._db = db
        self._workspaces = workspaces
        self._clock = clock
        self._config = config
        self._pepper = pepper
        self._lately = lately

    async def by_key(self, text: str) -> Actor:
        """Whose key this is. Raises Unauthenticated(`invalid_key`, `revoked_key`, `expired_key`, `disabled_person`,
        `workspace_closed`).
        """
        if not looks_like_key(text):
            raise Unauthenticated(
                "invalid_key",
                "This is not a key of this service.",
                "A key begins with im-; check it was copied whole.",
            )
        now_ms = int(self._clock.now_s() * 1000)
        row = _valid(await self._db.look_up(_KEY, self._pepper.digest(keys.PURPOSE, text)), now_ms)
        self._lately.keys[row.id] = now_ms
        return await self._by_key(row, now_ms)

    async def again(self, kind: str, person_id: str, credential_id: str) -> Actor:
        """Whoever asked for something that is still going on, as they may act now: `kind` and the identifiers are those
        of the actor then. A key must still open something; a session may have ended, its person must still be let in.

        Raises Unauthenticated(`invalid_key`, `revoked_key`, `expired_key`, `disabled_person`, `workspace_closed`).
        """
        now_ms = int(self._clock.now_s() * 1000)
        if kind == "key":
            return await self._by_key(_valid(await self._db.look_up(_KEY_BY_ID, credential_id), now_ms), now_ms)
        row = await self._db.look_up(_PERSON, person_id)
        if row is None or row.disabled_ms is not None:
            raise Unauthenticated("disabled_person", "The person is not let in any more.", "Ask an administrator.")
        return _actor("person", row, credential_id, now_ms)

    async def by_session(self, token: str, *, awaiting: bool = False) -> tuple[Actor, Session]:
        """Whose session this is; with `awaiting` also one that still awaits something and opens nothing yet.

        Raises Unauthenticated(`session_ended`, `more_needed`).
        """
        row = await self._db.look_up(_SESSION, self._pepper.digest(sessions.PURPOSE, token))
        now_ms = int(self._clock.now_s() * 1000)
        session = None if row is None else sessions.session_from(row, self._lately)
        if row is None or session is None or row.disabled_ms is not None or self._over(session, now_ms):
            raise Unauthenticated("session_ended", "You are not signed in, or no longer.", "Sign in again.")
        if session.awaits is not None and not awaiting:
            message = "You are not wholly signed in yet: something more is asked of you."
            raise Unauthenticated("more_needed", message, "Go on on the page.")
        self._lately.sessions[session.id] = now_ms
        return _actor("person", row, row.id, now_ms), session

    def _over(self, session: Session, now_ms: int) -> bool:
        seen_ms = max(session.last_seen_ms, self._lately.sessions.get(session.id, 0))
        return now_ms >= session.ends_ms or now_ms - seen_ms >= self._config.session_idle_s * 1000

    async def _by_key(self, row: SimpleNamespace, now_ms: int) -> Actor:
        scopes, models = keys.scopes_from(row.scopes), keys.models_from(row.models)
        actor = replace(_actor("key", row, row.id, now_ms), scopes=scopes, models=models)
        if row.workspace_id is None:
            return actor
        found = await self._workspaces.place(actor, row.workspace_id)
        if found is None or not found[1]:
            raise Unauthenticated("workspace_closed", *_WRONG["workspace_closed"])
        place = found[0]
        return actor.inside(place, place.purposes[0] if len(place.purposes) == 1 else "")


def _actor(kind: ActorKind, row: SimpleNamespace, credential_id: str, now_ms: int) -> Actor:
    """Whom a row is of, with all that the role gives."""
    groups, manages = groups_from(row.lineages)
    granted = None if row.role in ROLES else permissions_from(row.grants or "")
    return Actor(
        kind=kind,
        person_id=row.person_id,
        username=row.username,
        role=row.role,
        scopes=_scopes(row.role, granted),
        credential_id=credential_id,
        groups=groups,
        manages=manages,
        permissions=granted,
        standing=standing_from(row, now_ms),
    )


@lru_cache(maxsize=256)
def _scopes(role: str, granted: frozenset[str] | None) -> frozenset[Scope]:
    known = next((each for each in ROLES if each == role), None)
    return scopes_of(granted or frozenset()) if known is None else ROLE_SCOPES[known]


#: What is wrong with a key, as (message, hint).
_WRONG: Mapping[str, tuple[str, str]] = {
    "invalid_key": ("This key is not known here.", "Make a new one; this one was removed, or is another service's."),
    "revoked_key": ("This key was revoked.", "Make a new one."),
    "expired_key": ("This key has expired.", "Make a new one."),
    "workspace_closed": ("The person whose key this is is not in its workspace any more.", "Ask an administrator."),
    "disabled_person": ("The person whose key this is was disabled.", "Ask an administrator."),
}


def _valid(row: SimpleNamespace | None, now_ms: int) -> SimpleNamespace:
    """The row of a key that opens something. Raises Unauthenticated for one that does not, or no longer."""
    if row is None:
        code = "invalid_key"
    elif row.revoked_ms is not None:
        code = "revoked_key"
    elif row.disabled_ms is not None:
        code = "disabled_person"
    elif row.expires_ms is not None and now_ms >= row.expires_ms:
        code = "expired_key"
    else:
        return row
    raise Unauthenticated(code, *_WRONG[code])
