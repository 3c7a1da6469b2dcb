"""Whether a model fits a machine, how, and how quickly it would answer, in words for a person. Pure.

What is asked of memory is `fit`'s business. Speed: a token needs every active weight once, so it takes as long as
reading those takes. Measured against the real engine (4-bit weights, one and two cores), it reaches `REACHED` of what
memory can deliver, and no more than `CORE_BYTES_PER_S` for each core, whichever is less.
"""

from dataclasses import dataclass
from typing import Literal

from intramural.core.errors import Misasked
from intramural.library.fit import (
    LEAST_CONTEXT_TOKENS,
    Candidate,
    Kv,
    Plan,
    compute_bytes,
    context_of,
    layer_cache_bytes,
    need,
    plan,
    storage_within,
)

REACHED = 0.62
CORE_BYTES_PER_S = 8_000_000_000
#: Of the budget: what a comfortable fit leaves is for the page cache, and for what else is to run.
COMFORTABLE_SHARE = 0.85
#: A driver's context and buffers on a graphics card. Not measured here: what the engine's users report.
GPU_PROCESS_BYTES = 600 << 20
#: What cards with 8 GB read a second at least (the slower ones since 2018); only for an estimate.
GPU_BYTES_PER_S = 200_000_000_000
_TYPICAL_FILL = 0.25

Verdict = Literal["comfortable", "tight", "no"]


@dataclass(frozen=True, slots=True)
class Machine:
    """What may be used. `read_bytes_per_s` is memory's measured speed, None where nobody measured."""

    budget_bytes: int
    cores: int
    vram_bytes: int = 0
    read_bytes_per_s: int | None = None


@dataclass(frozen=True, slots=True)
class Fit:
    """The advice. `memory_bytes` is all of it, `vram_bytes` the part on the card. `tokens_per_s` is for one answer.

    `gpu_layers` of `layers` are on the card; of those, `experts_on_cpu` have their experts in ordinary memory.
    """

    verdict: Verdict
    because: str
    memory_bytes: int
    context_tokens: int
    slots: int
    kv: Kv
    tokens_per_s: float | None
    plan: Plan
    layers: int
    gpu_layers: int = 0
    experts_on_cpu: int = 0
    vram_bytes: int = 0


def advise(
    model: Candidate, machine: Machine, *, context_tokens: int, slots: int = 1, kv: Kv = "f16", about: bool = False
) -> Fit:
    """Whether and how `model` fits. `about`: its size is an estimate, and the words say so."""
    asked = context_of(model, context_tokens)
    wanted = need(model, slots, asked, kv)
    if machine.vram_bytes:
        found = _with_card(model, machine, wanted, about=about)
        if found is not None:
            return found
    try:
        planned = plan(model, machine.budget_bytes, slots, asked, kv)
    except Misasked:
        return _no(model, machine, need(model, 1, min(asked, LEAST_CONTEXT_TOKENS), kv), about=about)
    easy = planned == wanted and planned.memory_bytes <= machine.budget_bytes * COMFORTABLE_SHARE
    return Fit(
        verdict="comfortable" if easy else "tight",
        because=_because(planned, wanted, machine, about=about) + _with_smaller_cache(model, machine, wanted, planned),
        memory_bytes=planned.memory_bytes,
        context_tokens=planned.context_tokens,
        slots=planned.slots,
        kv=kv,
        tokens_per_s=_rounded_speed(_cpu_s(machine, token_bytes(model, planned))),
        plan=planned,
        layers=model.shape.layers,
    )


def token_bytes(model: Candidate, planned: Plan) -> int:
    """What is read for one token of an answer: active weights, and the cache of a conversation of typical length."""
    shape = model.shape
    active = model.size_bytes - shape.input_bytes
    if shape.experts > shape.experts_used:
        active -= shape.expert_bytes * (shape.experts - shape.experts_used) // shape.experts
    return max(active, 1) + int(planned.kv_bytes / planned.slots * _TYPICAL_FILL)


# with a card ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Parts:
    """Bytes of one layer (weights without experts, experts, cache), and of what is not in layers."""

    dense: int
    experts: int
    cache: int
    output: int
    fixed: int


def _with_card(model: Candidate, machine: Machine, wanted: Plan, *, about: bool) -> Fit | None:
    """As much as possible on the card; None where not even the rest fits into ordinary memory."""
    shape = model.shape
    parts = _parts(model, wanted)
    room = machine.vram_bytes - parts.fixed
    layers, on_cpu, vram_bytes = _placed(parts, shape.layers, room)
    if not layers:
        return None
    inside = layers * (parts.dense + parts.cache) + (layers - on_cpu) * parts.experts + parts.output
    ram_bytes = wanted.memory_bytes - inside
    if ram_bytes > machine.budget_bytes:
        return None
    whole = layers == shape.layers and not on_cpu
    seconds = _card_s(model, wanted, inside, parts, on_cpu, machine)
    where = "All of it is on the graphics card" if whole else _split_words(layers, shape.layers, on_cpu)
    needs = "needs about" if about else "needs"
    because = (
        f"{where}: it {needs} {_gb(vram_bytes)} of the card's {_gb(machine.vram_bytes)} and {_gb(ram_bytes)} of "
        f"memory, with {wanted.context_tokens:,} tokens of context."
    )
    easy = ram_bytes <= machine.budget_bytes * COMFORTABLE_SHARE and (whole or on_cpu or layers >= shape.layers * 0.8)
    return Fit(
        verdict="comfortable" if easy else "tight",
        because=because,
        memory_bytes=ram_bytes + vram_bytes,
        context_tokens=wanted.context_tokens,
        slots=wanted.slots,
        kv=wanted.kv,
        tokens_per_s=_rounded_speed(seconds),
        plan=wanted,
        layers=shape.layers,
        gpu_layers=layers,
        experts_on_cpu=on_cpu,
        vram_bytes=vram_bytes,
    )


