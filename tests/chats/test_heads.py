"""Chats that are not as they were left: whoever can write the database, and has old values of it, is noticed.

Every test does to the database what such a person could: puts back bytes that were there once, moves, or deletes them.
What is *not* noticed is tested too, so that the page which says so stays true.
"""

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Table, delete, insert, select, update
from tests.chats.conftest import ADA, BOB, MovedClock

from intramural.chats import Chats, Turn
from intramural.core.errors import Untrusted
from intramural.storage import Database
from intramural.storage import schema as t
from intramural.vault import Stored, Vault, Whole
from intramural.vault.heads import AGAIN_S
from intramural.vault.sums import NOTHING, Head, Root, of_about, of_part, of_thing, together, told_changes

KEPT = (t.chats, t.chat_messages, t.chat_roots)


async def copy(db: Database, *tables: Table) -> dict[Table, list[dict[str, Any]]]:
    """Yesterday's backup of these tables."""
    async with db.reading() as connection:
        return {table: [dict(row._mapping) for row in await connection.execute(select(table))] for table in tables}


async def put_back(db: Database, old: dict[Table, list[dict[str, Any]]]) -> None:
    """The whole of what was copied, and nothing else."""
    async with db.writing() as connection:
        for table in reversed(list(old)):
            await connection.execute(delete(table))
        for table, rows in old.items():
            for row in rows:
                await connection.execute(insert(table).values(**row))


async def talk(chats: Chats, person_id: str = ADA, *said: str) -> tuple[str, list[Turn]]:
    chat = await chats.create(person_id, "tiny:1b")
    turns = []
    for each in said or ("one", "two"):
        turns.append(await chats.append_turn(person_id, chat.id, each))
        await chats.finish_message(person_id, turns[-1].assistant_message_id, f"answer to {each}", "finished")
    return chat.id, turns


async def refused(call: Awaitable[Any], code: str) -> None:
    with pytest.raises(Untrusted) as caught:
        await call
    assert caught.value.code == code and caught.value.hint


def again(db: Database, vault: Vault, clock: MovedClock) -> Chats:
    """As after a start: nothing is remembered of what was looked at."""
    return Chats(db, vault, clock)


def whole(chats: Chats) -> Whole:
    return Whole(chats._db, [chats.heads])


async def found(chats: Chats, person_id: str = ADA, logged: str | None = None) -> set[tuple[str | None, str]]:
    return {(each.thing_id, each.code) for each in await whole(chats).check(person_id, logged)}


async def test_what_nobody_touched_is_as_it_was_left(
    chats: Chats, db: Database, vault: Vault, clock: MovedClock
) -> None:
    chat_id, turns = await talk(chats)
    await chats.change(ADA, chat_id, title="Another title")
    await chats.replace_from(ADA, chat_id, turns[0].user_message_id, "edited")
    other, _ = await talk(chats)
    await chats.delete(ADA, other)
    await talk(chats, BOB)
    for each in (chats, again(db, vault, clock)):
        await each.get(ADA, chat_id)
        assert [one.chat.id for one in await each.list(ADA)] == [chat_id]
        assert not await found(each) and not await found(each, BOB)


async def test_what_is_deleted_because_its_time_is_over_leaves_the_rest_fitting(chats: Chats, db: Database) -> None:
    stays, old, older = [(await talk(chats))[0] for _ in range(3)]
    async with db.writing() as connection:
        assert await chats.purge(connection, [old, older, "chat_none"]) == 2
    assert not await found(chats)
    await chats.get(ADA, stays)


async def test_an_older_version_of_a_message(chats: Chats, db: Database) -> None:
    """The answer as it was before it was written, with the ciphertext of then, which still opens."""
    chat_id, turns = await talk(chats)
    message = t.chat_messages.c
    turn = await chats.append_turn(ADA, chat_id, "three")
    async with db.reading() as connection:
        wanted = select(message.content).where(message.id == turn.assistant_message_id)
        before = await connection.scalar(wanted)
    await chats.finish_message(ADA, turn.assistant_message_id, "the true answer", "finished")
    async with db.writing() as connection:
        where = message.id == turn.assistant_message_id
        await connection.execute(update(t.chat_messages).where(where).values(content=before))
    await refused(chats.get(ADA, chat_id), "chat_changed")
    await refused(chats.append_turn(ADA, chat_id, "four"), "chat_changed")
    await refused(chats.replace_from(ADA, chat_id, turns[0].user_message_id, "edited"), "chat_changed")
    assert await found(chats) == {(chat_id, "chat_changed")}
    await chats.list(ADA)  # the other chats are there
    await chats.delete(ADA, chat_id)
    assert not await found(chats)


