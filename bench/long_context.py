"""Prompts up to 30,000 tokens, read to their end by a small model: how fast, and in how much memory beside the plan.

One confined worker whose positions are stretched fourfold (the starter was trained for 8,192), with a cache in 8 bits.
What a model makes of so long a text is its own matter; that it is read, answered, and paid for as planned is ours.
"""

import asyncio
import os
import tempfile
from pathlib import Path

from tests.families.running import worker

from bench.neighbour import starter
from bench.options import TOKENS, ask
from bench.table import show
from intramural.serving import Compute, EngineOptions, ServingPlan

CONTEXT_TOKENS = 32_768
#: About; the sentence below has 20 tokens.
PROMPTS = (2_000, 8_000, 30_000)
_SENTENCE, _SENTENCE_TOKENS = "One day a fox met a hen on the road to the mill, and they talked about rain. ", 20
_THREADS = len(os.sched_getaffinity(0))


async def measure(folder: Path) -> list[list[str]]:
    compute = Compute(_THREADS, {"OMP_NUM_THREADS": str(_THREADS), "GOMP_SPINCOUNT": "500"})
    options = EngineOptions(kv="q8_0", rope="yarn", stretch=4.0)
    plan = ServingPlan(CONTEXT_TOKENS, 1, 2**31)
    rows = []
    async with worker(folder / "run", starter(folder), plan, compute=compute, options=options) as started:
        for tokens in PROMPTS:
            found = await ask(started, _SENTENCE * (tokens // _SENTENCE_TOKENS), stall_s=3600)
            rows.append(
                [
                    f"{found.prompt_n:,}",
                    f"{found.prompt_per_second:.0f}",
                    f"{found.prompt_n / found.prompt_per_second:.0f}",
                    f"{found.predicted_per_second:.1f}",
                    f"{started.rss_bytes() / 2**20:.0f}",
                ]
            )
    return rows


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        rows = asyncio.run(measure(Path(name)))
    slot = f"{CONTEXT_TOKENS:,} tokens of context in one slot"
    note = f"135M, {_THREADS} threads, {slot}, kv=q8_0 rope=yarn:4; then {TOKENS} tokens."
    show("Long prompts", note, ["tokens read", "per second", "seconds", "then written per second", "MiB"], rows)


if __name__ == "__main__":
    main()
