"""Which worker, when: a pure function from state and event to state and effects. No clock, no I/O, no tasks.

Events are facts in the past tense and carry the time they happened; effects are orders in the imperative, done dully
by `pool`. A *ticket* is one caller's wish for a slot of a model; it ends exactly once: granted and left, refused, or
failed. A *worker* here is a number: each start gets a new one, so a late fact about a dead worker changes nothing.

The queue is kept in the order of turns, which `fairness` decides from whom the tickets belong to and what they have
used. A ticket whose model needs memory that busy workers hold lets others pass for `swap_patience_s` (batch work: for
`ageing_s`); after that it is *due* and goes first, and those workers get nothing new until they are idle and make room.
So a swap is never starved, and two models that alternate do not swap at every single request.

Nobody starves by swaps: who is due goes before all who become due later, and the ticket that a worker was started for
is granted the moment it is ready. So every load takes one ticket off the queue, and before a ticket that is due there
are at most as many loads as there were tickets due before it. Among the tickets of loaded models see `fairness`.

Batch work gets what slots nobody else wants. One that is `repeatable` is stopped for somebody who cannot wait.

Weights whose workers crash too often are in quarantine: nothing of them is started until somebody releases them. What
ends a worker because we said so is no crash, nor is what ends it from outside (`ends`).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import islice
from types import MappingProxyType

import msgspec
from msgspec.structs import replace

from intramural.core.errors import Broken, IntramuralError, Refused, Unavailable
from intramural.core.work import Work
from intramural.serving.eviction import NO_HABITS, Habit, Habits, Holding, cheapest, remembered
from intramural.serving.fairness import NOBODY, Begun, Ledger, Open, Owner, Path, ordered

#: Weight of the newest answer's duration in the running mean from which `retry_after_s` is estimated.
_HOLD_WEIGHT = 0.2
_RETRY_MIN_S, _RETRY_MAX_S = 1.0, 60.0
#: So many crashes of the same weights, within so long, are theirs rather than chance.
CRASH_LIMIT, CRASH_WINDOW_S = 3, 600.0
#: What those see whom a worker answers when it ends; how it ended is known when its process has.
_DIED = "worker_died"
#: Further behind than this, nobody is told of every single place.
_TOLD_EACH = 16


class Rules(msgspec.Struct, frozen=True):
    """The limits decisions are made within. Memory in bytes, times in seconds; negative `keep_alive_s`: for ever;
    `slice_s` 0: no answer is paused for another person."""

    budget_bytes: int
    queue_limit: int = 64
    queue_timeout_s: float = 300.0
    keep_alive_s: float = 1800.0
    swap_patience_s: float = 2.0
    ageing_s: float = 30.0
    slice_s: float = 5.0
    crash_limit: int = CRASH_LIMIT
    crash_window_s: float = CRASH_WINDOW_S


class Demand(msgspec.Struct, frozen=True):
    """All the scheduler knows of a model. Two digests under one name are two models."""

    name: str
    digest: str
    memory_bytes: int
    slots: int

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.digest


class Phase(StrEnum):
    """STARTING → READY → (DRAINING →) STOPPING → gone. DRAINING finishes its answers and takes no more."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"


class Worker(msgspec.Struct, frozen=True):
    """A worker as the scheduler sees it. `granted` maps tickets to the time of their grant; `since_s`: last used.

    While `alone` (one of `granted`) is being answered, nobody else is. `leaving`: those that were told to stop.
    `started_for`: the ticket that made it be started. `blamed`: the error for which it was ended.
    `keep_alive_s` goes before the rules' for this worker, where somebody asked for another one.
    """

    id: int
    demand: Demand
    phase: Phase
    since_s: float
    granted: Mapping[str, float] = msgspec.field(default_factory=lambda: MappingProxyType({}))
    alone: str | None = None
    keep_alive_s: float | None = None
    leaving: frozenset[str] = frozenset()
    started_for: str | None = None
    blamed: str | None = None

    @property
    def idle(self) -> bool:
        return self.phase is Phase.READY and not self.granted

    @property
    def dying(self) -> bool:
        """Whether it was only seen, by whoever it answered, that it seems to end."""
        return self.blamed == _DIED

    @property
    def free_slots(self) -> int:
        ready = self.phase is Phase.READY and self.alone is None
        return self.demand.slots - len(self.granted) if ready else 0

    def takes(self, *, alone: bool) -> bool:
        """Whether one more may be answered now, by itself or beside others."""
        return self.idle if alone else self.free_slots > 0


