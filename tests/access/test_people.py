"""People on a real database: names, sign-in, disabling, the last administrator."""

import asyncio

import pytest
from sqlalchemy import insert, select, update

from intramural.access import Access, HashedPassword, Sought
from intramural.access.passwords import Cost, Passwords
from intramural.access.people import NO_PASSWORD, check_username, fold
from intramural.core.config import AccessConfig
from intramural.core.errors import Conflicting, Misasked, Missing, Throttled, Unauthenticated
from intramural.storage import schema as t

PASSWORD = "a sentence nobody guesses"
HASHED = HashedPassword("not used to sign in")


async def test_a_person_signs_in_with_name_in_any_case_and_password(access, join):
    ada = await join("Ada.Lovelace")
    for name in ("Ada.Lovelace", "ada.lovelace", "ADA.LOVELACE"):
        assert (await access.people.authenticate(name, PASSWORD, "10.0.0.1")).person == ada
    assert await access.people.get(ada.id) == ada
    assert await access.people.named("ADA.lovelace") == ada
    assert [each.username for each in await access.people.list()] == ["Ada.Lovelace", "root"]


async def test_wrong_name_wrong_password_and_disabled_look_alike(access, db, join):
    await join("ada")
    bob = await join("bob")
    async with db.writing() as connection:
        await access.people.change(connection, bob.id, disabled=True)
    messages = set()
    for name, password in (("ada", "wrong password"), ("nobody", PASSWORD), ("bob", PASSWORD), ("\ud800 %", PASSWORD)):
        with pytest.raises(Unauthenticated) as caught:
            await access.people.authenticate(name, password, "10.0.0.1")
        messages.add(str(caught.value))
    assert len(messages) == 1


async def test_guessing_is_throttled_by_name_and_by_address(access, join, clock):
    await join("ada")
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            await access.people.authenticate("ada", "wrong password", "10.0.0.1")
    with pytest.raises(Throttled):  # the right password, too: the answer must not tell
        await access.people.authenticate("ADA", PASSWORD, "10.0.0.2")
    for guess in range(90):  # with those before, as many as one address may
        with pytest.raises(Unauthenticated):
            await access.people.authenticate(f"name{guess}", "wrong password", "10.0.0.1")
    with pytest.raises(Throttled) as caught:
        await access.people.authenticate("root", PASSWORD, "10.0.0.1")
    clock.at_s += caught.value.retry_after_s
    assert (await access.people.authenticate("ada", PASSWORD, "10.0.0.1")).person.username == "ada"


async def test_guesses_made_at_the_same_time_are_bounded_too(access, join):
    await join("ada")
    guesses = (access.people.authenticate("ada", f"guess number {n}", f"10.0.0.{n}") for n in range(30))
    results = await asyncio.gather(*guesses, return_exceptions=True)
    assert sum(isinstance(result, Unauthenticated) for result in results) == 10
    assert sum(isinstance(result, Throttled) for result in results) == 20


async def test_signing_in_rightly_is_not_throttled(access, join):
    await join("ada")
    for _ in range(30):
        await access.people.authenticate("ada", PASSWORD, "10.0.0.1")


@pytest.mark.parametrize(
    "name", ["", " ", "a b", ".ada", "-ada", "_ada", "a" * 65, "a/b", "a\nb", "a\x00", "<b>", "\ud800", "ada\u202e"]
)
async def test_what_cannot_be_a_username(name):
    with pytest.raises(Misasked) as caught:
        check_username(name)
    assert caught.value.code == "bad_username"
    assert fold(name) == ""


@pytest.mark.parametrize(
    "name", ["a", "ada.lovelace@example.org", "Straße", "李雷", "o'neill".replace("'", "."), "a" * 64]
)
async def test_what_can(name):
    assert check_username(name) == name


async def test_two_spellings_are_one_name(access, db, join):
    await join("Straße")
    for name in ("STRASSE", "strasse", "ｓｔｒａｓｓｅ"):
        async with db.writing() as connection:
            with pytest.raises(Conflicting) as caught:
                await access.people.create(connection, name, HASHED, "member")
            assert caught.value.code == "username_taken"
            assert caught.value.param == "username"


