"""Adapters: what inspection says of them, and what it refuses."""

import os
from pathlib import Path

import pytest
from tests.families.adapters import write_adapter

from intramural.library import ModelFacts
from intramural.library.examination import examine
from intramural.library.gguf import Malformed


def facts_of(path: Path) -> ModelFacts:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        found = examine([descriptor])
    finally:
        os.close(descriptor)
    assert found is not None
    return found


def test_what_it_is_made_for(tmp_path: Path) -> None:
    found = facts_of(write_adapter(tmp_path / "a.gguf", layers=30, width=576, rank=8))
    assert (found.architecture, found.pooling) == ("llama", "adapter")
    assert (found.shape.layers, found.shape.embedding_length) == (30, 576)
    assert found.parameters == 30 * 2 * 2 * 8 * 576


def test_halves_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(Malformed) as caught:
        facts_of(write_adapter(tmp_path / "a.gguf", rank=4, other_rank=6))
    assert caught.value.code == "gguf_tensor_dimensions"


@pytest.mark.parametrize("other", [b"attn_k.weight.lora_b", b"attn_q.weight.lora_c"])
def test_a_half_without_the_other_and_something_else(tmp_path: Path, other: bytes) -> None:
    file = write_adapter(tmp_path / "a.gguf", layers=1)
    file.write_bytes(file.read_bytes().replace(b"attn_q.weight.lora_b", other))
    with pytest.raises(Malformed) as caught:
        facts_of(file)
    assert caught.value.code == "gguf_not_a_model"
