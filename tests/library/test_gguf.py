"""The reader refuses every malformation by its own name, agrees with the reference on good files, and never hangs."""

import os
import random
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.chance import tries
from tests.fakes.gguf_file import (
    ARRAY,
    BOOL,
    F32,
    I32,
    STRING,
    TYPE_Q4_0,
    U8,
    U16,
    U32,
    U64,
    GgufFile,
    Key,
    TensorRecord,
    default_keys,
    default_tensors,
    text,
    tiny_model,
)

from intramural.core.errors import Untrusted
from intramural.library.facts import facts_of
from intramural.library.gguf import Flaw, Header, Malformed, read_header

HUGE = 2**64 - 1


def read(raw: bytes) -> Header:
    return read_header(lambda offset, size: raw[offset : offset + size], len(raw))


def check(raw: bytes) -> None:
    facts_of(read(raw))


def embeddings(**changes: Any) -> GgufFile:
    """The tiny model with its first tensor changed."""
    file = GgufFile()
    file.tensors[0] = TensorRecord("token_embd.weight", **changes)
    return file


def moved(position: int, offset: int) -> GgufFile:
    file = GgufFile()
    file.tensors[position].offset = offset
    return file


def added(*keys: Key) -> bytes:
    return GgufFile(keys=[*default_keys(), *keys]).build()


def swapped() -> bytes:
    file = GgufFile()
    file.tensors[1].offset, file.tensors[2].offset = 160, 128
    return file.build()


def array(item: int, count: int, items: bytes = b"") -> bytes:
    return struct.pack("<IQ", item, count) + items


#: Bytes of the tiny model: where its keys begin and end, its second tensor is listed, its header and the file end.
KEYS, END_OF_KEYS = 24, len(GgufFile(tensors=[]).header())
SECOND_TENSOR = len(GgufFile(tensors=default_tensors()[:1]).header())
END_OF_HEADER, END_OF_FILE = len(GgufFile().header()), len(GgufFile().build())

