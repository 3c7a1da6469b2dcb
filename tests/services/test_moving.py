"""An installation moves into another database, whole or not at all."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError
from tests import databases
from tests.vaults import vault_in

from intramural.audit import AuditLog, Event, Finding, public_key, verify_database
from intramural.chats import Chats
from intramural.core.actor import SYSTEM
from intramural.core.clock import SystemClock
from intramural.core.config import AuditConfig
from intramural.core.errors import Conflicting, Unavailable, Untrusted
from intramural.services.moving import move, note_place, require_place
from intramural.storage import Database
from intramural.storage.schema import files, people

CLOCK = SystemClock()


class Home:
    """A stopped installation: people with chats, a file that is searched, a log."""

    def __init__(self, folder: Path, address: Path | str) -> None:
        self.folder, self.address = folder, address

    async def furnish(self) -> "Home":
        if isinstance(self.address, Path):
            databases.furnish(self.address)
        db = await Database.open(self.address)
        log = await AuditLog.open(db, self.folder / "secrets", AuditConfig(), CLOCK)
        async with db.writing() as connection:
            for name in ("ada", "bob", "Ünïcode 狐"):
                values = {"username": name, "username_folded": name, "role": "member", "password_hash": "h"}
                await connection.execute(insert(people).values(id=name, **values, created_ms=1))
            values = {"name": b"a.txt", "purpose": "user_data", "size_bytes": 1, "digest": "d", "created_ms": 2**40}
            await connection.execute(insert(files).values(id="f", person_id="ada", search="ready", **values))
        chats = Chats(db, await vault_in(db, self.folder, "ada", "bob"), CLOCK)
        for person in ("ada", "bob"):
            for _ in range(3):
                chat = await chats.create(person, "m")
                await chats.append_turn(person, chat.id, "Wie heißt das? 'quoted' \\ \u2028 😀")
        for _ in range(20):
            await log.record(Event.CHAT_ASKED, SYSTEM, facts={"n": 0.5}, texts={"prompt": "x"})
        self.note = log.plain_checkpoint()
        await log.close()
        await db.close()
        return self

    @property
    def public_key(self) -> str:
        return public_key(self.folder / "secrets", AuditConfig().origin)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    yield await Home(tmp_path, databases.place(tmp_path / "intramural.db")).furnish()


def other(tmp_path: Path, name: str = "other.db") -> Path | str:
    """A database that is not there yet: a file, or where there is a server an empty one on it."""
    return databases.empty_postgres(tmp_path / name) if databases.SERVER else tmp_path / name


def rows(address: Path | str, table: str) -> list[tuple[object, ...]]:
    return sorted(databases.query(address, f"SELECT * FROM {table}"), key=repr)


async def test_everything_arrives_and_the_log_goes_on(home: Home, tmp_path: Path) -> None:
    target = other(tmp_path)
    moved = await move(home.address, target, home.public_key)
    assert (moved.tables["people"].rows, moved.tables["chats"].rows, moved.tables["chat_messages"].rows) == (3, 6, 12)
    assert (moved.log_entries, moved.checkpoint) == (20, home.note)
    for table in ("people", "chats", "chat_messages", "audit_entries", "audit_checkpoints"):
        assert rows(target, table) == rows(home.address, table)
    db = await Database.open(target)
    log = await AuditLog.open(db, home.folder / "secrets", AuditConfig(), CLOCK)
    assert await log.record(Event.DATABASE_MOVED, SYSTEM) == 20
    verdict = await log.verify([home.note])
    assert verdict.ok, verdict
    await log.close()
    await db.close()


@pytest.mark.skipif(not databases.SERVER, reason="needs a PostgreSQL server: make test-postgres")
async def test_from_a_file_to_a_server_and_back(tmp_path: Path) -> None:
    home = await Home(tmp_path / "home", tmp_path / "home" / "intramural.db").furnish()
    there = databases.empty_postgres(tmp_path / "there")
    moved = await move(home.address, there, home.public_key)
    back = await move(there, tmp_path / "back.db", home.public_key)
    assert {**moved.tables, "files": None} == {**back.tables, "files": None}
    for table in ("people", "chats", "chat_messages", "audit_entries", "audit_checkpoints"):
        assert rows(tmp_path / "back.db", table) == rows(home.address, table)
    again = databases.empty_postgres(tmp_path / "again")
    assert (await move(there, again, home.public_key)).tables == back.tables


async def test_what_is_not_empty_is_refused_and_left_as_it_was(home: Home, tmp_path: Path) -> None:
    target = other(tmp_path)
    await move(home.address, target, home.public_key)
    before = databases.everything(target)
    with pytest.raises(Conflicting, match="database_not_empty"):
        await move(home.address, target, home.public_key)
    assert databases.everything(target) == before


async def test_a_log_that_is_not_as_it_was_left_is_not_moved(home: Home, tmp_path: Path) -> None:
    databases.query(home.address, "DELETE FROM audit_entries WHERE position = 7")
    target = other(tmp_path)
    with pytest.raises(Untrusted, match="audit_log_broken"):
        await move(home.address, target, home.public_key)
    assert_nothing(target)
    verdict = await asyncio.to_thread(verify_database, home.address, home.public_key)
    assert verdict.finding is Finding.DELETED


async def test_what_fails_in_the_middle_leaves_nothing(home: Home, tmp_path: Path) -> None:
    """Two rows that a new database does not allow together, in one of the last tables."""
    databases.query(home.address, "ALTER TABLE chat_messages RENAME TO old")
    databases.query(home.address, "CREATE TABLE chat_messages AS SELECT * FROM old")
    databases.query(home.address, "UPDATE chat_messages SET id = 'same'")
    target = other(tmp_path)
    with pytest.raises(IntegrityError):
        await move(home.address, target, home.public_key)
    assert_nothing(target)


def assert_nothing(target: Path | str) -> None:
    if isinstance(target, Path):
        assert not target.exists()
    else:
        assert databases.query(target, "SELECT count(*) FROM people") == [(0,)]


async def test_a_server_that_is_not_there(home: Home) -> None:
    with pytest.raises(Unavailable, match="database_unreachable"):
        await move(home.address, "postgresql://a@127.0.0.1:1/b", home.public_key)


def test_no_service_goes_on_with_what_was_left_behind(tmp_path: Path) -> None:
    file, url = tmp_path / "intramural.db", "postgresql://ada:secret@localhost/house"
    require_place(tmp_path, file)
    require_place(tmp_path, url)
    note_place(tmp_path, url)
    require_place(tmp_path, url)
    with pytest.raises(Conflicting, match="postgresql://ada@localhost/house"):
        require_place(tmp_path, file)
    assert "secret" not in "".join(each.read_text() for each in tmp_path.iterdir())
    note_place(tmp_path, file)
    require_place(tmp_path, file)
    with pytest.raises(Conflicting, match="database_moved"):
        require_place(tmp_path, url)
