"""Models in OpenAI's form; `http.models` has the routes."""

from collections.abc import Iterable
from typing import Any

from intramural.library import Manifest


def listing(manifests: Iterable[Manifest]) -> dict[str, Any]:
    """The list of them."""
    return {"object": "list", "data": [model(each) for each in manifests]}


def model(manifest: Manifest) -> dict[str, Any]:
    """One model."""
    return {
        "id": manifest.name,
        "object": "model",
        "created": manifest.added_ms // 1000,
        "owned_by": "intramural",
    }
