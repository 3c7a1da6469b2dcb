"""Saving what an engine has computed, and giving it back: between a worker's memory, and `states` on the disk.

A confined worker can write no file. It has one piece of memory, its *buffer*, which the engine takes for a file and
which is empty but for the moment of a transfer. One transfer at a time, whichever worker it is for, so that the buffers
together are never larger than one: that much is kept out of the workers' budget.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from importlib.metadata import version
from platform import machine
from typing import Annotated, Any, TypeVar

import msgspec

from intramural.core.clock import Clock
from intramural.core.errors import Broken
from intramural.serving.marks import Marks, shared
from intramural.serving.model import ModelToServe
from intramural.serving.sandboxed import engine_arg
from intramural.serving.slots import WORTH_BLOCKS, Held
from intramural.serving.states import Home, State, States
from intramural.serving.threads import Compute
from intramural.serving.worker import Buffer, WorkerProcess

log = logging.getLogger(__name__)

#: A buffer is this part of what workers may plan for, and no larger than this.
_BUDGET_SHARE, _MOST_BUFFER_BYTES = 16, 512 * 2**20

_Shape = TypeVar("_Shape", bound=msgspec.Struct)
_Result = TypeVar("_Result")
_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Saved(msgspec.Struct):
    n_saved: _Count
    n_written: _Count


class _Restored(msgspec.Struct):
    n_restored: _Count


@dataclass
class Counts:
    """What became of states since the service started, and the seconds it took. `failed`: neither was possible, and
    the prompt was read."""

    saved: int = 0
    saved_bytes: int = 0
    saved_s: float = 0.0
    restored: int = 0
    restored_bytes: int = 0
    restored_s: float = 0.0
    failed: int = 0

    def by_result(self) -> dict[str, tuple[int, int]]:
        """How many, and how many bytes."""
        saved, restored = (self.saved, self.saved_bytes), (self.restored, self.restored_bytes)
        return {"saved": saved, "restored": restored, "failed": (self.failed, 0)}


class Allowance:
    """How much may be written for those who had to make room: on the long run, all that may be kept once an hour.

    Else a few slots that many people take turns in would wear out a disk.
    """

    def __init__(self, limit_bytes: int, now_s: float) -> None:
        self._limit_bytes = limit_bytes
        self._left_bytes = float(limit_bytes)
        self._at_s = now_s

    def is_left(self, now_s: float) -> bool:
        """Whether there is any."""
        grown = (now_s - self._at_s) * self._limit_bytes / 3600
        self._left_bytes, self._at_s = min(self._left_bytes + grown, self._limit_bytes), now_s
        return self._left_bytes > 0

    def spend(self, size_bytes: int) -> None:
        """So much was written."""
        self._left_bytes -= size_bytes


class Warmth:
    """What the pool needs of all this. `stall_s`: an engine that does not answer for so long will not."""

    def __init__(self, states: States, clock: Clock, stall_s: float) -> None:
        self.states = states
        self._clock = clock
        self.counts = Counts()
        self._stall_s = stall_s
        self._one = asyncio.Lock()
        self._allowance = Allowance(states.limit_bytes, clock.monotonic_s())
        self._under_way: set[asyncio.Task[Any]] = set()

    def key_of(self, tenant: str) -> bytes:
        """Of the marks of `tenant`'s prompts: the same one for ever, and no other's."""
        return self.states.marks_key(tenant)

    async def find(self, tenant: str, model: ModelToServe, marks: Marks) -> State | None:
        """What was kept that begins most like `marks`, if it is worth anything."""
        home = home_of(model)
        if self.states.knows(tenant):
            found = self.states.longest(tenant, home, marks)
        else:
            found = await asyncio.to_thread(self.states.longest, tenant, home, marks)
        return found if found is not None and shared(found.marks, marks) >= WORTH_BLOCKS else None

    async def save(
        self,
        worker: WorkerProcess,
        model: ModelToServe,
        slot: int,
        held: Held,
        still: Callable[[], bool],
        *,
        last: bool = False,
    ) -> bool:
        """Save what `slot` holds. True as soon as the engine has given it: it is then written behind.

        `last`: the worker is to go, so this is done whatever was written lately. `still` says afterwards whether it was
        `held`'s all the while; if not, nothing is kept. With another transfer under way nothing is done: whoever waits
        for this slot would wait for that.
        """
        buffer = worker.buffer
        if buffer is None or not buffer.usable or held.tenant is None or self._one.locked():
            return False
        if not last and not self._allowance.is_left(self._clock.monotonic_s()):
            return False
        given: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._begin(self._saved(worker, buffer, home_of(model), slot, held, still, given))
        return await asyncio.shield(given)

    async def _saved(
        self,
        worker: WorkerProcess,
        buffer: Buffer,
        home: Home,
        slot: int,
        held: Held,
        still: Callable[[], bool],
        given: "asyncio.Future[bool]",
    ) -> None:
        assert held.tenant is not None
        async with self._one:
            written, began_s = 0, self._clock.monotonic_s()
            try:
                answer = await self._act(worker, buffer, slot, "save", _Saved)
                if answer is None or not still():
                    return
                given.set_result(True)
                with _opened(buffer) as descriptor:
                    size_bytes = os.fstat(descriptor).st_size
                    if size_bytes == answer.n_written:
                        keep = self.states.keep
                        written = await asyncio.to_thread(keep, held.tenant, home, held.marks, descriptor, size_bytes)
            except Broken:  # it is gone: so is what it had
                return
            finally:
                self.counts.saved += written > 0
                self.counts.failed += written == 0
                self.counts.saved_bytes += written
                self._allowance.spend(written)
                self.counts.saved_s += self._clock.monotonic_s() - began_s if written else 0.0
                buffer.empty()
                if not given.done():
                    given.set_result(False)

    async def done(self) -> None:
        """Wait until what has begun is over: what was saved is then on the disk."""
        if tasks := set(self._under_way):
            await asyncio.wait(tasks)

    async def restore(self, worker: WorkerProcess, slot: int, state: State) -> bool:
        """Put `state` into `slot`. False: the slot holds nothing that is known now."""
        if worker.buffer is None or not worker.buffer.usable or state.size_bytes > worker.buffer.limit_bytes:
            return False
        return await asyncio.shield(self._begin(self._restored(worker, worker.buffer, slot, state)))

    def _begin(self, work: Coroutine[Any, Any, _Result]) -> "asyncio.Task[_Result]":
        """What has begun is brought to its end, whoever leaves: the engine is at work on the buffer."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _restored(self, worker: WorkerProcess, buffer: Buffer, slot: int, state: State) -> bool:
        async with self._one:
            restored, began_s = False, self._clock.monotonic_s()
            try:
                with _opened(buffer) as descriptor:
                    brought = await asyncio.to_thread(self.states.bring, state, descriptor)
                if brought:
                    answer = await self._act(worker, buffer, slot, "restore", _Restored)
                    restored = answer is not None and answer.n_restored > 0
                    if not restored:
                        await asyncio.to_thread(self.states.drop, state)  # it would fail the next time too, or worse
            except Broken:
                log.info("a worker ended before a state was brought back to it")
            finally:
                self.counts.restored += restored
                self.counts.failed += not restored
                self.counts.restored_bytes += state.size_bytes if restored else 0
                self.counts.restored_s += self._clock.monotonic_s() - began_s if restored else 0.0
                buffer.empty()
            return restored

    async def _act(
        self, worker: WorkerProcess, buffer: Buffer, slot: int, action: str, shape: type[_Shape]
    ) -> _Shape | None:
        """What the engine says of it; None if it did not do it."""
        body = msgspec.json.encode({"filename": buffer.name})
        try:
            status, answer = await worker.ask_whole(
                "POST", f"/slots/{slot}?action={action}", body, stall_s=self._stall_s
            )
            return msgspec.json.decode(answer, type=shape) if status == 200 else None
        except (Broken, msgspec.DecodeError, UnicodeDecodeError):
            buffer.usable = False  # it may still be reading or writing
            return None


@contextmanager
def _opened(buffer: Buffer) -> Iterator[int]:
    descriptor = buffer.opened()
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def buffer_size(budget_bytes: int, disk_bytes: int) -> int:
    """How large a state may be, where so much memory may be planned for, and so much disk used; 0: none is saved."""
    return min(budget_bytes // _BUDGET_SHARE, disk_bytes, _MOST_BUFFER_BYTES)


def engine_name() -> str:
    """What makes states: another one may not read them."""
    return f"xllamacpp {version('xllamacpp')} {machine()}"


def home_of(model: ModelToServe) -> Home:
    """Where a state of `model` fits: the same weights, and whatever else the engine is told that is not of the day."""
    arg = engine_arg(model, Compute(1), "")
    setting = {name: value for name, value in arg.items() if name not in ("socket", "threads", "slots")}
    return Home(model.digest, blake2b(msgspec.json.encode(setting), digest_size=16).hexdigest())
