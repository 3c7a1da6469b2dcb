"""How often somebody may try a password: two sliding windows, by name and by address. Pure: time comes as an argument.

By name an attempt is counted when it begins and taken back when it succeeds, so that guesses made at one time are
bounded too. By address a failure is counted when it is one, and how many are under way is bounded apart from that: a
school of which everybody signs in at eight from one address is no attack, and waits seconds, not the window. An attempt
that is refused is not counted: who waits as long as they were told is admitted.
"""

import ipaddress
from collections import Counter, OrderedDict
from dataclasses import dataclass

from intramural.core.errors import Throttled

#: Names (and, apart from them, addresses) remembered at once; beyond it the one left alone longest is forgotten.
CAPACITY = 10_000
#: Attempts under way from one address, a whole school's: with what its window leaves, all it can guess in one go.
OPEN_MOST = 200
_OPEN_RETRY_S = 3.0


class SlidingWindow:
    """At most `limit` attempts for each name within any `window_s` seconds."""

    def __init__(self, limit: int, window_s: float, capacity: int = CAPACITY) -> None:
        self._limit = limit
        self._window_s = window_s
        self._capacity = capacity
        self._attempts: OrderedDict[str, list[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._attempts)

    def wait_s(self, name: str, now_s: float) -> float:
        """Seconds until `name` may try again; 0 when it may now."""
        live = [at for at in self._attempts.get(name, ()) if at + self._window_s > now_s]
        if len(live) < self._limit:
            return 0.0
        return max(live[-self._limit] + self._window_s - now_s, 0.001)

    def count(self, name: str, now_s: float) -> None:
        """Remember an attempt."""
        live = [at for at in self._attempts.pop(name, ()) if at + self._window_s > now_s]
        self._attempts[name] = [*live, now_s]
        self._forget(now_s)

    def take_back(self, name: str, at_s: float) -> None:
        """Forget the attempt that was counted at `at_s`."""
        attempts = self._attempts.get(name, [])
        if at_s in attempts:
            attempts.remove(at_s)
        if not attempts:
            self._attempts.pop(name, None)

    def _forget(self, now_s: float) -> None:
        """Names are in the order of their last attempts: drop the lapsed from the front, and what is over capacity."""
        while self._attempts:
            name, attempts = next(iter(self._attempts.items()))
            if len(self._attempts) <= self._capacity and attempts[-1] + self._window_s > now_s:
                return
            del self._attempts[name]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One counted attempt, to be taken back if it succeeds."""

    username: str
    address: str
    at_s: float


class Throttle:
    """The windows of names and of addresses together. Whoever is admitted has `succeeded`, or `failed`."""

    def __init__(self, attempts: int, window_s: float, *, address_attempts: int | None = None) -> None:
        """`address_attempts`: failures from one address, which may be many people's; as for a name where not said."""
        self._names = SlidingWindow(attempts, window_s)
        self._addresses = SlidingWindow(attempts if address_attempts is None else address_attempts, window_s)
        #: Attempts under way by address; those without any are not in it.
        self._open: Counter[str] = Counter()

    def admit(self, username: str, address: str, now_s: float) -> Attempt:
        """Count an attempt. Raises Throttled(`too_many_attempts`, `sign_in_busy`) with the seconds to wait; the same
        for names that exist and names that do not.
        """
        attempt = Attempt(username[:64], _network(address), now_s)
        wait_s = max(self._names.wait_s(attempt.username, now_s), self._addresses.wait_s(attempt.address, now_s))
        if wait_s > 0:
            raise Throttled(
                "too_many_attempts",
                "There were too many failed sign-ins with this name or from this address.",
                f"Try again in {wait_s:.0f} s.",
                retry_after_s=wait_s,
            )
        if self._open[attempt.address] >= OPEN_MOST:
            message = "Too many people are signing in from this address at this moment."
            raise Throttled("sign_in_busy", message, "Try again in a few seconds.", retry_after_s=_OPEN_RETRY_S)
        self._names.count(attempt.username, now_s)
        self._open[attempt.address] += 1
        return attempt

    def succeeded(self, attempt: Attempt) -> None:
        """Take the attempt back: it was no guess, or nobody looked at it. Earlier failures stay: an account of one's
        own must not wash guesses at others'.
        """
        self._names.take_back(attempt.username, attempt.at_s)
        self._closed(attempt)

    def failed(self, attempt: Attempt, now_s: float) -> None:
        """It was a wrong guess, or one of which nobody knows."""
        self._addresses.count(attempt.address, now_s)
        self._closed(attempt)

    def _closed(self, attempt: Attempt) -> None:
        self._open[attempt.address] -= 1
        if self._open[attempt.address] <= 0:
            del self._open[attempt.address]


def _network(address: str) -> str:
    """One machine's address; for IPv6 its /64, which is what one machine is given."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((int(parsed), 64), strict=False))
    return str(parsed)
