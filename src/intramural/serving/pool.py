"""The run loop: one queue of facts, no locks. It asks `scheduler.step` about each and does what that says, dully."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count
from typing import Any, TypeVar

from msgspec.structs import replace

from intramural.core.chat import ChatRequest, Embeddings, Ranking
from intramural.core.clock import Clock
from intramural.core.config import ServingConfig
from intramural.core.errors import Broken, IntramuralError, Misasked, Unavailable
from intramural.serving import adapting, threads, vectors
from intramural.serving.answer import Stream
from intramural.serving.asking import count_tokens, put, rendered
from intramural.serving.ends import End, judged, killed_between, memory_kills
from intramural.serving.exchange import worker_died
from intramural.serving.fairness import NOBODY, Begun, Owner
from intramural.serving.lease import Lease, Life, Ticket
from intramural.serving.model import ModelToServe
from intramural.serving.owned import BeginNote, Owned, Repeated, WaitNote, length_of
from intramural.serving.scheduler import (
    Arrived,
    Demand,
    Effect,
    Event,
    Fail,
    Grant,
    KeepAsked,
    Left,
    Pausable,
    Phase,
    PinAsked,
    Preempt,
    Quarantine,
    Quarantined,
    Refuse,
    Released,
    Rules,
    ShutdownAsked,
    StartWorker,
    State,
    StopWorker,
    Ticked,
    UnloadAsked,
    Wait,
    Worker,
    WorkerGone,
    WorkerMisbehaved,
    WorkerReady,
    idle_until,
    step,
    wake_at,
)
from intramural.serving.slots import Seat
from intramural.serving.tally import Tally
from intramural.serving.warmth import Warmth
from intramural.serving.worker import EngineProcess, Spawner, WorkerProcess

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker, as administrators see it. `state`: starting, ready, stopping, or resting (it is
    elsewhere, and failed). `left_s`: until it is stopped, if nobody asks for it (None: never)."""

    name: str
    digest: str
    state: str
    pid: int | None
    memory_bytes: int
    rss_bytes: int
    slots_busy: int
    slots: int
    context_tokens: int
    idle_s: float
    left_s: float | None
    pinned: bool
    threads: int
    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """The pool at one moment. `waiting`: the model of each who waits, in order."""

    workers: tuple[WorkerStatus, ...]
    queued: int
    budget_bytes: int
    planned_bytes: int
    pinned: frozenset[str]
    waiting: tuple[str, ...] = ()


#: So long after its connections broke a worker's process may take to end.
_DYING_S = 2.0
#: So long a worker that is to go may take to hand over what it has computed. Others may be waiting for its memory.
_SAVING_S = 5.0


