"""Writes GGUF files byte by byte, also such as no honest tool would write. Knows nothing of our reader."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
FORMATS = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q", I64: "q", F64: "d"}
TYPE_F32, TYPE_Q4_0, TYPE_Q8_0 = 0, 2, 8
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def text(value: str | bytes) -> bytes:
    """A string as it lies in the file."""
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(raw)) + raw


def number(kind: int, value: float) -> bytes:
    """A number of type `kind`."""
    return struct.pack("<" + FORMATS[kind], value)


@dataclass
class Key:
    """A key and its value; for arrays `item` is the type of the items. `raw` replaces everything behind the type."""

    name: str | bytes
    kind: int
    value: Any = None
    item: int = U32
    raw: bytes | None = None

    def bytes_(self) -> bytes:
        head = text(self.name) + struct.pack("<I", self.kind)
        if self.raw is not None:
            return head + self.raw
        if self.kind == STRING:
            return head + text(self.value)
        if self.kind != ARRAY:
            return head + number(self.kind, self.value)
        items = b"".join(text(v) if self.item == STRING else number(self.item, v) for v in self.value)
        return head + struct.pack("<IQ", self.item, len(self.value)) + items


@dataclass
class TensorRecord:
    """A tensor as the header lists it. `offset` None: where an honest writer would put it."""

    name: str | bytes
    dimensions: Sequence[int] = (8, 4)
    kind: int = TYPE_F32
    offset: int | None = None
    dimension_count: int | None = None
    size_bytes: int | None = None

    def size(self) -> int:
        if self.size_bytes is not None:
            return self.size_bytes
        count = 1
        for dimension in self.dimensions:
            count *= dimension
        return {TYPE_F32: count * 4, TYPE_Q4_0: count // 32 * 18, TYPE_Q8_0: count // 32 * 34}.get(self.kind, count)


@dataclass
class GgufFile:
    """A tiny model of two layers. Change a field, then take `build()`."""

    magic: bytes = b"GGUF"
    version: int = 3
    keys: list[Key] = field(default_factory=lambda: default_keys())
    tensors: list[TensorRecord] = field(default_factory=lambda: default_tensors())
    tensor_count: int | None = None
    key_count: int | None = None
    alignment: int = 32
    padding: bytes = b"\x00"
    tail: bytes = b""
    data: bytes | None = None

    def set(self, key: Key) -> "GgufFile":
        """Replace the key of that name, or add it."""
        self.keys = [each for each in self.keys if each.name != key.name] + [key]
        return self

    def without(self, name: str) -> "GgufFile":
        self.keys = [each for each in self.keys if each.name != name]
        return self

    def header(self) -> bytes:
        counts = (
            len(self.tensors) if self.tensor_count is None else self.tensor_count,
            len(self.keys) if self.key_count is None else self.key_count,
        )
        parts = [self.magic, struct.pack("<IQQ", self.version, *counts), *(key.bytes_() for key in self.keys)]
        offset = 0
        for tensor in self.tensors:
            place = offset if tensor.offset is None else tensor.offset
            dimensions = list(tensor.dimensions)
            count = len(dimensions) if tensor.dimension_count is None else tensor.dimension_count
            parts += [text(tensor.name), struct.pack("<I", count), struct.pack(f"<{len(dimensions)}Q", *dimensions)]
            parts.append(struct.pack("<IQ", tensor.kind, place))
            offset = self._padded(offset + tensor.size())
        return b"".join(parts)

    def build(self) -> bytes:
        header = self.header()
        header += self.padding * (self._padded(len(header)) - len(header))
        if self.data is not None:
            return header + self.data + self.tail
        size = 0
        for tensor in self.tensors:
            size = self._padded(size + tensor.size())
        return header + b"\x00" * size + self.tail

    def _padded(self, size: int) -> int:
        return -(-size // self.alignment) * self.alignment


def default_keys(architecture: str = "llama", layers: int = 2, vocabulary: int = 4) -> list[Key]:
    tokens = ["<unk>", "<s>", "</s>", "<0x0A>", *(f"t{n}" for n in range(4, vocabulary))][:vocabulary]
    return [
        Key("general.architecture", STRING, architecture),
        Key("general.name", STRING, "tiny"),
        Key("general.file_type", U32, 0),
        Key(f"{architecture}.block_count", U32, layers),
        Key(f"{architecture}.context_length", U32, 512),
        Key(f"{architecture}.embedding_length", U32, 8),
        Key(f"{architecture}.feed_forward_length", U32, 16),
        Key(f"{architecture}.attention.head_count", U32, 2),
        Key(f"{architecture}.attention.head_count_kv", U32, 1),
        Key(f"{architecture}.attention.layer_norm_rms_epsilon", F32, 1e-5),
        Key("tokenizer.ggml.model", STRING, "llama"),
        Key("tokenizer.ggml.tokens", ARRAY, tokens, item=STRING),
        Key("tokenizer.ggml.scores", ARRAY, [0.0] * vocabulary, item=F32),
        Key("tokenizer.ggml.token_type", ARRAY, [2, 3, 3, 6, *[1] * vocabulary][:vocabulary], item=I32),
        Key("tokenizer.ggml.bos_token_id", U32, 1),
        Key("tokenizer.chat_template", STRING, CHATML),
    ]


def default_tensors(layers: int = 2, vocabulary: int = 4) -> list[TensorRecord]:
    blocks = [TensorRecord(f"blk.{n}.attn_norm.weight", (8,)) for n in range(layers)]
    return [TensorRecord("token_embd.weight", (8, vocabulary)), *blocks, TensorRecord("output_norm.weight", (8,))]


def tiny_set(count: int, tensors: list[TensorRecord] | None = None) -> list[GgufFile]:
    """The tiny model in `count` files: the first has the keys and no tensors, the last all tensors that are left."""
    every = default_tensors() if tensors is None else tensors
    files = []
    for number in range(count):
        mine = [] if number == 0 else every[number - 1 :] if number == count - 1 else every[number - 1 : number]
        split = [
            Key("split.no", U16, number),
            Key("split.count", U16, count),
            Key("split.tensors.count", I32, len(every)),
        ]
        files.append(GgufFile(keys=[*(default_keys() if number == 0 else []), *split], tensors=mine))
    return files


def tiny_projector() -> GgufFile:
    """A projector with one layer."""
    keys = [
        Key("general.architecture", STRING, "clip"),
        Key("general.type", STRING, "mmproj"),
        Key("clip.has_vision_encoder", BOOL, True),
        Key("clip.projector_type", STRING, "gemma3"),
        Key("clip.vision.image_size", U32, 8),
        Key("clip.vision.patch_size", U32, 4),
        Key("clip.vision.embedding_length", U32, 8),
        Key("clip.vision.feed_forward_length", U32, 16),
        Key("clip.vision.projection_dim", U32, 8),
        Key("clip.vision.block_count", U32, 1),
        Key("clip.vision.attention.head_count", U32, 2),
        Key("clip.vision.attention.layer_norm_epsilon", F32, 1e-6),
        Key("clip.vision.image_mean", ARRAY, [0.5, 0.5, 0.5], item=F32),
        Key("clip.vision.image_std", ARRAY, [0.5, 0.5, 0.5], item=F32),
    ]
    return GgufFile(
        keys=keys, tensors=[TensorRecord("v.blk.0.attn_q.weight", (8, 8)), TensorRecord("mm.0.weight", (8, 8))]
    )


def tiny_model(seed: int = 0, extra_bytes: int = 0) -> bytes:
    """A well-formed file whose weights depend on `seed`; `extra_bytes` (a multiple of 32) makes it longer."""
    file = GgufFile()
    if extra_bytes:
        file.tensors.append(TensorRecord("filler.weight", (extra_bytes // 4,)))
    size = sum(-(-tensor.size() // 32) * 32 for tensor in file.tensors)
    cycle = bytes((seed * 31 + n * 7) % 251 for n in range(251))
    file.data = (cycle * (size // 251 + 1))[:size]
    return file.build()
