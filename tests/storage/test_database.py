"""The database: migrations, atomic and serialised writing, readers beside a writer. (`kill -9` is in tests/audit.)"""

import ast
import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, delete, func, insert, inspect, select, text
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError

import intramural.storage
from intramural.storage import BlockingConnection, Database, insert_rows, read_apart, reading_file, scalar
from intramural.storage.database import head_revision, migrate
from intramural.storage.schema import chats, metadata, model_settings, people

_MIGRATIONS = Path(intramural.storage.__file__).parent / "migrations"


def _row(name: str) -> dict[str, object]:
    return {"name": name, "pinned": False}


async def _names(db: Database) -> list[str]:
    async with db.reading() as connection:
        return list((await connection.execute(select(model_settings.c.name).order_by("name"))).scalars())


def test_all_migrations_make_the_tables_of_the_schema(tmp_path: Path) -> None:
    """Compared twice: Alembic alone overlooks primary keys and the names of keys."""
    migrate(tmp_path / "migrated.db")
    with _connected(tmp_path / "made.db") as connection:
        metadata.create_all(connection)
        made = structure(connection)
    with _connected(tmp_path / "migrated.db") as connection:
        opts = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=opts)
        assert compare_metadata(context, metadata) == []
        migrated = structure(connection)
    assert migrated.pop("alembic_version")
    assert migrated == made


def structure(connection: BlockingConnection) -> dict[str, list[str]]:
    """Table → its columns, keys and indexes; sorted, for a column that came later lies last in the file."""
    found = inspect(connection)
    return {
        table: sorted(
            str(part)
            for part in (
                *found.get_columns(table),
                *found.get_indexes(table),
                *found.get_foreign_keys(table),
                *found.get_unique_constraints(table),
                *found.get_check_constraints(table),
                found.get_pk_constraint(table),
            )
        )
        for table in found.get_table_names()
    }


def test_migrations_do_not_know_the_present_schema() -> None:
    """What one makes must not change when the schema does: a file already at that revision would never learn of it."""
    for file in sorted(_MIGRATIONS.rglob("*.py")):
        nodes = list(ast.walk(ast.parse(file.read_text())))
        imported = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
        imported |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
        assert not [name for name in imported if name.startswith("intramural")], file


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    with _connected(tmp_path / "a.db") as connection:
        connection.exec_driver_sql("CREATE TABLE model_settings (n INTEGER)")  # in the way of the first migration
        connection.commit()
    with pytest.raises(OperationalError, match="already exists"):
        migrate(tmp_path / "a.db")
    with _connected(tmp_path / "a.db") as connection:
        assert inspect(connection).get_table_names() == ["model_settings"]


def test_a_migration_that_makes_a_table_anew_keeps_the_rows_that_refer_to_it(tmp_path: Path) -> None:
    """SQLite changes a column by copying the table and dropping the old one: nothing may cascade from that."""
    migrations = tmp_path / "migrations"
    shutil.copytree(_MIGRATIONS, migrations)
    text = f"""
        from alembic import op

        revision, down_revision = "9999", "{head_revision()}"

        def upgrade():
            with op.batch_alter_table("people") as people:
                people.alter_column("role", nullable=True)
    """
    (migrations / "versions" / "9999_again.py").write_text(dedent(text))
    migrate(tmp_path / "a.db")
    with _connected(tmp_path / "a.db") as connection:
        person = {"id": "p", "username": "a", "username_folded": "a", "role": "member", "password_hash": "h"}
        chat = {"id": "c", "person_id": "p", "title": b"t", "model": "m", "updated_ms": 0}
        connection.execute(insert(people), person | {"created_ms": 0})
        connection.execute(insert(chats), chat | {"created_ms": 0})
        connection.commit()
    migrate(tmp_path / "a.db", migrations)
    with _connected(tmp_path / "a.db") as connection:
        assert connection.execute(select(chats.c.id, people.c.id).join(people)).all() == [("c", "p")]


@contextmanager
def _connected(file: Path) -> Iterator[BlockingConnection]:
    engine = create_engine(f"sqlite:///{file}")
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def test_the_head_found_by_name_is_alembics() -> None:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    assert ScriptDirectory.from_config(config).get_heads() == [head_revision()]


