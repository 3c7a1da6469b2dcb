"""The models people see: what is on the shelf, what is running, and who may change that."""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import delete, insert, select

from intramural.access import Action, Thing, decide
from intramural.audit import AuditLog, Event, Fact
from intramural.core.actor import SYSTEM, Actor
from intramural.core.errors import Conflicting, IntramuralError, Misasked, Refused, Unavailable, Untrusted
from intramural.library import (
    STARTER,
    TOKENIZER,
    Defaults,
    Elsewhere,
    Library,
    Manifest,
    ModelFile,
    Purpose,
    merged,
    parse_name,
    require_engine,
    stated,
)
from intramural.services.crashes import CODE, Crashed, Crashes
from intramural.services.gate import Gate
from intramural.services.plans import Planned, Planner
from intramural.services.purposes import require_purpose
from intramural.serving import ModelToServe, OpenFile, Pool, Pooling, PoolStatus, ServingPlan, WorkerStatus
from intramural.storage import Database
from intramural.storage.schema import model_settings


@dataclass(frozen=True, slots=True)
class ModelView:
    """One model as the page and the command line show it. `crashed`: why its weights are in quarantine, beside what
    inspection found."""

    manifest: Manifest
    is_starter: bool
    pinned: bool
    worker: WorkerStatus | None
    crashed: Crashed | None = None


