"""What belongs to one person as a whole: shown to them (export), or gone for good (erasure)."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from io import RawIOBase
from typing import Any, BinaryIO
from zipfile import ZIP_DEFLATED, ZipFile

from sqlalchemy.exc import SQLAlchemyError

from intramural.access import Action, People
from intramural.audit import AuditLog, Event, canonical
from intramural.core.actor import SYSTEM, Actor
from intramural.core.clock import Clock
from intramural.core.errors import Broken, IntramuralError, Missing, Refused
from intramural.retention import Holds
from intramural.retention.holds import RULE
from intramural.services.gate import Gate
from intramural.vault import Erased, Stored, Vault

KIND = "erasure"
_PIECE_BYTES = 2**18
#: What in an export an AI wrote (AI Act, article 50(2)).
_GENERATED = {
    "source_type": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
    "what": "chat_messages with the role assistant; response_items that are no input; batch_lines. Each row, or what "
    "it is part of, names the model.",
}
#: Bytes of a person that lie in files of their own: a name in the export, and how to open them.
Lying = Callable[[str], Awaitable[list[tuple[str, Callable[[], BinaryIO]]]]]


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What has to happen outside the database when somebody is erased: caches, states, files."""

    #: While their keys are still in memory, for they say where their states lie.
    before_keys: Callable[[str], Awaitable[None]]
    after_keys: Callable[[], Awaitable[None]]


