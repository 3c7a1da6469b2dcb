"""Reading a catalogue: the one that came with the product, or the institution's own. Its signature is checked here.

A catalogue `NAME` has its signature beside it in `NAME.sig`: Ed25519 over `DOMAIN` and the file's bytes, in base64. The
product's own is checked against the key that came with it, which shows that the two belong together; an institution's
own against the key in its settings, or shown as unsigned where none is set.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from intramural.core.errors import Misasked, Untrusted
from intramural.library.catalogue.entries import Catalogue, parse

#: Signed before the file's bytes, so that a signature for something else never fits.
DOMAIN = b"intramural catalogue v1\n"
MAX_BYTES = 16 << 20
_HERE = Path(__file__).parent
BUILT_IN = _HERE / "catalogue.json"
BUILT_IN_KEY = _HERE / "catalogue.pem"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A catalogue, where it came from, and who signed it (None: nobody whose key is known here)."""

    catalogue: Catalogue
    source: Literal["built in", "institution"]
    signed_by: str | None


def load_catalogue(own: Path | None = None, own_key: Path | None = None) -> Loaded:
    """The institution's catalogue at `own`, signed with `own_key` if there is one; without `own` the built-in one.

    Raises Misasked(`bad_setting`) for files that cannot be read, Untrusted(`catalogue_unsigned`,
    `catalogue_signature_wrong`, `catalogue_malformed`).
    """
    path, key = (own, own_key) if own else (BUILT_IN, BUILT_IN_KEY)
    data = _read(path)
    if key is None:
        return Loaded(parse(data), "institution", None)
    public = _public_key(key)
    _check(path, data, public)
    catalogue = parse(data)
    fingerprint = hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]
    return Loaded(catalogue, "institution" if own else "built in", f"{catalogue.name} (ed25519 {fingerprint})")


def signature(data: bytes, key: Ed25519PrivateKey) -> str:
    """The text of the signature file for a catalogue's bytes."""
    return base64.b64encode(key.sign(DOMAIN + data)).decode() + "\n"


def _check(path: Path, data: bytes, public: Ed25519PublicKey) -> None:
    beside = path.with_name(path.name + ".sig")
    if not beside.exists():
        raise Untrusted(
            "catalogue_unsigned", f"The catalogue {path} has no signature beside it.", f"It belongs in {beside.name}."
        )
    try:
        public.verify(base64.b64decode(_read(beside).strip(), validate=True), DOMAIN + data)
    except (InvalidSignature, binascii.Error, ValueError):
        raise Untrusted(
            "catalogue_signature_wrong",
            f"The signature of the catalogue {path} does not fit it.",
            "Get both files again from where they came from, or correct library.catalogue_key.",
        ) from None


def _public_key(path: Path) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise Misasked("bad_setting", f"{path} holds no Ed25519 public key.", "It is a PEM file.")
    return key


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or "it cannot be opened"
        raise Misasked("bad_setting", f"{path} cannot be read: {reason}.", "Correct the library settings.") from None
    if len(data) > MAX_BYTES:
        raise Misasked("bad_setting", f"{path} is larger than a catalogue may be.", "Is it the right file?")
    return data
