"""Secrets that are shown once and kept as keyed hashes: API keys, session tokens, the set-up token.

An API key is `im-`, 43 characters (256 random bits in base 62) and 6 characters of checksum (CRC-32 of what stands
before), so that a mistyped one is told from a wrong one, and scanners for leaked secrets can recognise it.
"""

import base64
import hmac
import zlib
from pathlib import Path

from intramural.core.clock import Clock
from intramural.core.durable import make_whole
from intramural.core.errors import Broken

KEY_PREFIX = "im-"
_SECRET_BYTES = 32
_BODY_CHARS = 43  # 62**43 > 2**256
_CHECKSUM_CHARS = 6  # 62**6 > 2**32
_KEY_CHARS = len(KEY_PREFIX) + _BODY_CHARS + _CHECKSUM_CHARS
_HINT_CHARS = len(KEY_PREFIX) + 4
_LONGEST_CHARS = 128
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PEPPER_FILE = "key-pepper"


def new_key(clock: Clock) -> str:
    """A fresh API key, in clear."""
    body = KEY_PREFIX + _base62(int.from_bytes(clock.token_bytes(_SECRET_BYTES), "big"), _BODY_CHARS)
    return body + _checksum(body)


def looks_like_key(text: str) -> bool:
    """Whether form and checksum are right: it was copied without a mistake from some service of this kind."""
    return len(text) == _KEY_CHARS and text.startswith(KEY_PREFIX) and _checksum(text[:-_CHECKSUM_CHARS]) == text[-6:]


def key_hint(key: str) -> str:
    """The first characters, by which a person recognises a key. They give away 24 of its 256 bits."""
    return key[:_HINT_CHARS] + "…"


def new_token(clock: Clock) -> str:
    """256 random bits for a cookie, a link or a header, in 43 characters that need no escaping anywhere."""
    return base64.urlsafe_b64encode(clock.token_bytes(_SECRET_BYTES)).rstrip(b"=").decode()


class Pepper:
    """The key of every keyed hash. Without it the hashes in a stolen database are worth nothing, guessed or not."""

    def __init__(self, key: bytes) -> None:
        self._keyed = hmac.new(key, digestmod="sha256")  # made ready once: that takes longer than a digest

    @classmethod
    def open(cls, secrets_dir: Path, clock: Clock) -> "Pepper":
        """Read `key-pepper`, making it on first use (blocking). Raises Broken when damaged or open to others."""
        file = secrets_dir / _PEPPER_FILE
        secrets_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not file.exists():
            make_whole(file, clock.token_bytes(_SECRET_BYTES))
        if file.stat().st_mode & 0o077:
            raise Broken("secret_exposed", f"{file} can be read by other users.", f"Run: chmod 600 {file}")
        key = file.read_bytes()
        if len(key) != _SECRET_BYTES:
            raise Broken("secret_damaged", f"{file} is not {_SECRET_BYTES} bytes long.", "Put it back from the backup.")
        return cls(key)

    def digest(self, purpose: str, secret: str) -> bytes:
        """The 32 bytes under which `secret` is stored and found. A digest for one purpose never fits another.

        Text that no secret can be (too long, not ASCII) gets a digest that fits nothing.
        """
        if len(secret) > _LONGEST_CHARS or not secret.isascii():
            return b""
        each = self._keyed.copy()
        each.update(f"{purpose}:{secret}".encode())
        return each.digest()


def same(ours: str, theirs: str) -> bool:
    """Compare in a time that says nothing about where they differ."""
    return hmac.compare_digest(ours.encode(), theirs.encode(errors="replace"))


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode(errors="replace")), _CHECKSUM_CHARS)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
