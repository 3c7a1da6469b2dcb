"""Single entries, shown to somebody who does not have the log: with proofs that lead to a signed checkpoint.

`checked` is all that an outsider needs besides the public key. Pure; `AuditLog.evidence` makes what is checked here.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from intramural.audit.checkpoint import Checkpoint, VerifierKey
from intramural.audit.merkle import HASH_BYTES, leaf_hash, verify_inclusion
from intramural.audit.record import StoredRecord, parse
from intramural.core.errors import Untrusted

#: A proof in a log of 2^64 entries has 64 hashes.
_MAX_HASHES = 64


@dataclass(frozen=True, slots=True)
class Proven:
    """One entry: its place, its bytes as stored, and the hashes of RFC 9162 section 2.1.3.1."""

    position: int
    record: bytes
    proof: tuple[bytes, ...]

    @property
    def leaf(self) -> bytes:
        """SHA-256(0x00 ‖ record)."""
        return leaf_hash(self.record)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Entries, and the signed checkpoint that their proofs lead to."""

    entries: tuple[Proven, ...]
    checkpoint: str


def checked(evidence: Evidence, key: VerifierKey) -> tuple[Checkpoint, tuple[StoredRecord, ...]]:
    """The checkpoint and the records. Raises Untrusted where a signature, a proof or a record does not hold."""
    signed = key.checkpoint_of(evidence.checkpoint)
    return signed, tuple(_record(each, signed) for each in evidence.entries)


def hashes(encoded: Sequence[str]) -> tuple[bytes, ...]:
    """Hashes from base64. Raises Untrusted(`audit_evidence_wrong`)."""
    try:
        found = tuple(base64.b64decode(each, validate=True) for each in encoded)
    except (binascii.Error, ValueError):
        raise wrong("A hash in a proof is no base64.") from None
    if len(found) > _MAX_HASHES or any(len(each) != HASH_BYTES for each in found):
        raise wrong("A proof is not a list of hashes.")
    return found


def _record(entry: Proven, signed: Checkpoint) -> StoredRecord:
    if not verify_inclusion(entry.leaf, entry.position, signed.size, entry.proof, signed.root):
        raise wrong(f"The proof of entry {entry.position} does not lead to the checkpoint of {signed.size} entries.")
    try:
        record = parse(entry.record)
    except ValueError as error:
        raise wrong(f"Entry {entry.position} has not the form of a record: {error}.") from None
    if record.position != entry.position:
        raise wrong(f"Entry {entry.position} holds the record of entry {record.position}.")
    return record


def wrong(why: str) -> Untrusted:
    """What is shown is not what the log holds."""
    return Untrusted("audit_evidence_wrong", why, "Ask whoever gave it to you for the original.")