async def test_the_first_person_is_an_administrator_and_roles_are_known_words(access, db, join):
    async with db.writing() as connection:
        with pytest.raises(Conflicting) as caught:
            await access.people.create(connection, "ada", HASHED, "member")
        assert caught.value.code == "first_person_must_administer"
        with pytest.raises(Misasked):
            await access.people.create(connection, "ada", HASHED, "god")
    ada = await join("ada")
    async with db.writing() as connection:
        with pytest.raises(Misasked):
            await access.people.change(connection, ada.id, role="god")
        assert (await access.people.change(connection, ada.id, role="auditor")).role == "auditor"


async def test_the_last_enabled_administrator_stays(access, db, join):
    root = await join("root", "administrator")
    other = await join("other", "administrator")
    async with db.writing() as connection:
        await access.people.change(connection, other.id, disabled=True)
    for act in (
        lambda connection: access.people.change(connection, root.id, disabled=True),
        lambda connection: access.people.change(connection, root.id, role="member"),
        lambda connection: access.people.change(connection, root.id, role="auditor", disabled=False),
        lambda connection: access.people.remove(connection, root.id),
    ):
        async with db.writing() as connection:
            with pytest.raises(Conflicting) as caught:
                await act(connection)
        assert caught.value.code == "last_administrator"
    assert await access.people.get(root.id) == root
    async with db.writing() as connection:
        await access.people.change(connection, other.id, disabled=False)
    async with db.writing() as connection:
        await access.people.remove(connection, root.id)
        with pytest.raises(Conflicting):
            await access.people.remove(connection, other.id)


async def test_two_administrators_who_remove_each_other_at_once_leave_one(access, db, join):
    one, two = await join("one", "administrator"), await join("two", "administrator")

    async def remove(person):
        async with db.writing() as connection:
            await access.people.remove(connection, person.id)

    results = await asyncio.gather(remove(one), remove(two), return_exceptions=True)
    assert sum(isinstance(result, Conflicting) for result in results) == 1
    assert len(await access.people.list()) == 1


async def test_an_act_that_fails_leaves_nothing(access, db, join):
    await join("root", "administrator")
    with pytest.raises(RuntimeError):
        async with db.writing() as connection:
            await access.people.create(connection, "ada", HASHED, "member")
            raise RuntimeError("the audit event could not be written")
    with pytest.raises(Missing):
        await access.people.named("ada")


async def test_a_missing_person_is_missing_everywhere(access, db):
    async with db.writing() as connection:
        for act in (
            access.people.change(connection, "person_x", disabled=True),
            access.people.set_password(connection, "person_x", HASHED),
            access.people.remove(connection, "person_x"),
            access.people.get("person_x"),
        ):
            with pytest.raises(Missing) as caught:
                await act
            assert caught.value.code == "person_not_found"


async def test_disabling_twice_keeps_the_first_time(access, db, join, clock):
    ada = await join("ada")
    async with db.writing() as connection:
        first = await access.people.change(connection, ada.id, disabled=True)
    clock.at_s += 60
    async with db.writing() as connection:
        again = await access.people.change(connection, ada.id, disabled=True)
        assert (await access.people.change(connection, ada.id)).disabled_ms == first.disabled_ms
        assert again.disabled_ms == first.disabled_ms
        assert (await access.people.change(connection, ada.id, disabled=False)).disabled_ms is None


async def test_a_new_password_replaces_the_old_one(access, db, join):
    ada = await join("ada")
    hashed = await access.people.hash_new("ada", "another sentence entirely")
    async with db.writing() as connection:
        await access.people.set_password(connection, ada.id, hashed)
    assert (await access.people.authenticate("ada", "another sentence entirely", "10.0.0.1")).person == ada
    with pytest.raises(Unauthenticated):
        await access.people.authenticate("ada", PASSWORD, "10.0.0.1")


