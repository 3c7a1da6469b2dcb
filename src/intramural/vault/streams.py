"""Sealed files: read and written piece by piece, and from anywhere.

    magic (8) · generation of the data key (4) · salt (16) · sealed pieces of 64 KiB, the last one shorter

Every file has a key of its own, made of its person's and the salt. A piece's nonce is its number and whether it is the
last, so pieces can be neither reordered nor cut off; the person and the file's identifier are bound to each.
"""

import io
import os
import struct
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from intramural.core.errors import Untrusted
from intramural.vault.envelope import derived

PIECE_BYTES = 2**16
_MAGIC = b"\xffIMFILE\x01"
_SALT_BYTES, _TAG_BYTES = 16, 16
_HEAD = struct.Struct(f">{len(_MAGIC)}sI{_SALT_BYTES}s")
_SEALED_BYTES = PIECE_BYTES + _TAG_BYTES


class Sealer:
    """Seals a file as it comes: `begin`, then `more` as often as needed, then `end`."""

    def __init__(self, key: bytes, generation: int, bound: bytes) -> None:
        salt = os.urandom(_SALT_BYTES)
        self._aead = AESGCM(derived(key, salt.hex()))
        self._bound = bound
        self._number = 0
        self._rest = bytearray()
        self.begin = _HEAD.pack(_MAGIC, generation, salt)

    def more(self, data: bytes | bytearray | memoryview) -> bytes:
        """What can be written of it by now: at least one byte stays here, for the last piece."""
        self._rest += data
        pieces = []
        while len(self._rest) > PIECE_BYTES:
            pieces.append(self._piece(bytes(self._rest[:PIECE_BYTES]), last=False))
            del self._rest[:PIECE_BYTES]
        return b"".join(pieces)

    def end(self) -> bytes:
        """The last piece."""
        return self._piece(bytes(self._rest), last=True)

    def _piece(self, data: bytes, *, last: bool) -> bytes:
        sealed = self._aead.encrypt(_nonce(self._number, last=last), data, self._bound)
        self._number += 1
        return sealed


class Opened(io.RawIOBase):
    """A sealed file, readable from anywhere as the bytes it was made of. Raises Untrusted(`sealed_wrong`) in `read`."""

    def __init__(self, file: BinaryIO, key: bytes, salt: bytes, bound: bytes) -> None:
        self._file = file
        self._aead = AESGCM(derived(key, salt.hex()))
        self._bound = bound
        body_bytes = os.fstat(file.fileno()).st_size - _HEAD.size
        self._pieces = max(1, -(-body_bytes // _SEALED_BYTES))
        self.size_bytes = body_bytes - self._pieces * _TAG_BYTES
        self._at = 0
        self._held: tuple[int, bytes] = (-1, b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size_bytes}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        target = memoryview(buffer).cast("B")
        # an empty file's only piece is opened too: that it is empty is also something to be sure of
        if self._at >= self.size_bytes and self._at > 0:
            return 0
        number, offset = divmod(self._at, PIECE_BYTES)
        data = self._piece(number)[offset : offset + len(target)]
        target[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()

    def _piece(self, number: int) -> bytes:
        if self._held[0] != number:
            self._file.seek(_HEAD.size + number * _SEALED_BYTES)
            sealed = self._file.read(_SEALED_BYTES)
            try:
                data = self._aead.decrypt(_nonce(number, last=number == self._pieces - 1), sealed, self._bound)
            except (InvalidTag, ValueError):
                raise wrong() from None
            self._held = (number, data)
        return self._held[1]


def head_of(file: BinaryIO) -> tuple[int, bytes] | None:
    """Generation and salt of a sealed file, read from its beginning; None: it does not begin as one."""
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size or not head.startswith(_MAGIC):
        return None
    _, generation, salt = _HEAD.unpack(head)
    return int(generation), bytes(salt)


def wrong() -> Untrusted:
    """These bytes were not sealed for this file and this person."""
    message, hint = "The bytes of a stored file are not what was sealed.", "Compare the data directory with a backup."
    return Untrusted("sealed_wrong", message, hint)


def _nonce(number: int, *, last: bool) -> bytes:
    return bytes(3) + struct.pack(">Q?", number, last)
