"""What programs keep that is not as it was left: responses, conversations, files, batches, by the mechanism of chats.

Every test does to the database what somebody could who can write it and has old values of it. What is *not* noticed is
tested too, so that docs/vault.md, which says so, stays true.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Table, delete, insert, select, update
from tests.services.keeping import ADA, BOB, Keeping, keeping

from intramural.batches import Batch, Line
from intramural.batches.rows import HELD
from intramural.chats import KeptResponse
from intramural.core.actor import Actor
from intramural.core.errors import Missing, Untrusted
from intramural.core.ids import new_id
from intramural.storage import schema as t
from intramural.vault import Stored

Rows = dict[Table, list[dict[str, Any]]]


@dataclass(frozen=True)
class Kind:
    """How things of a kind are made, changed by their owner, read, listed and deleted."""

    word: str
    tables: tuple[Table, ...]
    make: Callable[[Keeping, Actor], Awaitable[str]]
    change: Callable[[Keeping, str], Awaitable[object]]
    read: Callable[[Keeping, str], Awaitable[object]]
    list: Callable[[Keeping], Awaitable[Sequence[Any]]]
    delete: Callable[[Keeping, str], Awaitable[object]]
    #: Columns that somebody might change, besides the workspace, and to what.
    columns: Mapping[str, Any]


def item(name: str, text: str = "said") -> dict[str, Any]:
    return {"id": name, "type": "message", "text": text}


# responses


async def _response(house: Keeping, who: Actor, text: str = "answered", name: str = "") -> str:
    name = name or new_id("resp", house.clock)
    said = KeptResponse(name, {"id": name, "model": "m"}, (item("msg_1"), item("msg_2")), (item("msg_3", text),))
    await house.responses.keep(who.whose, said)
    return name


RESPONSE = Kind(
    "response",
    (t.responses, t.response_items),
    _response,
    lambda house, name: _response(house, ADA, "answered anew", name),
    lambda house, name: house.responses.get(ADA.whose, name),
    lambda house: house.responses.newest(ADA.whose, limit=10),
    lambda house, name: _in(house, lambda c: house.responses.delete(ADA.whose, name, c)),
    {"previous_id": "resp_other", "created_ms": 2**45},
)


# conversations


async def _conversation(house: Keeping, who: Actor) -> str:
    return (await house.transcripts.create(who.whose, {"about": "x"}, [item("msg_1"), item("msg_2")])).id


CONVERSATION = Kind(
    "conversation",
    (t.transcripts, t.transcript_items),
    _conversation,
    lambda house, name: house.transcripts.append(ADA.whose, name, [item("msg_4")]),
    lambda house, name: house.transcripts.items(ADA.whose, name),
    lambda house: house.transcripts.newest(ADA.whose, limit=10),
    lambda house, name: _in(house, lambda c: house.transcripts.delete(ADA.whose, name, c)),
    {"created_ms": 1},
)


# files


async def _file(house: Keeping, who: Actor) -> str:
    return (await house.file(who, b"bytes of a file", "marzipan.txt")).id


async def _again(house: Keeping, name: str) -> None:
    """A file never changes: what can be put back is one that its owner has deleted."""
    await FILE.delete(house, name)
    await _file(house, ADA)


FILE = Kind(
    "file",
    (t.files,),
    _file,
    _again,
    lambda house, name: house.files.get(ADA.whose, name),
    lambda house: house.files.list(ADA.whose, purpose=None, limit=10, after=None, newest_first=True),
    lambda house, name: _in(house, lambda c: house.files.delete(c, ADA.whose, name)),
    {"purpose": "batch", "size_bytes": 1, "digest": "sha256:0", "expires_ms": 2**45, "key_id": "key_other"},
)


# batches


async def _batch(house: Keeping, who: Actor) -> str:
    now_ms = int(house.clock.now_s() * 1000)
    name = new_id("batch", house.clock)
    batch = Batch(name, who.person_id, "person", "s", "openai", "/v1/chat/completions", now_ms, now_ms, total=3)
    batch = replace(batch, state="in_progress", notes={"note": "x"})
    async with house.db.writing() as connection:
        await house.batches.add(connection, batch)
        await house.batches.record(connection, batch, [Line(0, "a", "succeeded", 200, "req_1", "{}"), _line(1)])
        await house.batches.change(connection, name, completed=2, state="completed", ended_ms=now_ms)
    return name


def _line(at: int) -> Line:
    return Line(at, f"line {at}", "errored", 500, None, '{"error": 1}')


async def _more(house: Keeping, name: str) -> None:
    async with house.db.writing() as connection:
        batch = await house.batches.find(name, connection)
        assert batch is not None
        await house.batches.record(connection, batch, [_line(2)])
        await house.batches.change(connection, name, failed=1)


async def _lines(house: Keeping, name: str) -> list[Line]:
    batch = await house.batches.get(ADA.whose, "openai", name)
    return [line async for line in house.batches.lines(batch)]


BATCH = Kind(
    "batch",
    (t.batches, t.batch_lines),
    _batch,
    _more,
    _lines,
    lambda house: house.batches.list(ADA.whose, "openai", limit=10),
    lambda house, name: _in(house, lambda c: house.batches.delete(c, name)),
    {"output_file_id": "file_other", "state": "cancelled", "completed": 7},
)
KINDS = (RESPONSE, CONVERSATION, FILE, BATCH)
WITH_PARTS = (RESPONSE, CONVERSATION, BATCH)
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.word)


async def _in(house: Keeping, work: Callable[[Any], Awaitable[object]]) -> None:
    async with house.db.writing() as connection:
        await work(connection)


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[Keeping]:
    async with keeping(tmp_path) as opened:
        await opened.people(ADA, BOB)
        yield opened


def restarted(house: Keeping) -> None:
    """Nothing is remembered of what was looked at."""
    for each in house.whole._heads:
        each._fitted.clear()


async def copied(house: Keeping, kind: Kind, *more: Table) -> Rows:
    """Yesterday's backup."""
    return {table: [dict(row._mapping) for row in await house.rows(table)] for table in (*kind.tables, *more)}


