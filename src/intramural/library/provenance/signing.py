"""Signatures in the OpenSSF Model Signing format: a Sigstore bundle around a DSSE envelope around an in-toto statement.

The statement lists every file of a model by name and SHA-256. The library has those digests already, each from the
bytes it holds, so that making or checking a signature reads no weights: a 40 GB file is hashed once, by the pull or by
`Library.verify`. Cryptography is the `model_signing` package's. Which files must be there, under which names, and what
may be left out is decided here, because the package takes the list of ignored files from the very bundle it checks,
accepts certificates that have expired, and without roots falls back to the operating system's.

Nothing here opens a connection: Sigstore bundles are checked against a trust configuration given as a file, or not at
all. `model_signing` takes half a second to import, so it is imported where it is used.

Format: https://github.com/ossf/model-signing-spec
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from intramural.core.errors import Misasked, Untrusted
from intramural.library.blobs import parse_digest
from intramural.library.provenance.anchors import Anchors, key_fingerprint, read_certificates

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

MAX_SIGNATURE_BYTES = 4 << 20
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"

#: What the format calls a file that was signed by itself and not as part of a folder: its name is not bound.
_ALONE = "."

_GET_AGAIN = "Do not use this model. Get model and signature again from whoever made them."
_DECIDE = "Ask whoever signed it, or decide to believe that signer and put the key or certificate into `trust/`."


class NamedDigest(msgspec.Struct, frozen=True, order=True):
    """One file of a model, as a signature sees it: its name and `sha256:<64 hex>`."""

    name: str
    digest: str


class Signer(msgspec.Struct, frozen=True):
    """Who signed. `identity` is a key's fingerprint, a certificate's subject with its fingerprint, or an address."""

    kind: Literal["key", "certificate", "sigstore"]
    identity: str

    def __str__(self) -> str:
        return f"{self.kind} {self.identity}"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key in a PEM file (EC P-256, P-384 or P-521), and its certificate with the chain above it, if any."""

    key: Path
    certificate: Path | None = None
    chain: tuple[Path, ...] = ()


# making ---------------------------------------------------------------------------------------------------------------


def sign(model: str, files: Sequence[NamedDigest], key: SigningKey) -> bytes:
    """The signature bundle over `files`. `model` is only written down; what is bound are the files' names and digests.

    Raises Misasked(`bad_signing_key`) when the key cannot be read or is of another kind, Untrusted(`signature_names`).
    """
    from model_signing import manifest as statement
    from model_signing._hashing.hashing import Digest
    from model_signing._signing.signing import Payload

    _require_plain([each.name for each in files])
    items = [
        statement.FileManifestItem(path=PurePosixPath(each.name), digest=Digest("sha256", _raw(each.digest)))
        for each in files
    ]
    how = statement.SerializationType.from_args({"method": "files", "hash_type": "sha256", "allow_symlinks": False})
    signature: Any = _maker(key).sign(Payload(statement.Manifest(model, items, how)))
    text: str = signature.bundle.to_json()
    return text.encode()


def _maker(key: SigningKey) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from model_signing._signing import sign_certificate, sign_ec_key

    try:
        if key.certificate is None:
            return sign_ec_key.Signer(key.key)
        # the package cannot read an empty chain; the signer's own certificate twice says no more than once
        return sign_certificate.Signer(key.key, key.certificate, key.chain or (key.certificate,))
    # AttributeError: the package asks a key of another kind for its curve
    except (OSError, ValueError, TypeError, AttributeError, UnsupportedAlgorithm) as error:
        hint = "Give a PEM file: openssl ecparam -name prime256v1 -genkey -noout -out key.pem"
        raise Misasked("bad_signing_key", f"{key.key.name} cannot sign: {error}.", hint, param="key") from error


# checking -------------------------------------------------------------------------------------------------------------


def verify(
    bundle: bytes, files: Sequence[NamedDigest], anchors: Anchors, *, now_s: float, whole: bool = True
) -> Signer:
    """Who signed exactly `files`, whose digests the caller computed from the bytes it holds.

    What the bundle itself says about ignored files changes nothing. With `whole=False` the signer may have signed more
    files than these (a repository of which one quantisation is kept); never fewer. `now_s`: wall time, for the validity
    of certificates.

    Raises Untrusted; every reason has its own code, see `docs/trust.md`.
    """
    envelope = _parse(bundle)
    signer, payload = _signed_payload(envelope, anchors, now_s)
    signed = _resources(payload)
    if len(files) == 1 and [each.name for each in signed] == [_ALONE]:
        signed = [NamedDigest(files[0].name, signed[0].digest)]
    _compare(signed, files, whole=whole)
    return signer


