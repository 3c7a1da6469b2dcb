"""From a secret to an actor: what stops at once, what is written late."""

import asyncio

import pytest
from tests import databases

from intramural.access import Access
from intramural.access.secret import new_key, new_token
from intramural.core.clock import SystemClock
from intramural.core.config import AccessConfig
from intramural.core.errors import Unauthenticated

PASSWORD = "a sentence nobody guesses"


@pytest.fixture
async def ada(join):
    return await join("ada")


@pytest.fixture
async def key(access, db, ada):
    async with db.writing() as connection:
        return await access.keys.create(connection, ada.id, "a program", ["inference"], ["small:1b"])


@pytest.fixture
async def session(access, db, ada):
    proven = await access.people.authenticate("ada", PASSWORD, "10.0.0.1")
    async with db.writing() as connection:
        return await access.sessions.open(connection, proven, "a browser")


async def refused(asking) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await asking
    assert caught.value.hint
    return caught.value.code


async def test_a_key_and_a_session_say_who_it_is(access, ada, key, session):
    actor = await access.identify.by_key(key[1])
    assert (actor.kind, actor.person_id, actor.username, actor.role) == ("key", ada.id, "ada", "member")
    assert (actor.scopes, actor.models, actor.credential_id) == ({"inference"}, {"small:1b"}, key[0].id)
    actor, found = await access.identify.by_session(session[0])
    assert (actor.kind, actor.person_id, actor.credential_id) == ("person", ada.id, session[1].id)
    assert actor.scopes == {"inference", "chats"}
    assert found.csrf_token == session[1].csrf_token


async def test_what_is_no_secret_of_ours_is_nobody(access, key, session):
    clock = SystemClock()
    for text in ("", "im-", "sk-1234", key[1][:-1], key[1] + "x", new_key(clock), session[0], "ü\ud800", "x" * 100_000):
        assert await refused(access.identify.by_key(text)) == "invalid_key"
    for text in ("", new_token(clock), key[1], session[0] + "x", "ü\ud800", "x" * 100_000):
        assert await refused(access.identify.by_session(text)) == "session_ended"


async def test_a_revoked_key_stops_with_the_commit_and_not_before(access, db, key):
    await access.identify.by_key(key[1])
    async with db.writing() as connection:
        await access.keys.revoke(connection, key[0].id)
        await access.identify.by_key(key[1])
    assert await refused(access.identify.by_key(key[1])) == "revoked_key"


async def test_a_change_that_is_undone_changes_nothing(access, db, key, session, ada):
    with pytest.raises(RuntimeError):
        async with db.writing() as connection:
            await access.keys.revoke(connection, key[0].id)
            await access.people.change(connection, ada.id, disabled=True)
            raise RuntimeError("the audit event could not be written")
    await access.identify.by_key(key[1])
    await access.identify.by_session(session[0])


async def test_a_change_under_way_is_not_seen_before_its_commit(access, db, key, ada):
    async with db.writing() as connection:
        await access.people.change(connection, ada.id, role="auditor")
        assert (await access.identify.by_key(key[1])).role == "member"
    assert (await access.identify.by_key(key[1])).role == "auditor"


async def test_disabling_stops_keys_and_sessions_at_once_and_enabling_brings_back_keys_only(
    access, db, key, session, ada
):
    await access.identify.by_key(key[1])
    await access.identify.by_session(session[0])
    async with db.writing() as connection:
        await access.people.change(connection, ada.id, disabled=True)
    assert await refused(access.identify.by_key(key[1])) == "disabled_person"
    assert await refused(access.identify.by_session(session[0])) == "session_ended"
    async with db.writing() as connection:
        await access.people.change(connection, ada.id, disabled=False)
    await access.identify.by_key(key[1])
    assert await refused(access.identify.by_session(session[0])) == "session_ended"


async def test_signing_out_removing_and_a_new_password_end_sessions_at_once(access, db, join, ada):
    async def opened():
        proven = await access.people.authenticate("ada", PASSWORD, "10.0.0.1")
        async with db.writing() as connection:
            token, session = await access.sessions.open(connection, proven, "a browser")
        await access.identify.by_session(token)
        return token, session

    token, session = await opened()
    async with db.writing() as connection:
        await access.sessions.close(connection, session.id, ada.id)
    assert await refused(access.identify.by_session(token)) == "session_ended"
    token, _ = await opened()
    hashed = await access.people.hash_new("ada", PASSWORD)
    async with db.writing() as connection:
        await access.people.set_password(connection, ada.id, hashed)
    assert await refused(access.identify.by_session(token)) == "session_ended"
    token, _ = await opened()
    async with db.writing() as connection:
        await access.people.remove(connection, ada.id)
    assert await refused(access.identify.by_session(token)) == "session_ended"


