"""Which slot a request gets, and that nobody ever computes on what is another's: pure, against an engine gone wild."""

import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.chance import tries
from tests.serving.pools import request

from intramural.core.chat import ChatRequest, Message
from intramural.serving.marks import BLOCK_BYTES, Marks, marks_of, shared
from intramural.serving.slots import DOUBT_S, Seat, Slots

KEY = b"k" * 32


def chat(*turns: str) -> ChatRequest:
    roles = ("user", "assistant")
    return replace(request(), messages=tuple(Message(roles[i % 2], text) for i, text in enumerate(turns)))  # type: ignore[arg-type]  # a literal of two


def marks(*turns: str) -> Marks:
    return marks_of(chat(*turns), KEY)


def served(slots: Slots, tenant: str, asked: Marks, now_s: float = 0.0) -> tuple[int, bool]:
    """One request from beginning to end: its slot, and whether it could use what was there."""
    seat = slots.seat(tenant)
    place = seat.take(asked, now_s)
    seat.begun(now_s)
    seat.leave(now_s)
    return place.slot, place.reuse


def test_marks_are_shared_as_far_as_the_texts_are() -> None:
    long = "a" * 10 * BLOCK_BYTES
    turn, next_turn = marks(long), marks(long, "so?", "and so")
    assert len(turn) - 1 <= shared(turn, next_turn) <= len(turn)
    assert shared(turn, marks("b" + long)) == 0
    assert shared(turn, marks(long)) == len(turn)
    assert shared(turn, ()) == shared((), turn) == 0


def test_a_mark_says_nothing_without_the_key() -> None:
    assert shared(marks("a" * 999), marks_of(chat("a" * 999), b"other")) == 0


@given(st.lists(st.text(max_size=300), max_size=4), st.lists(st.text(max_size=300), max_size=4))
def test_shared_marks_are_those_of_the_common_beginning(one: list[str], other: list[str]) -> None:
    first, second = marks(*one), marks(*other)
    plainly = next((i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), None)
    assert shared(first, second) == (min(len(first), len(second)) if plainly is None else plainly)


def test_raw_prompts_and_tokens_have_marks_too() -> None:
    text = replace(request(), messages=(), prompt="x" * 500)
    assert shared(marks_of(text, KEY), marks_of(replace(text, prompt="x" * 900), KEY)) == 3
    tokens = replace(request(), messages=(), prompt=tuple(range(100)))
    assert shared(marks_of(tokens, KEY), marks_of(replace(tokens, prompt=(*range(100), 7)), KEY)) == 6


def test_a_conversation_goes_on_where_it_is() -> None:
    slots = Slots(3)
    first, _ = served(slots, "ann", marks("a" * 2000))
    other, reuse = served(slots, "ann", marks("b" * 2000))
    assert other != first and not reuse
    assert served(slots, "ann", marks("a" * 2000, "so?", "and?"), 1.0) == (first, True)
    assert served(slots, "ann", marks("b" * 2000, "so?", "and?"), 2.0) == (other, True)


def test_nobody_goes_on_with_anothers() -> None:
    slots = Slots(1)
    asked = marks("a" * 2000)
    assert served(slots, "ann", asked) == (0, False)
    assert served(slots, "ben", asked) == (0, False)
    assert served(slots, "ann", asked) == (0, False)
    assert served(slots, "ann", asked) == (0, True)


def test_a_shared_document_is_used_again_and_a_long_conversation_kept() -> None:
    document = "d" * 8000
    slots = Slots(2)
    first, _ = served(slots, "ann", marks(document + "What is it about?"))
    assert served(slots, "ann", marks(document + "Who wrote it?"), 1.0) == (first, True)
    # A short beginning in common is not worth a long conversation while there is an empty slot.
    slots = Slots(2)
    system = "s" * 1000
    first, _ = served(slots, "ann", marks(system, "x" * 9000))
    assert served(slots, "ann", marks(system, "y" * 100), 1.0) == (1 - first, False)


def test_what_is_oldest_goes_first() -> None:
    slots = Slots(2)
    first, _ = served(slots, "ann", marks("a" * 3000), 0.0)
    second, _ = served(slots, "ben", marks("b" * 3000), 500.0)
    assert served(slots, "cas", marks("c" * 3000), 600.0) == (first, False)
    assert served(slots, "ben", marks("b" * 3000), 700.0) == (second, True)


def test_a_request_that_left_too_soon_leaves_doubt() -> None:
    slots = Slots(1)
    asked = marks("a" * 2000)
    served(slots, "ann", asked)
    gone = slots.seat("ben")
    gone.take(asked, 1.0)
    gone.leave(1.0)  # it may have reached the engine, and may yet begin
    assert served(slots, "ann", asked, 2.0) == (0, False)
    assert served(slots, "ann", asked, 3.0) == (0, False)
    assert served(slots, "ann", asked, 2.0 + DOUBT_S) == (0, True)


def test_a_refused_request_leaves_nobodys_state() -> None:
    slots = Slots(1)
    asked = marks("a" * 2000)
    served(slots, "ann", asked)
    refused = slots.seat("ben")
    refused.take(asked, 1.0)
    refused.refused()
    refused.leave(1.0)
    assert slots.held(0).tenant is None
    assert served(slots, "ann", asked, 2.0) == (0, False)
    assert served(slots, "ann", asked, 3.0) == (0, True)