class Waiting(msgspec.Struct, frozen=True):
    """A ticket in the queue. `needs_slot` is false for one who only wants the model loaded.

    One that is to be answered `alone` waits until the worker is idle, and those behind it wait for it.
    `number`: a later arrival has a greater one. `read_tokens`: about how long its prompt is. `begun`: a part of its
    answer is written, and it waits to go on.
    """

    ticket: str
    demand: Demand
    since_s: float
    needs_slot: bool = True
    alone: bool = False
    owner: Owner = NOBODY
    read_tokens: float = 0.0
    number: int = 0
    begun: Begun | None = None

    @property
    def asked_s(self) -> float:
        """When it first came."""
        return self.since_s if self.begun is None else self.begun.asked_s


class State(msgspec.Struct, frozen=True):
    """Everything there is to know, at `now_s`. `crashes`: when workers of a digest crashed lately; `quarantined`: the
    digests of which nothing is started."""

    rules: Rules
    now_s: float = 0.0
    workers: Mapping[int, Worker] = msgspec.field(default_factory=lambda: MappingProxyType({}))
    queue: tuple[Waiting, ...] = ()
    pinned: frozenset[str] = frozenset()
    crashes: Mapping[str, tuple[float, ...]] = msgspec.field(default_factory=lambda: MappingProxyType({}))
    quarantined: frozenset[str] = frozenset()
    next_worker: int = 1
    next_number: int = 1
    hold_s: float = 5.0
    closing: bool = False
    ledger: Ledger = msgspec.field(default_factory=Ledger)
    habits: Habits = msgspec.field(default_factory=lambda: NO_HABITS)

    @property
    def planned_bytes(self) -> int:
        return sum(worker.demand.memory_bytes for worker in self.workers.values())


# Events: what happened.


class Arrived(msgspec.Struct, frozen=True):
    """Somebody wants a slot. `spare_only`: only if one is free this instant and nobody waits; never queued.

    `alone`: a slot of a worker that answers nobody else meanwhile. `begun`: it was paused, and is to go on.
    """

    now_s: float
    ticket: str
    demand: Demand
    needs_slot: bool = True
    spare_only: bool = False
    alone: bool = False
    owner: Owner = NOBODY
    read_tokens: float = 0.0
    begun: Begun | None = None


class Pausable(msgspec.Struct, frozen=True):
    """What is written for the ticket could be gone on with, should it be stopped now."""

    now_s: float
    ticket: str


class Left(msgspec.Struct, frozen=True):
    """The ticket's owner is done: answered, cancelled, or gone while waiting. `cost`: see `fairness.cost_of`."""

    now_s: float
    ticket: str
    cost: float | None = None


class WorkerReady(msgspec.Struct, frozen=True):
    """The worker answers its health check."""

    now_s: float
    worker: int


class WorkerGone(msgspec.Struct, frozen=True):
    """The worker's process has ended, or never began. `crashed` says it is to be held against the weights' digest;
    `how` it ended: the name of a signal, an exit status, or an error's code; empty where it never began."""

    now_s: float
    worker: int
    error: IntramuralError | None = None
    crashed: bool = True
    how: str = ""


class WorkerMisbehaved(msgspec.Struct, frozen=True):
    """The worker spoke garbage or fell silent in mid-answer; `error` says which."""

    now_s: float
    worker: int
    error: IntramuralError


class Quarantined(msgspec.Struct, frozen=True):
    """Weights are in quarantine since earlier."""

    now_s: float
    digests: frozenset[str]


class Released(msgspec.Struct, frozen=True):
    """Somebody let these weights out of quarantine."""

    now_s: float
    digest: str


class UnloadAsked(msgspec.Struct, frozen=True):
    """An administrator wants the model out of memory. Its pin, if any, is lifted."""

    now_s: float
    name: str


class PinAsked(msgspec.Struct, frozen=True):
    """An administrator wants the model kept in memory, or no longer."""

    now_s: float
    name: str
    pinned: bool


class KeepAsked(msgspec.Struct, frozen=True):
    """Whoever may decides how long the model's worker stays while idle (seconds; negative: for ever)."""

    now_s: float
    name: str
    keep_alive_s: float


