"""What is due goes, with all that belongs to it; what is held, used, or in another place stays; nothing is lost."""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Table, update
from tests import databases
from tests.services.keeping import ADA, AUDITOR, BOB, DAY_S, Keeping, keeping

from intramural.audit import Event
from intramural.chats import KeptResponses, Transcripts
from intramural.core.actor import CONSOLE, SYSTEM
from intramural.core.errors import Conflicting, Misasked, Missing, Refused
from intramural.core.retention import AI_ACT_DAYS
from intramural.retention.holds import is_held
from intramural.services.expiry import Expiry
from intramural.services.purging import AT_ONCE, PIECES_AT_ONCE
from intramural.services.reports import Reports, known_of
from intramural.services.reviews import WorkingHours
from intramural.storage import schema as t

OF_CHATS = (t.chats, t.chat_messages, t.responses, t.response_items, t.transcripts, t.transcript_items)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Keeping]:
    async with keeping(tmp_path) as made:
        await made.people(ADA, BOB, AUDITOR)
        yield made


async def something_of_all(house: Keeping, who, tag: str) -> None:  # type: ignore[no-untyped-def]  # an actor
    await house.chat(who, f"{tag} asks")
    await house.response(who, f"resp_{tag}")
    await house.transcripts.create(who.whose, {"topic": tag}, [{"id": f"item_{tag}", "text": tag}])
    await house.file(who, f"The word is {tag}.\n\n".encode() * 400)
    await house.audit.record(Event.CHAT_ASKED, who, texts={"prompt": f"{tag} asks"})
    house.state(who)


async def counts(house: Keeping, *tables: Table) -> list[int]:
    return [len(await house.rows(table)) for table in tables]


async def test_what_is_due_goes_with_all_that_belongs_to_it(house: Keeping) -> None:
    await something_of_all(house, ADA, "old")
    lying = [row.content for row in await house.rows(t.chat_messages)]
    (bytes_of_old,) = (house.folder / "files").iterdir()
    assert await counts(house, t.file_passages, t.audit_texts) == [7, 1]
    house.later(100)
    await something_of_all(house, BOB, "new")
    house.set(chat_days=90, file_days=90, log_days=AI_ACT_DAYS)
    progress = await house.purging.round()

    assert progress.error is None and not progress.running
    assert progress.deleted == {"chats": 1, "responses": 1, "conversations": 1, "passages": 7, "files": 1}
    assert await counts(house, *OF_CHATS, t.files) == [1, 2, 1, 1, 1, 1, 1]
    assert {row.person_id for table in (t.chats, t.files) for row in await house.rows(table)} == {"bob"}
    assert await counts(house, t.audit_texts) == [2]  # six months are not over
    words = await house.rows(t.file_words)
    assert {row.passage_id for row in words} == {row.id for row in await house.rows(t.file_passages)}
    assert not bytes_of_old.exists() and len(house.states_lying()) == 1
    found = databases.everything(house.db.address)
    assert not [each for each in lying if each in found]  # not even sealed

    told = await house.told()
    assert all(each.actor_id == "system" and each.target == "person:ada" for each in told)
    assert {each.facts["what"]: each.facts["number"] for each in told} == dict(progress.deleted)
    assert {each.facts["rule"] for each in told} == {"retention.chat_days=90", "retention.file_days=90"}
    assert (await house.audit.verify()).ok
    for who in ("ada", "bob"):  # what is left of their chats is as it was left
        assert not await house.whole.check(who, None)
    assert not (await house.purging.round()).deleted and len(await house.told()) == len(told)


async def test_the_texts_beside_the_log_go_when_the_law_lets_them_and_the_log_verifies(house: Keeping) -> None:
    ward = await house.workspace("Ward", "phi", log=2_192)
    inside = (await house.access.workspaces.get(ward)).place
    await house.audit.record(Event.CHAT_ASKED, ADA, texts={"prompt": "outside", "answer": "so"})
    await house.audit.record(Event.CHAT_ASKED, ADA.inside(inside, ""), texts={"prompt": "inside"})
    house.set(log_days=AI_ACT_DAYS)
    house.later(AI_ACT_DAYS - 1)
    assert not (await house.purging.round()).deleted
    house.later(2)
    assert (await house.purging.round()).deleted == {"texts": 2}
    (left,) = await house.rows(t.audit_texts)
    assert left.workspace_id == ward
    (told,) = await house.told()
    assert told.facts["class"] == "log" and told.facts["least_days"] == AI_ACT_DAYS and "AI Act" in told.facts["law"]
    house.later(2_192)
    assert (await house.purging.round()).deleted == {"texts": 1}
    assert (await house.audit.verify()).ok


