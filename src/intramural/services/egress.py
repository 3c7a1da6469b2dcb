"""The list of what may go out, the questions about it, and the ledger of what did."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from intramural.access import Action
from intramural.audit import AuditLog, Event, Fact, Found, Outcome, Wanted
from intramural.core.actor import Actor
from intramural.core.clock import Clock
from intramural.core.errors import Misasked
from intramural.egress import PURPOSES, Book, Closed, Destination, Egress, Entry, Errand, Mode, Purpose, Rule
from intramural.services.gate import Gate

#: What begins so in the log is the ledger.
LEDGER = "egress."
#: Longer than this nobody means for a time.
MOST_DAYS = 3_650
#: What the list is asked about; the database's client is not (docs/egress.md).
_DECIDED: tuple[Purpose, ...] = tuple(each for each in PURPOSES if each != "database")


class AuditLedger:
    """The ledger is in the audit log: what is known of a connection is verified with the rest."""

    def __init__(self, audit: AuditLog, book: Book) -> None:
        self._audit = audit
        self._book = book

    async def asked(self, errand: Errand, to: Destination, code: str) -> None:
        facts = _facts(errand, to) | {"code": code}
        async with self._audit.transaction() as (connection, record):
            entry = await self._book.ask(connection, to, errand.purpose, errand.actor.person_id, errand.about)
            event = Event.EGRESS_REFUSED if entry is None else Event.EGRESS_ASKED
            named: dict[str, Fact] = {} if entry is None else {"entry": entry.id}
            record(event, errand.actor, target=_target(to), outcome="refused", facts=facts | named)
        await self._book.load()

    async def spent(self, errand: Errand, rule: Rule) -> None:
        async with self._audit.transaction() as (connection, record):
            entry = await self._book.forget(connection, rule.id)
            to = Destination(entry.host, entry.port)
            facts = _facts(errand, to) | {"entry": entry.id, "why": "it was for once"}
            record(Event.EGRESS_FORGOTTEN, errand.actor, target=_target(to), facts=facts)
        await self._book.load()

    async def refused(self, errand: Errand, to: Destination, code: str, by: str) -> None:
        await self._note(Event.EGRESS_REFUSED, errand, to, "refused", {"code": code, "by": by})

    async def failed(self, errand: Errand, to: Destination, code: str, by: str) -> None:
        await self._note(Event.EGRESS_FAILED, errand, to, "failed", {"code": code, "by": by})

    async def connected(self, errand: Errand, to: Destination, passage_id: str, address: str, by: str) -> None:
        facts: dict[str, Fact] = {"connection": passage_id, "address": address, "by": by}
        await self._note(Event.EGRESS_CONNECTED, errand, to, "allowed", facts)

    async def closed(self, errand: Errand, to: Destination, passage_id: str, how: Closed) -> None:
        facts: dict[str, Fact] = {
            "connection": passage_id,
            "sent_bytes": how.sent_bytes,
            "received_bytes": how.received_bytes,
            "ms": int(how.lasted_s * 1000),
        }
        await self._note(Event.EGRESS_CLOSED, errand, to, "finished", facts)

    async def _note(
        self, event: Event, errand: Errand, to: Destination, outcome: Outcome, facts: dict[str, Fact]
    ) -> None:
        facts = _facts(errand, to) | facts
        await self._audit.record(event, errand.actor, target=_target(to), outcome=outcome, facts=facts)


@dataclass(frozen=True, slots=True)
class Overview:
    """The mode, whether the broker runs, what settings allow, and what people decided or are asked."""

    mode: Mode
    running: bool
    named: Sequence[Rule]
    entries: Sequence[Entry]


@dataclass(frozen=True, slots=True)
class Lines:
    """Which lines of the ledger are wanted: below and above a position; to hosts that begin so; for a purpose; with an
    outcome (`refused`, `failed`, `allowed`, `finished`)."""

    before: int | None = None
    after: int | None = None
    host: str | None = None
    purpose: str | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Lines of the ledger; `newest`: the last position of the log when they were looked for."""

    found: Found
    newest: int


