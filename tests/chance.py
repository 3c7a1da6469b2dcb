"""How often chance is tried: a little in every run, each of which tries something else, and much in `make soak`."""

import os

_THOROUGH = bool(os.environ.get("INTRAMURAL_TEST_THOROUGH"))


def tries(number: int) -> int:
    """Examples of a property of which `number` are a good many: a third of them here, ten times as many in the soak."""
    return number * 10 if _THOROUGH else max(number // 3, 5)
