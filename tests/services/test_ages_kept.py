"""Chats of younger people go earlier, wherever they are, and nobody else's with them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import delete, insert
from tests.services.keeping import ADA, AUDITOR, BOB, Keeping, keeping

from intramural.access import AgeRules
from intramural.access.ages import parse
from intramural.storage import schema as t

TABLE = """
[[age]]
band = "13-15"
workspace = "Maths"
why = "The board, 12 May."
keep_days = 200
"""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Keeping]:
    async with keeping(tmp_path) as made:
        await made.people(ADA, BOB, AUDITOR)
        yield made


async def grows(house: Keeping, who: str, age: str) -> None:
    async with house.db.writing() as connection:
        await connection.execute(delete(t.person_ages).where(t.person_ages.c.person_id == who))
        await connection.execute(insert(t.person_ages).values(person_id=who, age=age, set_ms=0))


async def left(house: Keeping) -> list[str]:
    return sorted(f"{row.person_id} {row.workspace_id is not None}" for row in await house.rows(t.chats))


async def test_chats_of_younger_people_go_earlier(house: Keeping) -> None:
    maths = await house.workspace("Maths", chat=365)
    await grows(house, "ada", "13-15")
    for who in (ADA, BOB):
        await house.chat(who, "outside")
        await house.chat(who, "inside", maths)
    house.state(ADA)
    house.set(ages=AgeRules(tables=parse(TABLE)), chat_days=90)
    house.later(29)
    assert not (await house.purging.round()).deleted
    house.later(2)
    assert (await house.purging.round()).deleted == {"chats": 1}
    assert await left(house) == ["ada True", "bob False", "bob True"]
    [told] = await house.told()
    assert (told.target, told.facts["rule"]) == ("person:ada", "age 13-15: chat=30")
    house.later(60)
    assert (await house.purging.round()).deleted == {"chats": 1}, "everybody's outside, after 90 days"
    house.later(110)
    assert (await house.purging.round()).deleted == {"chats": 1}, "theirs in the workspace, after 200"
    assert await left(house) == ["bob True"]
    assert not (await house.purging.round()).deleted


async def test_who_is_of_age_by_now_keeps_theirs_and_who_is_of_no_known_age_as_settings_say(house: Keeping) -> None:
    await grows(house, "ada", "13-15")
    await house.chat(ADA, "mine")
    await house.chat(BOB, "mine")
    house.later(31)
    await grows(house, "ada", "adult")
    house.set(ages=AgeRules())
    assert not (await house.purging.round()).deleted
    forecast = [each for each in await house.purging.preview(AUDITOR) if each.rule.startswith("age")]
    assert forecast == [], "a rule for an age that nobody has is not shown"
    house.set(ages=AgeRules(unknown="under-13"))
    assert (await house.purging.round()).deleted == {"chats": 1}
    assert await left(house) == ["ada False"]
