"""Sessions and set-up on a real database."""

import asyncio

import pytest
from sqlalchemy import func, select
from tests import databases

from intramural.access import HashedPassword
from intramural.access.sessions import MAX_SESSIONS
from intramural.core.errors import Conflicting, Misasked, Missing, Unauthenticated
from intramural.storage import schema as t

PASSWORD = "a sentence nobody guesses"


async def signed_in(access, db, name, agent="a browser"):
    proven = await access.people.authenticate(name, PASSWORD, "10.0.0.1")
    async with db.writing() as connection:
        return await access.sessions.open(connection, proven, agent)


async def test_each_sign_in_is_a_new_session_with_its_own_tokens(access, db, join, tmp_path):
    ada = await join("ada")
    (one, first), (two, second) = await signed_in(access, db, "ada"), await signed_in(access, db, "ada", "x\n" * 300)
    assert len({one, two, first.csrf_token, second.csrf_token, first.id, second.id}) == 6
    assert [each.id for each in await access.sessions.list(ada.id)] == sorted([first.id, second.id], reverse=True)
    assert second.user_agent == "x" * 200
    assert first.csrf_matches(first.csrf_token)
    assert not first.csrf_matches(second.csrf_token)
    assert not first.csrf_matches("")
    assert first.csrf_token not in repr(first)
    assert one.encode() not in databases.everything(db.address)


async def test_a_session_is_closed_only_by_its_person(access, db, join):
    ada, bob = await join("ada"), await join("bob")
    _, session = await signed_in(access, db, "ada")
    async with db.writing() as connection:
        with pytest.raises(Missing) as caught:
            await access.sessions.close(connection, session.id, bob.id)
    assert caught.value.code == "session_not_found"
    assert len(await access.sessions.list(ada.id)) == 1
    async with db.writing() as connection:
        await access.sessions.close(connection, session.id, ada.id)
    assert await access.sessions.list(ada.id) == []


async def test_all_sessions_of_somebody_can_be_closed(access, db, join):
    ada, bob = await join("ada"), await join("bob")
    for _ in range(3):
        await signed_in(access, db, "ada")
    session = (await signed_in(access, db, "bob"))[1]
    async with db.writing() as connection:
        assert await access.sessions.close_all(connection, ada.id) == 3
    assert not await access.sessions.list(ada.id) and await access.sessions.list(bob.id) == [session]


async def test_a_password_that_changes_while_somebody_signs_in_with_it_gives_no_session(access, db, join):
    ada = await join("ada")
    proven = await access.people.authenticate("ada", PASSWORD, "10.0.0.1")
    hashed = await access.people.hash_new("ada", "another sentence entirely")
    async with db.writing() as connection:
        fresh = await access.people.set_password(connection, ada.id, hashed)
        with pytest.raises(Unauthenticated):
            await access.sessions.open(connection, proven, "the old one")
        _, session = await access.sessions.open(connection, fresh, "the new one")
    assert await access.sessions.list(ada.id) == [session]


async def test_somebody_disabled_or_removed_while_signing_in_gets_no_session(access, db, join):
    ada, bob = await join("ada"), await join("bob")
    one = await access.people.authenticate("ada", PASSWORD, "10.0.0.1")
    two = await access.people.authenticate("bob", PASSWORD, "10.0.0.1")
    async with db.writing() as connection:
        await access.people.change(connection, ada.id, disabled=True)
        await access.people.remove(connection, bob.id)
        for proven in (one, two):
            with pytest.raises(Unauthenticated):
                await access.sessions.open(connection, proven, "late")


async def test_what_has_ended_is_not_listed_and_is_swept_away(access, db, join, clock):
    ada = await join("ada")
    await signed_in(access, db, "ada")
    assert await access.sessions.sweep() == 0
    clock.at_s += 8 * 3600
    assert await access.sessions.list(ada.id) == []
    assert await access.sessions.sweep() == 1
    async with db.reading() as connection:
        assert await connection.scalar(select(func.count()).select_from(t.sessions)) == 0


async def test_one_sign_in_too_many_ends_the_one_unseen_longest(access, db, join, clock):
    ada = await join("ada")
    sessions = []
    for _ in range(MAX_SESSIONS + 1):
        clock.at_s += 1
        sessions.append((await signed_in(access, db, "ada"))[1].id)
    assert {each.id for each in await access.sessions.list(ada.id)} == set(sessions[1:])


# Set-up ---------------------------------------------------------------------------------------------------------------


async def complete(access, db, token, name="root"):
    hashed = await access.people.hash_new(name, PASSWORD)
    async with db.writing() as connection:
        return await access.setup.complete(connection, token, name, hashed)


async def test_set_up_makes_one_administrator_once(access, db):
    assert await access.setup.needed()
    token = await access.setup.begin()
    await access.setup.check(token)
    proven = await complete(access, db, token)
    assert proven.person.role == "administrator"
    assert not await access.setup.needed()
    assert await access.setup.begin() is None
    async with db.writing() as connection:
        await access.sessions.open(connection, proven, "a browser")
    for act in (complete(access, db, token, "mallory"), access.setup.check(token)):
        with pytest.raises(Conflicting) as caught:
            await act
        assert caught.value.code == "already_set_up"


async def test_only_the_token_of_the_latest_start_counts(access, db, tmp_path):
    old = await access.setup.begin()
    new = await access.setup.begin()
    for wrong in (old, "", "x" * 43, "ü" * 1000, new[:-1]):
        with pytest.raises(Unauthenticated) as caught:
            await complete(access, db, wrong)
        assert caught.value.code == "setup_token_invalid"
    assert new.encode() not in databases.everything(db.address)
    await complete(access, db, new)


async def test_a_set_up_that_fails_does_not_use_the_token_up(access, db):
    token = await access.setup.begin()
    async with db.writing() as connection:
        with pytest.raises(Misasked):
            await access.setup.complete(connection, token, "not a name", HashedPassword("x"))
    with pytest.raises(RuntimeError):
        async with db.writing() as connection:
            await access.setup.complete(connection, token, "root", HashedPassword("x"))
            raise RuntimeError("the audit event could not be written")
    assert await access.setup.needed()
    await complete(access, db, token)


async def test_two_who_use_one_link_at_once_make_one_administrator(access, db):
    token = await access.setup.begin()
    results = await asyncio.gather(*(complete(access, db, token, f"name{n}") for n in range(5)), return_exceptions=True)
    assert sum(isinstance(result, Conflicting) for result in results) == 4
    assert len(await access.people.list()) == 1


async def test_a_person_made_on_the_command_line_ends_the_link(access, db, join):
    token = await access.setup.begin()
    await join("root", "administrator")
    with pytest.raises(Conflicting):
        await complete(access, db, token)
    async with db.reading() as connection:
        assert await connection.scalar(select(func.count()).select_from(t.setup_tokens)) == 0
