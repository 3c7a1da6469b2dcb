"""What a witness decides: whether a checkpoint goes on from the last one that it signed (c2sp.org/tlog-witness). Pure.

A witness keeps one checkpoint for each log. It signs a newer one only with the proof that the older one is its
beginning: so a log cannot show two histories to those who ask for the witness's signature.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from intramural.audit.checkpoint import Checkpoint, VerifierKey, decoded, parse_body, split_note
from intramural.audit.merkle import EMPTY_ROOT, HASH_BYTES, verify_consistency
from intramural.core.errors import Untrusted

MAX_PROOF_HASHES = 63
#: 63 hashes and a note with 16 signatures.
MAX_REQUEST_BYTES = 80_000


@dataclass(frozen=True, slots=True)
class Submission:
    """A request to `add-checkpoint`, read: nothing in it is believed yet."""

    old: int
    proof: tuple[bytes, ...]
    note: str
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class Answer:
    """What the witness answers: a status of HTTP and a body; `signs`: it is to sign, and to remember the checkpoint."""

    status: int
    body: str = ""
    signs: bool = False


def read_submission(body: bytes) -> Submission:
    """Raises Untrusted(`audit_note_malformed`)."""
    try:
        head, blank, note = body.decode("utf-8").partition("\n\n")
    except UnicodeDecodeError:
        raise _malformed() from None
    first, *lines = head.split("\n")
    old = first.removeprefix("old ")
    if not blank or old == first or not old.isdecimal() or not old.isascii() or str(int(old[:20])) != old:
        raise _malformed()
    proof = [decoded(each) for each in lines]
    if len(proof) > MAX_PROOF_HASHES or any(each is None or len(each) != HASH_BYTES for each in proof):
        raise _malformed()
    text, _ = split_note(note)
    return Submission(int(old), tuple(each for each in proof if each), note, parse_body(text))


def decide(submission: Submission, logs: Mapping[str, VerifierKey], held: Checkpoint | None) -> Answer:
    """The answer, in the order of checks that the specification has. `held`: the last checkpoint signed of this log.

    | what                                                    | answer |
    |---------------------------------------------------------|--------|
    | a log that is not known                                 | 404    |
    | no signature of the log, or one that does not fit       | 403    |
    | the old size is larger than the new one                 | 400    |
    | the old size is not that of the last one signed         | 409, and that size |
    | the proof does not show that the old is the beginning   | 422    |
    | else                                                    | 200, and it signs |
    """
    checkpoint = submission.checkpoint
    key = logs.get(checkpoint.origin)
    if key is None:
        return Answer(404, "This log is not known here.\n")
    try:
        key.checkpoint_of(submission.note)
    except Untrusted as error:
        return Answer(403, f"{error.message}\n")
    if submission.old > checkpoint.size:
        return Answer(400, "The old size is larger than the new one.\n")
    size = 0 if held is None else held.size
    if submission.old != size:
        return Answer(409, f"{size}\n")
    if not _goes_on(submission, held):
        return Answer(422, "The proof does not show that the older checkpoint is the beginning of this one.\n")
    return Answer(200, signs=True)


def _goes_on(submission: Submission, held: Checkpoint | None) -> bool:
    new = submission.checkpoint
    if new.size == 0:
        return new.root == EMPTY_ROOT and not submission.proof
    if held is None or held.size == 0:
        return not submission.proof
    return verify_consistency(held.size, held.root, new.size, new.root, submission.proof)


def _malformed() -> Untrusted:
    return Untrusted("audit_note_malformed", "That is not a request to a witness.", "See c2sp.org/tlog-witness.")
