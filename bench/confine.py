"""What confinement costs: sealing the service; starting a child, of which confining it is a part; and being heard of.

Children of each kind are started in turn, so that whatever else the machine does falls on all of them. What a child
measures of itself (`_setup`) is its confinement alone, without the interpreter and imports before it.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from bench.table import show
from intramural.sandbox import Launch, run_once
from intramural.sandbox.launch import Rules
from intramural.sandbox.spawning import Spawner

TIMES, SEALED_TIMES = 50, 10
AIM_MS = 20
_LAYERS = frozenset({"netns", "landlock", "seccomp"})
_TIMEOUT_S = 60
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
Figures = defaultdict[str, list[float]]


def _sealed(folder: str) -> float:
    done = subprocess.run([sys.executable, "-c", _SEALING, folder], stdout=subprocess.PIPE, check=True)
    return float(done.stdout)


async def _child(entry: str, without: frozenset[str] = frozenset()) -> tuple[float, Mapping[str, Any]]:
    began = time.perf_counter()
    said = await run_once(Launch("parser", entry, {}, without=without), _TIMEOUT_S)
    return (time.perf_counter() - began) * 1000, said


async def _whole(found: Figures, what: str, without: frozenset[str] = frozenset()) -> None:
    took_ms, _ = await _child("tests.sandbox.entries:give_back", without)
    found[what].append(took_ms)


async def _parts(found: Figures, how: str, entry: str) -> None:
    _, said = await _child(entry)
    found[f"confining it, {how}"].append(said["confined_ms"])
    found[f"of that a processor's time, {how}"].append(said["used_ms"])
    found[f"20,000 permitted calls in it, {how}: a processor's time"].append(said["call_us"] * 20)


async def _in_turn(found: Figures, *kinds: Callable[[Figures], Awaitable[None]]) -> None:
    for each in kinds:
        await each(defaultdict(list))  # the first of each reads files that the others find in memory
    for _ in range(TIMES):
        for each in kinds:
            await each(found)


async def _children(folder: str) -> Figures:
    found: Figures = defaultdict(list)
    await _in_turn(
        found,
        lambda into: _whole(into, "a child, unconfined", _LAYERS),
        lambda into: _whole(into, "a child, confined"),
    )
    spawner = Spawner(Rules("tests", frozenset(), Path(folder), None, frozenset(), connects=False))
    spawner.attach()
    await _in_turn(found, lambda into: _whole(into, "a child, confined, by the spawner"))
    spawner.close()
    spawner = Spawner(Rules("bench", frozenset(), Path(folder), None, frozenset(), connects=False))
    spawner.attach()
    await _in_turn(
        found,
        lambda into: _parts(into, "told of", "bench._setup:report"),
        lambda into: _parts(into, "not told of", "bench._setup_untold:report"),
    )
    spawner.close()
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = {"sealing the service": [_sealed(folder) for _ in range(SEALED_TIMES)]}
        found |= asyncio.run(_children(folder))
    rows = []
    for what, times in found.items():
        p95 = sorted(times)[int(len(times) * 0.95)]
        rows.append([what, f"{statistics.median(times):.1f}", f"{p95:.1f}"])
    note = f"{TIMES} children of each kind in turn, the service sealed {SEALED_TIMES} times; milliseconds. "
    show("What confinement costs", f"{note}Wanted: confining within {AIM_MS} ms (p95).", ["", "median", "p95"], rows)


if __name__ == "__main__":
    main()
