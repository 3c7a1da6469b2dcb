"""What became of the workers, counted from the scheduler's own steps: loads, and why each ended. Pure; for metrics.

Two numbers are kept by model and reason, nothing by request, so it cannot grow with use.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from intramural.serving.scheduler import (
    Effect,
    Event,
    Phase,
    Refuse,
    ShutdownAsked,
    State,
    StopWorker,
    UnloadAsked,
    Worker,
    WorkerGone,
    WorkerMisbehaved,
    WorkerReady,
    idle_until,
)


class Ending(StrEnum):
    """Why a worker is no more. ROOM: it was stopped so that another model fits (an eviction); KILLED: from outside."""

    IDLE = "idle"
    ROOM = "room"
    UNLOADED = "unloaded"
    SHUTDOWN = "shutdown"
    CRASHED = "crashed"
    MISBEHAVED = "misbehaved"
    KILLED = "killed"
    NOT_STARTED = "not_started"


@dataclass
class Tally:
    """Counts since the pool began. `refused` is by model and error code, of those who never got a slot."""

    loads: Counter[str] = field(default_factory=Counter)
    load_s: dict[str, float] = field(default_factory=dict)
    ended: Counter[tuple[str, Ending]] = field(default_factory=Counter)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)

    def note(self, before: State, event: Event, effects: Sequence[Effect]) -> None:
        """Count what the step from `before` by `event` with `effects` means."""
        match event:
            case WorkerReady(now_s=now_s, worker=number):
                worker = before.workers.get(number)
                if worker is not None and worker.phase is Phase.STARTING:
                    name = worker.demand.name
                    self.loads[name] += 1
                    self.load_s[name] = self.load_s.get(name, 0.0) + now_s - worker.since_s
            case WorkerGone(worker=number, crashed=crashed, how=how):
                worker = before.workers.get(number)
                if worker is not None and (worker.dying or worker.phase is not Phase.STOPPING):
                    ending = Ending.CRASHED if crashed else Ending.KILLED if how else Ending.NOT_STARTED
                    self.ended[worker.demand.name, ending] += 1
        for effect in effects:
            if isinstance(effect, StopWorker):
                stopped = before.workers.get(effect.worker)
                if stopped is not None and not effect.dying:  # why that one is no more, is known when it has gone
                    self.ended[stopped.demand.name, _why(before, event, stopped)] += 1
            elif isinstance(effect, Refuse):
                waiting = next((each for each in before.queue if each.ticket == effect.ticket), None)
                name = waiting.demand.name if waiting else getattr(getattr(event, "demand", None), "name", "")
                if effect.error.code != "no_spare_slot":  # asked for only if one happens to be free
                    self.refused[name, effect.error.code] += 1


def _why(before: State, event: Event, worker: Worker) -> Ending:
    if isinstance(event, ShutdownAsked):
        return Ending.SHUTDOWN
    if isinstance(event, WorkerMisbehaved) and event.worker == worker.id:
        return Ending.MISBEHAVED
    asked = isinstance(event, UnloadAsked) and event.name == worker.demand.name
    if asked or worker.phase is Phase.DRAINING:
        return Ending.UNLOADED
    ends_s = idle_until(worker, before.rules)
    over = ends_s is not None and event.now_s >= ends_s and worker.demand.name not in before.pinned
    return Ending.IDLE if worker.idle and over else Ending.ROOM