#: (name, why it is refused, the field at fault and its byte, the file). A field alone: where it is listed first.
MALFORMED: list[tuple[str, Flaw, str | tuple[str, int], Callable[[], bytes]]] = [
    ("empty", Flaw.TOO_SMALL, ("magic", 0), lambda: b""),
    ("23 bytes", Flaw.TOO_SMALL, ("magic", 0), lambda: GgufFile().build()[:23]),
    ("other magic", Flaw.MAGIC, ("magic", 0), lambda: GgufFile(magic=b"GGML").build()),
    ("a zip", Flaw.MAGIC, ("magic", 0), lambda: b"PK\x03\x04" + bytes(100)),
    ("a pickle", Flaw.MAGIC, ("magic", 0), lambda: b"\x80\x04\x95" + bytes(100)),
    ("version 0", Flaw.VERSION, ("version", 4), lambda: GgufFile(version=0).build()),
    ("version 1", Flaw.VERSION, ("version", 4), lambda: GgufFile(version=1).build()),
    ("version 4", Flaw.VERSION, ("version", 4), lambda: GgufFile(version=4).build()),
    ("big-endian", Flaw.BYTE_ORDER, ("version", 4), lambda: GgufFile(version=0x03000000).build()),
    ("no tensors", Flaw.TENSOR_COUNT, ("tensor count", 8), lambda: GgufFile(tensors=[]).build()),
    ("tensor count -1", Flaw.TENSOR_COUNT, ("tensor count", 8), lambda: GgufFile(tensor_count=HUGE).build()),
    ("tensor count beyond the file", Flaw.TENSOR_COUNT, ("tensor count", 8),
     lambda: GgufFile(tensor_count=1000).build()),
    ("key count -1", Flaw.KEY_COUNT, ("key count", 16), lambda: GgufFile(key_count=HUGE).build()),
    ("key count beyond the file", Flaw.KEY_COUNT, ("key count", 16), lambda: GgufFile(key_count=4000).build()),
    ("key size -1", Flaw.KEY_LENGTH, ("key 1", KEYS),
     lambda: GgufFile().build()[:24] + struct.pack("<Q", HUGE) + bytes(999)),
    ("key too long", Flaw.KEY_LENGTH, ("key 17", END_OF_KEYS), lambda: added(Key("k" * 257, U32, 1))),
    ("key empty", Flaw.KEY_EMPTY, ("key 17", END_OF_KEYS), lambda: added(Key("", U32, 1))),
    ("key not UTF-8", Flaw.KEY_UTF8, ("key 17", END_OF_KEYS), lambda: added(Key(b"\xff\xfe", U32, 1))),
    ("key with NUL", Flaw.KEY_CHARACTERS, ("key 17", END_OF_KEYS), lambda: added(Key("a\x00b", U32, 1))),
    ("key with newline", Flaw.KEY_CHARACTERS, ("key 17", END_OF_KEYS), lambda: added(Key("a\nb", U32, 1))),
    ("key twice", Flaw.KEY_DUPLICATE, ("general.name", END_OF_KEYS),
     lambda: added(Key("general.name", STRING, "again"))),
    ("value type 13", Flaw.VALUE_TYPE, "x", lambda: added(Key("x", 13, raw=bytes(8)))),
    ("value type -1", Flaw.VALUE_TYPE, "x", lambda: added(Key("x", 2**32 - 1, raw=bytes(8)))),
    ("boolean 2", Flaw.BOOLEAN, "x", lambda: added(Key("x", BOOL, 2))),
    ("boolean array with 7", Flaw.BOOLEAN, "x", lambda: added(Key("x", ARRAY, [0, 1, 7], item=BOOL))),
    ("not a number", Flaw.FLOAT, "x", lambda: added(Key("x", F32, float("nan")))),
    ("string past the end", Flaw.STRING_LENGTH, "x", lambda: added(Key("x", STRING, raw=struct.pack("<Q", 10**6)))),
    ("string -1", Flaw.STRING_LENGTH, "x", lambda: added(Key("x", STRING, raw=struct.pack("<Q", HUGE)))),
    ("string not UTF-8", Flaw.STRING_UTF8, "x", lambda: added(Key("x", STRING, b"\xc3\x28"))),
    ("token not UTF-8", Flaw.STRING_UTF8, "x", lambda: added(Key("x", ARRAY, [b"a", b"\xff"], item=STRING))),
    ("item -1", Flaw.STRING_LENGTH, "x", lambda: added(Key("x", ARRAY, raw=array(STRING, 1, struct.pack("<Q", HUGE))))),
    ("array of arrays", Flaw.ARRAY_NESTED, "x", lambda: added(Key("x", ARRAY, raw=array(ARRAY, 1, array(ARRAY, 1))))),
    ("array of type 99", Flaw.ARRAY_TYPE, "x", lambda: added(Key("x", ARRAY, raw=array(99, 1, bytes(8))))),
    ("array past the end", Flaw.ARRAY_LENGTH, "x", lambda: added(Key("x", ARRAY, raw=array(U64, 10**9)))),
    ("array that wraps", Flaw.ARRAY_LENGTH, "x", lambda: added(Key("x", ARRAY, raw=array(U64, 2**61 + 1, bytes(8))))),
    ("strings past the end", Flaw.ARRAY_LENGTH, "x", lambda: added(Key("x", ARRAY, raw=array(STRING, 2**60)))),
    ("alignment as text", Flaw.ALIGNMENT_TYPE, "general.alignment",
     lambda: added(Key("general.alignment", STRING, "32"))),
    ("alignment as u64", Flaw.ALIGNMENT_TYPE, "general.alignment", lambda: added(Key("general.alignment", U64, 32))),
    ("alignment 0", Flaw.ALIGNMENT_VALUE, "general.alignment", lambda: added(Key("general.alignment", U32, 0))),
    ("alignment 48", Flaw.ALIGNMENT_VALUE, "general.alignment", lambda: added(Key("general.alignment", U32, 48))),
    ("alignment 2^31", Flaw.ALIGNMENT_VALUE, "general.alignment", lambda: added(Key("general.alignment", U32, 2**31))),
    ("no tensor name", Flaw.TENSOR_NAME_EMPTY, ("tensor 1", END_OF_KEYS),
     lambda: GgufFile(tensors=[TensorRecord("")]).build()),
    ("tensor name of 64", Flaw.TENSOR_NAME_LENGTH, ("tensor 1", END_OF_KEYS),
     lambda: GgufFile(tensors=[TensorRecord("n" * 64)]).build()),
    ("tensor name with NUL", Flaw.TENSOR_NAME_CHARACTERS, "a\x00",
     lambda: GgufFile(tensors=[TensorRecord("a\x00")]).build()),
    ("tensor name not UTF-8", Flaw.TENSOR_NAME_CHARACTERS, ("tensor 1", END_OF_KEYS),
     lambda: GgufFile(tensors=[TensorRecord(b"\xff")]).build()),
    ("tensor twice", Flaw.TENSOR_NAME_DUPLICATE, ("token_embd.weight", SECOND_TENSOR),
     lambda: GgufFile(tensors=[*default_tensors()[:1] * 2]).build()),
    ("no dimensions", Flaw.TENSOR_DIMENSIONS, "token_embd.weight",
     lambda: embeddings(dimensions=(), size_bytes=128).build()),
    ("five dimensions", Flaw.TENSOR_DIMENSIONS, "token_embd.weight",
     lambda: embeddings(dimensions=(2, 2, 2, 2, 2)).build()),
    ("4 billion dimensions", Flaw.TENSOR_DIMENSIONS, "token_embd.weight",
     lambda: embeddings(dimension_count=2**32 - 1).build()),
    ("dimension 0", Flaw.TENSOR_DIMENSION_ZERO, "token_embd.weight", lambda: embeddings(dimensions=(8, 0)).build()),
    ("tensor type 99", Flaw.TENSOR_TYPE, "token_embd.weight", lambda: embeddings(kind=99, size_bytes=128).build()),
    ("withdrawn tensor type", Flaw.TENSOR_TYPE, "token_embd.weight",
     lambda: embeddings(kind=4, size_bytes=128).build()),
    ("row no block", Flaw.TENSOR_BLOCK, "token_embd.weight",
     lambda: embeddings(kind=TYPE_Q4_0, dimensions=(33, 4), size_bytes=128).build()),
    ("dimension -1", Flaw.OVERFLOW, "token_embd.weight",
     lambda: embeddings(dimensions=(HUGE,), size_bytes=128).build()),
    ("product wraps to 0", Flaw.OVERFLOW, "token_embd.weight",
     lambda: embeddings(dimensions=(2**32, 2**32), size_bytes=128).build()),
    ("bytes wrap", Flaw.OVERFLOW, "token_embd.weight",
     lambda: embeddings(dimensions=(2**62 + 1,), size_bytes=128).build()),
    ("larger than the file", Flaw.OVERFLOW, "token_embd.weight",
     lambda: embeddings(dimensions=(8, 10**6), size_bytes=128).build()),
    ("offset -1", Flaw.OVERFLOW, "token_embd.weight", lambda: moved(0, HUGE).build()),
    ("unaligned", Flaw.TENSOR_UNALIGNED, "blk.0.attn_norm.weight", lambda: moved(1, 129).build()),
    ("past the end", Flaw.TENSOR_RANGE, "output_norm.weight", lambda: moved(3, 224).build()),
    ("weights cut off", Flaw.TENSOR_RANGE, "output_norm.weight", lambda: GgufFile().build()[:-1]),
    ("overlap", Flaw.TENSOR_OVERLAP, "blk.0.attn_norm.weight", lambda: moved(1, 96).build()),
    ("same place", Flaw.TENSOR_OVERLAP, "blk.1.attn_norm.weight", lambda: moved(2, 128).build()),
    ("a hole", Flaw.TENSOR_GAP, "z",
     lambda: GgufFile(tensors=[*default_tensors()[:3], TensorRecord("z", (8,), offset=224)],
                                                   tail=bytes(32)).build()),
    ("a hole at the front", Flaw.TENSOR_GAP, "a", lambda: GgufFile(tensors=[TensorRecord("a", (8,), offset=32)],
                                                              tail=bytes(32)).build()),
    ("out of order", Flaw.TENSOR_ORDER, "blk.1.attn_norm.weight", swapped),
    ("padding with a message", Flaw.PADDING, ("padding", END_OF_HEADER), lambda: GgufFile(padding=b"!").build()),
    ("a zip behind", Flaw.TRAILING_BYTES, ("output_norm.weight", END_OF_FILE),
     lambda: GgufFile(tail=b"PK\x03\x04" + bytes(60)).build()),
    ("one byte behind", Flaw.TRAILING_BYTES, ("output_norm.weight", END_OF_FILE),
     lambda: GgufFile(tail=b"\x00").build()),
    ("header cut off", Flaw.TRUNCATED, "output_norm.weight", lambda: GgufFile().header()[:-10]),
    ("weights missing", Flaw.TRUNCATED, ("padding", END_OF_HEADER), lambda: GgufFile().header()),
    # Known keys:
    ("no architecture", Flaw.MISSING_KEY, ("general.architecture", KEYS),
     lambda: GgufFile().without("general.architecture").build()),
    ("no layers said", Flaw.MISSING_KEY, ("llama.block_count", KEYS),
     lambda: GgufFile().without("llama.block_count").build()),
    ("no context said", Flaw.MISSING_KEY, ("llama.context_length", KEYS),
     lambda: GgufFile().without("llama.context_length").build()),
    ("no heads said", Flaw.MISSING_KEY, ("llama.attention.head_count", KEYS),
     lambda: GgufFile().without("llama.attention.head_count").build()),
    ("no tokens", Flaw.MISSING_KEY, ("tokenizer.ggml.tokens", KEYS),
     lambda: GgufFile().without("tokenizer.ggml.tokens").build()),
    ("architecture as number", Flaw.SCHEMA, "general.architecture",
     lambda: GgufFile().set(Key("general.architecture", U32, 1)).build()),
    ("layers as text", Flaw.SCHEMA, "llama.block_count",
     lambda: GgufFile().set(Key("llama.block_count", STRING, "2")).build()),
    ("layers as u64", Flaw.SCHEMA, "llama.block_count",
     lambda: GgufFile().set(Key("llama.block_count", U64, 2)).build()),
    ("tokens as numbers", Flaw.SCHEMA, "tokenizer.ggml.tokens",
     lambda: GgufFile().set(Key("tokenizer.ggml.tokens", ARRAY, [1, 2])).build()),
    ("scores as whole numbers", Flaw.SCHEMA, "tokenizer.ggml.scores",
     lambda: GgufFile().set(Key("tokenizer.ggml.scores", ARRAY, [0] * 4, item=I32)).build()),
    ("template as array", Flaw.SCHEMA, "tokenizer.chat_template",
     lambda: GgufFile().set(Key("tokenizer.chat_template", ARRAY, [1])).build()),
    ("token id as text", Flaw.SCHEMA, "tokenizer.ggml.eos_token_id",
     lambda: GgufFile().set(Key("tokenizer.ggml.eos_token_id", STRING, "2")).build()),
    ("architecture a path", Flaw.KEY_RANGE, "general.architecture",
     lambda: GgufFile().set(Key("general.architecture", STRING, "../../etc")).build()),
    ("513 layers", Flaw.KEY_RANGE, "llama.block_count",
     lambda: GgufFile().set(Key("llama.block_count", U32, 513)).build()),
    ("0 context", Flaw.KEY_RANGE, "llama.context_length",
     lambda: GgufFile().set(Key("llama.context_length", U32, 0)).build()),
    ("token kind 99", Flaw.KEY_RANGE, "tokenizer.ggml.token_type",
     lambda: GgufFile().set(Key("tokenizer.ggml.token_type", ARRAY, [1, 1, 1, 99], item=I32)).build()),
    ("an adapter", Flaw.NOT_A_MODEL, "general.type", lambda: added(Key("general.type", STRING, "adapter"))),
    ("a projector", Flaw.NOT_A_MODEL, "general.architecture", lambda: GgufFile(keys=default_keys("clip")).build()),
    ("one of three pieces", Flaw.SPLIT, "split.count", lambda: added(Key("split.count", U16, 3))),
    ("a layer missing", Flaw.LAYERS, "llama.block_count", lambda: GgufFile(tensors=default_tensors(layers=1)).build()),
    ("a layer too many", Flaw.LAYERS, "llama.block_count", lambda: GgufFile(tensors=default_tensors(layers=3)).build()),
    ("heads for other layers", Flaw.LAYERS, "llama.attention.head_count_kv",
     lambda: GgufFile().set(Key("llama.attention.head_count_kv", ARRAY, [1, 1, 1])).build()),
    ("fewer scores than tokens", Flaw.VOCABULARY_LENGTH, "tokenizer.ggml.scores",
     lambda: GgufFile().set(Key("tokenizer.ggml.scores", ARRAY, [0.0] * 3, item=F32)).build()),
    ("embeddings of another size", Flaw.VOCABULARY_TENSOR, "token_embd.weight",
     lambda: embeddings(dimensions=(8, 5)).build()),
    ("token id beyond", Flaw.TOKEN_ID, "tokenizer.ggml.eos_token_id",
     lambda: added(Key("tokenizer.ggml.eos_token_id", U32, 4))),
    ("byte token <0x-1>", Flaw.BYTE_TOKEN, "tokenizer.ggml.tokens",
     lambda: GgufFile().set(Key("tokenizer.ggml.tokens", ARRAY, ["a", "b", "c", "<0x-1>"], item=STRING)).build()),
    ("architecture's token id beyond", Flaw.TOKEN_ID, "llama.decoder_start_token_id",
     lambda: added(Key("llama.decoder_start_token_id", U32, 4))),
    ("array of no numbers", Flaw.FLOAT, "x", lambda: added(Key("x", ARRAY, [0.0, float("nan")], item=F32))),
    ("more numbers than layers", Flaw.KEY_RANGE, "llama.x", lambda: added(Key("llama.x", ARRAY, [1] * 513))),
    ("heads that share unevenly", Flaw.HEADS, "llama.attention.head_count_kv",
     lambda: GgufFile().set(Key("llama.attention.head_count", U32, 3)).set(
         Key("llama.attention.head_count_kv", U32, 2)).build()),
    ("more experts used than there are", Flaw.EXPERTS, "llama.expert_used_count",
     lambda: added(Key("llama.expert_count", U32, 2), Key("llama.expert_used_count", U32, 3))),
    ("no expert used", Flaw.EXPERTS, ("llama.expert_used_count", KEYS),
     lambda: added(Key("llama.expert_count", U32, 8))),
    ("experts used of none", Flaw.EXPERTS, "llama.expert_used_count",
     lambda: added(Key("llama.expert_used_count", U32, 8))),
    ("characters beyond their table", Flaw.CHARACTER_MAP, "tokenizer.ggml.precompiled_charsmap",
     lambda: added(Key("tokenizer.ggml.precompiled_charsmap", ARRAY, [200, 0, 0, 0, 1], item=U8))),
    ("characters as numbers", Flaw.SCHEMA, "tokenizer.ggml.precompiled_charsmap",
     lambda: added(Key("tokenizer.ggml.precompiled_charsmap", ARRAY, [1, 2]))),
]  # fmt: skip


