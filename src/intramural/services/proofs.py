"""What an outsider checks: the log as it is, or one entry of it, or that it goes on from what they held. Each is an
event. `docs/formats.md` has the bytes; `verifier/verify_intramural.py` checks them without this program.
"""

import base64
from collections.abc import AsyncGenerator

from intramural.access import Action
from intramural.audit import AuditLog, Event, Fact
from intramural.core.actor import Actor
from intramural.core.errors import Missing
from intramural.services.gate import Gate


class Proofs:
    """Hands out what proves itself."""

    def __init__(self, gate: Gate, audit: AuditLog) -> None:
        self._gate = gate
        self._audit = audit

    async def log(self, actor: Actor, from_ms: int, to_ms: int) -> AsyncGenerator[bytes, None]:
        """Lines of the form `intramural-log/1`: every entry of a period, from checkpoint to checkpoint.

        Raises Missing(`nothing_then`).
        """
        await self._gate.require(actor, Action.AUDIT_READ)
        facts: dict[str, Fact] = {"form": "log", "from_ms": from_ms, "to_ms": to_ms}
        await self._audit.record(Event.AUDIT_EXPORTED, actor, target="audit:entries", facts=facts)
        span = await self._audit.span(from_ms, to_ms)
        if span is None:
            raise Missing("nothing_then", "The log has no entry of that period.", "Choose another one.")
        return self._audit.lines(span)

    async def entry(self, actor: Actor, position: int) -> str:
        """A c2sp.org/tlog-proof@v1 of one entry, its record as the extra data. Raises Missing(`entry_not_found`)."""
        await self._gate.require(actor, Action.AUDIT_READ)
        target = f"audit:entry:{position}"
        await self._audit.record(Event.AUDIT_READ, actor, target=target, facts={"proof": "inclusion"})
        return await entry_proof(self._audit, position)

    async def consistency(self, actor: Actor, old: int) -> str:
        """That the log of `old` entries is the beginning of the log now: the body of c2sp.org/tlog-witness's
        `add-checkpoint`. Raises Misasked(`audit_proof_impossible`)."""
        await self._gate.require(actor, Action.AUDIT_READ)
        facts: dict[str, Fact] = {"proof": "consistency", "old": old}
        await self._audit.record(Event.AUDIT_READ, actor, target="audit:entries", facts=facts)
        return await consistency_body(self._audit, old)


async def entry_proof(audit: AuditLog, position: int) -> str:
    """A c2sp.org/tlog-proof@v1 of one entry, its record as the extra data. Raises Missing(`entry_not_found`)."""
    record = await audit.record_at(position)
    if record is None:
        raise Missing("entry_not_found", f"The log has no entry {position}.", "Entries are numbered from 0.")
    evidence = await audit.evidence([record])
    head = f"c2sp.org/tlog-proof@v1\nextra {base64.b64encode(record).decode()}\nindex {position}\n"
    return head + _hash_lines(evidence.entries[0].proof) + "\n" + evidence.checkpoint


async def consistency_body(audit: AuditLog, old: int) -> str:
    """The request by which a witness is asked for its signature. Raises Misasked(`audit_proof_impossible`)."""
    size, note = audit.size, audit.checkpoint()
    proof = await audit.prove_consistency(old, size) if old else []
    return f"old {old}\n{_hash_lines(proof)}\n{note}"


def _hash_lines(hashes: tuple[bytes, ...] | list[bytes]) -> str:
    return "".join(f"{base64.b64encode(each).decode()}\n" for each in hashes)