class Models:
    """Listing, loading, pinning and removing. Getting them is `pulls`."""

    def __init__(
        self,
        gate: Gate,
        library: Library,
        pool: Pool,
        audit: AuditLog,
        db: Database,
        planner: Planner,
        crashes: Crashes,
        elsewhere: Sequence[Elsewhere] = (),
    ) -> None:
        self._gate = gate
        self._crashes = crashes
        self._library = library
        self._pool = pool
        self._audit = audit
        self._db = db
        self._planner = planner
        self._elsewhere = {each.name: each for each in elsewhere}

    # what inference needs -------------------------------------------------------------------------------------

    def manifest(self, name: str) -> Manifest:
        """The manifest of `name`; Missing(`model_not_found`) says what there is instead."""
        elsewhere = self._elsewhere.get(parse_name(name)) if self._elsewhere else None
        return elsewhere or self._library.get(name)

    def _all(self) -> list[Manifest]:
        """What is on the shelf and elsewhere, by name."""
        return sorted((*self._library.list(), *self._elsewhere.values()), key=lambda each: each.name)

    def _here(self, name: str) -> Manifest:
        """The manifest of a model that is on the shelf. Raises Conflicting(`model_is_elsewhere`)."""
        if parse_name(name) in self._elsewhere:
            hint = "An administrator changes engines.toml, and starts the service again."
            raise Conflicting("model_is_elsewhere", f"{name} is a model of an engine elsewhere.", hint)
        return self._library.get(name)

    def made_for(self, purpose: Purpose, name: str, actor: Actor) -> Manifest:
        """As `manifest`; Misasked(`wrong_model_kind`) if that is not what the model is for."""
        manifest = self.manifest(name)
        require_purpose(manifest, purpose, self._usable(actor))
        return manifest

    def _usable(self, actor: Actor) -> Iterator[Manifest]:
        """Those of the library that `actor` may use; it is read only when the first is asked for."""
        yield from (manifest for manifest in self._all() if self._may_use(actor, manifest.name))

    def to_serve(self, manifest: Manifest, actor: Actor) -> ModelToServe:
        """What the pool needs to run `manifest`; opening its weights verifies every byte, and a failure is recorded.

        Raises Refused(`no_engine_for_format`), and what the planner raises.
        """
        if isinstance(manifest, Elsewhere):
            return _to_ask(manifest)
        require_engine(manifest)
        planned = self._planner.planned(manifest)
        return ModelToServe(
            name=self._served_as(manifest),
            digest=planned.digest(manifest),
            open_files=lambda: self._open_files(manifest, planned, actor),
            plan=planned.plan,
            template=manifest.template,
            pooling=_pooling(manifest),
            reads_images=manifest.sees,
            runner="onnx" if manifest.format == "onnx" else "engine",
            options=planned.options,
            scales=planned.scales,
        )

    def computed(self, manifest: Manifest) -> Mapping[str, Fact]:
        """What besides its weights decides on the answers of `manifest`, for the log. Raises as the planner."""
        return {} if isinstance(manifest, Elsewhere) else self._planner.planned(manifest).facts

    def context_tokens(self, manifest: Manifest) -> int | None:
        """How long a prompt and its answer may be together; None if `manifest` does not fit this machine at all."""
        if isinstance(manifest, Elsewhere):
            return manifest.remote.model.context_tokens
        try:
            return self._planner.planned(manifest).plan.context_tokens
        except Misasked:
            return None

    def _served_as(self, manifest: Manifest) -> str:
        """The name of the worker: a derived model shares its base's, where the two differ in what is said, not in what
        is run. Either is quarantined for itself, so while one is they share nothing.
        """
        base = None if manifest.base is None else self._library.find(manifest.base)
        if base is None or base.is_quarantined or manifest.is_quarantined:
            return manifest.name
        return base.name if self._planner.run_as(base) == self._planner.run_as(manifest) else manifest.name

    async def _servable(self, manifest: Manifest, actor: Actor) -> ModelToServe:
        """As `to_serve`; that there is no engine for it is recorded."""
        try:
            return self.to_serve(manifest, actor)
        except Refused as error:
            await self._record_refusal(manifest, actor, error)
            raise

    async def _loaded(self, manifest: Manifest, served: ModelToServe, actor: Actor) -> None:
        """Return when a worker is ready. That it crashed too often for that is recorded; what its files lack was when
        they were opened."""
        try:
            await self._pool.load(served)
        except Refused as error:
            if self._crashed(manifest) is not None:
                await self._record_refusal(manifest, actor, error)
            raise

    async def _open_files(self, manifest: Manifest, planned: Planned, actor: Actor) -> list[OpenFile]:
        """Of the model itself, and of those that help it."""
        found = await self._verified(manifest, actor)
        helping: list[tuple[Manifest, Literal["draft", "adapter"]]] = [(each, "adapter") for each in planned.adapters]
        if planned.draft is not None:
            helping.append((planned.draft, "draft"))
        try:
            for each, role in helping:
                found += [OpenFile(role, file.descriptor) for file in await self._verified(each, actor)]
        except BaseException:
            for file in found:
                os.close(file.descriptor)
            raise
        return found

    async def _verified(self, manifest: Manifest, actor: Actor) -> list[OpenFile]:
        try:
            opened = await self._library.open_verified(manifest)
        except (Untrusted, Refused) as error:
            await self._record_refusal(manifest, actor, error)
            raise
        return [each for file, number in zip(manifest.files, opened, strict=True) if (each := _given(file, number))]

    async def _record_refusal(self, manifest: Manifest, actor: Actor, error: IntramuralError) -> None:
        await self._audit.record(
            Event.MODEL_LOAD_REFUSED,
            actor,
            target=f"model:{manifest.name}",
            outcome="refused",
            facts={"weights": manifest.digest, "code": error.code},
        )

    # what people see ------------------------------------------------------------------------------------------

    async def usable(self, actor: Actor) -> list[Manifest]:
        """The models `actor` may use."""
        await self._gate.require(actor, Action.MODELS_READ)
        return [m for m in self._all() if self._may_use(actor, m.name)]

    async def usable_by_name(self, actor: Actor, name: str) -> Manifest:
        """One of them, else Missing or Refused."""
        await self._gate.require(actor, Action.MODELS_READ)
        manifest = self.manifest(name)
        await self._gate.require(actor, Action.MODEL_USE, target=f"model:{name}", model=name)
        return manifest

    async def views(self, actor: Actor) -> tuple[list[ModelView], PoolStatus]:
        """Every model `actor` may use with its worker, and the pool's state."""
        manifests = await self.usable(actor)
        status = self._pool.status()
        return [self._view(manifest, status) for manifest in manifests], status

    async def view(self, actor: Actor, name: str) -> ModelView:
        manifest = await self.usable_by_name(actor, name)
        return self._view(manifest, self._pool.status())

    def _view(self, manifest: Manifest, status: PoolStatus) -> ModelView:
        served = self._served_as(manifest)
        is_starter, pinned = manifest.name == STARTER.name, served in status.pinned
        return ModelView(manifest, is_starter, pinned, _worker(status, served), self._crashed(manifest))

    def _crashed(self, manifest: Manifest) -> Crashed | None:
        """Why nothing of what its worker reads is started; None: that is not so."""
        if isinstance(manifest, Elsewhere):
            return None
        try:
            digest = self._planner.planned(manifest).digest(manifest)
        except Misasked:  # it cannot be planned for now, and so not be started either
            digest = manifest.digest
        return self._crashes.of(digest)

    def _may_use(self, actor: Actor, name: str) -> bool:
        return self._gate.decide(actor, Action.MODELS_READ, Thing(model=name)).allowed

    # what administrators do -----------------------------------------------------------------------------------

    async def load(self, actor: Actor, name: str) -> None:
        """Start the model's worker and wait until it is ready. Raises Conflicting if somebody unloads it meanwhile."""
        await self._gate.require(actor, Action.MODELS_LOAD, target=f"model:{name}")
        manifest = self.manifest(name)
        served = await self._servable(manifest, actor)
        try:
            await self._loaded(manifest, served, actor)
        except Unavailable as error:
            if error.code != "model_unloaded":
                raise
            raise Conflicting(error.code, error.message, error.hint) from None  # two wanted two things: no outage
        await self._record(Event.MODEL_LOADED, actor, name, {"weights": manifest.digest or None})

    async def unload(self, actor: Actor, name: str) -> None:
        """Stop the model's worker once its answers are done, also for the models that share it."""
        await self._gate.require(actor, Action.MODELS_UNLOAD, target=f"model:{name}")
        await self._pool.unload(self._served_as(self.manifest(name)))
        await self._record(Event.MODEL_UNLOADED, actor, name, {})

    async def warm(self, actor: Actor, name: str) -> None:
        """Have a worker ready for somebody who is about to ask: whoever may use a model may wait for it beforehand."""
        await self._gate.require(actor, Action.MODEL_USE, target=f"model:{name}", model=name)
        manifest = self.manifest(name)
        is_new = _worker(self._pool.status(), self._served_as(manifest)) is None
        await self._loaded(manifest, await self._servable(manifest, actor), actor)
        if is_new:
            await self._record(Event.MODEL_LOADED, actor, name, {"weights": manifest.digest or None})

    @staticmethod
    def may_keep(actor: Actor) -> bool:
        """Whether `actor` may say how long a model stays loaded: only who may load and unload it for everybody."""
        return all(decide(actor, action).allowed for action in (Action.MODELS_LOAD, Action.MODELS_UNLOAD))

    async def keep(self, actor: Actor, name: str, keep_alive_s: float) -> None:
        """From now on the model's worker is stopped when it was idle for so long (0: at once; negative: never)."""
        await self._gate.require(actor, Action.MODELS_LOAD, target=f"model:{name}")
        await self._gate.require(actor, Action.MODELS_UNLOAD, target=f"model:{name}")
        if self._pool.keep(self._served_as(self.manifest(name)), keep_alive_s):
            await self._record(Event.MODEL_KEPT, actor, name, {"keep_alive_s": keep_alive_s})

    async def verify(self, actor: Actor, name: str) -> None:
        """Hash the model's weights again. Raises Untrusted(`model_digest_mismatch`), recorded, when a byte differs."""
        await self._gate.require(actor, Action.MODELS_LOAD, target=f"model:{name}")
        manifest = self._here(name)
        try:
            await self._library.verify(manifest)
        except Untrusted as error:
            await self._record_refusal(manifest, actor, error)
            raise

    async def release(self, actor: Actor, name: str, reason: str) -> None:
        """Let a quarantined model be loaded from now on, for whatever it is quarantined. Written down first: no release
        goes without its entry.

        Raises Conflicting(`model_not_quarantined`), Misasked(`release_without_reason`).
        """
        await self._gate.require(actor, Action.MODELS_RELEASE, target=f"model:{name}")
        manifest = self._here(name)
        crashed = self._crashed(manifest)
        reason = self._library.releasable(name, reason) if crashed is None else stated(reason)
        codes = sorted({finding.code for finding in manifest.quarantine}) if manifest.is_quarantined else []
        codes += [CODE] if crashed else []
        await self._crashes.settled()
        facts: Mapping[str, Fact] = {"weights": manifest.digest, "reason": reason, "findings": codes}
        async with self._audit.transaction() as (connection, record):
            if crashed is not None:
                await self._crashes.forgive(connection, crashed.digest)
            record(Event.MODEL_RELEASED, actor, target=f"model:{name}", facts=facts)
        if crashed is not None:
            self._crashes.forgiven(crashed.digest)
        if manifest.is_quarantined:
            await asyncio.to_thread(self._library.release, name, reason, actor.username)

    async def derive(self, actor: Actor, base: str, name: str, given: Defaults) -> Manifest:
        """Give the files of `base` the name `name`, with what `base` has of defaults and `given` before that.

        The log says which defaults were given, not what they say. Raises Missing(`model_not_found`),
        Conflicting(`model_name_taken`) where `name` is a model of other files, Misasked(`bad_model_name`,
        `context_too_small`).
        """
        await self._gate.require(actor, Action.MODELS_PULL, target=f"model:{name}")
        before = self._here(base)
        most = self._planner.longest(before)
        if given.context_tokens is not None and given.context_tokens > most:
            message = f"{base} has {most} tokens of context here, not {given.context_tokens}."
            hint = f"Ask for at most {most}, or raise serving.context_tokens."
            raise Misasked("context_too_small", message, hint, param="parameters.num_ctx")
        manifest = self._library.derived(base, name, merged(before.defaults, given))
        facts: dict[str, Fact] = {"from": before.name, "weights": before.digest, "defaults": given.given}
        await self._record(Event.MODEL_DERIVED, actor, manifest.name, facts)
        await asyncio.to_thread(self._library.put_derived, manifest, before.name)
        return manifest

    async def pin(self, actor: Actor, name: str, pinned: bool) -> None:
        """A pinned model is never stopped for being idle or to make room."""
        await self._gate.require(actor, Action.MODELS_PIN, target=f"model:{name}")
        manifest = self.manifest(name)
        async with self._audit.transaction() as (connection, record):
            await connection.execute(delete(model_settings).where(model_settings.c.name == name))
            if pinned:
                await connection.execute(insert(model_settings).values(name=name, pinned=True))
            record(Event.MODEL_PINNED, actor, target=f"model:{name}", facts={"pinned": pinned})
        self._pool.pin(self._served_as(manifest), pinned)

    async def remove(self, actor: Actor, name: str) -> None:
        """Stop it and take it off the shelf; its bytes go when no other model shares them."""
        await self._gate.require(actor, Action.MODELS_REMOVE, target=f"model:{name}")
        manifest = self._here(name)
        if self._served_as(manifest) == name and _worker(self._pool.status(), name):
            await self._pool.unload(name)
        await self._record(Event.MODEL_REMOVED, actor, name, {"weights": manifest.digest})
        await asyncio.to_thread(self._library.remove, name)
        if all(other.digest != manifest.digest for other in self._library.list()):
            await self._pool.forget_model(manifest.digest)

    def names(self) -> list[str]:
        """What is on the shelf."""
        return [manifest.name for manifest in self._library.list()]

    def any_ready(self) -> bool:
        """Whether some worker is ready, or none is being started: requests are answered or load one."""
        states = [worker.state for worker in self._pool.status().workers]
        return "ready" in states or "starting" not in states

    # at start -------------------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Tell the pool which models are pinned, and which are in quarantine for their crashes; let go of weights that
        an end in mid-work left without a manifest.

        Raises Misasked(`bad_engine`) where a model elsewhere has the name of one that is here: nobody could tell which
        of them is asked.
        """
        await asyncio.to_thread(self._library.sweep)
        await self._crashes.open()
        for name in self._elsewhere:
            if self._library.find(name) is not None:
                hint = "Give it another name there, or remove the model here."
                raise Misasked("bad_engine", f"engines.toml names {name}, which is the name of a model here.", hint)
        async with self._db.reading() as connection:
            rows = await connection.execute(select(model_settings.c.name).where(model_settings.c.pinned))
            for (name,) in rows:
                manifest = self._library.find(name)
                self._pool.pin(name if manifest is None else self._served_as(manifest), True)

    async def close(self) -> None:
        """Return when what is known of crashes is written down."""
        await self._crashes.settled()

    async def preload(self, name: str) -> None:
        """Load `name` as the service's own act. Raises as `load`."""
        await self.load(SYSTEM, name)

    async def _record(self, event: Event, actor: Actor, name: str, facts: Mapping[str, Fact]) -> None:
        await self._audit.record(event, actor, target=f"model:{name}", facts=facts)


