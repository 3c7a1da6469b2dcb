"""Models to serve and pools to serve them."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from simulate.worker import SimulatedSpawner
from tests.direct import direct
from tests.fakes.spawner import PlainSpawner

from intramural.core.chat import ChatRequest, Message, Sampling
from intramural.core.clock import SystemClock
from intramural.core.config import ServingConfig
from intramural.serving import ModelToServe, OpenFile, Pool, RemoteSpawner, ServingPlan
from intramural.serving.remote.breaker import Rules

MiB = 2**20
#: Of engines elsewhere: a pause that a test can wait for.
BREAKER = Rules(failures=3, pause_s=0.05, longest_pause_s=0.2)


def request(text: str = "Say something.", **sampling: Any) -> ChatRequest:
    """A plain request."""
    return ChatRequest(id="r", model="m", messages=(Message("user", text),), sampling=Sampling(**sampling))


def model(
    name: str = "m",
    *,
    memory_bytes: int = 100 * MiB,
    slots: int = 2,
    weights: Path | None = None,
    context_tokens: int = 2048,
    **more: Any,
) -> ModelToServe:
    """A model; without `weights` one that only the stand-in can serve."""

    async def open_files() -> list[OpenFile]:
        return [OpenFile("weights", os.open(weights or os.devnull, os.O_RDONLY))]

    return ModelToServe(name, f"sha256:{name}", open_files, ServingPlan(context_tokens, slots, memory_bytes), **more)


@asynccontextmanager
async def running(
    spawner: PlainSpawner | SimulatedSpawner, *, budget_bytes: int = 1000 * MiB, **settings: Any
) -> AsyncIterator[Pool]:
    """A pool that is started and closed; nothing it started may outlive it."""
    defaults: dict[str, Any] = {"threads": 1, "stop_grace_s": 5.0}
    config = ServingConfig(**{**defaults, **settings})
    pool = Pool(
        config, SystemClock(), RemoteSpawner(spawner, SystemClock(), lambda engine: direct, BREAKER), budget_bytes
    )
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()
        assert all(process.returncode is not None for process in spawner.processes)


async def eventually(true: Callable[[], object], within_s: float = 30.0) -> None:
    """Wait until `true()`; a generous limit, never a measurement."""
    async with asyncio.timeout(within_s):
        while not true():
            await asyncio.sleep(0.01)
