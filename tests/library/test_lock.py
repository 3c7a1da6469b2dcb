"""`models.lock`: its text, what it finds different, and pulls that follow it."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.gguf_file import tiny_model
from tests.fakes.source import LyingSource, blob_of
from tests.library.shop import Shop

from intramural.core.errors import Misasked, Untrusted
from intramural.library import ModelFile
from intramural.library.provenance.lock import (
    Lock,
    LockedFile,
    LockedModel,
    changes,
    compare,
    locked,
    read_lock,
    write_lock,
)

BODY, OTHER = tiny_model(seed=1), tiny_model(seed=2)
FILE = LockedFile("tiny.gguf", "weights", "sha256:" + "0" * 64, 12)


def model(**fields: object) -> LockedModel:
    return LockedModel(**{"name": "tiny", "source": "fake:tiny", "files": (FILE,), **fields})  # type: ignore[arg-type]  # fields of a test


# text -----------------------------------------------------------------------------------------------------------------

WORDS = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20)
FILES = st.builds(
    LockedFile,
    name=WORDS,
    role=st.sampled_from(["weights", "projector"]),
    digest=st.from_regex("sha256:[0-9a-f]{64}", fullmatch=True),
    size_bytes=st.integers(1, 2**62),
)
MODELS = st.builds(
    LockedModel,
    name=st.from_regex("[a-z0-9]{1,8}(:[a-z0-9]{1,5})?", fullmatch=True).filter(lambda name: ":latest" not in name),
    source=WORDS,
    revision=st.none() | WORDS,
    signer=st.none() | WORDS,
    files=st.lists(FILES, min_size=1, max_size=3).map(tuple).filter(lambda files: files[0].role == "weights"),
)


@given(st.lists(MODELS, max_size=3, unique_by=lambda each: each.name))
def test_what_is_written_is_read(models: list[LockedModel]) -> None:
    text = write_lock(models)
    assert list(read_lock(text).model) == sorted(models, key=lambda each: each.name)
    assert write_lock(read_lock(text).model) == text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version = 1", "version = 2"),
        ("version = 1", "version = 1\nextra = 1"),
        ("version = 1", "version = "),
        ('source = "fake:tiny"', ""),
        ('source = "fake:tiny"', 'source = "fake:tiny"\nsurprise = true'),
        ('source = "fake:tiny"', 'source = "a\\u001bb"'),
        ('name = "tiny"\n', 'name = "../tiny"\n'),
        ('name = "tiny"\n', 'name = "tiny:latest"\n'),
        ("sha256:0", "sha256:G"),
        ("sha256:0", "md5:0"),
        ("size_bytes = 12", "size_bytes = 0"),
        ("size_bytes = 12", "size_bytes = -1"),
        ("size_bytes = 12", 'size_bytes = "12"'),
        ('"weights"', '"projector"'),
        ('"weights"', '"pickle"'),
    ],
)
def test_what_is_no_lock(old: str, new: str) -> None:
    text = write_lock([model()])
    assert old in text
    with pytest.raises(Misasked) as refused:
        read_lock(text.replace(old, new, 1))
    assert refused.value.code == "bad_lock"


def test_other_texts_are_no_locks() -> None:
    twice = write_lock([model(), model()])
    for text in ("", "[" * 10_000, '{"version": 1}', twice):
        with pytest.raises(Misasked) as refused:
            read_lock(text)
        assert refused.value.code == "bad_lock"


# comparing ------------------------------------------------------------------------------------------------------------


async def test_comparing_says_what_to_do(shop: Shop) -> None:
    kept, _ = await shop.pull(LyingSource(BODY), "kept")
    moved, _ = await shop.pull(LyingSource(OTHER), "moved")
    await shop.pull(LyingSource(BODY), "other")
    lock = Lock(1, (locked(kept), dataclasses_replace(locked(kept), name="moved"), model(name="absent")))
    steps = {step.name: step for step in compare(lock, shop.library.list())}
    assert {name: step.act for name, step in steps.items()} == {
        "absent": "get",
        "kept": "keep",
        "moved": "replace",
        "other": "extra",
    }
    (change,) = steps["moved"].changes
    assert change.what == "tiny.gguf"
    assert kept.weights.digest in (change.locked or "") and moved.weights.digest in (change.found or "")


def dataclasses_replace(entry: LockedModel, **fields: str) -> LockedModel:
    return model(**{"source": entry.source, "files": entry.files, **fields})


def test_what_counts_as_a_difference() -> None:
    files = (ModelFile("tiny.gguf", "weights", FILE.blob),)
    assert changes(model(), files, None, None) == []
    assert changes(model(revision="a"), files, None, None) == []
    assert [each.what for each in changes(model(revision="a"), files, "b", None)] == ["revision"]
    assert changes(model(), files, "b", "key x") == []
    assert [each.what for each in changes(model(signer="key x"), files, None, None)] == ["signer"]
    assert [each.what for each in changes(model(), (), None, None)] == ["tiny.gguf"]
    renamed = (ModelFile("other.gguf", "weights", FILE.blob),)
    assert [each.what for each in changes(model(), renamed, None, None)] == ["tiny.gguf", "other.gguf"]
    two = model(files=(FILE, LockedFile("b", "weights", FILE.digest, 12)))
    swapped = tuple(ModelFile(each.name, each.role, each.blob) for each in two.files[::-1])
    assert [each.what for each in changes(two, swapped, None, None)] == ["order"]


# pulls that follow a lock ---------------------------------------------------------------------------------------------


async def test_a_locked_pull_is_pinned(shop: Shop) -> None:
    manifest, _ = await shop.pull(LyingSource(BODY))
    await pull_locked(shop, LyingSource(BODY), locked(manifest))
    assert shop.library.get("tiny").trust == "pinned"


async def test_a_moved_tag_is_refused_with_a_diff_before_anything_is_fetched(shop: Shop) -> None:
    manifest, _ = await shop.pull(LyingSource(BODY))
    shop.library.remove("tiny")
    moved = LyingSource(OTHER)
    with pytest.raises(Untrusted) as refused:
        await pull_locked(shop, moved, locked(manifest))
    assert refused.value.code == "lock_mismatch"
    lines = refused.value.message.splitlines()
    assert "no longer has what models.lock says of tiny" in lines[0]
    assert lines[2].split()[:2] == ["-", manifest.weights.digest]
    assert lines[3].split()[:2] == ["+", blob_of(OTHER).digest]
    assert moved.opened == [] and shop.shelved() == shop.incoming() == []


async def test_a_lock_does_not_excuse_other_bytes(shop: Shop) -> None:
    manifest, _ = await shop.pull(LyingSource(BODY))
    shop.library.remove("tiny")
    with pytest.raises(Untrusted) as refused:
        await pull_locked(shop, LyingSource(BODY, flip=-1), locked(manifest))
    assert refused.value.code == "digest_mismatch"
    assert shop.shelved() == []


async def test_a_locked_signer_must_have_signed(shop: Shop) -> None:
    manifest, _ = await shop.pull(LyingSource(BODY))
    entry = dataclasses_replace(locked(manifest), signer="key sha256:00")
    with pytest.raises(Untrusted) as refused:
        await pull_locked(shop, LyingSource(BODY), entry)
    assert refused.value.code == "lock_mismatch" and "signer" in refused.value.message


async def test_replacing_takes_the_old_bytes_away_at_the_next_sweep(shop: Shop) -> None:
    await shop.pull(LyingSource(OTHER))
    wanted = dataclasses.replace(LyingSource(BODY))
    entry = model(files=(LockedFile("tiny.gguf", "weights", blob_of(BODY).digest, len(BODY)),))
    await shop.library.pull(wanted, "tiny", lambda _: None, locked=entry, replace=True)
    assert shop.library.get("tiny").weights == blob_of(BODY)
    assert shop.library.sweep() == len(OTHER)
    shop.check_invariant()


async def pull_locked(shop: Shop, source: LyingSource, entry: LockedModel) -> None:
    await shop.library.pull(source, entry.name, lambda _: None, locked=entry)
