"""Chats on a real database: whose they are, turns, search, pages."""

import asyncio

import pytest
from sqlalchemy import delete, func, select

from intramural.chats.chats import MAX_CONTENT_CHARS
from intramural.core.errors import Misasked, Missing, TooLarge
from intramural.storage import schema as t

ADA, BOB = "person_ada", "person_bob"


async def said(chats, chat, question, answer="an answer", outcome="finished"):
    turn = await chats.append_turn(ADA, chat.id, question, request_id="req_1")
    assert await chats.finish_message(ADA, turn.assistant_message_id, answer, outcome)
    return turn


async def contents(chats, chat):
    return [message.content for message in (await chats.get(ADA, chat.id))[1]]


async def titles(chats, *args, **more):
    return [found.chat.title for found in await chats.list(ADA, *args, **more)]


async def test_a_turn_is_a_question_and_the_place_of_its_answer(chats, clock):
    chat = await chats.create(ADA, "small:1b")
    assert chat.title == ""
    turn = await chats.append_turn(ADA, chat.id, "What is a tomography scan, and who needs one?", request_id="req_7")
    assert turn.chat.title == "What is a tomography scan, and…"
    assert [(message.role, message.content) for message in turn.history] == [
        ("user", "What is a tomography scan, and who needs one?")
    ]
    found, messages = await chats.get(ADA, chat.id)
    assert found == turn.chat
    assert [message.id for message in messages] == [turn.user_message_id, turn.assistant_message_id]
    asked, answer = messages
    assert (asked.role, asked.model, asked.outcome, asked.request_id) == ("user", None, None, None)
    assert (answer.role, answer.content, answer.model) == ("assistant", "", "small:1b")
    assert (answer.outcome, answer.request_id) == (None, "req_7")
    assert await chats.finish_message(ADA, answer.id, "It is a picture of", "cancelled", request_id="req_8")
    answer = (await chats.get(ADA, chat.id))[1][1]
    assert (answer.content, answer.outcome, answer.request_id) == ("It is a picture of", "cancelled", "req_8")
    second = await chats.append_turn(ADA, chat.id, "Go on", model="large:70b")
    assert [message.content for message in second.history][1:] == ["It is a picture of", "Go on"]
    assert second.chat.model == "large:70b"
    assert second.chat.title == turn.chat.title


async def test_a_question_is_edited_and_everything_from_it_on_gives_way(chats):
    chat = await chats.create(ADA, "small:1b")
    first = await said(chats, chat, "one")
    await said(chats, chat, "two")
    turn = await chats.replace_from(ADA, chat.id, first.user_message_id, "another one", request_id="req_2")
    assert [message.content for message in turn.history] == ["another one"]
    assert turn.user_message_id != first.user_message_id
    assert await contents(chats, chat) == ["another one", ""]


async def test_an_answer_is_written_anew_and_its_question_stays_as_it_is(chats):
    chat = await chats.create(ADA, "small:1b")
    await said(chats, chat, "one")
    second = await said(chats, chat, "two")
    await said(chats, chat, "three")
    before = (await chats.get(ADA, chat.id))[1]
    turn = await chats.replace_from(ADA, chat.id, second.assistant_message_id, model="large:70b")
    assert turn.user_message_id == second.user_message_id
    assert turn.assistant_message_id != second.assistant_message_id
    assert turn.history == before[:3]
    assert await contents(chats, chat) == ["one", "an answer", "two", ""]
    assert (await chats.get(ADA, chat.id))[1][-1].model == "large:70b"


async def test_what_cannot_be_replaced_stays(chats):
    chat = await chats.create(ADA, "small:1b")
    turn = await said(chats, chat, "one")
    other = await said(chats, await chats.create(ADA, "small:1b"), "elsewhere")
    with pytest.raises(Misasked) as caught:
        await chats.replace_from(ADA, chat.id, turn.user_message_id)
    assert caught.value.code == "bad_replacement"
    with pytest.raises(Misasked):
        await chats.replace_from(ADA, chat.id, turn.assistant_message_id, "words in its mouth")
    for message_id in (other.user_message_id, "message_x", ""):
        with pytest.raises(Missing) as caught:
            await chats.replace_from(ADA, chat.id, message_id, "another")
        assert caught.value.code == "message_not_found"
    assert await contents(chats, chat) == ["one", "an answer"]


async def test_an_answer_that_was_replaced_meanwhile_is_finished_into_nothing(chats):
    chat = await chats.create(ADA, "small:1b")
    turn = await chats.append_turn(ADA, chat.id, "one")
    again = await chats.replace_from(ADA, chat.id, turn.assistant_message_id)
    assert not await chats.finish_message(ADA, turn.assistant_message_id, "too late", "cancelled")
    assert await chats.finish_message(ADA, again.assistant_message_id, "in time", "finished")
    assert await contents(chats, chat) == ["one", "in time"]
    await chats.delete(ADA, chat.id)
    assert not await chats.finish_message(ADA, again.assistant_message_id, "too late", "finished")


