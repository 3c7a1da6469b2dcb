"""Looking at every control, and making packs. Results are remembered in the log, and nowhere else.

The service looks once a day by itself, and for every pack. What changed since the look before is an event; so the log
says since when each control has come to what it comes to, and every result of a pack is one of its moment.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from intramural.access import Action
from intramural.audit import AuditLog, Event, Fact, Wanted, canonical
from intramural.core.actor import SYSTEM, Actor
from intramural.core.errors import Missing
from intramural.core.rounds import Rounds
from intramural.services.evidence import PACKS
from intramural.services.evidence.checks import Outcome
from intramural.services.evidence.facts import Facts
from intramural.services.evidence.gathering import Rooms, gathered
from intramural.services.evidence.page import page
from intramural.services.evidence.written import KIND, Result, looked, statement
from intramural.services.gate import Gate

EVERY_S = 86_400.0
#: A start is busy enough, and a command that opens the house for a moment is not to begin.
_FIRST_LOOK_S = 900.0


@dataclass(frozen=True, slots=True)
class Made:
    """A pack: the signed statement as it is handed out, and the page to read and print."""

    pack: dict[str, Any]
    page: str


class EvidenceDesk:
    """`open` when the house is opened, `close` before the log is."""

    def __init__(self, gate: Gate, audit: AuditLog, rooms: Rooms, version: str) -> None:
        self._gate = gate
        self._audit = audit
        self._rooms = rooms
        self._version = version
        self._before: dict[str, tuple[Outcome, int]] | None = None
        self._results: Mapping[str, Result] | None = None
        self._turn = asyncio.Lock()
        self._rounds = Rounds("evidence", partial(self._look, SYSTEM), EVERY_S, first_s=_FIRST_LOOK_S)

    def open(self) -> None:
        """Begin to look once a day."""
        self._rounds.open()

    async def close(self) -> None:
        """Stop looking."""
        await self._rounds.close()

    async def results(self, actor: Actor) -> Mapping[str, Result]:
        """What every control came to when somebody looked last; now, if nobody has since the start."""
        await self._gate.require(actor, Action.AUDIT_READ, target="evidence")
        return (await self._look(actor))[1] if self._results is None else self._results

    async def look(self, actor: Actor) -> Mapping[str, Result]:
        """What every control comes to now."""
        await self._gate.require(actor, Action.AUDIT_READ, target="evidence")
        return (await self._look(actor))[1]

    async def make(self, actor: Actor, law: str) -> Made:
        """The pack of a law, from a look of now. Raises Missing(`pack_not_found`)."""
        pack = PACKS.get(law)
        target = f"evidence:{law}"
        await self._gate.require(actor, Action.AUDIT_READ, target=target if pack else "evidence")
        if pack is None:
            raise Missing("pack_not_found", f"There is no pack {law!r:.40}.", f"Packs: {', '.join(PACKS)}.")
        facts, results = await self._look(actor)
        said = statement(pack, facts, results, self._version)
        line = canonical(said)
        digest = hashlib.sha256(line.encode()).hexdigest()
        signed = {
            "object": KIND,
            "statement": said,
            "signature": self._audit.sign_statement(KIND, line),
            "public_key": str(self._audit.verifier),
        }
        failing = [each["control"] for each in said["controls"] if each["outcome"] == "failed"]
        about: dict[str, Fact] = {"pack": law, "digest": f"sha256:{digest}", **said["sums"], "failing": failing}
        await self._audit.record(Event.EVIDENCE_MADE, actor, target=target, facts=about)
        return Made(signed, page(said, digest))

    async def rehearsed(self, actor: Actor, backup: str, note: str) -> int:
        """`actor` says that they restored a backup elsewhere; the entry's position. Of the note it has a commitment."""
        await self._gate.require(actor, Action.REVIEWS_SIGN, target=f"backup:{backup}")
        texts = {"note": note} if note else {}
        return await self._audit.record(Event.BACKUP_REHEARSED, actor, target=f"backup:{backup}", texts=texts)

    async def _look(self, actor: Actor) -> tuple[Facts, Mapping[str, Result]]:
        async with self._turn:
            before = await self._remembered() if self._before is None else self._before
            facts = await gathered(self._rooms)
            results = looked(facts, before)
            changed = {
                each.control: each.outcome
                for each in results.values()
                if before.get(each.control, ("",))[0] != each.outcome
            }
            if changed:
                failing = sum(1 for each in results.values() if each.outcome == "failed")
                about: dict[str, Fact] = {"changed": changed, "failed": failing}
                await self._audit.record(Event.EVIDENCE_CHECKED, actor, target="evidence", facts=about)
            self._before = {each.control: (each.outcome, each.since_ms) for each in results.values()}
            self._results = results
            return facts, results

    async def _remembered(self) -> dict[str, tuple[Outcome, int]]:
        """What each control came to the last time, as the log has it."""
        found: dict[str, tuple[Outcome, int]] = {}
        async for entry in self._audit.walk(Wanted(event=str(Event.EVIDENCE_CHECKED))):
            found |= {control: (outcome, entry.time_ms) for control, outcome in entry.facts["changed"].items()}
        return found
