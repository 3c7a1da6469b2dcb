"""The library itself: lists, opens, releases, signs and removes models; how they come is `pulling`."""

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import structs

from intramural.core.clock import Clock, SystemClock
from intramural.core.errors import Conflicting, Misasked, Refused, Untrusted
from intramural.library.blobs import Blob, close_all, digest_of
from intramural.library.defaults import Defaults
from intramural.library.inspection import Inspect
from intramural.library.manifest import Manifest, Release, Trust, format_of
from intramural.library.names import parse_name
from intramural.library.provenance.levels import Standing, TrustPolicy
from intramural.library.provenance.lock import LockedModel
from intramural.library.pulling import OnProgress, Pulling, name_taken
from intramural.library.sources.port import Offer, Source
from intramural.library.stock import Stock
from intramural.library.threads import in_thread

MAX_REASON = 500


class Library:
    """Everything under `root`. `inspect` reads a header in a confined process; see `inspection.confined`. `trust` is
    what is asked of a model's origin before it is fetched and before it is loaded.

    Two processes may use one library: each part is locked while it is fetched. One event loop uses one `Library`.
    """

    def __init__(
        self, root: Path, inspect: Inspect, clock: Clock | None = None, trust: TrustPolicy | None = None
    ) -> None:
        self._stock = Stock(root)
        self._trust = trust or TrustPolicy()
        self._clock = clock or SystemClock()
        self._pulling = Pulling(self._stock, inspect, self._clock, self._trust)

    def list(self) -> list[Manifest]:
        """Every model, by name. One whose manifest is damaged is left out; `get` says what is wrong with it."""
        return self._stock.shelf.all()

    def get(self, name: str) -> Manifest:
        """One model. Raises Missing(`model_not_found`) naming what there is, Misasked(`bad_model_name`)."""
        return self._stock.shelf.get(name)

    def find(self, name: str) -> Manifest | None:
        """One model, None if there is none. Raises Misasked(`bad_model_name`), Broken(`bad_manifest`)."""
        return self._stock.shelf.find(name)

    def remove(self, name: str) -> int:
        """Forget the model; its bytes go when no other refers to them. Returns the bytes freed.

        Raises Missing(`model_not_found`).
        """
        return self._stock.remove(name)

    def sweep(self) -> int:
        """As `Stock.sweep`."""
        return self._stock.sweep()

    def release(self, name: str, reason: str, by: str) -> Manifest:
        """Let a quarantined model be loaded from now on, because `by` says so for `reason`; its manifest keeps both.

        Raises Missing(`model_not_found`), Conflicting(`model_not_quarantined`), Misasked(`release_without_reason`).
        """
        released = Release(by, self.releasable(name, reason), int(self._clock.now_s() * 1000))
        manifest = structs.replace(self._stock.shelf.get(name), released=released)
        self._stock.shelf.put(manifest)
        return manifest

    def releasable(self, name: str, reason: str) -> str:
        """The reason on one line, if `release` would accept it. Raises as `release`; changes nothing."""
        manifest = self._stock.shelf.get(name)
        if not manifest.is_quarantined:
            hint = "`intramural show` says what was found about it, and who released it."
            raise Conflicting("model_not_quarantined", f"{manifest.name} is not quarantined.", hint, param="model")
        return stated(reason)

    async def open_verified(self, manifest: Manifest) -> Sequence[int]:
        """Read-only descriptors of the model's files, in order; every byte was hashed through that descriptor just now.

        Load the model from them, never from a path. The caller closes them. Raises Refused(`no_engine_for_format`,
        `model_quarantined`, `trust_too_low`), Untrusted(`model_file_missing`, `model_file_writable`,
        `model_digest_mismatch`).
        """
        require_engine(manifest)
        require_released(manifest)
        self._trust.require(manifest.name, await self.standing(manifest))
        return await self._open_hashed(manifest)

    async def _open_hashed(self, manifest: Manifest) -> Sequence[int]:
        opened = []
        try:
            for file in manifest.files:
                opened.append(self._stock.blobs.open(file.blob.digest))
                _require_protected(opened[-1])
                if await digest_of(opened[-1], file.blob.size_bytes) != file.blob:
                    message = f"The weights of {manifest.name} are not the bytes that were pulled ({file.name})."
                    raise Untrusted("model_digest_mismatch", message, "Remove the model and pull it again.")
        except BaseException:
            close_all(opened)
            raise
        return opened

    async def verify(self, manifest: Manifest) -> None:
        """Hash every file, whatever the model's level or quarantine. Raises Untrusted as `open_verified`."""
        close_all(await self._open_hashed(manifest))

    async def standing(self, manifest: Manifest) -> Standing:
        """How well the model's origin is established now: a signature counts while its signer is trusted here.

        Certificates must have been valid when the signature came here; there is no other time to go by.
        """
        if manifest.trust != "signed":
            return Standing(manifest.trust)
        signature, came_ms = self._stock.signatures.get(manifest.name), manifest.signed_ms or manifest.added_ms
        if signature is None:
            lost = Untrusted("signature_missing", "Its signature is no longer in the library.", "Pull the model again.")
            return Standing("local", doubt=lost)
        try:
            signer = await in_thread(self._trust.signer_of, manifest.files, signature, now_s=came_ms / 1000)
        except Untrusted as error:
            return Standing("local", doubt=error)
        return Standing("signed", str(signer))

    def signature(self, name: str) -> bytes | None:
        """The signature that came with the model, or was made here; None if there is none."""
        return self._stock.signatures.get(name)

    async def attach(self, name: str, signature: bytes) -> Standing:
        """Keep `signature` as the model's. It counts if its signer is trusted here.

        Raises Missing(`model_not_found`), Untrusted when it is not a signature of this model's files.
        """
        manifest, now_s = self._stock.shelf.get(name), self._clock.now_s()
        before: Trust = "local" if manifest.trust == "signed" else manifest.trust
        standing = await in_thread(self._trust.judge, manifest.files, before, signature, now_s=now_s)
        signed_ms = int(now_s * 1000) if standing.signer else None
        renewed = structs.replace(manifest, trust=standing.trust, signer=standing.signer, signed_ms=signed_ms)
        await in_thread(self._stock.put, [renewed], {manifest.name: signature})
        return standing

    def derived(self, base: str, name: str, defaults: Defaults | None) -> Manifest:
        """A manifest for `name`: the files of `base`, and `defaults` for what requests leave open. Changes nothing.

        Raises Missing(`model_not_found`), Misasked(`bad_model_name`), Conflicting(`model_name_taken`) where `name` is a
        model of other files.
        """
        found, name = self._stock.shelf.get(base), parse_name(name)
        there = self._stock.shelf.find(name)
        if there is not None and [f.blob for f in there.files] != [f.blob for f in found.files]:
            raise name_taken(name)
        origin = found.base if name == found.name else found.base or found.name
        added_ms = int(self._clock.now_s() * 1000)
        return structs.replace(
            found, name=name, added_ms=added_ms, defaults=defaults, base=None if origin == name else origin
        )

    def put_derived(self, manifest: Manifest, base: str) -> None:
        """Write what `derived` made of `base`, whose signature goes along. Raises Unavailable(`weights_removed`)."""
        self._stock.put([manifest], {manifest.name: self._stock.signatures.get(base)})

    def open_unverified(self, digest: str) -> int:
        """A descriptor of a file on the shelf, for somebody who hashes what is read. Raises as `open_verified`."""
        return self._stock.blobs.open(digest)

    def missing(self, blobs: Iterable[Blob]) -> Sequence[Blob]:
        """Those of `blobs` that are not on the shelf."""
        return [blob for blob in blobs if not self._stock.blobs.has(blob)]

    async def pull(
        self,
        source: Source,
        name: str | None,
        on_progress: OnProgress,
        *,
        locked: LockedModel | None = None,
        replace: bool = False,
    ) -> Manifest:
        """As `Pulling.pull`: one model, on the shelf when this returns."""
        return await self._pulling.pull(source, name, on_progress, locked=locked, replace=replace)

    async def pull_all(self, source: Source, on_progress: OnProgress, *, replace: bool = False) -> Sequence[Manifest]:
        """As `Pulling.pull_all`: everything the source has, or nothing."""
        return await self._pulling.pull_all(source, on_progress, replace=replace)

    def drop_incoming(self, digests: Sequence[str]) -> None:
        """As `Pulling.drop_incoming`: what came of these blobs and is not shelved goes."""
        self._pulling.drop_incoming(digests)


