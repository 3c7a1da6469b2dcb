"""A database that the machine keeps from being read or written says so by its name, and goes on when it can."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import bindparam, insert, select, text
from sqlalchemy.exc import OperationalError
from tests import databases
from tests.disks import disk_with

from intramural.storage import Database, DatabaseDown, insert_rows
from intramural.storage.schema import model_settings

pytestmark = pytest.mark.sqlite(reason="fills the disk that the file lies on")
_ROW = insert(model_settings)
_BY_NAME = select(model_settings.c.name).where(model_settings.c.name == bindparam("name"))


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = await databases.opened(tmp_path / "a.db")
    await database.write(lambda connection: insert_rows(connection, _ROW, [{"name": "a", "pinned": True}]))
    yield database
    await database.close()


def large(number: int) -> dict[str, object]:
    return {"name": f"{number}" * 200_000, "pinned": True}


async def test_a_full_disk(db: Database) -> None:
    log = db.file.with_name(db.file.name + "-wal")
    with disk_with(log.stat().st_size):
        with pytest.raises(DatabaseDown) as caught:
            await db.write(lambda connection: insert_rows(connection, _ROW, [large(1)]))
        assert (caught.value.code, caught.value.retry_after_s) == ("database_unavailable", 1.0)
        with pytest.raises(DatabaseDown):
            async with db.writing() as connection:
                await connection.execute(_ROW, large(2))
        assert await db.look_up(_BY_NAME, "a") is not None
    await db.write(lambda connection: insert_rows(connection, _ROW, [{"name": "b", "pinned": True}]))
    async with db.reading() as connection:
        found = await connection.execute(select(model_settings.c.name).order_by(model_settings.c.name))
        assert found.scalars().all() == ["a", "b"]


async def test_a_wrong_statement_is_nobodys_disk(db: Database) -> None:
    with pytest.raises(OperationalError, match="no such table"):
        async with db.reading() as connection:
            await connection.execute(text("SELECT 1 FROM nowhere"))


async def test_a_file_that_is_gone_is_told_where_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "a.db").mkdir()
    with pytest.raises(DatabaseDown):
        await Database.open(tmp_path / "a.db")
