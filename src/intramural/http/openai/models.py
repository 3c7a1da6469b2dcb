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
        "capabilities": capabilities(manifest),
    }


def capabilities(manifest: Manifest) -> list[str]:
    """What it is made for (a field of ours): `chat` and `completion` and what goes with them, `embedding` or `rerank`.

    Tools are driven through a constrained form where the template knows none, so every model that chats calls them.
    """
    if manifest.purpose != "chat":
        return [manifest.purpose]
    tools, vision = manifest.has_chat_template, manifest.sees
    return ["chat", "completion", *(["tools"] if tools else []), *(["vision"] if vision else [])]