def _given(file: ModelFile, descriptor: int) -> OpenFile | None:
    """What of a model its worker reads; the rest is closed."""
    if file.role != "support":
        return OpenFile(file.role, descriptor)
    if file.name == TOKENIZER:
        return OpenFile("tokenizer", descriptor)
    os.close(descriptor)
    return None


async def _no_files() -> Sequence[OpenFile]:
    return ()


def _to_ask(manifest: Elsewhere) -> ModelToServe:
    """What the pool needs to have an engine elsewhere asked: no memory, no files, its share of the engine's slots."""
    model = manifest.remote.model
    return ModelToServe(
        name=manifest.name,
        digest=f"engine:{manifest.remote.engine.name}/{model.name}",
        open_files=_no_files,
        plan=ServingPlan(model.context_tokens, model.slots, 0),
        pooling=None if manifest.pooling is None else _pooling(manifest),
        reads_images=model.images,
        remote=manifest.remote,
    )


def _worker(status: PoolStatus, name: str) -> WorkerStatus | None:
    return next((worker for worker in status.workers if worker.name == name), None)


#: Architectures with which the engine ends at its first step when it is to make embeddings too: it reads its output as
#: if it had the width of all streams together.
_WITHOUT_EMBEDDINGS = frozenset({"deepseek4"})


def _pooling(manifest: Manifest) -> Pooling | None:
    """How the model's vectors are made: what its file says, else the last token, which has seen the whole text."""
    if manifest.architecture in _WITHOUT_EMBEDDINGS:
        return None
    match manifest.pooling:
        case "mean" | "cls" | "given" | "rank" as known:
            return known
        case _:
            return "last"
