"""An open, empty database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests import databases

from intramural.storage import Database


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await databases.opened(tmp_path / "intramural.db")
    yield opened
    await opened.close()
