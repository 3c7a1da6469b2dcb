"""Long prompts, read to their end by a small model: how fast, and in how much memory beside the plan.

A confined worker whose positions are stretched fourfold (the starter was trained for 8,192), with room for 32,768
tokens: with a cache in 16 bits and without flash attention, and with one in 8 bits. Reading takes time by the square of
a prompt's length, so 30,000 tokens are for who has the hour: `INTRAMURAL_BENCH_PROMPTS=30000`. What a model makes of so
long a text is its own matter; that it is read, answered, and paid for as planned is ours.
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
PROMPTS = tuple(int(each) for each in os.environ.get("INTRAMURAL_BENCH_PROMPTS", "2000,8000").split(","))
OPTIONS = {
    "flash=off": EngineOptions(flash="off", rope="yarn", stretch=4.0),
    "kv=q8_0": EngineOptions(kv="q8_0", rope="yarn", stretch=4.0),
}
_SENTENCE, _SENTENCE_TOKENS = "One day a fox met a hen on the road to the mill, and they talked about rain. ", 20
_THREADS = len(os.sched_getaffinity(0))


async def measure(folder: Path, options: EngineOptions) -> list[list[str]]:
    """A row for each prompt, without the options' name."""
    compute = Compute(_THREADS, {"OMP_NUM_THREADS": str(_THREADS), "GOMP_SPINCOUNT": "500"})
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
    rows = []
    for name, options in OPTIONS.items():
        with tempfile.TemporaryDirectory() as folder:
            rows += [[name, *row] for row in asyncio.run(measure(Path(folder), options))]
    slot = f"{CONTEXT_TOKENS:,} tokens of context in one slot"
    note = f"135M, {_THREADS} threads, {slot}, rope=yarn:4; then {TOKENS} tokens."
    show("Long prompts", note, ["", "tokens read", "per second", "seconds", "then written per second", "MiB"], rows)


if __name__ == "__main__":
    main()