def test_an_older_revision_is_migrated(tmp_path: Path) -> None:
    """A file of the first revision, with something in it."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    with _connected(tmp_path / "a.db") as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(insert(model_settings), _row("a"))
        connection.commit()
    migrate(tmp_path / "a.db")
    with _connected(tmp_path / "a.db") as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == head_revision()
        assert connection.execute(select(model_settings.c.name)).scalars().all() == ["a"]
        assert set(metadata.tables) < set(inspect(connection).get_table_names())


def test_opening_an_up_to_date_file_does_not_import_alembic(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path; from intramural.storage import Database\n"
        "async def main():\n"
        "    db = await Database.open(Path(sys.argv[1])); await db.close()\n"
        "asyncio.run(main()); print('alembic' in sys.modules)"
    )

    def alembic_imported() -> str:
        command = [sys.executable, "-c", program, str(tmp_path / "a.db")]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()

    assert [alembic_imported(), alembic_imported()] == ["True", "False"]


async def test_odd_folder_names(tmp_path: Path) -> None:
    folder = tmp_path / "a %20b?c#d"
    db = await Database.open(folder / "a.db")
    async with db.writing() as connection:
        await connection.execute(insert(model_settings), _row("a"))
    with reading_file(folder / "a.db") as connection:
        assert connection.execute(select(model_settings.c.name)).scalars().all() == ["a"]
    await db.close()
    assert [file.name for file in tmp_path.iterdir()] == [folder.name]


async def test_an_error_undoes_all_of_a_writing_block(db: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with db.writing() as connection:
            await connection.execute(insert(model_settings), _row("a"))
            await connection.execute(insert(model_settings), _row("b"))
            raise ZeroDivisionError
    assert await _names(db) == []


async def test_an_error_says_nothing_of_what_was_to_be_written(db: Database) -> None:
    """An error that nobody expected ends in the service's log, with its text."""
    twice = text("INSERT INTO model_settings (name, pinned) SELECT 'a', pinned FROM model_settings WHERE :words <> ''")
    async with db.writing() as connection:
        await connection.execute(insert(model_settings), _row("a"))
    with pytest.raises(IntegrityError) as failed:
        async with db.writing() as connection:
            await connection.execute(twice, {"words": "what somebody wrote"})
    assert "INSERT INTO model_settings" in str(failed.value) and "somebody" not in str(failed.value)


async def test_a_failing_statement_undoes_all_of_a_writing_block(db: Database) -> None:
    with pytest.raises(IntegrityError):
        async with db.writing() as connection:
            await connection.execute(insert(model_settings), _row("a"))
            await connection.execute(insert(model_settings), _row("a"))
    assert await _names(db) == []


async def test_cancelling_in_the_middle_undoes_and_frees_the_writer(db: Database) -> None:
    inside = asyncio.Event()

    async def write() -> None:
        async with db.writing() as connection:
            await connection.execute(insert(model_settings), _row("a"))
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with db.writing() as connection:
        await connection.execute(insert(model_settings), _row("b"))
    assert await _names(db) == ["b"]


async def test_cancelling_at_any_moment_leaves_the_writer_free(db: Database) -> None:
    async def write(name: str) -> None:
        async with db.writing() as connection:
            await connection.execute(insert(model_settings), _row(name))

    for turn in range(60):
        task = asyncio.create_task(write(f"a{turn}"))
        for _ in range(turn):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await write("z")
    assert (await _names(db))[-1] == "z"


async def test_writers_are_served_one_at_a_time(db: Database) -> None:
    """Read, wait, write: without exclusion increments would be lost."""
    async with db.writing() as connection:
        await connection.exec_driver_sql("CREATE TABLE counter (n INTEGER)")
        await connection.exec_driver_sql("INSERT INTO counter VALUES (0)")

    async def slowly() -> None:
        async with db.writing() as connection:
            found = (await connection.exec_driver_sql("SELECT n FROM counter")).scalar_one()
            await asyncio.sleep(0)
            await connection.execute(text("UPDATE counter SET n = :n"), {"n": found + 1})

    def at_once(connection: BlockingConnection) -> None:
        found = connection.exec_driver_sql("SELECT n FROM counter").scalar_one()
        connection.execute(text("UPDATE counter SET n = :n"), {"n": found + 1})

    await asyncio.gather(*[slowly() for _ in range(20)], *[db.write(at_once) for _ in range(20)])
    async with db.reading() as connection:
        assert (await connection.exec_driver_sql("SELECT n FROM counter")).scalar_one() == 40


async def test_readers_see_the_committed_state_while_a_writer_is_open(db: Database) -> None:
    async with db.writing() as connection:
        await connection.execute(insert(model_settings), _row("a"))
        assert await _names(db) == []
    assert await _names(db) == ["a"]


async def test_a_reader_sees_one_state_throughout(db: Database) -> None:
    names = select(model_settings.c.name)
    async with db.reading() as reader:
        assert (await reader.execute(names)).all() == []
        async with db.writing() as connection:
            await connection.execute(insert(model_settings), _row("a"))
        assert (await reader.execute(names)).all() == []
    assert await _names(db) == ["a"]


async def test_write_returns_the_result_and_commits(db: Database) -> None:
    def work(connection: BlockingConnection) -> str:
        connection.execute(insert(model_settings), _row("a"))
        return "done"

    assert await db.write(work) == "done"
    assert await _names(db) == ["a"]


