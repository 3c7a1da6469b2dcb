"""Whose state each slot of a worker holds, and which slot a request gets. Pure: no clock, no engine.

The engine keeps what a slot has computed and uses it again for the next prompt that begins alike. Left to itself it
gives a prompt the slot that fits best, whoever asked: then the time to the first token tells one person what another
has asked. So it is told which slot to take, and that is decided here:

- State is used again only by the *tenant* it was made for (a person). Whoever gets a slot that another tenant's state
  is in begins at nothing, and then that state is gone.
- Within a tenant a slot is worth what of the prompt is in it already, less what it would cost to lose the rest.
- What is not known to be a tenant's is nobody's: after a request that may or may not have reached the engine, and
  after work that takes any slot it finds (vectors).
"""

import msgspec
from msgspec.structs import replace

from intramural.serving.marks import Marks, shared

#: What is lost counts so much less than what must be read now, and half of that after each such time.
_LOSS, _HALF_LIFE_S = 0.5, 300.0
#: Less than this is read sooner than it is fetched from the disk.
WORTH_BLOCKS = 8
#: A request that was let go before the engine answered may still begin there; never so much later.
DOUBT_S = 30.0

#: For a worker that chooses by itself.
ANY_SLOT = -1


class Held(msgspec.Struct, frozen=True):
    """What a slot holds. `tenant` None: nobody's, or not known whose. `lasting`: it may be stored; `saved`: it is."""

    tenant: str | None = None
    marks: Marks = ()
    since_s: float = 0.0
    lasting: bool = False
    saved: bool = False


class Place(msgspec.Struct, frozen=True):
    """Where a request is computed. `reuse`: what the slot holds may be used; else the engine begins at nothing."""

    slot: int
    reuse: bool


_NOTHING = Held()


class Slots:
    """The slots of one worker."""

    def __init__(self, count: int) -> None:
        self._held = [_NOTHING] * count
        self._doubted_until_s = [float("-inf")] * count
        self._seats: dict[int, Seat] = {}
        self._roaming = 0

    def held(self, slot: int) -> Held:
        """What `slot` is known to hold."""
        return self._held[slot]

    def seat(self, tenant: str, *, returns: bool = True, lasting: bool = True) -> "Seat":
        """For one request of `tenant` after another, in one slot. `returns`: there will be more of that tenant;
        `lasting`: what is asked may be stored."""
        return Seat(self, tenant, returns=returns, lasting=lasting)

    def unsaved(self, now_s: float) -> dict[int, Held]:
        """What would be lost if the worker ended now, though it is worth keeping; the newest first."""
        found = [slot for slot in range(len(self._held)) if slot not in self._seats and self._is_worth(slot, 0, now_s)]
        return {slot: self._held[slot] for slot in sorted(found, key=lambda slot: -self._held[slot].since_s)}

    def saved(self, slot: int, held: Held) -> None:
        """`held`, which is (or was) in `slot`, is stored."""
        if self._held[slot] is held:
            self._held[slot] = replace(held, saved=True)

    def forget(self, tenant: str) -> None:
        """What is here of `tenant` is not to be stored any more."""
        for slot, held in enumerate(self._held):
            if held.tenant == tenant:
                self._held[slot] = replace(held, lasting=False)

    @property
    def steady(self) -> bool:
        """Whether no work is about that takes any slot it finds."""
        return not self._roaming

    def _is_worth(self, slot: int, kept: int, now_s: float) -> bool:
        """Whether losing all but the first `kept` blocks of what `slot` holds were a pity, and it can be stored."""
        held = self._held[slot]
        sure = held.tenant is not None and self.steady and now_s >= self._doubted_until_s[slot]
        return sure and held.lasting and not held.saved and len(held.marks) - kept >= WORTH_BLOCKS

    @property
    def unsettled(self) -> bool:
        """Whether a request is on its way that may use what its slot holds now: nothing may come in between."""
        return any(seat.place is not None and seat.place.reuse and not seat.has_begun for seat in self._seats.values())

    def roam(self) -> None:
        """Work begins that takes any slot which is idle. Before it is sent, wait until nothing is `unsettled`; what is
        placed from now on uses nothing that a slot holds, and so does not become that."""
        self._roaming += 1
        self._soil()

    def roamed(self) -> None:
        """It is over."""
        self._roaming -= 1
        self._soil()

    def _soil(self) -> None:
        for slot in range(len(self._held)):
            if (seat := self._seats.get(slot)) is not None:
                seat.soiled = True  # once it has answered what it answers now, anything may come in there
            else:
                self._held[slot] = _NOTHING

    def _take(self, seat: "Seat", marks: Marks, now_s: float, elsewhere: int) -> int:
        free = [slot for slot in range(len(self._held)) if slot not in self._seats]
        assert free, "a worker is granted no more requests than it has slots"
        # Those that hold nothing cost the same, and the first would be taken: an engine may have a thousand of them.
        nothing = next((slot for slot in free if self._held[slot] is _NOTHING), None)
        taken = min(
            [slot for slot in free if slot == nothing or self._held[slot] is not _NOTHING],
            key=lambda slot: (self._cost(slot, seat.tenant, marks, now_s, elsewhere), self._held[slot].since_s, slot),
        )
        self._seats[taken] = seat
        seat.soiled = self._roaming > 0
        return taken

    def _cost(self, slot: int, tenant: str, marks: Marks, now_s: float, elsewhere: int) -> float:
        """What it costs to compute `marks` in `slot`, in blocks to read: now, and likely later."""
        held = self._held[slot]
        kept = shared(held.marks, marks) if held.tenant == tenant else 0
        lost = len(held.marks) - kept if held.tenant is not None else 0
        if not lost:
            return len(marks) - max(kept, elsewhere)
        likely: float = 0.5 ** (max(0.0, now_s - held.since_s) / _HALF_LIFE_S)
        return len(marks) - max(kept, elsewhere) + _LOSS * likely * lost

    def _leave(self, slot: int, now_s: float, seat: "Seat") -> None:
        del self._seats[slot]
        if not seat.has_begun:
            self._doubted_until_s[slot] = now_s + DOUBT_S
        if seat.soiled or not seat.has_begun or not seat.returns:
            self._held[slot] = _NOTHING


