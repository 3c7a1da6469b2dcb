"""Bundles of models that cross an air gap, out and in.

Paths of bundles and keys are this machine's, so they are taken from whoever sits at it (the private socket) alone.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import msgspec

from intramural.access import Action
from intramural.audit import AuditLog, Event, Fact
from intramural.core.actor import Actor
from intramural.core.clock import Clock
from intramural.core.errors import IntramuralError, Misasked
from intramural.library import Library, Manifest, PullState
from intramural.library.provenance.anchors import read_anchors
from intramural.library.provenance.bundle import Bundle, Layout, blobs_known, lay_out, write_bundle
from intramural.library.provenance.carried import CarriedCatalogue
from intramural.library.provenance.imports import Imports
from intramural.library.provenance.levels import TrustPolicy
from intramural.library.provenance.signing import SigningKey
from intramural.library.sources.bundle import BundleSource
from intramural.services.arrival import arrival
from intramural.services.gate import Gate, require_here
from intramural.services.provenance import bill_of
from intramural.services.watched import watched


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


class Bundles:
    """`imports` remembers what came; `catalogue` travels in bundles."""

    def __init__(
        self,
        gate: Gate,
        library: Library,
        audit: AuditLog,
        clock: Clock,
        trust: TrustPolicy,
        imports: Imports,
        catalogue: CarriedCatalogue,
    ) -> None:
        self._gate = gate
        self._library = library
        self._audit = audit
        self._clock = clock
        self._trust = trust
        self._imports = imports
        self._catalogue = catalogue

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
        require_here(actor)
        layout = await self._laid_out(names, have)
        exported = Exported(
            path=to,
            models=tuple(sorted(set(names))),
            index_digest=f"sha256:{hashlib.sha256(layout.index).hexdigest()}",
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
            async with aclosing(watched(write)) as states:
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
        extras = {"licences.json": _licences(manifests), "sbom.cdx.json": await bill_of(manifests, now_s)}
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
        require_here(actor)

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
            async with aclosing(watched(take)) as states:
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
            event, facts = arrival(manifest)
            await self._audit.record(event, actor, target=f"model:{manifest.name}", facts=facts)

    def _bundle_source(self, path: Path, accept: Callable[[Bundle], None]) -> BundleSource:
        anchors = read_anchors(self._trust.folder or Path("/nonexistent"))
        return BundleSource(path, anchors, self._library.missing, now_s=self._clock.now_s(), accept=accept)


def _licences(manifests: Sequence[Manifest]) -> bytes:
    listed = [{"model": each.name, "licence": each.licence, "source": each.source} for each in manifests]
    return msgspec.json.format(msgspec.json.encode(listed), indent=1) + b"\n"


def _told(tell: Callable[[Written], None], total_bytes: int) -> Callable[[int], None]:
    return lambda done_bytes: tell(Written(done_bytes, total_bytes))
