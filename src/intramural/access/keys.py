"""API keys: a person's stand-in for programs, with its own scopes, models and end."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Row, func, insert, select, update

from intramural.access.lately import Lately, later_ms
from intramural.access.naming import checked_name
from intramural.access.policy import ROLE_SCOPES, scopes_of
from intramural.access.roles import grants
from intramural.access.secret import Pepper, key_hint, new_key
from intramural.core.actor import ROLES, SCOPES, Scope
from intramural.core.clock import Clock
from intramural.core.errors import Conflicting, Misasked, Missing
from intramural.core.ids import new_id
from intramural.storage import Connection, Database
from intramural.storage import schema as t

PURPOSE = "key"
MAX_MODELS = 200
#: Keys that work, for one person at a time: more than any use, fewer than would fill a disk.
MAX_KEYS = 500


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its secret. `hint` is how it begins; `models` None means any; times in milliseconds. With a
    `workspace_id` whatever is asked with it is asked in that workspace.
    """

    id: str
    person_id: str
    username: str
    name: str
    hint: str
    scopes: frozenset[Scope]
    models: frozenset[str] | None
    created_ms: int
    expires_ms: int | None
    revoked_ms: int | None
    last_used_ms: int | None
    workspace_id: str | None = None


class Keys:
    """Every key. Changing methods work on the caller's open transaction."""

    def __init__(self, db: Database, clock: Clock, pepper: Pepper, lately: Lately) -> None:
        self._db = db
        self._clock = clock
        self._pepper = pepper
        self._lately = lately

    async def create(
        self,
        connection: Connection,
        person_id: str,
        name: str,
        scopes: Collection[str],
        models: Collection[str] | None = None,
        expires_ms: int | None = None,
        workspace_id: str | None = None,
    ) -> tuple[Key, str]:
        """Make a key; the text returned beside it is the only copy of its secret there will ever be.

        Raises Misasked (`bad_key_name`, `bad_scopes`, `bad_models`, `bad_expiry`), Missing(`person_not_found`),
        Conflicting(`too_many_keys`).
        """
        username, role, allowed = await self._holder(connection, person_id)
        now_ms = int(self._clock.now_s() * 1000)
        if expires_ms is not None and expires_ms <= now_ms:
            raise Misasked("bad_expiry", "The key would end before it begins.", "Choose a later time.", param="expires")
        secret = new_key(self._clock)
        key = Key(
            id=new_id("key", self._clock),
            person_id=person_id,
            username=username,
            name=checked_name("bad_key_name", "key", name),
            hint=key_hint(secret),
            scopes=_check_scopes(scopes, role, allowed),
            models=_check_models(models),
            created_ms=now_ms,
            expires_ms=expires_ms,
            revoked_ms=None,
            last_used_ms=None,
            workspace_id=workspace_id,
        )
        await connection.execute(insert(t.keys).values(_stored(key, self._pepper.digest(PURPOSE, secret))))
        return key, secret

    async def revoke(self, connection: Connection, key_id: str) -> Key:
        """End a key, now and for good; one that has ended stays as it is. Raises Missing(`key_not_found`)."""
        key = await self._key(connection, key_id)
        if key.revoked_ms is not None:
            return key
        now_ms = int(self._clock.now_s() * 1000)
        await connection.execute(update(t.keys).where(t.keys.c.id == key_id).values(revoked_ms=now_ms))
        return await self._key(connection, key_id)

    async def get(self, key_id: str) -> Key:
        """The key with this identifier (not its secret). Raises Missing(`key_not_found`)."""
        async with self._db.reading() as connection:
            return await self._key(connection, key_id)

    async def list(self, person_id: str | None = None) -> list[Key]:
        """The keys of one person, or with None everybody's; the newest first, ended ones included."""
        query = select(t.keys, t.people.c.username).join(t.people).order_by(t.keys.c.id.desc())
        if person_id is not None:
            query = query.where(t.keys.c.person_id == person_id)
        async with self._db.reading() as connection:
            return [self._from(row) for row in await connection.execute(query)]

    async def _key(self, connection: Connection, key_id: str) -> Key:
        query = select(t.keys, t.people.c.username).join(t.people).where(t.keys.c.id == key_id)
        row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise Missing("key_not_found", "There is no such key.", "List the keys to see which are there.")
        return self._from(row)

    async def _holder(self, connection: Connection, person_id: str) -> tuple[str, str, frozenset[Scope]]:
        """Name, role, and the scopes that the role gives."""
        found = await connection.execute(select(t.people.c.username, t.people.c.role).where(t.people.c.id == person_id))
        row = found.one_or_none()
        if row is None:
            raise Missing("person_not_found", "There is no such person.", "List the people to see who is there.")
        live = select(func.count()).where(t.keys.c.person_id == person_id, t.keys.c.revoked_ms.is_(None))
        if (await connection.scalar(live) or 0) >= MAX_KEYS:
            raise Conflicting(
                "too_many_keys", f"{row.username} has {MAX_KEYS} keys.", "Revoke those that are not used."
            )
        return row.username, row.role, await role_scopes(connection, row.role)

    def _from(self, row: Row[Any]) -> Key:
        return Key(
            id=row.id,
            person_id=row.person_id,
            username=row.username,
            name=row.name,
            hint=row.hint,
            scopes=scopes_from(row.scopes),
            models=models_from(row.models),
            created_ms=row.created_ms,
            expires_ms=row.expires_ms,
            revoked_ms=row.revoked_ms,
            last_used_ms=later_ms(row.last_used_ms, self._lately.keys.get(row.id)),
            workspace_id=row.workspace_id,
        )


