"""One start of the service: every part of it that a request goes through, put together as `app` does."""

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, cast

from sqlalchemy import insert

from intramural.access import NO_AGES
from intramural.audit import AuditLog, Event, Fact
from intramural.core.actor import SYSTEM, Actor
from intramural.core.config import AuditConfig, GuardConfig, QuotasConfig, ServingConfig, VaultConfig
from intramural.core.errors import Missing
from intramural.library import Manifest, Shape
from intramural.library.blobs import Blob
from intramural.metering import Limit as Quota
from intramural.metering import Meter, Metrics, QuotaRows, Traces
from intramural.metering.ledger import Charge
from intramural.metering.quota_rows import Row
from intramural.services.gate import Gate
from intramural.services.guarding import Guarding
from intramural.services.inference import Inference
from intramural.services.media import Media, Outward
from intramural.services.models import Models
from intramural.services.quotas import Quotas
from intramural.services.turns import Turns
from intramural.serving import ModelToServe, OpenFile, Pool, ServingPlan
from intramural.serving.worker import Spawner
from intramural.storage import Database
from intramural.storage.schema import people
from intramural.vault import Vault
from simulate.loop import Loop
from simulate.plan import PEOPLE, Model, Plan

DATABASE = "intramural.db"
#: When the first life begins, in seconds since 1970.
_BEGAN_S = 1_800_000_000.0