class Ticked(msgspec.Struct, frozen=True):
    """Time passed."""

    now_s: float


class ShutdownAsked(msgspec.Struct, frozen=True):
    """The service stops."""

    now_s: float


Event = (
    Arrived | Pausable | Left | WorkerReady | WorkerGone | WorkerMisbehaved | Quarantined | Released | UnloadAsked
    | PinAsked | KeepAsked | Ticked | ShutdownAsked
)  # fmt: skip


# Effects: what to do.


class StartWorker(msgspec.Struct, frozen=True):
    worker: int
    demand: Demand


class StopWorker(msgspec.Struct, frozen=True):
    """End the worker: politely first, or at once if `force`. `dying`: it seems to end by itself; see first how."""

    worker: int
    force: bool = False
    dying: bool = False


class Grant(msgspec.Struct, frozen=True):
    ticket: str
    worker: int


class Refuse(msgspec.Struct, frozen=True):
    """Tell a ticket that was never granted that it will not be."""

    ticket: str
    error: IntramuralError


class Fail(msgspec.Struct, frozen=True):
    """Tell a granted ticket that its worker is no more."""

    ticket: str
    error: IntramuralError


class Preempt(msgspec.Struct, frozen=True):
    """Stop what is written for a granted ticket, between two tokens: somebody else needs its slot."""

    ticket: str


class Wait(msgspec.Struct, frozen=True):
    """Tell a ticket its place in the queue; 1 is next. `wait_s`: about how long it will be."""

    ticket: str
    position: int
    wait_s: float = 0.0


class Quarantine(msgspec.Struct, frozen=True):
    """Write down that nothing of these weights is started any more: their workers crashed `crashes` times, the last
    time `how`."""

    demand: Demand
    crashes: int
    how: str


Effect = StartWorker | StopWorker | Grant | Refuse | Fail | Preempt | Wait | Quarantine


def step(state: State, event: Event) -> tuple[State, tuple[Effect, ...]]:
    """What follows from `event`."""
    turn = _Turn(state, event.now_s)
    turn.take(event)
    turn.settle(in_order=isinstance(event, Pausable))  # which moves nobody
    return turn.state(), tuple(turn.effects)


def wake_at(state: State) -> float | None:
    """When a `Ticked` is due even if nothing else happens; None: never."""
    rules = state.rules
    times = [min(waiting.since_s for waiting in state.queue) + rules.queue_timeout_s] if state.queue else []
    loaded = {worker.demand.key for worker in state.workers.values()}
    unloaded = [waiting for waiting in state.queue if waiting.demand.key not in loaded]
    times += [waiting.since_s + patience_s(waiting.owner, rules) for waiting in unloaded]
    times += _slice_ends(state) if state.queue and rules.slice_s > 0 else []
    idle = (w for w in state.workers.values() if w.idle and w.demand.name not in state.pinned)
    times += [ends_s for worker in idle if (ends_s := idle_until(worker, rules)) is not None]
    return min((time_s for time_s in times if time_s > state.now_s), default=None)


def _slice_ends(state: State) -> list[float]:
    """When what is written for somebody may be paused for others."""
    full = [worker for worker in state.workers.values() if worker.free_slots <= 0]
    opened = [each for worker in full for ticket in worker.granted if (each := state.ledger.open.get(ticket))]
    ends = [each.pause_s(slice_s) for each in opened for slice_s in (0.0, state.rules.slice_s)]
    return [end_s for end_s in ends if end_s is not None]


def patience_s(owner: Owner, rules: Rules) -> float:
    """How long somebody whose model is not loaded lets others pass."""
    return rules.ageing_s if owner.work is Work.BATCH else rules.swap_patience_s


def idle_until(worker: Worker, rules: Rules) -> float | None:
    """When an idle worker is stopped if nobody asks for it; None: never."""
    keep_alive_s = rules.keep_alive_s if worker.keep_alive_s is None else worker.keep_alive_s
    return None if keep_alive_s < 0 else worker.since_s + keep_alive_s


