"""A clock that can be set."""

from intramural.core.clock import SystemClock


class SettableClock(SystemClock):
    """The real clock, moved by `offset_s`."""

    offset_s: float = 0.0

    def now_s(self) -> float:
        return super().now_s() + self.offset_s
