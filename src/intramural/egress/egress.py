"""The way out: decide, connect, write down, hand over. In this order, and for everything."""

import asyncio
import logging
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from intramural.core.actor import Actor
from intramural.core.clock import Clock
from intramural.core.errors import IntramuralError, Missing, Refused
from intramural.core.ids import new_id
from intramural.core.outward import Connect
from intramural.egress.book import Book
from intramural.egress.broker import Broker
from intramural.egress.passage import Counted, Passage
from intramural.egress.rules import Decision, Destination, Mode, Purpose, Rule, decide, refusal

log = logging.getLogger(__name__)

#: Brokers that wait for another's end.
_SPARES = 1
#: Connections that are being closed when the service ends are waited for so long.
_CLOSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Errand:
    """What connections are for, and who is answerable. `about`: what it is for, as the log names it (`source:hf:…`,
    `engine:lab`). `approves`: who asked may decide about the list, so that what they name is allowed for it."""

    actor: Actor
    purpose: Purpose
    about: str
    approves: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """How a connection ended: bytes as the kernel counted them (None: it does not say), and how long it lasted."""

    sent_bytes: int | None
    received_bytes: int | None
    lasted_s: float


class Ledger(Protocol):
    """Where all of it is written down. Each returns when it is durable, and raises Unavailable(`audit_unavailable`)."""

    async def asked(self, errand: Errand, to: Destination, code: str) -> None:
        """Nothing was connected to, and an administrator is asked: the question is in the book."""
        ...

    async def spent(self, errand: Errand, rule: Rule) -> None:
        """What was allowed once is taken up by this errand; it is out of the book. Raises Missing where it was."""
        ...

    async def refused(self, errand: Errand, to: Destination, code: str, by: str) -> None:
        """Nothing was connected to. `code`: of the error; `by`: the rule."""
        ...

    async def failed(self, errand: Errand, to: Destination, code: str, by: str) -> None:
        """It was allowed, and no connection came about."""
        ...

    async def connected(self, errand: Errand, to: Destination, passage_id: str, address: str, by: str) -> None:
        """A connection is there; nothing has been sent on it."""
        ...

    async def closed(self, errand: Errand, to: Destination, passage_id: str, how: Closed) -> None:
        """It is no more."""
        ...


class Egress:
    """`broker` None: nothing leaves (`sealed`)."""

    def __init__(
        self, mode: Mode, named: Sequence[Rule], book: Book, broker: Broker | None, ledger: Ledger, clock: Clock
    ) -> None:
        self.mode: Mode = "sealed" if broker is None else mode
        self.named = tuple(named)
        self.book = book
        self._broker = broker
        self._ledger = ledger
        self._clock = clock
        #: Connections that were handed over and not closed yet; ends that are still to be written down.
        self._open: set[str] = set()
        self._none_open = asyncio.Event()
        self._none_open.set()
        self._ending: set[asyncio.Future[None]] = set()

    @property
    def is_running(self) -> bool:
        """Whether there is a broker's process now."""
        return self._broker is not None and self._broker.is_running

    async def open(self) -> None:
        """Start the broker now, and one that waits for its end, rather than when somebody first needs it."""
        if self._broker is not None:
            try:
                await self._broker.open(_SPARES)
            except IntramuralError as error:  # who needs it is told then
                log.error("%s", error)

    async def close(self) -> None:
        """End the broker; what is closed by then, or in a moment, is written down."""
        if self._broker is not None:
            await self._broker.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self._none_open.wait()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def allowed(self) -> list[Rule]:
        """What may leave now: rules that settings name or people made, and that count still."""
        now_ms = self._now_ms()
        rules = (*self.named, *self.book.rules())
        return [each for each in rules if each.verdict == "allow" and each.counts(now_ms)]

    def way(self, errand: Errand) -> Connect:
        """The way out for one errand: what is allowed once is allowed for all of it.

        Raises as `Connect` says: Refused(`egress_sealed`, `egress_denied`, `egress_unknown`, `egress_expired`,
        `egress_address_refused`), Unavailable(`egress_unavailable`, `audit_unavailable`),
        Untrusted(`egress_broker_lied`), Misasked(`bad_destination`), OSError.
        """
        held: list[Rule] = []

        async def connect(host: str, port: int, timeout_s: float) -> Passage:
            return await self._connected(errand, Destination.of(host, port), timeout_s, held)

        return connect

    async def _connected(self, errand: Errand, to: Destination, timeout_s: float, held: list[Rule]) -> Passage:
        decision = await self._decided(errand, to, held)
        assert self._broker is not None, "without one everything is refused"
        by = decision.by
        try:
            passage, address = await self._broker.connect(to, decision.near, timeout_s)
        except Refused as error:
            await self._ledger.refused(errand, to, error.code, by)
            raise
        except IntramuralError as error:
            await self._ledger.failed(errand, to, error.code, by)
            raise
        except OSError as error:
            await self._ledger.failed(errand, to, _word(error), by)
            raise
        passage_id = new_id("out", self._clock)
        try:
            await self._ledger.connected(errand, to, passage_id, address, by)
        except BaseException:
            passage.close()
            raise
        self._watch(passage, errand, to, passage_id)
        return passage

    async def _decided(self, errand: Errand, to: Destination, held: list[Rule]) -> Decision:
        """The decision that allows it. Raises Refused."""
        while True:
            rules = (*self.named, *self.book.rules(), *held)
            decision = decide(self.mode, rules, to, errand.purpose, self._now_ms(), by_approver=errand.approves)
            rule = decision.rule
            if decision.verdict == "allowed" and rule is not None and rule.once and rule not in held:
                try:
                    await self._ledger.spent(errand, rule)
                except Missing:  # another errand was quicker
                    await self.book.load()
                    continue
                held.append(rule)
            break
        if decision.verdict == "allowed":
            return decision
        if decision.verdict == "ask":
            await self._ledger.asked(errand, to, decision.by)
        else:
            await self._ledger.refused(errand, to, decision.by, rule.id if rule else decision.by)
        raise refusal(decision, to, errand.purpose)

    def _watch(self, passage: Passage, errand: Errand, to: Destination, passage_id: str) -> None:
        loop, began_s = asyncio.get_running_loop(), self._clock.monotonic_s()
        self._open.add(passage_id)
        self._none_open.clear()

        def note(counted: Counted) -> None:
            how = Closed(counted.sent, counted.received, self._clock.monotonic_s() - began_s)
            writing = asyncio.ensure_future(self._ledger.closed(errand, to, passage_id, how))
            self._ending.add(writing)
            writing.add_done_callback(self._ended)
            self._open.discard(passage_id)
            if not self._open:
                self._none_open.set()

        def ended(counted: Counted) -> None:
            with suppress(RuntimeError):  # it is collected as garbage, and the loop has ended
                loop.call_soon_threadsafe(note, counted)

        passage.watch(ended)

    def _ended(self, writing: "asyncio.Future[None]") -> None:
        self._ending.discard(writing)
        if not writing.cancelled() and (error := writing.exception()) is not None:
            log.error("the end of a connection could not be written down: %s", error)

    def _now_ms(self) -> int:
        return int(self._clock.now_s() * 1000)


def _word(error: OSError) -> str:
    """What happened, in a word that says nothing of anybody."""
    if isinstance(error, TimeoutError):
        return "timed_out"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    return "name_unknown" if isinstance(error, socket.gaierror) else "unreachable"
