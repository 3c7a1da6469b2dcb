"""Workers without processes: the stand-in engine of the tests in this loop, behind wires that are late, split and cut.

What asks them is the real `serving.exchange`: bytes come in at its `data_received` as from a socket. Works in any
event loop, so that `tests/serving/contracts` can hold it to the same tests as the real engine.
"""

import asyncio
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, cast

from tests.fakes.engine import Engine, Json, knobs

from intramural.serving import Compute, ModelToServe, WorkerProcess
from intramural.serving.exchange import Exchange, worker_died
from simulate.loop import LEAST_S
from simulate.plan import Wires

#: Unread bytes beyond which an engine that writes has to wait.
_HIGH_WATER_BYTES = 64 * 1024
#: A killed process is gone so soon, one that is asked to end so much later.
_KILLED_S, _ENDING_S = 0.001, 0.05
#: So many words it could answer at most.
_MOST_WORDS = 400
#: Wires that nothing is wrong with.
_GOOD = Wires()


class Seen:
    """What engines have seen that must not be. `alive`: how much memory each has while it is there."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self.wrong: list[str] = []
        self.told: Callable[[str], None] = lambda _: None
        self.alive: dict[int, int] = {}

    def began(self, number: int, memory_bytes: int) -> None:
        self.alive[number] = memory_bytes
        if sum(self.alive.values()) > self._budget_bytes:
            self.wrong.append(f"memory: workers have {sum(self.alive.values())} bytes of {self._budget_bytes}")


class SimulatedEngine(Engine):
    """The stand-in, with slots as the real engine has them: a request names its own, and may use what is left there.

    Its answers are the asker's own words, numbered: who gets another's, or one twice, knows.
    """

    def __init__(self, chosen: Any, process: "Process", seen: Seen, chance: Random) -> None:
        self.process = process
        self.seen = seen
        self.chance = chance
        super().__init__(chosen)
        self._turns = [asyncio.Lock() for _ in range(chosen.slots)]
        self._left: list[str | None] = [None] * chosen.slots
        self._using: list[str | None] = [None] * chosen.slots

    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def die(self) -> None:
        self.process.exit(-signal.SIGSEGV)

    def words(self, body: Json) -> list[str]:
        marked = _asker(body)
        if self.knobs.answer or marked is None:
            return super().words(body)
        return [f"{marked[1]}.{number}" for number in range(_MOST_WORDS)]

    @asynccontextmanager
    async def slot(self, body: Json) -> AsyncIterator[None]:
        marked = _asker(body)
        wanted = int(body.get("id_slot", -1))
        if not 0 <= wanted < len(self._turns):
            wanted = next((n for n, turn in enumerate(self._turns) if not turn.locked()), 0)
        async with self._turns[wanted]:
            whose = None if marked is None else marked[0]
            if body.get("cache_prompt") and self._left[wanted] not in (None, whose):
                self.seen.wrong.append(f"slots: {whose} goes on from what {self._left[wanted]} asked")
            if self.busy >= self.knobs.slots:
                self.seen.wrong.append(f"slots: {self.busy + 1} answers in {self.knobs.slots} slots")
            self._left[wanted] = whose
            self.busy += 1
            try:
                yield
            finally:
                self.busy -= 1

    async def embed(self, body: Json, writer: Any) -> None:
        """Vectors go to any slot that is idle, and what was there is lost."""
        await super().embed(body, writer)
        self._left = [left if turn.locked() else "vectors" for left, turn in zip(self._left, self._turns, strict=True)]


def _asker(body: Json) -> tuple[str, str] | None:
    """Who asks, and under what name: prompts of simulated people begin so."""
    prompt = body.get("prompt")
    if "messages" in body:
        prompt = body["messages"][0]["content"]
    first = prompt.split()[:2] if isinstance(prompt, str) else []
    return (first[0], first[1]) if len(first) == 2 and first[1].startswith("r") else None


@dataclass(eq=False)
class Process:
    """An engine's process, as `worker.EngineProcess` has it. `ignores`: it does not end when it is asked to."""

    chance: Random
    on_exit: Callable[[int], None]
    ignores: bool = False
    pid: None = None
    layers: tuple[str, ...] = ()
    engine: SimulatedEngine | None = None
    wires: "list[Wire]" = field(default_factory=list)
    status: "asyncio.Future[int]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    returncode: int | None = None

    async def wait(self) -> int:
        return await asyncio.shield(self.status)

    async def stop(self, grace_s: float) -> int:
        if not self.ignores:
            asyncio.get_running_loop().call_later(_later(self.chance, _ENDING_S), self.exit, -15)
        try:
            return await asyncio.wait_for(self.wait(), grace_s)
        except TimeoutError:
            self.kill()
            return await self.wait()

    def kill(self) -> None:
        asyncio.get_running_loop().call_later(_later(self.chance, _KILLED_S), self.exit, -9)

    def exit(self, status: int) -> None:
        """It is gone: what it had sent still arrives, then its connections end. Who waits is told in any order."""
        if self.returncode is not None:
            return
        self.returncode = status
        self.on_exit(status)
        for wire in list(self.wires):
            wire.engine_gone()
        asyncio.get_running_loop().call_later(_later(self.chance, _KILLED_S), _settle, self.status, status)

    def log_tail(self) -> str:
        return ""