class EgressDesk:
    """What an administrator decides about the way out, and an auditor sees of it."""

    def __init__(self, gate: Gate, egress: Egress, audit: AuditLog, clock: Clock) -> None:
        self._gate = gate
        self._egress = egress
        self._audit = audit
        self._clock = clock

    async def overview(self, actor: Actor) -> Overview:
        """The whole list, with its questions."""
        await self._gate.require(actor, Action.EGRESS_READ)
        entries = await self._egress.book.entries()
        return Overview(self._egress.mode, self._egress.is_running, self._egress.named, entries)

    async def decide(
        self,
        actor: Actor,
        host: str,
        port: int,
        purpose: str,
        verdict: Literal["allow", "deny"],
        *,
        inside: bool = False,
        once: bool = False,
        for_s: int | None = None,
    ) -> Entry:
        """Allow or deny a destination for a purpose, and answer the question about it if there is one.

        `port` 0: whichever, for denying only. `inside`: the name may be in a private network. `once`: for the next
        errand; `for_s` None: for good. Raises Misasked(`bad_destination`, `bad_purpose`, `bad_time`).
        """
        to = _checked(host, port, verdict)
        await self._gate.require(actor, Action.EGRESS_CHANGE, target=_target(to))
        meant = next((each for each in _DECIDED if each == purpose), None)
        if meant is None:
            hint = f"Purposes: {', '.join(_DECIDED)}."
            raise Misasked("bad_purpose", f"{purpose[:40]!r} is no purpose.", hint, param="purpose")
        if for_s is not None and not 0 < for_s <= MOST_DAYS * 86_400:
            raise Misasked("bad_time", "That is no time to allow something for.", f"At most {MOST_DAYS} days.")
        expires_ms = None if for_s is None else int((self._clock.now_s() + for_s) * 1000)
        async with self._audit.transaction() as (connection, record):
            entry = await self._egress.book.decide(
                connection, to, meant, verdict, actor.person_id, inside=inside, once=once, expires_ms=expires_ms
            )
            facts: dict[str, Fact] = {"entry": entry.id, "host": to.host, "port": to.port, "purpose": purpose}
            facts |= {"inside": inside, "once": once, "expires_ms": expires_ms}
            record(
                Event.EGRESS_ALLOWED if verdict == "allow" else Event.EGRESS_DENIED,
                actor,
                target=_target(to),
                facts=facts,
            )
        await self._egress.book.load()
        return entry

    async def forget(self, actor: Actor, entry_id: str) -> Entry:
        """Take an entry, or a question, off the list. Raises Missing(`egress_entry_not_found`)."""
        await self._gate.require(actor, Action.EGRESS_CHANGE, target=f"egress:{entry_id}")
        async with self._audit.transaction() as (connection, record):
            entry = await self._egress.book.forget(connection, entry_id)
            facts: dict[str, Fact] = {"entry": entry.id, "host": entry.host, "port": entry.port}
            facts |= {"purpose": entry.purpose, "was": entry.verdict, "why": "it was taken away"}
            target = _target(Destination(entry.host, entry.port))
            record(Event.EGRESS_FORGOTTEN, actor, target=target, facts=facts)
        await self._egress.book.load()
        return entry

    async def ledger(self, actor: Actor, lines: Lines, limit: int) -> Page:
        """What went out, was refused, asked and decided: entries of the audit log, the newest first."""
        await self._gate.require(actor, Action.EGRESS_READ)
        newest = self._audit.size - 1  # before it is looked: what comes meanwhile is found the next time as well
        wanted = Wanted(
            lines.before,
            event=LEDGER,
            after=lines.after,
            target=None if lines.host is None else f"host:{lines.host.strip().casefold()}",
            purpose=lines.purpose,
            outcome=lines.outcome,
        )
        return Page(await self._audit.search(wanted, limit), newest)


def _checked(host: str, port: int, verdict: str) -> Destination:
    """Raises Misasked(`bad_destination`)."""
    if port == 0 and verdict == "deny":
        return Destination(Destination.of(host, 1).host, 0)
    return Destination.of(host, port)


def _facts(errand: Errand, to: Destination) -> dict[str, Fact]:
    return {"purpose": errand.purpose, "host": to.host, "port": to.port, "about": errand.about}


def _target(to: Destination) -> str:
    return f"host:{to}"
