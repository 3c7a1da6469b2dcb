"""The log's secrets, files of their own in the secrets directory: who holds one can sign, or open commitments."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from intramural.audit.checkpoint import Signer, is_name
from intramural.audit.cosignature import Cosigner, has_ml_dsa
from intramural.core.clock import Clock
from intramural.core.durable import make_whole
from intramural.core.errors import Misasked, Untrusted

SIGNING_KEY_FILE = "audit-ed25519.pem"
SECOND_KEY_FILE = "audit-mldsa44.pem"
TEXT_KEY_FILE = "audit-text.key"
TEXT_KEY_BYTES = 32


def signing_key(secrets_dir: Path, *, make: bool) -> Ed25519PrivateKey:
    """The key that signs checkpoints (PKCS #8 PEM). Where it is missing it is made, or, without `make`, refused.

    Raises Untrusted(`audit_key_missing`|`secret_exposed`|`secret_damaged`).
    """
    return _ed25519(secrets_dir / SIGNING_KEY_FILE, make=make)


def second_signer(secrets_dir: Path, origin: str) -> tuple[Cosigner | None, bool]:
    """Who signs the checkpoints that are handed out a second time, with ML-DSA-44; and whether that key was made now,
    as it is where there is none: logs of older versions get theirs at the first start. None: the library that computes
    signatures here does not know ML-DSA-44. Raises Untrusted(`secret_exposed`|`secret_damaged`).
    """
    if not has_ml_dsa():
        return None, False
    file = secrets_dir / SECOND_KEY_FILE
    is_new = not file.exists()
    return Cosigner.ml_dsa(origin, _ml_dsa(file)), is_new


def witness_signers(folder: Path, name: str) -> tuple[Cosigner, ...]:
    """With what the witness in `folder` signs, made on first use: Ed25519, and ML-DSA-44 where it is known.

    Raises Untrusted(`secret_exposed`|`secret_damaged`), Misasked(`bad_setting`).
    """
    if not is_name(name):
        raise Misasked("bad_setting", f"{name[:80]!r} is no name for a witness.", "No spaces, no `+`, not empty.")
    first = Cosigner.ed25519(name, _ed25519(folder / "witness-ed25519.pem", make=True))
    return (first, Cosigner.ml_dsa(name, _ml_dsa(folder / "witness-mldsa44.pem"))) if has_ml_dsa() else (first,)


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


def public_keys(secrets_dir: Path, origin: str) -> tuple[str, str | None]:
    """Both public keys in the C2SP form; the second is None where there is none yet. Raises as `signing_key`."""
    has_second = (secrets_dir / SECOND_KEY_FILE).exists()
    second = second_signer(secrets_dir, origin)[0] if has_second else None
    return public_key(secrets_dir, origin), None if second is None else str(second.key)


def _ed25519(file: Path, *, make: bool) -> Ed25519PrivateKey:
    def fresh() -> bytes:
        return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    key = _private(_read_or_make(file, fresh if make else None))
    if not isinstance(key, Ed25519PrivateKey):
        raise Untrusted("secret_damaged", f"{file} holds no Ed25519 key.", "Restore it from a backup.")
    return key


def _ml_dsa(file: Path) -> MLDSA44PrivateKey:
    def fresh() -> bytes:
        return MLDSA44PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    key = _private(_read_or_make(file, fresh))
    if not isinstance(key, MLDSA44PrivateKey):
        raise Untrusted("secret_damaged", f"{file} holds no ML-DSA-44 key.", "Restore it from a backup.")
    return key


def _private(data: bytes) -> object:
    """A private key in PEM; None: it is none that is known here."""
    try:
        return load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


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
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    make_whole(file, fresh())  # two starting processes agree on the first one's
    return _read(file)


def _read(file: Path) -> bytes:
    with file.open("rb") as open_file:
        if stat.S_IMODE(os.fstat(open_file.fileno()).st_mode) & 0o077:
            raise Untrusted("secret_exposed", f"{file} can be read by others.", f"Run: chmod 600 {file}")
        return open_file.read()
