"""A room of files with a small share each."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests import databases
from tests.vaults import vault_in

from intramural.core.actor import Whose
from intramural.core.clock import SystemClock
from intramural.core.config import FilesConfig
from intramural.files import ANY, Files, Most, StoredFile
from intramural.storage import Database
from intramural.vault import Vault

SMALL = FilesConfig(max_file_bytes=5_000_000, max_person_bytes=8_000_000, max_person_files=3, keep_free_bytes=0)
ADA, BOB = Whose("ada"), Whose("bob")


class Stores:
    """Files on a real disk and database, and what a service does with them."""

    def __init__(self, db: Database, vault: Vault, folder: Path, config: FilesConfig = SMALL) -> None:
        self.db, self.vault, self.folder, self.config = db, vault, folder, config
        self.files = Files(db, vault, folder, config, SystemClock())

    def again(self, **changes: int) -> "Stores":
        """The same files, opened anew."""
        return Stores(self.db, self.vault, self.folder, replace(self.config, **changes))

    async def put(
        self,
        person_id: str,
        data: bytes,
        expires_ms: int | None = None,
        purpose: str = "batch",
        name: str = "a.txt",
        workspace_id: str | None = None,
        most: Most = ANY,
    ) -> StoredFile:
        whose = Whose(person_id, workspace_id)
        arriving = await self.files.arriving(whose, len(data), most=most)
        try:
            for at in range(0, len(data), 300_000):
                await arriving.write(data[at : at + 300_000])
            await arriving.finish()
            async with self.db.writing() as connection:
                return await self.files.keep(
                    connection,
                    whose,
                    arriving,
                    most=most,
                    name=name,
                    purpose=purpose,
                    expires_ms=expires_ms,
                )
        finally:
            await self.files.settled(whose, arriving)

    async def index(self) -> None:
        """Whatever waits for it."""
        while (file := await self.files.unindexed()) is not None:
            await self.files.index(file)

    async def ids(self, person_id: str) -> list[str]:
        found = await self.files.list(Whose(person_id), purpose=None, limit=10, after=None, newest_first=False)
        return [file.id for file in found]

    def lying(self) -> list[str]:
        return sorted(each.name for each in self.folder.iterdir())


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    db = await databases.opened(tmp_path / "intramural.db")
    await databases.add_people(db, "ada", "bob")
    stores = Stores(db, await vault_in(db, tmp_path, "ada", "bob"), tmp_path / "files")
    await stores.files.open()
    yield stores
    await db.close()
