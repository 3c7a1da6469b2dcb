"""A provider's public keys (RFC 7517): which of them may verify which token."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from intramural.access.oidc.refusal import TokenRefused

if TYPE_CHECKING:
    from joserfc.jwk import Key

#: A provider that rotates has two or three; a list without end is no list of keys.
MAX_KEYS = 64
#: Of an RSA modulus of 2,048 bits and of 16,384 (which takes long enough to compute with) in base64url.
_RSA_CHARS = (342, 2731)
_FAMILY: Mapping[str, str] = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_CURVES: Mapping[str, tuple[str, ...]] = {
    "ES256": ("P-256",), "ES384": ("P-384",), "ES512": ("P-521",), "EdDSA": ("Ed25519", "Ed448"),
    "Ed25519": ("Ed25519",),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One key that may verify. `algorithm`: the only one that it is for, where it says so."""

    id: str | None
    kind: str
    curve: str | None
    algorithm: str | None
    key: "Key"


def read_keys(document: object) -> tuple[PublicKey, ...]:
    """The usable keys of a JWK set. Secret, weak and foreign kinds of keys, and those for encryption, are left out.

    Raises TokenRefused(`keys`) where it is no such set, or none of it is of use.
    """
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise TokenRefused("keys", "What the provider publishes is no list of keys.")
    found = tuple(key for each in listed if (key := _read(each)) is not None)
    if not found:
        raise TokenRefused("keys", "None of the provider's keys can verify a token here.")
    return found


def choose(keys: Sequence[PublicKey], algorithm: str, key_id: str | None) -> PublicKey | None:
    """The one key that may verify a token with this header, None if there is no such key, or no telling which."""
    fitting = [
        key
        for key in keys
        if key.kind == _FAMILY.get(algorithm[:2])
        and key.algorithm in (None, algorithm)
        and key.curve in _CURVES.get(algorithm, (None,))
        and (key_id is None or key.id == key_id)
    ]
    return fitting[0] if len(fitting) == 1 else None


def _read(given: Any) -> PublicKey | None:
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    if not isinstance(given, dict) or given.get("use", "sig") != "sig" or "d" in given:
        return None
    operations = given.get("key_ops", ["verify"])
    kinds: Mapping[Any, Any] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
    kind, key_id, algorithm = str(given.get("kty")), given.get("kid"), given.get("alg")
    if kind not in kinds or not isinstance(operations, list) or "verify" not in operations:
        return None
    if not isinstance(key_id, str | None) or not isinstance(algorithm, str | None):
        return None
    if kind == "RSA" and not _RSA_CHARS[0] <= len(str(given.get("n", "")).lstrip("A")) <= _RSA_CHARS[1]:
        return None
    try:
        key = kinds[kind].import_key(given)
        assert key.public_key is not None, "a key that is no key shows when it is built"
    except (JoseError, ValueError, TypeError):
        return None
    curve = given.get("crv") if kind in ("EC", "OKP") else None
    return PublicKey(key_id, kind, curve, algorithm, key)