class SimulatedClock:
    """Time as the loop has it, and chance as the seed gives it. `off_s`: by how much the time of day was set."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._passed_s = 0.0
        self.off_s = 0.0
        self.loop: Loop | None = None

    def begin(self, loop: Loop) -> None:
        """Another life, after the ones before."""
        self._passed_s += 0.0 if self.loop is None else self.loop.time()
        self.loop = loop

    def now_s(self) -> float:
        return _BEGAN_S + self._passed_s + self.off_s + self.monotonic_s()

    def monotonic_s(self) -> float:
        return 0.0 if self.loop is None else self.loop.time()

    def token_bytes(self, size_bytes: int) -> bytes:
        return self._chance.randbytes(size_bytes)


class Shelf:
    """In the place of `services.Models`, of which inference asks this much: here models have no files."""

    def __init__(self, models: Sequence[Model]) -> None:
        self._models = {each.name: each for each in models}

    def manifest(self, name: str) -> Manifest:
        if name not in self._models:
            raise Missing("model_not_found", "No.")
        return _manifest(name)

    def made_for(self, purpose: str, name: str, actor: Actor) -> Manifest:
        return self.manifest(name)

    def computed(self, manifest: Manifest) -> Mapping[str, Fact]:
        return {}

    def to_serve(self, manifest: Manifest, actor: Actor) -> ModelToServe:
        model = self._models[manifest.name]
        plan = ServingPlan(model.context_tokens, model.slots, model.memory_bytes)
        return ModelToServe(model.name, manifest.digest, _nothing_open, plan)


async def _nothing_open() -> list[OpenFile]:
    return [OpenFile("weights", os.open(os.devnull, os.O_RDONLY))]


def _manifest(name: str) -> Manifest:
    shape = Shape(30, 9, (3,) * 30, 64, 64, 576, 1536, 49_152)
    return Manifest(
        name=name, weights=Blob(f"sha256:{name.encode().hex().zfill(64)}", 1), architecture="llama", parameters=1,
        quantisation="Q4_1", trained_context_tokens=512, has_chat_template=False, template=None, template_digest=None,
        pooling=None, licence="Apache-2.0", source="package:x", trust="pinned", added_ms=0, shape=shape,
    )  # fmt: skip


class _NoNames:
    """Nobody reads names: nothing that is asked here is looked at for them."""

    kinds: frozenset[Any] = frozenset()
    about = ""


class _NothingStored:
    """Nobody has files."""

    async def used_bytes(self, person_id: str) -> int:
        return 0

    async def used_in_bytes(self, workspace_id: str) -> int:
        return 0


class WatchedRows(QuotaRows):
    """The rows, and which balances each request was held against: what is charged is held against that."""

    def __init__(self, db: Database, held: dict[str, Sequence[Charge]]) -> None:
        super().__init__(db)
        self._held = held

    def hold(self, request_id: str, time_ms: int, charges: Sequence[Charge]) -> list[Row]:
        self._held[request_id] = tuple(charges)
        return super().hold(request_id, time_ms, charges)


@dataclass(frozen=True)
class House:
    """A service that runs."""

    db: Database
    audit: AuditLog
    pool: Pool
    quotas: Quotas
    inference: Inference
    stack: AsyncExitStack

    @classmethod
    async def open(
        cls, folder: Path, plan: Plan, clock: SimulatedClock, spawner: Spawner, held: dict[str, Sequence[Charge]]
    ) -> "House":
        """Open what lies in `folder`, in the order of `app.opened`."""
        stack = AsyncExitStack()
        serving = ServingConfig(**cast(Any, plan.settings))
        db = await Database.open(folder / DATABASE)
        stack.push_async_callback(db.close)
        await db.claim()
        vault = await Vault.open(db, folder / "secrets", VaultConfig(), clock)
        audit = await AuditLog.open(db, folder / "secrets", AuditConfig(), clock, vault)
        stack.push_async_callback(audit.close)
        pool = Pool(serving, clock, spawner, plan.budget_bytes)
        await pool.start()
        stack.push_async_callback(pool.close)
        gate = Gate(audit, (), vault)
        metrics, traces = Metrics("simulated"), Traces(clock)
        config = QuotasConfig(prices=plan.prices, answer_tokens=24)
        quotas = Quotas(gate, WatchedRows(db, held), audit, clock, config, _NothingStored(), _known)
        guard = Guarding(GuardConfig(), gate, cast(Any, _NoNames()), audit, metrics, clock, lambda _: b"", NO_AGES)
        no_pictures = cast(Any, None)  # so nobody's files are opened, and nothing is fetched
        media = Media(gate, no_pictures, audit, Outward(), no_pictures)
        inference = Inference(
            gate,
            cast(Models, Shelf(plan.models)),
            media,
            pool,
            audit,
            Meter(db, clock),
            metrics,
            traces,
            clock,
            Turns(serving),
            quotas,
            guard,
            12,
        )
        stack.push_async_callback(inference.drained)
        await audit.record(Event.SERVICE_STARTED, SYSTEM)
        stack.push_async_callback(audit.record, Event.SERVICE_STOPPED, SYSTEM)
        await quotas.open()
        return cls(db, audit, pool, quotas, inference, stack)

    async def close(self) -> None:
        """All of it, in order."""
        await self.stack.aclose()


async def _known(person_id: str) -> object:
    return person_id


def quota_of(limit: Any) -> Quota:
    """A limit of the plan as the service has it."""
    return Quota("", "everyone", "", None, limit.measure, "now" if limit.measure == "streams" else limit.period,
                 limit.amount, limit.each)  # fmt: skip


async def furnish(folder: Path, clock: SimulatedClock) -> None:
    """A data directory with people in it, and its keys: what every seed begins with."""
    db = await Database.open(folder / DATABASE)
    rows = [
        {"id": name, "username": name, "username_folded": name, "role": "member", "password_hash": "", "created_ms": 0}
        for name in PEOPLE
    ]
    async with db.writing() as connection:
        await connection.execute(insert(people), rows)
    vault = await Vault.open(db, folder / "secrets", VaultConfig(), clock)
    audit = await AuditLog.open(db, folder / "secrets", AuditConfig(), clock, vault)
    await audit.record(Event.SERVICE_STARTED, SYSTEM)
    await audit.close()
    await db.close()


def furnished(like: Path, to: Path) -> Path:
    """A copy of it for one seed."""
    shutil.copytree(like, to)
    return to
