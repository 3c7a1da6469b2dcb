"""What a model can do, from what the library knows of it: what several dialects tell, each in its own words. Pure."""

import re
from typing import Final

from intramural.library import Elsewhere, Manifest

#: Words of chat templates that leave room for thinking.
_THINKS: Final = re.compile(r"enable_thinking|reasoning_content|reasoning_effort|<think>|\[THINK\]")


def can_chat(manifest: Manifest) -> bool:
    """Whether it answers conversations: it has a template for them, and was not made for vectors."""
    return manifest.pooling is None and manifest.has_chat_template


def can_think(manifest: Manifest) -> bool:
    """Whether its chat template has a place for thinking, or an administrator says so of an engine elsewhere."""
    if isinstance(manifest, Elsewhere):
        return manifest.remote.model.thinks != "never"
    return manifest.template is not None and _THINKS.search(manifest.template) is not None


def can_see(manifest: Manifest) -> bool:
    """Whether it reads images."""
    return manifest.sees