async def test_a_message_that_was_taken_out_or_put_back_in(chats: Chats, db: Database) -> None:
    chat_id, turns = await talk(chats, ADA, "one", "two", "three")
    old = await copy(db, t.chat_messages)
    async with db.writing() as connection:
        gone = t.chat_messages.c.id == turns[1].user_message_id
        await connection.execute(delete(t.chat_messages).where(gone))
    await refused(chats.get(ADA, chat_id), "chat_changed")
    await put_back(db, old)
    await chats.get(ADA, chat_id)
    await chats.replace_from(ADA, chat_id, turns[2].user_message_id, "edited")
    row = next(row for row in old[t.chat_messages] if row["id"] == turns[2].user_message_id)
    async with db.writing() as connection:  # what its owner took back is there again, at the end
        await connection.execute(insert(t.chat_messages).values(**row | {"position": 6}))
    await refused(chats.get(ADA, chat_id), "chat_changed")


async def test_messages_in_another_order_role_or_chat(chats: Chats, db: Database) -> None:
    first, turns = await talk(chats)
    second, _ = await talk(chats)
    message = t.chat_messages
    old = await copy(db, message)

    def where(message_id: str) -> Any:
        return update(message).where(message.c.id == message_id)

    one, two = turns[0].user_message_id, turns[1].user_message_id
    stories: list[Callable[[], list[Any]]] = [
        lambda: [where(one).values(position=99), where(two).values(position=0), where(one).values(position=2)],
        lambda: [where(one).values(role="system")],
        lambda: [where(two).values(chat_id=second, position=4)],
        lambda: [where(turns[1].assistant_message_id).values(id="message_other")],
    ]
    for story in stories:
        async with db.writing() as connection:
            for statement in story():
                await connection.execute(statement)
        with pytest.raises(Untrusted):
            await chats.get(ADA, first)
        await put_back(db, old)
        await chats.get(ADA, first)


async def test_a_ciphertext_moved_to_another_row(chats: Chats, db: Database) -> None:
    chat_id, turns = await talk(chats)
    async with db.writing() as connection:
        message = t.chat_messages.c
        other = await connection.scalar(select(message.content).where(message.id == turns[0].user_message_id))
        where = message.id == turns[1].user_message_id
        await connection.execute(update(t.chat_messages).where(where).values(content=other))
    await refused(chats.get(ADA, chat_id), "sealed_wrong")
    assert await found(chats) == {(chat_id, "sealed_wrong")}


async def test_a_title_or_the_workspace_of_a_chat(chats: Chats, db: Database, vault: Vault, clock: MovedClock) -> None:
    chat_id, _ = await talk(chats)
    old = await copy(db, t.chats)
    await chats.change(ADA, chat_id, title="New")
    new = await copy(db, t.chats)
    for values in ({"title": old[t.chats][0]["title"]}, {"workspace_id": "workspace_public"}, {"head": None}):
        async with db.writing() as connection:
            await connection.execute(update(t.chats).values(**values))
        await refused(chats.list(ADA, workspaces=(None, "workspace_public")), "chat_changed")
        await refused(chats.get(ADA, chat_id), "chat_changed")
        async with db.writing() as connection:
            kept = {name: new[t.chats][0][name] for name in values}
            await connection.execute(update(t.chats).values(**kept))
    await chats.get(ADA, chat_id)


async def test_a_whole_chat_as_it_was_before(chats: Chats, db: Database, vault: Vault, clock: MovedClock) -> None:
    """Messages and head of one chat, all from yesterday: they fit one another, and not their person's root."""
    chat_id, _ = await talk(chats)
    old = await copy(db, t.chats, t.chat_messages)
    await chats.append_turn(ADA, chat_id, "what was to be forgotten")
    await put_back(db, old)
    for call in (lambda c: c.get(ADA, chat_id), lambda c: c.list(ADA), lambda c: c.create(ADA, "tiny:1b")):
        await refused(call(again(db, vault, clock)), "chats_changed")
    assert await found(chats) == {(None, "chats_changed")}


async def test_a_chat_that_is_gone_or_back(chats: Chats, db: Database, vault: Vault, clock: MovedClock) -> None:
    chat_id, _ = await talk(chats)
    old = await copy(db, t.chats, t.chat_messages)
    await talk(chats)
    async with db.writing() as connection:
        await connection.execute(delete(t.chats).where(t.chats.c.id == chat_id))
    await refused(again(db, vault, clock).list(ADA), "chats_changed")
    async with db.writing() as connection:
        for table, rows in old.items():
            for row in rows:
                await connection.execute(insert(table).values(**row))
    await again(db, vault, clock).list(ADA)
    await chats.delete(ADA, chat_id)
    async with db.writing() as connection:
        for table, rows in old.items():
            for row in rows:
                await connection.execute(insert(table).values(**row))
    await refused(again(db, vault, clock).get(ADA, chat_id), "chats_changed")


