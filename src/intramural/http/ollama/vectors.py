"""Vectors cut to fewer dimensions. Pure."""

import math

from intramural.core.errors import Misasked


def shortened(vector: tuple[float, ...], dimensions: int | None) -> tuple[float, ...]:
    """The first `dimensions` numbers, made a vector of length 1 again. Raises Misasked if there are fewer."""
    if dimensions is None or dimensions == len(vector):
        return vector
    if dimensions > len(vector):
        message = f"`dimensions` is {dimensions}; the model's vectors have {len(vector)}."
        raise Misasked("bad_parameter", message, f"Ask for at most {len(vector)}.", param="dimensions")
    kept = vector[:dimensions]
    length = math.sqrt(sum(each * each for each in kept))
    return tuple(each / length for each in kept) if length else kept
