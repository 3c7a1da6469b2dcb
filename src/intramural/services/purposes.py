"""Which model for what: asking one that ranks to chat is an error that says which would. Pure."""

from collections.abc import Iterable, Mapping

from intramural.core.errors import Misasked
from intramural.library import Manifest, Purpose

_DOES: Mapping[Purpose, str] = {
    "chat": "writes text",
    "embedding": "makes vectors of texts",
    "rerank": "ranks texts by how well they answer a query",
    "adapter": "changes how another model answers",
}
_ROUTES: Mapping[Purpose, str] = {
    "chat": "/v1/chat/completions",
    "embedding": "/v1/embeddings",
    "rerank": "/v1/rerank",
    "adapter": "`adapter=` in serving.options",
}
#: What else a model can do than what it is made for: vectors can be had of one that writes, if need be.
_ALSO: Mapping[Purpose, frozenset[Purpose]] = {
    "chat": frozenset({"embedding"}),
    "embedding": frozenset(),
    "rerank": frozenset(),
    "adapter": frozenset(),
}
_NAMED = 5


def require_purpose(manifest: Manifest, wanted: Purpose, usable: Iterable[Manifest]) -> None:
    """Raises Misasked(`wrong_model_kind`), naming those of `usable` that are made for what is wanted."""
    has = manifest.purpose
    if wanted == has or wanted in _ALSO[has]:
        return
    others = [each.name for each in usable if each.purpose == wanted]
    more = ", …" if len(others) > _NAMED else ""
    hint = (
        f"Ask {', '.join(others[:_NAMED])}{more}" if others else "No model here does that: an administrator can get one"
    )
    raise Misasked(
        "wrong_model_kind",
        f"{manifest.name} {_DOES[has]}; it is for {_ROUTES[has]}.",
        f"{hint}.",
        param="model",
    )