@pytest.mark.parametrize(("flaw", "where", "build"), [pytest.param(*row[1:], id=row[0]) for row in MALFORMED])
def test_malformed(flaw: Flaw, where: str | tuple[str, int], build: Callable[[], bytes]) -> None:
    raw = build()
    with pytest.raises(Malformed) as refused:
        check(raw)
    assert refused.value.code == flaw.value
    assert refused.value.message
    assert refused.value.hint
    expected = where if isinstance(where, tuple) else (where, listed(raw, where))
    assert (refused.value.field, refused.value.offset) == expected


def listed(raw: bytes, field: str) -> int:
    """Where the header has the length and then the name of `field`."""
    return raw.index(text(field))


#: Flaws of which the files are elsewhere: too large for a row, or a set of several.
ELSEWHERE = {
    Flaw.HEADER_SIZE,
    Flaw.SPLIT_KEYS,
    Flaw.SPLIT_NUMBER,
    Flaw.SPLIT_TENSORS,
    Flaw.PROJECTOR,
}


def test_every_flaw_has_a_file() -> None:
    assert {flaw for _, flaw, _, _ in MALFORMED} == set(Flaw) - ELSEWHERE


def test_too_many_strings() -> None:
    """Nine bytes of header must not buy unbounded work."""
    raw = GgufFile(keys=[*default_keys(), Key("x", ARRAY, raw=array(STRING, 2_000_001, bytes(8) * 2_000_001))]).build()
    with pytest.raises(Untrusted) as refused:
        check(raw)
    assert refused.value.code == Flaw.HEADER_SIZE


