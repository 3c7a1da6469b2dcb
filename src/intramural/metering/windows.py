"""Calendar windows: the minute, hour, day or month that a moment lies in, as the institution's clock has it. Pure.

A window is named by its beginning, so a clock that is set back leads into the window that was there, with what was used
in it, and one that is set forward into the next.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from intramural.core.errors import Misasked

#: `now`: no window; what counts is what there is at this moment (streams, stored bytes).
Period = Literal["now", "minute", "hour", "day", "month"]
PERIODS: tuple[Period, ...] = ("now", "minute", "hour", "day", "month")

_MINUTE_MS = 60_000
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Window:
    """From `start_ms` (which names it) to just before `end_ms`, milliseconds since the epoch. `now` has 0 and 0."""

    start_ms: int
    end_ms: int

    def holds(self, now_ms: int) -> bool:
        return self.start_ms <= now_ms < self.end_ms


NO_WINDOW = Window(0, 0)


def window(period: Period, now_ms: int, zone: ZoneInfo) -> Window:
    """The window of `period` that `now_ms` lies in. Days have 23 or 25 hours where the clocks change."""
    if period == "now":
        return NO_WINDOW
    if period == "minute":
        start_ms = now_ms - now_ms % _MINUTE_MS
        return Window(start_ms, start_ms + _MINUTE_MS)
    there = datetime.fromtimestamp(now_ms // 1000, zone)
    if period == "hour":
        # Hours of zones that are half an hour off begin at half past; counted on, they never end before they begin.
        offset_ms = int((there.utcoffset() or timedelta()).total_seconds()) * 1000
        start_ms = now_ms - (now_ms + offset_ms) % _HOUR_MS
        return Window(start_ms, start_ms + _HOUR_MS)
    day = there.date()
    if period == "day":
        return Window(_midnight_ms(day, zone), _midnight_ms(day + timedelta(1), zone))
    first = day.replace(day=1)
    return Window(_midnight_ms(first, zone), _midnight_ms((first + timedelta(31)).replace(day=1), zone))


@lru_cache(maxsize=32)
def zone_of(name: str) -> ZoneInfo:
    """The time zone of that IANA name. Raises Misasked(`bad_setting`) for one that this machine does not know."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # a folder, a path that leads out, a name that nothing has
        hint = "Use a name such as `Europe/Berlin`; the machine's own list is in /usr/share/zoneinfo (package tzdata)."
        raise Misasked("bad_setting", f"quotas.time_zone: there is no time zone {name!r} here.", hint) from None


def _midnight_ms(day: date, zone: ZoneInfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1000
