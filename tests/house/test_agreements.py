"""Numbers that two rooms must agree on, where neither may import the other."""

from intramural.library import fit
from intramural.serving import engine


def test_the_plan_reckons_with_the_batches_that_the_engine_makes() -> None:
    assert fit.BATCH_TOKENS == engine.BATCH_TOKENS