@pytest.mark.parametrize("version", [2, 3])
def test_tiny_model_passes(version: int) -> None:
    facts = facts_of(read(GgufFile(version=version).build()))
    assert (facts.architecture, facts.shape.layers, facts.shape.vocabulary_size) == ("llama", 2, 4)
    assert facts.parameters == 8 * 4 + 3 * 8


def test_agrees_with_the_reference_on_real_weights(starter: int, starter_file: Path) -> None:
    header = read_header(lambda offset, size: os.pread(starter, size, offset), starter_file.stat().st_size)
    reference = gguf.GGUFReader(starter_file)
    assert header.data_offset == reference.data_offset
    ours = [(t.name, t.dimensions, t.type_name, t.size_bytes, header.data_offset + t.offset) for t in header.tensors]
    assert ours == [
        (t.name, tuple(t.shape.tolist()), t.tensor_type.name, t.n_bytes, t.data_offset) for t in reference.tensors
    ]
    assert set(header.keys) == {name for name in reference.fields if not name.startswith("GGUF.")}
    facts = facts_of(header)
    assert facts.parameters == sum(int(t.n_elements) for t in reference.tensors)
    assert facts.template == reference.fields["tokenizer.chat_template"].contents()
    assert (facts.quantisation, facts.trained_context_tokens) == ("Q4_1", 8192)