async def test_an_error_undoes_all_of_write(db: Database) -> None:
    def work(connection: BlockingConnection) -> None:
        connection.execute(insert(model_settings), _row("a"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await db.write(work)
    assert await _names(db) == []


async def test_reading_beside_the_service_and_never_writing(db: Database) -> None:
    async with db.writing() as connection:
        await connection.execute(insert(model_settings), _row("a"))

    def look(blocking: BlockingConnection) -> list[str]:
        names = blocking.execute(select(model_settings.c.name)).scalars().all()
        with pytest.raises(OperationalError, match=r"read-?only"):
            blocking.execute(insert(model_settings), _row("b"))
        return list(names)

    assert await asyncio.to_thread(read_apart, db.address, look) == ["a"]
    assert await _names(db) == ["a"]


@pytest.mark.sqlite(reason="copies the file")
async def test_reading_a_copy_in_a_folder_that_cannot_be_written(db: Database, tmp_path: Path) -> None:
    async with db.writing() as connection:
        await connection.execute(insert(model_settings), _row("a"))
    await db.close()
    folder = tmp_path / "copy"
    folder.mkdir()
    (folder / "a.db").write_bytes(db.file.read_bytes())
    folder.chmod(0o555)
    with _not_as_root():
        assert not os.access(folder, os.W_OK)
        with reading_file(folder / "a.db") as blocking:
            assert blocking.execute(select(model_settings.c.name)).scalars().all() == ["a"]
    assert [file.name for file in folder.iterdir()] == ["a.db"]
    folder.chmod(0o755)


@contextmanager
def _not_as_root() -> Iterator[None]:
    """Let access checks (which go by the real user) answer as for an ordinary one."""
    if os.getuid() != 0:
        yield
        return
    os.setreuid(65534, 0)
    try:
        yield
    finally:
        os.setreuid(0, 0)


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    file.write_bytes(os.urandom(8192))
    with pytest.raises(DatabaseError), reading_file(file) as connection:
        connection.exec_driver_sql("SELECT 1 FROM sqlite_master")
    with pytest.raises(DatabaseError), reading_file(tmp_path / "missing.db"):
        pass


_INSERT = insert(model_settings)
_HOW_MANY = select(func.count()).select_from(model_settings)


async def test_plain_statements_share_the_transaction_of_the_others(db: Database) -> None:
    def work(connection: BlockingConnection) -> int:
        connection.execute(_INSERT, _row("a"))
        insert_rows(connection, _INSERT, [_row("b"), {"pinned": True, "name": "c"}])
        return int(scalar(connection, _HOW_MANY))

    assert await db.write(work) == 3
    async with db.writing() as connection:
        await connection.run_sync(insert_rows, _INSERT, [_row("d")])
        assert await connection.run_sync(scalar, _HOW_MANY) == 4
    assert await _names(db) == ["a", "b", "c", "d"]
    async with db.reading() as connection:
        pinned = select(model_settings.c.name).where(model_settings.c.pinned)
        assert list((await connection.execute(pinned)).scalars()) == ["c"]


async def test_an_error_of_a_plain_statement_is_known_and_undoes_everything(db: Database) -> None:
    def work(connection: BlockingConnection) -> None:
        insert_rows(connection, _INSERT, [_row("a")])
        insert_rows(connection, _INSERT, [_row("b"), _row("a")])

    with pytest.raises(IntegrityError):
        await db.write(work)
    assert await _names(db) == []


async def test_after_an_error_the_next_transaction_is_whole(db: Database) -> None:
    def failing(connection: BlockingConnection) -> None:
        insert_rows(connection, _INSERT, [_row("a")])
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            await db.write(failing)
        await db.write(lambda connection: insert_rows(connection, _INSERT, [_row("b")]))
        assert await _names(db) == ["b"]
        await db.write(lambda connection: connection.execute(delete(model_settings)))
        assert await _names(db) == []


@pytest.mark.sqlite(reason="has a writer of its own, which cannot be stopped half-way")
async def test_what_was_begun_is_done_though_nobody_waits(db: Database) -> None:
    task = asyncio.create_task(db.write(lambda connection: insert_rows(connection, _INSERT, [_row("a")])))
    await asyncio.sleep(0)  # it is on its way to the writer
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await db.write(lambda connection: insert_rows(connection, _INSERT, [_row("b")]))
    assert await _names(db) == ["a", "b"]


async def test_a_closed_database_writes_nothing(tmp_path: Path) -> None:
    db = await Database.open(tmp_path / "closed.db")
    await db.close()
    with pytest.raises(RuntimeError):
        await db.write(lambda connection: insert_rows(connection, _INSERT, [_row("a")]))
