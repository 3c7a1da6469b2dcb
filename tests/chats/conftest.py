"""A real database file with two people in it, and a clock that the test moves."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests import databases
from tests.vaults import vault_in

from intramural.chats import Chats
from intramural.core.clock import SystemClock
from intramural.storage import Database
from intramural.vault import Vault

ADA, BOB = "person_ada", "person_bob"


class MovedClock(SystemClock):
    """The system's randomness, but time stands still until it is moved."""

    def __init__(self) -> None:
        self.at_s = 1_800_000_000.0
        self.later_s = 0.0

    def now_s(self) -> float:
        return self.at_s

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.later_s


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def monotonic(clock: MovedClock) -> Callable[[float], None]:
    """Let so many seconds pass on the clock that nobody sets."""

    def later(seconds: float) -> None:
        clock.later_s += seconds

    return later


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = await databases.opened(tmp_path / "intramural.db")
    await databases.add_people(database, ADA, BOB)
    yield database
    await database.close()


@pytest.fixture
async def vault(db: Database, tmp_path: Path) -> Vault:
    return await vault_in(db, tmp_path, ADA, BOB)


@pytest.fixture
def chats(db: Database, vault: Vault, clock: MovedClock) -> Chats:
    return Chats(db, vault, clock)