class Pool:
    """Workers and the queue before them. `start` it, then ask; `close` leaves no process behind."""

    def __init__(
        self,
        config: ServingConfig,
        clock: Clock,
        spawner: Spawner,
        budget_bytes: int,
        warmth: Warmth | None = None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._spawner = spawner
        self._state = State(
            Rules(
                budget_bytes=budget_bytes,
                queue_limit=config.queue_limit,
                queue_timeout_s=config.queue_timeout_s,
                keep_alive_s=config.keep_alive_s,
                ageing_s=max(1.0, config.ageing_s),
                slice_s=config.slice_s,
            )
        )
        self._facts: deque[Event] = deque()
        self._tickets: dict[str, Ticket] = {}
        self._lives: dict[int, Life] = {}
        self._models: dict[tuple[str, str], ModelToServe] = {}
        self._numbers = count(1)
        #: What brings back what a worker had computed; None: nothing does.
        self.warmth = warmth
        self._salt = clock.token_bytes(32)
        #: What became of workers so far.
        self.tally = Tally()
        #: Told when weights came into quarantine: it is to be written down.
        self.on_quarantine: Callable[[Quarantine], None] = lambda _: None
        #: How often the kernel has killed for memory; whoever tries what that does says another number.
        self.memory_kills: Callable[[], int | None] = memory_kills
        self._handling = False
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_s = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None  # while it runs
        self._live = not config.threads and adapting.may_place()
        self._adapter = adapting.Adapter(self._computing, self._computes_with)
        self._adapter_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin taking requests."""
        self._loop = asyncio.get_running_loop()
        self._catch_up()  # what was told before
        self._adapter_task = asyncio.create_task(self._adapter.run(), name="serving-adapter")

    async def close(self) -> None:
        """Refuse those who wait, fail those being answered, end every worker. Returns when all are gone."""
        if self._loop is None:
            return
        self._post(ShutdownAsked(self.now_s()))
        while not self._state.closing or self._lives:
            tasks = [life.task for life in self._lives.values() if life.task is not None]
            await (asyncio.wait(tasks) if tasks else asyncio.sleep(0))
        if self._timer is not None:
            self._timer.cancel()
        if self._adapter_task is not None:
            self._adapter_task.cancel()
            await asyncio.gather(self._adapter_task, return_exceptions=True)
        self._loop = self._adapter_task = None

    # What callers ask for

    def chat(
        self, model: ModelToServe, request: ChatRequest, on_wait: WaitNote | None = None, owner: Owner = NOBODY
    ) -> Stream | Repeated:
        """The events of `request`, in `owner`'s turn; `on_wait` is told the place in the queue whenever it changes, and
        about how many seconds it will be.

        Raises Misasked here and now for what is wrong with the request itself; iterating raises Unavailable (queue,
        memory, quarantine), Untrusted (weights), Misasked (`context_length_exceeded`, `invalid_schema`) or Broken.
        What is repeatable is told only when it is whole.
        """

        def stream(owner: Owner) -> Stream:
            owned = Owned(self, owner, length_of(request), on_wait)
            made = Stream(owned, model, request, None, self._clock)
            owned.usage = lambda: made.usage
            return made

        return Repeated(stream, owner) if owner.repeatable else stream(owner)

    async def embed(
        self,
        model: ModelToServe,
        inputs: Sequence[str | tuple[int, ...]],
        *,
        cut: bool = False,
        owner: Owner = NOBODY,
        on_begin: BeginNote = lambda: None,
    ) -> Embeddings:
        """One vector of length 1 per input, in one slot, a few inputs at a time. `cut`: of a text that is too long the
        beginning counts, and the answer says which it was. `on_begin` is called when the slot is had.

        Raises Misasked(`no_embeddings`) for a model that cannot make any, Misasked(`context_length_exceeded`) naming
        the input, and what a lease raises.
        """
        if model.pooling in (None, "rank"):
            hint = "Ask a model made for them."
            raise Misasked("no_embeddings", f"{model.name} makes no embeddings.", hint, param="model")
        async with self.lease(model, owner=replace(owner, repeatable=False)) as lease:
            began_s = self._clock.monotonic_s()
            on_begin()
            result = await vectors.embed(lease, model, inputs, cut=cut)
            lease.cost = float(result.prompt_tokens)
            return replace(result, engine_ms=(self._clock.monotonic_s() - began_s) * 1000)

    async def rerank(
        self,
        model: ModelToServe,
        query: str,
        documents: Sequence[str],
        max_tokens_per_document: int | None = None,
        owner: Owner = NOBODY,
        on_begin: BeginNote = lambda: None,
    ) -> Ranking:
        """How well each document answers `query`. Longer ones are cut to `max_tokens_per_document`, if that is given.
        `on_begin` is called when the slot is had.

        Raises Misasked(`no_ranking`) for a model that cannot, Misasked(`context_length_exceeded`) naming the document,
        and what a lease raises.
        """
        if model.pooling != "rank":
            hint = "Ask a model made for it."
            raise Misasked("no_ranking", f"{model.name} does not rank texts.", hint, param="model")
        async with self.lease(model, owner=replace(owner, repeatable=False)) as lease:
            began_s = self._clock.monotonic_s()
            on_begin()
            result = await vectors.rerank(lease, query, documents, max_tokens_per_document)
            lease.cost = float(result.prompt_tokens)
            return replace(result, engine_ms=(self._clock.monotonic_s() - began_s) * 1000)

    async def tokenize(
        self, model: ModelToServe, text: str, *, special: bool = False, marks: bool = False
    ) -> tuple[vectors.Token, ...]:
        """The model's tokens of `text`; see `vectors.tokenize`."""
        async with self.lease(model, needs_slot=False) as lease:
            return await vectors.tokenize(lease, text, special=special, marks=marks)

    async def detokenize(self, model: ModelToServe, tokens: Sequence[int]) -> str:
        """The text of `tokens`. Raises Misasked(`invalid_token`)."""
        async with self.lease(model, needs_slot=False) as lease:
            return await vectors.detokenize(lease, tokens)

    async def count_tokens(self, model: ModelToServe, request: ChatRequest) -> int:
        """How many prompt tokens `request` makes, as it would be sent: see `answer.count_tokens`."""
        put(model, request)  # what is wrong with it is said before it waits
        async with self.lease(model, needs_slot=False) as lease:
            return await count_tokens(lease, model, request)

    async def rendered(self, model: ModelToServe, request: ChatRequest) -> str:
        """The prompt that `request` makes, as it would be sent: see `answer.rendered`."""
        put(model, request)  # what is wrong with it is said before it waits
        async with self.lease(model, needs_slot=False) as lease:
            return await rendered(lease, model, request)

    async def load(self, model: ModelToServe) -> None:
        """Return when a worker of `model` is ready. Raises what made it impossible."""
        async with self.lease(model, needs_slot=False):
            pass

    async def unload(self, name: str) -> bool:
        """Take `name` out of memory; its pin is lifted.

        True: it is gone, or was not there. False: it is still writing answers, takes no more, and goes after them.
        """
        self._catch_up()
        workers = [w for w in self._state.workers.values() if w.demand.name == name]
        self._post(UnloadAsked(self.now_s(), name))
        self._catch_up()
        if any(worker.granted for worker in workers):
            return False
        tasks = [life.task for w in workers if (life := self._lives.get(w.id)) and life.task]
        if tasks:
            await asyncio.wait(tasks)
        return True

    def keep(self, name: str, keep_alive_s: float) -> bool:
        """From now on, and until it is gone, `name` stays `keep_alive_s` in memory while idle (negative: for ever).

        False: that is so already, or it is not in memory.
        """
        self._catch_up()
        workers = [w for w in self._state.workers.values() if w.demand.name == name]
        self._post(KeepAsked(self.now_s(), name, keep_alive_s))
        self._catch_up()
        return any(worker.keep_alive_s != keep_alive_s for worker in workers)

    def pin(self, name: str, pinned: bool) -> None:
        """Keep `name` in memory once it is there, whatever keep-alive and other models want; or no longer."""
        self._post(PinAsked(self.now_s(), name, pinned))

    def quarantine(self, digests: Iterable[str]) -> None:
        """Nothing with these weights is started; what runs goes on."""
        self._post(Quarantined(self.now_s(), frozenset(digests)))

    def release(self, digest: str) -> None:
        """These weights may be started again, and what was held against them is forgotten."""
        self._post(Released(self.now_s(), digest))

    @property
    def budget_bytes(self) -> int:
        """What all workers together may plan for."""
        return self._state.rules.budget_bytes

    def status(self) -> PoolStatus:
        """What is loaded and who waits, now."""
        self._catch_up()
        state, now_s = self._state, self.now_s()
        workers = []
        for worker in state.workers.values():
            life = self._lives.get(worker.id)
            process = life.process if life else None
            workers.append(
                WorkerStatus(
                    name=worker.demand.name,
                    digest=worker.demand.digest,
                    state=_state_of(worker, process),
                    pid=process.process.pid if process else None,
                    memory_bytes=worker.demand.memory_bytes,
                    rss_bytes=process.rss_bytes() if process else 0,
                    slots_busy=len(worker.granted),
                    slots=worker.demand.slots,
                    context_tokens=life.model.plan.context_tokens if life else 0,
                    idle_s=max(0.0, now_s - worker.since_s) if worker.idle else 0.0,
                    left_s=_left_s(worker, state, now_s),
                    pinned=worker.demand.name in state.pinned,
                    threads=life.computes_with if life else 0,
                    layers=process.process.layers if process else (),
                )
            )
        return PoolStatus(
            tuple(workers),
            len(state.queue),
            state.rules.budget_bytes,
            state.planned_bytes,
            state.pinned,
            tuple(waiting.demand.name for waiting in state.queue),
        )

    def lease(
        self,
        model: ModelToServe,
        on_wait: WaitNote | None = None,
        *,
        needs_slot: bool = True,
        spare_only: bool = False,
        alone: bool = False,
        owner: Owner = NOBODY,
        read_tokens: float = 0.0,
        begun: Begun | None = None,
    ) -> AbstractAsyncContextManager[Lease]:
        """A slot of a ready worker for as long as the context lasts; with `alone` no other of its slots is in use.

        Entering it raises what `chat` says.
        """

        def arrived(name: str) -> Arrived:
            demand = _demand(model)
            self._models[demand.key] = model
            return Arrived(self.now_s(), name, demand, needs_slot, spare_only, alone, owner, read_tokens, begun)

        return _Leasing(self, model, on_wait, owner, arrived)

    def arrive(self, on_wait: WaitNote | None, owner: Owner, arrived: Callable[[str], Arrived]) -> tuple[str, Ticket]:
        """A new ticket of `owner`, told to the scheduler."""
        if self._loop is None:
            raise Broken("pool_not_running", "The pool is not running.", "Start it first.")
        name = f"t{next(self._numbers)}"
        ticket = Ticket(asyncio.get_running_loop().create_future(), on_wait)
        ticket.tenant = owner.tenant or f"{name}, nobody"
        self._tickets[name] = ticket
        self._post(arrived(name))
        self._catch_up()
        return name, ticket

    def granted(self, name: str, ticket: Ticket, number: int, owner: Owner, model: ModelToServe) -> Lease:
        """The slot of worker `number` that `ticket` was granted. Raises what made it impossible meanwhile."""
        life = self._lives.get(number)
        if life is None or life.process is None:
            raise ticket.failure or worker_died()
        seat = life.slots.seat(ticket.tenant, returns=bool(owner.tenant), lasting=not owner.passing)
        stall_s = self._config.stall_timeout_s
        return Lease(self, number, life, life.process, ticket, seat, stall_s, name, model.scales)

    def left(self, name: str, lease: Lease | None) -> None:
        """Whoever held (None: or waited with) ticket `name` is gone."""
        if lease is not None:
            lease.leave()
        self._tickets.pop(name, None)
        self._post(Left(self.now_s(), name, None if lease is None else lease.cost))

    def can_pause(self, name: str) -> None:
        """What is written for ticket `name` can be gone on with later."""
        self._post(Pausable(self.now_s(), name))

    def misbehaved(self, number: int, error: IntramuralError) -> None:
        """A lease saw worker `number` do what no worker may."""
        self._post(WorkerMisbehaved(self.now_s(), number, error))

    def warmth_of(self, life: Life) -> Warmth | None:
        """What keeps the states of this worker; None: nothing does. Of pictures, of a model that guesses ahead and of
        which adapters were applied the engine's files say nothing."""
        model, process = life.model, life.process
        whole = not model.reads_images and not model.scales and model.options.speculative != "draft"
        return self.warmth if whole and process is not None and process.buffer is not None else None

    def marks_key(self, seat: Seat, scales: Sequence[float]) -> bytes:
        """Of the marks of prompts: nobody outside can make one, or tell what it stands for. What an adapter took part
        in is of no use without it, so that there the same words have other marks."""
        key = self._salt if self.warmth is None or not seat.returns else self.warmth.key_of(seat.tenant)
        return blake2b(repr(tuple(scales)).encode(), key=key).digest() if any(scales) else key

    async def forget(self, tenant: str, *, for_good: bool) -> None:
        """Nothing that was computed for `tenant` so far is on the disk, or gets there; `for_good`: nor later."""
        for life in self._lives.values():
            life.slots.forget(tenant)
        if self.warmth is not None:
            await self.warmth.done()  # what is on its way there
            await asyncio.to_thread(self.warmth.states.forget, tenant, for_good=for_good)

    async def forget_older(self, before_s: float) -> int:
        """What was computed of conversations and last used before this time is on no disk. How many states went."""
        return 0 if self.warmth is None else await asyncio.to_thread(self.warmth.states.forget_older, before_s)

    async def forget_model(self, digest: str) -> None:
        """Nothing that these weights have computed is kept on the disk."""
        if self.warmth is not None:
            await asyncio.to_thread(self.warmth.states.forget_model, digest)

    # The loop

    def now_s(self) -> float:
        return self._clock.monotonic_s()

    def _post(self, fact: Event) -> None:
        """Handled in the next turn of the loop, or by whoever catches up before."""
        self._facts.append(fact)
        if self._loop is not None and len(self._facts) == 1:
            self._loop.call_soon(self._catch_up)

    def _handle(self, fact: Event) -> None:
        self._handling = True
        try:
            before = self._state
            self._state, effects = step(before, fact)
            self.tally.note(before, fact, effects)
            for effect in effects:
                self._do(effect)
            self._set_timer()
        finally:
            self._handling = False

    def _catch_up(self) -> None:
        """Handle what has been posted, here and now: so that whoever asks after acting sees what came of it."""
        if self._handling:  # whoever handles goes on with these
            return
        try:
            while self._facts:
                self._handle(self._facts.popleft())
        finally:
            if self._facts and self._loop is not None:  # one was a mistake; the others are none
                self._loop.call_soon(self._catch_up)

    def _set_timer(self) -> None:
        at_s = wake_at(self._state)
        if at_s is None or (self._timer is not None and self._wakes_s <= at_s):
            return  # to be woken sooner than need be is cheaper than a new timer at every event
        if self._timer is not None:
            self._timer.cancel()
        # A hair late rather than a hair early: too early would find nothing due and wake again at once.
        delay_s = max(0.0, at_s - self.now_s()) + 0.001
        self._timer, self._wakes_s = asyncio.get_running_loop().call_later(delay_s, self._tick), at_s

    def _tick(self) -> None:
        self._timer = None
        self._post(Ticked(self.now_s()))

    def _do(self, effect: Effect) -> None:
        match effect:
            case StartWorker(worker=number, demand=demand):
                self._start_worker(number, self._models[demand.key])
            case StopWorker(worker=number):
                life = self._lives.get(number)
                if life is not None and not life.stop.done():
                    life.stop.set_result(effect)
            case Grant(ticket=name, worker=number):
                self._resolve(name, number)
                self._hold_steady(number)
                self._adapter.wake()
            case Refuse(ticket=name, error=error):
                self._resolve(name, error)
            case Fail(ticket=name, error=error):
                self._fail(name, error)
            case Preempt(ticket=name):
                self._fail(name, _preempted())
            case Quarantine():
                self.on_quarantine(effect)
            case Wait(ticket=name, position=position, wait_s=wait_s):
                ticket = self._tickets.get(name)
                if ticket is not None and ticket.on_wait is not None:
                    ticket.on_wait(position, wait_s)

    def _resolve(self, name: str, outcome: int | IntramuralError) -> None:
        ticket = self._tickets.get(name)
        if ticket is None or ticket.granted.done():
            return  # its owner has left; the fact of that is on the queue
        if isinstance(outcome, int):
            ticket.granted.set_result(outcome)
        else:
            ticket.granted.set_exception(outcome)

    def _fail(self, name: str, error: IntramuralError) -> None:
        ticket = self._tickets.get(name)
        if ticket is not None:
            ticket.failure = error
            if ticket.exchange is not None:
                ticket.exchange.fail(worker_died())

    # A worker's life

    def _start_worker(self, number: int, model: ModelToServe) -> None:
        if self.warmth is not None:
            self.warmth.states.welcome(model.digest)
        life = Life(model, asyncio.get_running_loop().create_future())
        self._lives[number] = life
        life.task = asyncio.create_task(self._live_through(number, life), name=f"worker-{number}")

    async def _compute(self, model: ModelToServe) -> threads.Compute:
        """Threads for one more worker: as many as it may ever use, where that can be changed while it runs; else from
        what is free now beside those that compute already."""
        wanted = self._config.threads
        if self._live and model.runner == "engine":
            _, cores = threads.usable()
            return threads.at_most(cores)
        if wanted == 1:  # nothing to find out: a single thread waits for nobody
            return threads.decide(threads.Capacity(1), wanted_threads=1)
        busy = [w.id for w in self._state.workers.values() if w.granted]
        own_cores = sum(self._lives[number].compute.threads for number in busy if number in self._lives)
        capacity = await threads.measure(own_cores=float(own_cores))
        others = sum(life.compute.threads for life in self._lives.values())
        return threads.decide(capacity, wanted_threads=wanted, other_workers_threads=others)

    def _computing(self) -> dict[int, int]:
        """The processes of workers that answer somebody now, and whose threads can be changed."""
        found = {}
        for worker in self._state.workers.values():
            life = self._lives.get(worker.id)
            pid = life.process.process.pid if life is not None and life.process is not None else None
            adapts = life is not None and life.compute.live and worker.alone is None
            if worker.granted and adapts and pid is not None:
                found[worker.id] = pid
        return found

    def _hold_steady(self, number: int) -> None:
        """Who is answered alone, to get the same answer every time, gets all threads whatever others do: with another
        number of them a long prompt is rounded differently."""
        worker, life = self._state.workers.get(number), self._lives.get(number)
        if worker is None or worker.alone is None or life is None or not life.compute.live or life.process is None:
            return
        pid = life.process.process.pid
        if pid is not None and adapting.place(pid, frozenset(threads.usable()[0])):
            life.computes_with = life.compute.threads

    def _computes_with(self, number: int, count: int) -> None:
        if number in self._lives:
            self._lives[number].computes_with = count

    async def _live_through(self, number: int, life: Life) -> None:
        error: IntramuralError | None = None
        # Weights that fail their check and a machine that cannot confine are no crashes of the engine.
        end, kills = End("", crashed=False), self.memory_kills()
        try:
            await self._until_ready(number, life)
            if life.process is not None and not life.stop.done():
                await _first(life.process.process.wait(), life.stop)
        except IntramuralError as caught:
            error = caught
            log.warning("worker %d of %s failed: %s", number, life.model.name, caught.code)
        finally:
            try:
                if life.process is not None:
                    by_itself = await self._end(life, life.process, error)
                    status = await life.process.process.wait()
                    killed = killed_between(kills, self.memory_kills())
                    end = judged(status, by_itself=by_itself, killed_for_memory=killed)
            finally:  # whatever came of that: nobody waits for it any more
                del self._lives[number]
                if error is None and life.process is None:
                    error = Broken("worker_start_failed", f"No worker of {life.model.name} could be started.")
                self._post(WorkerGone(self.now_s(), number, error, end.crashed, end.how))

    async def _end(self, life: Life, worker: WorkerProcess, error: IntramuralError | None) -> bool:
        """See to it that it ends, and what was made for it goes. Whether it ended by itself."""
        order = life.stop.result() if life.stop.done() else None
        if order is None:
            by_itself = error is None or error.code == "worker_start_failed"
        else:
            by_itself = order.dying and await _ends(worker.process)
        forced = error is not None or (order is not None and order.force)
        if not forced and order is not None:
            await self._save_all(life, worker)
        await worker.stop(0.0 if forced else self._config.stop_grace_s)
        return by_itself

    async def _save_all(self, life: Life, worker: WorkerProcess) -> None:
        """What an idle worker holds that is worth it, the newest first, as far as the time allows."""
        warmth = self.warmth_of(life)
        if warmth is None:
            return
        slots = life.slots
        with suppress(TimeoutError):
            async with asyncio.timeout(_SAVING_S):
                for slot, held in slots.unsaved(self.now_s()).items():
                    if await warmth.save(worker, life.model, slot, held, lambda: slots.steady, last=True):
                        slots.saved(slot, held)
                    await warmth.done()

    async def _until_ready(self, number: int, life: Life) -> None:
        if life.model.remote is None:
            life.compute = await self._compute(life.model)
            life.computes_with = life.compute.threads
        life.process = await _first(self._spawner.start(life.model, life.compute), life.stop)
        if life.process is None:
            return
        self._yield_to_others(life.process)  # before it makes threads: they inherit it
        await _first(life.process.ready(self._config.start_timeout_s), life.stop)
        if not life.stop.done():
            self._yield_to_others(life.process)
            self._post(WorkerReady(self.now_s(), number))

    def _yield_to_others(self, worker: WorkerProcess) -> None:
        if self._config.nice and worker.process.pid is not None:
            adapting.lower_priority(worker.process.pid, self._config.nice)


class _Leasing:
    """What `Pool.lease` gives. (A class: an asynchronous generator costs every request ten times as much.)"""

    __slots__ = ("_arrived", "_lease", "_model", "_name", "_on_wait", "_owner", "_pool")

    def __init__(
        self,
        pool: Pool,
        model: ModelToServe,
        on_wait: WaitNote | None,
        owner: Owner,
        arrived: Callable[[str], Arrived],
    ) -> None:
        self._pool = pool
        self._model = model
        self._on_wait = on_wait
        self._owner = owner
        self._arrived = arrived
        self._name = ""
        self._lease: Lease | None = None

    async def __aenter__(self) -> Lease:
        self._name, ticket = self._pool.arrive(self._on_wait, self._owner, self._arrived)
        try:
            number = await ticket.granted
            self._lease = self._pool.granted(self._name, ticket, number, self._owner, self._model)
        except BaseException:
            self._pool.left(self._name, None)
            raise
        return self._lease

    async def __aexit__(self, *_: object) -> None:
        self._pool.left(self._name, self._lease)


def _state_of(worker: Worker, process: WorkerProcess | None) -> str:
    if worker.phase is Phase.READY and process is not None and process.resting:
        return "resting"
    return "stopping" if worker.phase is Phase.DRAINING else worker.phase.value


def _left_s(worker: Worker, state: State, now_s: float) -> float | None:
    """Seconds until an idle worker is stopped; for a busy one, as if it became idle now."""
    ends_s = idle_until(worker if worker.idle else replace(worker, since_s=now_s), state.rules)
    return None if ends_s is None or worker.demand.name in state.pinned else max(0.0, ends_s - now_s)


def _demand(model: ModelToServe) -> Demand:
    return Demand(model.name, model.digest, model.plan.memory_bytes, model.plan.slots)


def _preempted() -> Unavailable:
    hint = "It is asked again when there is time."
    return Unavailable("preempted", "Somebody needed the slot of this batch work.", hint, retry_after_s=1.0)


async def _ends(process: EngineProcess) -> bool:
    """Whether it ends by itself, soon."""
    try:
        await asyncio.wait_for(process.wait(), _DYING_S)
    except TimeoutError:
        return False
    return True


async def _first(work: Coroutine[Any, Any, _Result], stop: "asyncio.Future[StopWorker]") -> _Result | None:
    """What `work` returns, or None with `work` cancelled if `stop` comes first."""
    task = asyncio.ensure_future(work)
    try:
        waits: set[asyncio.Future[Any]] = {task, stop}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    return None if task.cancelled() else task.result()
