"""The log's two secrets, files of their own in the secrets directory: who holds one can sign, or open commitments."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from intramural.audit.checkpoint import Signer
from intramural.core.clock import Clock
from intramural.core.errors import Untrusted

SIGNING_KEY_FILE = "audit-ed25519.pem"
TEXT_KEY_FILE = "audit-text.key"
TEXT_KEY_BYTES = 32


def signing_key(secrets_dir: Path, *, make: bool) -> Ed25519PrivateKey:
    """The key that signs checkpoints (PKCS #8 PEM). Where it is missing it is made, or, without `make`, refused.

    Raises Untrusted(`audit_key_missing`|`secret_exposed`|`secret_damaged`).
    """

    def fresh() -> bytes:
        return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    file = secrets_dir / SIGNING_KEY_FILE
    data = _read_or_make(file, fresh if make else None)
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise Untrusted("secret_damaged", f"{file} holds no Ed25519 key.", "Restore it from a backup.")
    return key


def text_key(secrets_dir: Path, clock: Clock) -> bytes:
    """The key from which the salts of text commitments are derived (32 bytes), made on first use."""
    file = secrets_dir / TEXT_KEY_FILE
    data = _read_or_make(file, lambda: clock.token_bytes(TEXT_KEY_BYTES))
    if len(data) != TEXT_KEY_BYTES:
        raise Untrusted("secret_damaged", f"{file} does not hold {TEXT_KEY_BYTES} bytes.", "Restore it from a backup.")
    return data


def public_key(secrets_dir: Path, origin: str) -> str:
    """The log's public key in the C2SP form, to hand to whoever verifies. Raises as `signing_key` does."""
    return str(Signer(origin, signing_key(secrets_dir, make=False)).verifier)


def log_signer(secrets_dir: Path, origin: str) -> Signer:
    """Signs in the log's name. Raises as `signing_key` does."""
    return Signer(origin, signing_key(secrets_dir, make=False))


def _read_or_make(file: Path, fresh: Callable[[], bytes] | None) -> bytes:
    try:
        return _read(file)
    except FileNotFoundError:
        if fresh is None:
            raise Untrusted(
                "audit_key_missing",
                f"The log has entries, but its signing key {file} is gone.",
                "Restore the key from a backup; a new key could not continue this log.",
            ) from None
    _make(file, fresh())
    return _read(file)


def _read(file: Path) -> bytes:
    with file.open("rb") as open_file:
        if stat.S_IMODE(os.fstat(open_file.fileno()).st_mode) & 0o077:
            raise Untrusted("secret_exposed", f"{file} can be read by others.", f"Run: chmod 600 {file}")
        return open_file.read()


def _make(file: Path, data: bytes) -> None:
    """Write `file` whole or not at all, never over another: two starting processes agree on the first one's bytes."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as open_file:
            open_file.write(data)
            open_file.flush()
            os.fsync(open_file.fileno())
        _link(part, file)
    finally:
        part.unlink(missing_ok=True)


def _link(part: Path, file: Path) -> None:
    try:
        file.hardlink_to(part)
    except FileExistsError:
        return  # somebody else was first; theirs counts
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
