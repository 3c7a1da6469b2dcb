"""Keys on a real database."""

import pytest
from sqlalchemy import text

from intramural.access.keys import MAX_KEYS
from intramural.core.errors import Conflicting, Misasked, Missing


async def made(access, db, person, scopes=("inference",), **more):
    async with db.writing() as connection:
        return await access.keys.create(connection, person.id, "a program", scopes, **more)


async def test_a_key_is_shown_once_and_only_its_hash_is_kept(access, db, join, tmp_path):
    ada = await join("ada")
    key, secret = await made(access, db, ada, ("inference", "chats"), models=["small:1b"])
    assert secret.startswith("im-")
    assert secret.startswith(key.hint[:-1])
    assert len(key.hint) == 8
    assert await access.keys.list(ada.id) == [key]
    assert await access.keys.get(key.id) == key
    assert key.username == "ada"
    assert key.models == {"small:1b"}
    async with db.writing() as connection:
        await connection.exec_driver_sql("UPDATE people SET role = role")  # so that the log has pages, too
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes()
            assert secret[10:].encode() not in file.read_bytes()


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"name": " "}, "bad_key_name"),
        ({"name": "x" * 101}, "bad_key_name"),
        ({"name": "a\nb"}, "bad_key_name"),
        ({"scopes": ()}, "bad_scopes"),
        ({"scopes": ("everything",)}, "bad_scopes"),
        ({"scopes": ("inference", "admin")}, "bad_scopes"),
        ({"scopes": ("metrics",)}, "bad_scopes"),
        ({"models": ()}, "bad_models"),
        ({"models": ("",)}, "bad_models"),
        ({"models": ["x"] * 201}, "bad_models"),
        ({"expires_ms": 1_800_000_000_000}, "bad_expiry"),
        ({"expires_ms": -1}, "bad_expiry"),
    ],
)
async def test_what_a_members_key_cannot_be(access, db, join, given, code):
    ada = await join("ada")
    asked = {"name": "a program", "scopes": ("inference",), "models": None, "expires_ms": None} | given
    async with db.writing() as connection:
        with pytest.raises(Misasked) as caught:
            await access.keys.create(connection, ada.id, **asked)
    assert caught.value.code == code
    assert caught.value.param
    assert await access.keys.list() == []


async def test_administrators_and_auditors_may_have_keys_with_every_scope(access, db, join):
    for role in ("administrator", "auditor"):
        key, _ = await made(access, db, await join(f"the-{role}", role), ("inference", "chats", "admin", "metrics"))
        assert key.scopes == {"inference", "chats", "admin", "metrics"}


async def test_keys_are_listed_of_one_person_or_all(access, db, join):
    ada, bob = await join("ada"), await join("bob")
    first, _ = await made(access, db, ada)
    second, _ = await made(access, db, bob)
    assert await access.keys.list(ada.id) == [first]
    assert {key.id for key in await access.keys.list()} == {first.id, second.id}


async def test_revoking_is_for_good_and_repeating_it_changes_nothing(access, db, join, clock):
    key, _ = await made(access, db, await join("ada"))
    async with db.writing() as connection:
        revoked = await access.keys.revoke(connection, key.id)
    clock.at_s += 10
    async with db.writing() as connection:
        assert await access.keys.revoke(connection, key.id) == revoked
        with pytest.raises(Missing) as caught:
            await access.keys.revoke(connection, "key_x")
    assert caught.value.code == "key_not_found"
    assert revoked.revoked_ms == 1_800_000_000_000


async def test_keys_leave_with_their_person_and_nobody_makes_one_for_a_ghost(access, db, join):
    ada = await join("ada")
    await made(access, db, ada)
    async with db.writing() as connection:
        await access.people.remove(connection, ada.id)
        with pytest.raises(Missing):
            await access.keys.create(connection, ada.id, "a program", ("inference",))
    assert await access.keys.list() == []


async def test_nobody_fills_the_disk_with_keys(access, db, join):
    ada = await join("ada")
    async with db.writing() as connection:
        await connection.execute(
            text("INSERT INTO keys VALUES (:id, :person, 'k', 'im-', :hash, 'chats', NULL, 0, NULL, NULL, NULL, NULL)"),
            [{"id": f"key_{n}", "person": ada.id, "hash": n.to_bytes(32)} for n in range(MAX_KEYS)],
        )
    with pytest.raises(Conflicting) as caught:
        await made(access, db, ada)
    assert caught.value.code == "too_many_keys"
