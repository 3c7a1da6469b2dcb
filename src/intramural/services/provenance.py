"""Where models come from, as an act: signing, checking, following a lock, bundles, bills of materials.

Paths of keys and bundles are this machine's, so they are taken from whoever sits at it (the private socket) alone.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from intramural import __version__
from intramural.access import Action
from intramural.audit import AuditLog, Event, Fact, Outcome
from intramural.core.actor import CONSOLE, SYSTEM, Actor
from intramural.core.clock import Clock
from intramural.core.errors import IntramuralError, Misasked, Missing, Refused
from intramural.library import Library, Manifest, PullState, Source
from intramural.library.provenance.anchors import read_anchors
from intramural.library.provenance.bundle import Bundle, Layout, blobs_known, lay_out, write_bundle
from intramural.library.provenance.carried import CarriedCatalogue
from intramural.library.provenance.imports import Imports
from intramural.library.provenance.levels import Standing, TrustPolicy
from intramural.library.provenance.lock import Change, LockedModel, Step, compare, locked, read_lock, write_lock
from intramural.library.provenance.signing import NamedDigest, SigningKey, sign
from intramural.library.sources.bundle import BundleSource
from intramural.services.gate import Gate
from intramural.services.models import Models

R = TypeVar("R")
P = TypeVar("P")
#: Sources that are a place on one machine: what a lock says of them cannot be got again on another.
_BY_HAND = ("file", "bundle", "ollama-store", "lmstudio")


@dataclass(frozen=True, slots=True)
class Checked:
    """A model checked again: `problem` is what is wrong with its bytes or its level, None if nothing is."""

    manifest: Manifest
    standing: Standing
    problem: IntramuralError | None


@dataclass(frozen=True, slots=True)
class Synced:
    """What is being done, or was done, about one model to make this machine match a lock."""

    name: str
    act: Literal["keep", "get", "replace", "remove", "extra"]
    state: Literal["planned", "doing", "done", "failed"]
    progress: PullState | None = None
    changes: tuple[Change, ...] = ()
    problem: IntramuralError | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """Bytes of a bundle written so far."""

    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Exported:
    """A finished bundle: the digest of its index, and what it left out because the other side has it."""

    path: Path
    models: tuple[str, ...]
    index_digest: str
    size_bytes: int
    left_out_bytes: int
    signed: bool


@dataclass(frozen=True, slots=True)
class Imported:
    """A bundle that was taken in."""

    manifests: tuple[Manifest, ...]
    signer: str | None


class Provenance:
    """Acts about where models come from. `parse` makes a source of its text; `catalogue` travels in bundles."""

    def __init__(
        self,
        gate: Gate,
        library: Library,
        models: Models,
        audit: AuditLog,
        clock: Clock,
        trust: TrustPolicy,
        parse: Callable[[str], Source],
        imports: Imports,
        catalogue: CarriedCatalogue,
    ) -> None:
        self._gate = gate
        self._library = library
        self._models = models
        self._audit = audit
        self._clock = clock
        self._trust = trust
        self._parse = parse
        self._imports = imports
        self._catalogue = catalogue

    # signatures -----------------------------------------------------------------------------------------------

    async def sign(self, actor: Actor, name: str, key: SigningKey) -> tuple[Manifest, Standing]:
        """Sign the model's files with a key on this machine, and keep the signature with it.

        Every byte is hashed first. Raises Misasked(`bad_signing_key`), Untrusted(`model_digest_mismatch`).
        """
        await self._gate.require(actor, Action.MODELS_SIGN, target=f"model:{name}")
        _require_here(actor)
        manifest = self._library.get(name)
        await self._library.verify(manifest)
        files = [NamedDigest(file.name, file.blob.digest) for file in manifest.files]
        signature = await asyncio.to_thread(sign, name, files, key)
        standing = await self._library.attach(name, signature)
        facts: dict[str, Fact] = {
            "weights": manifest.digest,
            "signature": _digest(signature),
            "signer": standing.signer,
            "trust": standing.trust,
        }
        await self._audit.record(Event.MODEL_SIGNED, actor, target=f"model:{name}", facts=facts)
        return self._library.get(name), standing

    async def signature(self, actor: Actor, name: str) -> bytes:
        """The model's signature, for whoever wants to check it elsewhere. Raises Missing(`signature_not_found`)."""
        await self._gate.require(actor, Action.MODELS_READ, target=f"model:{name}")
        found = self._library.signature(self._library.get(name).name)
        if found is None:
            raise Missing("signature_not_found", f"{name} has no signature.", f"Make one: `intramural sign {name}`.")
        return found

    async def check(self, actor: Actor, names: Sequence[str]) -> AsyncGenerator[Checked, None]:
        """Hash every byte of the models (none named: of all), check their signatures and levels again."""
        await self._gate.require(actor, Action.MODELS_LOAD, target=f"models:{','.join(names) or 'all'}")
        manifests = [self._library.get(name) for name in names] if names else self._library.list()
        for manifest in manifests:
            checked = await self._checked(manifest)
            facts: dict[str, Fact] = {
                "weights": manifest.digest,
                "trust": checked.standing.trust,
                "signer": checked.standing.signer,
                "code": checked.problem.code if checked.problem else None,
            }
            outcome: Outcome = "refused" if checked.problem else "allowed"
            await self._audit.record(
                Event.MODEL_VERIFIED, actor, target=f"model:{manifest.name}", outcome=outcome, facts=facts
            )
            yield checked

    async def _checked(self, manifest: Manifest) -> Checked:
        standing = await self._library.standing(manifest)
        try:
            await self._library.verify(manifest)
            self._trust.require(manifest.name, standing)
        except IntramuralError as error:
            return Checked(manifest, standing, error)
        weaker = standing.doubt if manifest.trust == "signed" and standing.trust != "signed" else None
        return Checked(manifest, standing, weaker)

    # models.lock ----------------------------------------------------------------------------------------------

    async def lock(self, actor: Actor) -> str:
        """The text of a `models.lock` of what is here."""
        await self._gate.require(actor, Action.MODELS_READ, target="models:lock")
        return write_lock(locked(manifest) for manifest in self._library.list())

    async def sync(
        self, actor: Actor, text: str, *, prune: bool = False, plan_only: bool = False
    ) -> AsyncGenerator[Synced, None]:
        """Make this machine have what the lock says: get what is absent, replace what differs, and with `prune`
        remove what is not in it. One model's failure does not keep the others from coming; the last state of each
        says how it ended. Raises Misasked(`bad_lock`).
        """
        await self._gate.require(actor, Action.MODELS_PULL, target="models:lock")
        if prune:
            await self._gate.require(actor, Action.MODELS_REMOVE, target="models:lock")
        steps = compare(read_lock(text), self._library.list())
        if plan_only:
            for step in steps:
                yield Synced(step.name, step.act, "done" if step.act == "keep" else "planned", changes=step.changes)
            return
        acts: dict[str, Fact] = {act: sum(step.act == act for step in steps) for act in ("keep", "get", "replace")}
        facts: dict[str, Fact] = {"lock": _digest(text.encode()), "prune": prune, **acts}
        await self._audit.record(Event.LIBRARY_SYNCED, actor, target="models:lock", facts=facts)
        for step in steps:
            async with aclosing(self._step(actor, step, prune=prune)) as states:
                async for state in states:
                    yield state

    async def _step(self, actor: Actor, step: Step, *, prune: bool) -> AsyncGenerator[Synced, None]:
        if step.model is None:
            if prune:
                await self._models.remove(actor, step.name)
            yield Synced(step.name, "remove" if prune else "extra", "done")
            return
        if step.act == "keep":
            yield Synced(step.name, "keep", "done")
            return
        model, target = step.model, f"model:{step.name}"

        async def get(tell: Callable[[PullState], None]) -> Manifest:
            return await self._get(model, tell)

        await self._audit.record(Event.MODEL_REQUESTED, actor, target=target, facts={"source": model.source})
        try:
            async with aclosing(_watched(get)) as states:
                async for state in states:
                    if isinstance(state, PullState):
                        yield Synced(step.name, step.act, "doing", state, step.changes)
                    else:
                        await self._audit.record(Event.MODEL_SHELVED, actor, target=target, facts=_facts(state))
        except IntramuralError as error:
            facts: dict[str, Fact] = {"code": error.code, "source": model.source}
            await self._audit.record(Event.MODEL_REFUSED, actor, target=target, outcome="refused", facts=facts)
            yield Synced(step.name, step.act, "failed", changes=step.changes, problem=error)
            return
        yield Synced(step.name, step.act, "done", changes=step.changes)

    async def _get(self, model: LockedModel, tell: Callable[[PullState], None]) -> Manifest:
        if model.source.partition(":")[0] in _BY_HAND:
            message = f"{model.name} was brought by hand ({model.source}), so nobody can be asked for it."
            hint = "Bring it again, as a bundle or a file under that name; then `sync` sees that it is there."
            raise Missing("lock_by_hand", message, hint)
        source = self._parse(model.source)
        return await self._library.pull(source, model.name, tell, locked=model, replace=True)

    # bundles --------------------------------------------------------------------------------------------------

    async def export(
        self,
        actor: Actor,
        names: Sequence[str],
        to: Path,
        *,
        key: SigningKey | None,
        have: Sequence[Path] = (),
        folder: bool = False,
    ) -> AsyncGenerator[Written | Exported, None]:
        """Write the models into a bundle at `to`; `have` are locks or bundles of what the other side has already.

        Raises as `write_bundle`; and Misasked(`nothing_to_export`).
        """
        await self._gate.require(actor, Action.MODELS_EXPORT, target=f"models:{','.join(names)}")
        _require_here(actor)
        layout = await self._laid_out(names, have)
        exported = Exported(
            path=to,
            models=tuple(sorted(set(names))),
            index_digest=_digest(layout.index),
            size_bytes=layout.size_bytes,
            left_out_bytes=sum(blob.size_bytes for blob in layout.left_out),
            signed=key is not None,
        )

        async def write(tell: Callable[[Written], None]) -> None:
            opener = self._library.open_unverified
            told = _told(tell, layout.size_bytes)
            await write_bundle(to, layout, opener, key=key, folder=folder, on_bytes=told)

        facts: dict[str, Fact] = {
            "models": list(exported.models),
            "index": exported.index_digest,
            "signed": exported.signed,
            "size_bytes": exported.size_bytes,
        }
        try:
            async with aclosing(_watched(write)) as states:
                async for state in states:
                    if state is not None:
                        yield state
        except IntramuralError as error:
            facts["code"] = error.code
            await self._audit.record(Event.BUNDLE_EXPORTED, actor, target="bundle", outcome="failed", facts=facts)
            raise
        await self._audit.record(Event.BUNDLE_EXPORTED, actor, target="bundle", facts=facts)
        yield exported

    async def _laid_out(self, names: Sequence[str], have: Sequence[Path]) -> Layout:
        if not names:
            raise Misasked("nothing_to_export", "No model is named.", "Name one or more; `intramural ls` lists them.")
        manifests = [self._library.get(name) for name in sorted(set(names))]
        now_s = self._clock.now_s()
        known = {blob for path in have for blob in await asyncio.to_thread(blobs_known, path)}
        extras = {"licences.json": _licences(manifests), "sbom.cdx.json": await self._bill(manifests, now_s)}
        extras |= await asyncio.to_thread(self._catalogue.members)
        models = [(manifest, self._library.signature(manifest.name)) for manifest in manifests]
        return lay_out(models, extras, known, made_ms=int(now_s * 1000))

    async def import_(
        self, actor: Actor, path: Path, *, replace: bool = False, older: bool = False
    ) -> AsyncGenerator[PullState | Imported, None]:
        """Check a bundle and take all of it in, or nothing. `replace`: models of the same names are replaced.

        Raises Untrusted (`bundle_…`, `signature_…`, `digest_mismatch`, what inspection finds), Refused(`bundle_older`,
        `trust_too_low`), Missing(`bundle_not_readable`, `bundle_delta`), Conflicting(`model_name_taken`).
        """
        await self._gate.require(actor, Action.MODELS_PULL, target=f"bundle:{path.name}")
        _require_here(actor)

        def accept(bundle: Bundle) -> None:
            self._catalogue.check(bundle)
            if not older:
                self._imports.require_newer(bundle)

        source = self._bundle_source(path, accept)
        target = f"bundle:{path.name}"
        done: Imported | None = None

        async def take(tell: Callable[[PullState], None]) -> Imported:
            return await self._take(source, tell, replace=replace)

        try:
            async with aclosing(_watched(take)) as states:
                async for state in states:
                    if isinstance(state, Imported):
                        done = state
                    else:
                        yield state
        except IntramuralError as error:
            facts: dict[str, Fact] = {"code": error.code}
            await self._audit.record(Event.BUNDLE_IMPORTED, actor, target=target, outcome="refused", facts=facts)
            raise
        assert done is not None
        await self._record_import(actor, target, done)
        yield done

    async def _take(self, source: BundleSource, tell: Callable[[PullState], None], *, replace: bool) -> Imported:
        manifests = await self._library.pull_all(source, tell, replace=replace)
        assert source.bundle is not None
        await asyncio.to_thread(self._imports.note, source.bundle)
        await asyncio.to_thread(self._catalogue.put, source.bundle)
        return Imported(tuple(manifests), source.bundle.signer)

    async def _record_import(self, actor: Actor, target: str, done: Imported) -> None:
        names = [manifest.name for manifest in done.manifests]
        facts: dict[str, Fact] = {"models": list(names), "signer": done.signer}
        await self._audit.record(Event.BUNDLE_IMPORTED, actor, target=target, facts=facts)
        for manifest in done.manifests:
            await self._audit.record(
                Event.MODEL_SHELVED, actor, target=f"model:{manifest.name}", facts=_facts(manifest)
            )

    def _bundle_source(self, path: Path, accept: Callable[[Bundle], None]) -> BundleSource:
        anchors = read_anchors(self._trust.folder or Path("/nonexistent"))
        return BundleSource(path, anchors, self._library.missing, now_s=self._clock.now_s(), accept=accept)

    # bills of materials ---------------------------------------------------------------------------------------

    async def bill(self, actor: Actor, names: Sequence[str] = ()) -> bytes:
        """CycloneDX of the named models; of none: of the whole installation."""
        await self._gate.require(actor, Action.BILL_READ, target=f"bill:{','.join(names) or 'installation'}")
        now_s = self._clock.now_s()
        if names:
            return await self._bill([self._library.get(name) for name in sorted(set(names))], now_s)
        from intramural.library.provenance.bom import bill_of_installation

        models = self._library.list()
        return (await asyncio.to_thread(bill_of_installation, models, version=__version__, now_s=now_s)).encode()

    async def _bill(self, models: Sequence[Manifest], now_s: float) -> bytes:
        from intramural.library.provenance.bom import bill_of_models

        return (await asyncio.to_thread(bill_of_models, models, version=__version__, now_s=now_s)).encode()


