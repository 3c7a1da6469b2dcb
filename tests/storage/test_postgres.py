"""What only a server can do or get wrong. (`make test-postgres`, and in part `make test`, start one.)"""

import asyncio
from pathlib import Path

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import bindparam, func, insert, select
from tests import databases
from tests.audit.settable_clock import SettableClock
from tests.storage.test_database import structure

from intramural.audit import AuditLog, Event, Finding
from intramural.core.actor import SYSTEM
from intramural.core.config import AuditConfig
from intramural.core.errors import Conflicting, Misasked, Refused, Unavailable
from intramural.storage import BlockingConnection, Database, DatabaseDown, insert_rows
from intramural.storage.postgres import _arguments, _short_lived, migrate, read_apart, without_password
from intramural.storage.revision import MIGRATIONS
from intramural.storage.schema import metadata, model_settings

on_a_server = pytest.mark.skipif(not databases.SERVER, reason="needs a PostgreSQL server: make test-postgres")
_BY_NAME = select(model_settings).where(model_settings.c.name == bindparam("name"))


def _row(name: str) -> dict[str, object]:
    return {"name": name, "pinned": False}


@pytest.mark.parametrize(
    ("url", "verified"),
    [
        ("postgresql:///name", False),
        ("postgresql:///name?host=/run/postgresql", False),
        ("postgresql://u:p@localhost/name", False),
        ("postgresql://u@127.0.0.1:5433/name", False),
        ("postgresql://u@[::1]/name", False),
        ("postgresql://u@db.example.org/name", True),
        ("postgresql://u@10.0.0.7/name", True),
        ("postgresql://u@/name?host=db.example.org", True),
        ("postgresql://u@db.example.org/name?sslmode=disable", False),  # the administrator's own word
    ],
)
def test_a_server_elsewhere_must_prove_who_it_is(url: str, verified: bool) -> None:
    assert (_arguments(url).get("ssl") == "verify-full") is verified


async def test_what_is_no_address_is_refused(tmp_path: Path) -> None:
    for url in ("", "intramural.db", "mysql://a/b", "http://[/"):
        with pytest.raises(Misasked, match="bad_database"):
            await Database.open(url)


async def test_who_does_not_answer_is_named_without_the_password() -> None:
    with pytest.raises(Unavailable, match="database_unreachable") as caught:
        await Database.open("postgresql://ada:swordfish@127.0.0.1:1/name")
    assert "ada@127.0.0.1:1/name" in str(caught.value) and "swordfish" not in str(caught.value)
    assert without_password("postgresql://ada:p%40@h/name?x=1") == "postgresql://ada@h/name?x=1"


@on_a_server
async def test_a_database_that_is_not_there_or_may_not_be_used(tmp_path: Path) -> None:
    url = databases.empty_postgres(tmp_path / "a")
    for wrong in (url.replace("/t_", "/no_"), url.replace("intramural@", "nobody@")):
        with pytest.raises(Unavailable, match="database_unreachable"):
            await Database.open(wrong)


@on_a_server
async def test_a_database_that_sorts_by_a_language_is_refused(tmp_path: Path) -> None:
    """Identifiers are compared in pages and ranges: their order must be that of their characters."""
    server = await asyncpg.connect(databases.empty_postgres(tmp_path / "a"))
    await server.execute("DROP DATABASE IF EXISTS by_language")
    await server.execute(
        "CREATE DATABASE by_language TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8' "
        "LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
    )
    with pytest.raises(Refused, match="database_unfit"):
        await Database.open(databases.server_url("by_language"))
    await server.execute("DROP DATABASE by_language")
    await server.close()


@on_a_server
async def test_a_server_that_may_lose_what_it_confirmed_is_refused(tmp_path: Path) -> None:
    url = databases.empty_postgres(tmp_path / "a")
    server = await asyncpg.connect(url)
    try:
        await server.execute("ALTER SYSTEM SET full_page_writes = off")
        await server.execute("SELECT pg_reload_conf()")
        await _until(server, "full_page_writes", "off")
        with pytest.raises(Refused, match="full_page_writes"):
            await Database.open(url)
    finally:
        await server.execute("ALTER SYSTEM RESET full_page_writes")
        await server.execute("SELECT pg_reload_conf()")
        await _until(server, "full_page_writes", "on")
        await server.close()
    await (await Database.open(url)).close()


async def _until(server: "asyncpg.Connection[asyncpg.Record]", name: str, value: str) -> None:
    while await server.fetchval("SELECT current_setting($1)", name) != value:
        await asyncio.sleep(0.01)