def stated(reason: str) -> str:
    """The reason for a release, on one line. Raises Misasked(`release_without_reason`)."""
    reason = " ".join(reason.split())
    if not 0 < len(reason) <= MAX_REASON:
        message = f"A release needs a reason, of up to {MAX_REASON} characters."
        raise Misasked("release_without_reason", message, "Say why this model may be used.", param="reason")
    return reason


def require_engine(model: Manifest | Offer) -> None:
    """Raises Refused(`no_engine_for_format`) for a model that is kept here and cannot be loaded."""
    if (format_ := format_of(model.files)) not in ("gguf", "onnx"):
        message = f"{model.name} is in the format {format_}, which no engine here serves."
        raise Refused("no_engine_for_format", message, "Get a GGUF variant of it: `intramural search` lists some.")


def require_released(manifest: Manifest) -> None:
    """Raises Refused(`model_quarantined`), saying why and what to do."""
    if manifest.is_quarantined:
        first = manifest.quarantine[0]
        more = f" (and {len(manifest.quarantine) - 1} more)" if manifest.quarantine[1:] else ""
        raise Refused(
            "model_quarantined",
            f"{manifest.name} is quarantined: chat template, line {first.line}: {first.message}{more}",
            f"An administrator can allow it: intramural release {manifest.name} --reason …",
        )


def _require_protected(descriptor: int) -> None:
    """Nobody but their owner could have given himself leave to write to the weights after they are hashed."""
    if os.fstat(descriptor).st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        message = "The weights could be changed by other users of this machine."
        raise Untrusted("model_file_writable", message, "Set the file's mode to 0444, or pull the model again.")
