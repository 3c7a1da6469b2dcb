"""Making attestations, because somebody asked or because it is time; keeping them, and handing them out."""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from intramural.access import Action
from intramural.audit import AuditLog, Event, Fact
from intramural.core.actor import SYSTEM, Actor
from intramural.core.clock import Clock, is_due
from intramural.core.config import AttestConfig
from intramural.core.durable import ORDINARY, write_whole
from intramural.core.errors import Missing, Unavailable
from intramural.core.ids import new_id
from intramural.core.rounds import Rounds
from intramural.services.attestation import facts as f
from intramural.services.attestation.controlling import Controls
from intramural.services.attestation.findings import findings
from intramural.services.attestation.paper import page_of
from intramural.services.attestation.report import KIND, checked_nonce, enveloped, written
from intramural.services.gate import Gate
from intramural.services.proofs import entry_proof

_HOUR_MS = 3_600_000
#: Before the first, too: the service has just started, and has people to answer.
_LOOK_EVERY_S = 300.0
_ID = re.compile(r"att_[0-9a-z]{1,60}")
_TARGET = "attestation"


@dataclass(frozen=True, slots=True)
class Head:
    """One that is kept. `reds`, `ambers`: how many of its findings are."""

    id: str
    time_ms: int
    nonce: str | None
    scheduled: bool
    colour: str
    reds: int
    ambers: int


class Attestations:
    """`facts` reads everything anew. What is made is kept in `folder`, so many of them as settings say."""

    def __init__(
        self,
        gate: Gate,
        audit: AuditLog,
        clock: Clock,
        config: AttestConfig,
        folder: Path,
        controls: Controls,
        facts: Callable[[], Awaitable[f.Facts]],
        *,
        serves: bool,
    ) -> None:
        """`serves`: a service runs, so that some are made by themselves."""
        self._gate = gate
        self._audit = audit
        self._clock = clock
        self._every_ms = config.every_hours * _HOUR_MS if serves else 0
        self._keep = config.keep
        self._folder = folder
        self._controls = controls
        self._facts = facts
        self._turn = asyncio.Lock()
        self._last_ms = 0  # when one was last begun by itself, or made, by this process
        self._rounds = Rounds("attestations", self.look, _LOOK_EVERY_S, first_s=_LOOK_EVERY_S)

    def open(self) -> None:
        """Begin to look whether it is time."""
        if self._every_ms:
            self._rounds.open()

    async def close(self) -> None:
        """Stop looking."""
        await self._rounds.close()

    async def make(self, actor: Actor, nonce: str | None = None) -> bytes:
        """A new one, as it is handed out. `nonce`: whoever asked chose it, and so knows that it was made afterwards.

        Raises Misasked(`bad_nonce`), Unavailable(`audit_unavailable`, `attestation_unkept`).
        """
        await self._gate.require(actor, Action.AUDIT_VERIFY, target=_TARGET)
        return await self._made(actor, checked_nonce(nonce), scheduled=False)

    async def list(self, actor: Actor) -> list[Head]:
        """Those that are kept, the newest first."""
        await self._gate.require(actor, Action.AUDIT_READ, target=_TARGET)
        return await asyncio.to_thread(_heads, self._folder)

    async def get(self, actor: Actor, report_id: str) -> bytes:
        """One of them, byte for byte as it was handed out. Raises Missing(`attestation_not_found`)."""
        await self._gate.require(actor, Action.AUDIT_READ, target=f"{_TARGET}:{report_id[:64]}")
        found = await asyncio.to_thread(_read, self._folder, report_id)
        if found is None:
            hint = "They are kept for a while only (attest.keep); the log has the hash of each that was made."
            raise Missing("attestation_not_found", "There is no such attestation.", hint)
        return found

    async def page(self, actor: Actor, report_id: str) -> str:
        """One of them to read and to print (HTML). Raises Missing(`attestation_not_found`)."""
        return await asyncio.to_thread(page_of, await self.get(actor, report_id))

    def arrive(self, token: str) -> bool:
        """A connection of the positive control came in; whether its token is one that is waited for."""
        return self._controls.arrive(token)

    async def look(self) -> None:
        """Make one if it is time."""
        now_ms = int(self._clock.now_s() * 1000)
        if not self._last_ms:
            newest = await asyncio.to_thread(_heads, self._folder, 1)
            self._last_ms = newest[0].time_ms if newest else 0
        if is_due(self._last_ms, now_ms, self._every_ms):
            self._last_ms = now_ms
            await self._made(SYSTEM, None, scheduled=True)

    async def _made(self, actor: Actor, nonce: str | None, *, scheduled: bool) -> bytes:
        async with self._turn:
            facts = await self._facts()
            found = findings(facts)
            report_id = new_id("att", self._clock)
            unsigned = written(report_id, facts, found, nonce, scheduled=scheduled)
            colours = [each.colour for each in found]
            about: dict[str, Fact] = {
                "statement": f"sha256:{unsigned.sha256}",
                "nonce": nonce,
                "colour": unsigned.statement["colour"],
                "reds": colours.count("red"),
                "ambers": colours.count("amber"),
                "scheduled": scheduled,
                "size": facts.log.size,
            }
            target = f"{_TARGET}:{report_id}"
            position = await self._audit.record(Event.ATTESTATION_MADE, actor, target=target, facts=about)
            data = enveloped(
                unsigned,
                self._audit.sign_statement(KIND, unsigned.line),
                facts.log.checkpoint,
                facts.log.public_keys,
                await entry_proof(self._audit, position),
            )
            await asyncio.to_thread(_keep, self._folder, f"{report_id}.json", data, self._keep)
            self._last_ms = facts.made_ms
            return data


# what is kept (blocking) ----------------------------------------------------------------------------------------------


class _Finding(msgspec.Struct):
    colour: str


class _Statement(msgspec.Struct):
    id: str
    time_ms: int
    nonce: str | None
    scheduled: bool
    colour: str
    findings: list[_Finding]


class _Kept(msgspec.Struct):
    statement: _Statement


def _names(folder: Path) -> list[str]:
    """The newest first: identifiers sort by when they were made."""
    try:
        return sorted((each.name for each in os.scandir(folder) if each.name.endswith(".json")), reverse=True)
    except FileNotFoundError:
        return []


def _heads(folder: Path, most: int | None = None) -> list[Head]:
    """The newest first. What cannot be read is not one of ours, and is passed over."""
    found: list[Head] = []
    for name in _names(folder)[:most]:
        try:
            said = msgspec.json.decode((folder / name).read_bytes(), type=_Kept).statement
        except (OSError, msgspec.DecodeError):
            continue
        colours = [each.colour for each in said.findings]
        reds, ambers = colours.count("red"), colours.count("amber")
        found.append(Head(said.id, said.time_ms, said.nonce, said.scheduled, said.colour, reds, ambers))
    return found


def _read(folder: Path, report_id: str) -> bytes | None:
    if not _ID.fullmatch(report_id):
        return None
    try:
        return (folder / f"{report_id}.json").read_bytes()
    except OSError:
        return None


def _keep(folder: Path, name: str, data: bytes, most: int) -> None:
    """Whole or not at all; the oldest of more than `most` go. Raises Unavailable(`attestation_unkept`)."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(folder / name, data, mode=ORDINARY)
        for old in _names(folder)[most:]:
            (folder / old).unlink(missing_ok=True)
    except OSError as error:
        message = f"The attestation could not be kept: {error.strerror or error}."
        raise Unavailable("attestation_unkept", message, "Is the disk full? The log has that it was made.") from error