async def put_back(house: Keeping, old: Rows) -> None:
    async with house.db.writing() as connection:
        for table in reversed(list(old)):
            await connection.execute(delete(table))
        for table, rows in old.items():
            for row in rows:
                await connection.execute(insert(table).values(**row))


async def wrong(house: Keeping, logged: str | None = None) -> set[tuple[str, str | None, str]]:
    return {(each.word, each.thing_id, each.code) for each in await house.whole.check(ADA.person_id, logged)}


async def refused(call: Awaitable[object], code: str) -> None:
    with pytest.raises(Untrusted) as caught:
        await call
    assert caught.value.code == code and caught.value.hint


@each_kind
async def test_what_nobody_touched_is_as_it_was_left(house: Keeping, kind: Kind) -> None:
    names = [await kind.make(house, ADA) for _ in range(3)]
    await kind.make(house, BOB)
    await kind.change(house, names[0])
    await kind.delete(house, names[1])
    for _ in range(2):
        assert await kind.read(house, names[2])
        assert names[2] in {each.id for each in await kind.list(house)}
        assert not await wrong(house)
        restarted(house)


@each_kind
async def test_one_that_is_gone_or_back_or_older(house: Keeping, kind: Kind) -> None:
    stays, name = await kind.make(house, ADA), await kind.make(house, ADA)
    before = await copied(house, kind)
    await kind.change(house, name)
    after = await copied(house, kind)

    async def is_noticed() -> None:
        restarted(house)
        await refused(kind.list(house), "all_kept_changed")
        await refused(kind.read(house, stays), "all_kept_changed")
        assert (kind.word, None, "all_kept_changed") in await wrong(house)

    await put_back(house, before)  # it is as it was, with the head that it had, and fits that
    await is_noticed()
    async with house.db.writing() as connection:
        table = kind.tables[0]
        await connection.execute(delete(table).where(table.c.id != stays))
    await is_noticed()
    await put_back(house, after)
    restarted(house)
    assert await kind.read(house, stays) and not await wrong(house)
    for each in await kind.list(house):
        await kind.delete(house, each.id)
    assert not await wrong(house)
    await put_back(house, after)
    await is_noticed()
    # and it is never healed by going on
    with suppress(Untrusted):
        await kind.make(house, ADA)
    await is_noticed()


