"""The only reader of wall time, monotonic time and randomness: a `Clock` is handed to whoever needs one."""

import secrets
import time
from typing import Protocol


class Clock(Protocol):
    """Time and chance, replaceable in tests."""

    def now_s(self) -> float:
        """Wall time, seconds since the epoch (UTC)."""
        ...

    def monotonic_s(self) -> float:
        """Monotonic time in seconds; only differences mean anything."""
        ...

    def token_bytes(self, size_bytes: int) -> bytes:
        """`size_bytes` unpredictable bytes."""
        ...


def is_due(last_ms: int, now_ms: int, every_ms: int) -> bool:
    """Whether what was last done at `last_ms` is to be done again. A time to come is one of a clock that was ahead and
    was set back since: nobody knows how long ago that was, so it is.
    """
    return not 0 <= now_ms - last_ms < every_ms


class SystemClock:
    """The operating system's clock and generator."""

    def now_s(self) -> float:
        return time.time()

    def monotonic_s(self) -> float:
        return time.monotonic()

    def token_bytes(self, size_bytes: int) -> bytes:
        return secrets.token_bytes(size_bytes)
