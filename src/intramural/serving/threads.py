"""How many compute threads a worker gets and how long they spin, from the machine's free cores.

The engine's threads meet at a barrier many times a token. Spinning there is fastest on a quiet machine and a disaster
beside one busy process: the spinner burns the very core its partner waits for (measured: 120 tokens/s fall to 2-35).
So the threads of all workers that compute never exceed the cores that are free. Where it is possible (`live`), a worker
has as many threads as its processors, which `adapting` changes while it runs; else the number is decided at load, and
how long they spin depends on whether anybody else is about then. `docs/decisions/0002-serving.md` has the tables.
"""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: Turns of the spin loop before a thread sleeps. 500 is as fast as 2000 on a quiet machine and keeps a third of that
#: beside a busy process (2000: a fifth); 100 keeps nearly half, but loses as much when quiet.
_SPIN_QUIET = 500
_SPIN_CONTENDED = 100
#: A core this busy with others' work counts as taken.
_BUSY_CORE = 0.5
#: Share of time in which some task waits for a processor, from which on the machine is called contended.
_PRESSURE = 0.10
#: Long enough to see a busy process, short beside loading weights.
_SAMPLE_S = 0.2


@dataclass(frozen=True, slots=True)
class Capacity:
    """The machine at one moment. `cores`: usable ones (affinity and quota). `busy_cores`: what others use of them."""

    cores: float
    busy_cores: float = 0.0
    pressure: float = 0.0


@dataclass(frozen=True, slots=True)
class Compute:
    """Settings for one worker: its compute threads and the environment its process is started with. `live`: it computes
    with as many of them as it has processors, at every step anew."""

    threads: int
    env: Mapping[str, str] = field(default_factory=dict)
    live: bool = False


def decide(capacity: Capacity, *, wanted_threads: int = 0, other_workers_threads: int = 0) -> Compute:
    """Settings for the next worker. `wanted_threads` of 0 means: choose. At least one thread, always."""
    taken = int(capacity.busy_cores + _BUSY_CORE)
    free = int(capacity.cores) - taken - other_workers_threads
    threads = wanted_threads or max(1, free)
    quiet = (
        capacity.busy_cores < _BUSY_CORE
        and capacity.pressure < _PRESSURE
        and threads + other_workers_threads <= capacity.cores
    )
    spin = _SPIN_QUIET if quiet else _SPIN_CONTENDED
    return Compute(threads, {"OMP_NUM_THREADS": str(threads), "GOMP_SPINCOUNT": str(spin)})


def at_most(cores: float) -> Compute:
    """Settings for a worker whose threads follow its processors (OMP_DYNAMIC: the runtime makes no more threads than
    the calling one has processors, less the load average, which a confined worker cannot know)."""
    threads = max(1, int(cores))
    env = {"OMP_NUM_THREADS": str(threads), "OMP_DYNAMIC": "true", "GOMP_SPINCOUNT": str(_SPIN_QUIET)}
    return Compute(threads, env, live=threads > 1)


def usable(cgroup: Path = Path("/sys/fs/cgroup")) -> tuple[set[int], float]:
    """The processors this process may use, and how many of them at a time (a cgroup's quota)."""
    cpus = os.sched_getaffinity(0)
    quota = _quota_cores(_read(cgroup / "cpu.max"))
    return cpus, float(len(cpus)) if quota is None else min(float(len(cpus)), max(1.0, quota))


async def measure(
    proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup"), *, own_cores: float = 0.0
) -> Capacity:
    """The machine now: affinity, cgroup quota, what others compute (all that is computed less `own_cores`) during a
    fifth of a second, and processor pressure."""
    cpus, cores = usable(cgroup)
    before = _read(proc / "stat")
    await asyncio.sleep(_SAMPLE_S)
    busy = busy_cores(before, _read(proc / "stat"), cpus)
    beyond = len(cpus) - cores  # of processors that we may not use at the same time, others may
    return Capacity(cores, min(cores, max(0.0, busy - own_cores - beyond)), _pressure(_read(proc / "pressure/cpu")))


def group_cpu_s(cgroup: Path = Path("/sys/fs/cgroup")) -> float:
    """Seconds of processor that all who share this process's allowance have used; 0 where nobody counts."""
    for line in _read(cgroup / "cpu.stat").splitlines():
        name, _, number = line.partition(" ")
        if name == "usage_usec" and number.isdigit():
            return int(number) / 1e6
    return 0.0


def busy_cores(before: str, after: str, cpus: set[int]) -> float:
    """How many of `cpus` were busy between two readings of /proc/stat (2.0: two, all the time); 0 if unreadable."""
    return sum(busy_each(before, after, cpus).values())


def busy_each(before: str, after: str, cpus: set[int]) -> dict[int, float]:
    """For each of `cpus` the share of the time (0 to 1) in which it was busy between two readings of /proc/stat."""
    first, second = _ticks(before), _ticks(after)
    found = dict.fromkeys(cpus, 0.0)
    for cpu in cpus & first.keys() & second.keys():
        idle, spent = (second[cpu][place] - first[cpu][place] for place in (0, 1))
        found[cpu] = max(0.0, 1 - idle / spent) if spent > 0 else 0.0
    return found


def _ticks(stat: str) -> dict[int, tuple[int, int]]:
    """Processor → (idle, all) ticks since boot. Idle is the fourth and fifth (waiting for a disk) of the columns."""
    found = {}
    for line in stat.splitlines():
        name, *numbers = line.split()
        if name[:3] == "cpu" and name[3:].isdigit() and len(numbers) >= 8 and all(n.isdigit() for n in numbers):
            columns = [int(number) for number in numbers[:8]]
            found[int(name[3:])] = columns[3] + columns[4], sum(columns)
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except OSError:
        return ""


def _quota_cores(text: str) -> float | None:
    """Cores in a cgroup's `cpu.max` ("max 100000" or "150000 100000"); None if unlimited or unreadable."""
    parts = text.split()
    if len(parts) != 2 or not all(part.isdigit() for part in parts) or int(parts[1]) == 0:
        return None
    return int(parts[0]) / int(parts[1])


def _pressure(text: str) -> float:
    """The `some avg10` share (0 to 1) of a pressure file; 0 where the kernel keeps none."""
    for line in text.splitlines():
        name, _, rest = line.partition(" avg10=")
        if name == "some":
            try:
                return float(rest.split()[0]) / 100
            except (IndexError, ValueError):
                return 0.0
    return 0.0
