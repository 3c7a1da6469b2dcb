"""Which processors each worker may compute on, decided anew twice a second while somebody is being answered.

A worker of `threads.at_most` computes every step with as many threads as it has processors, so taking processors from
it takes threads: in mid-answer, without a reload. What others use of the machine is theirs; the rest is shared evenly
by the workers that compute. A neighbour is made room for at once, and its place is taken back only after it has been
away for a while. `Adapting.next` is pure; `Adapter` reads /proc and sets affinities (sched_setaffinity(2), proc(5)).
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from intramural.serving import threads

log = logging.getLogger(__name__)

#: Others' use of a core from which on it is theirs, and below which it is no longer (by the table in
#: docs/decisions/0002-serving.md, two threads that wait for each other lose to one from about half a core on).
_TAKEN, _GIVEN_BACK = 0.5, 0.35
#: Looks for which others must have used less before a core is taken back: two seconds.
_PATIENCE = 4
#: A processor must be this much less busy with others' work than the one in use, before a worker moves.
_WORTH_MOVING = 0.25
#: The first look after a time of rest comes sooner: until then nothing is known.
_FIRST_LOOK_S, _LOOK_S = 0.2, 0.5
_SETTLE_S = 0.05
_CAP_SYS_NICE = 23


@dataclass(frozen=True, slots=True)
class Seen:
    """One look. `busy`: of each usable processor, the share of time it was busy. `own`: of each computing worker, how
    many cores it used meanwhile. `cores`: how many processors may be used at a time, and `group` how many were, by all
    who share that allowance (a cgroup's quota)."""

    busy: Mapping[int, float]
    own: Mapping[int, float]
    cores: float
    group: float = 0.0


@dataclass(frozen=True, slots=True)
class Adapting:
    """What is remembered from look to look. `taken`: cores left to others; `since`: looks in which they used less, and
    `lately` the most they used in these. `given`: the processors of each computing worker."""

    taken: int = 0
    since: int = 0
    lately: int = 0
    given: Mapping[int, frozenset[int]] = field(default_factory=dict)

    def next(self, seen: Seen) -> "Adapting":
        """After one more look: `given` says what each of the workers in `seen.own` is to compute on."""
        others = self._others(seen)
        # Of processors beyond our allowance others may use what they like; of the allowance, what they use of it.
        beyond = max(0.0, len(seen.busy) - seen.cores)
        lost = max(sum(others.values()) - beyond, seen.group - sum(seen.own.values()) if seen.group else 0.0)
        taken, since, lately = self._taken(max(0.0, lost))
        free = max(1, min(int(seen.cores), len(seen.busy)) - taken)
        return Adapting(taken, since, lately, self._shares(seen, others, free))

    def _others(self, seen: Seen) -> dict[int, float]:
        """What each processor did for others: a worker's own use is spread evenly over what it had."""
        left = dict(seen.busy)
        for worker, cores in seen.own.items():
            had = self.given.get(worker, frozenset(seen.busy)) & seen.busy.keys()
            for cpu in had:
                left[cpu] -= cores / len(had)
        surplus = sum(min(0.0, each) for each in left.values())  # it was not quite even
        total = max(0.0, sum(left.values()))
        positive = {cpu: max(0.0, each) for cpu, each in left.items()}
        scale = total / (total - surplus) if total - surplus > 0 else 0.0
        return {cpu: each * scale for cpu, each in positive.items()}

    def _taken(self, total: float) -> tuple[int, int, int]:
        now = int(total + 1 - _TAKEN)
        if now > self.taken:
            return now, 0, 0
        lower = int(total + 1 - _GIVEN_BACK)
        if lower >= self.taken:
            return self.taken, 0, 0
        lately = max(lower, self.lately)
        return (lately, 0, 0) if self.since + 1 >= _PATIENCE else (self.taken, self.since + 1, lately)

    def _shares(self, seen: Seen, others: Mapping[int, float], free: int) -> dict[int, frozenset[int]]:
        """The processors that are least busy with others' work, divided among the workers; where there are fewer than
        workers, each gets one."""
        shares: dict[int, frozenset[int]] = {}
        used: dict[int, int] = dict.fromkeys(seen.busy, 0)
        workers = sorted(seen.own)
        for place, worker in enumerate(workers):
            count = max(1, free // len(workers) + (place < free % len(workers)))
            before = self.given.get(worker, frozenset())

            def burden(cpu: int, before: frozenset[int] = before) -> tuple[float, int]:
                return used[cpu] + others[cpu] - (_WORTH_MOVING if cpu in before else 0.0), cpu

            shares[worker] = frozenset(sorted(seen.busy, key=burden)[:count])
            for cpu in shares[worker]:
                used[cpu] += 1
        return shares


class Adapter:
    """Looks and acts while workers compute; asleep when none does."""

    def __init__(self, computing: Callable[[], Mapping[int, int]], told: Callable[[int, int], None]) -> None:
        """`computing`: the process of each worker that answers somebody now. `told` hears how many threads it has."""
        self._computing = computing
        self._told = told
        self._awake = asyncio.Event()
        self._state = Adapting()

    def wake(self) -> None:
        """Somebody is being answered."""
        self._awake.set()

    async def run(self) -> None:
        """Never returns; cancel it."""
        while True:
            await self._awake.wait()
            await asyncio.sleep(_SETTLE_S)  # what is over by then is not worth a look
            self._awake.clear()
            before, pause_s = _Look(self._computing()), _FIRST_LOOK_S
            while before.processes:
                await asyncio.sleep(pause_s)
                after, pause_s = _Look(self._computing()), _LOOK_S
                cpus, cores = threads.usable()
                self._state = self._state.next(before.until(after, cpus, cores))
                for worker, share in self._state.given.items():
                    if place(after.processes[worker], share):
                        self._told(worker, len(share))
                before = after


class _Look:
    """What /proc says at one moment."""

    def __init__(self, processes: Mapping[int, int]) -> None:
        self.processes = processes
        self.time_s = time.monotonic()
        self.stat = _read(Path("/proc/stat"))
        self.group_s = threads.group_cpu_s()
        self.used_s = {worker: cpu_s(_read(Path(f"/proc/{pid}/stat"))) for worker, pid in processes.items()}

    def until(self, later: "_Look", cpus: set[int], cores: float) -> Seen:
        passed_s = max(later.time_s - self.time_s, 1e-3)
        own = {
            worker: max(0.0, used_s - self.used_s.get(worker, used_s)) / passed_s
            for worker, used_s in later.used_s.items()
        }
        group = max(0.0, later.group_s - self.group_s) / passed_s if cores < len(cpus) else 0.0
        return Seen(threads.busy_each(self.stat, later.stat, cpus), own, cores, group)


def place(pid: int, cpus: frozenset[int]) -> bool:
    """Let every thread of `pid` run on `cpus` only. False: it is gone, or it may not be done."""
    try:
        for thread in _threads(pid):
            if os.sched_getaffinity(thread) != cpus:
                os.sched_setaffinity(thread, cpus)
    except OSError as error:
        log.debug("processors of %d stay: %s", pid, error)
        return False
    return True


def lower_priority(pid: int, nice: int) -> None:
    """Give every thread of `pid` the priority `nice` (0 to 19; threads that they make inherit it)."""
    try:
        for thread in _threads(pid):
            os.setpriority(os.PRIO_PROCESS, thread, nice)
    except OSError as error:
        log.warning("the priority of a worker stays: %s", error)


def may_place(status: str | None = None) -> bool:
    """Whether affinities of workers can be set. Under root they have another user, which takes CAP_SYS_NICE; in a
    container root often lacks it. `status`: the text of /proc/self/status."""
    if status is None and os.geteuid() != 0:
        return True
    for line in (_read(Path("/proc/self/status")) if status is None else status).splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_SYS_NICE & 1)
    return False


def cpu_s(stat: str) -> float:
    """Seconds of processor a process has used, from its /proc/PID/stat; 0 if unreadable."""
    columns = stat.rpartition(")")[2].split()
    return (int(columns[11]) + int(columns[12])) / os.sysconf("SC_CLK_TCK") if len(columns) > 12 else 0.0


def _threads(pid: int) -> Sequence[int]:
    return [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError:
        return ""
