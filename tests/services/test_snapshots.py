"""A safetensors model through the services: shelved and shown, its load refused and written down."""

from pathlib import Path
from typing import Any

import pytest
from tests.direct import REACH
from tests.fakes import hub as fake
from tests.fakes.hub import Repository
from tests.fakes.safetensors_file import tiny_snapshot
from tests.services.planning import planner
from tests.services.test_pulls import opened
from tests.services.test_release import Budget

from intramural.core.actor import SYSTEM
from intramural.core.clock import SystemClock
from intramural.core.errors import Refused
from intramural.library import HubSource
from intramural.library.sources.hub import HubReference
from intramural.services.crashes import Crashes
from intramural.services.gate import Gate
from intramural.services.models import Models


async def test_shelved_shown_and_not_loaded(tmp_path: Path) -> None:
    pool: Any = Budget()
    db: Any = None
    async with fake.running({"acme/tiny": Repository(tiny_snapshot())}) as hub:
        source = HubSource(HubReference.parse("acme/tiny"), hub.url, None, [hub.store.host], REACH)
        async with opened(tmp_path, {"fake:tiny": source}) as desk:
            crashes = Crashes(desk.audit, db, pool, SystemClock())
            library = desk.shop.library
            models = Models(Gate(desk.audit), library, pool, desk.audit, db, planner(library), crashes)
            view = await desk.pulls.get(SYSTEM, "fake:tiny")
            assert (view.state, view.model) == ("shelved", "tiny:safetensors")
            (manifest,) = await models.usable(SYSTEM)
            await models.verify(SYSTEM, manifest.name)
            with pytest.raises(Refused) as refused:
                await models.load(SYSTEM, manifest.name)
            entry = (await desk.audit.entries())[0]
    assert refused.value.code == "no_engine_for_format"
    assert (entry.event, entry.outcome, entry.facts["code"]) == ("model.load_refused", "refused", refused.value.code)