class Wire(asyncio.Transport):
    """One connection, seen from the client's end; `write`, `drain` and `close` of the engine's are those of `Far`."""

    def __init__(self, process: Process, exchange: Exchange, wires: Wires, request: bytes) -> None:
        super().__init__()
        self._process, self._exchange, self._faults = process, exchange, wires
        self._chance = process.chance
        self._loop = asyncio.get_running_loop()
        self._coming: deque[tuple[float, bytes | None]] = deque()
        self._size_bytes = 0
        self._last_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self.open = True
        self._room: asyncio.Future[None] | None = None
        self._reader = asyncio.StreamReader(loop=self._loop)
        self._answering: asyncio.Task[None] | None = None
        self._left_bytes = round(self._chance.expovariate(1 / 1500)) if self._chance.random() < wires.cuts else None
        process.wires.append(self)
        exchange.connection_made(self)
        self._loop.call_later(self._late_s(), self._accept, request)

    def _late_s(self) -> float:
        return _later(self._chance, self._faults.late_s)

    def _accept(self, request: bytes) -> None:
        if self.open and self._process.returncode is None and self._process.engine is not None:
            self._reader.feed_data(request)
            work = self._process.engine.connected(self._reader, cast(asyncio.StreamWriter, Far(self)))
            self._answering = self._loop.create_task(work)

    # The client's end

    def abort(self) -> None:
        """The client lets go. The engine learns of it later."""
        if self.open:
            self._end(None)
            self._loop.call_later(self._late_s(), self._hang_up)

    def close(self) -> None:
        self.abort()

    def is_closing(self) -> bool:
        return not self.open

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._arm()

    def _end(self, error: Exception | None) -> None:
        self.open = False
        self._coming.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self in self._process.wires:
            self._process.wires.remove(self)
        self._loop.call_soon(self._exchange.connection_lost, error)
        self._make_room()

    def _hang_up(self) -> None:
        if not self._reader.at_eof():
            self._reader.feed_eof()
        self._make_room()

    # What is on its way from the engine

    def send(self, data: bytes | None) -> None:
        """None: the end."""
        if not self.open:
            return
        for piece in self._pieces(data):
            self._last_s = max(self._last_s, self._loop.time()) + self._late_s()
            self._coming.append((self._last_s, piece))
            self._size_bytes += len(piece or b"")
        self._arm()

    def _pieces(self, data: bytes | None) -> Sequence[bytes | None]:
        if data is None or len(data) < 2 or self._chance.random() >= self._faults.splits:
            return (data,)
        cut = self._chance.randint(1, len(data) - 1)
        return data[:cut], data[cut:]

    def _arm(self) -> None:
        if self._timer is None and self._coming and not self._paused and self.open:
            self._timer = self._loop.call_at(max(self._coming[0][0], self._loop.time()), self._arrive)

    def _arrive(self) -> None:
        self._timer = None
        if self._paused or not self._coming:
            return
        _, piece = self._coming.popleft()
        if piece is None:
            self._end(None)
            return
        self._size_bytes -= len(piece)
        if self._left_bytes is not None:
            piece, self._left_bytes = piece[: self._left_bytes], self._left_bytes - len(piece)
        if piece:
            self._exchange.data_received(piece)
        if self._left_bytes is not None and self._left_bytes <= 0 and self.open:  # cut, and both ends learn of it
            self._end(ConnectionResetError())
            self._loop.call_later(self._late_s(), self._hang_up)
        self._make_room()
        self._arm()

    def _make_room(self) -> None:
        full = self._size_bytes > _HIGH_WATER_BYTES and self.open
        if self._room is not None and not self._room.done() and not full:
            self._room.set_result(None)

    async def room(self) -> None:
        """Return when the engine may write more."""
        if self.open and self._size_bytes > _HIGH_WATER_BYTES:
            self._room = self._loop.create_future()
            await self._room
        if not self.open:
            raise ConnectionResetError
        await asyncio.sleep(0)

    def engine_gone(self) -> None:
        if self._answering is not None:
            self._answering.cancel()
        self.send(None)