async def test_what_was_used_since_stays_and_each_workspace_has_its_own_days(house: Keeping) -> None:
    short, long = await house.workspace("Short", chat=7), await house.workspace("Long")
    used = await house.chat(ADA, "used")
    for place in (None, short, long):
        await house.chat(ADA, "left", place)
    house.set(chat_days=30)
    house.later(8)
    assert (await house.purging.round()).deleted == {"chats": 1}
    assert {row.workspace_id for row in await house.rows(t.chats)} == {None, long}
    house.later(21)
    await house.chats.append_turn("ada", used, "again")
    house.later(2)
    assert (await house.purging.round()).deleted == {"chats": 1}
    assert {(row.id == used, row.workspace_id) for row in await house.rows(t.chats)} == {(True, None), (False, long)}


async def test_what_was_computed_of_a_file_may_go_before_it(house: Keeping) -> None:
    file = await house.file(ADA, b"The word is early.\n\n" * 20_000)
    pieces = (await counts(house, t.file_passages))[0]
    assert pieces > PIECES_AT_ONCE
    assert await house.files.search(ADA.whose, "early", 5)
    house.set(embedding_days=10)
    house.later(11)
    assert (await house.purging.round()).deleted == {"passages": pieces}
    assert len(await house.told()) == -(-pieces // PIECES_AT_ONCE)  # in steps
    assert await counts(house, t.file_passages, t.file_words) == [0, 0]
    assert not await house.files.search(ADA.whose, "early", 5) and await house.files.unindexed() is None
    assert (await house.files.content(ADA.whose, file.id))[1].read(8) == b"The word"


async def test_states_that_nobody_used_go_by_the_shortest_time(house: Keeping) -> None:
    await house.workspace("Short", chat=7)
    old, fresh = house.state(ADA, age_days=8), house.state(BOB, age_days=6)
    assert (await house.purging.round()).deleted == {"states": 1}
    assert not old.exists() and fresh.exists()


async def test_a_round_is_in_small_steps_shows_how_far_it_is_and_can_be_stopped(house: Keeping) -> None:
    for number in range(3 * AT_ONCE):
        await house.chat(ADA if number % 2 else BOB, f"chat {number}")
    house.set(chat_days=1)
    house.later(2)
    seen: list[tuple[bool, int]] = []

    async def look() -> None:
        found = await house.purging.progress(AUDITOR)
        seen.append((found.running, found.deleted["chats"]))
        if len(seen) == 3:  # two people: the second step
            await house.purging.stop(CONSOLE)

    house.steps.append(look)
    progress = await house.purging.round()
    assert progress.deleted == {"chats": 2 * AT_ONCE} and not progress.running
    assert seen == [(True, 0), (True, 0), (True, AT_ONCE), (True, AT_ONCE)]
    assert await counts(house, t.chats) == [AT_ONCE]
    assert (await house.purging.round()).deleted == {"chats": AT_ONCE}
    assert sum(each.facts["number"] for each in await house.told()) == 3 * AT_ONCE
    with pytest.raises(Refused):
        await house.purging.stop(AUDITOR)
    with pytest.raises(Refused):
        await house.purging.preview(ADA)


async def test_it_looks_by_itself_and_when_told_to(house: Keeping) -> None:
    await house.chat(ADA, "x")
    house.set(chat_days=1)
    house.later(2)
    ended = asyncio.Event()
    house.steps.append(ended.set)
    await house.purging.open()
    try:
        await asyncio.wait_for(ended.wait(), 30)
        while (await house.purging.progress(CONSOLE)).running:
            await asyncio.sleep(0.01)
        assert await counts(house, t.chats) == [0]
        ended.clear()
        await house.chat(ADA, "y")
        house.later(2)
        await house.purging.begin(CONSOLE)
        await asyncio.wait_for(ended.wait(), 30)
        while (await house.purging.progress(CONSOLE)).running:
            await asyncio.sleep(0.01)
        assert await counts(house, t.chats) == [0]
    finally:
        await house.purging.close()
    assert len(await house.told(Event.RETENTION_BEGUN)) == 1


async def test_a_preview_tells_what_then_happens_and_deletes_nothing(house: Keeping) -> None:
    ward = await house.workspace("Ward", chat=10)
    await something_of_all(house, ADA, "old")
    await house.chat(ADA, "inside", ward)
    house.later(5)
    await something_of_all(house, BOB, "new")
    await house.desk.put(AUDITOR, "person", "bob", "an inquiry")
    house.set(chat_days=30, file_days=12)
    house.later(20)
    now_ms = int(house.clock.now_s() * 1000)
    found = {(each.what, each.workspace_id): each for each in await house.purging.preview(AUDITOR)}
    chats, files, inside = found["chats", None], found["files", None], found["chats", ward]
    assert (chats.number, chats.held, chats.days, chats.due) == (2, 1, 30, (0, 1, 1))
    assert chats.next_ms is not None and 0 < chats.next_ms - now_ms <= 5 * DAY_S * 1000
    assert (files.number, files.held, files.due, files.rule) == (2, 1, (1, 1, 1), "retention.file_days=12")
    assert (inside.number, inside.due, inside.rule) == (1, (1, 1, 1), "workspace chat=10")
    texts = found["texts", None]
    assert (texts.number, texts.days, texts.due, texts.next_ms) == (3, None, (0, 0, 0), None)  # the reason is one
    assert "audio" not in {each.data_class for each in found.values()}
    assert await counts(house, t.chats, t.files) == [3, 2]
    deleted = (await house.purging.round()).deleted
    assert (deleted["chats"], deleted["files"]) == (1, 1)


# holds ------------------------------------------------------------------------------------------------------------


async def test_a_hold_on_a_person_keeps_what_is_due_until_it_is_lifted(house: Keeping) -> None:
    for who in (ADA, BOB):
        await something_of_all(house, who, who.person_id)
    hold = await house.desk.put(AUDITOR, "person", "ada", "Smith v. District, asked for by counsel")
    assert hold.reason.startswith("Smith") and hold.people == 1
    house.set(chat_days=30, file_days=30, embedding_days=10, log_days=AI_ACT_DAYS)
    house.later(400)
    progress = await house.purging.round()
    assert progress.held == 6 and await counts(house, *OF_CHATS, t.files) == [1, 2, 1, 1, 1, 1, 1]
    assert {row.person_id for table in (t.chats, t.files, t.responses) for row in await house.rows(table)} == {"ada"}
    assert "Smith" not in str(await house.rows(t.legal_holds))  # sealed
    await house.desk.lift(CONSOLE, hold.id, "settled")
    await house.purging.round()
    assert await counts(house, *OF_CHATS, t.files, t.file_passages) == [0] * 8
    (listed,) = await house.desk.list(AUDITOR)
    assert (listed.reason[:5], listed.lifted_reason, listed.lifted_by) == ("Smith", "settled", "console")
    put, lifted = (await house.told(Event.LEGAL_HOLD_PUT))[0], (await house.told(Event.LEGAL_HOLD_LIFTED))[0]
    assert (put.actor_id, put.target, put.facts["hold"]) == ("aud", "person:ada", hold.id)
    assert (lifted.actor_id, lifted.facts["hold"]) == ("console", hold.id)
    assert "Smith" not in str(put) and put.texts["reason"]["commitment"]


async def test_a_hold_on_a_group_is_on_who_left_it_and_on_who_came(house: Keeping) -> None:
    groups = house.access.groups
    async with house.db.writing() as connection:
        outer = await groups.create(connection, "School")
        inner = await groups.create(connection, "Class", outer.id)
        await groups.put(connection, inner.id, "ada")
    for who in (ADA, BOB, AUDITOR):
        await house.chat(who, "x")
    hold = await house.desk.put(CONSOLE, "group", outer.id, "an inquiry")
    assert hold.people == 1
    async with house.db.writing() as connection:
        await groups.take_out(connection, inner.id, "ada")
        await groups.put(connection, outer.id, "bob")
        await groups.remove(connection, inner.id)
    house.set(chat_days=1)
    house.later(2)
    assert (await house.purging.round()).held == 2
    assert {row.person_id for row in await house.rows(t.chats)} == {"ada", "bob"}


async def test_a_hold_on_a_workspace_is_on_what_is_in_it(house: Keeping) -> None:
    ward = await house.workspace("Ward", chat=1)
    for who in (ADA, BOB):
        for place in (None, ward):
            await house.chat(who, "x", place)
    await house.desk.put(AUDITOR, "workspace", ward, "an inquiry")
    house.set(chat_days=1)
    house.later(2)
    assert (await house.purging.round()).deleted == {"chats": 2}
    assert {row.workspace_id for row in await house.rows(t.chats)} == {ward}
    with pytest.raises(Refused, match="legal_hold"):
        await house.holds.check_erasable("ada")
    await house.holds.check_erasable("aud")  # nothing of theirs is there


async def test_a_hold_put_while_a_round_is_under_way_counts(house: Keeping) -> None:
    await house.chat(ADA, "x")
    house.set(chat_days=1)
    house.later(2)
    house.steps.append(lambda: house.desk.put(AUDITOR, "person", "ada", "an inquiry"))
    assert not (await house.purging.round()).deleted
    assert await counts(house, t.chats) == [1]


async def test_who_may_hold_and_what_is_no_hold(house: Keeping) -> None:
    with pytest.raises(Refused):
        await house.desk.put(ADA, "person", "bob", "because")
    with pytest.raises(Refused):
        await house.desk.list(ADA)
    with pytest.raises(Misasked, match="bad_reason"):
        await house.desk.put(AUDITOR, "person", "ada", "  ")
    with pytest.raises(Misasked, match="bad_subject"):
        await house.desk.put(AUDITOR, "planet", "ada", "because")
    with pytest.raises(Missing, match="workspace_not_found"):
        await house.desk.put(AUDITOR, "workspace", "workspace_x", "because")
    hold = await house.desk.put(AUDITOR, "person", "ada", "because")
    with pytest.raises(Conflicting, match="held_already"):
        await house.desk.put(AUDITOR, "person", "ada", "because")
    await house.desk.lift(AUDITOR, hold.id, "over")
    with pytest.raises(Conflicting, match="hold_lifted"):
        await house.desk.lift(AUDITOR, hold.id, "over")
    with pytest.raises(Missing, match="hold_not_found"):
        await house.desk.lift(AUDITOR, "hold_x", "over")
    await house.desk.put(AUDITOR, "person", "ada", "once more")


# floors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "days", "law"),
    [
        ("internal", {"log_days": AI_ACT_DAYS - 1}, "AI Act"),
        ("phi", {"log_days": AI_ACT_DAYS}, "HIPAA"),
        ("education", {"log_days": 9_999}, "FERPA"),
        ("education", {"log_days": 300, "chat_days": 365, "file_days": 30}, "FERPA"),
    ],
)
async def test_settings_below_the_floor_are_refused_and_that_is_recorded(house, label, days, law) -> None:  # type: ignore[no-untyped-def]
    house.set(label, **days)
    with pytest.raises(Misasked, match="retention_below_floor") as caught:
        await house.purging.open()
    assert law in caught.value.message
    (told,) = await house.told(Event.RETENTION_REFUSED)
    assert (told.outcome, told.actor_id, told.facts["days"]) == ("refused", SYSTEM.person_id, days["log_days"])


