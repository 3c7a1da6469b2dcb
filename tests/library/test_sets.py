"""Which files belong together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intramural.core.errors import IntramuralError, Missing, Untrusted
from intramural.library.sources.sets import FileSet, is_projector, plain_name, sets_of


def shards(stem: str, count: int) -> list[str]:
    return [f"{stem}-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]


def test_shards_come_in_order_whatever_the_order_they_were_listed_in() -> None:
    names = shards("big-Q4_K_M", 12)
    assert sets_of(reversed(names)) == [FileSet("big-Q4_K_M", tuple(names))]


def test_a_missing_shard_is_named() -> None:
    names = shards("big", 3)
    found = sets_of(names[:1] + names[2:])
    assert found == [FileSet("big", (names[0], names[2]), missing=(2,))]
    with pytest.raises(Missing) as missing:
        found[0].require_complete()
    assert missing.value.code == "shard_missing" and "number 2" in str(missing.value)


def test_other_models_are_other_sets() -> None:
    names = ["a.gguf", *shards("a", 2), *shards("a", 3), "b.GGUF", "README.md", "b.gguf.part"]
    assert [each.weights for each in sets_of(names)] == [
        ("a.gguf",),
        tuple(shards("a", 2)),
        tuple(shards("a", 3)),
        ("b.GGUF",),
    ]


@pytest.mark.parametrize(
    "odd", ["x-00000-of-00003.gguf", "x-00004-of-00003.gguf", "x-1-of-3.gguf", "x-00001-of-99999.gguf"]
)
def test_what_only_looks_like_a_shard_is_a_file(odd: str) -> None:
    assert sets_of([odd]) == [FileSet(odd.removesuffix(".gguf"), (odd,))]


@pytest.mark.parametrize(
    ("projectors", "chosen"),
    [
        (["mmproj-model-f16.gguf"], "mmproj-model-f16.gguf"),
        (["mmproj.gguf"], "mmproj.gguf"),
        (["mmproj-BF16.gguf", "mmproj-F16.gguf", "mmproj-F32.gguf"], "mmproj-F16.gguf"),
        (["mmproj-seer-7b-f16.gguf"], "mmproj-seer-7b-f16.gguf"),
        (["seer-7b.mmproj-Q8_0.gguf"], "seer-7b.mmproj-Q8_0.gguf"),
        (["mmproj-another-9b-f16.gguf"], None),
        ([], None),
    ],
)
def test_a_model_gets_the_projector_that_is_its_own(projectors: list[str], chosen: str | None) -> None:
    assert sets_of(["seer-7b-Q4_K_M.gguf", *projectors]) == [
        FileSet("seer-7b-Q4_K_M", ("seer-7b-Q4_K_M.gguf",), chosen)
    ]


def test_several_quantisations_of_one_model_share_a_projector() -> None:
    found = sets_of(["seer-7b-Q4_K_M.gguf", "seer-7b-Q8_0.gguf", "mmproj-model-f16.gguf"])
    assert [each.projector for each in found] == ["mmproj-model-f16.gguf"] * 2


def test_a_projector_that_might_be_anybodys_is_nobodys() -> None:
    found = sets_of(["a-7b-Q4_K_M.gguf", "b-7b-Q4_K_M.gguf", "mmproj-model-f16.gguf", "mmproj-b-7b-f16.gguf"])
    assert [each.projector for each in found] == [None, "mmproj-b-7b-f16.gguf"]


def test_a_projector_alone_is_no_model() -> None:
    assert sets_of(["mmproj-model-f16.gguf"]) == []
    assert is_projector("x-mmproj.gguf") and not is_projector("commproject-7b.gguf")


BAD_NAMES = [
    "", ".", "..", "../x.gguf", "a/../x.gguf", "/etc/passwd", "a//b.gguf", "a/", ".hidden.gguf", "a/.ssh/x.gguf",
    "..\\x.gguf", "C:x.gguf", "x\0.gguf", "x\n.gguf", "x\x1b[2J.gguf", "\u202egguf.exe", "x" * 256, "\udc80.gguf",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD_NAMES)
def test_what_is_no_file_name_is_refused(text: str) -> None:
    with pytest.raises(Untrusted) as refused:
        plain_name(text)
    assert refused.value.code == "bad_file_name"


@pytest.mark.parametrize(("text", "name"), [("x.gguf", "x.gguf"), ("Q4/x y.gguf", "x y.gguf"), ("ü.gguf", "ü.gguf")])
def test_the_end_of_a_relative_path_is_a_file_name(text: str, name: str) -> None:
    assert plain_name(text) == name


@given(st.text(max_size=300))
def test_a_name_is_plain_or_refused(text: str) -> None:
    try:
        name = plain_name(text)
    except IntramuralError:
        return
    assert "/" not in name and name not in ("", ".", "..") and name.isprintable() and len(name.encode()) <= 255


@given(st.lists(st.text(alphabet="ab-.0123mproj", max_size=20).map(lambda stem: stem + ".gguf"), max_size=12))
def test_no_file_is_in_two_models_and_none_is_lost(names: list[str]) -> None:
    found = sets_of(names)
    weights = [name for each in found for name in each.weights]
    assert sorted(weights) == sorted({name for name in names if not is_projector(name)})