@on_a_server
async def test_all_migrations_make_the_tables_of_the_schema(tmp_path: Path) -> None:
    made, migrated = databases.empty_postgres(tmp_path / "made"), databases.empty_postgres(tmp_path / "migrated")
    async with _short_lived(made) as engine, engine.connect() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.commit()
    await migrate(migrated, MIGRATIONS)
    found = await read_apart(migrated, structure)
    assert found.pop("alembic_version")
    assert found == await read_apart(made, structure)
    assert await read_apart(migrated, _differences) == []


def _differences(connection: BlockingConnection) -> list[object]:
    opts = {"compare_type": True, "compare_server_default": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=opts), metadata))


@on_a_server
async def test_two_that_open_a_new_database_at_once_migrate_it_once(tmp_path: Path) -> None:
    url = databases.empty_postgres(tmp_path / "a")
    opened = await asyncio.gather(*[Database.open(url) for _ in range(3)])
    async with opened[0].reading() as connection:
        assert await connection.scalar(select(func.count()).select_from(model_settings)) == 0
    for each in opened:
        await each.close()


@on_a_server
async def test_one_service_at_a_time(db: Database) -> None:
    await db.claim()
    other = await Database.open(db.address)
    with pytest.raises(Conflicting, match="database_in_use"):
        await other.claim()
    await other.close()
    await db.close()
    later = await Database.open(db.address)
    await later.claim()
    await later.close()


@on_a_server
async def test_writers_of_two_processes_are_served_one_at_a_time(db: Database) -> None:
    """The command line and the service hold no lock in common but the server's."""
    other = await Database.open(db.address)

    def count(connection: BlockingConnection) -> None:
        there = connection.execute(select(func.count()).select_from(model_settings)).scalar_one()
        connection.execute(insert(model_settings), _row(f"n{there}"))

    await asyncio.gather(*[each.write(count) for each in (db, other) * 15])
    async with db.reading() as connection:
        assert await connection.scalar(select(func.count()).select_from(model_settings)) == 30
    await other.close()


@on_a_server
async def test_a_restart_of_the_server_is_got_over(db: Database) -> None:
    """Every connection is cut between two requests; nobody notices."""
    async with db.writing() as connection:
        await connection.execute(insert(model_settings), _row("a"))
    assert await db.look_up(_BY_NAME, "a") is not None
    server = await asyncpg.connect(str(db.address))
    for _ in range(2):
        await server.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await asyncio.sleep(0.05)
        assert (await db.look_up(_BY_NAME, "a")) is not None
        async with db.reading() as connection:
            assert await connection.scalar(select(func.count()).select_from(model_settings)) == 1
        await db.write(lambda connection: connection.execute(_BY_NAME, {"name": "a"}).close())
    await server.close()


@on_a_server
async def test_a_connection_cut_in_a_transaction_undoes_it_and_is_the_databases_fault(db: Database) -> None:
    server = await asyncpg.connect(str(db.address))
    with pytest.raises(DatabaseDown):
        async with db.writing() as connection:
            await connection.execute(insert(model_settings), _row("a"))
            await server.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            await connection.execute(insert(model_settings), _row("b"))
    assert await db.look_up(_BY_NAME, "a") is None
    await server.close()


@on_a_server
async def test_a_character_that_the_server_cannot_keep_becomes_the_one_for_that(db: Database) -> None:
    async with db.writing() as connection:
        await connection.execute(insert(model_settings), _row("a\x00b"))
        await connection.execute(insert(model_settings), [_row("c\x00"), _row("d")])
        await connection.run_sync(insert_rows, insert(model_settings), [_row("e\x00")])
    found = await db.look_up(_BY_NAME, "a\x00b")
    assert found is not None and found.name == "a\ufffdb"
    async with db.reading() as connection:
        names = await connection.scalars(select(model_settings.c.name).order_by(model_settings.c.name))
        assert list(names) == ["a\ufffdb", "c\ufffd", "d", "e\ufffd"]


@on_a_server
async def test_an_entry_changed_past_the_service_is_named(db: Database, tmp_path: Path) -> None:
    log = await AuditLog.open(db, tmp_path / "secrets", AuditConfig(), SettableClock())
    for _ in range(5):
        await log.record(Event.CHAT_ASKED, SYSTEM)
    databases.query(db.address, "UPDATE audit_entries SET record = record || 'x'::bytea WHERE position = 3")
    verdict = await log.verify()
    assert (verdict.ok, verdict.first_wrong, verdict.finding) == (False, 3, Finding.EDITED)
    await log.close()
