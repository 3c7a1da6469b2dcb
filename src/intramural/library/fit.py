"""How much memory a model's worker may come to need, from its header alone. Pure.

    memory = weights + key/value cache and states + compute and output buffers + the process itself

- weights: every file, read into memory. A projector (for images) is one of the files.
- cache: per layer and token, keys and values of every kv head, in 16 bits or quantised. A layer with a sliding window
  caches the window and one batch; one with a recurrent state keeps that instead; compressed caches count as such. Of
  windows and states there is a copy for each slot, to go on from in the next turn.
- compute: activations and attention mask of one batch of `BATCH_TOKENS` (with flash attention); output: a number per
  vocabulary entry for every token of a batch, which the engine takes when it is first asked for embeddings. A model
  that reads texts whole (an encoder) has batches as long as its context.
- process: interpreter, engine library, threads, and what tokenizer and layers cost beside their place in the file.

The plan is the most it comes to: a worker that has never made embeddings stays below it by the output buffer.
`bench/fit.py` and `tests/library/test_fit_measured.py` hold it against the real engine. The engine's second prompt
cache in RAM is not in the plan: serving switches it off.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec

from intramural.core.errors import Misasked
from intramural.library.shape import Shape

#: How the numbers of the cache are stored; bytes of 32 of them.
Kv = Literal["f16", "q8_0", "q4_0"]
#: Usual storages with what they take, from the best down to the least that still makes sense.
_STORAGES = (("Q8_0", 8.5), ("Q6_K", 6.6), ("Q5_K_M", 5.7), ("Q4_K_M", 4.9), ("Q3_K_M", 3.9), ("Q2_K", 3.2))
_BYTES_OF_32: dict[Kv, int] = {"f16": 64, "q8_0": 34, "q4_0": 18}
#: As `serving.engine` sets it.
BATCH_TOKENS = 64
#: Measured, confined as in production: with vocabularies of 288 to 128 000 entries without rules for merging, with the
#: starter's 49 152 that have them, and with 2 to 30 layers.
PROCESS_BYTES = 38 << 20
VOCABULARY_ENTRY_BYTES = 340
MERGE_BYTES = 270
LAYER_BYTES = 200_000
#: The worker of an ONNX model, measured: interpreter, runtime and tokenizer; how many tables of attention and of
#: activations live at once; and the longest context it gets, for its attention grows with the square of it.
ONNX_PROCESS_BYTES = 90 << 20
ONNX_CONTEXT_TOKENS = 2048
_ONNX_TABLES = 6
_USUAL_HEAD = 32
#: Engines round a slot's context up to this.
CONTEXT_STEP_TOKENS = 256
#: Rather fewer slots than a context shorter than this.
COMFORTABLE_CONTEXT_TOKENS = 4096
LEAST_CONTEXT_TOKENS = 512
_GIVEN_BACK_BYTES = 32 << 20
#: As long as any context: nothing leaves it, so the engine keeps no copies of what is in it.
_FULL_WINDOW_TOKENS = 1 << 40
#: DeepSeek V4: layers that compress 4 to 1 have an index of what they compressed, those of 128 to 1 read all of it.
_INDEXED_RATIO = 4


class Candidate(Protocol):
    """What a plan needs to know of a model: a `Manifest`, a `Weighed`, or whatever else has these."""

    @property
    def name(self) -> str: ...
    @property
    def parameters(self) -> int: ...
    @property
    def quantisation(self) -> str: ...
    @property
    def trained_context_tokens(self) -> int: ...
    @property
    def size_bytes(self) -> int:
        """All files together."""
        ...

    @property
    def shape(self) -> Shape: ...


@dataclass(frozen=True, slots=True)
class Weighed:
    """The plainest `Candidate`: a model that is not on the shelf."""

    name: str
    parameters: int
    quantisation: str
    trained_context_tokens: int
    size_bytes: int
    shape: Shape


@dataclass(frozen=True, slots=True)
class Plan:
    """What a worker is given. `context_tokens` is for each slot; `memory_bytes` is the sum of all parts."""

    context_tokens: int
    slots: int
    memory_bytes: int
    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    process_bytes: int
    kv: Kv = "f16"


def plan(model: Candidate, budget_bytes: int, slots: int, context_tokens: int, kv: Kv = "f16") -> Plan:
    """The largest plan within `budget_bytes` that has no more `slots` and `context_tokens` (a slot) than asked for.

    First the context is shortened, down to a comfortable length; then there are fewer slots; then the context gets
    shorter still. Raises Misasked(`model_too_large`), saying what would fit.
    """
    asked = context_of(model, context_tokens)
    comfortable = min(asked, COMFORTABLE_CONTEXT_TOKENS)
    for fewer in range(slots, 0, -1):
        least = comfortable if fewer > 1 else min(asked, LEAST_CONTEXT_TOKENS)
        found = _longest(model, budget_bytes, fewer, least, asked, kv)
        if found is not None:
            return found
    smallest = need(model, 1, min(asked, LEAST_CONTEXT_TOKENS), kv)
    raise _too_large(model, smallest, budget_bytes)


def need(model: Candidate, slots: int, context_tokens: int, kv: Kv = "f16") -> Plan:
    """What the worker of `model` would need for exactly that."""
    shape = model.shape
    if shape.whole == "onnx":
        return _onnx_need(model, slots, context_tokens)
    kv_bytes = slots * (cache_bytes(shape, context_tokens, kv) + shape.state_bytes)
    kv_bytes += _copies_bytes(slots, checkpoint_bytes(shape, context_tokens, kv))
    compute = compute_bytes(shape, context_tokens)
    process_bytes = PROCESS_BYTES + shape.layers * LAYER_BYTES
    process_bytes += shape.vocabulary_size * VOCABULARY_ENTRY_BYTES + shape.merges * MERGE_BYTES
    weights_bytes = model.size_bytes + shape.copied_bytes
    total = weights_bytes + kv_bytes + compute + process_bytes
    return Plan(context_tokens, slots, total, weights_bytes, kv_bytes, compute, process_bytes, kv)


def adjusted(model: Candidate, *, stretch: float = 1.0, full_windows: bool = False) -> Candidate:
    """`model` as an engine with these options sees it: its positions stretched beyond what it was trained with, and its
    sliding windows as long as the context."""
    shape = model.shape
    if full_windows and shape.sliding_window_tokens:
        shape = msgspec.structs.replace(shape, sliding_window_tokens=_FULL_WINDOW_TOKENS)
    if stretch == 1.0 and shape is model.shape:
        return model
    trained = int(model.trained_context_tokens * stretch)
    return Weighed(model.name, model.parameters, model.quantisation, trained, model.size_bytes, shape)


def beside(draft: Candidate, slots: int, context_tokens: int, kv: Kv = "f16") -> int:
    """Bytes that a model which guesses ahead needs in the worker of another one."""
    found = need(draft, slots, rounded(context_tokens), kv)
    return found.memory_bytes - PROCESS_BYTES


def _onnx_need(model: Candidate, slots: int, context_tokens: int) -> Plan:
    """Texts are computed one at a time, however many slots there are."""
    shape = model.shape
    heads = shape.heads or max(1, shape.embedding_length // _USUAL_HEAD)
    attention = heads * context_tokens**2
    activations = context_tokens * (shape.feed_forward_length + 2 * shape.embedding_length)
    compute = 4 * _ONNX_TABLES * (attention + activations)
    total = model.size_bytes + compute + ONNX_PROCESS_BYTES
    return Plan(context_tokens, slots, total, model.size_bytes, 0, compute, ONNX_PROCESS_BYTES)


def checkpoint_bytes(shape: Shape, context_tokens: int, kv: Kv = "f16") -> int:
    """A copy of what cannot be wound back: states, and what is in the windows."""
    window = min(shape.sliding_window_tokens or 0, context_tokens)
    if not window or not shape.sliding or shape.sliding_window_tokens == _FULL_WINDOW_TOKENS:
        return shape.state_bytes
    slides = [layer for layer in range(shape.layers) if shape.sliding[layer] and shape.kv_heads[layer]]
    width = (shape.sliding_key_length or shape.key_length) + (shape.sliding_value_length or shape.value_length)
    numbers = window * width * sum(shape.kv_heads[layer] for layer in slides)
    return shape.state_bytes + numbers * _BYTES_OF_32[kv] // 32


def compute_bytes(shape: Shape, context_tokens: int) -> int:
    """Activations, mask and output of one batch."""
    wide = shape.feed_forward_length * max(shape.experts_used, 1)
    activations = 2 * wide + 8 * shape.embedding_length
    output = shape.vocabulary_size + shape.embedding_length
    batch_tokens = BATCH_TOKENS if shape.whole == "no" else context_tokens
    return batch_tokens * (4 * (activations + output) + 2 * context_tokens)


def cache_bytes(shape: Shape, context_tokens: int, kv: Kv = "f16") -> int:
    """The cache of one slot, all layers."""
    return sum(layer_cache_bytes(shape, layer, context_tokens, kv) for layer in range(shape.layers))


def layer_cache_bytes(shape: Shape, layer: int, context_tokens: int, kv: Kv = "f16") -> int:
    """The cache of one slot and one layer (counted from 0)."""
    heads = shape.kv_heads[layer]
    if not heads:
        return 0
    tokens, width = context_tokens, shape.key_length + shape.value_length
    if shape.sliding_window_tokens and shape.sliding and shape.sliding[layer]:
        tokens = min(context_tokens, rounded(shape.sliding_window_tokens + BATCH_TOKENS))
        width = (shape.sliding_key_length or shape.key_length) + (shape.sliding_value_length or shape.value_length)
    numbers = tokens * heads * width + _compressed_numbers(shape, layer, context_tokens)
    return numbers * _BYTES_OF_32[kv] // 32


def _copies_bytes(slots: int, each_bytes: int) -> int:
    """One a slot. Of several small ones, the allocator keeps half as many again that were given up (measured with 2 to
    4 slots); from 32 MiB on each is given back to the system at once."""
    kept = (slots + 1) // 2 if slots > 1 and each_bytes < _GIVEN_BACK_BYTES else 0
    return (slots + kept) * each_bytes


def context_of(model: Candidate, wanted_tokens: int) -> int:
    """The context a worker of `model` gets where `wanted_tokens` are wanted. An encoder has no position beyond what it
    was trained with, so there nothing is rounded up."""
    least = min(wanted_tokens, model.trained_context_tokens)
    if model.shape.whole == "onnx":
        return min(least, ONNX_CONTEXT_TOKENS)
    return rounded(least) if model.shape.whole == "no" else least


def rounded(context_tokens: int) -> int:
    """A context length as the engine rounds it."""
    return max(CONTEXT_STEP_TOKENS, -(-context_tokens // CONTEXT_STEP_TOKENS) * CONTEXT_STEP_TOKENS)


def _compressed_numbers(shape: Shape, layer: int, context_tokens: int) -> int:
    """Of the long cache beside the window: keys only, and keys of the index where the layer picks what it reads."""
    ratio = shape.compression[layer] if layer < len(shape.compression) else 0
    if not ratio:
        return 0
    index = shape.index_key_length if ratio == _INDEXED_RATIO else 0
    return rounded(context_tokens // ratio) * (shape.key_length + index)


def _longest(model: Candidate, budget_bytes: int, slots: int, least: int, most: int, kv: Kv) -> Plan | None:
    """The plan with the longest context from `least` to `most` that is within budget. Memory grows with context."""
    largest = need(model, slots, most, kv)
    if largest.memory_bytes <= budget_bytes:
        return largest
    if need(model, slots, least, kv).memory_bytes > budget_bytes:
        return None
    low, high = least // CONTEXT_STEP_TOKENS, most // CONTEXT_STEP_TOKENS
    while high - low > 1:
        middle = (low + high) // 2
        within = need(model, slots, middle * CONTEXT_STEP_TOKENS, kv).memory_bytes <= budget_bytes
        low, high = (middle, high) if within else (low, middle)
    return need(model, slots, low * CONTEXT_STEP_TOKENS, kv)


def storage_within(model: Candidate, room_bytes: int) -> str | None:
    """In which storage the weights of this very model would have no more than `room_bytes`, in words; None: in none."""
    for name, bits in _STORAGES:
        if model.parameters * bits / 8 <= room_bytes:
            return f"in about {bits:g} bits a weight ({name})"
    return None


def _too_large(model: Candidate, smallest: Plan, budget_bytes: int) -> Misasked:
    needs, has = smallest.memory_bytes / 1e9, budget_bytes / 1e9
    rest_bytes = budget_bytes - (smallest.memory_bytes - smallest.weights_bytes)
    bits = smallest.weights_bytes * 8 / model.parameters
    if rest_bytes > 0:
        billions = rest_bytes * 8 / bits / 1e9
        stored = storage_within(model, rest_bytes)
        this = f", or this one {stored}" if stored else ""
        hint = (
            f"Within the budget, weights of up to {rest_bytes / 1e9:.1f} GB would fit: at this quantisation "
            f"({model.quantisation}) a model of about {billions:.1f} billion parameters{this}."
        )
    else:
        hint = "Give models more memory (serving.memory_budget_bytes) or unload others."
    message = f"{model.name} needs at least {needs:.1f} GB; {has:.1f} GB may be used for models."
    return Misasked("model_too_large", message, hint, param="model")