@each_kind
async def test_a_column_that_was_changed(house: Keeping, kind: Kind) -> None:
    name = await kind.make(house, ADA)
    table = kind.tables[0]
    after = await copied(house, kind)
    for values in [{"head": None}, *({column: value} for column, value in kind.columns.items())]:
        async with house.db.writing() as connection:
            await connection.execute(update(table).values(**values))
        await refused(kind.read(house, name), "kept_changed")
        assert (kind.word, name, "kept_changed") in await wrong(house)
        await put_back(house, after)
        await kind.read(house, name)
    async with house.db.writing() as connection:  # and one in another workspace is not to be had there
        await connection.execute(update(table).values(workspace_id="workspace_public"))
    assert (kind.word, name, "kept_changed") in await wrong(house)


@pytest.mark.parametrize("kind", WITH_PARTS, ids=lambda kind: kind.word)
async def test_a_part_that_is_gone_or_moved_or_older(house: Keeping, kind: Kind) -> None:
    name = await kind.make(house, ADA)
    parts = kind.tables[1]
    after = await copied(house, kind)
    at = parts.c.position == 1
    for statement in (delete(parts).where(at), update(parts).where(at).values(position=9)):
        async with house.db.writing() as connection:
            await connection.execute(statement)
        with pytest.raises(Untrusted) as caught:
            await kind.read(house, name)
        assert caught.value.code in ("kept_changed", "sealed_wrong")  # moved, it does not open at all
        assert {code for _, thing, code in await wrong(house) if thing == name} == {caught.value.code}
        await put_back(house, after)
    await kind.read(house, name)
    assert not await wrong(house)


async def test_an_older_answer_in_the_place_of_a_newer_one(house: Keeping) -> None:
    """As a response in the background has: its row is written twice under one name."""
    name = await _response(house, ADA)
    old = await copied(house, RESPONSE)
    await _response(house, ADA, "answered anew", name)
    async with house.db.writing() as connection:
        row = next(each for each in old[t.response_items] if each["position"] == 2)
        where = t.response_items.c.position == 2
        await connection.execute(update(t.response_items).where(where).values(body=row["body"]))
    await refused(house.responses.get(ADA.whose, name), "kept_changed")
    await refused(house.responses.context(ADA.whose, name), "kept_changed")
    await refused(house.responses.items(ADA.whose, ["msg_1"]), "kept_changed")


async def test_an_item_that_was_taken_out_put_back_in(house: Keeping) -> None:
    name = await _conversation(house, ADA)
    old = await copied(house, CONVERSATION)
    await _in(house, lambda c: house.transcripts.remove_item(ADA.whose, name, "msg_2", c))
    assert [each["id"] for each in await house.transcripts.items(ADA.whose, name)] == ["msg_1"]
    async with house.db.writing() as connection:
        await connection.execute(insert(t.transcript_items).values(**old[t.transcript_items][1]))
    await refused(house.transcripts.items(ADA.whose, name), "kept_changed")
    await refused(house.transcripts.found(ADA.whose, ["msg_2"]), "kept_changed")


async def test_a_file_whose_row_was_changed_can_be_deleted_and_is_not_lent(house: Keeping) -> None:
    name = await _file(house, ADA)
    async with house.db.writing() as connection:
        await connection.execute(update(t.files).values(purpose="batch"))
    await refused(house.files.content(ADA.whose, name), "kept_changed")
    await FILE.delete(house, name)
    assert not await wrong(house)


