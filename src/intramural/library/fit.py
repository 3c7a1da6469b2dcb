"""How much memory a model's worker may come to need, from its header alone. Pure.

    memory = weights + key/value cache + compute and output buffers + the process itself

- weights: the file, mapped; every page is touched.
- cache: per layer and token, keys and values of every kv head in 16 bits. Layers with a sliding window are counted as
  if they had none, so the plan for such a model is too high rather than too low.
- compute: activations and attention mask of one batch of `BATCH_TOKENS` (with flash attention); output: a number per
  vocabulary entry for every token of a batch, which the engine takes when it is first asked for embeddings.
- process: interpreter, engine library, threads, and what every vocabulary entry costs beside its place in the file.

The plan is the most it comes to: a worker that has never made embeddings stays below it by the output buffer.
`tests/library/test_fit_measured.py` holds it against the real engine: within 5 % for the starter model at 2 048 and
8 192 tokens with 1 and 4 slots. The engine's second prompt cache in RAM is not in the plan: serving switches it off.
"""

from dataclasses import dataclass

from intramural.core.errors import Misasked
from intramural.library.facts import Shape
from intramural.library.manifest import Manifest

#: As `serving.engine` sets it.
BATCH_TOKENS = 64
CACHE_NUMBER_BYTES = 2
#: Measured, confined as in production; the second with vocabularies of 1 000, 50 000 and 200 000 entries.
PROCESS_BYTES = 70 << 20
VOCABULARY_ENTRY_BYTES = 400
#: Engines round a slot's context up to this.
CONTEXT_STEP_TOKENS = 256
#: Rather fewer slots than a context shorter than this.
COMFORTABLE_CONTEXT_TOKENS = 4096
LEAST_CONTEXT_TOKENS = 512


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


def plan(manifest: Manifest, budget_bytes: int, slots: int, context_tokens: int) -> Plan:
    """The largest plan within `budget_bytes` that has no more `slots` and `context_tokens` (a slot) than asked for.

    First the context is shortened, down to a comfortable length; then there are fewer slots; then the context gets
    shorter still. Raises Misasked(`model_too_large`), saying what would fit.
    """
    asked = _rounded(min(context_tokens, manifest.trained_context_tokens))
    comfortable = min(asked, COMFORTABLE_CONTEXT_TOKENS)
    for fewer in range(slots, 0, -1):
        least = comfortable if fewer > 1 else min(asked, LEAST_CONTEXT_TOKENS)
        found = _longest(manifest, budget_bytes, fewer, least, asked)
        if found is not None:
            return found
    smallest = need(manifest, 1, min(asked, LEAST_CONTEXT_TOKENS))
    raise _too_large(manifest, smallest, budget_bytes)


def need(manifest: Manifest, slots: int, context_tokens: int) -> Plan:
    """What the worker of `manifest` would need for exactly that."""
    shape = manifest.shape
    kv_bytes = slots * context_tokens * _cache_bytes_per_token(shape)
    activations = 2 * shape.feed_forward_length + 8 * shape.embedding_length
    output = shape.vocabulary_size + shape.embedding_length
    compute_bytes = BATCH_TOKENS * (4 * (activations + output) + 2 * context_tokens)
    process_bytes = PROCESS_BYTES + shape.vocabulary_size * VOCABULARY_ENTRY_BYTES
    weights_bytes = manifest.size_bytes
    total = weights_bytes + kv_bytes + compute_bytes + process_bytes
    return Plan(context_tokens, slots, total, weights_bytes, kv_bytes, compute_bytes, process_bytes)


def _cache_bytes_per_token(shape: Shape) -> int:
    return sum(shape.kv_heads) * (shape.key_length + shape.value_length) * CACHE_NUMBER_BYTES


def _longest(manifest: Manifest, budget_bytes: int, slots: int, least: int, most: int) -> Plan | None:
    """The plan with the longest context from `least` to `most` that is within budget. Memory is linear in context."""
    largest = need(manifest, slots, most)
    if largest.memory_bytes <= budget_bytes:
        return largest
    per_token = slots * _cache_bytes_per_token(manifest.shape) + 2 * BATCH_TOKENS
    room = budget_bytes - need(manifest, slots, 0).memory_bytes
    context_tokens = room // per_token // CONTEXT_STEP_TOKENS * CONTEXT_STEP_TOKENS
    return need(manifest, slots, context_tokens) if context_tokens >= least else None


def _rounded(context_tokens: int) -> int:
    return max(CONTEXT_STEP_TOKENS, -(-context_tokens // CONTEXT_STEP_TOKENS) * CONTEXT_STEP_TOKENS)


def _too_large(manifest: Manifest, smallest: Plan, budget_bytes: int) -> Misasked:
    needs, has = smallest.memory_bytes / 1e9, budget_bytes / 1e9
    rest_bytes = budget_bytes - (smallest.memory_bytes - smallest.weights_bytes)
    bits = smallest.weights_bytes * 8 / manifest.parameters
    if rest_bytes > 0:
        billions = rest_bytes * 8 / bits / 1e9
        hint = (
            f"Within the budget, weights of up to {rest_bytes / 1e9:.1f} GB would fit: at this quantisation "
            f"({manifest.quantisation}) a model of about {billions:.1f} billion parameters."
        )
    else:
        hint = "Give models more memory (serving.memory_budget_bytes) or unload others."
    message = f"{manifest.name} needs at least {needs:.1f} GB; {has:.1f} GB may be used for models."
    return Misasked("model_too_large", message, hint, param="model")
