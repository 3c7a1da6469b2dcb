"""The open vault: everybody's data keys, and what is sealed and opened with them."""

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, Literal, TypeVar

from sqlalchemy import delete, insert, select, update

from intramural.core.actor import CONSOLE, SYSTEM
from intramural.core.clock import Clock
from intramural.core.config import VaultConfig
from intramural.core.errors import Broken, Missing, Unavailable
from intramural.storage import BlockingConnection, Connection, Database, DatabaseDown
from intramural.storage.schema import data_keys, people
from intramural.vault import streams
from intramural.vault.envelope import KEY_BYTES, DataKey, Place, WrappingKey, derived, generation_of
from intramural.vault.keyfile import KeyFile

#: `content` seals what a person wrote; `salts` makes the salts of the audit log's commitments, and stays the same for
#: ever, so that old receipts go on opening after a change of the other.
Purpose = Literal["content", "salts"]

_Result = TypeVar("_Result")

#: People whose keys are held open at once: about 3 kB each.
HELD = 1_024
#: Data keys wrapped anew in one transaction.
_REWRAPPED_AT_ONCE = 200
#: They act, and are no people: nobody erases them.
_OURS = frozenset({SYSTEM.person_id, CONSOLE.person_id})


@dataclass(frozen=True, slots=True)
class _Wrapped:
    """A row of `data_keys`."""

    person_id: str
    purpose: str
    generation: int
    wrapping_key: str
    wrapped: bytes

    @property
    def bound(self) -> bytes:
        return bound(self.person_id, self.purpose, self.generation)


@dataclass(frozen=True, slots=True)
class _Held:
    """A person's keys, open."""

    newest: DataKey
    content: dict[int, DataKey]
    salts: bytes