async def test_what_goes_for_its_age_leaves_the_rest_fitting(house: Keeping) -> None:
    for kind in KINDS:
        await kind.make(house, ADA)
    house.later(40)
    stays = [(kind, await kind.make(house, ADA)) for kind in KINDS]
    house.set(chat_days=30, file_days=30)
    deleted = (await house.purging.round()).deleted
    assert all(deleted[each] == 1 for each in ("responses", "conversations", "files", "batches"))
    restarted(house)
    for kind, name in stays:
        assert [each.id for each in await kind.list(house)] == [name]
    assert not await wrong(house)


@each_kind
async def test_everything_as_it_was_once_is_told_by_the_log_alone(house: Keeping, kind: Kind) -> None:
    """With the root of then, nothing here contradicts anything: as docs/vault.md says. The log was told later."""
    name = await kind.make(house, ADA)
    old = await copied(house, kind, t.chat_roots)
    await kind.change(house, name)
    logged = await house.responses.told(ADA.person_id)
    assert not await wrong(house, logged)
    await put_back(house, old)
    restarted(house)
    await kind.read(house, name)
    assert not await wrong(house)
    assert {code for _, _, code in await wrong(house, logged)} == {"chats_rolled_back"}


async def test_what_an_older_version_kept_gets_heads_once_and_can_be_accepted(house: Keeping) -> None:
    names = [(kind, await kind.make(house, ADA)) for kind in KINDS]
    async with house.db.writing() as connection:
        for kind in KINDS:
            await connection.execute(update(kind.tables[0]).values(head=None))
        await connection.execute(delete(t.chat_roots))
    restarted(house)
    assert len(await wrong(house)) == 2 * len(KINDS)
    kinds = ["responses", "conversations", "files", "batches"]
    assert await house.whole.make(kinds, house.vault.prepare) == len(KINDS)
    assert not await wrong(house)
    for kind in WITH_PARTS:
        async with house.db.writing() as connection:
            await connection.execute(delete(kind.tables[1]).where(kind.tables[1].c.position == 1))
    assert len(await wrong(house)) == len(WITH_PARTS)
    async with house.db.writing() as connection:
        assert await house.whole.accept(connection, ADA.person_id) == (len(KINDS), 0)
    assert not await wrong(house)
    for kind, name in names:
        assert await kind.read(house, name)


@each_kind
async def test_another_data_key_changes_nothing_of_it(house: Keeping, kind: Kind) -> None:
    name = await kind.make(house, ADA)
    await house.vault.add_generation(ADA.person_id)
    await Stored(house.db, house.clock).reseal(house.vault, ADA.person_id)
    await house.vault.drop_older_generations(ADA.person_id)
    restarted(house)
    assert await kind.read(house, name) and not await wrong(house)


async def test_what_is_not_noticed(house: Keeping) -> None:
    """When a conversation was last used, a background response's stream, and whether a file is searched: not held."""
    for kind in KINDS:
        await kind.make(house, ADA)
    async with house.db.writing() as connection:
        await connection.execute(update(t.transcripts).values(updated_ms=1))
        await connection.execute(update(t.files).values(search=None))
        await connection.execute(update(t.responses).values(events=None))
    assert not await wrong(house)


def test_every_column_of_a_batch_is_held_against_its_head() -> None:
    known = {"id", "person_id", "workspace_id", "head"}
    assert {column.name for column in t.batches.columns} == set(HELD) | known


async def test_somebody_elses_is_not_there_whatever_its_head_says(house: Keeping) -> None:
    for kind in (RESPONSE, CONVERSATION):
        name = await kind.make(house, BOB)
        with pytest.raises(Missing):
            await kind.read(house, name)
    async with house.db.reading() as connection:
        assert await connection.scalar(select(t.chat_roots.c.person_id)) == BOB.person_id