class Seat:
    """One slot for as long as a request (and what follows from it) lasts. `leave` it in the end."""

    def __init__(self, slots: Slots, tenant: str, *, returns: bool, lasting: bool) -> None:
        self._slots = slots
        self.tenant = tenant
        self.returns = returns
        self._lasting = lasting and returns
        #: What the last `take` is about to lose and could be stored; and how much of the prompt is in the slot.
        self.displaced: Held | None = None
        self.kept = 0
        self.place: Place | None = None
        self.has_begun = False
        self.soiled = False
        self._marks: Marks = ()

    def take(self, marks: Marks, now_s: float, *, alone: bool = False, elsewhere: int = 0) -> Place:
        """Where the next request is computed, whose prompt has `marks`. `alone`: using nothing that is there.

        `elsewhere`: so many blocks of it can be had wherever it goes.
        """
        slots = self._slots
        slot = slots._take(self, marks, now_s, elsewhere) if self.place is None else self.place.slot
        held = slots._held[slot]
        sure = not self.soiled and now_s >= slots._doubted_until_s[slot]
        reuse = sure and not alone and held.tenant == self.tenant
        self.kept = shared(held.marks, marks) if reuse else 0
        self.displaced = held if not self.soiled and slots._is_worth(slot, self.kept, now_s) else None
        self.place, self.has_begun, self._marks = Place(slot, reuse), False, marks
        if not reuse:
            slots._held[slot] = _NOTHING  # until it is known to have begun, whose it is is not
        return self.place

    def begun(self, now_s: float) -> None:
        """The engine is at it: the slot holds nothing but this tenant's from now on."""
        assert self.place is not None
        self.has_begun = True
        self._slots._held[self.place.slot] = Held(self.tenant, self._marks, now_s, self._lasting)

    def restored(self, marks: Marks, *, sure: bool) -> None:
        """What is stored of this tenant's, of a prompt with `marks`, is in the slot now; or, not `sure`, anything."""
        assert self.place is not None
        sure = sure and not self.soiled
        self._slots._held[self.place.slot] = Held(self.tenant, marks, saved=True) if sure else _NOTHING
        self.place = Place(self.place.slot, reuse=sure)

    def refused(self) -> None:
        """The engine refused it: it has not touched the slot, and never will."""
        self.has_begun = True

    def leave(self, now_s: float) -> None:
        """Let go of the slot. Safe at any time, once."""
        if self.place is None:
            return
        self._slots._leave(self.place.slot, now_s, self)
        self.place = None
