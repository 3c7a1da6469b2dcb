"""What a model can do, in Ollama's words, from what the library knows of it. Pure."""

from intramural.http.abilities import can_see, can_think
from intramural.library import Manifest


def abilities(manifest: Manifest) -> list[str]:
    """`completion`, `embedding` or `rerank` (a word of ours), then what goes with it.

    Tools are driven through a constrained form where the template knows none: every model that can chat can call them.
    """
    if manifest.purpose != "chat":
        return [manifest.purpose]
    found = ["completion"]
    if manifest.has_chat_template:
        found.append("tools")
    if can_see(manifest):
        found.append("vision")
    if can_think(manifest):
        found.append("thinking")
    return found
