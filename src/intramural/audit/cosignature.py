"""Signatures beside the log's own on a checkpoint: by the log's second key (ML-DSA-44), and by witnesses. Pure.

Formats: c2sp.org/tlog-cosignature. A cosignature is a line of the signed note whose bytes are the key hash, a time in
seconds since 1970 (8 bytes, 0: no statement about time) and a signature over a message that the kind of key decides.
"""

import base64
import hashlib
import struct
from dataclasses import dataclass
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from intramural.audit.checkpoint import KEY_HASH_BYTES, Checkpoint, decoded, is_name, parse_body, split_note
from intramural.core.errors import Misasked, Untrusted

#: The types of C2SP signed notes that cosign: Ed25519 (cosignature/v1) and ML-DSA-44 (subtree/v1).
ED25519: Final = 0x04
ML_DSA_44: Final = 0x06
_PUBLIC_BYTES = {ED25519: 32, ML_DSA_44: 1312}
_TIME_BYTES = 8


@dataclass(frozen=True, slots=True)
class CosignerKey:
    """Whose cosignature counts. `str()` gives the C2SP form `name+hash+base64`."""

    name: str
    type: int
    public: bytes

    @classmethod
    def parse(cls, text: str) -> "CosignerKey":
        """Read the C2SP form. Raises Misasked(`bad_witness_key`)."""
        name, _, rest = text.partition("+")
        hash_, _, encoded = rest.partition("+")
        data = decoded(encoded) or b"\0"
        if _PUBLIC_BYTES.get(data[0]) != len(data) - 1 or not is_name(name):
            raise Misasked("bad_witness_key", "That is not a public key of a witness.", "It looks like name+hash+key.")
        key = cls(name, data[0], data[1:])
        if key.hash.hex() != hash_:
            raise Misasked("bad_witness_key", "The public key does not match its own hash.", "Copy it again, whole.")
        return key

    @property
    def hash(self) -> bytes:
        """The four bytes that name the key in a signature line."""
        return hashlib.sha256(self.name.encode() + b"\n" + self._typed).digest()[:KEY_HASH_BYTES]

    @property
    def fingerprint(self) -> str:
        """`sha256:<hex>` of the public key: short enough for a log entry."""
        return f"sha256:{hashlib.sha256(self.public).hexdigest()}"

    @property
    def _typed(self) -> bytes:
        return bytes([self.type]) + self.public

    def __str__(self) -> str:
        return f"{self.name}+{self.hash.hex()}+{base64.b64encode(self._typed).decode()}"

    def time_of(self, note: str) -> int | None:
        """When this key cosigned `note`, in seconds since 1970 (0: it does not say); None: it did not.

        Raises Untrusted(`audit_note_malformed`|`audit_note_unsigned`), also for one bad signature among good ones.
        """
        text, lines = split_note(note)
        checkpoint = parse_body(text)
        found: int | None = None
        for name, data in lines:
            if (name, data[:KEY_HASH_BYTES]) == (self.name, self.hash):
                found = self._checked(checkpoint, data[KEY_HASH_BYTES:])
        return found

    def _checked(self, checkpoint: Checkpoint, data: bytes) -> int:
        time_s = int.from_bytes(data[:_TIME_BYTES], "big")
        message = cosigned_message(self.type, self.name, checkpoint, time_s)
        try:
            if self.type == ED25519:
                Ed25519PublicKey.from_public_bytes(self.public).verify(data[_TIME_BYTES:], message)
            else:
                MLDSA44PublicKey.from_public_bytes(self.public).verify(data[_TIME_BYTES:], message)
        except (InvalidSignature, ValueError):
            message_ = f"The cosignature of {self.name} does not fit the checkpoint."
            raise Untrusted("audit_note_unsigned", message_, "Ask the witness again.") from None
        return time_s


class SigningKey(Protocol):
    """A private key."""

    def sign(self, data: bytes, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Cosigner:
    """Adds one signature to checkpoints that somebody else decided to believe."""

    key: CosignerKey
    private: SigningKey

    @classmethod
    def ml_dsa(cls, name: str, private: MLDSA44PrivateKey) -> "Cosigner":
        """With ML-DSA-44, as the log's own second signature and as witnesses should."""
        return cls(CosignerKey(name, ML_DSA_44, private.public_key().public_bytes_raw()), private)

    @classmethod
    def ed25519(cls, name: str, private: Ed25519PrivateKey) -> "Cosigner":
        """With Ed25519, as most witnesses do today."""
        return cls(CosignerKey(name, ED25519, private.public_key().public_bytes_raw()), private)

    def line(self, checkpoint: Checkpoint, time_s: int) -> str:
        """The signature line, ending in a newline. `time_s` 0: no statement that this is the newest."""
        signature = self.private.sign(cosigned_message(self.key.type, self.key.name, checkpoint, time_s))
        data = self.key.hash + struct.pack(">Q", time_s) + signature
        return f"— {self.key.name} {base64.b64encode(data).decode()}\n"


def cosigned_message(type_: int, cosigner: str, checkpoint: Checkpoint, time_s: int) -> bytes:
    """What is signed: `cosignature/v1` text for Ed25519, a `cosigned_message` over the whole tree for ML-DSA-44.

    Raises Untrusted(`audit_note_malformed`) where a name is longer than 255 bytes.
    """
    if type_ == ED25519:
        return f"cosignature/v1\ntime {time_s}\n{checkpoint.body()}".encode()
    names = [cosigner.encode(), checkpoint.origin.encode()]
    if any(len(each) > 255 for each in names):
        raise Untrusted("audit_note_malformed", "A name in the checkpoint is longer than a cosignature can have it.")
    cosigner_name, origin = (bytes([len(each)]) + each for each in names)
    span = struct.pack(">QQ", 0, checkpoint.size)
    return b"subtree/v1\n\x00" + cosigner_name + struct.pack(">Q", time_s) + origin + span + checkpoint.root


def has_ml_dsa() -> bool:
    """Whether the library that computes signatures here knows ML-DSA-44."""
    try:
        MLDSA44PrivateKey.from_seed_bytes(bytes(32))
    except UnsupportedAlgorithm:
        return False
    return True
