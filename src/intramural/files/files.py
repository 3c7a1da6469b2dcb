"""Stored files: a row each in the database, and their bytes on the disk.

The bytes are durable before the row is, and the row is gone before the bytes are. What a crash leaves between the two
is bytes without a row, and those `sweep` removes.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from sqlalchemy import ColumnElement, Row, func, insert, or_, select, update

from intramural.core.actor import Whose
from intramural.core.clock import Clock
from intramural.core.config import FilesConfig
from intramural.core.errors import Broken, Misasked, Missing, TooLarge, Untrusted
from intramural.core.ids import new_id
from intramural.files import search
from intramural.files.disk import Arriving, Disk
from intramural.files.search import Passage
from intramural.files.shares import ANY, Holder, Most, Room, stored
from intramural.storage import BlockingConnection, Condition, Connection, Database
from intramural.storage.schema import files as table
from intramural.vault import Heads, Kind, Vault
from intramural.vault.heads import all_kept_changed, kept_changed
from intramural.vault.places import FILE_HEAD, FILE_NAME
from intramural.vault.sums import NOTHING, Head

#: What a file is for, as its owner says. Those that end in `output` are made here.
PURPOSES = ("assistants", "batch", "batch_output", "evals", "fine-tune", "user_data", "vision")
_NAME = FILE_NAME.place
MAX_NAME_CHARS = 255
MAX_LIST = 10_000
#: In one transaction: a large file must not hold up everybody else's.
_PASSAGES_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file. `digest` is `sha256:<hex>`; `expires_ms` is when it is removed, None: never. Times in milliseconds."""

    id: str
    person_id: str
    name: str
    purpose: str
    size_bytes: int
    digest: str
    created_ms: int
    expires_ms: int | None
    #: `ready`: its text can be searched; `pending`: soon; None: it is not searched.
    search: str | None = None
    #: The workspace it is of, if it is of one.
    workspace_id: str | None = None
    #: The key that it was stored with, if it was one.
    key_id: str | None = None

    @property
    def whose(self) -> Whose:
        return Whose(self.person_id, self.workspace_id)