def write_with_the_reference(path: Path, architecture: str, layers: int, heads: int, alignment: int) -> None:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_custom_alignment(alignment)
    writer.add_block_count(layers)
    writer.add_context_length(1024)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(heads)
    writer.add_head_count_kv([heads] * layers)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_file_type(7)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"token {n}" for n in range(10)])
    writer.add_token_types([1] * 10)
    writer.add_token_merges(["t o", "to k"])
    writer.add_eos_token_id(3)
    writer.add_tensor("token_embd.weight", np.zeros((10, 32), dtype=np.float32))
    for layer in range(layers):
        writer.add_tensor(f"blk.{layer}.attn_q.weight", np.ones((32, 32), dtype=np.float16))
        quantised = gguf.quants.quantize(np.ones((3, 32), dtype=np.float32), gguf.GGMLQuantizationType.Q8_0)
        writer.add_tensor(f"blk.{layer}.odd.weight", quantised, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma3", "mistral3"])
@pytest.mark.parametrize(("layers", "alignment"), [(1, 32), (3, 64), (5, 8)])
def test_agrees_with_the_reference_writer(tmp_path: Path, architecture: str, layers: int, alignment: int) -> None:
    path = tmp_path / "model.gguf"
    write_with_the_reference(path, architecture, layers, 4, alignment)
    raw = path.read_bytes()
    header, reference = read(raw), gguf.GGUFReader(path)
    assert header.alignment == alignment
    assert [(t.name, header.data_offset + t.offset, t.size_bytes) for t in header.tensors] == [
        (t.name, t.data_offset, t.n_bytes) for t in reference.tensors
    ]
    facts = facts_of(header)
    assert facts.shape.kv_heads == (4,) * layers
    assert (facts.quantisation, facts.shape.key_length) == ("Q8_0", 8)


def outcome(raw: bytes) -> str:
    """What the reader says: `accepted` or a code that exists. Anything else is raised."""
    began = time.thread_time()
    try:
        check(raw)
    except Untrusted as error:
        assert error.code in set(Flaw)
        return error.code
    finally:
        assert time.thread_time() - began < 1.0, "one file took more than a second of work"
    return "accepted"


def mutated(raw: bytes, chance: random.Random) -> bytes:
    """Flip bits, overwrite lengths with hostile numbers, cut, and splice."""
    data = bytearray(raw)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data))
        match chance.randrange(5):
            case 0:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                hostile = (0, 1, 8, 2**31, 2**32 - 1, 2**62, 2**63, HUGE, HUGE - 7)
                data[at : at + 8] = struct.pack("<Q", chance.choice(hostile))
            case 2:
                del data[at:]
            case 3:
                other = chance.randrange(len(data))
                data[at : at + 16] = data[other : other + 16]
            case _:
                del data[at : at + chance.randint(1, 9)]
        if not data:
            return b""
    return bytes(data)


