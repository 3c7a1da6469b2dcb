"""Roles of the institution's own: a name, and permissions in the words of `policy.permissions`."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import delete, func, insert, select, update

from intramural.access.policy import grantable, role_permissions
from intramural.core.actor import ROLES
from intramural.core.clock import Clock
from intramural.core.errors import Conflicting, Misasked, Missing
from intramural.storage import Connection, Database
from intramural.storage import schema as t

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[ _-][a-z0-9]+)*")
MAX_NAME_CHARS = 40


@dataclass(frozen=True, slots=True)
class CustomRole:
    """A role of the institution's own."""

    name: str
    permissions: frozenset[str]


class Roles:
    """Every role. Changing methods work on the caller's open transaction."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def put(self, connection: Connection, name: str, permissions: Collection[str]) -> CustomRole:
        """Make a role, or give one that there is other permissions, which count at the next request.

        Raises Misasked(`bad_role_name`, `bad_permissions`).
        """
        if len(name) > MAX_NAME_CHARS or not _NAME.fullmatch(name) or name in ROLES:
            message = f"A role's name is of words in lower case, {MAX_NAME_CHARS} characters at most, and new."
            raise Misasked("bad_role_name", message, f"There always are: {', '.join(ROLES)}.", param="name")
        unknown = sorted(set(permissions) - grantable())
        if unknown or not permissions:
            message = f"No role can have {unknown[0]!r}." if unknown else "A role needs at least one permission."
            hint = f"Permissions: {', '.join(sorted(grantable()))}."
            raise Misasked("bad_permissions", message, hint, param="permissions")
        role = CustomRole(name, frozenset(permissions))
        stored = " ".join(sorted(role.permissions))
        changed = await connection.execute(update(t.roles).where(t.roles.c.name == name).values(permissions=stored))
        if not changed.rowcount:
            values = {"name": name, "permissions": stored, "created_ms": int(self._clock.now_s() * 1000)}
            await connection.execute(insert(t.roles).values(values))
        return role

    async def remove(self, connection: Connection, name: str) -> None:
        """Remove a role. Raises Missing(`role_not_found`), Conflicting(`role_in_use`) while somebody has it."""
        holders = await connection.scalar(select(func.count()).where(t.people.c.role == name))
        if holders:
            raise Conflicting("role_in_use", f"{holders} people have the role {name!r}.", "Give them another one.")
        if not (await connection.execute(delete(t.roles).where(t.roles.c.name == name))).rowcount:
            raise missing(name)

    async def list(self) -> list[CustomRole]:
        """The institution's own, by name."""
        async with self._db.reading() as connection:
            found = await connection.execute(select(t.roles).order_by(t.roles.c.name))
            return [CustomRole(row.name, permissions_from(row.permissions)) for row in found]

    async def grants(self, name: str) -> frozenset[str]:
        """What somebody of this role may do. Raises Missing(`role_not_found`)."""
        async with self._db.reading() as connection:
            return await grants(connection, name)


async def grants(connection: Connection, name: str) -> frozenset[str]:
    """What somebody of this role may do, within a transaction. Raises Missing(`role_not_found`)."""
    for role in ROLES:
        if role == name:
            return role_permissions(role)
    stored = await connection.scalar(select(t.roles.c.permissions).where(t.roles.c.name == name))
    if stored is None:
        raise missing(name)
    return permissions_from(stored)


def permissions_from(stored: str) -> frozenset[str]:
    """Permissions as the table keeps them, parted by blanks."""
    return frozenset(stored.split())


def missing(name: str) -> Missing:
    """The error for a role that there is not."""
    return Missing("role_not_found", f"There is no role {name!r}.", "List the roles to see which are there.")
