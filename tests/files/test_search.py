"""Searching one's own text files, and nobody else's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, func, select
from tests.files.conftest import ADA, Stores

from intramural.core.actor import Whose
from intramural.core.errors import Misasked
from intramural.files import StoredFile
from intramural.files.search import PASSAGE_CHARS, passages
from intramural.retention.holds import is_held
from intramural.storage.schema import file_passages, file_words, people

POEM = "# Autumn\n\nThe fox hunts at night.\n\nThe hare sleeps, and the owl watches the fox.\n"


async def put(stores: Stores, person_id: str, text: str | bytes, name: str = "a.md") -> StoredFile:
    data = text if isinstance(text, bytes) else text.encode()
    file = await stores.put(person_id, data, purpose="user_data", name=name)
    await stores.index()
    return file


async def found(stores: Stores, person_id: str, query: str, limit: int = 10) -> list[tuple[str, str]]:
    """(file, text) of the passages."""
    return [(file.id, passage.text) for file, passage in await stores.files.search(Whose(person_id), query, limit)]


async def rows(stores: Stores) -> int:
    async with stores.db.reading() as connection:
        counted = int(await connection.scalar(select(func.count()).select_from(file_passages)) or 0)
        words = await connection.scalar(select(func.count()).select_from(file_words))
    assert bool(counted) == bool(words)  # the words are gone as well, not only the passages
    return counted


@given(st.text(alphabet=st.sampled_from("ab\n é\u2028\t"), max_size=4000))
def test_passages_are_the_text_and_know_their_place(whole: str) -> None:
    pieces = list(passages(whole))
    for piece in pieces:
        assert 0 < len(piece.text) <= PASSAGE_CHARS
        assert whole[piece.position : piece.position + len(piece.text)] == piece.text
        assert piece.line == whole.count("\n", 0, piece.position) + 1
    assert "".join("".join(piece.text.split()) for piece in pieces) == "".join(whole.split())


def test_long_texts_are_cut_between_paragraphs() -> None:
    paragraph = "word " * 100
    pieces = list(passages("\n\n".join([paragraph] * 9)))
    assert len(pieces) == 5 and all(piece.text.endswith("word") for piece in pieces)


async def test_words_in_any_form_find_their_passage(stores: Stores) -> None:
    file = await put(stores, "ada", POEM)
    for query in ("fox", "FOXES hunting", "what does the owl do?", "automn autumn"):
        assert await found(stores, "ada", query) == [(file.id, POEM.strip())]
    assert await found(stores, "ada", "badger") == []
    assert await stores.files.searched(ADA) == (1, 0)


async def test_the_best_comes_first(stores: Stores) -> None:
    stores = stores.again(max_person_files=10)
    common = [await put(stores, "ada", f"the fox number {n} and the fox again") for n in range(4)]
    rare = await put(stores, "ada", "the heron and the fox")
    ranked = await found(stores, "ada", "the fox heron")
    assert ranked[0][0] == rare.id and len(ranked) == 5
    assert len(await found(stores, "ada", "fox", limit=2)) == 2
    assert {file.id for file in common} < {file_id for file_id, _ in ranked}


async def test_others_files_are_not_found_and_do_not_change_the_order(stores: Stores) -> None:
    stores = stores.again(max_person_files=100)
    await put(stores, "ada", "a meeting about merger")
    await put(stores, "ada", "a meeting about zebras")
    before = await found(stores, "ada", "merger zebras")
    for n in range(30):
        await put(stores, "bob", f"merger merger merger {n}")
    assert await found(stores, "ada", "merger zebras") == before
    assert len(await found(stores, "ada", "merger")) == 1


async def test_deletion_expiry_and_removal_take_it_out_of_the_index(stores: Stores) -> None:
    file = await put(stores, "ada", POEM)
    async with stores.db.writing() as connection:
        await stores.files.delete(connection, ADA, file.id)
    assert await rows(stores) == 0
    await stores.put("ada", POEM.encode(), purpose="user_data", name="b.md", expires_ms=1)
    await stores.index()
    assert await rows(stores) == 1 and await found(stores, "ada", "fox") == []
    async with stores.db.writing() as connection:
        await stores.files.expired(connection, is_held)
    assert await rows(stores) == 0
    await put(stores, "bob", POEM)
    async with stores.db.writing() as connection:
        await connection.execute(delete(people).where(people.c.id == "bob"))
    await stores.files.sweep()
    assert await rows(stores) == 0


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.pdf", b"fox"), ("a", b"fox"), ("a.txt", b"fox \xff"), ("a.txt", b"fox\x00"), ("a.txt", b"fox " * 100_000)],
)
async def test_what_is_not_searched(stores: Stores, name: str, data: bytes) -> None:
    stores = stores.again(max_search_bytes=100_000)
    file = await put(stores, "ada", data, name)
    assert (await stores.files.get(ADA, file.id)).search is None
    assert await found(stores, "ada", "fox") == [] and await stores.files.searched(ADA) == (0, 1)


async def test_other_purposes_are_not_searched(stores: Stores) -> None:
    await stores.put("ada", b"fox", purpose="batch", name="a.txt")
    assert await stores.files.unindexed() is None


async def test_a_crash_in_the_middle_is_made_good(stores: Stores) -> None:
    long = "".join(f"fox {n}\n\n" + "word " * 240 for n in range(120))
    file = await stores.put("ada", long.encode(), purpose="user_data", name="a.txt")
    await stores.index()
    whole = await rows(stores)
    assert whole > 100
    async with stores.db.writing() as connection:
        await connection.exec_driver_sql("DELETE FROM file_passages WHERE id % 3 = 0")
        await connection.exec_driver_sql("UPDATE files SET search = 'pending'")
    await stores.again().files.open()
    await stores.index()
    assert await rows(stores) == whole
    assert (await stores.files.get(ADA, file.id)).search == "ready"


async def test_any_query_gets_an_answer(stores: Stores) -> None:
    await put(stores, "ada", POEM)
    for query in (
        '"',
        "fox AND",
        "text : fox",
        "owner : ada",
        "NEAR(fox owl)",
        "_",
        "f*",
        "-fox",
        "a" * 1000,
        "狐 fox",
    ):
        try:
            ranked = await found(stores, "ada", query)
        except Misasked as error:
            assert error.code == "bad_query" and query in ('"', "_")
            continue
        assert len(ranked) <= 1
    for query in ("", " ", "?!", "x" * 1001):
        with pytest.raises(Misasked):
            await found(stores, "ada", query)
    with pytest.raises(Misasked):
        await found(stores, "ada", "fox", limit=0)


async def test_what_lies_in_another_workspace_is_not_found_and_does_not_change_the_order(stores: Stores) -> None:
    """The same two files searched with and without thousands of words beside them in a workspace: the same answer."""
    await stores.put("ada", b"fox fox hare", purpose="user_data", name="a.md")
    await stores.put("ada", b"hare hare fox and an owl", purpose="user_data", name="b.md")
    await stores.index()
    alone = await stores.files.search(ADA, "fox hare", 10)
    await stores.put("ada", b"fox\n\n" * 3_000, purpose="user_data", name="c.md", workspace_id="w1")
    await stores.index()
    again = await stores.files.search(ADA, "fox hare", 10)
    assert [(file.id, passage) for file, passage in again] == [(file.id, passage) for file, passage in alone]
    there = await stores.files.search(Whose("ada", "w1"), "fox", 50)
    assert there and {file.name for file, _ in there} == {"c.md"}
    assert await stores.files.searched(ADA) == (2, 0) and await stores.files.searched(Whose("ada", "w1")) == (1, 0)
    assert await stores.files.search(Whose("ada", "w2"), "fox", 10) == []
