"""What is used and held of every limit at this moment: one process's memory, in front of the rows.

What is decided is decided between two awaits of one event loop, so that no two requests are admitted for the same room.
A balance that is not in memory is read from its row before (after a start, after the clock was set back: `prepare`);
one that has changes on their way to the disk stays in memory until they are there.
"""

from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo

from intramural.metering.quotas import Amounts, Asker, Limit, Measure, Refusal, Standing, applying, decide
from intramural.metering.windows import NO_WINDOW, Period, Window, window

#: Balances remembered; beyond it those left alone longest, with nothing under way, are read again when needed.
CAPACITY = 50_000
#: Of who may ask for what, remembered which limits apply.
_ASKERS = 16_384

#: Reads what was used: limit, whose, the window's beginning.
Load = Callable[[str, str, int], Awaitable[int]]
_Key = tuple[str, str, int]


@dataclass(slots=True)
class _Balance:
    """`busy`: requests whose charges are not on the disk yet."""

    used: int
    held: int = 0
    busy: int = 0


@dataclass(slots=True)
class _Hold:
    limit: Limit
    who: str
    window: Window
    balance: _Balance
    amount: int


@dataclass(frozen=True, slots=True)
class Charge:
    """`amount` is used of limit `limit_id`, whose balance is that of `who` in the window that began at `start_ms`."""

    limit_id: str
    who: str
    start_ms: int
    amount: int


@dataclass(slots=True)
class Reservation:
    """What one request holds until it is settled."""

    request_id: str
    wanted: Amounts
    holds: list[_Hold] = field(repr=False)
    settled: bool = False

    def charges(self) -> list[Charge]:
        """What is to be charged if nobody ever learns how it ended: all that is held. Streams end by themselves."""
        return [
            Charge(hold.limit.id, hold.who, hold.window.start_ms, hold.amount)
            for hold in self.holds
            if hold.limit.measure != "streams"
        ]


