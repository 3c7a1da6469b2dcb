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


class SystemClock:
    """The operating system's clock and generator."""

    def now_s(self) -> float:
        return time.time()

    def monotonic_s(self) -> float:
        return time.monotonic()

    def token_bytes(self, size_bytes: int) -> bytes:
        return secrets.token_bytes(size_bytes)
