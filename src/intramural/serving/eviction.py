"""Which idle models make room for another one: those whose absence will cost least. Pure.

What it costs to be without a model is how long loading it again takes, times how likely somebody asks for it soon. How
long is known from the last load, else guessed from its bytes; how likely, from how often it was asked for, of which
half is forgotten in `HALF_LIFE_S`. So a large model that a class uses is kept, and two small ones that nobody wants go.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from types import MappingProxyType

import msgspec
from msgspec.structs import replace

HALF_LIFE_S = 1800.0
#: For how far ahead somebody's asking counts.
_SOON_S = 1800.0
#: A load whose time is not known: the start of a process, and bytes a second (checked, read and laid out).
_START_S, _LOAD_BYTES_PER_S = 0.4, 700_000_000
#: Of more idle workers than this, not every combination is weighed.
_MOST_WEIGHED = 10
#: Models of which something is remembered.
_MOST_REMEMBERED = 256

Key = tuple[str, str]


class Habit(msgspec.Struct, frozen=True):
    """How often a model was asked for (`asks`, as it stood at `at_s`), and how long its last load took, if any did."""

    asks: float = 0.0
    at_s: float = 0.0
    load_s: float | None = None

    def asked(self, now_s: float) -> "Habit":
        return replace(self, asks=self.decayed(now_s) + 1.0, at_s=now_s)

    def decayed(self, now_s: float) -> float:
        return self.asks * math.exp2(-max(0.0, now_s - self.at_s) / HALF_LIFE_S)

    def likelihood(self, now_s: float) -> float:
        """That somebody asks soon, if people go on as they did."""
        rate = self.decayed(now_s) * math.log(2) / HALF_LIFE_S
        return 1 - math.exp(-rate * _SOON_S)

    def absence_s(self, now_s: float, memory_bytes: int) -> float:
        """Seconds that somebody will wait, on average, for its not being there."""
        load_s = _START_S + memory_bytes / _LOAD_BYTES_PER_S if self.load_s is None else self.load_s
        return load_s * self.likelihood(now_s)


Habits = Mapping[Key, Habit]
NO_HABITS: Habits = MappingProxyType({})


def remembered(habits: Habits, key: Key, habit: Habit) -> Habits:
    """`habits` with this one, and without the oldest if they are too many."""
    changed = {**habits, key: habit}
    if len(changed) > _MOST_REMEMBERED:
        del changed[min(changed, key=lambda each: changed[each].at_s)]
    return MappingProxyType(changed)


class Holding(msgspec.Struct, frozen=True):
    """An idle worker: the bytes that its end would free, and what its absence costs."""

    id: int
    memory_bytes: int
    cost: float


def cheapest(holdings: Sequence[Holding], need_bytes: int) -> list[int] | None:
    """The workers whose ends together free `need_bytes` at the least cost; None if all of them free less.

    Where costs are equal the earlier in the list go: the caller puts the least recently used first.
    """
    if need_bytes <= 0:
        return []
    if sum(each.memory_bytes for each in holdings) < need_bytes:
        return None
    if len(holdings) > _MOST_WEIGHED:
        return _one_by_one(holdings, need_bytes)
    places = range(len(holdings))
    choices = (chosen for count in range(1, len(holdings) + 1) for chosen in combinations(places, count))
    enough = (each for each in choices if sum(holdings[place].memory_bytes for place in each) >= need_bytes)
    best = min(enough, key=lambda each: (round(sum(holdings[place].cost for place in each), 6), each))
    return [holdings[place].id for place in best]


def _one_by_one(holdings: Sequence[Holding], need_bytes: int) -> list[int]:
    chosen = []
    for each in sorted(holdings, key=lambda holding: holding.cost):
        if need_bytes <= 0:
            break
        chosen.append(each.id)
        need_bytes -= each.memory_bytes
    return chosen
