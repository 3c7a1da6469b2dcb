"""What confinement costs: sealing the service, and starting a child by way of the spawner and behind all walls."""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.table import show
from intramural.sandbox import Launch, run_once
from intramural.sandbox.launch import Rules
from intramural.sandbox.spawning import Spawner

TIMES = 40
_LAYERS = frozenset({"netns", "landlock", "seccomp"})
_SEALING = """
import sys, time
from pathlib import Path
from intramural.core import config
from intramural.services.enclosure import seal_service
settings = config.load({}, data_dir=Path(sys.argv[1]))
began = time.perf_counter()
seal_service(settings)
print((time.perf_counter() - began) * 1000)
"""


def _sealed(folder: str) -> float:
    done = subprocess.run([sys.executable, "-c", _SEALING, folder], stdout=subprocess.PIPE, check=True)
    return float(done.stdout)


async def _child(without: frozenset[str]) -> float:
    began = time.perf_counter()
    await run_once(Launch("parser", "tests.sandbox.entries:give_back", {}, without=without), 60)
    return (time.perf_counter() - began) * 1000


async def _timed(once: Callable[[], Awaitable[float]]) -> list[float]:
    await once()
    return [await once() for _ in range(TIMES)]


async def _children(folder: str) -> dict[str, list[float]]:
    found = {
        "a child, unconfined": await _timed(lambda: _child(_LAYERS)),
        "a child, confined": await _timed(lambda: _child(frozenset())),
    }
    spawner = Spawner(Rules("tests", frozenset(), Path(folder), None, frozenset(), connects=False))
    spawner.attach()
    found["a child, confined, by the spawner"] = await _timed(lambda: _child(frozenset()))
    spawner.close()
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = {"sealing the service": [_sealed(folder) for _ in range(TIMES // 4)]}
        found |= asyncio.run(_children(folder))
    rows = []
    for what, times in found.items():
        p95 = sorted(times)[int(len(times) * 0.95)]
        rows.append([what, f"{statistics.median(times):.1f}", f"{p95:.1f}"])
    note = f"{TIMES} children of each kind, the service sealed {TIMES // 4} times; milliseconds."
    show("What confinement costs", note, ["", "median", "p95"], rows)


if __name__ == "__main__":
    main()
