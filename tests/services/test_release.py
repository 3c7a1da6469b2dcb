"""Quarantine and release through the services: refused, written down, allowed to administrators with a reason."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.source import LyingSource
from tests.library.test_quarantine import SUSPICIOUS
from tests.services.planning import planner
from tests.services.test_pulls import MEMBER, Desk, opened

from intramural.core.actor import SYSTEM
from intramural.core.clock import SystemClock
from intramural.core.errors import Misasked, Refused
from intramural.services.crashes import Crashes
from intramural.services.gate import Gate
from intramural.services.models import Models


@dataclass
class Budget:
    """As much of a pool as opening a model's files needs."""

    budget_bytes: int = 2**40


@dataclass
class Bench:
    desk: Desk
    models: Models

    async def last(self) -> tuple[str, str, dict[str, Any]]:
        """(event, outcome, facts) of the newest entry."""
        entry = (await self.desk.audit.entries())[0]
        return entry.event, entry.outcome, dict(entry.facts)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened(tmp_path, {"fake:tiny": LyingSource(SUSPICIOUS)}) as desk:
        audit = desk.audit
        pool: Any = Budget()
        db: Any = None
        crashes = Crashes(audit, db, pool, SystemClock())
        yield Bench(desk, Models(Gate(audit), desk.shop.library, pool, audit, db, planner(desk.shop.library), crashes))


async def test_a_pull_ends_quarantined_and_says_why(bench: Bench) -> None:
    view = await bench.desk.pulls.get(SYSTEM, "fake:tiny")
    assert (view.state, view.model, view.step, view.code) == ("quarantined", "tiny", "shelved", "model_quarantined")
    assert "calls itself" in (view.message or "")
    event, outcome, facts = await bench.last()
    assert (event, outcome, facts["findings"]) == ("model.quarantined", "allowed", ["template_recursion"])


async def test_a_quarantined_model_is_not_opened_for_a_worker(bench: Bench) -> None:
    await bench.desk.pulls.get(SYSTEM, "fake:tiny")
    served = bench.models.to_serve(bench.models.manifest("tiny"), SYSTEM)
    with pytest.raises(Refused) as refused:
        await served.open_files()
    assert refused.value.code == "model_quarantined"
    event, outcome, facts = await bench.last()
    assert (event, outcome, facts["code"]) == ("model.load_refused", "refused", "model_quarantined")
    await bench.models.verify(SYSTEM, "tiny")


async def test_an_administrator_releases_it_with_a_reason(bench: Bench) -> None:
    await bench.desk.pulls.get(SYSTEM, "fake:tiny")
    with pytest.raises(Misasked):
        await bench.models.release(SYSTEM, "tiny", " ")
    await bench.models.release(SYSTEM, "tiny", "read it,\nit is harmless")
    event, _, facts = await bench.last()
    assert (event, facts["reason"]) == ("model.released", "read it, it is harmless")
    manifest = bench.models.manifest("tiny")
    assert not manifest.is_quarantined
    for file in await bench.models.to_serve(manifest, SYSTEM).open_files():
        os.close(file.descriptor)


async def test_nobody_else_does(bench: Bench) -> None:
    await bench.desk.pulls.get(SYSTEM, "fake:tiny")
    with pytest.raises(Refused) as refused:
        await bench.models.release(MEMBER, "tiny", "I want it")
    assert refused.value.code == "role_missing"
    assert bench.models.manifest("tiny").is_quarantined
    assert (await bench.last())[0] == "access.refused"