async def test_a_workspace_that_slipped_below_keeps_its_log_as_the_law_has_it(house: Keeping) -> None:
    ward = await house.workspace("Ward")
    inside = (await house.access.workspaces.get(ward)).place
    await house.audit.record(Event.CHAT_ASKED, ADA.inside(inside, ""), texts={"prompt": "x"})
    async with house.db.writing() as connection:  # by hand, or by an older version
        await connection.execute(update(t.workspaces).values(retention_days='{"log": 30}'))
    await house.purging.open()
    await house.purging.close()
    (told,) = await house.told(Event.RETENTION_REFUSED)
    assert told.target == f"workspace:{ward}" and told.facts["least_days"] == AI_ACT_DAYS
    house.later(AI_ACT_DAYS - 1)
    assert not (await house.purging.round()).deleted
    house.later(2)
    assert (await house.purging.round()).deleted == {"texts": 1}


# kill -9 ----------------------------------------------------------------------------------------------------------


async def test_killed_at_any_step_nothing_is_half_gone_and_the_next_round_goes_on(tmp_path: Path) -> None:
    async with keeping(tmp_path) as house:
        await house.people(ADA, BOB)
        for number in range(5 * AT_ONCE):
            await house.chat(ADA if number % 2 else BOB, f"chat {number}")
        await house.file(ADA, b"The word is late.\n\n" * 4_000)
    for kill_at in (2, 5, None):
        run_and_kill(tmp_path, databases.place(tmp_path / "intramural.db"), kill_at)
    async with keeping(tmp_path) as house:
        assert await counts(house, t.chats, t.chat_messages, t.files, t.file_passages) == [0, 0, 0, 0]
        assert not list((tmp_path / "files").iterdir())
        number = Counter[tuple[str, str]]()
        for each in await house.told():
            number[each.target, each.facts["what"]] += each.facts["number"]
        half = 5 * AT_ONCE // 2
        assert (number["person:ada", "chats"], number["person:bob", "chats"]) == (half, half)  # each told once
        assert number["person:ada", "files"] == 1
        assert (await house.audit.verify()).ok


