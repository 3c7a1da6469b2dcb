"""One confined worker for one file, as production starts it, with one compute thread."""

import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from intramural.sandbox import probe
from intramural.serving import ModelToServe, OpenFile, SandboxedSpawner
from intramural.serving.model import Plan, Pooling
from intramural.serving.options import PLAIN, EngineOptions
from intramural.serving.threads import Compute
from intramural.serving.worker import WorkerProcess

ONE_THREAD = Compute(1, {"OMP_NUM_THREADS": "1"})


@asynccontextmanager
async def worker(
    run_dir: Path,
    weights: Path,
    plan: Plan,
    pooling: Pooling | None = "last",
    *,
    compute: Compute = ONE_THREAD,
    options: EngineOptions = PLAIN,
    draft: Path | None = None,
    adapters: Sequence[Path] = (),
) -> AsyncIterator[WorkerProcess]:
    """A worker that is ready. Raises Broken(`worker_start_failed`), with the engine's last words as the hint."""

    async def opened() -> list[OpenFile]:
        found = [
            ("weights", weights),
            *((("draft", draft),) if draft else ()),
            *(("adapter", each) for each in adapters),
        ]
        return [OpenFile(name, os.open(file, os.O_RDONLY)) for name, file in found]

    posture = await probe()
    spawner = SandboxedSpawner(run_dir, posture.level, posture)
    model = ModelToServe(weights.stem, "sha256:tiny", opened, plan, pooling=pooling, options=options)
    started = await spawner.start(model, compute)
    try:
        await started.ready(90.0)
        yield started
    finally:
        started.process.kill()
        await started.process.wait()
        started.clear()


async def generate(worker: WorkerProcess, *, prompt: list[int], slot: int, tokens: int) -> int:
    """How many tokens the worker wrote after `prompt`."""
    body = {"prompt": prompt, "n_predict": tokens, "id_slot": slot, "ignore_eos": True, "seed": 1}
    status, answer = await worker.ask_whole("POST", "/completion", json.dumps(body).encode(), stall_s=60.0)
    assert status == 200, answer[:500]
    return int(json.loads(answer)["tokens_predicted"])
