"""An event loop whose time is a number: it passes only when nobody has anything left to do.

No threads, no selector, no clock. What would run on a thread runs between two callbacks, after a delay that the seed
gives it. Every callback is a step, and the loop can be ended before any step: that is how a service is killed.
"""

import asyncio
import heapq
import itertools
from asyncio import base_events, events
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field
from random import Random
from typing import Any

#: A step takes no time; a loop that takes so many without letting any pass is spinning.
_SPINNING = 200_000
#: The shortest wait of anything that would happen elsewhere: order is decided by time, never by ties.
LEAST_S = 1e-6
#: How often a thread looks again whether a lock is free.
_AGAIN_S = 0.05


class Killed(BaseException):
    """The process ended here, between two steps."""


class Stuck(BaseException):
    """Somebody waits, and nothing will ever happen. Or it happens for ever without any time passing."""


class _Task(asyncio.Task[Any]):
    """A task that lies in sets where it was made, not where its memory happened to be."""

    def __init__(self, *args: Any, number: int, **kwargs: Any) -> None:
        self._number = number
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class _Future(asyncio.Future[Any]):
    """As `_Task`."""

    def __init__(self, *, loop: asyncio.AbstractEventLoop, number: int) -> None:
        self._number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


@dataclass(slots=True)
class _Job:
    work: Callable[[], Any]
    future: "asyncio.Future[Any] | None"
    skips: bool
    since_s: float | None = None


@dataclass(slots=True)
class _Lane:
    """A thread. It is held on to, so that no other has its number meanwhile."""

    owner: object
    jobs: deque[_Job] = field(default_factory=deque)


class Loop(base_events.BaseEventLoop):
    """`chance` delays what would happen on threads. `until_s`: a time by which all must be over."""

    def __init__(self, chance: Random, until_s: float) -> None:
        super().__init__()
        self.set_debug(False)
        self.chance = chance
        self.steps = 0
        #: The process is killed before this step.
        self.killed_at: int | None = None
        #: Called for what raised where nobody could catch it.
        self.told: Callable[[str], None] = lambda _: None
        #: Work on threads takes up to so long before, and after, it has been done.
        self.slowness_s = 0.002
        self._now_s = 1_000.0
        self._until_s = until_s + self._now_s
        self._numbers = itertools.count(1)
        self._lanes: dict[int, _Lane] = {}
        self._idle_steps = 0
        #: What is tried again on its thread, for so long: a lock that another process holds.
        self.waits_for: Callable[[Exception], bool] = lambda _: False
        self.patience_s = 10.0
        self.set_task_factory(self._new_task)
        self.set_exception_handler(lambda _, context: self.told(_worded(context)))

    def time(self) -> float:
        return self._now_s

    def create_future(self) -> "asyncio.Future[Any]":
        return _Future(loop=self, number=next(self._numbers))

    def _new_task(
        self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], context: Context | None = None
    ) -> "asyncio.Task[Any]":
        return _Task(work, loop=loop, context=context, number=next(self._numbers))

    # Threads

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":
        """One after another for an executor of one thread; of the loop's own executor each has a thread to itself."""
        lane = object() if executor is None else executor
        return self.in_turn(lane, lambda: func(*args), self.create_future(), skips=True)

    def in_turn(
        self, lane: object, work: Callable[[], Any], future: "asyncio.Future[Any] | None", *, skips: bool
    ) -> Any:
        """Do `work` elsewhere: later, whole, and after what was given to the same `lane` before.

        As on a thread: who stops waiting undoes nothing once it has begun. `skips`: what nobody waits for any more
        before it has begun is not begun.
        """
        found = self._lanes.get(id(lane))
        if found is None:
            found = self._lanes[id(lane)] = _Lane(lane)
        found.jobs.append(_Job(work, future, skips))
        if len(found.jobs) == 1:
            self.call_later(self._pause_s(), self._work, found)
        return future

    def under_way(self) -> list[Callable[[], Any]]:
        """What threads are at, or about to do."""
        return [lane.jobs[0].work for lane in self._lanes.values()]

    def finish(self, lane: object) -> None:
        """Do now what `lane` was given: somebody waits for its thread to end."""
        found = self._lanes.pop(id(lane), None)
        for job in () if found is None else found.jobs:
            with suppress(Exception):  # as who asked for it is not told any more
                job.work()

    def _work(self, lane: "_Lane") -> None:
        if self._lanes.get(id(lane.owner)) is not lane:
            return  # it was finished
        job = lane.jobs[0]
        if not (job.skips and job.future is not None and job.future.cancelled()):
            try:
                result, error = job.work(), None
            except Exception as caught:
                result, error = None, caught
            if error is not None and self.waits_for(error):
                job.since_s = self._now_s if job.since_s is None else job.since_s
                if self._now_s - job.since_s < self.patience_s:
                    self.call_later(_AGAIN_S, self._work, lane)
                    return
            if job.future is not None:
                self.call_later(self._pause_s(), _settle, job.future, result, error)
        lane.jobs.popleft()
        if lane.jobs:
            self.call_later(self._pause_s(), self._work, lane)
        else:
            del self._lanes[id(lane.owner)]

    def _pause_s(self) -> float:
        return LEAST_S + float(self.chance.random() ** 3) * self.slowness_s

    # Time

    def _run_once(self) -> None:
        while self._scheduled and self._scheduled[0]._cancelled:
            heapq.heappop(self._scheduled)._scheduled = False
            self._timer_cancelled_count -= 1
        if not self._ready and not self._stopping:
            if not self._scheduled:
                raise Stuck("nobody will ever be called again")
            self._now_s = max(self._now_s, self._scheduled[0]._when)
            self._idle_steps = 0
            if self._now_s > self._until_s:
                raise Stuck(f"it is not over at {self._until_s:g} s")
        while self._scheduled and self._scheduled[0]._when <= self._now_s:
            handle = heapq.heappop(self._scheduled)
            handle._scheduled = False
            self._ready.append(handle)
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if handle._cancelled:
                continue
            self.steps += 1
            self._idle_steps += 1
            if self.steps == self.killed_at:
                self._ready.appendleft(handle)
                raise Killed
            if self._idle_steps > _SPINNING:
                raise Stuck(f"{_SPINNING} steps took no time")
            handle._run()

    def _process_events(self, event_list: Any) -> None:
        """There are none: nothing here comes from outside."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who could be woken."""

    # The end

    def bury(self) -> None:
        """After `Killed`: what is left of the process is put away. What it does now, nobody sees."""
        self.killed_at = None
        self.told = lambda _: None
        events._set_running_loop(None)
        for turn in range(8):
            left = [task for task in asyncio.all_tasks(self) if not task.done()]
            if not left:
                break
            for task in (
                sorted(left, key=hash) if turn % 2 == 0 else ()
            ):  # in between they may clean up after themselves
                task.cancel()
            with suppress(Stuck):
                self._until_s = self._now_s + 1_000.0
                self.run_until_complete(asyncio.wait(left, timeout=100.0))
        self.close()


def _settle(future: "asyncio.Future[Any]", result: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def _worded(context: dict[str, Any]) -> str:
    """What a loop tells of an exception that nobody caught, and whose it was."""
    work = getattr(context.get("task") or context.get("future"), "get_coro", lambda: None)()
    whose = "" if work is None else f" in {work.__qualname__} of {work.cr_code.co_filename}"
    return f"{context['message']}: {context.get('exception')!r}{whose}"
