"""How many compute threads a worker gets and how long they spin: decided from the machine's free cores at load.

The engine's threads meet at a barrier many times a token. Spinning there is fastest on a quiet machine and a disaster
beside one busy process: the spinner burns the very core its partner waits for (measured: 120 tokens/s fall to 2-35).
So the pools of all workers together never exceed the cores that are free, and how long they spin depends on whether
anybody else is about. `docs/decisions/0002-serving.md` has the table.
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
    """Settings for one worker: its compute threads and the environment its process is started with."""

    threads: int
    env: Mapping[str, str] = field(default_factory=dict)


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


async def measure(
    proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup"), *, own_cores: float = 0.0
) -> Capacity:
    """The machine now: affinity, cgroup quota, what others compute (all that is computed less `own_cores`) during a
    fifth of a second, and processor pressure."""
    cpus = os.sched_getaffinity(0)
    cores = float(len(cpus))
    quota = _quota_cores(_read(cgroup / "cpu.max"))
    if quota is not None:
        cores = min(cores, max(1.0, quota))
    before = _read(proc / "stat")
    await asyncio.sleep(_SAMPLE_S)
    busy = busy_cores(before, _read(proc / "stat"), cpus)
    return Capacity(cores, min(cores, max(0.0, busy - own_cores)), _pressure(_read(proc / "pressure/cpu")))


def busy_cores(before: str, after: str, cpus: set[int]) -> float:
    """How many of `cpus` were busy between two readings of /proc/stat (2.0: two, all the time); 0 if unreadable."""
    first, second = _ticks(before), _ticks(after)
    total = 0.0
    for cpu in cpus & first.keys() & second.keys():
        idle, spent = (second[cpu][place] - first[cpu][place] for place in (0, 1))
        total += 1 - idle / spent if spent > 0 else 0.0
    return total


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