def _require_here(actor: Actor) -> None:
    """Raises Refused(`console_only`) for everybody who is not at the machine itself."""
    if actor not in (CONSOLE, SYSTEM):
        message = "Files of this machine are named only by whoever works on it."
        raise Refused("console_only", message, "Use the command line there: `intramural …`.")


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _facts(manifest: Manifest) -> dict[str, Fact]:
    return {
        "weights": manifest.digest,
        "source": manifest.source,
        "revision": manifest.revision,
        "trust": manifest.trust,
        "signer": manifest.signer,
    }


def _licences(manifests: Sequence[Manifest]) -> bytes:
    listed = [{"model": each.name, "licence": each.licence, "source": each.source} for each in manifests]
    return msgspec.json.format(msgspec.json.encode(listed), indent=1) + b"\n"


def _told(tell: Callable[[Written], None], total_bytes: int) -> Callable[[int], None]:
    return lambda done_bytes: tell(Written(done_bytes, total_bytes))


async def _watched(work: Callable[[Callable[[P], None]], Awaitable[R]]) -> AsyncGenerator[P | R, None]:
    """What `work` reports, of several reports at once only the last, then what it returns. Closing this cancels it."""
    reports: list[P] = []
    changed = asyncio.Event()

    def tell(report: P) -> None:
        reports.append(report)
        changed.set()

    task = asyncio.ensure_future(work(tell))
    task.add_done_callback(lambda _: changed.set())
    try:
        while not task.done():
            await changed.wait()
            changed.clear()
            if reports:
                last = reports[-1]
                reports.clear()
                yield last
        yield task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