@pytest.mark.parametrize("seed", range(4))
def test_mutations_of_a_tiny_file(seed: int) -> None:
    chance, raw = random.Random(seed), tiny_model()
    seen = {outcome(mutated(raw, chance)) for _ in range(1500)}
    assert len(seen) > 15  # they really go everywhere


def real_header(starter: int, starter_file: Path) -> bytes:
    """The starter's own header with a vocabulary of 600, so that thousands of mutations are quick."""
    size = starter_file.stat().st_size
    header = read_header(lambda offset, count: os.pread(starter, count, offset), size)
    reference = gguf.GGUFReader(starter_file)
    keys = [Key(name, *as_key(field)) for name, field in reference.fields.items() if not name.startswith("GGUF.")]
    tensors = [TensorRecord(t.name, t.dimensions, 0) for t in header.tensors if t.name.count(".") > 1][:40]
    return GgufFile(keys=keys, tensors=tensors).header() + bytes(4096)


def as_key(field: gguf.ReaderField) -> tuple[int, object, int]:
    value, kinds = field.contents(), [int(kind) for kind in field.types]
    return (kinds[0], value[:600], kinds[1]) if kinds[0] == ARRAY else (kinds[0], value, 0)


def test_mutations_of_the_real_header(starter: int, starter_file: Path) -> None:
    chance, raw = random.Random(7), real_header(starter, starter_file)
    seen = {outcome(mutated(raw, chance)) for _ in range(1500)}
    assert len(seen) > 8


