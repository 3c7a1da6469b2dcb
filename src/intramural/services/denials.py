"""What confined processes tried that none of ours ever tries, and were refused: one event for each process and call,
and an alarm for a day.

What a worker says is an outsider's word, and what it does is, too: it decides how much is heard of it. So events have a
pace; what came faster is counted, and written as one event when there is room again. Calls have names from a table.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from intramural.audit import AuditLog, Event, Fact
from intramural.core.actor import SYSTEM
from intramural.core.clock import Clock, is_due
from intramural.core.errors import IntramuralError
from intramural.metering import DenialNumbers
from intramural.sandbox.hearing import OTHERS, Denied
from intramural.sandbox.starting import on_denied

log = logging.getLogger(__name__)

Kind = Literal["worker", "broker", "child"]
#: The room that a process's entry is of → what the process is; any other reads one thing and ends.
_KINDS: Mapping[str, Kind] = {"serving": "worker", "egress": "broker"}
#: Since the last refusal: long enough that somebody has looked, whatever the day.
ALARM_MS = 24 * 3_600_000
#: Events: as many at once, and then one in so many seconds. A process that tries everything makes 65 of them.
BURST, ONE_EVERY_S = 60, 60.0
#: Processes of which it is still known what they were refused.
_MOST_KNOWN = 50


@dataclass(slots=True)
class Pace:
    """How many events may be written by now. Pure: seconds are handed to it."""

    left: float = BURST
    since_s: float | None = None

    def may(self, now_s: float) -> bool:
        """Whether one more may be written; if so, it counts."""
        earlier_s = now_s if self.since_s is None else self.since_s
        self.since_s = now_s
        self.left = min(BURST, self.left + max(0.0, now_s - earlier_s) / ONE_EVERY_S)
        if self.left < 1:
            return False
        self.left -= 1
        return True


@dataclass(slots=True)
class Refused:
    """One process, and the calls it was refused: name → how often. `about`: what it was started for."""

    kind: Kind
    about: str
    entry: str
    pid: int
    first_ms: int
    last_ms: int
    calls: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Alarm:
    """`red`: something was refused within a day. `refused`: since the service started, the newest first."""

    red: bool
    why: str
    refused: tuple[Refused, ...]


def kind_of(entry: str) -> Kind:
    """What a process is, by the function that it runs. Pure."""
    return _KINDS.get([*entry.split("."), ""][1], "child")


class Denials:
    """Hears of every child of this process. `open` it before the first one; `close` it after the last."""

    def __init__(self, audit: AuditLog, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock
        self._pace = Pace()
        self._known: dict[int, Refused] = {}
        self._counts: Counter[tuple[Kind, str]] = Counter()
        self._unwritten = 0
        self._last_ms: int | None = None
        self._writing: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Know of the last one before this start, and hear of new ones."""
        found = await self._audit.entries(limit=1, event=Event.SANDBOX_DENIED)
        self._last_ms = found[0].time_ms if found else None
        on_denied(self.heard)

    async def close(self) -> None:
        """Hear of none any more; what was not written is."""
        on_denied(None)
        await self.settled()
        if self._unwritten:
            await self._write([self._more()])

    async def settled(self) -> None:
        """Return when all that was heard is written down."""
        await asyncio.gather(*self._writing)

    def alarm(self) -> Alarm:
        """How it stands."""
        red = self._is_red()
        why = (
            "Within the last day a confined process tried what none of ours ever tries. It was refused; the log has it "
            "(sandbox.denied)."
            if red
            else "Within the last day no confined process was refused anything that none of ours ever tries."
        )
        return Alarm(red, why, tuple(reversed(self._known.values())))

    def numbers(self) -> DenialNumbers:
        """For a scrape."""
        return DenialNumbers(self._is_red(), {(kind, call): count for (kind, call), count in self._counts.items()})

    def heard(self, denied: Denied) -> None:
        """A process was refused something."""
        now_ms = self._now_ms()
        self._last_ms = now_ms
        kind = kind_of(denied.entry)
        of = self._known.pop(denied.number, None)
        if of is None:
            of = Refused(kind, denied.about, denied.entry, denied.pid, now_ms, now_ms)
        self._known[denied.number] = of  # the newest is the last
        if len(self._known) > _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        of.last_ms = now_ms
        new = [name for name in denied.calls if name not in of.calls]
        of.calls.update(denied.calls)
        self._counts.update({(kind, name): count for name, count in denied.calls.items()})
        if new:
            self._note(of, new)

    def _note(self, of: Refused, names: Iterable[str]) -> None:
        entries = []
        for name in names:
            if not self._pace.may(self._clock.monotonic_s()):
                self._unwritten += 1
                continue
            if self._unwritten:
                entries.append(self._more())
            entries.append((of.about or of.kind, self._facts(of, name)))
        if entries:
            task = asyncio.create_task(self._write(entries), name="what was refused")
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    def _facts(self, of: Refused, name: str) -> dict[str, Fact]:
        facts: dict[str, Fact] = {"process": of.kind, "pid": of.pid, "entry": of.entry, "call": name}
        return {**facts, "count": of.calls[name], "first_ms": of.first_ms}

    def _more(self) -> tuple[str, dict[str, Fact]]:
        """Those that came too fast, as one."""
        count, self._unwritten = self._unwritten, 0
        return "processes", {"call": OTHERS, "count": count}

    async def _write(self, entries: Iterable[tuple[str, dict[str, Fact]]]) -> None:
        for target, facts in entries:
            log.warning("a confined process was refused %s: %s", facts["call"], facts)
            try:
                await self._audit.record(Event.SANDBOX_DENIED, SYSTEM, target=target, facts=facts)
            except IntramuralError as error:  # the alarm stands for as long as the service does
                log.error("that could not be written down: %s", error.code)

    def _is_red(self) -> bool:
        return self._last_ms is not None and not is_due(self._last_ms, self._now_ms(), ALARM_MS)

    def _now_ms(self) -> int:
        return int(self._clock.now_s() * 1000)
