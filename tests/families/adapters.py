"""Writes low-rank changes with random weights, with the ggml project's writer."""

from pathlib import Path

import gguf
import numpy as np


def write_adapter(
    path: Path, *, architecture: str = "llama", layers: int = 30, width: int = 576, rank: int = 4, other_rank: int = 0
) -> Path:
    """A change to the queries and outputs of a model's attention, strong enough to be seen; as wide as the starter."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(rank))
    random = np.random.default_rng(1)
    for layer in range(layers):
        for name in ("attn_q", "attn_output"):
            tensor = f"blk.{layer}.{name}.weight"
            halves = {"a": (rank, width), "b": (width, other_rank or rank)}
            for half, shape in halves.items():
                values = (random.standard_normal(shape) * 0.2).astype(np.float32)
                writer.add_tensor(f"{tensor}.lora_{half}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