@given(st.binary(max_size=400))
def test_noise_is_refused_by_name(noise: bytes) -> None:
    assert outcome(b"GGUF\x03\x00\x00\x00" + noise) != "accepted"


@settings(max_examples=tries(200))
@given(
    dimensions=st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 40), min_size=1, max_size=4),
    kind=st.sampled_from([0, TYPE_Q4_0, 8, 12]),
    offset=st.integers(0, 2**64 - 1) | st.sampled_from([0, 32, 96, 128]),
)
def test_sizes_are_those_of_big_integers(dimensions: list[int], kind: int, offset: int) -> None:
    """Whatever passes is inside the file by exact arithmetic; nothing else ever does."""
    record = TensorRecord("t", dimensions, kind, offset=offset, size_bytes=128)
    raw = GgufFile(tensors=[record]).build()
    try:
        header = read(raw)
    except Untrusted:
        return
    block, size = {0: (1, 4), TYPE_Q4_0: (32, 18), 8: (32, 34), 12: (256, 144)}[kind]
    count = 1
    for dimension in dimensions:
        count *= dimension
    assert count > 0
    assert count % block == 0
    assert header.data_offset + offset + count // block * size <= len(raw)


def test_reads_only_the_header(starter: int, starter_file: Path) -> None:
    """Work is bounded by the header: the weights are never read, however large the file is."""
    furthest = 0

    def read_at(offset: int, size: int) -> bytes:
        nonlocal furthest
        furthest = max(furthest, offset + size)
        return os.pread(starter, size, offset)

    header = read_header(read_at, starter_file.stat().st_size)
    assert furthest <= header.header_bytes + 2**18


def test_a_file_of_100_gb_is_read_as_quickly() -> None:
    """Sparse: a header whose tensors fill 100 GB, behind a `read_at` that has only zeros there."""
    rows = 100 * 10**9 // 4 // 8
    file = GgufFile(tensors=[TensorRecord("token_embd.weight", (8, 4)), TensorRecord("blk.0.w", (8, rows)),
                             TensorRecord("blk.1.w", (8,))])  # fmt: skip
    raw = file.header()
    raw += bytes(-len(raw) % 32)
    size = len(raw) + 128 + rows * 32 + 32
    header = read_header(lambda offset, count: raw[offset : offset + count].ljust(count, b"\x00"), size)
    assert facts_of(header).parameters == 32 + rows * 8 + 8
