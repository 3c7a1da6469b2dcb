"""People: who they are, their role, whether they may come in."""

import asyncio
import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, Row, delete, exists, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from intramural.access.groups import GROUPS_OF, groups_from
from intramural.access.passwords import HashedPassword, Passwords
from intramural.access.policy import Thing
from intramural.access.roles import grants
from intramural.access.throttle import Attempt, Throttle
from intramural.core.actor import ROLES
from intramural.core.clock import Clock
from intramural.core.errors import Conflicting, Misasked, Missing, Throttled, Unauthenticated
from intramural.core.ids import new_id
from intramural.storage import Connection, Database
from intramural.storage import schema as t

#: Stands where a password's hash would, for who has none: nothing hashes to it.
NO_PASSWORD = HashedPassword("!")
#: Letters and digits of any script, then also `.`, `_`, `-`, `+` and `@` (so that an address may be a name).
_USERNAME = re.compile(r"[^\W_][\w.@+-]{0,63}")
_COLUMNS = (
    t.people.c.id,
    t.people.c.username,
    t.people.c.role,
    t.people.c.created_ms,
    t.people.c.disabled_ms,
    t.people.c.kind,
)
Kind = Literal["person", "service"]
#: Identifiers in one query: below what every database takes.
_AT_ONCE = 500
#: Of those who sign in, looked up at the same time.
_LOOKED_UP_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a name and a role. `disabled_ms` is when they were shut out, None while they may come in. `kind`:
    a service account has no password and no session; programs use its keys.
    """

    id: str
    username: str
    role: str
    created_ms: int
    disabled_ms: int | None
    kind: Kind = "person"


@dataclass(frozen=True, slots=True)
class Sought:
    """Which people are wanted: whose name holds `text` (in whatever case), of this kind and role, and of `ids` alone.

    At most `limit` of them (None: all), from the one after `after`, which is what the page before ended with. With
    `waiting` only people who may come in and cannot yet: they have no password, no passkey, no account at a provider.
    """

    text: str = ""
    kind: Kind | None = None
    role: str | None = None
    ids: Collection[str] | None = None
    after: str = ""
    limit: int | None = None
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class PeoplePage:
    """Some of the people sought, by name. `total`: how many there are; `after`: where to go on, None at the end."""

    people: list[Person]
    total: int
    after: str | None


@dataclass(frozen=True, slots=True)
class Proven:
    """A person who has just shown who they are. `Sessions.open` asks for it, and holds a password against the one that
    stands in the transaction: who signs in with a password that is being changed gets no session.

    `password_hash` is None for who showed something else: `method` says what, `issuer` and `issuer_session` on whose
    word that rests. `strong`: a second factor was shown with it; `passkey`: or what resists phishing as one does.
    """

    person: Person
    password_hash: str | None = field(repr=False)
    method: str | None = None
    issuer: str | None = None
    issuer_session: str | None = None
    strong: bool = False
    passkey: bool = False


class People:
    """Every person of this service. Changing methods work on the caller's open transaction."""

    def __init__(self, db: Database, clock: Clock, passwords: Passwords, throttle: Throttle) -> None:
        self._db = db
        self._clock = clock
        self._passwords = passwords
        self._throttle = throttle
        # who signs in with hundreds is looked up with a few: else all of them are one turn of the loop
        self._few = asyncio.Semaphore(_LOOKED_UP_AT_ONCE)

    async def hash_new(self, username: str, password: str) -> HashedPassword:
        """Check a new password for `username` against the rules and hash it; do this before the transaction.

        Raises Misasked (which rule, `param` `password`), Throttled when too many hashes are waiting.
        """
        return await self._passwords.hash(password, username)

    async def create(self, connection: Connection, username: str, password: HashedPassword | None, role: str) -> Person:
        """Add a person, or without `password` a service account. The first one must be an administrator; any set-up
        link ends with it.

        Raises Misasked(`bad_username`, `bad_role`), Conflicting(`username_taken`, `first_person_must_administer`).
        """
        username = check_username(username)
        kind: Kind = "service" if password is None else "person"
        await _check_role(connection, role, kind)
        first = await connection.scalar(select(func.count()).select_from(t.people)) == 0
        if first and role != "administrator":
            raise Conflicting(
                "first_person_must_administer", "The first person must be an administrator.", "Make one first."
            )
        person = Person(new_id("person", self._clock), username, role, int(self._clock.now_s() * 1000), None, kind)
        hashed = (password or NO_PASSWORD).text
        values = {"username_folded": fold(username), "password_hash": hashed}
        try:
            await connection.execute(insert(t.people).values(**_stored(person), **values))
        except IntegrityError:
            raise _taken(username) from None
        if first:
            await connection.execute(delete(t.setup_tokens))
        return person

    async def create_all(self, connection: Connection, people: Sequence[Person]) -> None:
        """Add people whose names and roles were checked, none of them with a password, and not the first ones.

        Raises Conflicting(`username_taken`) where one of the names is somebody's by now.
        """
        rows = [
            {"username_folded": fold(each.username), "password_hash": NO_PASSWORD.text, **_stored(each)}
            for each in people
        ]
        try:
            await connection.execute(insert(t.people), rows)
        except IntegrityError:
            message = "One of these names was given to somebody else in this moment."
            raise Conflicting("username_taken", message, "Do it again.", param="username") from None

    async def rename(self, connection: Connection, person_id: str, username: str) -> Person:
        """Call a person otherwise. Raises Missing(`person_not_found`), Misasked(`bad_username`),
        Conflicting(`username_taken`).
        """
        before = await self._stored_person(connection, person_id)
        username = check_username(username)
        values = {"username": username, "username_folded": fold(username)}
        try:
            await connection.execute(update(t.people).where(t.people.c.id == person_id).values(**values))
        except IntegrityError:
            raise _taken(username) from None
        return replace(before, username=username)

    async def authenticate(self, username: str, password: str, address: str) -> Proven:
        """Whose name and password these are. `address` is the client's, for throttling.

        Raises Unauthenticated(`sign_in_failed`), the same and after the same time whether the name, the password or a
        disabled person was the reason; Throttled after too many failures.
        """
        attempt = self.admit(username, address)
        proven, is_guess = None, True
        try:
            proven = await self._prove(username, password)
        except Throttled:  # the line before the hashing was full: nobody has looked at the password
            is_guess = False
            raise
        finally:
            self.failed(attempt) if proven is None and is_guess else self.succeeded(attempt)
        if proven is None:
            raise Unauthenticated(
                "sign_in_failed", "The name or the password is wrong.", "Check both; an administrator can reset it."
            )
        return proven

    def admit(self, username: str, address: str) -> Attempt:
        """Count an attempt to sign in that somebody else decides on, and tells by `succeeded` or `failed`.

        Raises Throttled(`too_many_attempts`, `sign_in_busy`).
        """
        return self._throttle.admit(fold(username), address, self._clock.monotonic_s())

    def succeeded(self, attempt: Attempt) -> None:
        """Take the attempt back."""
        self._throttle.succeeded(attempt)

    def failed(self, attempt: Attempt) -> None:
        """It stays counted."""
        self._throttle.failed(attempt, self._clock.monotonic_s())

    async def has_password(self, username: str) -> bool:
        """Whether somebody here has this name, and a password here."""
        return (await self._credentials(username))[1] is not None

    async def change(
        self, connection: Connection, person_id: str, *, role: str | None = None, disabled: bool | None = None
    ) -> Person:
        """Give another role, shut out or let in again. Shutting out ends every session; keys stop, and work again when
        the person is let in. Raises Missing(`person_not_found`), Misasked, Conflicting(`last_administrator`).
        """
        before = await self._stored_person(connection, person_id)
        now_ms = int(self._clock.now_s() * 1000)
        disabled_ms = before.disabled_ms if disabled is None else (before.disabled_ms or now_ms) if disabled else None
        if role is not None:
            await _check_role(connection, role, before.kind)
        role = role or before.role
        if disabled_ms is not None or role != "administrator":
            await self._keep_one_administrator(connection, before)
        where = t.people.c.id == person_id
        await connection.execute(update(t.people).where(where).values(role=role, disabled_ms=disabled_ms))
        if disabled_ms is not None:
            await connection.execute(delete(t.sessions).where(t.sessions.c.person_id == person_id))
        return replace(before, role=role, disabled_ms=disabled_ms)

    async def set_password(self, connection: Connection, person_id: str, password: HashedPassword) -> Proven:
        """Replace the password and end every session; the caller opens a new one for whom it has before it. Keys stay.

        Raises Missing(`person_not_found`), Conflicting(`service_has_no_password`).
        """
        person = await self._stored_person(connection, person_id)
        if person.kind == "service":
            message = f"{person.username} is a service account, which has keys and no password."
            raise Conflicting("service_has_no_password", message, "Make a key for it.")
        where = t.people.c.id == person_id
        await connection.execute(update(t.people).where(where).values(password_hash=password.text))
        await connection.execute(delete(t.sessions).where(t.sessions.c.person_id == person_id))
        return Proven(person, password.text)

    async def remove(self, connection: Connection, person_id: str) -> Person:
        """Remove a person with their sessions, keys and chats. Raises Missing, Conflicting(`last_administrator`)."""
        person = await self._stored_person(connection, person_id)
        await self._keep_one_administrator(connection, person)
        await connection.execute(delete(t.people).where(t.people.c.id == person_id))
        return person

    async def acted_upon(self, person_id: str) -> Thing:
        """As `thing`; nothing of whom there is not, so that who may not act on them does not learn of it."""
        try:
            return await self.thing(person_id)
        except Missing:
            return Thing()

    async def remove_check(self, connection: Connection, person_id: str) -> None:
        """Whether they may go. Raises Missing, Conflicting(`last_administrator`)."""
        await self._keep_one_administrator(connection, await self._stored_person(connection, person_id))

    async def arrived(self, connection: Connection, person_id: str) -> Person:
        """The person as this transaction sees them. Raises Missing(`person_not_found`)."""
        return await self._stored_person(connection, person_id)

    async def called(self, connection: Connection, username: str) -> Person | None:
        """Whoever has this name, in whatever case, as this transaction sees it."""
        found = await connection.execute(select(*_COLUMNS).where(t.people.c.username_folded == fold(username)))
        row = found.one_or_none()
        return None if row is None else _person(row)

    async def all_of(self, connection: Connection, person_ids: Collection[str]) -> dict[str, Person]:
        """Those of these people who are here, by identifier."""
        found: dict[str, Person] = {}
        wanted = list(person_ids)
        for start in range(0, len(wanted), _AT_ONCE):
            part = wanted[start : start + _AT_ONCE]
            rows = await connection.execute(select(*_COLUMNS).where(t.people.c.id.in_(part)))
            found.update((row.id, _person(row)) for row in rows)
        return found

    async def free_name(self, connection: Connection, wanted: str, spare: str) -> str:
        """`wanted` if it can be a name and nobody has it, else `spare`."""
        if not fold(wanted):
            return spare
        taken = select(t.people.c.id).where(t.people.c.username_folded == fold(wanted))
        return spare if (await connection.execute(taken)).first() is not None else wanted

    async def get(self, person_id: str) -> Person:
        """The person with this identifier. Raises Missing(`person_not_found`)."""
        async with self._db.reading() as connection:
            return await self._stored_person(connection, person_id)

    async def thing(self, person_id: str) -> Thing:
        """What the policy knows of a person: as the owner of what is theirs, and as whom somebody acts upon.

        Raises Missing(`person_not_found`).
        """
        async with self._db.reading() as connection:
            person = await self._stored_person(connection, person_id)
            lineages = await connection.scalar(select(GROUPS_OF).where(t.people.c.id == person_id))
            granted = await grants(connection, person.role)
        groups, _ = groups_from(lineages)
        return Thing(person_id, frozenset(groups), person.kind == "service", grants=granted)

    async def named(self, username: str) -> Person:
        """The person with this name, in whatever case. Raises Missing(`person_not_found`)."""
        async with self._db.reading() as connection:
            found = await connection.execute(select(*_COLUMNS).where(t.people.c.username_folded == fold(username)))
            return _person(found.one_or_none())

    async def list(self) -> list[Person]:
        """Everybody, by name."""
        async with self._db.reading() as connection:
            found = await connection.execute(select(*_COLUMNS).order_by(t.people.c.username_folded))
            return [_person(row) for row in found]

    async def page(self, sought: Sought, among: Collection[str] | None = None) -> PeoplePage:
        """Those who are sought, by name; with `among`, only of these."""
        where = _where(sought, among)
        query = select(*_COLUMNS, t.people.c.username_folded).where(*where).order_by(t.people.c.username_folded)
        if sought.after:
            query = query.where(t.people.c.username_folded > sought.after)
        if sought.limit is not None:
            query = query.limit(sought.limit + 1)
        async with self._db.reading() as connection:
            rows = (await connection.execute(query)).all()
            total = await connection.scalar(select(func.count()).select_from(t.people).where(*where)) or 0
        shown = rows if sought.limit is None else rows[: sought.limit]
        after = shown[-1].username_folded if len(shown) < len(rows) else None
        return PeoplePage([_person(row) for row in shown], total, after)

    async def _prove(self, username: str, password: str) -> Proven | None:
        async with self._few:
            person, stored = await self._credentials(username)
        if not await self._passwords.verify(stored, password) or person is None or stored is None:
            return None
        if self._passwords.outdated(stored):
            stored = await self._strengthen(person.id, stored, password)
        return Proven(person, stored) if person.disabled_ms is None else None

    async def _credentials(self, username: str) -> tuple[Person | None, str | None]:
        columns = (*_COLUMNS, t.people.c.password_hash)
        async with self._db.reading() as connection:
            found = await connection.execute(select(*columns).where(t.people.c.username_folded == fold(username)))
            row = found.one_or_none()
        if row is None:
            return None, None
        # Who has no password takes as long as who does not exist.
        return _person(row), None if row.password_hash == NO_PASSWORD.text else row.password_hash

    async def _strengthen(self, person_id: str, stored: str, password: str) -> str:
        """Put a hash of today's cost in the place of `stored`, unless the password was changed meanwhile."""
        text = await self._passwords.rehash(password)
        async with self._db.writing() as connection:
            where = (t.people.c.id == person_id) & (t.people.c.password_hash == stored)
            await connection.execute(update(t.people).where(where).values(password_hash=text))
            now = await connection.scalar(select(t.people.c.password_hash).where(t.people.c.id == person_id))
        if now == text or now is None:
            return text
        # Somebody else was faster: a sign-in that strengthened the same password, or a change to another one.
        return now if await self._passwords.verify(now, password) else stored

    async def _stored_person(self, connection: Connection, person_id: str) -> Person:
        found = await connection.execute(select(*_COLUMNS).where(t.people.c.id == person_id))
        return _person(found.one_or_none())

    async def _keep_one_administrator(self, connection: Connection, leaving: Person) -> None:
        if leaving.role != "administrator" or leaving.disabled_ms is not None:
            return
        others = select(func.count()).where(
            t.people.c.role == "administrator", t.people.c.disabled_ms.is_(None), t.people.c.id != leaving.id
        )
        if not await connection.scalar(others):
            raise Conflicting(
                "last_administrator",
                f"{leaving.username} is the last enabled administrator.",
                "Make somebody else an administrator first.",
            )


