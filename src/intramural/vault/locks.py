"""What locks the installation's key, as it lies in its file: nothing, a passphrase, a keyring, or a token.

A lock gives the fields of that file and takes them back; the key itself is the same 32 bytes under each. Whichever it
is, the open key is in this process's memory while the service runs. Everything here blocks.
"""

from pathlib import Path
from typing import Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from intramural.core.clock import Clock
from intramural.core.errors import Misasked, Untrusted
from intramural.vault.envelope import KEY_BYTES

SALT_BYTES, NONCE_BYTES = 16, 12
#: What a sealed key is bound to.
BOUND = b"vault.key"
#: What argon2id may cost once per start: 64 MiB, three passes (RFC 9106's second recommendation), on one lane.
_MEMORY_KIB, _PASSES = 65_536, 3


class Locked(msgspec.Struct, frozen=True):
    """The file. `locked_by` is nothing or the name of a lock; `of`: where that finds what opens it again."""

    key: bytes
    locked_by: str = ""
    salt: bytes = b""
    of: dict[str, str] = {}
    v: int = 1


class Lock(Protocol):
    """One way to keep the key."""

    def lock(self, key: bytes) -> Locked:
        """`key` as it is written down. Raises an IntramuralError that says what is missing; then nothing changed."""
        ...

    def unlock(self, locked: Locked) -> bytes:
        """The key again. Raises an IntramuralError that says whose fault it is and what to try."""
        ...

    def drop(self, locked: Locked) -> None:
        """The file is gone: so shall be what opened it, where that lies elsewhere. Never raises."""
        ...


class Clear:
    """Not locked: whoever reads the file has the key."""

    def lock(self, key: bytes) -> Locked:
        return Locked(key)

    def unlock(self, locked: Locked) -> bytes:
        return locked.key

    def drop(self, locked: Locked) -> None:
        pass


class Passphrase:
    """Sealed under what argon2id makes of a passphrase: whoever has the file alone has nothing."""

    def __init__(self, file: Path | None, clock: Clock) -> None:
        self._file = file
        self._clock = clock

    def lock(self, key: bytes) -> Locked:
        salt = self._clock.token_bytes(SALT_BYTES)
        return Locked(sealed(_stretched(self._passphrase(), salt), key, self._clock), "passphrase", salt)

    def unlock(self, locked: Locked) -> bytes:
        """Raises Misasked(`passphrase_needed`), Untrusted(`passphrase_wrong`)."""
        try:
            return opened(_stretched(self._passphrase(), locked.salt), locked.key)
        except InvalidTag:
            message = "The installation's key does not open with that passphrase."
            raise Untrusted("passphrase_wrong", message, "Check vault.passphrase_file.") from None

    def drop(self, locked: Locked) -> None:
        pass

    def _passphrase(self) -> bytes:
        if self._file is None:
            raise Misasked(
                "passphrase_needed",
                "The installation's key is locked with a passphrase.",
                "Name the file that holds it in vault.passphrase_file.",
            )
        try:
            passphrase = self._file.read_bytes().strip()
        except OSError as error:
            message = f"The passphrase file {self._file} cannot be read: {error.strerror}."
            raise Misasked("passphrase_needed", message, "Check vault.passphrase_file.") from None
        if not passphrase:
            raise Misasked("passphrase_needed", "The passphrase is empty.", "Check vault.passphrase_file.")
        return passphrase


def sealed(secret: bytes, key: bytes, clock: Clock) -> bytes:
    """`key` under `secret` (32 bytes): nonce, then AES-256-GCM."""
    nonce = clock.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(secret).encrypt(nonce, key, BOUND)


def opened(secret: bytes, data: bytes) -> bytes:
    """What `sealed` gave. Raises cryptography's InvalidTag."""
    if len(data) < NONCE_BYTES:
        raise InvalidTag
    return AESGCM(secret).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], BOUND)


def _stretched(passphrase: bytes, salt: bytes) -> bytes:
    from argon2.low_level import Type, hash_secret_raw

    return hash_secret_raw(passphrase, salt, _PASSES, _MEMORY_KIB, 1, KEY_BYTES, Type.ID)
