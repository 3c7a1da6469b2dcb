"""What a model can do, in Ollama's words, from what the library knows of it. Pure."""

import re
from typing import Final

from intramural.library import Manifest

#: Words of chat templates that leave room for thinking.
_THINKS: Final = re.compile(r"enable_thinking|reasoning_content|reasoning_effort|<think>|\[THINK\]")


def abilities(manifest: Manifest) -> list[str]:
    """`completion` or `embedding`, then what goes with it.

    Tools are driven through a constrained form where the template knows none: every model that can chat can call them.
    """
    if manifest.pooling is not None:
        return ["embedding"]
    found = ["completion"]
    if manifest.has_chat_template:
        found.append("tools")
    if can_see(manifest):
        found.append("vision")
    if can_think(manifest):
        found.append("thinking")
    return found


def can_think(manifest: Manifest) -> bool:
    """Whether its chat template has a place for thinking."""
    return manifest.template is not None and _THINKS.search(manifest.template) is not None


def can_see(manifest: Manifest) -> bool:
    """Whether it came with a projector for images."""
    return any(file.role == "projector" for file in manifest.files)
