"""The forms of what is sealed, and nothing but that. Pure, except for chance.

A *record* (a value of a column) is

    magic (4) · generation of the data key (4) · nonce (12) · AES-256-GCM of the value, with its tag (16)

and a *wrapped* data key is nonce (12) · AES-256-GCM of its 32 bytes under the installation's key. Both are bound to
where they belong (`Place`, or the row of the key), so that neither opens anywhere else. A value that begins with the
magic is no UTF-8, no JSON and no deflated stream: what was kept before there was a vault can be told from it.
"""

import hashlib
import hmac
import os
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from intramural.core.errors import Untrusted

MAGIC = b"\xffIV\x01"
KEY_BYTES = 32
_NONCE_BYTES, _TAG_BYTES = 12, 16
_HEAD = struct.Struct(">4sI")
#: What sealing adds to a value.
OVERHEAD_BYTES = _HEAD.size + _NONCE_BYTES + _TAG_BYTES


@dataclass(frozen=True, slots=True)
class Place:
    """A column whose values are sealed, as `table.column`."""

    table: str
    column: str

    def bound(self, row_id: str, person_id: str, generation: int) -> bytes:
        """What a value there is bound to: table, column, row, person and the data key's generation."""
        return f"{self.table}|{self.column}|{row_id}|{person_id}|{generation}".encode()


class WrappingKey:
    """An installation's key, held in memory: it wraps data keys and nothing else."""

    def __init__(self, key: bytes) -> None:
        assert len(key) == KEY_BYTES
        self._aead = AESGCM(key)
        #: Tells it from others, and says nothing about it.
        self.name = derived(key, "name").hex()[:16]

    def wrap(self, data_key: bytes, bound: bytes) -> bytes:
        """`data_key`, for the row that `bound` describes."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, data_key, bound)

    def unwrap(self, wrapped: bytes, bound: bytes) -> bytes:
        """The data key again. Raises Untrusted(`data_key_wrong`)."""
        try:
            return self._aead.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], bound)
        except (InvalidTag, ValueError):
            raise Untrusted(
                "data_key_wrong",
                "A person's data key does not open with this installation's key.",
                "Restore the key (secrets/vault.key) that belongs to this database.",
            ) from None


class DataKey:
    """One generation of a person's key, open in memory."""

    def __init__(self, generation: int, key: bytes) -> None:
        self.generation = generation
        self.files = derived(key, "files")
        self.words = derived(key, "words")
        self.states = derived(key, "states")
        self._records = AESGCM(derived(key, "records"))

    def seal(self, place: Place, row_id: str, person_id: str, value: bytes) -> bytes:
        """`value` as it is stored."""
        nonce = os.urandom(_NONCE_BYTES)
        bound = place.bound(row_id, person_id, self.generation)
        return _HEAD.pack(MAGIC, self.generation) + nonce + self._records.encrypt(nonce, value, bound)

    def open(self, place: Place, row_id: str, person_id: str, sealed: bytes) -> bytes:
        """The value again. Raises Untrusted(`sealed_wrong`)."""
        at = _HEAD.size
        try:
            bound = place.bound(row_id, person_id, self.generation)
            return self._records.decrypt(sealed[at : at + _NONCE_BYTES], sealed[at + _NONCE_BYTES :], bound)
        except (InvalidTag, ValueError):
            raise wrong(place) from None


def generation_of(place: Place, sealed: bytes) -> int:
    """Which generation of its person's key sealed it. Raises Untrusted(`sealed_wrong`)."""
    if len(sealed) < OVERHEAD_BYTES or sealed[: len(MAGIC)] != MAGIC:
        raise wrong(place)
    return int(_HEAD.unpack_from(sealed)[1])


def wrong(place: Place) -> Untrusted:
    """What lies there was not sealed for this row, this column and this person."""
    return Untrusted(
        "sealed_wrong",
        f"A value in {place.table}.{place.column} is not what was sealed there.",
        "Somebody or something changed the database; compare it with a backup.",
    )


def derived(key: bytes, purpose: str) -> bytes:
    """A key (32 bytes) for one purpose: HMAC-SHA-256 of its name, so that none of them tells another."""
    return hmac.digest(key, f"intramural/{purpose}".encode(), hashlib.sha256)