def run_and_kill(folder: Path, place: Path | str, kill_at: int | None) -> None:
    """Delete what is due in another process, which is killed when it begins with this step; None: it ends."""
    command = [sys.executable, "-m", "tests.services.keeping", str(folder), str(place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for number, line in enumerate(process.stdout, 1):
            if number == kill_at:
                process.kill()
                break
            last = line
    assert process.returncode == (-9 if kill_at else 0)
    assert kill_at or ("done" in last and "None" in last)


# the reports that rest on it --------------------------------------------------------------------------------------


async def test_what_is_a_students_is_found_in_the_database_too(house: Keeping) -> None:
    async with house.db.writing() as connection:
        group = await house.access.groups.create(connection, "Class")
        await house.access.groups.put(connection, group.id, "ada")
    maths, other = await house.workspace("Maths"), await house.workspace("Other")
    async with house.db.writing() as connection:
        await house.access.workspaces.admit(connection, maths, group.id)
    chat, file = await house.chat(ADA, "x", other), await house.file(ADA, b"x")
    await house.chat(BOB, "x")
    known = await known_of(house.access.people, house.access.workspaces, house.kept)("ada")
    assert known.things == {f"chat:{chat}", f"file:{file.id}"}
    assert known.workspaces == {maths, other} and known.groups == {group.id}
    await house.audit.record(Event.CHAT_READ, AUDITOR, target=f"chat:{chat}")
    reports = Reports(
        house.gate, house.audit, house.clock, WorkingHours.of("", ZoneInfo("UTC")), 0, "1",
        known_of(house.access.people, house.access.workspaces, house.kept),
    )  # fmt: skip
    listed = (await reports.disclosures(AUDITOR, "ada"))["disclosures"]
    assert ("chat.read", "a record of theirs") in [(each["event"], each["found_by"]) for each in listed]


async def test_the_report_on_a_system_tells_what_was_really_deleted_and_refused(house: Keeping) -> None:
    await house.audit.record(Event.CHAT_ASKED, ADA, target="model:m", texts={"prompt": "x"})
    house.set(log_days=30)
    with pytest.raises(Misasked):
        await house.purging.open()
    house.set(log_days=AI_ACT_DAYS)
    house.later(AI_ACT_DAYS + 1)
    await house.purging.round()
    reports = Reports(
        house.gate, house.audit, house.clock, WorkingHours.of("", ZoneInfo("UTC")), 0, "1",
        known_of(house.access.people, house.access.workspaces, house.kept),
    )  # fmt: skip
    found = (await reports.system_record(AUDITOR, "m", 0, int(house.clock.now_s() * 1000)))["retention"]
    assert (found["purged"]["texts"], found["refused"]["number"], found["purged_earlier"]) == (1, 1, False)
    assert found["kept_days"] >= AI_ACT_DAYS


async def test_what_its_owner_gave_an_end_is_held_too_and_out_of_their_sight(house: Keeping) -> None:
    file = await house.file(ADA, b"x")
    async with house.db.writing() as connection:
        await connection.execute(update(t.files).values(expires_ms=1))
    await house.response(ADA, "resp_a")
    await house.transcripts.create(ADA.whose, {}, [])
    brief = KeptResponses(house.db, house.vault, house.clock, 1), Transcripts(house.db, house.vault, house.clock, 1)
    hold = await house.desk.put(AUDITOR, "person", "ada", "an inquiry")
    house.later(2)
    expiry = Expiry(*brief, house.audit, house.holds)
    await expiry.sweep()
    assert not await house.files.any_expired(is_held)
    assert await counts(house, t.files, t.responses, t.transcripts) == [1, 1, 1]
    with pytest.raises(Missing):
        await house.files.get(ADA.whose, file.id)
    with pytest.raises(Missing):
        await brief[0].get(ADA.whose, "resp_a")
    await house.desk.lift(AUDITOR, hold.id, "over")
    await expiry.sweep()
    assert await house.files.any_expired(is_held) and await counts(house, t.responses, t.transcripts) == [0, 0]
