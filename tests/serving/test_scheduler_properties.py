"""What the scheduler never does, whatever happens in whatever order."""

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.chance import tries

from intramural.core.errors import Broken
from intramural.core.work import Work
from intramural.serving.fairness import Begun, Owner
from intramural.serving.scheduler import (
    Arrived,
    Demand,
    Event,
    Fail,
    Grant,
    KeepAsked,
    Left,
    Pausable,
    Phase,
    PinAsked,
    Preempt,
    Refuse,
    Rules,
    ShutdownAsked,
    StartWorker,
    State,
    StopWorker,
    Ticked,
    UnloadAsked,
    WorkerGone,
    WorkerMisbehaved,
    WorkerReady,
    patience_s,
    step,
    wake_at,
)

MODELS = (
    Demand("a", "sha256:a", 60, 2),
    Demand("b", "sha256:b", 50, 1),
    Demand("c", "sha256:c", 30, 3),
    Demand("c", "sha256:c2", 30, 1),
    Demand("d", "sha256:d", 101, 1),
)
OWNERS = (
    Owner(("ann", "key")),
    Owner(("ann", "other key")),
    Owner(("ben", "key"), (4.0,)),
    Owner(("eve", "key"), (), Work.FIRST),
    Owner(("dan", "key"), (), Work.BATCH),
    Owner(("ann", "key"), (), Work.BATCH, repeatable=True),
)
RULES = Rules(
    budget_bytes=100, queue_limit=6, ageing_s=5, queue_timeout_s=50, keep_alive_s=20, crash_limit=3, crash_window_s=60
)
#: In the end clients and workers do what they can once in so many seconds.
ROUND_S = 0.1


@dataclass
class World:
    """What tickets and worker processes there are outside the scheduler."""

    waiting: set[str] = field(default_factory=set)
    granted: dict[str, int] = field(default_factory=dict)
    ended: Counter[str] = field(default_factory=Counter)
    slotless: set[str] = field(default_factory=set)
    alone: set[str] = field(default_factory=set)
    starting: set[int] = field(default_factory=set)
    ready: set[int] = field(default_factory=set)
    stopping: set[int] = field(default_factory=set)
    demand: dict[int, Demand] = field(default_factory=dict)
    owners: dict[str, Owner] = field(default_factory=dict)
    preempted: set[str] = field(default_factory=set)
    pausable: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)

    def gives_way(self, ticket: str, *, to: str) -> bool:
        """Batch work to people, and else nobody to a class behind theirs or to themselves."""
        mine, theirs = self.owners[ticket], self.owners[to]
        if mine.work is Work.BATCH and theirs.work < Work.BATCH:
            return True
        return ticket in self.pausable and theirs.work <= mine.work and theirs.path[:1] != mine.path[:1]


