"""Whom this machine believes: keys and certificates that somebody here decided on beforehand, as files in one folder.

`*.pem` with a public key or with certificates (roots of the institution's or a publisher's own authority), and for
Sigstore `sigstore.json` (a client trust configuration) beside `sigstore-identities.json` (a list of objects with
`identity` and `issuer`). An empty folder means that nobody is believed; the operating system's list of authorities is
never consulted.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from intramural.core.errors import Misasked

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.x509 import Certificate

TRUST_CONFIG = "sigstore.json"
IDENTITIES = "sigstore-identities.json"


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A Sigstore identity to believe: as in `ci@example.org`, vouched for by the OpenID issuer at `issuer`."""

    identity: str
    issuer: str


@dataclass(frozen=True, slots=True)
class Anchors:
    """What is believed. `keys` and `roots` are PEM files that were read once to see that they are in order."""

    keys: tuple[Path, ...] = ()
    roots: tuple[Path, ...] = ()
    trust_config: Path | None = None
    identities: tuple[Identity, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.keys or self.roots or (self.trust_config and self.identities))


def read_anchors(folder: Path) -> Anchors:
    """The anchors in `folder`, none if there is no such folder. Raises Misasked(`bad_anchor`) naming the file."""
    if not folder.is_dir():
        return Anchors()
    config, identities = folder / TRUST_CONFIG, folder / IDENTITIES
    given = anchors_from(sorted(folder.glob("*.pem")))
    if not config.is_file():
        return given
    try:
        known = msgspec.json.decode(identities.read_bytes(), type=tuple[Identity, ...])
    except (OSError, msgspec.DecodeError) as error:
        raise _bad(identities, error) from error
    return Anchors(given.keys, given.roots, config, known)


def anchors_from(files: Sequence[Path]) -> Anchors:
    """The anchors in PEM files. Raises Misasked(`bad_anchor`) naming the file at fault."""
    keys, roots = [], []
    for file in files:
        try:
            pem = file.read_bytes()
            if b"-----BEGIN CERTIFICATE-----" in pem:
                read_certificates(pem)
                roots.append(file)
            else:
                read_key(pem)
                keys.append(file)
        except (OSError, ValueError) as error:
            raise _bad(file, error) from error
    return Anchors(tuple(keys), tuple(roots))


def read_key(pem: bytes) -> "EllipticCurvePublicKey":
    """An EC public key. Raises ValueError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = serialization.load_pem_public_key(pem)
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in ("secp256r1", "secp384r1", "secp521r1"):
        raise ValueError("it is not an EC key on P-256, P-384 or P-521")
    return key


def read_certificates(pem: bytes) -> "list[Certificate]":
    """Certificates in PEM. Raises ValueError."""
    from cryptography import x509

    return x509.load_pem_x509_certificates(pem)


def key_fingerprint(pem: bytes) -> str:
    """SHA-256 of the key as PEM, 64 hexadecimal digits: the hint that a signature carries. Raises ValueError."""
    from cryptography.hazmat.primitives import serialization

    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(read_key(pem).public_bytes(serialization.Encoding.PEM, form)).hexdigest()


def _bad(file: Path, error: Exception) -> Misasked:
    hint = "It must be PEM: an EC public key, or certificates. Mend it or take it out of the folder."
    return Misasked("bad_anchor", f"{file.name} cannot be used as a trust anchor: {error}.", hint, param="trust")
