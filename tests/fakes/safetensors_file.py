"""Writes safetensors files and snapshots byte by byte, well-formed or in any way not."""

import json
import struct
from collections.abc import Mapping
from typing import Any

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 32,
    "max_position_embeddings": 128,
}
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"


def tensor(begin: int, end: int, dtype: str = "F16", shape: Any = None) -> dict[str, Any]:
    """What a header says of a tensor; its shape is one that takes those bytes at two bytes each."""
    shape = [(end - begin) // 2] if shape is None else shape
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def raw_file(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    """A file with that header, said to be `length` bytes long."""
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def file_of(header: Mapping[str, Any], data_bytes: int = 64) -> bytes:
    """A file with that header and so many bytes of weights."""
    text = json.dumps(header).encode()
    return raw_file(text + b" " * (-len(text) % 8), bytes(each % 251 for each in range(data_bytes)))


def tiny_weights(*names: str) -> bytes:
    """A well-formed file with a tensor of 32 bytes for each name."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    header |= {name: tensor(32 * number, 32 * number + 32, shape=[4, 4]) for number, name in enumerate(names)}
    return file_of(header, 32 * len(names))


def encoded(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()


def tiny_snapshot(**config: Any) -> dict[str, bytes]:
    """The files of a whole model in one piece, by name; `config` changes its config.json."""
    return {
        "model.safetensors": tiny_weights("a.weight", "b.weight"),
        "config.json": encoded({**CONFIG, **config}),
        "generation_config.json": encoded({"eos_token_id": 2}),
        "special_tokens_map.json": encoded({"eos_token": "</s>"}),
        "tokenizer.json": encoded({"version": "1.0", "model": {"vocab": {"<unk>": 0}}}),
        "tokenizer_config.json": encoded({"chat_template": TEMPLATE, "model_max_length": 128}),
    }


def tiny_shards() -> dict[str, bytes]:
    """The same in two pieces with an index, its chat template in a file of its own."""
    whole = tiny_snapshot()
    del whole["model.safetensors"]
    names = [f"model-{number:05}-of-00002.safetensors" for number in (1, 2)]
    index = {"metadata": {"total_size": 64}, "weight_map": {"a.weight": names[0], "b.weight": names[1]}}
    return {
        **whole,
        names[0]: tiny_weights("a.weight"),
        names[1]: tiny_weights("b.weight"),
        "model.safetensors.index.json": encoded(index),
        "tokenizer_config.json": encoded({"model_max_length": 128}),
        "chat_template.jinja": TEMPLATE.encode(),
    }
