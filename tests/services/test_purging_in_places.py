"""A workspace's own times with everything of programs that is in it, holds included; closed, emptied and removed."""

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import delete, insert
from tests.services.keeping import ADA, AUDITOR, BOB, Keeping, keeping

from intramural.audit import Event
from intramural.batches import Batch
from intramural.core.actor import LABELS, Actor
from intramural.core.errors import Conflicting, Refused
from intramural.core.ids import new_id
from intramural.core.retention import AI_ACT_DAYS, HIPAA_DAYS, log_floor, strictest_floor
from intramural.services.workspaces import WorkspaceDesk
from intramural.storage import schema as t

ADMIN = Actor("person", "adm", "adm", "administrator", AUDITOR.scopes, "session_adm")
OF_PROGRAMS = ("chats", "responses", "conversations", "batches")
_TABLES = {"chats": t.chats, "responses": t.responses, "conversations": t.transcripts, "batches": t.batches}
_TABLES |= {"files": t.files, "texts": t.audit_texts}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Keeping]:
    async with keeping(tmp_path) as made:
        await made.people(ADA, BOB, AUDITOR, ADMIN)
        yield made


async def inside(house: Keeping, who: Actor, workspace_id: str | None) -> Actor:
    if workspace_id is None:
        return who
    return who.inside((await house.access.workspaces.get(workspace_id)).place, "")


async def one_of_all(house: Keeping, who: Actor) -> None:
    """One thing of every kind, where `who` asks."""
    await house.chat(who, "said", who.workspace)
    await house.response(who, new_id("resp", house.clock))
    await house.transcripts.create(who.whose, {}, [{"id": new_id("item", house.clock)}])
    await house.file(who, b"words of a file. " * 40)
    now_ms = int(house.clock.now_s() * 1000)
    batch = Batch(
        new_id("batch", house.clock), who.person_id, "person", "s", "openai", "/v1/chat/completions", now_ms, now_ms,
        "completed", ended_ms=now_ms, workspace_id=who.workspace,
    )  # fmt: skip
    async with house.db.writing() as connection:
        await house.batches.add(connection, batch)
    await house.audit.record(Event.CHAT_ASKED, who, texts={"prompt": "said"})


async def there(house: Keeping, person_id: str, workspace_id: str | None) -> Counter[str]:
    """How many things of each kind there are of somebody's in one place."""
    found: Counter[str] = Counter()
    for name, table in _TABLES.items():
        rows = await house.rows(table)
        found[name] += sum((row.person_id, row.workspace_id) == (person_id, workspace_id) for row in rows)
    return +found


def all_of(*names: str) -> Counter[str]:
    return Counter(names)


EVERYTHING = all_of(*_TABLES)


async def test_a_workspaces_times_with_its_files_batches_responses_and_holds(house: Keeping) -> None:
    """Two workspaces and outside, two people in each; one of the workspaces and one of the people is held."""
    house.set(chat_days=100, file_days=100, log_days=AI_ACT_DAYS)
    ward = await house.workspace("Ward", chat=10, file=20, log=AI_ACT_DAYS)
    held = await house.workspace("Held ward", chat=10, file=20, log=AI_ACT_DAYS)
    places = (None, ward, held)
    for place in places:
        for who in (ADA, BOB):
            await one_of_all(house, await inside(house, who, place))
    on_place = await house.desk.put(AUDITOR, "workspace", held, "an inquiry into the ward")
    on_bob = await house.desk.put(AUDITOR, "person", "bob", "an inquiry into bob")

    async def as_it_is() -> dict[tuple[str, str | None], Counter[str]]:
        return {(who.person_id, each): await there(house, who.person_id, each) for who in (ADA, BOB) for each in places}

    expected = {(who.person_id, each): EVERYTHING for who in (ADA, BOB) for each in places}
    assert await as_it_is() == expected
    house.later(11)  # of the ward what was said goes, but bob's; of the other, and outside, nothing
    progress = await house.purging.round()
    expected["ada", ward] = all_of("files", "texts")
    assert await as_it_is() == expected
    assert progress.held == 3 * len(OF_PROGRAMS)  # bob's in the ward, both people's in the held one
    house.later(10)
    await house.purging.round()
    expected["ada", ward] = all_of("texts")
    assert await as_it_is() == expected
    house.later(80)  # and outside, after the house's own days
    await house.purging.round()
    expected["ada", None] = all_of("texts")
    assert await as_it_is() == expected

    await house.desk.lift(AUDITOR, on_bob.id, "over")
    await house.purging.round()
    expected["bob", ward] = expected["bob", None] = all_of("texts")
    assert await as_it_is() == expected
    house.later(AI_ACT_DAYS)
    await house.purging.round()
    gone = Counter[str]()
    expected |= {(who.person_id, each): gone for who in (ADA, BOB) for each in (None, ward)}
    assert await as_it_is() == expected
    await house.desk.lift(AUDITOR, on_place.id, "over")
    await house.purging.round()
    assert set(map(str, (await as_it_is()).values())) == {"Counter()"}
    told = await house.told()
    assert {each.facts.get("workspace") for each in told} == {None, ward, held}
    assert {each.facts["rule"] for each in told if each.facts.get("workspace") == ward} == {
        "workspace chat=10", "workspace file=20", f"workspace log={AI_ACT_DAYS}",
    }  # fmt: skip
    for who in (ADA, BOB):
        assert not await house.whole.check(who.person_id, None)
    assert (await house.audit.verify()).ok


