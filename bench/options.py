"""Each option of the engine against none: prompt and answer speed, and memory.

Confined workers, one for each row, all there from the start and asked in turn; each with as many threads as there are
processors. Two texts: a *story*, and one to *copy*, which guessing ahead lives on. With weights that are random (the
second model) there is nothing to copy. A mixture of experts stands against a dense model with as many active weights.
"""

import asyncio
import os
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
from tests.families.adapters import write_adapter
from tests.families.families import ROWS
from tests.families.running import worker
from tests.families.tiny import Size, write

from bench.neighbour import larger, starter
from bench.table import show
from intramural.serving import Compute, EngineOptions, ServingPlan, WorkerProcess

ROUNDS = int(os.environ.get("INTRAMURAL_BENCH_ROUNDS", "3"))
TOKENS = 64
CONTEXT_TOKENS = 4096
_THREADS = len(os.sched_getaffinity(0))
OPTIONS: Mapping[str, EngineOptions] = {
    "none": EngineOptions(),
    "kv=q8_0": EngineOptions(kv="q8_0"),
    "kv=q4_0": EngineOptions(kv="q4_0"),
    "flash=on": EngineOptions(flash="on"),
    "flash=off": EngineOptions(flash="off"),
    "rope=yarn:4": EngineOptions(rope="yarn", stretch=4.0),
    "speculative=ngram": EngineOptions(speculative="ngram"),
}
#: Guessing with the model itself shows what every guess being right is worth where the guesser is no smaller.
BESIDE: Mapping[str, EngineOptions] = {
    "none": EngineOptions(),
    "speculative=draft:itself": EngineOptions(speculative="draft", draft="itself"),
    "adapter=": EngineOptions(adapters=(("adapter", 1.0),)),
}
_CODE = "\n".join(f"def get_{name}(self):\n    return self._{name}\n" for name in ("name", "age", "city", "mail"))
PROMPTS = {
    "story": "One day a fox met a hen on the road to the mill, and they talked about the weather. " * 24,
    "copy": f"Write this once more:\n{_CODE * 8}\nHere it is:\n{_CODE[:40]}",
}


class _Timings(msgspec.Struct):
    prompt_n: int
    prompt_per_second: float
    predicted_per_second: float


class _Answer(msgspec.Struct):
    timings: _Timings


async def ask(started: WorkerProcess, prompt: str, *, stall_s: float = 300.0, adapted: bool = False) -> _Timings:
    body: dict[str, Any] = {
        "prompt": prompt,
        "n_predict": TOKENS,
        "temperature": 0,
        "ignore_eos": True,
        "cache_prompt": False,
    }
    if adapted:
        body["lora"] = [{"id": 0, "scale": 1.0}]
    _, answer = await started.ask_whole("POST", "/completion", msgspec.json.encode(body), stall_s=stall_s)
    return msgspec.json.decode(answer, type=_Answer).timings


async def measure(
    folder: Path,
    rows: Mapping[str, tuple[Path, EngineOptions]],
    draft: Path | None = None,
    adapter: Path | None = None,
) -> list[list[str]]:
    """`draft` is what guesses ahead, `adapter` what changes answers, in the rows whose options say so."""
    compute = Compute(_THREADS, {"OMP_NUM_THREADS": str(_THREADS), "GOMP_SPINCOUNT": "500"})
    plan = ServingPlan(CONTEXT_TOKENS, 1, 2**31)
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    memory = {}
    async with AsyncExitStack() as stack:
        workers = {}
        for name, (weights, options) in rows.items():
            context = worker(
                folder / f"run-{len(workers)}",
                weights,
                plan,
                compute=compute,
                options=options,
                draft=draft if options.draft else None,
                adapters=[adapter] if adapter and options.adapters else [],
            )
            workers[name] = await stack.enter_async_context(context)
        for _ in range(ROUNDS):
            for name, started in workers.items():
                for text, prompt in PROMPTS.items():
                    timings = await ask(started, prompt, adapted=bool(rows[name][1].adapters))
                    found[name, text].append(timings.predicted_per_second)
                    if text == "story":
                        found[name, "prompt"].append(timings.prompt_per_second)
        for name, started in workers.items():
            memory[name] = started.rss_bytes() / 2**20
    first = next(iter(rows))
    table = []
    for name in rows:
        row = [name]
        for what in ("prompt", *PROMPTS):
            middle = statistics.median(found[name, what])
            row.append(f"{middle:.1f} ({middle / statistics.median(found[first, what]):.2f})")
        table.append([*row, f"{memory[name]:.0f}"])
    return table


def mixture_and_dense(folder: Path) -> dict[str, tuple[Path, EngineOptions]]:
    """A mixture of 16 experts of which two are used, and a dense model whose every layer is as wide as these two."""
    by_name = {row.name: row for row in ROWS}
    common = {
        "width": 1024, "heads": 16, "kv_heads": 4, "head": 64, "layers": 8, "vocabulary": 32_000, "stored": "Q4_0",
        "context": 8192,
    }  # fmt: skip
    mixture, dense = by_name["qwen3moe"], by_name["qwen3"]
    small = Size(**common, experts=16, experts_used=2, expert_feed_forward=1536)  # type: ignore[arg-type]  # numbers
    wide = Size(**common, feed_forward=3072)  # type: ignore[arg-type]  # numbers
    return {
        "dense": (write(folder / "dense.gguf", dense.architecture, dense.family, wide), EngineOptions()),
        "mixture": (write(folder / "mixture.gguf", mixture.architecture, mixture.family, small), EngineOptions()),
    }


def main() -> None:
    columns = ["", "prompt, tokens/s", "answer: story", "answer: copy", "MiB"]
    note = (
        f"Medians of {ROUNDS} interleaved rounds, {_THREADS} threads, {CONTEXT_TOKENS:,} tokens of context, one slot."
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for make in (starter, larger):
            weights = make(folder)
            rows = {name: (weights, options) for name, options in OPTIONS.items()}
            show(f"Engine options: {weights.stem}", note, columns, asyncio.run(measure(folder, rows)))
        weights = starter(folder)
        rows = {name: (weights, options) for name, options in BESIDE.items()}
        table = asyncio.run(measure(folder, rows, draft=weights, adapter=write_adapter(folder / "adapter.gguf")))
        show("A second file beside the model", note, columns, table)
        rows = mixture_and_dense(folder)
        sizes = ", ".join(f"{name} {file.stat().st_size / 2**20:.0f} MiB" for name, (file, _) in rows.items())
        show("A mixture of experts", f"{note} Files: {sizes}.", columns, asyncio.run(measure(folder, rows)))


if __name__ == "__main__":
    main()
