"""What to take where a model is too large. Pure."""

from collections.abc import Iterator

from intramural.library.catalogue.entries import Catalogue
from intramural.library.fit import COMFORTABLE_CONTEXT_TOKENS, Candidate, Weighed, context_of, need

#: How close two numbers of parameters are for one and the same model.
_ALIKE = 0.02


def instead_of(catalogue: Catalogue, wanted: Candidate, budget_bytes: int) -> str | None:
    """The name, as a pull takes it, of the best variant within budget: the same model stored smaller, else the largest
    model. None where nothing fits."""
    fitting = [(name, model) for name, model in _servable(catalogue) if _fits(model, budget_bytes)]
    if not fitting:
        return None

    def merit(each: tuple[str, Weighed]) -> tuple[bool, int, int]:
        model = each[1]
        return _is_same(model, wanted), model.parameters, model.size_bytes

    return max(fitting, key=merit)[0]


def _is_same(one: Candidate, other: Candidate) -> bool:
    """Whether the two are one model, stored in two ways."""
    close = abs(one.parameters - other.parameters) <= other.parameters * _ALIKE
    alike = [(m.shape.layers, m.shape.vocabulary_size, m.shape.embedding_length) for m in (one, other)]
    return close and alike[0] == alike[1]


def _servable(catalogue: Catalogue) -> Iterator[tuple[str, Weighed]]:
    for entry in catalogue.entries:
        for variant in entry.variants:
            model = entry.weighed(variant) if variant.servable else None
            if model is not None:
                yield f"{entry.id}:{variant.id}", model


def _fits(model: Weighed, budget_bytes: int) -> bool:
    return need(model, 1, context_of(model, COMFORTABLE_CONTEXT_TOKENS)).memory_bytes <= budget_bytes
