"""Bytes for one reader: anybody with the public key can seal, nobody without the private one can open.

    magic (16) · ephemeral X25519 public key (32) · pieces

A piece is 1 MiB of the text (the last one less, perhaps nothing) with AES-256-GCM; its nonce is its number (11 bytes,
from 0) and whether it is the last, so that pieces cannot be dropped, moved or cut off. The key is HKDF-SHA256 of the
shared secret, bound to both public keys. Everything here blocks.
"""

from collections.abc import Iterable, Iterator
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = b"intramural seal\x01"
PIECE_BYTES = 2**20
_KEY_BYTES, _TAG_BYTES = 32, 16


class Spoiled(Exception):
    """What should open does not: it was changed, cut off, or is for somebody else."""


def seal(reader: X25519PublicKey, text: Iterable[bytes]) -> Iterator[bytes]:
    """`text` (in pieces of any length), sealed for `reader`."""
    own = X25519PrivateKey.generate()
    yield MAGIC + own.public_key().public_bytes_raw()
    aead = AESGCM(_key(own.exchange(reader), own.public_key(), reader))
    number, waiting = 0, bytearray()
    for each in text:
        waiting += each
        while len(waiting) > PIECE_BYTES:
            yield aead.encrypt(_nonce(number, last=False), bytes(waiting[:PIECE_BYTES]), None)
            del waiting[:PIECE_BYTES]
            number += 1
    yield aead.encrypt(_nonce(number, last=True), bytes(waiting), None)


def opened(reader: X25519PrivateKey, file: BinaryIO) -> Iterator[bytes]:
    """The text again, piece by piece; each was checked when it is given, the end when the last is. Raises Spoiled."""
    head = file.read(len(MAGIC) + _KEY_BYTES)
    if len(head) != len(MAGIC) + _KEY_BYTES or not head.startswith(MAGIC):
        raise Spoiled
    theirs = X25519PublicKey.from_public_bytes(head[len(MAGIC) :])
    try:
        aead = AESGCM(_key(reader.exchange(theirs), theirs, reader.public_key()))
        piece, number = file.read(PIECE_BYTES + _TAG_BYTES), 0
        while True:
            following = file.read(PIECE_BYTES + _TAG_BYTES)
            yield aead.decrypt(_nonce(number, last=not following), piece, None)
            if not following:
                return
            piece, number = following, number + 1
    except (InvalidTag, ValueError):
        raise Spoiled from None


def _key(shared: bytes, ephemeral: X25519PublicKey, reader: X25519PublicKey) -> bytes:
    salt = ephemeral.public_bytes_raw() + reader.public_bytes_raw()
    return HKDF(SHA256(), _KEY_BYTES, salt, b"intramural backup").derive(shared)


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11) + bytes([last])