class Far:
    """The engine's end."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def write(self, data: bytes) -> None:
        self._wire.send(data)

    async def drain(self) -> None:
        await self._wire.room()

    def close(self) -> None:
        self._wire.send(None)


@dataclass(frozen=True)
class SimulatedWorker(WorkerProcess):
    """A worker behind wires instead of a socket."""

    wires: Wires = field(default=Wires(), kw_only=True)

    async def ask(self, method: str, target: str, body: bytes = b"", *, stall_s: float, tenant: str = "") -> Exchange:
        process = cast(Process, self.process)
        if process.returncode is not None or process.engine is None:
            raise worker_died()
        exchange = Exchange(stall_s)
        head = f"{method} {target} HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n"
        Wire(process, exchange, self.wires, head.encode() + body)
        await asyncio.sleep(0)  # as connecting takes a turn of the loop
        return exchange


class SimulatedSpawner:
    """Starts engines with the knobs of `engines`' next entry (the last one repeats), given as `--knob=value`."""

    def __init__(
        self, chance: Random, engines: Sequence[Mapping[str, object]], wires: Wires = _GOOD, seen: Seen | None = None
    ) -> None:
        self._chance = chance
        self._engines = engines
        self._wires = wires
        self.seen = Seen(2**63) if seen is None else seen
        self.processes: list[Process] = []
        self.workers: list[WorkerProcess] = []

    async def start(self, model: ModelToServe, compute: Compute) -> WorkerProcess:
        for file in await model.open_files():
            os.close(file.descriptor)
        await asyncio.sleep(_later(self._chance, 0.01))
        number = len(self.processes)
        told = self._engines[min(number, len(self._engines) - 1)]
        process = Process(self._chance, lambda status: self._gone(number, status), bool(told.get("ignore_sigterm")))
        self.processes.append(process)
        self.seen.began(number, model.plan.memory_bytes)
        self.seen.told(f"engine {number} of {model.name} {dict(told)}")
        loop = asyncio.get_running_loop()
        if told.get("die_at_start"):
            loop.call_later(_later(self._chance, 0.1), process.exit, 3)
        elif not told.get("hang_at_start"):
            process.engine = SimulatedEngine(_knobs(model, told), process, self.seen, self._chance)
        if "dies_after_s" in told:
            loop.call_later(float(cast(float, told["dies_after_s"])), process.exit, -11)
        self.workers.append(SimulatedWorker(process, Path(), lambda: None, wires=self._wires))
        return self.workers[-1]

    def _gone(self, number: int, status: int) -> None:
        self.seen.alive.pop(number, None)
        self.seen.told(f"engine {number} ended: {status}")


#: Of `plan`'s knobs, those that are not the stand-in's own.
_OURS = ("die_at_start", "hang_at_start", "ignore_sigterm", "dies_after_s")


def _knobs(model: ModelToServe, told: Mapping[str, object]) -> Any:
    given = [f"--{name.replace('_', '-')}={value}" for name, value in told.items() if name not in _OURS]
    return knobs(["", f"--slots={model.plan.slots}", f"--context={model.plan.context_tokens}", *given])


def _later(chance: Random, most_s: float) -> float:
    return LEAST_S + float(chance.random() ** 3) * most_s


def _settle(future: "asyncio.Future[int]", status: int) -> None:
    if not future.done():
        future.set_result(status)