class Personal:
    """Export and erasure. `replay` when the house is opened."""

    def __init__(
        self,
        gate: Gate,
        audit: AuditLog,
        people: People,
        vault: Vault,
        stored: Stored,
        erased: Erased,
        forgetting: Forgetting,
        lying: Lying,
        holds: Holds,
        clock: Clock,
    ) -> None:
        self._gate = gate
        self._audit = audit
        self._people = people
        self._vault = vault
        self._stored = stored
        self._erased = erased
        self._forgetting = forgetting
        self._lying = lying
        self._holds = holds
        self._clock = clock

    # erasure

    async def erase(self, actor: Actor, person_id: str) -> dict[str, Any]:
        """Destroy a person's keys and delete all that is kept of them; the certificate.

        They are on the list of erased people before they are gone, so that no backup brings them back.
        Raises Missing(`person_not_found`), Conflicting(`last_administrator`), Refused(`legal_hold`), Unavailable.
        """
        thing = await self._people.acted_upon(person_id)
        await self._gate.require(actor, Action.PEOPLE_REMOVE, target=f"person:{person_id}", thing=thing)
        await self._people.get(person_id)
        await self._require_unheld(actor, person_id)
        time_ms = self._now_ms()
        await asyncio.to_thread(self._erased.note, person_id, time_ms, "begun")
        try:
            certificate = await self._gone(actor, person_id, time_ms, again=False)
        except (IntramuralError, SQLAlchemyError):
            await asyncio.to_thread(self._erased.note, person_id, time_ms, "undone")
            raise
        await self._forget(person_id)
        await self._forgetting.after_keys()
        await self._stored.scrub()
        return certificate

    async def _require_unheld(self, actor: Actor, person_id: str) -> None:
        try:
            await self._holds.check_erasable(person_id)
        except Refused:
            await self._gate.note_refusal(actor, Action.PEOPLE_REMOVE, f"person:{person_id}", RULE)
            raise

    async def replay(self) -> int:
        """At start: whoever is on the list and is here (an old backup was restored) is erased again. How many."""
        listed = await asyncio.to_thread(self._erased.people)
        found = [person_id for person_id in listed if await self._stored.has(person_id)]
        for person_id in found:
            await self._gone(SYSTEM, person_id, listed[person_id], again=True)
            await self._forget(person_id)
        if found:
            await self._stored.scrub()
        return len(found)

    async def certificate(self, actor: Actor, person_id: str) -> dict[str, Any]:
        """The certificate of an erasure. Raises Missing(`no_erasure`)."""
        await self._gate.require(actor, Action.PEOPLE_READ)
        found = await self._stored.certificate(person_id)
        if found is None:
            raise Missing("no_erasure", "Nobody with this identifier was erased here.", "See the log.")
        certificate: dict[str, Any] = json.loads(found)
        return certificate

    async def _gone(self, actor: Actor, person_id: str, time_ms: int, *, again: bool) -> dict[str, Any]:
        async with self._audit.transaction() as (connection, record):
            removed, stays = await self._stored.counted(connection, person_id)
            if not again:
                await self._people.remove_check(connection, person_id)
                await self._holds.require_erasable(connection, person_id)  # one may have been put since
            await self._stored.remove(connection, person_id)
            keys = await self._vault.destroy(connection, person_id)
            statement = {
                "person_id": person_id,
                "time_ms": time_ms,
                "by": actor.person_id,
                "rows_deleted": removed,
                "rows_kept": stays,
                "keys_destroyed": keys,
            }
            certificate = self._signed(statement)
            await self._stored.certify(connection, person_id, time_ms, json.dumps(certificate))
            record(
                Event.PERSON_REMOVED,
                actor,
                target=f"person:{person_id}",
                facts={
                    "rows": sum(removed.values()),
                    "keys": keys,
                    "again": again,
                    "texts": removed.get("audit_texts", 0),
                },
            )
        return certificate

    def _signed(self, statement: dict[str, Any]) -> dict[str, Any]:
        return {
            "object": KIND,
            "statement": statement,
            "signature": self._audit.sign_statement(KIND, canonical(statement)),
            "public_key": str(self._audit.verifier),
        }

    async def _forget(self, person_id: str) -> None:
        await self._forgetting.before_keys(person_id)
        self._vault.forget(person_id)

    # export

    async def export(self, actor: Actor) -> AsyncGenerator[bytes, None]:
        """All that is kept of the actor, as a ZIP file: `data.json` with every table, and the bytes of their files.

        The record that it was asked for is durable before the first byte. Nothing of it touches the disk.
        """
        await self._gate.require(actor, Action.ME_EXPORT, owner_id=actor.person_id)
        await self._people.get(actor.person_id)  # the console is no person
        await self._audit.record(Event.PERSON_EXPORTED, actor, target=f"person:{actor.person_id}")
        tables = await self._stored.shown(self._vault, actor.person_id)
        about = {"person_id": actor.person_id, "time_ms": self._now_ms(), "generated": _GENERATED, "tables": tables}
        data = json.dumps(about, ensure_ascii=False, indent=1).encode(errors="replace")
        return _pieces(_zipped(data, await self._lying(actor.person_id)))

    def _now_ms(self) -> int:
        return int(self._clock.now_s() * 1000)


async def _pieces(found: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    while piece := await asyncio.to_thread(next, found, b""):
        yield piece


def _zipped(data: bytes, files: list[tuple[str, Callable[[], BinaryIO]]]) -> Iterator[bytes]:
    """A ZIP file piece by piece, none of them empty (blocking). Bytes that are gone when their turn comes (a batch has
    ended meanwhile, a disk lost them) do not keep the rest back: `missing.json` names them and says why."""
    sink = _Sink()
    missing: list[dict[str, str]] = []
    with ZipFile(sink, "w", ZIP_DEFLATED) as archive:
        archive.writestr("data.json", data)
        yield sink.take()
        for name, open_file in files:
            try:
                opened = open_file()
            except Broken as error:
                missing.append({"name": name, "code": error.code, "message": error.message})
                continue
            with opened as source, archive.open(name, "w", force_zip64=True) as entry:
                while piece := source.read(_PIECE_BYTES):
                    entry.write(piece)
                    if found := sink.take():
                        yield found
        if missing:
            archive.writestr("missing.json", json.dumps(missing, ensure_ascii=False, indent=1))
    yield sink.take()


class _Sink(RawIOBase):
    """Takes what is written until somebody takes it away."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        found = b"".join(self._parts)
        self._parts.clear()
        return found