def test_work_that_goes_anywhere_spoils_what_it_may_have_met() -> None:
    slots = Slots(2)
    ann, ben = marks("a" * 2000), marks("b" * 2000)
    served(slots, "ann", ann)
    served(slots, "ben", ben)
    writing = slots.seat("ann")
    place = writing.take(ann, 1.0)
    assert place.reuse and slots.unsettled
    writing.begun(1.0)
    assert not slots.unsettled
    slots.roam()
    assert served(slots, "ben", ben, 2.0)[1] is False
    slots.roamed()
    assert served(slots, "ben", ben, 3.0)[1] is False
    writing.leave(4.0)
    assert served(slots, "ann", ann, 5.0)[1] is False
    assert served(slots, "ann", ann, 6.0)[1] is True


def test_work_that_goes_anywhere_does_not_wait_for_whoever_comes_after_it() -> None:
    slots = Slots(2)
    asked = marks("a" * 2000)
    served(slots, "ann", asked)
    before = slots.seat("ann")
    assert before.take(asked, 1.0).reuse
    slots.roam()
    assert slots.unsettled
    after = slots.seat("ann")
    assert not after.take(asked, 2.0).reuse
    before.begun(3.0)
    assert not slots.unsettled
    slots.roamed()


def test_nobodys_requests_share_nothing() -> None:
    slots = Slots(1)
    for tenant in ("t1", "t2"):
        seat = slots.seat(tenant, returns=False)
        assert not seat.take(marks("a" * 2000), 0.0).reuse
        seat.begun(0.0)
        seat.leave(0.0)
        assert slots.held(0).tenant is None


@dataclass
class Engine:
    """What an engine really does: requests begin some time after they were sent, some only after their sender left."""

    slots: Slots
    rng: random.Random
    inside: dict[int, str] = field(default_factory=dict)  # slot → whose state is in it
    busy: set[int] = field(default_factory=set)
    sent: list[tuple[Seat, int, bool]] = field(default_factory=list)
    running: list[Seat] = field(default_factory=list)
    ghosts: list[tuple[str, int, float]] = field(default_factory=list)
    announced: int = 0
    roaming: int = 0
    now_s: float = 0.0

    def send(self, tenant: str) -> None:
        if len(self.sent) + len(self.running) == 2:
            return
        seat = self.slots.seat(tenant)
        place = seat.take(marks(tenant * 500), self.now_s, alone=self.rng.random() < 0.1)
        self.sent.append((seat, place.slot, place.reuse))

    def enter(self, tenant: str, slot: int, reuse: bool) -> None:
        assert not reuse or self.inside.get(slot) == tenant, f"{tenant} used what {self.inside.get(slot)} left"
        self.inside[slot] = tenant
        self.busy.add(slot)

    def begin(self) -> None:
        waiting = [each for each in self.sent if each[1] not in self.busy]
        if waiting:
            seat, slot, reuse = found = self.rng.choice(waiting)
            self.sent.remove(found)
            self.enter(seat.tenant, slot, reuse)
            seat.begun(self.now_s)
            self.running.append(seat)

    def end(self) -> None:
        if self.running:
            seat = self.running.pop(self.rng.randrange(len(self.running)))
            assert seat.place is not None
            self.busy.discard(seat.place.slot)
            if self.rng.random() < 0.3 and len(self.sent) + len(self.running) < 2:
                place = seat.take(marks(seat.tenant * 700), self.now_s)  # one more choice
                self.sent.append((seat, place.slot, place.reuse))
            else:
                seat.leave(self.now_s)

    def abandon(self) -> None:
        if self.sent:
            seat, slot, _ = self.sent.pop(self.rng.randrange(len(self.sent)))
            seat.leave(self.now_s)
            self.ghosts.append((seat.tenant, slot, self.now_s))

    def haunt(self) -> None:
        """A request whose sender has left begins after all, or never."""
        if self.ghosts:
            tenant, slot, left_s = self.ghosts.pop()
            if slot not in self.busy and self.now_s - left_s < DOUBT_S / 2 and self.rng.random() < 0.7:
                self.inside[slot] = f"ghost of {tenant}"  # nobody reads what it used

    def vectors(self) -> None:
        if self.roaming:
            self.roaming -= 1
            self.slots.roamed()
        elif not self.announced:
            self.announced += 1
            self.slots.roam()
        elif not self.slots.unsettled:
            self.announced -= 1
            self.roaming += 1

    def roam(self) -> None:
        idle = [slot for slot in range(2) if slot not in self.busy]
        if self.roaming and idle:
            self.inside[self.rng.choice(idle)] = "vectors"


@settings(max_examples=tries(300))
@given(st.integers(0, 2**32))
def test_whatever_happens_nobody_computes_on_what_is_anothers(seed: int) -> None:
    rng = random.Random(seed)
    engine = Engine(Slots(2), rng)
    for _ in range(120):
        engine.now_s += rng.choice((0.0, 0.1, 1.0, 20.0))
        kind = rng.randrange(9)
        if kind <= 2:
            engine.send(rng.choice("abc"))
        else:
            (engine.begin, engine.begin, engine.end, engine.abandon, engine.vectors, engine.roam)[kind - 3]()
        if rng.random() < 0.1:
            engine.haunt()