def desk(house: Keeping) -> WorkspaceDesk:
    return WorkspaceDesk(house.gate, house.access.workspaces, house.audit, house.holds.on)


async def test_a_workspace_is_closed_empties_by_its_own_times_and_is_removed_then(house: Keeping) -> None:
    ward = await house.workspace("Ward", "phi", chat=10, file=20, log=HIPAA_DAYS)
    await one_of_all(house, await inside(house, ADA, ward))
    await desk(house).close(ADMIN, ward, closed=True)
    for days, left in (
        (0, EVERYTHING),
        (11, all_of("files", "texts")),
        (10, all_of("texts")),
        (HIPAA_DAYS, Counter[str]()),
    ):
        house.later(days)
        await house.purging.round()
        assert await there(house, "ada", ward) == left
        if left:
            with pytest.raises(Conflicting) as caught:
                await desk(house).remove(ADMIN, ward)
            assert caught.value.code == "workspace_not_empty"
    await desk(house).remove(ADMIN, ward)
    assert await house.access.workspaces.list() == []


async def test_nothing_keeps_a_workspace_but_what_is_kept(house: Keeping) -> None:
    """A key that was revoked opens nothing; one that was not does, and texts beside the log have the label's law."""
    ward = await house.workspace("Ward", "phi")
    keys = house.access.keys
    async with house.db.writing() as connection:
        await connection.execute(insert(t.workspace_people).values(workspace_id=ward, person_id="ada"))
        key, _ = await keys.create(connection, "ada", "k", ["inference"], workspace_id=ward)
    with pytest.raises(Conflicting) as caught:
        await desk(house).remove(ADMIN, ward)
    assert "1 keys" in caught.value.message
    async with house.db.writing() as connection:
        await keys.revoke(connection, key.id)
    await house.audit.record(Event.CHAT_ASKED, await inside(house, ADA, ward), texts={"prompt": "said"})
    with pytest.raises(Conflicting) as caught:
        await desk(house).remove(ADMIN, ward)
    assert "texts beside the log" in caught.value.message
    async with house.db.writing() as connection:
        await connection.execute(delete(t.audit_texts))
    await desk(house).remove(ADMIN, ward)


async def test_a_workspace_that_is_held_is_not_removed_though_it_is_empty(house: Keeping) -> None:
    ward = await house.workspace("Ward")
    hold = await house.desk.put(AUDITOR, "workspace", ward, "an inquiry")
    await house.desk.put(AUDITOR, "person", "adm", "another one")  # a hold on who removes it does not matter
    with pytest.raises(Refused) as caught:
        await desk(house).remove(ADMIN, ward)
    assert caught.value.code == "legal_hold" and hold.id in caught.value.message
    await house.desk.lift(AUDITOR, hold.id, "over")
    await desk(house).remove(ADMIN, ward)


async def test_what_is_left_of_a_removed_workspace_has_the_houses_days_and_the_strictest_law(house: Keeping) -> None:
    """As an older version left it, or a request that was on its way when the workspace was removed."""
    ward = await house.workspace("Ward", "education", chat=1_000)
    await one_of_all(house, await inside(house, ADA, ward))
    await one_of_all(house, await inside(house, BOB, ward))
    async with house.db.writing() as connection:
        await connection.execute(delete(t.workspaces))
    await house.desk.put(AUDITOR, "person", "bob", "an inquiry")
    house.later(40)
    assert not (await house.purging.round()).deleted  # the house keeps everything for ever
    house.set(chat_days=30, file_days=60, log_days=AI_ACT_DAYS)
    shown = [each for each in await house.purging.preview(AUDITOR) if each.workspace_id == ward]
    assert {each.what: each.days for each in shown if each.number} == {
        **dict.fromkeys(OF_PROGRAMS, 30), "files": 60, "passages": None, "texts": HIPAA_DAYS,
    }  # fmt: skip
    for days, left in ((0, all_of("files", "texts")), (30, all_of("texts")), (HIPAA_DAYS, Counter[str]())):
        house.later(days)
        await house.purging.round()
        assert await there(house, "ada", ward) == left
        assert await there(house, "bob", ward) == EVERYTHING
    rules = {each.facts["rule"] for each in await house.told() if each.facts.get("workspace") == ward}
    days = ("chat_days=30", "file_days=60", f"log_days={AI_ACT_DAYS}")
    assert rules == {f"removed workspace, retention.{each}" for each in days}


def test_of_no_label_the_floor_is_longer_than_the_strictest() -> None:
    for days in ({}, {"chat": 30}, {"chat": 30, "file": 4_000}, {"chat": 30, "file": 40}):
        strictest = strictest_floor(days)
        for label in LABELS:
            floor = log_floor(label, days)
            assert strictest.days is None or (floor.days is not None and floor.days <= strictest.days)
    assert strictest_floor({}).days is None  # records of pupils that are kept for ever
    assert strictest_floor({"chat": 30, "file": 40}).days == HIPAA_DAYS
