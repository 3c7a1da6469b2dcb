"""An open log in an empty database, a clock that can be set, somebody who acts."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests import databases
from tests.audit.settable_clock import SettableClock

from intramural.audit import AuditLog
from intramural.core.actor import Actor
from intramural.core.config import AuditConfig
from intramural.storage import Database


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def ada() -> Actor:
    return Actor("key", "person_ada", "ada.lovelace", "member", frozenset({"inference"}), "key_1")


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await databases.opened(tmp_path / "intramural.db")
    yield opened
    await opened.close()


@pytest.fixture
async def log(db: Database, tmp_path: Path, clock: SettableClock) -> AsyncIterator[AuditLog]:
    opened = await AuditLog.open(db, tmp_path / "secrets", AuditConfig(), clock)
    yield opened
    await opened.close()
