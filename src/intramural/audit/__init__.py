"""What happened, so that it can be proved: an append-only log under a Merkle tree with signed checkpoints.

Promises: when `record()` returns, or a `transaction()` block has ended, the event is on the disk together with a signed
checkpoint over everything before it; an act whose event cannot be written does not happen; one event is one line of
ASCII whatever outsiders put into it; `verify_database` names the first entry that was edited, deleted, moved, inserted
or cut off.
Never: changes or removes an entry; holds the text of prompts and answers (unless settings ask for it) or people's
names; decides who may read it. What it cannot prove alone is said in `docs/audit.md`: hold a checkpoint elsewhere.

Read in this order: `events`, `record`, `merkle`, `checkpoint`, `cosignature`, `evidence`, `keys`, `verify`,
`verifiable`, `entries`, `log`, `exports`, `peek`, `anchors`, `witnessing`, `stamps`, `verifier`.
"""

from intramural.audit.anchors import REWRITTEN, STALE_MS, Anchor, Standing, anchored, anchors_of
from intramural.audit.checkpoint import Checkpoint, Signer, VerifierKey
from intramural.audit.cosignature import Cosigner, CosignerKey
from intramural.audit.entries import Entry, Found, Wanted
from intramural.audit.events import Event
from intramural.audit.evidence import Evidence, Proven, checked, hashes, wrong
from intramural.audit.exports import Form, action_of, fhir, ocsf
from intramural.audit.keys import log_signer, public_key, public_keys, witness_signers
from intramural.audit.log import After, AuditLog, Beside, RecordInTransaction
from intramural.audit.peek import first_and_newest
from intramural.audit.record import Fact, Outcome, StoredRecord, canonical, commitment
from intramural.audit.verifier import NAME as VERIFIER
from intramural.audit.verifier import VerifierFile, verifier_file, verifier_path
from intramural.audit.verify import Finding, Verdict, newest_checkpoint, verify_connection, verify_database

__all__ = [
    "REWRITTEN",
    "STALE_MS",
    "VERIFIER",
    "After",
    "Anchor",
    "AuditLog",
    "Beside",
    "Checkpoint",
    "Cosigner",
    "CosignerKey",
    "Entry",
    "Event",
    "Evidence",
    "Fact",
    "Finding",
    "Form",
    "Found",
    "Outcome",
    "Proven",
    "RecordInTransaction",
    "Signer",
    "Standing",
    "StoredRecord",
    "Verdict",
    "VerifierFile",
    "VerifierKey",
    "Wanted",
    "action_of",
    "anchored",
    "anchors_of",
    "canonical",
    "checked",
    "commitment",
    "fhir",
    "first_and_newest",
    "hashes",
    "log_signer",
    "newest_checkpoint",
    "ocsf",
    "public_key",
    "public_keys",
    "verifier_file",
    "verifier_path",
    "verify_connection",
    "verify_database",
    "witness_signers",
    "wrong",
]
