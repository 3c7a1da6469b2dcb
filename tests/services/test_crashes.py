"""Weights whose workers crash too often: written down, kept over a restart, and let out by a person with a reason.

The workers are real processes of a stand-in engine, and what ends them is a real signal.
"""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from tests import databases
from tests.fakes.gguf_file import tiny_model
from tests.fakes.source import LyingSource
from tests.fakes.spawner import PlainSpawner
from tests.library.shop import Shop
from tests.services.planning import planner
from tests.services.test_pulls import MEMBER
from tests.serving.pools import MiB, eventually, request
from tests.serving.test_pool import read

from intramural.audit import AuditLog
from intramural.core.actor import SYSTEM
from intramural.core.clock import SystemClock
from intramural.core.config import AuditConfig, ServingConfig
from intramural.core.errors import Broken, Conflicting, IntramuralError, Misasked, Refused
from intramural.library import Defaults
from intramural.services.crashes import Crashes
from intramural.services.gate import Gate
from intramural.services.models import Models
from intramural.serving import Pool

SLOW = ("--tokens-per-s", "20")


class Later(SystemClock):
    """Time goes on when a test says so, too."""

    more_s = 0.0

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.more_s


class House:
    """As much of a service as has models, workers and a log."""

    def __init__(self, models: Models, pool: Pool, audit: AuditLog, shop: Shop, clock: Later) -> None:
        self.models, self.pool, self.audit, self.shop, self.clock = models, pool, audit, shop, clock
        self.pool.memory_kills = lambda: 0  # nobody else's on this machine

    async def crash(self, number: signal.Signals = signal.SIGSEGV, name: str = "tiny") -> None:
        """A worker gets `number` in the middle of an answer."""
        served = self.models.to_serve(self.models.manifest(name), SYSTEM)
        stream = self.pool.chat(served, request(max_tokens=1000))
        await anext(stream)
        (worker,) = self.pool.status().workers
        assert worker.pid is not None
        os.kill(worker.pid, number)
        with pytest.raises(Broken) as caught:
            await read(stream)
        assert caught.value.code == "worker_died"
        await eventually(lambda: not self.pool.status().workers)

    async def answers(self, name: str = "tiny") -> str:
        served = self.models.to_serve(self.models.manifest(name), SYSTEM)
        return await read(self.pool.chat(served, request(max_tokens=1)))

    async def refused(self, name: str = "tiny") -> IntramuralError:
        with pytest.raises(Refused) as caught:
            await self.answers(name)
        return caught.value

    async def events(self, kind: str) -> list[dict[str, object]]:
        return [dict(each.facts) for each in await self.audit.entries() if each.event == kind]


@asynccontextmanager
async def opened(root: Path) -> AsyncIterator[House]:
    """From a start to an end; the same `root` again is a restart."""
    async with AsyncExitStack() as stack:
        clock = Later()
        db = await databases.opened(root / "test.db")
        stack.push_async_callback(db.close)
        audit = await AuditLog.open(db, root / "secrets", AuditConfig(), clock)
        stack.push_async_callback(audit.close)
        shop = Shop(root / "library")
        pool = Pool(ServingConfig(threads=1), clock, PlainSpawner(per_start=(SLOW,)), 4000 * MiB)
        await pool.start()
        stack.push_async_callback(pool.close)
        crashes = Crashes(audit, db, pool, clock)
        models = Models(Gate(audit), shop.library, pool, audit, db, planner(shop.library), crashes)
        await models.prepare()
        stack.push_async_callback(models.close)
        yield House(models, pool, audit, shop, clock)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with opened(tmp_path) as house:
        await house.shop.pull(LyingSource(tiny_model()))
        yield house


async def test_three_crashes_in_ten_minutes_are_a_quarantine_that_survives_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as house:
        manifest, _ = await house.shop.pull(LyingSource(tiny_model()))
        await house.models.derive(SYSTEM, "tiny", "alias", Defaults())
        for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT):
            assert (await house.models.view(SYSTEM, "tiny")).crashed is None
            await house.crash(number)
        for name in ("tiny", "alias"):
            error = await house.refused(name)
            assert error.code == "model_quarantined"
            assert "intramural release" in error.hint
        with pytest.raises(Refused):
            await house.models.load(SYSTEM, "alias")
        assert [each["code"] for each in await house.events("model.load_refused")] == ["model_quarantined"]
        view = await house.models.view(SYSTEM, "alias")
        assert view.crashed is not None
        assert view.crashed.message == "Its workers crashed 3 times within 10 minutes, the last time by SIGABRT."
    async with opened(tmp_path) as house:
        (facts,) = await house.events("model.crashed")
        assert facts == {"weights": manifest.digest, "crashes": 3, "within_s": 600.0, "how": "SIGABRT"}
        assert (await house.refused()).code == "model_quarantined"
        await house.shop.pull(LyingSource(tiny_model()), name="again")
        assert (await house.refused("again")).code == "model_quarantined", "it is the bytes, not the name"
        await house.models.release(SYSTEM, "alias", "the machine's memory was faulty")
        assert await house.answers() == "word0"
    async with opened(tmp_path) as house:
        assert await house.answers() == "word0"


async def test_a_release_needs_an_administrator_a_reason_and_something_to_release(house: House) -> None:
    for _ in range(3):
        await house.crash()
    with pytest.raises(Refused) as refused:
        await house.models.release(MEMBER, "tiny", "I want it")
    assert refused.value.code == "role_missing"
    with pytest.raises(Misasked) as misasked:
        await house.models.release(SYSTEM, "tiny", " ")
    assert misasked.value.code == "release_without_reason"
    assert (await house.refused()).code == "model_quarantined"
    await house.models.release(SYSTEM, "tiny", "a newer engine reads it")
    (facts,) = await house.events("model.released")
    assert (facts["findings"], facts["reason"]) == (["worker_crashes"], "a newer engine reads it")
    with pytest.raises(Conflicting):
        await house.models.release(SYSTEM, "tiny", "once more")
    for _ in range(2):
        await house.crash()
    assert await house.answers() == "word0", "it begins to count anew"


async def test_crashes_far_apart_kills_from_outside_and_workers_that_we_stop_do_not_count(house: House) -> None:
    for _ in range(4):
        await house.crash()
        house.clock.more_s += 301
    for _ in range(4):
        await house.crash(signal.SIGKILL)
    for _ in range(4):
        await house.answers()
        assert await house.pool.unload("tiny")
    assert await house.answers() == "word0"
    assert await house.events("model.crashed") == []
