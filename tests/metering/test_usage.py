"""Usage rows and their sums."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests import databases

from intramural.core.clock import SystemClock
from intramural.core.errors import Conflicting
from intramural.metering import Meter, Sum, UsageRow
from intramural.storage import Database

ROW = UsageRow("req_1", "person_a", "key_1", "m", "sha256:00", "openai", "chat", "finished", 10, 5, 4)
DAY_MS = 86_400_000


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await databases.opened(tmp_path / "intramural.db")
    yield opened
    await opened.close()


@pytest.fixture
def meter(db: Database) -> Meter:
    return Meter(db, SystemClock())


async def test_a_row_is_timed_and_summed(meter: Meter) -> None:
    before = int(SystemClock().now_s() * 1000)
    await meter.record(ROW)
    after = int(SystemClock().now_s() * 1000) + 1
    assert await meter.summary(before, after, "model") == [Sum("m", 1, 10, 5, 4, 0)]
    assert await meter.summary(0, before, "model") == []


async def test_sums_by_day_person_and_model(meter: Meter) -> None:
    rows = [
        replace(ROW, request_id="1", time_ms=0),
        replace(ROW, request_id="2", time_ms=DAY_MS - 1, outcome="failed", person_id="person_b"),
        replace(ROW, request_id="3", time_ms=DAY_MS, model="n", outcome="cancelled"),
        replace(ROW, request_id="4", time_ms=365 * DAY_MS, prompt_tokens=0, completion_tokens=0, cached_tokens=0),
    ]
    for row in rows:
        await meter.record(row)
    end = 366 * DAY_MS
    assert await meter.summary(0, end, "day") == [
        Sum("1970-01-01", 2, 20, 10, 8, 1),
        Sum("1970-01-02", 1, 10, 5, 4, 0),
        Sum("1971-01-01", 1, 0, 0, 0, 0),
    ]
    assert await meter.summary(0, end, "person") == [Sum("person_a", 3, 20, 10, 8, 0), Sum("person_b", 1, 10, 5, 4, 1)]
    assert await meter.summary(0, end, "model") == [Sum("m", 3, 20, 10, 8, 1), Sum("n", 1, 10, 5, 4, 0)]
    assert await meter.summary(0, end, "model", ["person_b"]) == [Sum("m", 1, 10, 5, 4, 1)]
    assert await meter.summary(1, DAY_MS, "day") == [Sum("1970-01-01", 1, 10, 5, 4, 1)]
    assert await meter.summary(5, 5, "day") == await meter.summary(9, 3, "day") == []


async def test_a_request_is_metered_once(meter: Meter, db: Database) -> None:
    await meter.record(ROW)
    with pytest.raises(Conflicting, match="usage_recorded"):
        await meter.record(ROW)
    with pytest.raises(Conflicting, match="usage_recorded"):
        async with db.writing() as connection:
            await meter.record(ROW, connection)
    assert (await meter.summary(0, 2**53, "model"))[0].requests == 1


async def test_a_row_lives_and_dies_with_the_given_transaction(meter: Meter, db: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with db.writing() as connection:
            await meter.record(ROW, connection)
            raise ZeroDivisionError
    assert await meter.summary(0, 2**53, "model") == []
    async with db.writing() as connection:
        await meter.record(ROW, connection)
    assert len(await meter.summary(0, 2**53, "model")) == 1


async def test_insertions_can_be_made_in_one_go(meter: Meter, db: Database) -> None:
    made = [meter.insertion(replace(ROW, request_id=str(number))) for number in range(50)]
    assert len({id(statement) for statement, _ in made}) == 1
    await db.write(lambda connection: connection.execute(made[0][0], [values for _, values in made]).close())
    assert (await meter.summary(0, 2**53, "model"))[0].requests == 50


async def test_many_at_the_same_time(meter: Meter) -> None:
    await asyncio.gather(*[meter.record(replace(ROW, request_id=str(number))) for number in range(100)])
    (total,) = await meter.summary(0, 2**53, "person")
    assert (total.requests, total.prompt_tokens) == (100, 1000)
