"""Workers as they really run: the real engine, real weights, really confined."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.serving.pools import MiB, eventually, model, request

from intramural.core.chat import Delta
from intramural.core.clock import SystemClock
from intramural.core.config import ServingConfig
from intramural.core.errors import Broken, Refused
from intramural.sandbox import Level, probe
from intramural.serving import Pool, SandboxedSpawner


async def test_a_confined_worker_answers_and_leaves_nothing_behind(weights: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / ("deep" * 30) / "run"  # longer than a path to a socket may be
    posture = await probe()
    spawner = SandboxedSpawner(run_dir, "full", posture)
    pool = Pool(ServingConfig(threads=1), SystemClock(), spawner, 1000 * MiB)
    await pool.start()
    try:
        served = model(slots=1, context_tokens=256, weights=weights)
        events = [event async for event in pool.chat(served, request("Say hi.", max_tokens=4))]
        assert any(isinstance(event, Delta) for event in events)
        worker = pool.status().workers[0]
        assert {"netns", "landlock", "seccomp"} <= set(worker.layers)
        assert worker.rss_bytes > 50 * MiB
        assert len(list(run_dir.iterdir())) == 1
    finally:
        await pool.close()
    assert list(run_dir.iterdir()) == []


async def test_below_the_required_level_nothing_is_started(tmp_path: Path) -> None:
    posture = replace(await probe(), level=Level.NO_NETNS)
    pool = Pool(ServingConfig(), SystemClock(), SandboxedSpawner(tmp_path / "run", "full", posture), 1000 * MiB)
    await pool.start()
    try:
        with pytest.raises(Refused) as caught:
            await pool.load(model())
        assert caught.value.code == "confinement_too_weak"
    finally:
        await pool.close()


async def test_weights_that_are_none_are_reported(tmp_path: Path) -> None:
    nonsense = tmp_path / "weights.gguf"
    nonsense.write_bytes(b"GGUF" + bytes(1000))
    nonsense.chmod(0o444)
    pool = Pool(ServingConfig(), SystemClock(), SandboxedSpawner(tmp_path / "run", "full", await probe()), 1000 * MiB)
    await pool.start()
    try:
        with pytest.raises(Broken) as caught:
            await pool.load(model(weights=nonsense))
        assert caught.value.code == "worker_start_failed"
        await eventually(lambda: not list((tmp_path / "run").iterdir()))
    finally:
        await pool.close()
