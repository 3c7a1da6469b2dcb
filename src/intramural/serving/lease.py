"""What is held while something is asked of a worker: its life, the ticket that was granted, the lease of a slot."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import msgspec

from intramural.core.chat import ChatRequest
from intramural.core.errors import Broken, IntramuralError
from intramural.serving.exchange import Exchange, worker_garbage, worker_stalled
from intramural.serving.marks import marks_of, shared
from intramural.serving.model import ModelToServe
from intramural.serving.owned import WaitNote
from intramural.serving.scheduler import StopWorker
from intramural.serving.slots import ANY_SLOT, WORTH_BLOCKS, Place, Seat, Slots
from intramural.serving.threads import Compute
from intramural.serving.traits import Traits
from intramural.serving.warmth import Warmth
from intramural.serving.worker import WorkerProcess

_Body = TypeVar("_Body", bound=msgspec.Struct)

_UNDECIDED = Compute(0)
#: Routes whose work goes to any slot that is idle: the engine lets nobody choose one for them.
_ROAMING = ("/v1/embeddings", "/v1/rerank")
#: A step of the engine takes about this long on a small model.
_QUIET_PAUSE_S = 0.01


@dataclass
class Ticket:
    """Somebody who waits, or was granted a slot. `granted` resolves with the worker's number."""

    granted: "asyncio.Future[int]"
    on_wait: WaitNote | None
    failure: IntramuralError | None = None
    exchange: Exchange | None = None
    #: In whose name it is asked: what was computed for one is not reused for another.
    tenant: str = ""


@dataclass
class Life:
    """A worker being started, running or being stopped. `stop` resolves with the order to end it."""

    model: ModelToServe
    stop: "asyncio.Future[StopWorker]"
    compute: Compute = _UNDECIDED
    #: With how many threads it computes now.
    computes_with: int = 0
    task: "asyncio.Task[None] | None" = None
    process: WorkerProcess | None = None
    traits: Traits | None = None
    slots: Slots = field(init=False)
    #: Set when a request has begun or left.
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.slots = Slots(self.model.plan.slots)


class _Slot(msgspec.Struct):
    is_processing: bool


_decode_slots = msgspec.json.Decoder(list[_Slot]).decode


class House(Protocol):
    """What a lease needs of the pool that gave it."""

    def now_s(self) -> float: ...
    def warmth_of(self, life: Life) -> Warmth | None: ...
    def marks_key(self, seat: Seat, scales: Sequence[float]) -> bytes: ...
    def can_pause(self, name: str) -> None: ...
    def misbehaved(self, number: int, error: IntramuralError) -> None: ...


class Lease:
    """A granted ticket. See `traits.Asking`. `cost`: what it has cost, once that is known (see `fairness.cost_of`)."""

    def __init__(
        self,
        pool: House,
        number: int,
        life: Life,
        worker: WorkerProcess,
        ticket: Ticket,
        seat: Seat,
        stall_s: float,
        name: str,
        scales: Sequence[float],
    ) -> None:
        self._pool = pool
        self._name = name
        self._scales = scales
        self._number = number
        self._life = life
        self._worker = worker
        self._ticket = ticket
        self._seat = seat
        self._stall_s = stall_s
        self.cost: float | None = None

    async def ask(self, method: str, target: str, body: bytes) -> Exchange:
        if self._ticket.failure is not None:
            raise self._ticket.failure
        exchange = await self._worker.ask(method, target, body, stall_s=self._stall_s, tenant=self._ticket.tenant)
        self._ticket.exchange = exchange
        return exchange

    async def place(self, request: ChatRequest) -> Place:
        pool, seat, warmth = self._pool, self._seat, self._pool.warmth_of(self._life)
        if self._life.model.remote is not None:  # its slots are not ours to give
            return Place(ANY_SLOT, reuse=not request.deterministic)
        marks = marks_of(request, pool.marks_key(seat, self._scales))
        if warmth is None:
            return seat.take(marks, pool.now_s(), alone=request.deterministic)
        # Computed anew whatever there is; and for nobody nothing is stored.
        cold = request.deterministic or not seat.returns
        state = None if cold else await warmth.find(seat.tenant, self._life.model, marks)
        stored = 0 if state is None else shared(state.marks, marks)
        place = seat.take(marks, pool.now_s(), alone=request.deterministic, elsewhere=stored)
        if seat.displaced is not None:
            await warmth.save(self._worker, self._life.model, place.slot, seat.displaced, lambda: not seat.soiled)
        if state is not None and stored >= seat.kept + WORTH_BLOCKS:
            seat.restored(state.marks, sure=await warmth.restore(self._worker, place.slot, state))
        assert seat.place is not None
        return seat.place

    def begun(self, status: int) -> None:
        if self._seat.place is not None and status == 200:
            self._seat.begun(self._pool.now_s())
        elif status < 500:
            self._seat.refused()
        self._life.moved.set()

    def leave(self) -> None:
        """Whatever was asked is over."""
        self._seat.leave(self._pool.now_s())
        self._life.moved.set()

    async def whole(self, target: str, body: object, shape: type[_Body]) -> _Body:
        """A response that is not a stream, in its shape; `body` None: a GET. Raises what `blame` makes of it."""
        if target not in _ROAMING:
            return await self._whole(target, body, shape)
        slots = self._life.slots
        # First, so that whoever comes from now on relies on no slot: else those who do would never all have begun.
        slots.roam()
        try:
            while slots.unsettled:
                self._life.moved.clear()
                await self._life.moved.wait()
            return await self._whole(target, body, shape)
        finally:
            slots.roamed()

    async def _whole(self, target: str, body: object, shape: type[_Body]) -> _Body:
        exchange: Exchange | None = None
        try:
            method, data = ("GET", b"") if body is None else ("POST", msgspec.json.encode(body))
            exchange = await self.ask(method, target, data)
            status, answer = await exchange.status(), await exchange.read_all()
            if status != 200:
                raise self.refusal(exchange, status, answer)
            return _decode(answer, shape)
        except IntramuralError as error:
            raise await self.blame(error) from error
        finally:
            if exchange is not None:
                exchange.close()

    def refusal(self, exchange: Exchange, status: int, body: bytes) -> IntramuralError:
        return self._worker.refusal(exchange, status, body)

    async def quiet(self) -> None:
        try:
            async with asyncio.timeout(self._stall_s):
                while True:
                    if not any(slot.is_processing for slot in await self._slots()):
                        return
                    await asyncio.sleep(_QUIET_PAUSE_S)
        except TimeoutError:
            raise await self.blame(worker_stalled(self._stall_s)) from None

    async def _slots(self) -> list[_Slot]:
        status, body = await self._worker.ask_whole("GET", "/slots", b"", stall_s=self._stall_s)
        try:
            return _decode_slots(body)
        except msgspec.DecodeError as error:
            raise await self.blame(worker_garbage(f"status {status} without slots")) from error

    def can_pause(self) -> None:
        self._pool.can_pause(self._name)

    async def traits(self) -> Traits:
        if self._life.traits is None:
            self._life.traits = await self._worker.traits(self)
        return self._life.traits

    async def blame(self, error: IntramuralError) -> IntramuralError:
        failure = self._ticket.failure
        if failure is not None and error.code == "worker_died":
            return failure  # it was us who stopped it: nobody is asked how the worker is while others wait for the slot
        if await self._worker.is_lost(error):
            self._pool.misbehaved(self._number, error)
        return failure if failure is not None and isinstance(error, Broken) else error


def _decode(body: bytes, shape: type[_Body]) -> _Body:
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise worker_garbage("an answer in a wrong shape") from error