def listed(bundle: bytes) -> list[NamedDigest]:
    """The files that a signature lists. Whether it is good, and whose, is for `verify` to say. Raises Untrusted."""
    payload = _parse(bundle).bundle.dsse_envelope.payload
    try:
        return _resources(base64.b64decode(payload, validate=True))
    except ValueError as error:
        raise Untrusted("signature_format", "This is not a signature of a model.", _GET_AGAIN) from error


class _Signature(msgspec.Struct):
    sig: str


class _Envelope(msgspec.Struct, rename="camel"):
    payload: str
    payload_type: str
    signatures: list[_Signature]


class _PublicKey(msgspec.Struct):
    hint: str = ""


class _Material(msgspec.Struct, rename="camel"):
    public_key: _PublicKey | None = None
    x509_certificate_chain: dict[str, Any] | None = None
    certificate: dict[str, Any] | None = None
    tlog_entries: list[Any] = []


class _Bundle(msgspec.Struct, rename="camel"):
    media_type: str
    verification_material: _Material
    dsse_envelope: _Envelope


@dataclass(frozen=True, slots=True)
class _Parsed:
    raw: bytes
    fields: dict[str, Any]
    bundle: _Bundle


def _parse(raw: bytes) -> _Parsed:
    """The bundle's outer form. Raises Untrusted(`signature_too_long`, `signature_unreadable`, `signature_format`)."""
    if len(raw) > MAX_SIGNATURE_BYTES:
        raise Untrusted("signature_too_long", "The signature is larger than any signature is.", _GET_AGAIN)
    fields = _json(raw)
    try:
        bundle = msgspec.convert(fields, _Bundle)
    except msgspec.ValidationError as error:
        raise Untrusted("signature_format", f"This is not a signature of a model: {error}.", _GET_AGAIN) from error
    if bundle.media_type != MEDIA_TYPE or bundle.dsse_envelope.payload_type != PAYLOAD_TYPE:
        message = "The signature is in another format than OpenSSF Model Signing 1.0."
        raise Untrusted("signature_format", message, "Ask for a signature made with `model_signing` 1.0 or newer.")
    if len(bundle.dsse_envelope.signatures) != 1:
        raise Untrusted("signature_format", "There must be exactly one signature in the bundle.", _GET_AGAIN)
    return _Parsed(raw, fields, bundle)


