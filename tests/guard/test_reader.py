"""Names are read in a confined process. Runs where the extra `intramural[guard]` is installed."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bench import _guard_outside
from bench._guard_set import APART, PROSE, documents
from bench.guard import measured, on_nothing

from intramural.core.config import GuardConfig
from intramural.core.errors import Misasked, Unavailable
from intramural.guard import NAMED, Kind, Nobody, found, reader_of, tagger
from intramural.guard.reader import Reader, _checked, _pieces
from intramural.sandbox import missing_layers, probe

TEXT = "I met Zora Hurston in Boston, at Mercy Ridge Hospital."


@pytest.fixture
async def reader(tmp_path: Path) -> AsyncIterator[Reader]:
    pytest.importorskip("presidio_analyzer", reason="the extra `guard` is not installed")
    made = reader_of(GuardConfig(names="required"), tmp_path, missing_layers((await probe()).level))
    assert isinstance(made, Reader)
    yield made
    await made.close()


async def test_it_is_confined_and_finds_names_and_is_started_again_when_it_dies(reader: Reader) -> None:
    (spans,) = await reader.find([TEXT])
    assert {(span.kind, TEXT[span.start : span.end]) for span in spans} >= {
        (Kind.NAME, "Zora Hurston"),
        (Kind.PLACE, "Boston"),
    }
    assert {"netns", "landlock", "seccomp"} <= set(reader.layers)
    long = "Nothing is in here at all, not a word. " * 300 + TEXT
    _, (*_, last) = await reader.find(["", long])
    assert "Mercy Ridge Hospital" in long[last.start : last.end]
    assert reader._child is not None
    reader._child.kill()
    with pytest.raises(Unavailable):
        await reader.find([TEXT])
    assert (await reader.find([TEXT]))[0] == spans
    task = asyncio.create_task(reader.find([TEXT * 50]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await reader.find([TEXT]))[0] == spans  # and no answer of before


async def test_names_are_found_at_their_floor(reader: Reader) -> None:
    """On a part of the published set: all of it takes a minute (`python -m bench guard`)."""
    scores = await measured(reader, documents(APART, 4))
    assert scores.there["name"] >= 80
    assert min(scores.recall("name"), scores.redacted("name")) >= 0.95
    assert min(scores.recall(kind) for kind in NAMED) >= 0.9  # 24 towns here: one more or less


async def test_names_in_documents_of_others_are_found_at_their_floor(reader: Reader) -> None:
    """In the half that nobody works on, and with no more names in prose without any than are said to be."""
    where = _guard_outside.folder()
    if where is None or "rampart" not in reader.about:
        pytest.skip("presidio-evaluator, or the second model, is not installed")
    scores = await measured(reader, _guard_outside.documents(where, 3, half=_guard_outside.Half.HELD_BACK))
    assert scores.there["name"] >= 150
    assert scores.recall("name") >= 0.95
    assert (await on_nothing(reader, PROSE))[Kind.NAME] <= 25


async def test_small_letters_are_read_where_the_second_model_is(reader: Reader) -> None:
    if "rampart" not in reader.about:
        pytest.skip("the second model is not installed")
    text = "my son kevin alvarez has a fever since monday"
    (spans,) = await reader.find([text])
    assert [text[span.start : span.end] for span in found(text, frozenset({Kind.NAME}), spans)] == ["kevin alvarez"]


def test_a_text_is_cut_where_something_ends() -> None:
    pytest.importorskip("onnxruntime")
    text = ("One sentence ends here. Another goes on for a while, and then\na line. " * 30) + "x" * 1200
    cut = list(tagger.pieces(text))
    assert "".join(piece for _, piece in cut) == text
    assert all(text[start : start + len(piece)] == piece for start, piece in cut)
    assert all(piece.endswith((". ", "\n")) for _, piece in cut[:4])


def test_it_needs_no_network_and_says_nothing(tmp_path: Path) -> None:
    """From a cold cache, in an empty network: no warning, no look-up."""
    pytest.importorskip("presidio_analyzer", reason="the extra `guard` is not installed")
    code = f"from intramural.guard import reading; print([s[0] for s in reading.read({TEXT!r})])"
    done = subprocess.run(
        ["unshare", "-rn", sys.executable, "-W", "error", "-c", code],
        env={"PYTHONPATH": ":".join(sys.path), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "['name', 'place', 'organisation']\n"
    assert list(tmp_path.iterdir()) == []


async def test_without_the_extra_nobody_reads_and_required_is_an_error(tmp_path: Path) -> None:
    assert isinstance(reader_of(GuardConfig(names="off"), tmp_path, frozenset()), Nobody)
    with pytest.raises(Misasked, match=r"guard\.names"):
        reader_of(GuardConfig(names="always"), tmp_path, frozenset())
    assert await Nobody().find(["a", "b"]) == [(), ()]


def test_what_a_reader_says_is_checked() -> None:
    assert _checked([("name", 0, 3, 0.9), ("place", 1, 2, 0.1)], 10, 5)[0].start == 10
    assert {span.kind for span in _checked([(kind, 0, 1, 0.9) for kind in NAMED], 0, 5)} == NAMED
    for wrong in (
        ("ssn", 0, 1, 0.9),
        ("name", 3, 2, 0.9),
        ("name", 0, 6, 0.9),
        ("name", -1, 2, 0.9),
        ("name", 0, 1, 2.0),
    ):
        with pytest.raises(ValueError):
            _checked([wrong], 0, 5)


def test_a_long_text_is_cut_between_words() -> None:
    for text in ("word " * 3000, "x" * 9000, "", "line\n" * 2000):
        pieces = _pieces(text)
        assert "".join(piece for _, piece in pieces) == text
        assert all(text[start : start + len(piece)] == piece and len(piece) <= 4000 for start, piece in pieces)