class Ledger:
    """Balances. `load` gives what was used of a limit as the rows have it; `zone` is the institution's."""

    def __init__(self, load: Load, zone: ZoneInfo, capacity: int = CAPACITY) -> None:
        self._load = load
        self._zone = zone
        self._capacity = capacity
        self._limits: tuple[Limit, ...] = ()
        self._balances: OrderedDict[_Key, _Balance] = OrderedDict()
        self._awaited: Counter[_Key] = Counter()  # by those who prepare
        self._windows: dict[Period, Window] = {}
        self._applying = lru_cache(_ASKERS)(self._apply)
        self._smallest = lru_cache(_ASKERS)(self._find_smallest)

    @property
    def limits(self) -> tuple[Limit, ...]:
        return self._limits

    def use(self, limits: Iterable[Limit]) -> None:
        """From now on these hold. What is under way is settled against those it began with."""
        self._limits = tuple(limits)
        self._applying.cache_clear()
        self._smallest.cache_clear()

    def smallest(self, asker: Asker, model: str | None, measure: Measure) -> int:
        """The smallest limit of `measure` that applies; 0: none does."""
        return self._smallest(asker, model, measure)

    def _find_smallest(self, asker: Asker, model: str | None, measure: Measure) -> int:
        found = (limit.amount for limit, _ in self._applying(asker, model) if limit.measure == measure)
        return min(found, default=0)

    async def prepare(self, asker: Asker, model: str | None, now_ms: int) -> None:
        """Have every balance in memory that `reserve` or `standings` with the same arguments will want.

        They must follow before anything else is awaited.
        """
        await self._have([self._key(limit, who, now_ms) for limit, who in self._applying(asker, model)])

    def reserve(
        self, request_id: str, asker: Asker, model: str, wanted: Amounts, now_ms: int
    ) -> Reservation | Refusal | None:
        """Hold `wanted` of every limit that applies, or of none: then the refusal. None: nothing limits this."""
        applying_ = self._applying(asker, model)
        if not applying_:
            return None
        holds = [self._hold(limit, who, now_ms, wanted) for limit, who in applying_]
        refusal = decide([_standing(hold) for hold in holds], wanted, now_ms)
        if refusal is not None:
            return refusal
        for hold in holds:
            hold.balance.held += hold.amount
            hold.balance.busy += 1
        return Reservation(request_id, wanted, holds)

    def change(self, reservation: Reservation, wanted: Amounts, now_ms: int) -> Refusal | None:
        """Hold `wanted` in place of what was held; where it is more and there is no room, the refusal, and all stays.

        What is held by now is known better than when it was asked: room is looked for in the windows it began in.
        """
        grown = [
            Standing(hold.limit, hold.balance.used, hold.balance.held - hold.amount, hold.window.end_ms or None)
            for hold in reservation.holds
            if wanted.of(hold.limit.measure) > hold.amount
        ]
        refusal = decide(grown, wanted, now_ms)
        if refusal is None:
            self._hold_instead(reservation, wanted)
        return refusal

    def settle(self, reservation: Reservation, spent: Amounts) -> list[Charge]:
        """The request has ended and used `spent`: what is to be written. Call `written` when that is on the disk."""
        charges: list[Charge] = []
        reservation.settled = True
        for hold in reservation.holds:
            hold.balance.held -= hold.amount
            amount = 0 if hold.limit.measure == "streams" else spent.of(hold.limit.measure)
            hold.balance.used += amount
            if amount:
                charges.append(Charge(hold.limit.id, hold.who, hold.window.start_ms, amount))
        return charges

    def written(self, reservation: Reservation) -> None:
        """Its charges are on the disk, or never will be."""
        for hold in reservation.holds:
            hold.balance.busy -= 1

    def standings(self, asker: Asker, model: str | None, now_ms: int) -> list[Standing]:
        """How all limits that apply to `asker` stand (with `model`, or with any)."""
        found = self._applying(asker, model)
        return [_standing(self._hold(limit, who, now_ms, Amounts())) for limit, who in found]

    async def standing(self, limit: Limit, who: str, now_ms: int) -> Standing:
        """How one limit stands for one of those it is for."""
        await self._have([self._key(limit, who, now_ms)])
        return _standing(self._hold(limit, who, now_ms, Amounts()))

    def start_ms(self, period: Period, now_ms: int) -> int:
        """When the present window of `period` began."""
        return self._window(period, now_ms).start_ms

    def now(self, reservation: Reservation) -> list[Standing]:
        """How the limits of a reservation stand, in the windows it began in."""
        return [_standing(hold) for hold in reservation.holds]

    def _hold_instead(self, reservation: Reservation, wanted: Amounts) -> None:
        reservation.wanted = wanted
        for hold in reservation.holds:
            amount = wanted.of(hold.limit.measure)
            hold.balance.held += amount - hold.amount
            hold.amount = amount

    def _apply(self, asker: Asker, model: str | None) -> Sequence[tuple[Limit, str]]:
        return [(limit, who) for limit, who in applying(self._limits, asker, model) if limit.measure != "storage_bytes"]

    def _hold(self, limit: Limit, who: str, now_ms: int, wanted: Amounts) -> _Hold:
        """What holding would be; nothing is held yet."""
        at = self._window(limit.period, now_ms)
        return _Hold(limit, who, at, self._balance(limit.id, who, at), wanted.of(limit.measure))

    def _window(self, period: Period, now_ms: int) -> Window:
        known = self._windows.get(period, NO_WINDOW)
        if not known.holds(now_ms):
            known = self._windows[period] = window(period, now_ms, self._zone)
        return known

    def _key(self, limit: Limit, who: str, now_ms: int) -> _Key:
        return (limit.id, who, self._window(limit.period, now_ms).start_ms)

    def _balance(self, limit_id: str, who: str, at: Window) -> _Balance:
        key = (limit_id, who, at.start_ms)
        self._balances.move_to_end(key)
        return self._balances[key]

    async def _have(self, keys: Sequence[_Key]) -> None:
        self._awaited.update(keys)
        try:
            self._make_room()
            for key in keys:
                if key not in self._balances:
                    used = await self._load(*key) if key[2] else 0
                    self._balances.setdefault(key, _Balance(used))
        finally:
            for key in keys:
                self._awaited[key] -= 1
                if not self._awaited[key]:
                    del self._awaited[key]

    def _make_room(self) -> None:
        """Forget those left alone longest that have nothing under way and that nobody is about to use.

        A balance that is forgotten while it is read, or between being looked at and being held, would be there twice.
        """
        over = len(self._balances) - self._capacity
        if over <= 0:
            return
        idle = (key for key, each in self._balances.items() if not each.busy and key not in self._awaited)
        for key in list(islice(idle, over)):
            del self._balances[key]


def _standing(hold: _Hold) -> Standing:
    return Standing(hold.limit, hold.balance.used, hold.balance.held, hold.window.end_ms or None)