def _json(raw: bytes) -> Any:
    """Strict: a truncated text, a key given twice, or nesting without end is an error."""
    try:
        return json.loads(raw, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        message = "The signature is truncated or damaged: it is not JSON."
        raise Untrusted("signature_unreadable", message, _GET_AGAIN) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _signed_payload(parsed: _Parsed, anchors: Anchors, now_s: float) -> tuple[Signer, bytes]:
    """Who signed, and the bytes that were signed, once the cryptography agrees with some anchor."""
    material = parsed.bundle.verification_material
    if material.public_key is not None:
        return _by_key(parsed, material.public_key.hint, anchors)
    if material.x509_certificate_chain is not None and not material.tlog_entries:
        return _by_certificate(parsed, anchors, now_s)
    if material.certificate is not None or material.x509_certificate_chain is not None:
        return _by_sigstore(parsed, anchors)
    raise Untrusted("signature_format", "The signature does not say with what it was made.", _GET_AGAIN)


def _by_key(parsed: _Parsed, hint: str, anchors: Anchors) -> tuple[Signer, bytes]:
    from model_signing._signing import sign_ec_key

    for file in anchors.keys:
        fingerprint = key_fingerprint(file.read_bytes())
        if fingerprint == hint:
            return Signer("key", f"sha256:{fingerprint}"), _checked(sign_ec_key.Verifier(file), parsed)
    message = f"The signature was made with a key that is not trusted here (sha256:{hint[:64]})."
    raise Untrusted("signature_wrong_key", message, _DECIDE)


def _by_certificate(parsed: _Parsed, anchors: Anchors, now_s: float) -> tuple[Signer, bytes]:
    from cryptography import x509
    from model_signing._signing import sign_certificate
    from OpenSSL.crypto import X509StoreContextError

    bundle = _package_bundle(parsed)
    try:
        raw = [each.raw_bytes for each in bundle.bundle.verification_material.x509_certificate_chain.certificates]
        chain = [x509.load_der_x509_certificate(each) for each in raw]
        leaf = chain[0]
    except (ValueError, IndexError) as error:
        raise Untrusted("signature_format", "The signature's certificates cannot be read.", _GET_AGAIN) from error
    roots = [file for file in anchors.roots if _all_valid(read_certificates(file.read_bytes()), now_s)]
    if not roots:  # given none, the package would take the operating system's
        raise _foreign("No certificate authority is trusted here, or its certificate has expired.")
    _require_use(leaf)
    try:
        payload = _checked(sign_certificate.Verifier(roots), parsed)
    except X509StoreContextError as error:
        raise _foreign(f"Nobody trusted here vouches for the signer's certificate: {error}.") from error
    if not _all_valid(chain, now_s):
        # There is no trusted time in such a signature: one made with a stolen, expired key would look the same.
        message = f"The signer's certificate is not valid now (it was until {leaf.not_valid_after_utc:%Y-%m-%d})."
        raise Untrusted("signature_expired", message, "Ask for a signature with a certificate that is valid.")
    fingerprint = hashlib.sha256(raw[0]).hexdigest()
    return Signer("certificate", f"{leaf.subject.rfc4514_string()} sha256:{fingerprint}"), payload


def _by_sigstore(parsed: _Parsed, anchors: Anchors) -> tuple[Signer, bytes]:
    if anchors.trust_config is None or not anchors.identities:
        message = "The signature needs Sigstore's roots, and none are given here."
        hint = "Put Sigstore's trust configuration and the identities to believe into `trust/`; see docs/trust.md."
        raise Untrusted("signature_no_sigstore", message, hint)
    from model_signing._signing import sign_sigstore
    from sigstore.errors import Error
    from sigstore.models import Bundle, InvalidBundle

    reason: Exception | None = None
    for each in anchors.identities:
        try:
            verifier = sign_sigstore.Verifier(
                identity=each.identity, oidc_issuer=each.issuer, trust_config=anchors.trust_config
            )
            signature = sign_sigstore.Signature(Bundle.from_json(parsed.raw))
            kind, payload = verifier._verify_signed_content(signature)
        except (Error, InvalidBundle, ValueError) as error:
            reason = error
            continue
        _require_statement(kind)
        return Signer("sigstore", f"{each.identity} ({each.issuer})"), payload
    raise Untrusted("signature_sigstore", f"Sigstore's proof does not hold: {reason}.", _DECIDE) from reason


def _checked(verifier: Any, parsed: _Parsed) -> bytes:
    """The bytes whose signature the package checked. Raises Untrusted(`signature_invalid`)."""
    from cryptography.exceptions import InvalidSignature

    try:
        # Not its public `verify`: that returns a table of names, in which one given twice is there once.
        kind, payload = verifier._verify_signed_content(_package_bundle(parsed))
    except (InvalidSignature, ValueError, TypeError, AttributeError) as error:  # the last two: a key of another kind
        message = "The signature does not belong to what it claims to sign."
        raise Untrusted("signature_invalid", message, _GET_AGAIN) from error
    _require_statement(kind)
    return bytes(payload)


def _package_bundle(parsed: _Parsed) -> Any:
    from model_signing._signing.sign_sigstore_pb import Signature
    from sigstore_models.bundle.v1 import Bundle

    material = {"tlogEntries": [], **parsed.fields["verificationMaterial"]}
    try:
        return Signature(Bundle.from_dict({**parsed.fields, "verificationMaterial": material}))
    except ValueError as error:
        raise Untrusted("signature_format", "This is not a signature of a model.", _GET_AGAIN) from error


def _require_statement(kind: str) -> None:
    if kind != PAYLOAD_TYPE:
        raise Untrusted("signature_format", f"What was signed is {kind[:80]!r}, not a statement.", _GET_AGAIN)


def _require_use(leaf: "Certificate") -> None:
    """An authority of an institution also certifies web servers: those may not sign models."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    try:
        uses = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    except ValueError as error:
        raise Untrusted("signature_format", "The signer's certificate cannot be read.", _GET_AGAIN) from error
    if ExtendedKeyUsageOID.CODE_SIGNING not in uses:
        message = "The signer's certificate is for another use than signing."
        raise Untrusted("signature_wrong_use", message, "Ask for a signature with a code-signing certificate.")


def _all_valid(chain: "Sequence[Certificate]", now_s: float) -> bool:
    return all(each.not_valid_before_utc.timestamp() <= now_s <= each.not_valid_after_utc.timestamp() for each in chain)


def _foreign(message: str) -> Untrusted:
    return Untrusted("signature_foreign_root", message, _DECIDE)


# what was signed ------------------------------------------------------------------------------------------------------


class _Digest(msgspec.Struct):
    sha256: str


class _Subject(msgspec.Struct):
    digest: _Digest
    name: str = ""


class _Resource(msgspec.Struct):
    name: str
    algorithm: str
    digest: str


class _Serialization(msgspec.Struct):
    method: str
    hash_type: str


class _Predicate(msgspec.Struct):
    serialization: _Serialization
    resources: list[_Resource]


class _Statement(msgspec.Struct, rename={"type": "_type", "predicate_type": "predicateType"}):
    type: str
    predicate_type: str
    subject: list[_Subject]
    predicate: dict[str, Any]


def _resources(payload: bytes) -> list[NamedDigest]:
    """The files that a statement lists. Raises Untrusted(`signature_predicate`, `signature_statement`, …)."""
    try:
        statement = msgspec.convert(_json(payload), _Statement)
        if statement.type != STATEMENT_TYPE or statement.predicate_type != PREDICATE_TYPE:
            message = (
                f"The signature says something else than which files a model has: {statement.predicate_type[:80]!r}."
            )
            raise Untrusted(
                "signature_predicate", message, "Ask for a signature made with `model_signing` 1.0 or newer."
            )
        predicate = msgspec.convert(statement.predicate, _Predicate)
    except msgspec.ValidationError as error:
        raise Untrusted("signature_statement", f"What was signed is malformed: {error}.", _GET_AGAIN) from error
    how = (predicate.serialization.method, predicate.serialization.hash_type)
    if how != ("files", "sha256") or any(each.algorithm != "sha256" for each in predicate.resources):
        message = f"The signature uses {how[1][:40]!r} over {how[0][:40]!r}; here it must be SHA-256 over whole files."
        raise Untrusted("signature_digests", message, "Ask for a signature made with the package's default settings.")
    listed = [NamedDigest(each.name, parse_digest(f"sha256:{each.digest}")) for each in predicate.resources]
    if [each.name for each in listed] != [_ALONE]:
        _require_plain([each.name for each in listed])
    root = hashlib.sha256(b"".join(_raw(each.digest) for each in listed)).hexdigest()
    ordered = sorted(listed, key=lambda each: PurePosixPath(each.name))
    if listed != ordered or [each.digest.sha256 for each in statement.subject] != [root]:
        message = "The files that were signed are not in the order in which they were signed."
        raise Untrusted("signature_order", message, _GET_AGAIN)
    return listed


def _require_plain(names: Sequence[str]) -> None:
    """Names inside one folder: no way out of it, none twice, nothing that a file manager hides."""
    for name in names:
        parts = name.split("/")
        if (
            any(part in ("", "..") or part.startswith(".git") or part == "." for part in parts)
            or not name.isprintable()
        ):
            raise Untrusted("signature_names", f"{name[:80]!r} cannot be a file of a model.", _GET_AGAIN)
    if len(set(names)) != len(names) or not names:
        raise Untrusted("signature_names", "The files of the model are not each named once.", _GET_AGAIN)


def _compare(signed: Sequence[NamedDigest], here: Sequence[NamedDigest], *, whole: bool) -> None:
    """Raises Untrusted unless the files here are those that were signed, neither more nor (if `whole`) fewer."""
    expected = {each.name: each.digest for each in signed}
    found = {each.name: each.digest for each in here}
    extra, absent = sorted(found.keys() - expected.keys()), sorted(expected.keys() - found.keys())
    for name in sorted(found.keys() & expected.keys()):
        if found[name] != expected[name]:
            message = f"{name} is not the file that was signed: it has another digest."
            raise Untrusted("signature_mismatch", message, _GET_AGAIN)
    for name in extra:
        was = next((each for each in absent if expected[each] == found[name]), None)
        if was is not None:
            message = f"{name} was signed under another name, {was}."
            raise Untrusted("signature_renamed_file", message, "Give the file its own name again.")
        raise Untrusted("signature_extra_file", f"{name} is not among the files that were signed.", _GET_AGAIN)
    if absent and (whole or not found):
        raise Untrusted("signature_missing_file", f"{absent[0]} was signed and is not here.", _GET_AGAIN)


def _raw(digest: str) -> bytes:
    return bytes.fromhex(parse_digest(digest).removeprefix("sha256:"))
