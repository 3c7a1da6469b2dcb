"""How many compute threads a worker gets and how long they spin: decided from the machine's free cores at load.

The engine's threads meet at a barrier many times a token. Spinning there is fastest on a quiet machine and a disaster
beside one busy process: the spinner burns the very core its partner waits for (measured: 120 tokens/s fall to 2-35).
So the pools of all workers together never exceed the cores that are free, and how long they spin depends on whether
anybody else is about. `docs/decisions/0002-serving.md` has the table.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: Turns of the spin loop before a thread sleeps. Long: as fast as spinning without end on a quiet machine, to a few
#: per cent. Short: loses a quarter when quiet, keeps half when a neighbour is busy.
_SPIN_QUIET = 2000
_SPIN_CONTENDED = 100
#: A core this busy with others' work counts as taken.
_BUSY_CORE = 0.5
#: Share of time in which some task waits for a processor, from which on the machine is called contended.
_PRESSURE = 0.10


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
    taken = round(capacity.busy_cores - _BUSY_CORE + 0.5)
    free = int(capacity.cores) - max(0, taken) - other_workers_threads
    threads = wanted_threads or max(1, free)
    quiet = (
        capacity.busy_cores < _BUSY_CORE
        and capacity.pressure < _PRESSURE
        and threads + other_workers_threads <= capacity.cores
    )
    spin = _SPIN_QUIET if quiet else _SPIN_CONTENDED
    return Compute(threads, {"OMP_NUM_THREADS": str(threads), "GOMP_SPINCOUNT": str(spin)})


def measure(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup"), *, own_cores: float = 0.0) -> Capacity:
    """The machine now: affinity, cgroup quota, the last minute's load (less `own_cores`) and processor pressure."""
    cores = float(len(os.sched_getaffinity(0)))
    quota = _quota_cores(_read(cgroup / "cpu.max"))
    if quota is not None:
        cores = min(cores, max(1.0, quota))
    load = _first_float(_read(proc / "loadavg"))
    pressure = _pressure(_read(proc / "pressure/cpu"))
    return Capacity(cores, min(cores, max(0.0, load - own_cores)), pressure)


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


def _first_float(text: str) -> float:
    try:
        return float(text.split()[0])
    except (IndexError, ValueError):
        return 0.0


def _pressure(text: str) -> float:
    """The `some avg10` share (0 to 1) of a pressure file; 0 where the kernel keeps none."""
    for line in text.splitlines():
        if line.startswith("some "):
            _, _, rest = line.partition("avg10=")
            return _first_float(rest) / 100
    return 0.0