class Files:
    """Everybody's files, each reached only by saying whose it is, and of which workspace.

    A person's share, their keys and what is erased with them are of all their files, wherever those are.
    """

    def __init__(self, db: Database, vault: Vault, folder: Path, config: FilesConfig, clock: Clock) -> None:
        self._db = db
        self._vault = vault
        self._disk = Disk(folder, vault, config.keep_free_bytes)
        self._index = search.Index(vault)
        self._config = config
        self._clock = clock
        kind = Kind("file", "files", FILE_HEAD, kept_changed, all_kept_changed)
        self.heads = self._heads = Heads(vault, clock, kind, self._lying)
        self._on_their_way: set[str] = set()
        self._room = Room(config.max_person_bytes, config.max_person_files)

    async def open(self) -> None:
        """At start: make the folder, and remove what a crash left."""
        await asyncio.to_thread(self._disk.prepare)
        await self.sweep()

    async def stored_bytes(self, holder: Holder) -> int:
        """How many bytes the files have together that count in a holder's share."""
        async with self._db.reading() as connection:
            return (await stored(connection, holder))[0]

    async def arriving(
        self, whose: Whose, announced_bytes: int = 0, *, counted: bool = True, most: Most = ANY
    ) -> Arriving:
        """Begin a file of this person's; end with `keep` and `settled`, or `settled` alone.

        Raises TooLarge(`file_too_large`), Refused(`files_quota`), Unavailable(`disk_full`), at once where the announced
        length tells; `write` raises them as soon as the limit is passed. `counted`: whether this person's share and
        the limit of a file may refuse it; what the service itself makes is kept in any case.
        """
        file_id = new_id("file", self._clock)
        if not counted:
            return self._begun(whose.person_id, file_id, lambda more_bytes: None)
        upload = self._room.begin(file_id, whose, most)
        try:
            async with self._db.reading() as connection:
                used = await self._room.look(connection, upload, whose, most)
            self._room.check(used, whose, most, announced_bytes)
            self._room.require(upload, whose, most, announced_bytes)
            self._check_size(announced_bytes)
            self._disk.require_room(announced_bytes)

            def admit(more_bytes: int) -> None:
                self._check_size(upload.size_bytes + more_bytes)
                self._room.admit(upload, whose, most, more_bytes)

            return self._begun(whose.person_id, file_id, admit)
        except BaseException:
            self._room.end(file_id, kept=False)
            raise

    def _begun(self, person_id: str, file_id: str, admit: Callable[[int], None]) -> Arriving:
        arriving = self._disk.arriving(person_id, file_id, admit)
        self._on_their_way.add(arriving.id)
        return arriving

    async def keep(
        self,
        connection: Connection,
        whose: Whose,
        arriving: Arriving,
        *,
        name: str,
        purpose: str,
        expires_ms: int | None,
        counted: bool = True,
        most: Most = ANY,
    ) -> StoredFile:
        """The row of a file that is on the disk (`finish`), in the caller's transaction. Raises Refused(`files_quota`).

        `counted` and `most` as for `arriving`.
        """
        if counted:
            used = await self._room.used(connection, whose, most)
            self._room.check(used, whose, most, arriving.size_bytes)
        now_ms = self._now_ms()
        searched = search.is_searchable(name, purpose, arriving.size_bytes, self._config.max_search_bytes)
        file = StoredFile(
            arriving.id,
            whose.person_id,
            name,
            purpose,
            arriving.size_bytes,
            arriving.digest,
            now_ms,
            expires_ms,
            "pending" if searched else None,
            whose.workspace_id,
            most.key_id,
        )
        sealed = self._vault.seal(whose.person_id, _NAME, file.id, name.encode())
        about = self._heads.about(whose.person_id, file.id, _said_of(name, file), whose.workspace_id)
        head = Head(0, NOTHING, about)
        values = asdict(file) | {"name": sealed, "head": self._heads.sealed(whose.person_id, file.id, head)}
        await connection.execute(insert(table).values(**values))
        await connection.run_sync(self._heads.moved, whose.person_id, file.id, None, head)
        return file

    async def settled(self, whose: Whose, arriving: Arriving, *, counted: bool = True) -> None:
        """The upload is over, however it ended: without a row nothing stays of it. `counted` as for `arriving`."""
        kept = None
        try:
            async with self._db.reading() as connection:
                kept = await connection.scalar(select(table.c.id).where(table.c.id == arriving.id))
        finally:
            self._room.end(arriving.id, kept=kept is not None)
        if kept is None:
            await arriving.abandon()
        self._on_their_way.discard(arriving.id)

    async def get(self, whose: Whose, file_id: str) -> StoredFile:
        """One file. Raises Missing(`file_not_found`)."""
        async with self._db.reading() as connection:
            return await self._own(connection, whose, file_id)

    async def list(
        self,
        whose: Whose,
        *,
        purpose: str | None,
        limit: int,
        after: str | None,
        newest_first: bool,
        ids: Collection[str] | None = None,
    ) -> list[StoredFile]:
        """These files by their time of making; `after` is the last one of the page before.

        Of those named in `ids`, where that is given.

        Raises Misasked(`bad_limit`).
        """
        if not 1 <= limit <= MAX_LIST + 1:
            raise Misasked("bad_limit", f"The limit must be from 1 to {MAX_LIST}.", "Ask for pages.", param="limit")
        wanted = select(table).where(*_of(whose), self._alive())
        if purpose is not None:
            wanted = wanted.where(table.c.purpose == purpose)
        if ids is not None:
            wanted = wanted.where(table.c.id.in_(ids))
        if after is not None:
            wanted = wanted.where(table.c.id < after if newest_first else table.c.id > after)
        by = table.c.id.desc() if newest_first else table.c.id.asc()
        async with self._db.reading() as connection:
            await connection.run_sync(self._heads.require_all, whose.person_id)
            return [self._file(row) for row in await connection.execute(wanted.order_by(by).limit(limit))]

    async def delete(self, connection: Connection, whose: Whose, file_id: str) -> StoredFile:
        """Delete the row and what the index has of it, in the caller's transaction; then call `drop`. So can be a file
        that is not as it was left. Raises Missing(`file_not_found`).
        """
        file = self._opened(await self._row(connection, whose, file_id))
        await self._index.remove(connection, file_id)
        await connection.run_sync(self._heads.remove, table.c.id == file_id)
        return file

    async def purge(self, connection: Connection, file_ids: Collection[str]) -> int:
        """Delete those of these rows that are there, in the caller's transaction, how many; then call `drop`."""
        return sum((await connection.run_sync(self._heads.remove, table.c.id.in_(file_ids))).values())

    async def drop(self, file_ids: Collection[str]) -> None:
        """Remove the bytes of files whose rows are gone."""
        for file_id in file_ids:
            await asyncio.to_thread(self._disk.drop, file_id)

    async def expired(self, connection: Connection, held: Condition) -> Sequence[StoredFile]:
        """Delete the rows of files whose time is over, in the caller's transaction; then call `drop`. What is `held`
        stays, and is out of its owner's sight.
        """
        over = (table.c.expires_ms <= self._now_ms()) & ~held(table.c.person_id, table.c.get("workspace_id"))
        found = [self._opened(row) for row in await connection.execute(select(table).where(over))]
        await connection.run_sync(self._heads.remove, over)
        for file in found:
            await self._index.remove(connection, file.id)
        return found

    async def any_expired(self, held: Condition) -> bool:
        """Whether there is anything for `expired` to do."""
        over = (table.c.expires_ms <= self._now_ms()) & ~held(table.c.person_id, table.c.get("workspace_id"))
        async with self._db.reading() as connection:
            wanted = select(table.c.id).where(over).limit(1)
            return (await connection.execute(wanted)).first() is not None

    async def content(self, whose: Whose, file_id: str) -> tuple[StoredFile, BinaryIO]:
        """A file and its bytes, open for reading. Raises Missing(`file_not_found`), Broken(`file_lost`)."""
        file = await self.get(whose, file_id)
        return file, await asyncio.to_thread(self._disk.open, whose.person_id, file_id)

    async def lend(self, whose: Whose, file_id: str, to: Disk, as_id: str) -> StoredFile:
        """Put the bytes of a file on another disk too, where they stay when it is deleted. Raises as `content`."""
        file = await self.get(whose, file_id)
        await asyncio.to_thread(to.adopt, self._disk, whose.person_id, file_id, as_id)
        return file

    # searching ------------------------------------------------------------------------------------------------

    async def unindexed(self) -> StoredFile | None:
        """A file that is to be searched and is not in the index yet."""
        wanted = select(table).where(table.c.search == "pending").order_by(table.c.id).limit(1)
        async with self._db.reading() as connection:
            row = (await connection.execute(wanted)).one_or_none()
        return None if row is None else self._opened(row)

    async def index(self, file: StoredFile) -> None:
        """Put a file's text into the index. What is no text, whatever its name says, is not searched from then on."""
        whole = await asyncio.to_thread(self._text, file)
        async with self._db.writing() as connection:
            await self._index.remove(connection, file.id)  # what a crash left half done
        found = list(search.passages(whole or ""))
        for at in range(0, len(found), _PASSAGES_AT_ONCE):
            async with self._db.writing() as connection:
                if not await self._mark(connection, file.id, "pending"):
                    return  # it was deleted meanwhile
                await self._index.add(connection, file.person_id, file.id, found[at : at + _PASSAGES_AT_ONCE])
        async with self._db.writing() as connection:
            await self._mark(connection, file.id, None if whole is None else "ready")

    async def search(self, whose: Whose, query: str, limit: int) -> Sequence[tuple[StoredFile, Passage]]:
        """The passages of these files that hold words of `query`, the best first. Raises as `search.search`."""
        searched = (*_of(whose), self._alive())
        async with self._db.reading() as connection:
            found = await self._index.search(connection, whose.person_id, searched, query, limit)
            wanted = select(table).where(*searched)
            rows = await connection.execute(wanted.where(table.c.id.in_([each.file_id for each in found])))
            files = {row.id: self._file(row) for row in rows}
        return [(files[each.file_id], each.passage) for each in found if each.file_id in files]

    async def searched(self, whose: Whose) -> tuple[int, int]:
        """How many of these files are searched, and how many are not (yet)."""
        wanted = select(func.count(), func.count().filter(table.c.search == "ready"))
        async with self._db.reading() as connection:
            row = (await connection.execute(wanted.where(*_of(whose), self._alive()))).one()
        return int(row[1]), int(row[0]) - int(row[1])

    def _text(self, file: StoredFile) -> str | None:
        try:
            with self._disk.open(file.person_id, file.id) as opened:
                whole = opened.read().decode("utf-8-sig")
        except (Broken, Untrusted, UnicodeDecodeError):
            return None
        return None if "\x00" in whole else whole

    async def _mark(self, connection: Connection, file_id: str, state: str | None) -> bool:
        """Whether there was such a file."""
        done = await connection.execute(update(table).where(table.c.id == file_id).values(search=state))
        return done.rowcount == 1

    async def seal_clear(self) -> int:
        """At start: seal the bytes that an older version left in clear. How many files that were."""
        await asyncio.to_thread(self._disk.prepare)
        async with self._db.reading() as connection:
            rows = (await connection.execute(select(table.c.person_id, table.c.id))).all()
        return sum([await asyncio.to_thread(self._disk.seal_clear, *row) for row in rows])

    async def lying(self, person_id: str) -> "Sequence[tuple[str, Callable[[], BinaryIO]]]":
        """All of this person's files: their identifiers, and how to open each."""
        async with self._db.reading() as connection:
            ids = (await connection.execute(select(table.c.id).where(table.c.person_id == person_id))).scalars()
            return [(file_id, partial(self._disk.open, person_id, file_id)) for file_id in ids]

    async def reseal(self, person_id: str) -> None:
        """Seal this person's bytes with their newest key, and make their part of the index anew."""
        async with self._db.writing() as connection:
            again = (table.c.person_id == person_id) & (table.c.search == "ready")
            await connection.execute(update(table).where(again).values(search="pending"))
        async with self._db.reading() as reading:
            ids = list((await reading.execute(select(table.c.id).where(table.c.person_id == person_id))).scalars())
        for file_id in ids:
            await asyncio.to_thread(self._disk.reseal, person_id, file_id)

    async def sweep(self) -> None:
        """Remove bytes that belong to no row and are not on their way: of crashes, and of people who were removed."""
        lying = await asyncio.to_thread(self._disk.ids) - self._on_their_way
        async with self._db.reading() as connection:
            known = set((await connection.execute(select(table.c.id))).scalars())
        for file_id in lying - known - self._on_their_way:
            # in this order: as long as the bytes lie here, the next sweep comes back for the rest
            async with self._db.writing() as connection:
                await self._index.remove(connection, file_id)
            await asyncio.to_thread(self._disk.drop_all, file_id)

    async def _own(self, connection: Connection, whose: Whose, file_id: str) -> StoredFile:
        """Raises Missing(`file_not_found`), Untrusted(`kept_changed`, `all_kept_changed`)."""
        row = await self._row(connection, whose, file_id)
        await connection.run_sync(self._heads.require_all, whose.person_id, again_s=inf)
        return self._file(row)

    async def _row(self, connection: Connection, whose: Whose, file_id: str) -> Row[*tuple[Any, ...]]:
        wanted = select(table).where(table.c.id == file_id, *_of(whose), self._alive())
        row = (await connection.execute(wanted)).one_or_none()
        if row is None:
            raise not_found()
        return row

    def _check_size(self, size_bytes: int) -> None:
        most = self._config.max_file_bytes
        if size_bytes > most:
            raise TooLarge(
                "file_too_large", f"The file is over {most} bytes.", "Send it in parts, as several files.", param="file"
            )

    def _file(self, row: Row[*tuple[Any, ...]]) -> StoredFile:
        """A row as it was left. Raises Untrusted(`kept_changed`)."""
        file = self._opened(row)
        self._heads.require_about(row, _said_of(file.name, file))
        return file

    def _opened(self, row: Row[*tuple[Any, ...]]) -> StoredFile:
        """A row as it lies here: for what goes, and for the index."""
        name = self._vault.reveal(row.person_id, _NAME, row.id, row.name).decode()
        values = dict(row._mapping)
        del values["head"]
        return StoredFile(**values | {"name": name})

    def _lying(self, _connection: BlockingConnection, row: Row[Any]) -> tuple[Head, int]:
        """What a row comes to as it lies here: see `vault.heads`."""
        name = self._heads.revealed(row.person_id, FILE_NAME, row.id, row.name)
        said_of = _said_of((name or b"").decode(), row)
        about = self._heads.about(row.person_id, row.id, said_of, row.workspace_id)
        return Head(0, NOTHING, about), int(name is None)

    def _alive(self) -> Any:
        return or_(table.c.expires_ms.is_(None), table.c.expires_ms > self._now_ms())

    def _now_ms(self) -> int:
        return int(self._clock.now_s() * 1000)


def _of(whose: Whose) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """The only way to a file: whose it is, and where, is part of the question."""
    return table.c.person_id == whose.person_id, table.c.workspace_id == whose.workspace_id


def _said_of(name: str, file: "StoredFile | Row[Any]") -> bytes:
    """What a file's head holds: all but whether it is searched. Its bytes never change; their digest is among it."""
    columns = ("purpose", "size_bytes", "digest", "created_ms", "expires_ms", "key_id")
    values = {column: getattr(file, column) for column in columns}
    # without what is not there: a column that comes later changes nothing of files of before
    return msgspec.json.encode({"name": name, **{each: value for each, value in values.items() if value is not None}})


def not_found() -> Missing:
    """There is none of that name where it was looked for."""
    return Missing("file_not_found", "There is no such file.", "List the files to see which are there.")


def check_name(name: str) -> str:
    """A file's name as it is kept: its last part alone. Raises Misasked(`bad_file_name`)."""
    last = name.replace("\\", "/").rpartition("/")[2]
    if not 0 < len(last) <= MAX_NAME_CHARS or not last.isprintable():
        hint = f"Use 1 to {MAX_NAME_CHARS} printable characters."
        raise Misasked("bad_file_name", "This cannot be a file's name.", hint, param="file")
    return last