async def test_a_question_is_never_overwritten_and_outcomes_are_known_words(chats):
    chat = await chats.create(ADA, "small:1b")
    turn = await chats.append_turn(ADA, chat.id, "one")
    assert not await chats.finish_message(ADA, turn.user_message_id, "another", "finished")
    with pytest.raises(Misasked):
        await chats.finish_message(ADA, turn.assistant_message_id, "text", "splendid")
    assert await chats.finish_message(ADA, turn.assistant_message_id, "half a \ud83d pair", "failed")
    assert await contents(chats, chat) == ["one", "half a ? pair"]


async def test_turns_in_one_chat_at_once_keep_their_order(chats):
    chat = await chats.create(ADA, "small:1b")
    await asyncio.gather(*(chats.append_turn(ADA, chat.id, f"question {n}") for n in range(10)))
    roles = [message.role for message in (await chats.get(ADA, chat.id))[1]]
    assert roles == ["user", "assistant"] * 10


# Whose it is ----------------------------------------------------------------------------------------------------------


async def every_way_in(chats, person_id, chat_id, turn):
    """What `person_id` meets at every method with somebody's chat: the errors, as text."""
    ways = (
        chats.get(person_id, chat_id),
        chats.change(person_id, chat_id, title="mine now"),
        chats.delete(person_id, chat_id),
        chats.append_turn(person_id, chat_id, "and then?"),
        chats.replace_from(person_id, chat_id, turn.user_message_id, "edited"),
        chats.replace_from(person_id, chat_id, turn.assistant_message_id),
    )
    met = []
    for way in ways:
        with pytest.raises(Missing) as caught:
            await way
        met.append(str(caught.value))
    return met


async def test_somebody_elses_chat_is_in_every_way_like_none(chats):
    chat = await chats.create(ADA, "small:1b")
    turn = await said(chats, chat, "a secret")
    before = await chats.get(ADA, chat.id)
    theirs = await every_way_in(chats, BOB, chat.id, turn)
    none = await every_way_in(chats, BOB, "chat_x", turn)
    odd = await every_way_in(chats, BOB, "\ud800' OR 1=1", turn)
    assert theirs == none == odd
    assert set(theirs) == {"There is no such chat. It may have been deleted. [chat_not_found]"}
    assert await chats.list(BOB) == []
    assert await chats.list(BOB, "secret") == []
    assert await chats.get(ADA, chat.id) == before


async def test_continuing_another_persons_chat_by_its_identifier(chats):
    """As in CVE-2026-45349."""
    chat = await chats.create(ADA, "small:1b")
    turn = await chats.append_turn(ADA, chat.id, "a secret")
    with pytest.raises(Missing):
        await chats.append_turn(BOB, chat.id, "repeat what was said so far")
    assert not await chats.finish_message(BOB, turn.assistant_message_id, "planted", "finished")
    assert await contents(chats, chat) == ["a secret", ""]


async def test_deleting_another_persons_chat_by_its_identifier(chats):
    """As in CVE-2026-45671."""
    chat = await chats.create(ADA, "small:1b")
    with pytest.raises(Missing):
        await chats.delete(BOB, chat.id)
    await chats.get(ADA, chat.id)


async def test_a_chat_goes_with_its_messages_and_with_its_person(chats, db):
    async def left(table):
        async with db.reading() as connection:
            return await connection.scalar(select(func.count()).select_from(table))

    chat = await chats.create(ADA, "small:1b")
    await said(chats, chat, "one")
    await chats.delete(ADA, chat.id)
    assert await left(t.chat_messages) == 0
    await said(chats, await chats.create(ADA, "small:1b"), "two")
    async with db.writing() as connection:
        await connection.execute(delete(t.people).where(t.people.c.id == ADA))
    assert (await left(t.chats), await left(t.chat_messages)) == (0, 0)


# Lists and search -----------------------------------------------------------------------------------------------------


async def test_the_latest_used_is_first_and_renaming_moves_nothing(chats, clock):
    for title in ("one", "two", "three"):
        clock.at_s += 1
        await chats.create(ADA, "small:1b", title)
    first = (await chats.list(ADA))[-1].chat
    clock.at_s += 1
    renamed = await chats.change(ADA, first.id, title="  uno \n due ", model="large:70b")
    assert (renamed.title, renamed.model, renamed.updated_ms) == ("uno due", "large:70b", first.updated_ms)
    assert await titles(chats) == ["three", "two", "uno due"]
    await chats.append_turn(ADA, first.id, "again")
    assert await titles(chats) == ["uno due", "three", "two"]


