"""A log written by the product, and what it hands out of it."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests import databases
from tests.verifier.standing import Standing, loaded

from intramural.audit import AuditLog, Event, Signer, canonical, keys
from intramural.core.actor import Actor
from intramural.core.clock import SystemClock
from intramural.core.config import AuditConfig
from intramural.services.gate import Gate
from intramural.services.proofs import Proofs
from intramural.services.receipts import Receipts

ADA = Actor("key", "person_ada", "ada", "member", frozenset({"inference"}), "key_1")
AUDITOR = Actor("session", "person_eve", "eve", "auditor", frozenset({"admin", "inference", "page"}), "session_1")
#: Entries per commit: each has its checkpoint.
GROUPS = (1, 2, 3, 8, 1, 5, 16, 4, 1, 1)
MODEL = {"format": "gguf", "files": ["sha256:" + "a" * 64], "engine": "xllamacpp 1", "trust": "local"}
TEXTS = {"prompt": "Was steht in der Akte?\n", "answer": "Nichts, – gar nichts."}


@dataclass(frozen=True, repr=False)
class HandedOut:
    """Everything that leaves a log: whole and in part, notes by size, keys, proofs, a receipt, a statement."""

    folder: Path
    export: bytes
    part: bytes
    notes: dict[int, str]
    keys: tuple[str, str]
    proof: str
    consistency: str
    receipt: dict[str, Any]
    statement: str

    def signer(self) -> Signer:
        return Signer("intramural.local/audit", keys.signing_key(self.folder / "secrets", make=False))

    @property
    def size(self) -> int:
        return max(self.notes)


async def written(folder: Path, groups: tuple[int, ...] = GROUPS) -> HandedOut:
    """A log of so many entries in so many commits, then the acts of handing it out."""
    db = await databases.opened(folder / "intramural.db")
    clock = SystemClock()
    log = await AuditLog.open(db, folder / "secrets", AuditConfig(), clock)
    notes = {}
    for number, group in enumerate(groups):
        facts = {"group": number, "ü": "\u202eliar\x7f"}
        await asyncio.gather(*[log.record(Event.CHAT_READ, ADA, request_id=f"r{n}", facts=facts) for n in range(group)])
        notes[log.size] = log.checkpoint()
    asked = {"model": MODEL, "weights": "sha256:b", "rule": "role", "sampling": {"seed": 7}, "dialect": "openai"}
    await log.record(
        Event.CHAT_ASKED, ADA, target="model:m:1b", request_id="req_1", facts=asked, texts={"prompt": TEXTS["prompt"]}
    )
    await log.record(
        Event.CHAT_ANSWERED, ADA, target="model:m:1b", outcome="finished", request_id="req_1",
        facts={"completion_tokens": 5, "took_ms": 12}, texts={"answer": TEXTS["answer"]},
    )  # fmt: skip
    gate = Gate(log)
    receipt = await Receipts(gate, log).get(ADA, "req_1")
    proofs = Proofs(gate, log)
    proof = await proofs.entry(AUDITOR, 11)
    consistency = await proofs.consistency(AUDITOR, 14)
    statement = log.sign_statement("attestation", canonical({"v": 1, "time_ms": 5, "sealed": True}))
    lines = await proofs.log(AUDITOR, 0, 2**45)
    export = b"".join([line async for line in lines])
    notes[log.size] = log.checkpoint()
    middle = (await log.entries(limit=1))[0].time_ms
    span = await log.span(middle, 2**45)
    assert span is not None
    part = b"".join([line async for line in log.lines(span)])
    assert log.second_key is not None
    found = HandedOut(
        folder, export, part, notes, (str(log.verifier), str(log.second_key)), proof, consistency, receipt, statement
    )
    await log.close()
    await db.close()
    return found


@pytest.fixture(scope="session")
def handed(tmp_path_factory: pytest.TempPathFactory) -> HandedOut:
    return asyncio.run(written(tmp_path_factory.mktemp("log")))


@pytest.fixture(scope="session")
def verifier() -> ModuleType:
    return loaded()


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    yield Standing.made(tmp_path_factory.mktemp("stranger"))
