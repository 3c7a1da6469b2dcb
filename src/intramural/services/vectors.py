"""What is made of a model's vectors and ranks before they leave. Pure."""

import math
from collections.abc import Sequence

from msgspec.structs import replace

from intramural.core.chat import Embeddings, Ranking
from intramural.core.errors import Misasked

#: Architectures whose ranks the engine gives as a probability; the others' are the number before that.
_PROBABLE = ("qwen3",)


def shortened(found: Embeddings, dimensions: int, model: str) -> Embeddings:
    """Each vector's first `dimensions` numbers, brought to length 1 again (Matryoshka representations are made so that
    these alone still say most). Raises Misasked(`too_many_dimensions`)."""
    width = min((len(vector) for vector in found.vectors), default=dimensions)
    if dimensions > width:
        raise too_many(model, dimensions, width)
    return replace(found, vectors=tuple(_unit(vector[:dimensions]) for vector in found.vectors))


def too_many(model: str, dimensions: int, width: int) -> Misasked:
    """More dimensions than there are."""
    message = f"`dimensions` is {dimensions}; vectors of {model} have {width}."
    return Misasked("too_many_dimensions", message, f"Ask for {width} at most.", param="dimensions")


def relevance(found: Ranking, architecture: str) -> Ranking:
    """The scores from 0 to 1, in the same order."""
    if architecture.startswith(_PROBABLE):
        return replace(found, scores=tuple(min(1.0, max(0.0, score)) for score in found.scores))
    return replace(found, scores=tuple(map(_sigmoid, found.scores)))


def _unit(vector: Sequence[float]) -> tuple[float, ...]:
    length = math.sqrt(math.fsum(x * x for x in vector))
    return tuple(x / length for x in vector) if length else tuple(vector)


def _sigmoid(score: float) -> float:
    return 1 / (1 + math.exp(-score)) if score >= 0 else math.exp(score) / (1 + math.exp(score))
