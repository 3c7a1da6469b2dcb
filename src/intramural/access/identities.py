"""Who somebody is elsewhere: an issuer and a subject belong to one person here. Invitations tie the two together."""

import json
from dataclasses import dataclass

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from intramural.access.oidc.claims import Arrival
from intramural.access.secret import Pepper, new_token
from intramural.core.clock import Clock
from intramural.core.errors import Conflicting, Unauthenticated
from intramural.storage import Connection, Database
from intramural.storage import schema as t

#: An invitation is for the next days, and for one use.
INVITATION_S = 7 * 86_400
_PURPOSE = "invitation"


@dataclass(frozen=True, slots=True)
class Identity:
    """One person's identity at one provider. `groups`: of here, as the provider gave them the last time."""

    provider: str
    issuer: str
    subject: str
    person_id: str
    groups: tuple[str, ...]
    created_ms: int
    last_ms: int


class Identities:
    """Every identity. Changing methods work on the caller's open transaction."""

    def __init__(self, db: Database, clock: Clock, pepper: Pepper) -> None:
        self._db = db
        self._clock = clock
        self._pepper = pepper

    async def owner(self, connection: Connection, issuer: str, subject: str) -> str | None:
        """Whose identity this is: a person's identifier, None where nobody's yet."""
        where = (t.identities.c.issuer == issuer) & (t.identities.c.subject == subject)
        found: str | None = await connection.scalar(select(t.identities.c.person_id).where(where))
        return found

    async def has(self, connection: Connection, person_id: str, issuer: str) -> bool:
        """Whether this person has an account at this issuer already."""
        where = (t.identities.c.person_id == person_id) & (t.identities.c.issuer == issuer)
        return (await connection.execute(select(t.identities.c.subject).where(where).limit(1))).first() is not None

    async def of(self, person_id: str) -> list[Identity]:
        """A person's identities, by provider."""
        query = select(t.identities).where(t.identities.c.person_id == person_id).order_by(t.identities.c.provider)
        async with self._db.reading() as connection:
            return [
                Identity(
                    each.provider, each.issuer, each.subject, each.person_id,
                    tuple(json.loads(each.groups)), each.created_ms, each.last_ms,
                )
                for each in await connection.execute(query)
            ]  # fmt: skip

    async def tie(self, connection: Connection, arrival: Arrival, person_id: str) -> None:
        """This identity is that person's from now on. Raises Conflicting(`identity_taken`)."""
        now_ms = int(self._clock.now_s() * 1000)
        values = {"issuer": arrival.issuer, "subject": arrival.subject, "created_ms": now_ms}
        try:
            await connection.execute(
                insert(t.identities).values(person_id=person_id, **values, **self._news(arrival, now_ms))
            )
        except IntegrityError:
            raise Conflicting(
                "identity_taken", "This account belongs to another person here already.", "Use the other one."
            ) from None

    async def saw(self, connection: Connection, arrival: Arrival) -> None:
        """Somebody came as this identity; what the provider says of their groups replaces what it said before."""
        where = (t.identities.c.issuer == arrival.issuer) & (t.identities.c.subject == arrival.subject)
        now_ms = int(self._clock.now_s() * 1000)
        await connection.execute(update(t.identities).where(where).values(**self._news(arrival, now_ms)))

    async def untie(self, connection: Connection, person_id: str, provider: str) -> int:
        """Take a person's identities at this provider away; how many there were."""
        where = (t.identities.c.person_id == person_id) & (t.identities.c.provider == provider)
        return (await connection.execute(delete(t.identities).where(where))).rowcount

    async def invite(self, connection: Connection, person_id: str) -> tuple[str, int]:
        """A link's secret, by which the next one to sign in elsewhere becomes this person, and when it ends. Earlier
        ones end."""
        token, now_ms = new_token(self._clock), int(self._clock.now_s() * 1000)
        await connection.execute(delete(t.invitations).where(t.invitations.c.person_id == person_id))
        ends_ms = now_ms + INVITATION_S * 1000
        digest = self._pepper.digest(_PURPOSE, token)
        values = {"token_hash": digest, "person_id": person_id, "created_ms": now_ms, "expires_ms": ends_ms}
        await connection.execute(insert(t.invitations).values(**values))
        return token, ends_ms

    async def accept(self, connection: Connection, token: str) -> str:
        """Use an invitation up; whose it is. Raises Unauthenticated(`invitation_invalid`)."""
        where = t.invitations.c.token_hash == self._pepper.digest(_PURPOSE, token)
        row = (await connection.execute(select(t.invitations).where(where))).one_or_none()
        if row is None or row.expires_ms <= self._clock.now_s() * 1000:
            message = "This invitation is not valid: each works once, for a week."
            raise Unauthenticated("invitation_invalid", message, "Ask an administrator for another.")
        await connection.execute(delete(t.invitations).where(where))
        return str(row.person_id)

    def _news(self, arrival: Arrival, now_ms: int) -> dict[str, str | int]:
        groups = json.dumps(arrival.groups)
        return {"provider": arrival.provider, "groups": groups, "last_ms": now_ms}
