"""Legal holds and their ends are not lost by restoring a backup that is older than they."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import delete, insert, update
from tests import databases
from tests.services.keeping import ADA, AUDITOR, BOB, Keeping, keeping

from intramural import app
from intramural.app import House
from intramural.audit import Event
from intramural.chats import Chats
from intramural.core.actor import CONSOLE, SCOPES, Actor
from intramural.core.clock import SystemClock
from intramural.core.config import Config, load
from intramural.core.errors import Refused, Unavailable, Untrusted
from intramural.retention import Held, Hold, HoldList, learnt
from intramural.services.backups import Lock
from intramural.storage import Database
from intramural.storage import schema as t

SECRET = X25519PrivateKey.generate()
LOCK = Lock(SECRET.public_key(), SECRET)


# the real thing: an installation is backed up, goes on, is lost, and restored on a clean directory --------------------


def config(folder: Path, **settings: str) -> Config:
    if databases.SERVER:
        settings["INTRAMURAL_STORAGE_URL"] = databases.empty_postgres(folder.with_suffix(".db"))
    return load(settings, data_dir=folder)


def person(found: str) -> Actor:
    return Actor("person", found, "mia", "member", frozenset(SCOPES), "session_1")


async def furnished(house: House) -> tuple[str, str]:
    """Somebody with a chat: their identifiers."""
    db = await Database.open(house.config.database)
    people = house.access.people
    hashed = await people.hash_new("mia", "a sentence nobody guesses")
    async with db.writing() as connection:
        await people.create(connection, "ada", hashed, "administrator")
        mia = await people.create(connection, "mia", hashed, "member")
    vault = house.services.vault._vault
    await vault.prepare(mia.id)
    chat = await Chats(db, vault, SystemClock()).create(mia.id, "m")
    await db.close()
    return mia.id, chat.id


async def is_held(house: House, mia: str, chat_id: str) -> bool:
    """Whether she is refused to delete her chat, and an administrator to erase her."""
    try:
        await house.services.conversations.delete(person(mia), chat_id)
    except Refused as error:
        assert error.code == "legal_hold"
        with pytest.raises(Refused):
            await house.services.personal.erase(CONSOLE, mia)
        return True
    return False


async def again(house: House, event: Event) -> int:
    entries = await house.services.vault._audit.entries(limit=10, event=event)
    return sum(bool(each.facts.get("again")) for each in entries)


async def test_a_hold_that_was_put_after_the_backup_holds_when_that_is_restored(tmp_path: Path) -> None:
    settings = config(tmp_path / "house")
    async with app.opened(settings) as house:
        mia, chat_id = await furnished(house)
        await app.back_up(settings, tmp_path / "backups", LOCK, with_key=True)
        await house.services.holds.put(CONSOLE, "person", mia, "an inquiry")
    kept_elsewhere = tmp_path / "elsewhere.jsonl"
    shutil.copy(settings.data_dir / "secrets" / "holds.jsonl", kept_elsewhere)
    shutil.rmtree(settings.data_dir)

    settings = config(tmp_path / "restored")
    await app.restore(settings, tmp_path / "backups", LOCK, holds=kept_elsewhere)
    async with app.opened(settings) as house:
        assert await is_held(house, mia, chat_id)
        (hold,) = await house.services.holds.list(CONSOLE)
        assert (hold.reason, hold.put_by, hold.people) == ("an inquiry", "console", 1)
        await house.services.holds.lift(CONSOLE, hold.id, "it is over")
    async with app.opened(settings) as house:  # as it was put, and it could be lifted; not once for every start
        assert await again(house, Event.LEGAL_HOLD_PUT) == 1
        assert not await is_held(house, mia, chat_id)
    # without the list it is lost, as nobody could know of it
    settings = config(tmp_path / "without")
    await app.restore(settings, tmp_path / "backups", LOCK)
    async with app.opened(settings) as house:
        assert not await is_held(house, mia, chat_id)


async def test_a_hold_that_was_lifted_after_the_backup_stays_lifted(tmp_path: Path) -> None:
    """Where the list is kept apart from the data directory, nothing has to be named."""
    apart = {"INTRAMURAL_VAULT_ERASED_FILE": str(tmp_path / "apart" / "erased.jsonl")}
    settings = config(tmp_path / "house", **apart)
    async with app.opened(settings) as house:
        mia, chat_id = await furnished(house)
        hold = await house.services.holds.put(CONSOLE, "person", mia, "an inquiry")
        await app.back_up(settings, tmp_path / "backups", LOCK, with_key=True)
        await house.services.holds.lift(CONSOLE, hold.id, "settled")
    shutil.rmtree(settings.data_dir)

    alone = config(tmp_path / "alone")  # a machine that has not the list: the hold of the backup's time counts
    await app.restore(alone, tmp_path / "backups", LOCK)
    async with app.opened(alone) as house:
        assert await is_held(house, mia, chat_id)
    settings = config(tmp_path / "restored", **apart)
    await app.restore(settings, tmp_path / "backups", LOCK)
    async with app.opened(settings) as house:
        assert not await is_held(house, mia, chat_id)
        assert await again(house, Event.LEGAL_HOLD_LIFTED) == 1
        (listed,) = await house.services.holds.list(CONSOLE)
        assert (listed.lifted_reason, listed.lifted_by) == ("settled", "console")


# the rooms alone ------------------------------------------------------------------------------------------------------


async def test_whom_a_hold_on_a_group_is_on_is_not_lost_either(tmp_path: Path) -> None:
    """Bob came into the group after the backup, and left it again: he stays held."""
    async with people_in_a_group(tmp_path) as house:
        hold = await house.desk.put(AUDITOR, "group", "g", "an inquiry")
        async with house.db.writing() as connection:
            await connection.execute(insert(t.group_members).values(group_id="g", person_id="bob", manager=False))
        await house.purging.round()
        async with house.db.writing() as connection:  # a database of before: no hold, and bob in no group
            await connection.execute(delete(t.group_members).where(t.group_members.c.person_id == "bob"))
            await connection.execute(delete(t.legal_holds))
        assert await house.desk.replay() == 1
        for who in (ADA, BOB):
            assert await house.holds.on(who.person_id) == hold.id
        assert await house.desk.replay() == 0
        async with house.db.writing() as connection:  # or one in which only bob is missing
            await connection.execute(delete(t.legal_hold_people).where(t.legal_hold_people.c.person_id == "bob"))
        assert await house.desk.replay() == 1 and await house.holds.on("bob") == hold.id
        async with house.db.writing() as connection:
            await connection.execute(delete(t.people).where(t.people.c.id == "bob"))
        assert await house.desk.replay() == 0  # nobody is there to be held


@asynccontextmanager
async def people_in_a_group(folder: Path) -> AsyncIterator[Keeping]:
    async with keeping(folder) as house:
        await house.people(ADA, BOB)
        async with house.db.writing() as connection:
            row = {"id": "g", "name": "7b", "lineage": "g", "created_ms": 0}
            await connection.execute(insert(t.groups).values(**row))
            await connection.execute(insert(t.group_members).values(group_id="g", person_id="ada", manager=False))
        yield house


async def test_nothing_is_deleted_for_its_age_before_holds_are_back(tmp_path: Path) -> None:
    async with keeping(tmp_path, chat_days=30) as house:
        await house.people(ADA, BOB)
        held, free = await house.chat(ADA, "kept"), await house.chat(BOB, "goes")
        hold = await house.desk.put(AUDITOR, "person", "ada", "an inquiry")
        async with house.db.writing() as connection:
            await connection.execute(delete(t.legal_holds))
        await house.desk.replay()
        house.later(40)
        await house.purging.round()
        assert [row.id for row in await house.rows(t.chats)] == [held] != [free]
        async with house.db.writing() as connection:  # and its end comes back as well
            await house.holds.lift(connection, hold.id, "sealed", "aud")
        await house.desk.follow()
        async with house.db.writing() as connection:
            values = {"lifted_ms": None, "lifted_by": None, "lifted_reason": None}
            await connection.execute(update(t.legal_holds).values(**values))
        assert await house.desk.replay() == 1
        await house.purging.round()
        assert not await house.rows(t.chats)


async def test_a_hold_counts_though_its_list_cannot_be_written(tmp_path: Path) -> None:
    async with keeping(tmp_path) as house:
        await house.people(ADA)
        (tmp_path / "secrets" / "holds.jsonl").mkdir()
        hold = await house.desk.put(AUDITOR, "person", "ada", "an inquiry")
        assert await house.holds.on("ada") == hold.id
        (tmp_path / "secrets" / "holds.jsonl").rmdir()
        await house.desk.follow()  # within the hour
        assert set(HoldList(tmp_path / "secrets" / "holds.jsonl").held()) == {hold.id}


# the list, and what each of the two learns --------------------------------------------------------------------------

PUT = Hold("hold_1", "person", "ada", "sealed", "aud", 5)
LIFTED = replace(PUT, lifted_by="aud", lifted_reason="sealed too", lifted_ms=9)
ON_ADA, ENDED = Held(PUT, frozenset({"ada"})), Held(LIFTED, frozenset({"ada"}))
ON_BOTH = Held(PUT, frozenset({"ada", "bob"}))


@pytest.mark.parametrize(
    ("listed", "there", "does", "with_whom"),
    [
        (None, None, "", None),
        (None, ON_ADA, "note", ON_ADA),
        (None, ENDED, "note", ENDED),
        (ON_ADA, None, "put", ON_ADA),
        (ON_ADA, ON_ADA, "", None),
        (ON_ADA, ON_BOTH, "note", ON_BOTH),
        (ON_BOTH, ON_ADA, "add", Held(PUT, frozenset({"bob"}))),
        (ON_ADA, ENDED, "note", ENDED),
        (ENDED, None, "", None),
        (ENDED, ON_ADA, "lift", ENDED),
        (ENDED, ENDED, "", None),
    ],
)
def test_what_the_list_and_the_database_learn_of_one_another(
    listed: Held | None, there: Held | None, does: str, with_whom: Held | None
) -> None:
    of = [{} if each is None else {"hold_1": each} for each in (listed, there)]
    found = learnt(*of)
    done = {name: getattr(found, name) for name in ("put", "lift", "add", "note") if getattr(found, name)}
    assert done == ({does: (with_whom,)} if does else {})


def test_the_list_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "secrets" / "holds.jsonl"
    listed = HoldList(file)
    assert listed.held() == {}
    listed.note(ON_ADA)
    assert listed.held() == {"hold_1": ON_ADA} and file.stat().st_mode & 0o777 == 0o600
    listed.note(ON_BOTH)
    listed.note(ENDED)
    assert listed.held() == {"hold_1": Held(LIFTED, frozenset({"ada", "bob"}))}
    listed.note(ON_ADA)  # an older list's lines after a newer one's: what was lifted is lifted
    with file.open("a") as out:
        out.write('{"id": "hold_2", "sub')  # cut off by a crash
    assert listed.held()["hold_1"].hold == LIFTED and len(listed.held()) == 1
    listed.note(Held(replace(PUT, id="hold_3"), frozenset()))
    assert set(listed.held()) == {"hold_1", "hold_3"}
    for wrong in ("{nonsense}", '{"id": "hold_4"}', "[]}"):
        text = file.read_text()
        file.write_text(text + wrong + "\n")
        with pytest.raises(Untrusted) as caught:
            listed.held()
        assert caught.value.code == "hold_list_damaged"
        file.write_text(text)
    (tmp_path / "folder").mkdir()
    with pytest.raises(Unavailable) as unwritable:
        HoldList(tmp_path / "folder").note(ON_ADA)
    assert unwritable.value.code == "hold_list_unwritable"