class Scheduler(RuleBasedStateMachine):
    """Random events, each as the pool could really report it."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State(RULES)
        self.world = World()
        self.now_s = 0.0
        self.tickets = 0

    def happened(self, event: Event) -> None:
        self.state, effects = step(self.state, event)
        world = self.world
        for effect in effects:
            match effect:
                case StartWorker(worker=number, demand=demand):
                    assert number not in world.demand, "numbers are never used twice"
                    world.demand[number] = demand
                    world.starting.add(number)
                case StopWorker(worker=number):
                    assert number in world.starting | world.ready
                    world.starting.discard(number)
                    world.ready.discard(number)
                    world.stopping.add(number)
                case Grant(ticket=ticket, worker=number):
                    assert number in world.ready, "only a ready worker answers"
                    world.waiting.remove(ticket)
                    world.granted[ticket] = number
                case Refuse(ticket=ticket):
                    world.waiting.remove(ticket)
                    world.ended[ticket] += 1
                case Preempt(ticket=ticket):
                    assert world.owners[ticket].repeatable or ticket in world.pausable
                    assert ticket in world.granted
                    assert ticket not in world.preempted, "it is told once"
                    world.preempted.add(ticket)
                    waiting = {t for t in world.waiting - world.slotless if world.gives_way(ticket, to=t)}
                    assert waiting, "for somebody"
                case Fail(ticket=ticket):
                    del world.granted[ticket]
                    world.ended[ticket] += 1
                case _:
                    pass

    @rule(
        demand=st.sampled_from(MODELS),
        needs_slot=st.booleans(),
        spare_only=st.booleans(),
        alone=st.sampled_from((False, False, True)),
        wait=st.floats(0, 5),
        owner=st.sampled_from(OWNERS),
        read_tokens=st.sampled_from((0, 10, 3000)),
    )
    def arrived(
        self,
        demand: Demand,
        needs_slot: bool,
        spare_only: bool,
        alone: bool,
        wait: float,
        owner: Owner,
        read_tokens: int,
    ) -> None:
        self.now_s += wait
        self.tickets += 1
        ticket = f"t{self.tickets}"
        self.world.waiting.add(ticket)
        self.world.owners[ticket] = owner
        spare_only = spare_only and needs_slot
        if not needs_slot:
            self.world.slotless.add(ticket)
        elif alone:
            self.world.alone.add(ticket)
        alone = alone and needs_slot
        self.happened(Arrived(self.now_s, ticket, demand, needs_slot, spare_only, alone, owner, read_tokens))
        assert not (spare_only and ticket in self.world.waiting)

    @precondition(lambda self: self.world.waiting or self.world.granted)
    @rule(data=st.data(), cost=st.one_of(st.none(), st.floats(0, 100_000)))
    def left(self, data: st.DataObject, cost: float | None) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.world.waiting | set(self.world.granted))))
        self.world.waiting.discard(ticket)
        self.world.granted.pop(ticket, None)
        self.world.ended[ticket] += 1
        self.happened(Left(self.now_s, ticket, cost))

    @precondition(lambda self: set(self.world.granted) - self.world.slotless)
    @rule(data=st.data(), wait=st.floats(0, 3))
    def can_be_paused(self, data: st.DataObject, wait: float) -> None:
        ticket = data.draw(st.sampled_from(sorted(set(self.world.granted) - self.world.slotless)))
        self.world.pausable.add(ticket)
        self.happened(Pausable(self.now_s, ticket))
        self.now_s += wait

    @precondition(lambda self: self.world.preempted & set(self.world.granted))
    @rule(data=st.data(), ahead_s=st.floats(-1, 60))
    def paused(self, data: st.DataObject, ahead_s: float) -> None:
        """It leaves, and comes again at once to go on."""
        old = data.draw(st.sampled_from(sorted(self.world.preempted & set(self.world.granted))))
        demand = self.world.demand[self.world.granted.pop(old)]
        self.world.ended[old] += 1
        self.happened(Left(self.now_s, old, 10.0))
        self.tickets += 1
        ticket = f"t{self.tickets}"
        self.world.waiting.add(ticket)
        self.world.owners[ticket] = self.world.owners[old]
        self.world.begun.add(ticket)
        self.happened(Arrived(self.now_s, ticket, demand, owner=self.world.owners[old], begun=Begun(0.0, ahead_s)))

    @precondition(lambda self: self.world.starting)
    @rule(data=st.data())
    def became_ready(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.world.starting)))
        self.world.starting.remove(number)
        self.world.ready.add(number)
        self.happened(WorkerReady(self.now_s, number))

    @precondition(lambda self: self.world.starting | self.world.ready | self.world.stopping)
    @rule(data=st.data(), explained=st.booleans())
    def died(self, data: st.DataObject, explained: bool) -> None:
        alive = self.world.starting | self.world.ready | self.world.stopping
        self.gone(data.draw(st.sampled_from(sorted(alive))), explained=explained)

    @precondition(lambda self: self.world.stopping)
    @rule(data=st.data())
    def stopped(self, data: st.DataObject) -> None:
        self.gone(data.draw(st.sampled_from(sorted(self.world.stopping))), explained=False)

    def gone(self, number: int, *, explained: bool) -> None:
        for group in (self.world.starting, self.world.ready, self.world.stopping):
            group.discard(number)
        error = Broken("worker_start_failed", "?") if explained else None
        self.happened(WorkerGone(self.now_s, number, error))

    @precondition(lambda self: self.world.ready)
    @rule(data=st.data())
    def misbehaved(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.world.ready)))
        self.happened(WorkerMisbehaved(self.now_s, number, Broken("worker_garbage", "?")))

    @rule(name=st.sampled_from("abcd"), pinned=st.booleans())
    def pinned(self, name: str, pinned: bool) -> None:
        self.happened(PinAsked(self.now_s, name, pinned))

    @rule(name=st.sampled_from("abcd"), keep_alive_s=st.sampled_from((-1.0, 0.0, 1.0, 100.0)))
    def keep_asked(self, name: str, keep_alive_s: float) -> None:
        self.happened(KeepAsked(self.now_s, name, keep_alive_s))

    @rule(name=st.sampled_from("abcd"))
    def unload_asked(self, name: str) -> None:
        self.happened(UnloadAsked(self.now_s, name))

    @rule(seconds=st.floats(0, 30))
    def time_passed(self, seconds: float) -> None:
        self.now_s += seconds
        self.happened(Ticked(self.now_s))

    @invariant()
    def within_budget(self) -> None:
        alive = self.world.starting | self.world.ready | self.world.stopping
        assert set(self.state.workers) == alive
        assert sum(self.world.demand[number].memory_bytes for number in alive) <= RULES.budget_bytes

    @invariant()
    def never_more_grants_than_slots(self) -> None:
        holding = Counter(n for ticket, n in self.world.granted.items() if ticket not in self.world.slotless)
        for number, held in holding.items():
            assert held <= self.world.demand[number].slots
            assert held == len(self.state.workers[number].granted)

    @invariant()
    def who_is_to_be_alone_is_alone(self) -> None:
        for ticket in self.world.alone & set(self.world.granted):
            number = self.world.granted[ticket]
            beside = {t for t, n in self.world.granted.items() if n == number and t not in self.world.slotless}
            assert beside == {ticket}
            assert self.state.workers[number].alone == ticket

    @invariant()
    def every_ticket_ends_once(self) -> None:
        assert all(times == 1 for times in self.world.ended.values())
        assert {waiting.ticket for waiting in self.state.queue} == self.world.waiting
        assert len(self.world.waiting - self.world.begun) <= RULES.queue_limit

    @invariant()
    def nobody_waits_beside_idle_capacity(self) -> None:
        for place, waiting in enumerate(self.state.queue):
            older = self.state.queue[:place]
            worker = next((w for w in self.state.workers.values() if w.demand.key == waiting.demand.key), None)
            if worker is not None and worker.phase is Phase.READY:
                held = any(self.now_s >= w.since_s + patience_s(w.owner, RULES) for w in older)
                awaited = any(w.alone and w.demand.key == waiting.demand.key for w in older)
                free = worker.takes(alone=waiting.alone) and not (awaited and waiting.needs_slot)
                assert not free or held, "a free slot, and nobody before who needs it or its memory"
            if worker is None and place == 0:
                self.room_is_being_made(waiting.demand)

    def room_is_being_made(self, demand: Demand) -> None:
        workers = self.state.workers.values()
        assert self.state.planned_bytes + demand.memory_bytes > RULES.budget_bytes, "else it would have been started"
        leaving = [w for w in workers if w.phase in (Phase.STOPPING, Phase.DRAINING)]
        busy = [w for w in workers if w not in leaving and (not w.idle or w.demand.name in self.state.pinned)]
        if sum(w.demand.memory_bytes for w in busy) + demand.memory_bytes <= RULES.budget_bytes:
            assert leaving, "nobody busy is in the way, so somebody idle has been asked to go"

    @invariant()
    def an_alarm_is_set_for_whoever_waits(self) -> None:
        at_s = wake_at(self.state)
        assert at_s is None or at_s > self.state.now_s
        if self.state.queue:
            assert at_s is not None
            assert at_s <= min(w.since_s for w in self.state.queue) + RULES.queue_timeout_s

    def teardown(self) -> None:
        """If clients finish and workers do as told, everybody who waits is served or told; nothing hangs.

        After their patience all are due. Then every load takes one off the queue, and a load takes four rounds at most:
        those who hold the memory end, are stopped, the worker starts, is ready.
        """
        patience_rounds = max(RULES.swap_patience_s, RULES.ageing_s) / ROUND_S + 1
        for _ in range(int(patience_rounds) + 4 * max(RULES.queue_limit, len(self.world.waiting))):
            for ticket in list(self.world.granted):
                del self.world.granted[ticket]
                self.happened(Left(self.now_s, ticket))
            for number in sorted(self.world.stopping):
                self.gone(number, explained=False)
            for number in sorted(self.world.starting):
                self.world.starting.remove(number)
                self.world.ready.add(number)
                self.happened(WorkerReady(self.now_s, number))
            self.now_s += ROUND_S
            self.happened(Ticked(self.now_s))
            if not self.world.waiting:
                break
        assert not self.world.waiting, "everybody's turn comes, far from any time-out"
        self.happened(ShutdownAsked(self.now_s))
        for number in sorted(self.world.stopping):
            self.gone(number, explained=False)
        assert not self.state.workers


TestScheduler = Scheduler.TestCase
TestScheduler.settings = settings(max_examples=tries(150), stateful_step_count=40, deadline=None)
