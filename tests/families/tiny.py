"""Writes small models with random weights, of any architecture in `families`, with the ggml project's writer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np

#: How the weight matrices are stored; norms, biases and convolutions stay 32-bit floats, as in published files.
STORED = {
    "F32": gguf.GGMLQuantizationType.F32,
    "F16": gguf.GGMLQuantizationType.F16,
    "Q8_0": gguf.GGMLQuantizationType.Q8_0,
    "Q4_1": gguf.GGMLQuantizationType.Q4_1,
    "Q4_0": gguf.GGMLQuantizationType.Q4_0,
}
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
#: `<unk>`, `<s>`, `</s>`, one token a byte, and a few words: enough to tokenise any text.
_WORDS = ("▁", "▁the", "▁a", "e", "t", "o", "n", "i", "s", "r", "h", "l", "d", "u", "c", "m")


@dataclass(frozen=True)
class Size:
    """How large the model is. The default is as small as the engine's kernels allow."""

    width: int = 64
    heads: int = 2
    kv_heads: int = 1
    head: int = 32
    feed_forward: int = 64
    expert_feed_forward: int = 32
    experts: int = 4
    experts_used: int = 2
    layers: int = 2
    vocabulary: int = 288
    window: int = 64
    context: int = 4096
    stored: str = "F32"
    #: Tokens with a meaning of their own, beyond the first three.
    control: tuple[str, ...] = ()


@dataclass
class Tensors:
    """What a family's description fills: keys below the architecture, and tensors in the order of ggml's dimensions."""

    architecture: str
    size: Size
    #: `llama`: pieces of text and single bytes, with a chat template. `bert`: words and letters, between two marks.
    tokenizer: str = "llama"
    template: str = CHATML
    keys: dict[str, Any] = field(default_factory=dict)
    tensors: list[tuple[str, tuple[int, ...], str]] = field(default_factory=list)

    def key(self, **values: Any) -> None:
        """`attention__key_length=32` is the key `<architecture>.attention.key_length`."""
        for name, value in values.items():
            self.keys[f"{self.architecture}.{name.replace('__', '.')}"] = value

    def matrix(self, name: str, *shape: int) -> None:
        """Random weights, stored as the size says."""
        self.tensors.append((f"{name}.weight", shape, "matrix"))

    def norm(self, *names: str, width: int | None = None) -> None:
        """Ones."""
        for name in names:
            self.tensors.append((f"{name}.weight", (width or self.size.width,), "ones"))

    def plain(self, name: str, *shape: int, fill: str = "small") -> None:
        """32-bit floats (or, with `fill` "ids", 32-bit numbers below the number of experts)."""
        self.tensors.append((name, shape, fill))

    def block(self, layer: int) -> Callable[[str], str]:
        return lambda name: f"blk.{layer}.{name}"


Family = Callable[[Tensors], None]


def write(
    path: Path, architecture: str, family: Family, size: Size | None = None, seed: int = 0, template: str = CHATML
) -> Path:
    """The file at `path`: `family` says which keys and tensors `architecture` has. Same arguments, same bytes."""
    made = Tensors(architecture, size or Size(), template=template)
    family(made)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(f"tiny {architecture}")
    writer.add_file_type({"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7}[made.size.stored])
    for name, value in made.keys.items():
        _add_key(writer, name, value)
    if made.tokenizer == "bert":
        _add_word_pieces(writer, made.size.vocabulary)
    else:
        _add_tokenizer(writer, made.size, made.template)
    random = np.random.default_rng(seed)
    for name, shape, fill in made.tensors:
        _add_tensor(writer, name, tuple(reversed(shape)), fill, made.size, random)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_key(writer: gguf.GGUFWriter, name: str, value: Any) -> None:
    match value:
        case bool():
            writer.add_bool(name, value)
        case int():
            writer.add_uint32(name, value)
        case float():
            writer.add_float32(name, value)
        case str():
            writer.add_string(name, value)
        case Sequence():
            writer.add_array(name, value)


def _add_tokenizer(writer: gguf.GGUFWriter, size: Size, template: str) -> None:
    vocabulary = size.vocabulary
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *_WORDS, *size.control]
    kinds = [2, 3, 3, *[6] * 256, *[1] * len(_WORDS), *[3] * len(size.control)]
    assert vocabulary >= len(tokens)
    unused = range(vocabulary - len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list([*tokens, *(f"▁x{n}" for n in unused)])
    writer.add_token_scores([0.0] * 259 + [-1.0 - n for n in range(vocabulary - 259)])
    writer.add_token_types([*kinds, *(1 for _ in unused)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_chat_template(template)


def _add_word_pieces(writer: gguf.GGUFWriter, vocabulary: int) -> None:
    """`[PAD] [UNK] [CLS] [SEP] [MASK]`, letters, digits and signs within a word, and the same at its beginning."""
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    signs = [chr(code) for code in range(33, 127)]
    tokens = [*marks, *signs, *(f"▁{sign}" for sign in signs)]
    tokens += [f"▁x{n}" for n in range(vocabulary - len(tokens))]
    writer.add_tokenizer_model("bert")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(marks) + [1] * (len(tokens) - len(marks)))
    writer.add_token_type_count(2)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(3)
    writer.add_sep_token_id(3)
    writer.add_mask_token_id(4)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)


def _add_tensor(
    writer: gguf.GGUFWriter, name: str, shape: tuple[int, ...], fill: str, size: Size, random: np.random.Generator
) -> None:
    if fill == "ids":
        writer.add_tensor(name, random.integers(0, size.experts, shape, dtype=np.int32))
        return
    values = np.ones(shape) if fill == "ones" else random.standard_normal(shape, dtype=np.float32) * np.float32(0.05)
    values = values.astype(np.float32)
    if fill == "matrix" and size.stored == "F16":
        writer.add_tensor(name, values.astype(np.float16))
    elif fill == "matrix" and size.stored != "F32":
        kind = STORED[size.stored]
        writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
    else:
        writer.add_tensor(name, values)