async def test_the_root_taken_away_or_anothers(chats: Chats, db: Database, vault: Vault, clock: MovedClock) -> None:
    await talk(chats)
    await talk(chats, BOB)
    old = await copy(db, t.chat_roots)
    async with db.writing() as connection:
        roots = t.chat_roots
        bobs = await connection.scalar(select(roots.c.root).where(roots.c.person_id == BOB))
        await connection.execute(update(roots).where(roots.c.person_id == ADA).values(root=bobs))
    await refused(again(db, vault, clock).list(ADA), "sealed_wrong")
    await put_back(db, old)
    async with db.writing() as connection:
        await connection.execute(delete(t.chat_roots).where(t.chat_roots.c.person_id == ADA))
    await refused(again(db, vault, clock).list(ADA), "chats_changed")
    await again(db, vault, clock).list(BOB)


async def test_while_the_service_runs_it_is_noticed_within_minutes_and_never_healed(
    chats: Chats, db: Database, vault: Vault, clock: MovedClock, monotonic: Callable[[float], None]
) -> None:
    chat_id, _ = await talk(chats)
    old = await copy(db, t.chats, t.chat_messages)
    await chats.append_turn(ADA, chat_id, "what was to be forgotten")
    await put_back(db, old)
    await chats.append_turn(ADA, chat_id, "going on as if nothing had happened")  # it was looked at a moment ago
    monotonic(AGAIN_S + 1)
    await refused(chats.list(ADA), "chats_changed")
    await refused(again(db, vault, clock).get(ADA, chat_id), "chats_changed")


async def test_everything_of_a_person_as_it_was_before_is_told_by_the_log_alone(
    chats: Chats, db: Database, vault: Vault, clock: MovedClock
) -> None:
    """Messages, heads and root, all from yesterday: nothing here contradicts anything. The log was told later."""
    chat_id, _ = await talk(chats)
    old = await copy(db, *KEPT)
    logged = (await chats.append_turn(ADA, chat_id, "what was to be forgotten")).kept
    assert not await found(chats, logged=logged)
    await chats.append_turn(ADA, chat_id, "what the log was not told of")
    assert not await found(chats, logged=logged)
    await put_back(db, old)
    fresh = again(db, vault, clock)
    await fresh.get(ADA, chat_id)  # not noticed here: see docs/vault.md
    assert await found(fresh, logged=logged) == {(None, "chats_rolled_back")}
    assert not await found(fresh, BOB)
    async with db.writing() as connection:
        await connection.execute(delete(t.chat_roots))
        await connection.execute(delete(t.chats))
    assert await found(fresh, logged=logged) == {(None, "chats_rolled_back")}
    await fresh.create(ADA, "tiny:1b")  # begins anew, far behind what the log was told
    assert await found(fresh, logged=logged) == {(None, "chats_rolled_back")}


async def test_what_is_written_after_the_log_was_told_last_can_be_taken_back_unnoticed(
    chats: Chats, db: Database, vault: Vault, clock: MovedClock
) -> None:
    """As docs/vault.md says: the last answer, and whatever else came since the person's last question."""
    chat_id, _ = await talk(chats)
    turn = await chats.append_turn(ADA, chat_id, "the last question")
    old = await copy(db, *KEPT)
    await chats.finish_message(ADA, turn.assistant_message_id, "the last answer", "finished")
    await put_back(db, old)
    assert not await found(again(db, vault, clock), logged=turn.kept)


async def test_it_can_be_accepted_as_it_is(chats: Chats, db: Database, vault: Vault, clock: MovedClock) -> None:
    good, turns = await talk(chats)
    bad, spoiled = await talk(chats)
    async with db.writing() as connection:
        gone = t.chat_messages.c.id == turns[1].assistant_message_id
        await connection.execute(delete(t.chat_messages).where(gone))
        message = t.chat_messages.c.id == spoiled[0].user_message_id
        await connection.execute(
            update(t.chat_messages).where(message).values(content=b"\xffIV\x01\0\0\0\1" + bytes(60))
        )
        await connection.execute(delete(t.chat_roots))
    assert len(await found(chats)) == 3
    async with db.writing() as connection:
        assert await whole(chats).accept(connection, ADA) == (2, 1)
    assert [each.content for each in (await chats.get(ADA, good))[1]] == ["one", "answer to one", "two"]
    with pytest.raises(Untrusted):
        await chats.get(ADA, bad)  # what opens for nobody is shown to nobody
    await chats.append_turn(ADA, good, "and on")
    await chats.delete(ADA, bad)
    assert not await found(again(db, vault, clock))