async def test_a_key_expires_by_the_clock(access, db, ada, clock):
    async with db.writing() as connection:
        ends_ms = int(clock.at_s * 1000) + 500
        _, secret = await access.keys.create(connection, ada.id, "short", ["inference"], None, ends_ms)
    await access.identify.by_key(secret)
    clock.at_s += 0.499
    await access.identify.by_key(secret)
    clock.at_s += 0.001
    assert await refused(access.identify.by_key(secret)) == "expired_key"


async def test_a_session_ends_when_unseen_and_when_old(access, db, session, clock):
    config = AccessConfig()
    for _ in range(int(config.session_absolute_s / config.session_idle_s)):
        clock.at_s += config.session_idle_s - 1
        await access.tend()
        await access.identify.by_session(session[0])
    clock.at_s = session[1].ends_ms / 1000
    assert await refused(access.identify.by_session(session[0])) == "session_ended"


async def test_an_idle_session_ends(access, session, clock):
    await access.identify.by_session(session[0])
    clock.at_s += AccessConfig().session_idle_s
    assert await refused(access.identify.by_session(session[0])) == "session_ended"


async def test_a_change_by_another_process_holds_at_once(access, tmp_path, clock, key, session, cheap, ada):
    await access.identify.by_key(key[1])
    await access.identify.by_session(session[0])
    theirs = await databases.opened(tmp_path / "intramural.db")
    other = await Access.open(theirs, tmp_path / "secrets", AccessConfig(), clock, cost=cheap)
    async with theirs.writing() as connection:
        await other.people.change(connection, ada.id, disabled=True)
    await other.close()
    await theirs.close()
    assert await refused(access.identify.by_key(key[1])) == "disabled_person"
    assert await refused(access.identify.by_session(session[0])) == "session_ended"


async def test_no_answer_after_a_commit_is_from_before_it(access, db, key, ada):
    """Readers and a writer at the same time: once a change is durable, nobody is told what was before it."""
    roles = ("member", "auditor", "administrator")
    durable = 0  # how many changes the writer knows to be on the disk; the next may be there already
    told = []

    async def change() -> None:
        nonlocal durable
        for turn in range(1, 61):
            async with db.writing() as connection:
                await access.people.change(connection, ada.id, role=roles[turn % 3])
            durable = turn
            await asyncio.sleep(0.001)

    async def ask(changing: "asyncio.Task[None]") -> None:
        while not changing.done():
            before = durable
            actor = await access.identify.by_key(key[1])
            if durable == before:
                told.append((before, actor.role))
            await asyncio.sleep(0)

    changing = asyncio.create_task(change())
    await asyncio.gather(changing, *(ask(changing) for _ in range(4)))
    assert len(told) > 60
    assert [each for each in told if each[1] == roles[(each[0] - 1) % 3]] == []


async def test_last_use_is_seen_at_once_and_written_later(access, db, key, session, ada, clock, tmp_path, cheap):
    clock.at_s += 5
    await access.identify.by_key(key[1])
    await access.identify.by_session(session[0])
    now_ms = int(clock.at_s * 1000)
    assert (await access.keys.get(key[0].id)).last_used_ms == now_ms
    assert (await access.sessions.list(ada.id))[0].last_seen_ms == now_ms
    await access.tend()
    await access.tend()
    fresh = Access(db, access.keys._pepper, AccessConfig(), clock, cheap)
    assert (await fresh.keys.get(key[0].id)).last_used_ms == now_ms
    assert (await fresh.sessions.list(ada.id))[0].last_seen_ms == now_ms
    clock.at_s -= 3  # a clock set back does not unsay it
    await access.identify.by_key(key[1])
    await access.tend()
    assert (await fresh.keys.get(key[0].id)).last_used_ms == now_ms


async def test_closing_writes_what_was_noted(db, access, key, clock, cheap):
    clock.at_s += 5
    await access.identify.by_key(key[1])
    await access.close()
    fresh = Access(db, access.keys._pepper, AccessConfig(), clock, cheap)
    assert (await fresh.keys.get(key[0].id)).last_used_ms == int(clock.at_s * 1000)
