"""What a model's memory and speed depend on, as its header says it: layers, heads, windows, states, experts.

Which layers have a window, and which keep a state instead of a cache, is partly in the file's keys and partly in the
engine's code for the architecture; the latter is repeated here (source: the engine's loaders, one per architecture).
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

import msgspec

from intramural.library.gguf import BOOL, INT32, UINT32, Array, Header, Tensor, Value

Natural = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=2**62)]

_MAX_WIDTH = 1 << 20
_MAX_LAYERS = 512
#: Of every so many layers the last has no window: architectures whose files do not say it.
_WINDOW_PATTERN = {
    "gemma2": 2, "gemma3": 6, "gemma3n": 5, "gemma-embedding": 6, "gpt-oss": 2, "cohere2": 4, "exaone4": 4, "llama4": 4,
}  # fmt: skip
#: Llama 4's files do not name the length of its chunks.
_LLAMA4_CHUNK_TOKENS = 8192
#: Three of four layers keep a state; files may say otherwise.
_STATE_INTERVAL = {"qwen3next": 4, "qwen35": 4, "qwen35moe": 4}
#: Encoders: nothing is cached, for no token is ever added to a text.
_NO_CACHE = frozenset({
    "bert", "eurobert", "gemma-embedding", "jina-bert-v2", "jina-bert-v3", "modern-bert", "neo-bert", "nomic-bert",
    "nomic-bert-moe",
})  # fmt: skip
#: What a worker reads in one go: one batch after another, or a whole text (`engine`: in the engine; `onnx`: elsewhere).
Whole = Literal["no", "engine", "onnx"]
#: The cache holds one compressed vector a token, from which keys and values are made.
_KEYS_ONLY = frozenset({"deepseek2", "deepseek4", "glm-dsa", "mistral4"})
#: Types whose matrices the engine lays out anew for the processor.
_LAID_OUT_ANEW = frozenset({"Q4_0", "Q4_K", "Q2_K", "IQ4_NL"})
COPIED_TABLE = frozenset({"gemma4"})
_EXPERTS = ("_exps.weight", "_exps.bias", "_exps.scale")


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lengths count numbers, not bytes; tuples have one entry a layer, an empty one means "as every other".

    `kv_heads` is 0 for a layer without a cache of its own. A layer in `sliding` caches `sliding_window_tokens` only,
    with heads of `sliding_key_length` and `sliding_value_length` (0: as the others). `value_length` is 0 where only
    keys are cached. `state_bytes` is what layers without a cache keep for each slot. `compression` is, for each layer,
    how many tokens one entry of its long cache stands for (0: none beside the window). `merges` are the tokenizer's
    rules, if it has such. `expert_bytes` are the weights of all experts together, `input_bytes` those of the table of
    token embeddings, of which a token needs one row, and `copied_bytes` what the engine keeps twice; 0 where unknown.
    `whole`: whether a text is read whole, and by what.
    """

    layers: Positive
    heads: Natural
    kv_heads: tuple[Natural, ...]
    key_length: Natural
    value_length: Natural
    embedding_length: Positive
    feed_forward_length: Natural
    vocabulary_size: Positive
    sliding_window_tokens: Positive | None = None
    sliding: tuple[bool, ...] = ()
    sliding_key_length: Natural = 0
    sliding_value_length: Natural = 0
    compression: tuple[Natural, ...] = ()
    index_key_length: Natural = 0
    state_bytes: Natural = 0
    merges: Natural = 0
    experts: Natural = 0
    experts_used: Natural = 0
    expert_bytes: Natural = 0
    input_bytes: Natural = 0
    copied_bytes: Natural = 0
    whole: Whole = "no"


class _Under:
    """Look-ups below the architecture's name. Nothing is refused here: what is not of the expected form counts as not
    being there, for these keys only say how much memory to plan for."""

    def __init__(self, header: Header) -> None:
        self._keys = header.keys
        kind = header.keys.get("general.architecture")
        self.architecture = kind.scalar if isinstance(kind, Value) and isinstance(kind.scalar, str) else ""

    def __call__(self, name: str, most: int = _MAX_WIDTH) -> int:
        found = self._keys.get(f"{self.architecture}.{name}")
        number = found.scalar if isinstance(found, Value) else 0
        return min(number, most) if type(number) is int and number > 0 else 0

    def per_layer(self, name: str, layers: int) -> tuple[int, ...]:
        """An array's first `layers` numbers (true is 1); empty where there are fewer."""
        found = self._keys.get(f"{self.architecture}.{name}")
        if not isinstance(found, Array) or found.count < layers or found.type_number not in (BOOL, INT32, UINT32):
            return ()
        return tuple(min(max(int(value), 0), _MAX_WIDTH) for value in found.values()[:layers])