def victims(
    workers: Iterable[Worker],
    pinned: frozenset[str],
    need_bytes: int,
    *,
    busy: bool,
    cost: Callable[[Worker], float] = lambda _: 0.0,
) -> list[Worker] | None:
    """Workers that together hold `need_bytes`, or None if all of them hold less.

    Only idle unpinned ones, those whose absence costs least (see `eviction`); where that is equal, the least recently
    used. With `busy` also those still answering: the idle first, then the longest running, so that the choice does not
    change while they finish.
    """
    candidates = [w for w in workers if w.phase is Phase.READY and (busy or w.idle) and w.demand.name not in pinned]
    candidates = [w for w in candidates if w.demand.memory_bytes]
    candidates.sort(key=lambda w: (not w.idle, w.since_s if w.idle else 0.0, w.id))
    if not busy:
        holdings = [Holding(each.id, each.demand.memory_bytes, cost(each)) for each in candidates]
        found = cheapest(holdings, need_bytes)
        return None if found is None else [each for each in candidates if each.id in found]
    chosen: list[Worker] = []
    for worker in candidates:
        if need_bytes <= 0:
            break
        chosen.append(worker)
        need_bytes -= worker.demand.memory_bytes
    return chosen if need_bytes <= 0 else None


class _Turn:
    """One step in the making: a scratch copy of the state and the effects so far."""

    def __init__(self, state: State, now_s: float) -> None:
        self._before = state
        self._now_s = max(now_s, state.now_s)
        self._rules = state.rules
        self._workers = dict(state.workers)
        self._queue = list(state.queue)
        self._pinned = state.pinned
        self._crashes = dict(state.crashes)
        self._in_quarantine = state.quarantined
        self._next_worker = state.next_worker
        self._next_number = state.next_number
        self._hold_s = state.hold_s
        self._ledger = state.ledger
        self._habits = state.habits
        self._closing = state.closing
        self.effects: list[Effect] = []

    def state(self) -> State:
        return State(
            rules=self._rules,
            now_s=self._now_s,
            workers=MappingProxyType(self._workers),
            queue=tuple(self._queue),
            pinned=self._pinned,
            crashes=MappingProxyType(self._crashes),
            quarantined=self._in_quarantine,
            next_worker=self._next_worker,
            next_number=self._next_number,
            hold_s=self._hold_s,
            closing=self._closing,
            ledger=self._ledger,
            habits=self._habits,
        )

    def take(self, event: Event) -> None:
        """Write down what happened."""
        match event:
            case Arrived():
                self._arrived(event)
            case Pausable(ticket=ticket):
                self._ledger = self._ledger.pausable(ticket, self._now_s)
            case Left(ticket=ticket, cost=cost):
                self._left(ticket, cost)
            case WorkerReady(worker=number):
                self._ready(number)
            case WorkerGone():
                self._gone(event)
            case WorkerMisbehaved(worker=number, error=error):
                self._misbehaved(number, error)
            case Quarantined(digests=digests):
                self._in_quarantine |= digests
            case Released(digest=digest):
                self._in_quarantine -= {digest}
                self._crashes.pop(digest, None)
            case UnloadAsked(name=name):
                self._unload(name)
            case PinAsked(name=name, pinned=pinned):
                self._pinned = self._pinned | {name} if pinned else self._pinned - {name}
            case KeepAsked(name=name, keep_alive_s=keep_alive_s):
                for worker in [w for w in self._workers.values() if w.demand.name == name]:
                    self._put(replace(worker, keep_alive_s=keep_alive_s))
            case ShutdownAsked():
                self._shut_down()
            case Ticked():
                pass

    def settle(self, *, in_order: bool) -> None:
        """Do whatever can be done now, in the order of turns. `in_order`: that is the queue's as it is."""
        self._expire_waiting()
        self._queue = self._queue if in_order else self._in_order()
        self._serve_queue()
        self._preempt()
        self._expire_idle()
        self._tell_positions()

    # Facts

    def _arrived(self, event: Arrived) -> None:
        at_once = self._has_spare(event.demand, event.owner, alone=event.alone)
        reason = self._why_never(event.demand)
        if reason is None and event.spare_only and not at_once:
            reason = Unavailable("no_spare_slot", "No slot is free this instant.")
        if reason is None and not at_once and event.begun is None and len(self._queue) >= self._rules.queue_limit:
            reason = self._make_place(event.owner)
        if reason is not None:
            self.effects.append(Refuse(event.ticket, reason))
            return
        self._ledger = self._ledger.joined(event.owner, (waiting.owner for waiting in self._queue))
        self._remember(event.demand, self._habit(event.demand).asked(self._now_s))
        self._queue.append(
            Waiting(
                event.ticket,
                event.demand,
                self._now_s,
                event.needs_slot,
                event.alone,
                event.owner,
                event.read_tokens,
                self._next_number,
                event.begun,
            )
        )
        self._next_number += 1

    def _make_place(self, owner: Owner) -> Unavailable | None:
        """In a full queue: the last ticket of whoever has most of them goes, or the newcomer is refused."""
        full = Unavailable(
            "queue_full",
            f"{len(self._queue)} requests are waiting already, which is the limit.",
            "Try again a little later.",
            retry_after_s=self._retry_after_s(),
        )
        places: dict[tuple[Work, Path], list[Waiting]] = {}
        for waiting in self._queue:
            places.setdefault((waiting.owner.work, waiting.owner.person), []).append(waiting)
        own = len(places.get((owner.work, owner.person), ()))
        work, _ = longest = max(places, key=lambda each: (each[0], len(places[each])))
        if work < owner.work or (work == owner.work and len(places[longest]) <= own + 1):
            return full
        newest = [waiting for waiting in places[longest] if waiting.begun is None]
        if not newest:
            return full
        self._refuse(newest[-1], full)
        return None

    def _has_spare(self, demand: Demand, owner: Owner, *, alone: bool) -> bool:
        """Whether a slot is free that nobody before it could want."""
        worker = self._worker_of(demand)
        if worker is None or not worker.takes(alone=alone):
            return False
        before = [w for w in self._queue if w.owner.work <= owner.work or self._is_due(w)]
        wanted = any(w.demand.key == demand.key or self._is_due(w) for w in before)
        return not wanted

    def _is_due(self, waiting: Waiting) -> bool:
        """Whether it has let others pass for long enough: its model has to be loaded now."""
        loaded = self._worker_of(waiting.demand) is not None
        return not loaded and self._now_s >= waiting.since_s + patience_s(waiting.owner, self._rules)

    def _in_order(self) -> list[Waiting]:
        """Who is due, the longest first; then the others as their turns come."""
        if len(self._queue) < 2:
            return self._queue
        turns = ordered(self._ledger, self._queue, self._now_s, self._rules.ageing_s)
        loaded = {worker.demand.key for worker in self._workers.values()}
        due = [waiting for waiting in turns if waiting.demand.key not in loaded and self._is_due(waiting)]
        if not due:
            return turns
        due.sort(key=lambda w: (w.since_s + patience_s(w.owner, self._rules), w.number))
        return due + [waiting for waiting in turns if not self._is_due(waiting)]

    def _why_never(self, demand: Demand) -> IntramuralError | None:
        if self._closing:
            return _shutting_down()
        if demand.digest in self._in_quarantine:
            return _quarantined(demand)
        pinned = sum(
            w.demand.memory_bytes
            for w in self._workers.values()
            if w.demand.name in self._pinned and w.demand.key != demand.key
        )
        if demand.memory_bytes + pinned > self._rules.budget_bytes:
            return Unavailable(
                "not_enough_memory",
                f"{demand.name} needs {demand.memory_bytes} bytes; of the budget of {self._rules.budget_bytes} bytes "
                f"pinned models hold {pinned}.",
                "Unpin a model, choose a smaller one, or raise serving.memory_budget_bytes.",
                retry_after_s=_RETRY_MAX_S,
            )
        return None

    def _left(self, ticket: str, cost: float | None) -> None:
        self._queue = [waiting for waiting in self._queue if waiting.ticket != ticket]
        self._ledger = self._ledger.left(ticket, cost, (waiting.owner for waiting in self._queue))
        for worker in list(self._workers.values()):
            if ticket in worker.granted:
                held_s = self._now_s - worker.granted[ticket]
                self._hold_s += _HOLD_WEIGHT * (held_s - self._hold_s)
                rest = {key: value for key, value in worker.granted.items() if key != ticket}
                alone = None if worker.alone == ticket else worker.alone
                granted, leaving = MappingProxyType(rest), worker.leaving - {ticket}
                self._put(replace(worker, granted=granted, since_s=self._now_s, alone=alone, leaving=leaving))
                if worker.phase is Phase.DRAINING and not rest:
                    self._stop(worker.id)

    def _ready(self, number: int) -> None:
        worker = self._workers.get(number)
        if worker is not None and worker.phase is Phase.STARTING:
            load_s = self._now_s - worker.since_s
            self._remember(worker.demand, replace(self._habit(worker.demand), load_s=load_s))
            ready = replace(worker, phase=Phase.READY, since_s=self._now_s)
            self._put(ready)
            for waiting in [w for w in self._queue if w.ticket == worker.started_for]:
                self._grant_if_free(waiting, ready)  # else another model's due ticket could end it before its first use

    def _gone(self, event: WorkerGone) -> None:
        worker = self._workers.pop(event.worker, None)
        if worker is None or worker.phase is Phase.STOPPING:
            if worker is not None and worker.blamed is not None and event.crashed:
                self._crashed(worker.demand, event.how or worker.blamed)
            return
        error = event.error or Broken(_DIED, f"The worker of {worker.demand.name} died.", "Send the request again.")
        self._fail_granted(worker, error)
        if worker.phase is Phase.STARTING:
            self._refuse_waiting(error, key=worker.demand.key)
        if event.crashed:
            self._crashed(worker.demand, event.how or error.code)

    def _misbehaved(self, number: int, error: IntramuralError) -> None:
        worker = self._workers.get(number)
        if worker is None or worker.phase is Phase.STOPPING:
            return
        self._fail_granted(worker, error)
        self._put(replace(worker, blamed=error.code))
        self._stop(number, force=True)

    def _crashed(self, demand: Demand, how: str) -> None:
        earlier = self._crashes.get(demand.digest, ())
        recent = [time_s for time_s in earlier if self._now_s < time_s + self._rules.crash_window_s]
        self._crashes[demand.digest] = crashes = (*recent, self._now_s)
        if len(crashes) >= self._rules.crash_limit and demand.digest not in self._in_quarantine:
            self._in_quarantine |= {demand.digest}
            self.effects.append(Quarantine(demand, len(crashes), how))
            for waiting in [w for w in self._queue if w.demand.digest == demand.digest]:
                self._refuse(waiting, _quarantined(demand))

    def _unload(self, name: str) -> None:
        self._pinned -= {name}
        for worker in [w for w in self._workers.values() if w.demand.name == name]:
            if worker.phase is Phase.STARTING:
                reason = Unavailable("model_unloaded", f"{name} was unloaded while it was being loaded.", "Try again.")
                self._refuse_waiting(reason, key=worker.demand.key)
                self._stop(worker.id)
            elif worker.idle:
                self._stop(worker.id)
            elif worker.phase is Phase.READY:
                self._put(replace(worker, phase=Phase.DRAINING))

    def _shut_down(self) -> None:
        self._closing = True
        for waiting in list(self._queue):
            self._refuse(waiting, _shutting_down())
        for worker in list(self._workers.values()):
            if worker.phase is not Phase.STOPPING:
                self._fail_granted(worker, _shutting_down())
                self._stop(worker.id)

    # Consequences

    def _expire_waiting(self) -> None:
        if not self._queue or self._now_s < min(w.since_s for w in self._queue) + self._rules.queue_timeout_s:
            return
        for waiting in list(self._queue):
            if self._now_s >= waiting.since_s + self._rules.queue_timeout_s:
                error = Unavailable(
                    "queue_timeout",
                    f"No slot of {waiting.demand.name} came free within {self._rules.queue_timeout_s:g} s.",
                    "Try again later.",
                    retry_after_s=self._retry_after_s(),
                )
                self._refuse(waiting, error)

    def _serve_queue(self) -> None:
        reserved_bytes = 0
        held: set[int] = set()
        awaited: set[int] = set()  # for these somebody waits who is to be answered alone
        seen: set[tuple[str, str]] = set()
        workers = {worker.demand.key: worker.id for worker in reversed(self._workers.values())}
        full = {worker.id for worker in self._workers.values() if worker.free_slots <= 0}
        for waiting in list(self._queue):
            number = workers.get(waiting.demand.key)
            if number is None:
                if waiting.demand.key not in seen:
                    seen.add(waiting.demand.key)
                    reserved_bytes += self._make_room(waiting, reserved_bytes, held)
            elif waiting.needs_slot and number in full:
                continue  # most of a long queue
            elif (worker := self._workers[number]).phase is Phase.READY and worker.id not in held:
                if not waiting.needs_slot or worker.id not in awaited:
                    self._grant_if_free(waiting, worker)
                if waiting.alone:
                    awaited.add(worker.id)
                if self._workers[number].free_slots <= 0:
                    full.add(number)

    def _grant_if_free(self, waiting: Waiting, worker: Worker) -> None:
        if not waiting.needs_slot:
            self._put(replace(worker, since_s=self._now_s))
        elif worker.takes(alone=waiting.alone):
            granted = MappingProxyType({**worker.granted, waiting.ticket: self._now_s})
            self._put(replace(worker, granted=granted, alone=waiting.ticket if waiting.alone else None))
            ahead_s = 0.0 if waiting.begun is None else waiting.begun.ahead_s
            self._ledger = self._ledger.granted(
                waiting.ticket, waiting.owner, waiting.read_tokens, self._now_s, ahead_s
            )
        else:
            return
        self._queue.remove(waiting)
        self.effects.append(Grant(waiting.ticket, worker.id))

    def _preempt(self) -> None:
        """Stop what others have to wait for, where the rules say that they go first and that it can be gone on with or
        begun again. Slots that come free go to the first in the queue, so nobody is looked at behind one who has to
        wait."""
        for worker in [w for w in self._workers.values() if w.phase is Phase.READY and w.free_slots <= 0]:
            wanted = (w for w in self._queue if w.needs_slot and w.demand.key == worker.demand.key)
            wanting = list(islice(wanted, worker.demand.slots))
            held = self._held()
            held.update(waiting.owner.person for waiting in wanting[: len(worker.leaving)])
            chosen: list[str] = []
            for waiting in wanting[len(worker.leaving) :]:
                staying = [t for t in worker.granted if t not in worker.leaving and t not in chosen]
                ticket = None if waiting.alone else self._who_gives_way(worker, staying, waiting, held)
                if ticket is None:
                    break
                chosen.append(ticket)
                held[self._ledger.open[ticket].owner.person] -= 1
                held[waiting.owner.person] += 1
            if chosen:
                self._put(replace(worker, leaving=worker.leaving | set(chosen)))
                self.effects.extend(Preempt(ticket) for ticket in chosen)

    def _held(self) -> Counter[Path]:
        """How many slots every person has, without those that are given back."""
        leaving = {ticket for worker in self._workers.values() for ticket in worker.leaving}
        return Counter(each.owner.person for ticket, each in self._ledger.open.items() if ticket not in leaving)

    def _who_gives_way(
        self, worker: Worker, staying: Sequence[str], waiting: Waiting, held: Mapping[Path, int]
    ) -> str | None:
        """Batch work does for people: what has got least far, and rather what can be gone on with. And for somebody who
        has none, an answer of whoever has several, or any for a new question, or after a slice for one that goes on."""
        opened = {ticket: each for ticket in staying if (each := self._ledger.open.get(ticket)) is not None}
        if waiting.owner.work is not Work.BATCH:
            batch = {ticket: each for ticket, each in opened.items() if each.owner.work is Work.BATCH}
            able = [t for t, each in batch.items() if self._may_pause(each, 0.0)]
            able = able or [t for t, each in batch.items() if each.owner.repeatable]
            if able:
                return max(able, key=lambda t: worker.granted[t])
        if held[waiting.owner.person]:
            return None
        slice_s = 0.0 if waiting.begun is None else self._rules.slice_s
        having = {ticket: held[each.owner.person] for ticket, each in opened.items()}
        able = [
            ticket
            for ticket, each in opened.items()
            if each.owner.work >= waiting.owner.work and self._may_pause(each, 0.0 if having[ticket] > 1 else slice_s)
        ]
        return max(able, key=lambda t: (having[t], -worker.granted[t]), default=None)

    def _may_pause(self, opened: Open, slice_s: float) -> bool:
        pause_s = opened.pause_s(slice_s)
        return self._rules.slice_s > 0 and pause_s is not None and self._now_s >= pause_s

    def _make_room(self, waiting: Waiting, reserved_bytes: int, held: set[int]) -> int:
        """Start the model or stop what is in its way. Returns the bytes that later tickets must leave alone."""
        demand = waiting.demand
        reason = self._why_never(demand)
        if reason is not None:
            self._refuse_waiting(reason, key=demand.key)
            return 0
        planned = sum(w.demand.memory_bytes for w in self._workers.values())
        need_bytes = planned + reserved_bytes + demand.memory_bytes - self._rules.budget_bytes
        if need_bytes <= 0 or demand.memory_bytes == 0:  # an engine elsewhere takes none
            number = self._next_worker
            self._put(Worker(number, demand, Phase.STARTING, self._now_s, started_for=waiting.ticket))
            self.effects.append(StartWorker(number, demand))
            self._next_worker += 1
            return 0
        leaving = (Phase.STOPPING, Phase.DRAINING)
        need_bytes -= sum(w.demand.memory_bytes for w in self._workers.values() if w.phase in leaving)
        idle = victims(self._workers.values(), self._pinned, need_bytes, busy=False, cost=self._absence_s)
        if idle is not None:
            for worker in idle:
                self._stop(worker.id)
        elif self._is_due(waiting):
            busy = victims(self._workers.values(), self._pinned, need_bytes, busy=True)
            held.update(worker.id for worker in busy or ())
        return demand.memory_bytes

    def _expire_idle(self) -> None:
        for worker in list(self._workers.values()):
            ends_s = idle_until(worker, self._rules)
            kept = worker.demand.name in self._pinned or ends_s is None or self._now_s < ends_s
            if worker.idle and not kept:
                self._stop(worker.id)

    def _tell_positions(self) -> None:
        """Who moved is told (far behind only now and then), with how long it will be: each answer before them for the
        same slots as long as lately."""
        places = {waiting.ticket: place for place, waiting in enumerate(self._before.queue, 1)}
        before: dict[tuple[str, str], int] = {}
        for place, waiting in enumerate(self._queue, 1):
            key = waiting.demand.key
            before[key] = number = before.get(key, 0) + 1
            old = places.get(waiting.ticket)
            if old != place and _told(old) != _told(place):
                expected_s = self._hold_s * number / max(1, waiting.demand.slots)
                self.effects.append(Wait(waiting.ticket, place, expected_s))

    # Small moves

    def _habit(self, demand: Demand) -> Habit:
        return self._habits.get(demand.key, Habit(at_s=self._now_s))

    def _remember(self, demand: Demand, habit: Habit) -> None:
        self._habits = remembered(self._habits, demand.key, habit)

    def _absence_s(self, worker: Worker) -> float:
        """What it costs to be without this worker's model."""
        return self._habit(worker.demand).absence_s(self._now_s, worker.demand.memory_bytes)

    def _put(self, worker: Worker) -> None:
        self._workers[worker.id] = worker

    def _worker_of(self, demand: Demand) -> Worker | None:
        return next((w for w in self._workers.values() if w.demand.key == demand.key), None)

    def _stop(self, number: int, *, force: bool = False) -> None:
        self._put(replace(self._workers[number], phase=Phase.STOPPING, granted=MappingProxyType({}), alone=None))
        self.effects.append(StopWorker(number, force, self._workers[number].dying))

    def _refuse(self, waiting: Waiting, error: IntramuralError) -> None:
        self._queue.remove(waiting)
        self.effects.append(Refuse(waiting.ticket, error))

    def _refuse_waiting(self, error: IntramuralError, *, key: tuple[str, str]) -> None:
        for waiting in [w for w in self._queue if w.demand.key == key]:
            self._refuse(waiting, error)

    def _fail_granted(self, worker: Worker, error: IntramuralError) -> None:
        self.effects.extend(Fail(ticket, error) for ticket in worker.granted)

    def _retry_after_s(self) -> float:
        slots = sum(w.demand.slots for w in self._workers.values()) or 1
        return min(_RETRY_MAX_S, max(_RETRY_MIN_S, self._hold_s * len(self._queue) / slots))


def _told(place: int | None) -> int | None:
    """The same for places that are told as one: else everybody in a long queue would be told of every answer."""
    return place if place is None or place <= _TOLD_EACH else -(place // _TOLD_EACH)


def _quarantined(demand: Demand) -> Refused:
    return Refused(
        "model_quarantined",
        f"{demand.name} is quarantined: its workers crashed again and again.",
        f"An administrator can let it be loaded again: intramural release {demand.name} --reason …",
    )


def _shutting_down() -> Unavailable:
    return Unavailable("shutting_down", "The service is stopping.", "Try again in a moment.", retry_after_s=5.0)