async def test_a_weaker_hash_is_replaced_at_sign_in_also_by_several_at_once(access, db, join):
    ada = await join("ada")
    weak = Passwords(1, cost=Cost(1, 32, 1))
    stored = (await weak.hash(PASSWORD, "ada")).text
    weak.close()
    async with db.writing() as connection:
        await connection.execute(update(t.people).where(t.people.c.id == ada.id).values(password_hash=stored))
    signed_in = await asyncio.gather(*(access.people.authenticate("ada", PASSWORD, "10.0.0.1") for _ in range(5)))
    async with db.reading() as connection:
        now = await connection.scalar(select(t.people.c.password_hash).where(t.people.c.id == ada.id))
    assert now != stored
    assert "m=64" in now
    async with db.writing() as connection:
        for proven in signed_in:
            await access.sessions.open(connection, proven, "agent")


async def test_no_password_and_no_hash_is_in_what_is_printed(access, join):
    await join("ada")
    proven = await access.people.authenticate("ada", PASSWORD, "10.0.0.1")
    assert "argon2" not in repr(proven)


async def test_concurrent_sign_ins_beyond_the_line_are_told_so(db, tmp_path, clock, cheap):
    room = await Access.open(db, tmp_path / "secrets", AccessConfig(login_attempts=500), clock, cost=cheap)
    tries = (room.people.authenticate(f"name{n}", PASSWORD, f"10.0.0.{n}") for n in range(200))
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert {type(result) for result in results} <= {Unauthenticated, Throttled}
    assert {result.code for result in results if isinstance(result, Throttled)} <= {"sign_in_busy"}
    await room.close()


async def test_who_cannot_sign_in_yet_is_found(access, db, join):
    await join("root", "administrator")
    async with db.writing() as connection:
        await access.people.create(connection, "library", None, "service")
        came, waits, out, keyed = [
            (await access.people.create(connection, name, NO_PASSWORD, "member")).id
            for name in ("came", "waits", "out", "keyed")
        ]
        await access.people.change(connection, out, disabled=True)
        account = {"issuer": "https://id.example", "subject": "1", "provider": "school", "groups": "[]"}
        await connection.execute(insert(t.identities).values(person_id=came, created_ms=1, last_ms=1, **account))
        passkey = {"id": "passkey_1", "credential_id": b"1", "public_key": b"1", "sign_count": 0, "host": "localhost"}
        await connection.execute(insert(t.passkeys).values(person_id=keyed, name="phone", created_ms=1, **passkey))

    async def waiting():
        return [each.username for each in (await access.people.page(Sought(waiting=True))).people]

    assert await waiting() == ["waits"]
    hashed = await access.people.hash_new("waits", PASSWORD)
    async with db.writing() as connection:
        await access.people.set_password(connection, waits, hashed)
    assert await waiting() == []


async def test_people_are_found_by_what_is_in_their_names_and_come_in_pages(access, db, join):
    for name in ("root", "Ada.Lovelace", "adam", "Grace", "per_cent"):
        await join(name, "administrator" if name == "root" else "member")
    async with db.writing() as connection:
        robot = await access.people.create(connection, "adapter", None, "service")

    async def names(among=None, **sought):
        page = await access.people.page(Sought(**sought), among)
        return [each.username for each in page.people], page.total, page.after

    assert await names(text="ADA") == (["Ada.Lovelace", "adam", "adapter"], 3, None)
    assert await names(text="ada", kind="person", limit=1) == (["Ada.Lovelace"], 2, "ada.lovelace")
    assert await names(text="ada", kind="person", limit=1, after="ada.lovelace") == (["adam"], 2, None)
    assert (await names(role="administrator"))[0] == ["root"]
    assert (await names(ids=[robot.id, "person_nobody"]))[0] == ["adapter"]
    assert await names(among=[robot.id], text="a") == (["adapter"], 1, None)
    assert (await names(text="_"))[0] == ["per_cent"]  # not: any character
    assert await names(text="%") == ([], 0, None)
    seen, after = [], ""
    while after is not None:
        page, total, after = await names(limit=2, after=after)
        seen += page
        assert (len(page), total) == (2, 6)
    assert seen == [each.username for each in await access.people.list()]
