"""The memory plan: never over budget, says what would fit, and shortens in the promised order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intramural.core.errors import Misasked
from intramural.library import STARTER, Machine, Manifest, Shape, advise, need, plan
from intramural.library.fit import COMFORTABLE_CONTEXT_TOKENS, CONTEXT_STEP_TOKENS, LEAST_CONTEXT_TOKENS

GIB = 2**30


def manifest(trained: int = 8192) -> Manifest:
    """The starter's, as inspection reports it."""
    shape = Shape(30, 9, (3,) * 30, 64, 64, 576, 1536, 49_152)
    return Manifest(
        name=STARTER.name, weights=STARTER.weights, architecture="llama", parameters=134_515_008, quantisation="Q4_1",
        trained_context_tokens=trained, has_chat_template=False, template=None, template_digest=None, pooling=None,
        licence="Apache-2.0", source="package:x", trust="pinned", added_ms=0, shape=shape,
    )  # fmt: skip


def test_all_that_was_asked_for_if_there_is_room() -> None:
    found = plan(manifest(), 2 * GIB, slots=4, context_tokens=8192)
    assert (found.slots, found.context_tokens) == (4, 8192)
    assert found.kv_bytes == 4 * 8192 * 30 * 3 * (64 + 64) * 2
    assert found.memory_bytes == found.weights_bytes + found.kv_bytes + found.compute_bytes + found.process_bytes


def test_first_a_shorter_context_then_fewer_slots_then_shorter_still() -> None:
    """Walking the budget down, slots are given up only when the context is down to the comfortable length."""
    previous = plan(manifest(), 2 * GIB, 4, 8192)
    smallest = need(manifest(), 1, LEAST_CONTEXT_TOKENS).memory_bytes
    for budget in range(2 * GIB, smallest, -(10 << 20)):
        found = plan(manifest(), budget, 4, 8192)
        assert found.slots <= previous.slots
        if found.slots > 1:
            assert found.context_tokens >= COMFORTABLE_CONTEXT_TOKENS
        if found.slots == previous.slots:
            assert found.context_tokens <= previous.context_tokens
        previous = found
    assert previous.slots == 1


@given(
    budget=st.integers(0, 3 * GIB),
    slots=st.integers(1, 16),
    context=st.integers(1, 200_000),
    trained=st.sampled_from([512, 2048, 8192, 131_072]),
)
def test_a_plan_is_never_over_budget(budget: int, slots: int, context: int, trained: int) -> None:
    model = manifest(trained)
    try:
        found = plan(model, budget, slots, context)
    except Misasked as error:
        assert error.code == "model_too_large"
        least = min(LEAST_CONTEXT_TOKENS, max(CONTEXT_STEP_TOKENS, -(-context // 256) * 256))
        assert need(model, 1, least).memory_bytes > budget
        return
    assert found.memory_bytes <= budget
    assert 1 <= found.slots <= slots
    assert found.context_tokens <= min(trained, -(-context // 256) * 256)
    assert found.context_tokens % CONTEXT_STEP_TOKENS == 0


def test_too_large_says_what_would_fit() -> None:
    with pytest.raises(Misasked) as refused:
        plan(manifest(), 150_000_000, 1, 2048)
    assert "0.2 GB" in refused.value.message
    assert "billion parameters" in refused.value.hint
    with pytest.raises(Misasked, match="memory_budget_bytes"):
        plan(manifest(), 1000, 1, 2048)


def test_advice_says_what_would_fit() -> None:
    """A cache in 8 bits where the context had to be given up; another storage where the weights are too large."""
    model, roomy = manifest(), need(manifest(), 4, 8192).memory_bytes
    machine = Machine(roomy * 3 // 4, 2)
    tight = advise(model, machine, context_tokens=8192, slots=4)
    assert tight.verdict == "tight"
    assert tight.because.endswith("With kv=q8_0: 8,192 tokens for each of 4 answers at a time.")
    assert "kv=" not in advise(model, Machine(2 * GIB, 2), context_tokens=8192, slots=4).because
    none = advise(model, Machine(170 << 20, 2), context_tokens=8192)
    assert none.verdict == "no"
    assert "it would fit" in none.because
