"""A real database file, the real room, a clock that the test moves, and hashing made cheap."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from tests import databases

from intramural.access import Access, Person
from intramural.access.passwords import Cost
from intramural.core.actor import Role
from intramural.core.clock import SystemClock
from intramural.core.config import AccessConfig
from intramural.storage import Database

PASSWORD = "a sentence nobody guesses"


class MovedClock(SystemClock):
    """The system's randomness, but time stands still until it is moved."""

    def __init__(self) -> None:
        self.at_s = 1_800_000_000.0

    def now_s(self) -> float:
        return self.at_s

    def monotonic_s(self) -> float:
        return self.at_s


@pytest.fixture
def cheap() -> Cost:
    """A password hash that costs next to nothing."""
    return Cost(passes=1, memory_kib=64, lanes=1)


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = await databases.opened(tmp_path / "intramural.db")
    yield database
    await database.close()


@pytest.fixture
async def access(db: Database, tmp_path: Path, clock: MovedClock, cheap: Cost) -> AsyncIterator[Access]:
    room = await Access.open(db, tmp_path / "secrets", AccessConfig(), clock, cost=cheap)
    yield room
    await room.close()


Join = Callable[..., Awaitable[Person]]


@pytest.fixture
def join(access: Access, db: Database) -> Join:
    """Add a person: `await join("ada", "member")`. An administrator named `root` is added first where nobody is."""

    async def add(username: str, role: Role = "member", password: str = PASSWORD) -> Person:
        if role != "administrator" and await access.setup.needed():
            await add("root", "administrator")
        hashed = await access.people.hash_new(username, password)
        async with db.writing() as connection:
            return await access.people.create(connection, username, hashed, role)

    return add