async def role_scopes(connection: Connection, role: str) -> frozenset[Scope]:
    """The scopes that a role gives. Raises Missing(`role_not_found`)."""
    known = next((each for each in ROLES if each == role), None)
    return ROLE_SCOPES[known] if known is not None else scopes_of(await grants(connection, role))


def scopes_from(stored: str) -> frozenset[Scope]:
    """Scopes as the table keeps them, parted by spaces."""
    return frozenset(cast(Scope, scope) for scope in stored.split())


def models_from(stored: str | None) -> frozenset[str] | None:
    """Models as the table keeps them: a JSON list, or NULL for any."""
    return None if stored is None else frozenset(json.loads(stored))


def _stored(key: Key, digest: bytes) -> dict[str, Any]:
    return {
        "id": key.id,
        "person_id": key.person_id,
        "name": key.name,
        "hint": key.hint,
        "key_hash": digest,
        "scopes": " ".join(sorted(key.scopes)),
        "models": None if key.models is None else json.dumps(sorted(key.models)),
        "created_ms": key.created_ms,
        "expires_ms": key.expires_ms,
        "workspace_id": key.workspace_id,
    }


def _check_scopes(scopes: Collection[str], role: str, allowed: frozenset[Scope]) -> frozenset[Scope]:
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        message = f"There is no scope {unknown[0]!r}." if unknown else "A key needs at least one scope."
        raise Misasked("bad_scopes", message, f"Scopes: {', '.join(SCOPES)}.", param="scopes")
    wanted = frozenset(cast(Scope, scope) for scope in scopes)
    beyond = sorted(wanted - allowed)
    if beyond:
        raise Misasked(
            "bad_scopes",
            f"A {role}'s key cannot have the scope {beyond[0]!r}.",
            f"It can have: {', '.join(sorted(allowed))}.",
            param="scopes",
        )
    return wanted


def _check_models(models: Collection[str] | None) -> frozenset[str] | None:
    if models is None:
        return None
    if not 0 < len(models) <= MAX_MODELS or not all(0 < len(name) <= 256 and name.isprintable() for name in models):
        raise Misasked(
            "bad_models", f"Name 1 to {MAX_MODELS} models, or leave it out for any.",
            "List the models to see their names.", param="models",
        )  # fmt: skip
    return frozenset(models)
