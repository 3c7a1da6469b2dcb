"""Receipts: what the log holds of one answer, signed, with the proof that the log holds it. Made from the log alone.

A receipt is a JSON object:

- `statement`: what happened (`particulars.statement`), for people and programs to read;
- `signature`: a signed note of the same statement, as one line;
- `entries`: the log's records themselves, each with its place and its inclusion proof;
- `checkpoint`: the signed checkpoint that the proofs lead to; `public_key`: whose signatures these are;
- `salts`, only for whoever asked: they open the commitments to one's own prompt and answer, and nothing else.

`verified` checks one with nothing but the public key. `docs/receipts.md` says how to do that without this program.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from intramural.access import Action
from intramural.audit import (
    AuditLog,
    Event,
    Evidence,
    Proven,
    StoredRecord,
    VerifierKey,
    canonical,
    checked,
    commitment,
    hashes,
    wrong,
)
from intramural.core.actor import Actor
from intramural.core.errors import Conflicting, Missing
from intramural.services.gate import Gate
from intramural.services.particulars import statement

KIND = "receipt"
_ASKED = frozenset(map(str, (Event.CHAT_ASKED, Event.EMBEDDING_ASKED, Event.RERANK_ASKED)))
_ANSWERED = frozenset(map(str, (Event.CHAT_ANSWERED, Event.EMBEDDING_ANSWERED, Event.RERANK_ANSWERED)))
_SALT_BYTES = 32


class Receipts:
    """Handing receipts out."""

    def __init__(self, gate: Gate, audit: AuditLog) -> None:
        self._gate = gate
        self._audit = audit

    async def get(self, actor: Actor, request_id: str) -> dict[str, Any]:
        """The receipt of one request: one's own, or anybody's for those who may read the log (which is recorded).

        Raises Missing(`receipt_not_found`) also where it is not `actor`'s to see, Conflicting(`answer_unfinished`).
        """
        found = await self._audit.of_request(request_id)
        records = {record.event: (data, record) for data, record in found}
        begun = next((records[event] for event in _ASKED & records.keys()), None)
        if begun is None or not await self._may_read(actor, begun[1]):
            raise Missing("receipt_not_found", f"There is no receipt {request_id!r}.", "Its name is in the answer.")
        ended = next((records[event] for event in _ANSWERED & records.keys()), None)
        if ended is None:
            raise Conflicting(
                "answer_unfinished", "The answer is still being written, or the service was cut off.", "Ask later."
            )
        return await self._written((begun, ended), with_salts=begun[1].actor.id == actor.person_id)

    async def _may_read(self, actor: Actor, asked: StoredRecord) -> bool:
        owner_id = asked.actor.id
        target = f"receipt:{asked.request_id}"
        if owner_id == actor.person_id:
            await self._gate.require(actor, Action.RECEIPTS_READ, target=target, owner_id=owner_id)
            return True
        if not self._gate.decide(actor, Action.AUDIT_READ).allowed:
            return False  # as if it were not there
        await self._audit.record(Event.RECEIPT_READ, actor, target=target, facts={"of": owner_id})
        return True

    async def _written(self, records: tuple[tuple[bytes, StoredRecord], ...], *, with_salts: bool) -> dict[str, Any]:
        evidence = await self._audit.evidence([data for data, _ in records])
        said = statement([record for _, record in records])
        receipt: dict[str, Any] = {
            "object": "receipt",
            "id": said["request_id"],
            "statement": said,
            "signature": self._audit.sign_statement(KIND, canonical(said)),
            "entries": [_entry(each) for each in evidence.entries],
            "checkpoint": evidence.checkpoint,
            "public_key": str(self._audit.verifier),
        }
        if with_salts:
            receipt["salts"] = {
                name: self._audit.salt(name, record.texts, record.actor.id).hex()
                for _, record in records
                for name, text in record.texts.items()
                if isinstance(text, Mapping)
            }
        return receipt


def _entry(proven: Proven) -> dict[str, Any]:
    return {
        "position": proven.position,
        "leaf_hash": proven.leaf.hex(),
        "record": proven.record.decode("ascii"),
        "proof": [base64.b64encode(each).decode() for each in proven.proof],
    }


class _EntryIn(msgspec.Struct):
    position: int
    record: str
    proof: list[str]


class _ReceiptIn(msgspec.Struct):
    signature: str
    entries: list[_EntryIn]
    checkpoint: str
    statement: dict[str, Any]
    public_key: str
    salts: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Verified:
    """A receipt that holds: what it states, the size of the log it was proved in, which texts were compared."""

    statement: Mapping[str, Any]
    checkpoint_size: int
    texts: tuple[str, ...]


def verified(receipt: bytes, public_key: str, texts: Mapping[str, str]) -> Verified:
    """Check a receipt offline. `texts` (name -> what it is said to be) are compared with the commitments.

    Raises Untrusted(`audit_evidence_wrong`|`audit_note_unsigned`|…) naming what does not hold, Misasked for a bad key.
    """
    key = VerifierKey.parse(public_key)
    try:
        given = msgspec.json.decode(receipt, type=_ReceiptIn)
        entries = tuple(Proven(e.position, e.record.encode("ascii"), hashes(e.proof)) for e in given.entries)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise wrong(f"That is not a receipt: {error}.") from None
    signed, records = checked(Evidence(entries, given.checkpoint), key)
    if [record.event in wanted for record, wanted in zip(records, (_ASKED, _ANSWERED), strict=False)] != [True, True]:
        raise wrong("It does not hold a question and its answer.")
    if len(records) != 2 or records[0].request_id != records[1].request_id:
        raise wrong("Its entries are of different requests.")
    said = statement(records)
    if key.statement_of(given.signature, KIND) != canonical(said):
        raise wrong("What was signed is not what the log's entries say.")
    if given.statement != json.loads(canonical(said)):
        raise wrong("The statement to be read is not the signed one.")
    for name, text in texts.items():
        _compare(name, text, said["texts"], given.salts)
    return Verified(json.loads(canonical(said)), signed.size, tuple(texts))


def _compare(name: str, text: str, committed: Mapping[str, Any], salts: Mapping[str, str]) -> None:
    try:
        salt, held = bytes.fromhex(salts[name]), committed[name]["commitment"]
    except (KeyError, ValueError):
        raise wrong(f"The receipt cannot open the text {name!r}: its salt or commitment is missing.") from None
    if len(salt) != _SALT_BYTES or commitment(salt, text) != held:
        raise wrong(f"The {name} is not the text that was committed to.")
