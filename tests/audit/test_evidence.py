"""Single entries shown with proofs: those that hold, and every way of lying with them."""

from dataclasses import replace

import pytest

from intramural.audit import AuditLog, Event, Evidence, checked, hashes
from intramural.audit.log import CHECKPOINT_SPACING, KEPT_CHECKPOINTS, PRUNE_EVERY
from intramural.core.actor import Actor
from intramural.core.errors import Untrusted


async def shown(log: AuditLog, request_id: str) -> Evidence:
    return await log.evidence([data for data, _ in await log.of_request(request_id)])


async def test_the_entries_of_a_request_are_proved_to_whoever_has_the_key(log: AuditLog, ada: Actor) -> None:
    for number in range(9):
        await log.record(Event.CHAT_ASKED, ada, request_id=f"req_{number}", facts={"n": number})
        await log.record(Event.CHAT_ANSWERED, ada, request_id=f"req_{number % 4}")
    evidence = await shown(log, "req_3")
    signed, records = checked(evidence, log.verifier)
    assert [(r.position, r.event) for r in records] == [(6, "chat.asked"), (7, "chat.answered"), (15, "chat.answered")]
    assert signed.size == 16
    assert records[0].facts == {"n": 3}
    assert await log.of_request("req_99") == []


async def test_old_entries_are_proved_after_checkpoints_were_thinned_out(log: AuditLog, ada: Actor) -> None:
    for number in range(KEPT_CHECKPOINTS + 2 * PRUNE_EVERY):
        await log.record(Event.CHAT_ASKED, ada, request_id=f"req_{number}")
    for number in (0, 1, CHECKPOINT_SPACING - 1, CHECKPOINT_SPACING, CHECKPOINT_SPACING + 7, log.size - 1):
        evidence = await shown(log, f"req_{number}")
        signed, records = checked(evidence, log.verifier)
        assert (records[0].position, records[0].request_id) == (number, f"req_{number}")
        assert signed.size <= number + 2 * CHECKPOINT_SPACING


async def test_no_lie_passes(log: AuditLog, ada: Actor) -> None:
    for number in range(5):
        await log.record(Event.CHAT_ASKED, ada, request_id=f"req_{number}")
    evidence = await shown(log, "req_2")
    entry = evidence.entries[0]
    other = (await shown(log, "req_1")).entries[0]
    lies = [
        replace(entry, record=entry.record.replace(b"chat.asked", b"chat.lied!")),
        replace(entry, position=entry.position + 1),
        replace(entry, proof=entry.proof[:-1]),
        replace(entry, proof=other.proof),
        replace(other, position=entry.position, proof=entry.proof),
    ]
    for lie in lies:
        with pytest.raises(Untrusted):
            checked(replace(evidence, entries=(lie,)), log.verifier)
    later = (await shown(log, "req_4")).checkpoint
    for note in (later, evidence.checkpoint.replace("\n3\n", "\n4\n"), log.sign_statement("receipt", "{}")):
        with pytest.raises(Untrusted):
            checked(replace(evidence, checkpoint=note), log.verifier)


async def test_a_statement_is_no_checkpoint_and_no_other_kind(log: AuditLog) -> None:
    note = log.sign_statement("receipt", '{"a":1}')
    assert log.verifier.statement_of(note, "receipt") == '{"a":1}'
    for kind in ("other", "receip", ""):
        with pytest.raises(Untrusted):
            log.verifier.statement_of(note, kind)
    for wrong in (note.replace('"a"', '"b"'), log.checkpoint(), log.sign_statement("receipt", "a\nb")):
        with pytest.raises(Untrusted):
            log.verifier.statement_of(wrong, "receipt")


def test_hashes_are_hashes() -> None:
    assert hashes(["A" * 43 + "="]) == (bytes(32),)
    for encoded in (["?"], ["AAAA"], ["A" * 43 + "="] * 65):
        with pytest.raises(Untrusted):
            hashes(encoded)