def check_username(username: str) -> str:
    """The name as it is kept (Unicode NFKC). Raises Misasked(`bad_username`)."""
    normal = unicodedata.normalize("NFKC", username)
    if not _USERNAME.fullmatch(normal):
        raise Misasked(
            "bad_username",
            "This cannot be a username.",
            "Use 1 to 64 letters, digits and . _ - + @, beginning with a letter or a digit.",
            param="username",
        )
    return normal


def fold(username: str) -> str:
    """What two spellings of one name have in common; empty for what cannot be a name, which nobody has."""
    normal = unicodedata.normalize("NFKC", username[:256])
    if not _USERNAME.fullmatch(normal):
        return ""
    return unicodedata.normalize("NFKC", normal.casefold())


def _where(sought: Sought, among: Collection[str] | None) -> list[ColumnElement[bool]]:
    """The conditions, but where to go on."""
    found = [t.people.c[name] == value for name, value in (("kind", sought.kind), ("role", sought.role)) if value]
    found += [t.people.c.id.in_(ids) for ids in (sought.ids, among) if ids is not None]
    if sought.text:
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", sought.text).casefold())
        found.append(t.people.c.username_folded.contains(text, autoescape=True))
    if sought.waiting:
        found += [t.people.c.kind == "person", t.people.c.disabled_ms.is_(None)]
        found.append(t.people.c.password_hash == NO_PASSWORD.text)
        found += [~exists().where(ways.c.person_id == t.people.c.id) for ways in (t.identities, t.passkeys)]
    return found


def _taken(username: str) -> Conflicting:
    return Conflicting(
        "username_taken", f"There is a person named {username!r} already.", "Choose another name.", param="username"
    )


async def _check_role(connection: Connection, role: str, kind: Kind) -> None:
    """Raises Misasked(`bad_role`)."""
    try:
        await grants(connection, role)
    except Missing as error:
        raise Misasked("bad_role", error.message, error.hint, param="role") from None
    for_services = role not in ROLES or role == "service"
    if (kind == "service" and not for_services) or (kind == "person" and role == "service"):
        message = f"The role {role!r} is not for a {'service account' if kind == 'service' else kind}."
        hint = "A service account has the role `service`, or one that was made here; a person has any other."
        raise Misasked("bad_role", message, hint, param="role")


def _stored(person: Person) -> dict[str, str | int | None]:
    return {column.name: getattr(person, column.name) for column in _COLUMNS}


def _person(row: Row[*tuple[Any, ...]] | None) -> Person:
    if row is None:
        raise Missing("person_not_found", "There is no such person.", "List the people to see who is there.")
    return Person(row.id, row.username, row.role, row.created_ms, row.disabled_ms, cast(Kind, row.kind))