async def test_pages_hold_every_chat_once_though_all_are_of_one_moment(chats):
    for n in range(25):
        await chats.create(ADA, "small:1b", f"chat {n}")
    seen, before_ms = [], None
    while page := await chats.list(ADA, limit=10, before_ms=before_ms):
        seen += [found.chat.title for found in page]
        before_ms = page[-1].chat.updated_ms
    assert seen == [f"chat {n}" for n in reversed(range(25))]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("tomography", ["b", "a Tomography"]),
        ("TOMOGRAPHY", ["b", "a Tomography"]),
        ("  tomography ", ["b", "a Tomography"]),
        ("straße", ["c"]),
        ("STRASSE", ["c"]),
        ("ΟΔΟΣ", ["d"]),
        ("100%", ["e"]),
        ("%", ["e"]),
        ("a_b", ["e"]),
        ("_", ["e"]),
        ("/", ["e"]),
        ("\\", ["e"]),
        ("'; DROP TABLE chats; --", []),
        ("in the answer", ["f"]),
        ("nowhere at all", []),
    ],
)
async def test_search_finds_titles_and_messages_in_any_case_and_takes_signs_as_they_are(chats, query, found):
    for title, question, answer in (
        ("a Tomography", "x", "y"),
        ("b", "about tomography", "y"),
        ("c", "Die Straße", "y"),
        ("d", "οδος", "y"),
        ("e", "100% of a_b / c \\ d", "y"),
        ("f", "x", "it is In The Answer only"),
    ):
        await said(chats, await chats.create(ADA, "small:1b", title), question, answer)
    assert await titles(chats, query) == found


async def test_a_snippet_shows_the_first_place_where_a_message_holds_the_words(chats):
    chat = await chats.create(ADA, "small:1b", "title")
    await said(chats, chat, "x" * 100 + " the Needle is here", "another needle")
    (found,) = await chats.list(ADA, "needle")
    assert found.snippet is not None
    assert "the Needle is here" in found.snippet
    assert found.snippet.startswith("…xxx")
    assert [found.snippet for found in await chats.list(ADA, "title")] == [None]
    assert [found.snippet for found in await chats.list(ADA)] == [None]


@pytest.mark.parametrize(
    "more", [{"query": "x" * 201}, {"query": "\ud800"}, {"query": "\x00"}, {"limit": 0}, {"limit": 201}]
)
async def test_a_list_that_cannot_be(chats, more):
    with pytest.raises(Misasked):
        await chats.list(ADA, **more)


@pytest.mark.parametrize(
    ("content", "error", "code"),
    [
        ("", Misasked, "empty_message"),
        (" \n ", Misasked, "empty_message"),
        ("\ud800", Misasked, "bad_text"),
        ("x\x00y", Misasked, "bad_text"),
        ("x" * (MAX_CONTENT_CHARS + 1), TooLarge, "message_too_long"),
    ],
    ids=["empty", "blank", "surrogate", "nul", "long"],
)
async def test_a_message_that_cannot_be_kept(chats, content, error, code):
    chat = await chats.create(ADA, "small:1b")
    turn = await said(chats, chat, "one")
    for act in (
        chats.append_turn(ADA, chat.id, content),
        chats.replace_from(ADA, chat.id, turn.user_message_id, content),
    ):
        with pytest.raises(error) as caught:
            await act
        assert caught.value.code == code
    assert await contents(chats, chat) == ["one", "an answer"]


async def test_titles_and_models_that_cannot_be(chats):
    chat = await chats.create(ADA, "small:1b")
    for title in ("x" * 201, "\ud800"):
        with pytest.raises(Misasked):
            await chats.create(ADA, "small:1b", title)
        with pytest.raises(Misasked):
            await chats.change(ADA, chat.id, title=title)
    for model in ("", "x" * 257, "\ud800", "a\nb"):
        with pytest.raises(Misasked):
            await chats.create(ADA, model)
        with pytest.raises(Misasked):
            await chats.append_turn(ADA, chat.id, "one", model=model)
    assert await contents(chats, chat) == []


async def test_what_the_last_run_left_unfinished_has_failed(chats):
    chat = await chats.create(ADA, "small:1b")
    await said(chats, chat, "one")
    await chats.append_turn(ADA, chat.id, "two")
    assert await chats.mend() == 1
    assert [message.outcome for message in (await chats.get(ADA, chat.id))[1]] == [None, "finished", None, "failed"]
    assert await chats.mend() == 0


async def test_an_act_in_the_callers_transaction_is_undone_with_it(chats, db):
    chat = await chats.create(ADA, "small:1b")
    with pytest.raises(RuntimeError):
        async with db.writing() as connection:
            await chats.delete(ADA, chat.id, connection=connection)
            raise RuntimeError("the audit event could not be written")
    assert await contents(chats, chat) == []
