"""Sets of shards and projectors: in order as the reference writes them, each malformation refused by its own name."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import gguf
import numpy as np
import pytest
from tests.fakes.gguf_file import (
    ARRAY,
    F32,
    I32,
    STRING,
    U16,
    U32,
    GgufFile,
    Key,
    TensorRecord,
    default_tensors,
    tiny_projector,
    tiny_set,
)
from tests.fakes.source import FilesSource
from tests.library.shop import Shop
from tests.library.test_gguf import listed

from intramural.core.errors import Untrusted
from intramural.library import ModelFacts, Piece
from intramural.library.examination import examine
from intramural.library.gguf import Flaw, Malformed

Read = Callable[[Sequence[bytes | Path], Sequence[Piece]], ModelFacts | None]


@pytest.fixture
def read(tmp_path: Path) -> Iterator[Read]:
    opened = []

    def go(files: Sequence[bytes | Path], which: Sequence[Piece]) -> ModelFacts | None:
        descriptors = []
        for number, file in enumerate(files):
            path = file if isinstance(file, Path) else tmp_path / f"{len(opened)}-{number}"
            if isinstance(file, bytes):
                path.write_bytes(file)
            descriptors.append(os.open(path, os.O_RDONLY))
        opened.extend(descriptors)
        return examine(descriptors, which)

    yield go
    for each in opened:
        os.close(each)


def shards(count: int) -> list[Piece]:
    return [Piece("weights", number, count) for number in range(1, count + 1)]


def test_a_set_is_read_as_its_one_file_would_be(read: Read) -> None:
    whole = read([GgufFile().build()], [Piece()])
    together = read([file.build() for file in tiny_set(3)], shards(3))
    assert whole is not None
    assert together is not None
    assert (together.shape, together.parameters, together.template) == (whole.shape, whole.parameters, whole.template)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_shard_alone_is_in_order(read: Read, number: int) -> None:
    facts = read([tiny_set(3)[number - 1].build()], [Piece("weights", number, 3)])
    assert (facts is not None) == (number == 1)


def write_with_the_reference(folder: Path, *, empty_first: bool) -> list[Path]:
    writer = gguf.GGUFWriter(folder / "m.gguf", "llama", split_max_tensors=2, small_first_shard=empty_first)
    writer.add_block_count(3)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"token {n}" for n in range(10)])
    writer.add_tensor("token_embd.weight", np.zeros((10, 32), dtype=np.float32))
    for layer in range(3):
        writer.add_tensor(f"blk.{layer}.attn_q.weight", np.ones((32, 32), dtype=np.float16))
        writer.add_tensor(f"blk.{layer}.attn_k.weight", np.ones((32, 32), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(folder.glob("*.gguf"))


@pytest.mark.parametrize("empty_first", [False, True])
def test_agrees_with_the_reference_on_sets(read: Read, tmp_path: Path, empty_first: bool) -> None:
    files = write_with_the_reference(tmp_path, empty_first=empty_first)
    assert len(files) > 3
    facts = read(files, shards(len(files)))
    readers = [gguf.GGUFReader(file) for file in files]
    assert facts is not None
    assert facts.parameters == sum(int(t.n_elements) for reader in readers for t in reader.tensors)
    for number, file in enumerate(files, start=1):
        read([file], [Piece("weights", number, len(files))])


def changed(position: int, change: Callable[[GgufFile], object]) -> list[GgufFile]:
    files = tiny_set(3)
    change(files[position])
    return files


#: (name, why, field, position of the file at fault, the set).
BAD_SETS: list[tuple[str, Flaw, str, int, Callable[[], list[GgufFile]]]] = [
    ("no number", Flaw.SPLIT_KEYS, "split.no", 1, lambda: changed(1, lambda f: f.without("split.no"))),
    ("no count", Flaw.SPLIT_KEYS, "split.count", 2, lambda: changed(2, lambda f: f.without("split.count"))),
    ("number as text", Flaw.SPLIT_KEYS, "split.no", 1,
     lambda: changed(1, lambda f: f.set(Key("split.no", STRING, "1")))),
    ("count as array", Flaw.SPLIT_KEYS, "split.count", 1,
     lambda: changed(1, lambda f: f.set(Key("split.count", ARRAY, [3])))),
    ("another's place", Flaw.SPLIT_NUMBER, "split.no", 1, lambda: changed(1, lambda f: f.set(Key("split.no", U16, 2)))),
    ("another count", Flaw.SPLIT_NUMBER, "split.count", 2,
     lambda: changed(2, lambda f: f.set(Key("split.count", U16, 4)))),
    ("no total", Flaw.SPLIT_KEYS, "split.tensors.count", 0,
     lambda: changed(0, lambda f: f.without("split.tensors.count"))),
    ("a total below its own", Flaw.SPLIT_TENSORS, "split.tensors.count", 1,
     lambda: changed(1, lambda f: f.set(Key("split.tensors.count", I32, 0)))),
    ("another total", Flaw.SPLIT_TENSORS, "split.tensors.count", 0,
     lambda: [f.set(Key("split.tensors.count", I32, 5)) for f in tiny_set(3)]),
    ("a tensor too many", Flaw.SPLIT_TENSORS, "split.tensors.count", 0,
     lambda: changed(2, lambda f: f.tensors.append(TensorRecord("z", (8,))))),
    ("a tensor twice", Flaw.TENSOR_NAME_DUPLICATE, "token_embd.weight", 2,
     lambda: changed(2, lambda f: f.tensors.__setitem__(-1, TensorRecord("token_embd.weight")))),
    ("a layer missing", Flaw.LAYERS, "llama.block_count", 0,
     lambda: changed(2, lambda f: setattr(f.tensors[1], "name", "other.weight"))),
    ("embeddings of another size", Flaw.VOCABULARY_TENSOR, "token_embd.weight", 1,
     lambda: tiny_set(3, tensors=[TensorRecord("token_embd.weight", (8, 5)), *default_tensors()[1:]])),
    ("another architecture", Flaw.SPLIT_KEYS, "general.architecture", 1,
     lambda: changed(1, lambda f: f.set(Key("general.architecture", STRING, "qwen3")))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("flaw", "field", "position", "build"), [pytest.param(*row[1:], id=row[0]) for row in BAD_SETS]
)
def test_bad_sets(read: Read, flaw: Flaw, field: str, position: int, build: Callable[[], list[GgufFile]]) -> None:
    files = [file.build() for file in build()]
    with pytest.raises(Malformed) as refused:
        read(files, shards(3))
    assert (refused.value.code, refused.value.field) == (flaw.value, field)
    there = files[position].find(field.encode())
    assert refused.value.offset == (24 if there < 0 else listed(files[position], field))


def test_files_in_another_order(read: Read) -> None:
    one, two, three = (file.build() for file in tiny_set(3))
    with pytest.raises(Malformed, match="number 3, not 2"):
        read([one, three, two], shards(3))


def test_a_projector_is_in_order(read: Read) -> None:
    assert read([tiny_projector().build()], [Piece("projector")]) is None
    facts = read([GgufFile().build(), tiny_projector().build()], [Piece(), Piece("projector")])
    assert facts is not None
    assert facts.parameters == 8 * 4 + 3 * 8


BAD_PROJECTORS: list[tuple[str, Flaw, str, Callable[[], GgufFile]]] = [
    ("a model", Flaw.PROJECTOR, "general.architecture", GgufFile),
    ("an adapter", Flaw.PROJECTOR, "general.type",
     lambda: tiny_projector().set(Key("general.type", STRING, "adapter"))),
    ("patches of nothing", Flaw.KEY_RANGE, "clip.vision.patch_size",
     lambda: tiny_projector().set(Key("clip.vision.patch_size", U32, 0))),
    ("patches larger than the image", Flaw.KEY_RANGE, "clip.vision.image_size",
     lambda: tiny_projector().set(Key("clip.vision.image_size", U32, 2))),
    ("too many layers", Flaw.KEY_RANGE, "clip.vision.block_count",
     lambda: tiny_projector().set(Key("clip.vision.block_count", U32, 513))),
    ("no heads", Flaw.HEADS, "clip.vision.attention.head_count",
     lambda: tiny_projector().set(Key("clip.vision.attention.head_count", U32, 0))),
    ("uneven heads", Flaw.HEADS, "clip.vision.attention.head_count",
     lambda: tiny_projector().set(Key("clip.vision.attention.head_count", U32, 3))),
    ("two colours", Flaw.SCHEMA, "clip.vision.image_mean",
     lambda: tiny_projector().set(Key("clip.vision.image_mean", ARRAY, [0.5, 0.5], item=F32))),
    ("colours as numbers", Flaw.SCHEMA, "clip.vision.image_std",
     lambda: tiny_projector().set(Key("clip.vision.image_std", ARRAY, [1, 1, 1]))),
    ("layers as texts", Flaw.SCHEMA, "clip.vision.feature_layer",
     lambda: tiny_projector().set(Key("clip.vision.feature_layer", ARRAY, ["a"], item=STRING))),
    ("a thousand layers", Flaw.KEY_RANGE, "clip.vision.feature_layer",
     lambda: tiny_projector().set(Key("clip.vision.feature_layer", ARRAY, [1] * 1000, item=I32))),
    ("vision as a number", Flaw.SCHEMA, "clip.has_vision_encoder",
     lambda: tiny_projector().set(Key("clip.has_vision_encoder", U32, 1))),
    ("its kind as a number", Flaw.SCHEMA, "clip.projector_type",
     lambda: tiny_projector().set(Key("clip.projector_type", U32, 1))),
]  # fmt: skip


@pytest.mark.parametrize(("flaw", "field", "build"), [pytest.param(*row[1:], id=row[0]) for row in BAD_PROJECTORS])
def test_bad_projectors(read: Read, flaw: Flaw, field: str, build: Callable[[], GgufFile]) -> None:
    raw = build().build()
    for files, which in (([raw], [Piece("projector")]), ([GgufFile().build(), raw], [Piece(), Piece("projector")])):
        with pytest.raises(Malformed) as refused:
            read(files, which)
        assert (refused.value.code, refused.value.field) == (flaw.value, field)
        assert refused.value.offset == listed(raw, field)


def test_a_projector_is_no_model(read: Read) -> None:
    with pytest.raises(Malformed, match="gguf_not_a_model"):
        read([tiny_projector().build()], [Piece()])


# through the library ------------------------------------------------------------------------------------------------


async def test_a_whole_set_is_pulled(shop: Shop) -> None:
    source = FilesSource([*(file.build() for file in tiny_set(3)), tiny_projector().build()], projectors=[3])
    manifest = await shop.library.pull(source, None, lambda _: None)
    assert [file.role for file in manifest.files] == ["weights"] * 3 + ["projector"]
    assert manifest.parameters == 8 * 4 + 3 * 8
    assert len(shop.shelved()) == 4
    shop.check_invariant()


async def test_of_a_set_that_does_not_belong_together_nothing_stays(shop: Shop) -> None:
    files = [file.set(Key("split.tensors.count", I32, 5)).build() for file in tiny_set(3)]
    with pytest.raises(Untrusted) as refused:
        await shop.library.pull(FilesSource(files), None, lambda _: None)
    assert refused.value.code == Flaw.SPLIT_TENSORS
    assert shop.shelved() == shop.incoming() == shop.library.list() == []
