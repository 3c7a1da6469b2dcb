"""Models that are loaded before people come: `serving.preload = "small, large@07:30 mon-fri"`. Times are local."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from intramural.core.clock import Clock
from intramural.core.errors import IntramuralError, Misasked

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ENTRY = re.compile(r"(?P<name>[^@,\s]+)(@(?P<hour>\d\d):(?P<minute>\d\d)(?P<days>(\s+[a-z]{3}(-[a-z]{3})?)*))?")
#: How often the clock is looked at: it may be set, and a machine may sleep.
_LOOK_S = 20.0
#: Later than this, nobody comes for it any more.
_TOO_LATE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Preload:
    """One model. `at` None: when the service starts. `days`: 0 is Monday."""

    name: str
    at: time | None = None
    days: frozenset[int] = frozenset(range(7))


def parse_preloads(text: str) -> tuple[Preload, ...]:
    """Raises Misasked(`bad_setting`)."""
    return tuple(_entry(part.strip()) for part in text.split(",") if part.strip())


def next_due(entries: Sequence[Preload], after: datetime) -> tuple[datetime, tuple[str, ...]] | None:
    """The first time after `after` at which models are to be loaded, and which; None if none ever is."""
    found: dict[datetime, list[str]] = {}
    for entry in entries:
        for distance in range(8) if entry.at is not None else ():
            day = after.date() + timedelta(days=distance)
            due = datetime.combine(day, entry.at or time())
            if due > after and day.weekday() in entry.days:
                found.setdefault(due, []).append(entry.name)
    return (first, tuple(found[first])) if (first := min(found, default=None)) else None


class Preloads:
    """Loads what is due. A failure is told and does not end it."""

    def __init__(
        self,
        text: str,
        clock: Clock,
        load: Callable[[str], Awaitable[None]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Raises as `parse_preloads`."""
        self._entries = parse_preloads(text)
        self._clock = clock
        self._load = load
        self._sleep = sleep

    async def at_start(self, names: Sequence[str], report: Callable[[str], None]) -> None:
        """Load what has no time of its own; if nothing is set at all, the only one of `names`."""
        wanted = [entry.name for entry in self._entries if entry.at is None]
        if not self._entries and len(names) == 1:
            wanted = list(names)
        for name in wanted:
            await self._try(name, report)

    async def run(self, report: Callable[[str], None]) -> None:
        """Load the others when their time comes. Returns at once if there are none."""
        after = self._now()
        while (due := next_due(self._entries, after)) is not None:
            await self._sleep(_LOOK_S)
            now = self._now()
            if now < after:
                after = now  # the clock was set back
            elif now >= due[0]:
                if now - due[0] < timedelta(seconds=_TOO_LATE_S):
                    for name in due[1]:
                        await self._try(name, report)
                after = due[0]

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_s())

    async def _try(self, name: str, report: Callable[[str], None]) -> None:
        try:
            await self._load(name)
        except IntramuralError as error:
            report(f"{name} is not loaded: {error}")


def _entry(text: str) -> Preload:
    found = _ENTRY.fullmatch(text)
    if found is None:
        raise _bad(text)
    if found["hour"] is None:
        return Preload(found["name"])
    if int(found["hour"]) > 23 or int(found["minute"]) > 59:
        raise _bad(text)
    days = frozenset(day for part in found["days"].split() for day in _days(text, part))
    at = time(int(found["hour"]), int(found["minute"]))
    return Preload(found["name"], at, days or frozenset(range(7)))


def _days(text: str, part: str) -> list[int]:
    first, _, last = part.partition("-")
    if first not in _DAYS or (last or first) not in _DAYS:
        raise _bad(text)
    begin, end = _DAYS.index(first), _DAYS.index(last or first)
    return [day % 7 for day in range(begin, end + (1 if end >= begin else 8))]


def _bad(text: str) -> Misasked:
    hint = "An entry is `MODEL`, `MODEL@07:30`, or `MODEL@07:30 mon-fri`; commas separate them."
    return Misasked("bad_setting", f"serving.preload has {text!r}.", hint)
