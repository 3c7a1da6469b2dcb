"""Texts that a person's program is given to keep, and that only this service can read when they return."""

import base64
import binascii

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from intramural.access.secret import Pepper
from intramural.core.clock import Clock
from intramural.core.errors import Misasked

_NONCE_BYTES = 12


class Seal:
    """Every person has a key of their own, made of the pepper: what was sealed for one opens for nobody else."""

    def __init__(self, pepper: Pepper, clock: Clock) -> None:
        self._pepper = pepper
        self._clock = clock

    def close(self, person_id: str, text: str) -> str:
        """`text` as characters that need no escaping (RFC 8439, then base64)."""
        nonce = self._clock.token_bytes(_NONCE_BYTES)
        sealed = self._cipher(person_id).encrypt(nonce, text.encode(errors="replace"), None)
        return base64.urlsafe_b64encode(nonce + sealed).decode()

    def open(self, person_id: str, sealed: str) -> str:
        """The text again. Raises Misasked(`bad_encrypted_content`) where it was not sealed here, for this person."""
        try:
            data = base64.b64decode(sealed.encode(), altchars=b"-_", validate=True)
            opened = self._cipher(person_id).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], None)
        except (binascii.Error, ValueError, InvalidTag):
            raise Misasked(
                "bad_encrypted_content",
                "That encrypted content was not made here, or not for you.",
                "Leave the item out.",
                param="input",
            ) from None
        return opened.decode()

    def key_of_marks(self, project: str) -> bytes:
        """32 bytes, always the same, of which the guard makes what stands for values in this project."""
        return self._pepper.digest("guard", project)

    def _cipher(self, person_id: str) -> ChaCha20Poly1305:
        return ChaCha20Poly1305(self._pepper.digest("seal", person_id))
