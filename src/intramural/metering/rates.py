"""How often a name may knock: an even rate with room for a burst. Pure: time comes as an argument.

The generic cell rate algorithm: one number for each name, the moment from which it has no burst left to pay for.
"""

from collections import OrderedDict

#: So long takes a refusal for asking too often to be told: programs that ask again at once ask less often, and those
#: that wait as they are told do not notice.
PAUSE_S = 0.5
#: Names remembered at once; beyond it the one left alone longest is forgotten, which forgives it.
CAPACITY = 10_000


class Rate:
    """At most `per_minute` in the long run and as many at once; 0: any number."""

    def __init__(self, per_minute: int, capacity: int = CAPACITY) -> None:
        self.per_minute = per_minute
        self._apart_s = 60 / per_minute if per_minute else 0.0
        self._burst_s = 60.0
        self._capacity = capacity
        self._paid_until: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, name: str, now_s: float) -> float:
        """0 and counted, or the seconds until `name` may knock again. `now_s` must not step back."""
        if not self._apart_s:
            return 0.0
        until = max(self._paid_until.get(name, now_s), now_s) + self._apart_s
        if until - now_s > self._burst_s + 1e-6:
            return until - now_s - self._burst_s
        self._paid_until[name] = until
        self._paid_until.move_to_end(name)
        if len(self._paid_until) > self._capacity:
            self._paid_until.popitem(last=False)
        return 0.0
