"""The installation's key: a file in the secrets directory (0600), in clear or locked (`locks`).

The key itself is 32 random bytes. Another one lies beside it, in `.next`, while data keys are being wrapped anew: it
has the lock that the settings ask for now, so that moving to another lock is a change of the key like any other.
Everything here blocks.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

import msgspec

from intramural.core.clock import Clock
from intramural.core.config import VaultConfig, VaultLock
from intramural.core.durable import sync_folder, write_whole
from intramural.core.errors import Misasked, Untrusted
from intramural.vault.envelope import KEY_BYTES, WrappingKey
from intramural.vault.locks import Clear, Lock, Locked, Passphrase

KEY_FILE = "vault.key"
NEXT = ".next"
_PART = ".part"
LOCKS: tuple[VaultLock, ...] = get_args(VaultLock)


class KeyFile:
    """Reads, makes and exchanges the installation's key."""

    def __init__(self, secrets_dir: Path, config: VaultConfig, clock: Clock) -> None:
        self._file = secrets_dir / KEY_FILE
        self._next = secrets_dir / (KEY_FILE + NEXT)
        self._locks = _locks(config, clock)
        self._wanted = _wanted(config)
        self._clock = clock

    def current(self, *, make: bool) -> WrappingKey:
        """The key. Where it is missing it is made, or, without `make`, refused.

        Raises Untrusted(`vault_key_missing`|`secret_exposed`|`secret_damaged`), and as its lock does.
        """
        for left in self._file.parent.glob(f".{KEY_FILE}*{_PART}"):  # a key that a crash kept from its place
            left.unlink()
        if not self._file.exists():
            if not make:
                raise Untrusted(
                    "vault_key_missing",
                    f"What people wrote is sealed, but the key {self._file} is gone.",
                    "Put your copy of it there (a backup has it if made with --with-key); a new one opens nothing.",
                )
            self._write(self._file, self._clock.token_bytes(KEY_BYTES))
        return WrappingKey(self._read(self._file))

    def following(self, *, make: bool = False) -> WrappingKey | None:
        """The key that takes the place of the current one; None where none was made."""
        if make and not self._next.exists():
            self._write(self._next, self._clock.token_bytes(KEY_BYTES))
        return WrappingKey(self._read(self._next)) if self._next.exists() else None

    def locked_by(self) -> str:
        """The name of the lock of the current key, as its file has it; empty: none. Raises Untrusted."""
        return self._stored(self._file).locked_by

    def exchange(self) -> None:
        """The next key is the current one, and the one before is gone, with what a keyring kept for it."""
        before = self._stored(self._file)
        self._next.replace(self._file)
        sync_folder(self._file.parent)
        self._lock(before).drop(before)

    def _read(self, file: Path) -> bytes:
        stored = self._stored(file)
        key = self._lock(stored).unlock(stored)
        if len(key) != KEY_BYTES:
            raise _damaged(file)
        return key

    def _stored(self, file: Path) -> Locked:
        with file.open("rb") as opened:
            if os.fstat(opened.fileno()).st_mode & 0o077:
                raise Untrusted("secret_exposed", f"{file} can be read by others.", f"Run: chmod 600 {file}")
            data = opened.read()
        try:
            stored = msgspec.json.decode(data, type=Locked)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise _damaged(file) from None
        if stored.locked_by not in self._locks:
            raise _damaged(file)
        return stored

    def _lock(self, stored: Locked) -> Lock:
        return self._locks[stored.locked_by]()

    def _write(self, file: Path, key: bytes) -> None:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(file, msgspec.json.encode(self._locks[self._wanted]().lock(key)) + b"\n")


def _locks(config: VaultConfig, clock: Clock) -> Mapping[str, Callable[[], Lock]]:
    """Every lock by the name that stands in the file. Made only when needed: each has libraries of its own."""

    def keyring() -> Lock:
        from intramural.vault.keyrings import Keyring

        return Keyring(clock)

    def token() -> Lock:
        from intramural.vault.tokens import Token

        return Token(config)

    passphrase_file = Path(config.passphrase_file) if config.passphrase_file else None
    return {
        "": Clear,
        "passphrase": lambda: Passphrase(passphrase_file, clock),
        "keyring": keyring,
        "pkcs11": token,
    }


def _wanted(config: VaultConfig) -> str:
    """The name of the lock that a key written from now on gets. Raises Misasked(`bad_setting`)."""
    if config.lock == "auto":
        return "passphrase" if config.passphrase_file else ""
    if config.lock not in LOCKS:
        message = f"vault.lock: there is no {config.lock!r}."
        raise Misasked("bad_setting", message, f"It is one of {', '.join(LOCKS)}.")
    return "" if config.lock == "none" else config.lock


def _damaged(file: Path) -> Untrusted:
    return Untrusted("secret_damaged", f"{file} holds no key of this service.", "Restore it from a backup.")