def completed(shape: Shape, header: Header) -> Shape:
    """`shape`, which has what every model has, with what only some have."""
    under = _Under(header)
    sliding = _sliding(under, shape)
    window = shape.sliding_window_tokens or (_LLAMA4_CHUNK_TOKENS if under.architecture == "llama4" else None)
    state_layers = _state_layers(under, shape.layers)
    merges = header.keys.get("tokenizer.ggml.merges")
    return msgspec.structs.replace(
        shape,
        kv_heads=_cached(under, shape, state_layers),
        value_length=0 if _keys_only(under) else shape.value_length,
        sliding_window_tokens=window,
        sliding=sliding if window else (),
        sliding_key_length=under("attention.key_length_swa"),
        sliding_value_length=0 if _keys_only(under) else under("attention.value_length_swa"),
        compression=under.per_layer("attention.compress_ratios", shape.layers),
        index_key_length=under("attention.indexer.key_length"),
        state_bytes=sum(state_layers) * _state_bytes(under),
        merges=merges.count if isinstance(merges, Array) else 0,
        experts=under("expert_count"),
        experts_used=under("expert_used_count"),
    )


def weighing(shape: Shape, architecture: str, tensors: Iterable[Tensor]) -> Shape:
    """`shape` with what experts and token embeddings take; `tensors` are those of every file.

    Where the table of token embeddings is the output's matrix too, it is in memory twice if it serves the two in
    different layouts, and with some architectures in any case (measured).
    """
    by_name = {each.name: each for each in tensors}
    sizes = {name: each.size_bytes for name, each in by_name.items()}
    table = by_name.get("token_embd.weight")
    tied = table is not None and "output.weight" not in by_name
    copied = table is not None and tied and (table.type_name in _LAID_OUT_ANEW or architecture in COPIED_TABLE)
    return msgspec.structs.replace(
        shape,
        expert_bytes=sum(size for name, size in sizes.items() if name.endswith(_EXPERTS)),
        input_bytes=sizes.get("per_layer_token_embd.weight", 0) + (0 if tied else sizes.get("token_embd.weight", 0)),
        copied_bytes=table.size_bytes if table is not None and copied else 0,
    )


def _sliding(under: _Under, shape: Shape) -> tuple[bool, ...]:
    said = under.per_layer("attention.sliding_window_pattern", shape.layers)
    if said:
        return tuple(map(bool, said))
    if under.architecture == "deepseek4":
        return (True,) * shape.layers
    every = _WINDOW_PATTERN.get(under.architecture)
    return tuple(layer % every < every - 1 for layer in range(shape.layers)) if every else ()


def _cached(under: _Under, shape: Shape, state_layers: Sequence[bool]) -> tuple[int, ...]:
    """Heads of the cache, layer by layer: none where there is a state, or where another layer's cache is used."""
    if under.architecture in _NO_CACHE:
        return (0,) * shape.layers
    own = shape.layers - under("attention.shared_kv_layers", _MAX_LAYERS)
    return tuple(
        0 if state or layer >= own else heads
        for layer, (heads, state) in enumerate(zip(shape.kv_heads, state_layers, strict=True))
    )


def _keys_only(under: _Under) -> bool:
    compressed = under.architecture in _KEYS_ONLY and under("attention.kv_lora_rank") > 0
    return under.architecture == "deepseek4" or (compressed and under("attention.key_length_mla") > 0)


def _state_layers(under: _Under, layers: int) -> tuple[bool, ...]:
    if not under("ssm.state_size") and not under("wkv.head_size"):
        return (False,) * layers
    every = under("full_attention_interval", _MAX_LAYERS) or _STATE_INTERVAL.get(under.architecture, 0)
    if every:
        return tuple(layer % every < every - 1 for layer in range(layers))
    said = under.per_layer("attention.head_count_kv", layers)
    return tuple(heads == 0 for heads in said) if said else (True,) * layers


def _state_bytes(under: _Under) -> int:
    """Of one layer and one slot: the convolution's last inputs and the state, as 32-bit floats."""
    inner, state, groups = under("ssm.inner_size"), under("ssm.state_size"), under("ssm.group_count")
    convolution = max(under("ssm.conv_kernel") - 1, 0) * (inner + 2 * groups * state)
    return 4 * (convolution + inner * state)
