"""All that is kept sealed, for those above who hold no SQL: gone through as a whole, or for one person."""

from functools import partial
from typing import Any

from sqlalchemy import delete, insert, select

from intramural.core.clock import Clock
from intramural.storage import Connection, Database
from intramural.storage.schema import data_keys, erasures, people, vault_steps
from intramural.vault import everything, places
from intramural.vault.vault import Vault

_SEALED = "content sealed"


class Stored:
    """What the database keeps."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    # as a whole

    async def is_sealed(self) -> bool:
        """Whether all that an older version kept in clear is sealed."""
        wanted = select(vault_steps.c.name).where(vault_steps.c.name == _SEALED)
        async with self._db.reading() as connection:
            return (await connection.execute(wanted)).first() is not None

    async def seal_clear(self, vault: Vault) -> int:
        """Seal what an older version kept in clear; how many values that were. Nothing of it stays in the files."""
        async with self._db.reading() as connection:
            everybody = list((await connection.execute(select(people.c.id))).scalars())
        for person_id in everybody:
            await vault.prepare(person_id)
        count = 0
        for each in places.ALL:
            count += await places.each_row(self._db, partial(places.seal_some, vault, each))
        # also where nothing was left to seal: a start before may have been cut off between that and this
        await self._db.scrub(whole=True)
        return count

    async def note_sealed(self) -> None:
        """From now on `is_sealed`."""
        done = insert(vault_steps).values(name=_SEALED, done_ms=int(self._clock.now_s() * 1000))
        async with self._db.writing() as connection:
            await connection.execute(done)

    async def scrub(self) -> None:
        """Nothing of what was deleted stays in the database's files."""
        await self._db.scrub()

    # of one person

    async def reseal(self, vault: Vault, person_id: str) -> int:
        """Seal with this person's newest data key what older ones sealed; others read and write meanwhile. How many."""
        count = 0
        for each in places.ALL:
            count += await places.each_row(self._db, partial(places.reseal_some, vault, each, person_id))
        return count

    async def shown(self, vault: Vault, person_id: str) -> dict[str, list[dict[str, Any]]]:
        """Every row of this person's by table, opened."""
        return await everything.shown(self._db, vault, person_id)

    async def has(self, person_id: str) -> bool:
        """Whether this person is here, or a key of theirs."""
        async with self._db.reading() as connection:
            for table, column in ((people, people.c.id), (data_keys, data_keys.c.person_id)):
                wanted = select(column).select_from(table).where(column == person_id).limit(1)
                if (await connection.execute(wanted)).first() is not None:
                    return True
        return False

    async def counted(self, connection: Connection, person_id: str) -> tuple[dict[str, int], dict[str, int]]:
        """How many rows of this person's an erasure deletes, and how many stay, by table."""
        found = await everything.counted(connection, person_id)
        stays = {table.name for table in everything.STAYS}
        gone = {name: count for name, count in found.items() if name not in stays}
        return gone, {name: count for name, count in found.items() if name in stays}

    async def remove(self, connection: Connection, person_id: str) -> None:
        """Delete this person's rows, in the caller's transaction; their keys are `Vault.destroy`'s."""
        await everything.remove(connection, person_id)

    async def certify(self, connection: Connection, person_id: str, time_ms: int, certificate: str) -> None:
        """Keep the certificate of an erasure."""
        await connection.execute(delete(erasures).where(erasures.c.person_id == person_id))
        values = {"person_id": person_id, "time_ms": time_ms, "certificate": certificate}
        await connection.execute(insert(erasures).values(**values))

    async def certificate(self, person_id: str) -> str | None:
        """The certificate, if this person was erased."""
        async with self._db.reading() as connection:
            wanted = select(erasures.c.certificate).where(erasures.c.person_id == person_id)
            found: str | None = await connection.scalar(wanted)
        return found