def _parts(model: Candidate, wanted: Plan) -> _Parts:
    shape = model.shape
    output = shape.vocabulary_size * shape.embedding_length * model.size_bytes // max(model.parameters, 1)
    dense = max(model.size_bytes - shape.input_bytes - shape.expert_bytes - output, 0) // shape.layers
    caches = [layer_cache_bytes(shape, layer, wanted.context_tokens, wanted.kv) for layer in range(shape.layers)]
    cache = wanted.slots * (sum(caches) + shape.state_bytes) // shape.layers
    fixed = GPU_PROCESS_BYTES + compute_bytes(shape, wanted.context_tokens)
    return _Parts(dense, shape.expert_bytes // shape.layers, cache, output, fixed)


def _placed(parts: _Parts, layers: int, room: int) -> tuple[int, int, int]:
    """Layers on the card, of those the ones without their experts, and the bytes taken of the card.

    With experts: first everything else of every layer, for that is what every token needs, then experts as far as there
    is room. Without: as many whole layers as fit, and the output's matrix with the last.
    """
    bare = layers * (parts.dense + parts.cache) + parts.output
    if parts.experts and bare <= room:
        filled = min((room - bare) // parts.experts, layers)
        return layers, layers - filled, parts.fixed + bare + filled * parts.experts
    each = parts.dense + parts.cache + parts.experts
    if layers * each + parts.output <= room:
        return layers, 0, parts.fixed + layers * each + parts.output
    fit = max(room // each, 0)
    fit = min(fit, layers - 1)
    return fit, 0, parts.fixed + fit * each


def _card_s(model: Candidate, wanted: Plan, inside: int, parts: _Parts, on_cpu: int, machine: Machine) -> float | None:
    """Seconds a token takes: what is on the card at the card's speed, the rest at memory's."""
    shape = model.shape
    share = shape.experts_used / shape.experts if shape.experts else 1.0
    active = token_bytes(model, wanted)
    outside = on_cpu * parts.experts * share if on_cpu else active * (1 - min(inside / max(wanted.memory_bytes, 1), 1))
    if on_cpu == 0 and inside >= active:
        outside = 0.0
    slow = _cpu_s(machine, int(outside)) if outside else 0.0
    return None if slow is None else slow + max(active - outside, 0) / (GPU_BYTES_PER_S * REACHED)


# words ----------------------------------------------------------------------------------------------------------------


def _because(planned: Plan, wanted: Plan, machine: Machine, *, about: bool) -> str:
    needs = "It needs about" if about else "It needs"
    first = f"{needs} {_gb(planned.memory_bytes)} of the {_gb(machine.budget_bytes)} that models may use"
    if planned == wanted:
        return f"{first}, with {planned.context_tokens:,} tokens of context{_answers(planned.slots)}."
    if planned.slots == wanted.slots:
        return (
            f"{first}, but with {planned.context_tokens:,} tokens of context instead of "
            f"{wanted.context_tokens:,}{_answers(planned.slots)}."
        )
    return (
        f"{first}, but with {planned.context_tokens:,} tokens of context and {planned.slots} of {wanted.slots} "
        f"answers at a time."
    )


def _with_smaller_cache(model: Candidate, machine: Machine, wanted: Plan, planned: Plan) -> str:
    """What a cache in 8 bits would allow where context or answers had to be given up."""
    if planned == wanted or wanted.kv != "f16" or not wanted.kv_bytes:
        return ""
    found = plan(model, machine.budget_bytes, wanted.slots, wanted.context_tokens, "q8_0")
    if (found.slots, found.context_tokens) <= (planned.slots, planned.context_tokens):
        return ""
    return f" With kv=q8_0: {found.context_tokens:,} tokens{_answers(found.slots)}."


def _no(model: Candidate, machine: Machine, least: Plan, *, about: bool) -> Fit:
    needs = "needs about" if about else "needs"
    least_of_all, has = _gb(least.memory_bytes), _gb(machine.budget_bytes)
    because = f"It {needs} {least_of_all} even with a short context; models may use {has}"
    card = f" and the graphics card has {_gb(machine.vram_bytes)}." if machine.vram_bytes else "."
    stored = storage_within(model, machine.budget_bytes - (least.memory_bytes - least.weights_bytes))
    return Fit(
        verdict="no",
        because=because + card + (f" Stored {stored} it would fit." if stored else ""),
        memory_bytes=least.memory_bytes,
        context_tokens=least.context_tokens,
        slots=1,
        kv=least.kv,
        tokens_per_s=None,
        plan=least,
        layers=model.shape.layers,
    )


def _split_words(layers: int, of: int, on_cpu: int) -> str:
    if on_cpu == of:
        return "Attention is on the graphics card, the experts are in memory"
    if on_cpu:
        return f"Attention and the experts of {of - on_cpu} of {of} layers are on the graphics card"
    return f"{layers} of {of} layers are on the graphics card"


def _answers(slots: int) -> str:
    return "" if slots == 1 else f" for each of {slots} answers at a time"


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"


def _cpu_s(machine: Machine, size_bytes: int) -> float | None:
    if machine.read_bytes_per_s is None:
        return None
    return size_bytes / min(machine.read_bytes_per_s * REACHED, machine.cores * CORE_BYTES_PER_S)


def _rounded_speed(seconds: float | None) -> float | None:
    if not seconds:
        return None
    speed = 1 / seconds
    return round(speed, 2 if speed < 1 else 1)