class Vault:
    """Made by `Vault.open`. Sealing and opening may be done on any thread, and ask no database.

    All wrapped keys are in memory (some 200 bytes a person), because one process holds a data directory; keys in clear
    are held for the `HELD` people seen last.
    """

    def __init__(self, db: Database, keys: KeyFile, clock: Clock, held: int = HELD) -> None:
        self._db = db
        self._keys = keys
        self._clock = clock
        self._most_held = held
        self._ours = clock.token_bytes(KEY_BYTES)
        self._wrapping: dict[str, WrappingKey] = {}
        self._current = ""
        self._wrapped: dict[str, tuple[_Wrapped, ...]] = {}
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._lock = Lock()
        self._making = asyncio.Lock()
        #: How many data keys `open` wrapped anew, for a change of the installation's key that had been cut off.
        self.rewrapped = 0

    @classmethod
    async def open(
        cls, db: Database, secrets_dir: Path, config: VaultConfig, clock: Clock, *, held: int = HELD
    ) -> "Vault":
        """Open the vault in `db`, or begin one; a change of the installation's key that was cut off is finished.

        Raises Untrusted(`vault_key_missing`|`secret_exposed`|`secret_damaged`|`data_key_wrong`), and as the key's lock
        does.
        """
        vault = cls(db, KeyFile(secrets_dir, config, clock), clock, held)
        async with db.reading() as connection:
            columns = [data_keys.c[name] for name in _Wrapped.__slots__]
            rows = [_Wrapped(*row) for row in await connection.execute(select(*columns))]
        await asyncio.to_thread(vault._load, begun=bool(rows))
        for row in rows:
            vault._wrapped[row.person_id] = (*vault._wrapped.get(row.person_id, ()), row)
        if len(vault._wrapping) > 1:
            vault.rewrapped = await vault.change_wrapping_key()
        if rows:  # a key that is not this database's is told of now, not at somebody's request
            vault._of(rows[0].person_id)
        return vault

    def _load(self, *, begun: bool) -> None:
        current, following = self._keys.current(make=not begun), self._keys.following()
        self._current = current.name
        self._wrapping = {key.name: key for key in (current, following) if key is not None}

    def locked_by(self) -> str:
        """What locks the installation's key; empty: nothing does. Blocking."""
        return self._keys.locked_by()

    # whose keys there are

    def knows(self, person_id: str) -> bool:
        """Whether this person has keys."""
        return person_id in self._wrapped

    async def prepare(self, person_id: str) -> None:
        """See that this person has keys: they are made, durably, before anything is sealed with them.

        Not to be called inside a transaction. Somebody who is not (any more) among the people gets none. Raises
        Unavailable(`vault_unavailable`) where the database cannot be written.
        """
        if person_id not in self._wrapped:
            await _to_its_end(self._prepare(person_id))

    async def _prepare(self, person_id: str) -> None:
        async with self._making:
            if person_id in self._wrapped:
                return
            rows = [self._fresh(person_id, "content", 1), self._fresh(person_id, "salts", 1)]
            if await self._written(person_id, rows):
                self._wrapped[person_id] = tuple(rows)

    async def _written(self, person_id: str, rows: Iterable[_Wrapped]) -> bool:
        """Whether there is such a person, who has these keys now."""
        try:
            return await self._db.write(partial(self._insert, person_id=person_id, rows=rows))
        except DatabaseDown as error:
            hint = "Look at the disk of the data directory: is it full, read-only or damaged?"
            raise Unavailable("vault_unavailable", "Keys cannot be written, so nothing was done.", hint) from error

    def _insert(self, connection: BlockingConnection, person_id: str, rows: Iterable[_Wrapped]) -> bool:
        there = select(people.c.id).where(people.c.id == person_id)
        if person_id not in _OURS and connection.execute(there).first() is None:
            return False
        now_ms = int(self._clock.now_s() * 1000)
        values = [{name: getattr(row, name) for name in _Wrapped.__slots__} | {"created_ms": now_ms} for row in rows]
        connection.execute(insert(data_keys), values)
        return True

    async def destroy(self, connection: Connection, person_id: str) -> int:
        """Destroy this person's keys, in the caller's transaction; then call `forget`. How many there were.

        What was sealed with them is unreadable from then on, wherever there is a copy of it.
        """
        return (await connection.execute(delete(data_keys).where(data_keys.c.person_id == person_id))).rowcount

    def forget(self, person_id: str) -> None:
        """Their keys are destroyed: nothing in memory knows them any more."""
        with self._lock:
            self._wrapped.pop(person_id, None)
            self._held.pop(person_id, None)

    # sealing and opening

    def seal(self, person_id: str, place: Place, row_id: str, value: bytes) -> bytes:
        """`value` as it is kept in the row `row_id`. Raises Missing(`no_data_key`)."""
        return self._of(person_id).newest.seal(place, row_id, person_id, value)

    def reveal(self, person_id: str, place: Place, row_id: str, sealed: bytes) -> bytes:
        """The value again. Raises Untrusted(`sealed_wrong`) where it was not sealed there, Missing(`no_data_key`)."""
        generation = generation_of(place, sealed)
        key = self._of(person_id).content.get(generation)
        if key is None:
            raise Broken("sealed_lost", "The key that sealed this is gone.", "Restore the database from one backup.")
        return key.open(place, row_id, person_id, sealed)

    def generation(self, person_id: str) -> int:
        """Which of this person's keys seals now. Raises Missing(`no_data_key`)."""
        return self._of(person_id).newest.generation

    def words_key(self, person_id: str) -> bytes:
        """Of the words in the index of this person's files (32 bytes). Raises Missing(`no_data_key`)."""
        return self._of(person_id).newest.words

    def states_key(self, person_id: str) -> bytes:
        """Of what models have computed for this person (32 bytes). Who has no key (any more) gets one of this process
        alone: what is kept under it nobody can use again.
        """
        try:
            return self._of(person_id).newest.states
        except Missing:
            return derived(self._ours, person_id)

    def salts_key(self, person_id: str) -> bytes:
        """Of this person's commitments in the audit log (32 bytes). Raises Missing(`no_data_key`)."""
        return self._of(person_id).salts

    def heads_key(self, person_id: str) -> bytes:
        """Of what this person's chats come to (32 bytes); a change of their data key leaves it. Raises Missing."""
        return derived(self._of(person_id).salts, "heads")

    def sealer(self, person_id: str, file_id: str) -> streams.Sealer:
        """Seals the bytes of a file. Raises Missing(`no_data_key`)."""
        key = self._of(person_id).newest
        return streams.Sealer(key.files, key.generation, _file_bound(person_id, file_id))

    def opened(self, person_id: str, file_id: str, file: BinaryIO) -> streams.Opened:
        """A sealed file, from its beginning. Raises Untrusted(`sealed_wrong`), Missing(`no_data_key`)."""
        head = streams.head_of(file)
        if head is None:
            raise streams.wrong()
        generation, salt = head
        key = self._of(person_id).content.get(generation)
        if key is None:
            raise streams.wrong()
        return streams.Opened(file, key.files, salt, _file_bound(person_id, file_id))

    def _of(self, person_id: str) -> _Held:
        with self._lock:
            held = self._held.get(person_id)
            if held is not None:
                self._held.move_to_end(person_id)
                return held
            rows = self._wrapped.get(person_id)
        if not rows:
            raise Missing("no_data_key", "There is no key for this person.", "They may have been erased.")
        content = {row.generation: DataKey(row.generation, self._unwrap(row)) for row in _of_purpose(rows, "content")}
        (salts,) = _of_purpose(rows, "salts")
        held = _Held(content[max(content)], content, self._unwrap(salts))
        with self._lock:
            if self._wrapped.get(person_id) is rows:  # not destroyed or changed meanwhile
                self._held[person_id] = held
                if len(self._held) > self._most_held:
                    self._held.popitem(last=False)
        return held

    # keys, wrapped

    def _fresh(self, person_id: str, purpose: Purpose, generation: int) -> _Wrapped:
        return self._wrapped_by(self._current, person_id, purpose, generation, self._clock.token_bytes(KEY_BYTES))

    def _wrapped_by(self, name: str, person_id: str, purpose: str, generation: int, key: bytes) -> _Wrapped:
        wrapped = self._wrapping[name].wrap(key, bound(person_id, purpose, generation))
        return _Wrapped(person_id, purpose, generation, name, wrapped)

    def _unwrap(self, row: _Wrapped) -> bytes:
        key = self._wrapping.get(row.wrapping_key) or self._wrapping[self._current]
        return key.unwrap(row.wrapped, row.bound)

    # another key of the installation

    async def change_wrapping_key(self) -> int:
        """Put a new installation's key in the place of the current one: every data key is wrapped anew, nothing else.

        May be ended at any moment, and is finished by the next `open`. The old key opens nothing afterwards. How many
        data keys were wrapped anew.
        """
        async with self._making:
            following = await asyncio.to_thread(self._keys.following, make=True)
            assert following is not None
            self._wrapping[following.name] = following
            self._current = following.name
            count = 0
            while done := await self._db.write(self._rewrap_some):
                count += len(done)
                with self._lock:
                    for row in done:
                        rest = [r for r in self._wrapped[row.person_id] if (r.purpose, r.generation) != _key_of(row)]
                        self._wrapped[row.person_id] = (*rest, row)
            await self._db.scrub()
            await asyncio.to_thread(self._keys.exchange)
            self._wrapping = {following.name: following}
            return count

    def _rewrap_some(self, connection: BlockingConnection) -> list[_Wrapped]:
        columns = [data_keys.c[name] for name in _Wrapped.__slots__]
        wanted = select(*columns).where(data_keys.c.wrapping_key != self._current).limit(_REWRAPPED_AT_ONCE)
        done = []
        for old in [_Wrapped(*row) for row in connection.execute(wanted)]:
            row = self._wrapped_by(self._current, old.person_id, old.purpose, old.generation, self._unwrap(old))
            connection.execute(
                update(data_keys)
                .where(
                    data_keys.c.person_id == row.person_id,
                    data_keys.c.purpose == row.purpose,
                    data_keys.c.generation == row.generation,
                )
                .values(wrapping_key=row.wrapping_key, wrapped=row.wrapped)
            )
            done.append(row)
        return done

    # another data key of one person

    async def add_generation(self, person_id: str) -> int:
        """A new data key of this person's, with which everything is sealed from now on; older ones go on opening."""
        await self.prepare(person_id)
        return await _to_its_end(self._add_generation(person_id))

    async def _add_generation(self, person_id: str) -> int:
        async with self._making:
            fresh = self._fresh(person_id, "content", self.generation(person_id) + 1)
            if not await self._written(person_id, [fresh]):
                raise Missing("person_not_found", "There is no such person.", "List the people to see who is there.")
            with self._lock:
                self._wrapped[person_id] = (*self._wrapped[person_id], fresh)
                self._held.pop(person_id, None)
        return fresh.generation

    async def drop_older_generations(self, person_id: str) -> None:
        """Destroy this person's data keys but the newest: nothing is sealed with them any more."""
        newest = self.generation(person_id)
        older = (data_keys.c.person_id == person_id) & (data_keys.c.purpose == "content")
        async with self._making:
            async with self._db.writing() as connection:
                await connection.execute(delete(data_keys).where(older & (data_keys.c.generation < newest)))
            with self._lock:
                kept = [r for r in self._wrapped[person_id] if r.purpose != "content" or r.generation >= newest]
                self._wrapped[person_id] = tuple(kept)
                self._held.pop(person_id, None)
        await self._db.scrub()


async def _to_its_end(work: Coroutine[Any, Any, _Result]) -> _Result:
    """What `work` returns. It goes on where its caller is cancelled: what is committed must be known here as well."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # whoever asked may have left
    return await asyncio.shield(task)


def bound(person_id: str, purpose: str, generation: int) -> bytes:
    """What a wrapped data key is bound to."""
    return f"data_keys|{purpose}|{person_id}|{generation}".encode()


def _of_purpose(rows: Iterable[_Wrapped], purpose: Purpose) -> list[_Wrapped]:
    return [row for row in rows if row.purpose == purpose]


def _key_of(row: _Wrapped) -> tuple[str, int]:
    return row.purpose, row.generation


def _file_bound(person_id: str, file_id: str) -> bytes:
    return f"file|{file_id}|{person_id}".encode()
