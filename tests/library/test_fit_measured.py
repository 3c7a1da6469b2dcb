"""The plan against the real engine, confined as in production, with one compute thread."""

from pathlib import Path

import aiohttp
import pytest
from tests.library.shop import Shop

from intramural.library import PackageSource, need
from intramural.sandbox import probe
from intramural.serving import ModelToServe, OpenFile, SandboxedSpawner
from intramural.serving.threads import Compute

CLOSE_ENOUGH = 0.05


async def resident_bytes(root: Path, model: ModelToServe) -> int:
    """What the engine uses once every slot has computed a prompt and it has made an embedding."""
    posture = await probe()
    spawner = SandboxedSpawner(root, posture.level, posture)
    worker = await spawner.start(model, Compute(1, {"OMP_NUM_THREADS": "1"}))
    try:
        await worker.ready(90.0)
        connector = aiohttp.UnixConnector(str(worker.socket))
        async with aiohttp.ClientSession("http://worker", connector=connector) as client:
            for slot in range(model.plan.slots):
                prompt = [1000 + slot + 7 * n for n in range(200)]
                await client.post("/completion", json={"prompt": prompt, "n_predict": 4, "id_slot": slot})
            await client.post("/v1/embeddings", json={"input": [1000 + 7 * n for n in range(200)]})
        status = Path(f"/proc/{worker.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))) * 1024
    finally:
        worker.process.kill()
        await worker.process.wait()
        worker.clear()


@pytest.mark.parametrize(("context_tokens", "slots"), [(2048, 1), (2048, 4), (8192, 1), (8192, 4)])
async def test_the_plan_is_what_the_engine_uses(
    shop: Shop, starter_wheel: Path, tmp_path: Path, context_tokens: int, slots: int
) -> None:
    manifest, _ = await shop.pull(PackageSource(starter_wheel))
    planned = need(manifest, slots, context_tokens)

    async def opened() -> list[OpenFile]:
        return [OpenFile("weights", each) for each in await shop.library.open_verified(manifest)]

    model = ModelToServe(manifest.name, manifest.digest, opened, planned, manifest.template)
    used = await resident_bytes(tmp_path / "run", model)
    error = planned.memory_bytes / used - 1
    print(f"{context_tokens} x {slots}: planned {planned.memory_bytes >> 20}, used {used >> 20} MiB, {error:+.1%}")
    assert abs(error) <= CLOSE_ENOUGH
