"""What may happen once: remembered for as long as it could happen again, in bounded memory. Pure: time is handed in."""

from collections import OrderedDict

#: Beyond it the oldest is forgotten.
CAPACITY = 10_000


class Once:
    """Names that were used within the last `keep_s` seconds."""

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._used: OrderedDict[str, float] = OrderedDict()

    def use(self, name: str, now_s: float) -> bool:
        """Whether this is the first time."""
        while self._used and (len(self._used) >= CAPACITY or next(iter(self._used.values())) < now_s - self._keep_s):
            self._used.popitem(last=False)
        if name in self._used:
            return False
        self._used[name] = now_s
        return True
