"""What stands as `signature` of a thinking block: a digest of its text, so that a changed one is noticed.

It is no secret and proves nothing about who wrote the text: what a client says in a conversation is its own to say. A
signature of another service cannot be checked here, and its text is taken as the client's.
"""

import base64
import hashlib

_OURS = "im1."


def signature_of(thinking: str) -> str:
    """The signature of a thinking block of ours."""
    return _OURS + base64.b64encode(hashlib.sha256(thinking.encode()).digest()).decode("ascii")


def is_changed(thinking: str, signature: str) -> bool:
    """Whether a block that came from here says something else now. One whose text was left out on purpose does not."""
    return bool(thinking) and signature.startswith(_OURS) and signature != signature_of(thinking)
