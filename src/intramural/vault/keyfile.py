"""The installation's key: a file in the secrets directory, in clear (0600) or locked with a passphrase.

The key itself is 32 random bytes. Locked, they are sealed with AES-256-GCM under a key that argon2id makes of the
passphrase and a salt: whoever has the file alone has nothing. Another one lies beside it, in `.next`, while data keys
are being wrapped anew. Everything here blocks.
"""

import base64
import binascii
import os
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from intramural.core.clock import Clock
from intramural.core.config import VaultConfig
from intramural.core.errors import Misasked, Untrusted
from intramural.vault.envelope import KEY_BYTES, WrappingKey

KEY_FILE = "vault.key"
NEXT = ".next"
_SALT_BYTES, _NONCE_BYTES = 16, 12
#: What argon2id may cost once per start: 64 MiB, three passes (RFC 9106's second recommendation), on one lane.
_MEMORY_KIB, _PASSES = 65_536, 3


class _Stored(msgspec.Struct):
    """The file: `locked_by` is nothing or `passphrase`."""

    key: str
    locked_by: str = ""
    salt: str = ""
    v: int = 1


class KeyFile:
    """Reads, makes and exchanges the installation's key."""

    def __init__(self, secrets_dir: Path, config: VaultConfig, clock: Clock) -> None:
        self._file = secrets_dir / KEY_FILE
        self._next = secrets_dir / (KEY_FILE + NEXT)
        self._passphrase_file = Path(config.passphrase_file) if config.passphrase_file else None
        self._clock = clock

    def current(self, *, make: bool) -> WrappingKey:
        """The key. Where it is missing it is made, or, without `make`, refused.

        Raises Untrusted(`vault_key_missing`|`secret_exposed`|`secret_damaged`|`passphrase_wrong`), Misasked.
        """
        if not self._file.exists():
            if not make:
                raise Untrusted(
                    "vault_key_missing",
                    f"What people wrote is sealed, but the key {self._file} is gone.",
                    "Restore it from a backup; a new key could open none of it.",
                )
            self._write(self._file, self._clock.token_bytes(KEY_BYTES))
        return WrappingKey(self._read(self._file))

    def following(self, *, make: bool = False) -> WrappingKey | None:
        """The key that takes the place of the current one; None where none was made."""
        if make and not self._next.exists():
            self._write(self._next, self._clock.token_bytes(KEY_BYTES))
        return WrappingKey(self._read(self._next)) if self._next.exists() else None

    def exchange(self) -> None:
        """The next key is the current one, and the one before is gone."""
        self._next.replace(self._file)
        _sync(self._file.parent)

    def _read(self, file: Path) -> bytes:
        with file.open("rb") as opened:
            if os.fstat(opened.fileno()).st_mode & 0o077:
                raise Untrusted("secret_exposed", f"{file} can be read by others.", f"Run: chmod 600 {file}")
            data = opened.read()
        try:
            stored = msgspec.json.decode(data, type=_Stored)
            key = base64.b64decode(stored.key, validate=True)
            if stored.locked_by == "passphrase":
                key = _unlocked(key, self._passphrase(file), base64.b64decode(stored.salt, validate=True))
        except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error):
            key = b""
        if len(key) != KEY_BYTES:
            raise Untrusted("secret_damaged", f"{file} holds no key of this service.", "Restore it from a backup.")
        return key

    def _write(self, file: Path, key: bytes) -> None:
        if self._passphrase_file is None:
            stored = _Stored(base64.b64encode(key).decode())
        else:
            salt = self._clock.token_bytes(_SALT_BYTES)
            nonce = self._clock.token_bytes(_NONCE_BYTES)
            sealed = nonce + AESGCM(_stretched(self._passphrase(file), salt)).encrypt(nonce, key, b"vault.key")
            stored = _Stored(base64.b64encode(sealed).decode(), "passphrase", base64.b64encode(salt).decode())
        _place(file, msgspec.json.encode(stored) + b"\n")

    def _passphrase(self, file: Path) -> bytes:
        if self._passphrase_file is None:
            raise Misasked(
                "passphrase_needed",
                f"{file} is locked with a passphrase.",
                "Name the file that holds it in vault.passphrase_file.",
            )
        try:
            passphrase = self._passphrase_file.read_bytes().strip()
        except OSError as error:
            message = f"The passphrase file {self._passphrase_file} cannot be read: {error.strerror}."
            raise Misasked("passphrase_needed", message, "Check vault.passphrase_file.") from None
        if not passphrase:
            raise Misasked("passphrase_needed", "The passphrase is empty.", "Check vault.passphrase_file.")
        return passphrase


def _unlocked(sealed: bytes, passphrase: bytes, salt: bytes) -> bytes:
    try:
        aead = AESGCM(_stretched(passphrase, salt))
        return aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], b"vault.key")
    except (InvalidTag, ValueError):
        message = "The installation's key does not open with that passphrase."
        raise Untrusted("passphrase_wrong", message, "Check vault.passphrase_file.") from None


def _stretched(passphrase: bytes, salt: bytes) -> bytes:
    from argon2.low_level import Type, hash_secret_raw

    return hash_secret_raw(passphrase, salt, _PASSES, _MEMORY_KIB, 1, KEY_BYTES, Type.ID)


def _place(file: Path, data: bytes) -> None:
    """Write `file` whole or not at all (0600), durable with its name."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        part.replace(file)
        _sync(file.parent)
    finally:
        part.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
