"""The first start: a link, printed where the service was started, lets its reader make the first administrator."""

from sqlalchemy import delete, func, insert, select

from intramural.access.passwords import HashedPassword
from intramural.access.people import People, Proven
from intramural.access.secret import Pepper, new_token
from intramural.core.clock import Clock
from intramural.core.errors import Conflicting, Unauthenticated
from intramural.storage import Connection, Database
from intramural.storage import schema as t

_PURPOSE = "setup"


class Setup:
    """The one-time token. There is no account and no password before it is used."""

    def __init__(self, db: Database, clock: Clock, pepper: Pepper, people: People) -> None:
        self._db = db
        self._clock = clock
        self._pepper = pepper
        self._people = people
        self._done = False

    async def needed(self) -> bool:
        """Whether there is no person yet. Once there is one there always will be, so a no is remembered."""
        if not self._done:
            async with self._db.reading() as connection:
                self._done = await _someone(connection)
        return not self._done

    async def begin(self) -> str | None:
        """A fresh token for the link, at each start; earlier ones end. None where there are people already."""
        async with self._db.writing() as connection:
            if await _someone(connection):
                return None
            token = new_token(self._clock)
            await connection.execute(delete(t.setup_tokens))
            await connection.execute(
                insert(t.setup_tokens).values(
                    token_hash=self._pepper.digest(_PURPOSE, token), created_ms=int(self._clock.now_s() * 1000)
                )
            )
        return token

    async def check(self, token: str) -> None:
        """Raise what `complete` would raise for this token; ask before hashing, so that a stranger costs nothing."""
        async with self._db.reading() as connection:
            await self._check(connection, token)

    async def complete(self, connection: Connection, token: str, username: str, password: HashedPassword) -> Proven:
        """Use the token up and make the first administrator, or neither.

        Raises Unauthenticated(`setup_token_invalid`), Conflicting(`already_set_up`), Misasked(`bad_username`).
        """
        await self._check(connection, token)
        person = await self._people.create(connection, username, password, "administrator")  # ends the token too
        return Proven(person, password.text)

    async def _check(self, connection: Connection, token: str) -> None:
        if await _someone(connection):
            raise Conflicting("already_set_up", "This service is set up already.", "Sign in instead.")
        found = select(t.setup_tokens).where(t.setup_tokens.c.token_hash == self._pepper.digest(_PURPOSE, token))
        if (await connection.execute(found)).one_or_none() is None:
            raise Unauthenticated(
                "setup_token_invalid",
                "This set-up link is not valid: each works once, until the next start.",
                "Use the link printed at the latest start of the service.",
            )


async def _someone(connection: Connection) -> bool:
    return bool(await connection.scalar(select(func.count()).select_from(t.people)))
