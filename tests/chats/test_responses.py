"""Kept responses and transcripts: found by their owner alone, in order, for as long as they are kept."""

from typing import Any

import pytest
from sqlalchemy import delete
from tests.chats.conftest import ADA as ADA_ID
from tests.chats.conftest import BOB as BOB_ID
from tests.chats.conftest import MovedClock

from intramural.chats import KeptResponse, KeptResponses, Transcripts
from intramural.core.actor import Whose
from intramural.core.errors import Missing
from intramural.retention.holds import is_held
from intramural.storage import Database
from intramural.storage.schema import people
from intramural.vault import Vault

DAY_S = 86_400

ADA, BOB = Whose(ADA_ID), Whose(BOB_ID)


@pytest.fixture
def kept(db: Database, vault: Vault, clock: MovedClock) -> KeptResponses:
    return KeptResponses(db, vault, clock, keep_days=30)


def response(name: str, previous: str | None = None, **body: Any) -> KeptResponse:
    said, answered = {"id": f"in_{name}", "text": f"{name}?"}, {"id": f"out_{name}", "text": f"{name}!"}
    return KeptResponse(name, {"id": name, **body}, (said,), (answered,), previous)


async def texts(kept: KeptResponses, name: str, **more: Any) -> list[str]:
    return [item["text"] for item in await kept.context(ADA, name, **more)]


async def test_a_chain_is_read_oldest_first(kept: KeptResponses) -> None:
    await kept.keep(ADA, response("a"))
    await kept.keep(ADA, response("b", "a"))
    await kept.keep(ADA, response("c", "b"))
    assert await texts(kept, "c") == ["a?", "a!", "b?", "b!", "c?", "c!"]
    assert await texts(kept, "c", with_output=False) == ["a?", "a!", "b?", "b!", "c?"]
    assert await texts(kept, "a") == ["a?", "a!"]
    assert await kept.get(ADA, "b") == response("b", "a")


async def test_a_later_state_takes_the_place_of_an_earlier(kept: KeptResponses) -> None:
    await kept.keep(ADA, response("a", status="queued"))
    await kept.keep(ADA, response("a", status="completed"), [{"n": 0}, {"n": 1}])
    assert (await kept.get(ADA, "a")).body["status"] == "completed"
    assert await texts(kept, "a") == ["a?", "a!"]
    assert await kept.events(ADA, "a") == [{"n": 0}, {"n": 1}]
    await kept.keep(ADA, response("b"))
    assert await kept.events(ADA, "b") is None


async def test_nobody_else_finds_anything(kept: KeptResponses, db: Database) -> None:
    await kept.keep(ADA, response("a"))
    await kept.keep(BOB, response("b", "a"))  # a name that BOB cannot have had; the chain does not cross
    for attempt in (kept.get(BOB, "a"), kept.context(BOB, "a"), kept.context(BOB, "b"), kept.events(BOB, "a")):
        with pytest.raises(Missing):
            await attempt
    assert await kept.items(BOB, ["in_a", "out_a"]) == {}
    assert set(await kept.items(ADA, ["in_a", "out_a", "in_b"])) == {"in_a", "out_a"}
    with pytest.raises(Missing):
        async with db.writing() as connection:
            await kept.delete(BOB, "a", connection)
    assert (await kept.get(ADA, "a")).id == "a"


async def test_what_is_old_is_gone_before_it_is_taken_away(
    kept: KeptResponses, db: Database, clock: MovedClock
) -> None:
    await kept.keep(ADA, response("a"))
    clock.at_s += 20 * DAY_S
    await kept.keep(ADA, response("b", "a"))
    assert not await kept.any_expired(is_held)
    clock.at_s += 11 * DAY_S
    assert await kept.any_expired(is_held)
    for attempt in (kept.get(ADA, "a"), kept.context(ADA, "b")):
        with pytest.raises(Missing):
            await attempt
    assert await kept.items(ADA, ["in_a", "in_b"]) == {"in_b": {"id": "in_b", "text": "b?"}}
    async with db.writing() as connection:
        assert await kept.expire(connection, is_held) == 1
    async with db.reading() as connection:
        left = (await connection.exec_driver_sql("SELECT item_id FROM response_items ORDER BY 1")).scalars()
        assert list(left) == ["in_b", "out_b"]


async def test_a_person_who_goes_takes_everything_along(
    kept: KeptResponses, db: Database, vault: Vault, clock: MovedClock
) -> None:
    await kept.keep(ADA, response("a"))
    await Transcripts(db, vault, clock).create(ADA, {}, [{"id": "i"}])
    async with db.writing() as connection:
        await connection.execute(delete(people).where(people.c.id == ADA_ID))
    async with db.reading() as connection:
        for table in ("responses", "response_items", "transcripts", "transcript_items"):
            assert (await connection.exec_driver_sql(f"SELECT count(*) FROM {table}")).scalar() == 0


async def test_transcripts_are_kept_until_nobody_uses_them(db: Database, vault: Vault, clock: MovedClock) -> None:
    for_ever, ten_days = Transcripts(db, vault, clock), Transcripts(db, vault, clock, keep_days=10)
    made = await for_ever.create(ADA, {"a": "b"}, [{"id": "i"}])
    clock.at_s += 9 * DAY_S
    await for_ever.append(ADA, made.id, [{"id": "j"}])
    clock.at_s += 9 * DAY_S
    assert not await ten_days.any_expired(is_held)
    assert [item["id"] for item in await for_ever.items(ADA, made.id)] == ["i", "j"]
    clock.at_s += 2 * DAY_S
    assert await ten_days.any_expired(is_held) and not await for_ever.any_expired(is_held)
    async with db.writing() as connection:
        assert (await for_ever.expire(connection, is_held), await ten_days.expire(connection, is_held)) == (0, 1)