async def test_chats_of_an_older_version_get_heads_once(
    chats: Chats, db: Database, vault: Vault, clock: MovedClock
) -> None:
    chat_id, _ = await talk(chats)
    async with db.writing() as connection:
        await connection.execute(update(t.chats).values(head=None))
        await connection.execute(delete(t.chat_roots))
    fresh = again(db, vault, clock)
    await refused(fresh.get(ADA, chat_id), "chat_changed")
    assert await whole(fresh).make(["chats"], vault.prepare) == 1
    await fresh.get(ADA, chat_id)
    assert not await found(fresh)


async def test_another_data_key_changes_nothing_of_it(
    chats: Chats, db: Database, vault: Vault, clock: MovedClock
) -> None:
    chat_id, _ = await talk(chats)
    await vault.add_generation(ADA)
    await Stored(db, clock).reseal(vault, ADA)
    await vault.drop_older_generations(ADA)
    fresh = again(db, vault, clock)
    await fresh.append_turn(ADA, chat_id, "and on")
    assert not await found(fresh)


# sums -----------------------------------------------------------------------------------------------------------------

KEY = b"k" * 32
PARTS = st.lists(st.binary(min_size=32, max_size=32), max_size=6)


@given(PARTS, st.randoms())
def test_the_order_of_things_makes_no_difference_and_what_comes_can_go(parts: list[bytes], chance: Any) -> None:
    mixed = parts[:]
    chance.shuffle(mixed)
    assert together(*parts) == together(*mixed)
    assert together(together(*parts), *parts) == NOTHING


@given(st.text(max_size=5), st.integers(0, 3), st.text(max_size=5), st.sampled_from(["user", "assistant"]), st.text())
def test_no_two_messages_come_to_the_same(chat: str, position: int, message: str, role: str, content: str) -> None:
    given_ = (chat, position, message, role, content.encode())
    this = of_part(KEY, *given_)
    others = [
        (chat + "x", *given_[1:]),
        (chat, position + 1, *given_[2:]),
        (chat, position, message + "x", role, given_[4]),
        (chat, position, message, role + "x", given_[4]),
        (chat, position, message, role, given_[4] + b"x"),
    ]
    assert len({this, *(of_part(KEY, *other) for other in others)}) == 6
    assert this != of_part(b"l" * 32, *given_)


def test_heads_and_roots_are_read_as_they_were_written() -> None:
    head = Head(7, of_part(KEY, "c", 0, "m", "user", b"hi"), of_about(KEY, "c", b"t", None))
    assert Head.from_bytes(head.to_bytes()) == head
    root = Root(9, {"chats": of_thing(KEY, "chat", "c", head)})
    assert Root.from_bytes(root.to_bytes()) == root
    assert told_changes(root.told(KEY)) == 9
    assert root.told(KEY) != Root(9, {}).told(KEY)
    for bad in (b"", b"{}", b"[]", b'{"changes": 1, "said": "x", "about": ""}', b"\xff"):
        with pytest.raises(ValueError):
            Head.from_bytes(bad)
        with pytest.raises(ValueError):
            Root.from_bytes(bad)
    with pytest.raises(ValueError):
        Head.from_bytes(b'{"changes": 1}')
    assert Root.from_bytes(b'{"changes": 1}') == Root(1, {})  # of somebody who keeps nothing


@given(st.dictionaries(st.sampled_from(["chats", "files", "batches"]), st.binary(min_size=32, max_size=32)))
def test_what_the_log_is_told_is_of_every_kind_and_as_it_was_where_there_are_only_chats(sums: dict[str, bytes]) -> None:
    root = Root(4, sums)
    assert Root.from_bytes(root.to_bytes()) == root
    for kind in ("chats", "files", "batches"):
        if root.of(kind) != bytes(range(32)):
            assert Root(4, {**sums, kind: bytes(range(32))}).told(KEY) != root.told(KEY)
    only = root.of("chats")
    old = hmac.digest(KEY, b"root|4|" + hashlib.sha256(only).digest(), "sha256").hex()[:32]
    assert Root(4, {"chats": only}).told(KEY) == f"4.{old}"
