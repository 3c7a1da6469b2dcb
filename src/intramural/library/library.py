"""The library itself: lists, opens and removes models, and runs pulls as the table in `pull` says.

One *flight* per digest takes bytes from fetching to the shelf; every pull of the same digest rides on it, so that two
people who ask for the same model share one download.
"""

import asyncio
import functools
import hashlib
import os
import stat
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from msgspec import structs

from intramural.core.clock import Clock, SystemClock
from intramural.core.errors import Conflicting, IntramuralError, Misasked, Refused, Unavailable, Untrusted
from intramural.library.blobs import Blob, Blobs, digest_of, disk_error
from intramural.library.catalogue import POOLINGS
from intramural.library.facts import ModelFacts
from intramural.library.flight import Flight
from intramural.library.inspection import Inspect
from intramural.library.manifest import Manifest, ModelFile, Piece, Release, Trust, format_of, pieces
from intramural.library.names import parse_name
from intramural.library.provenance.levels import Standing, TrustPolicy, higher
from intramural.library.provenance.lock import LockedModel, require_locked
from intramural.library.provenance.signatures import Signatures
from intramural.library.pull import Event, PullState, advance, end
from intramural.library.shelf import Shelf
from intramural.library.snapshot import require_whole
from intramural.library.sources.port import Offer, OnThisDisk, Source, only_offer
from intramural.library.threads import in_thread

OnProgress = Callable[[PullState], None]
MAX_REASON = 500


@dataclass(frozen=True)
class Wish:
    """An offer somebody wants on the shelf under `name`, in the place of another model there if `replace`.

    `locked`: what a lock file says it must be.
    """

    name: str
    offer: Offer
    locked: LockedModel | None = None
    replace: bool = False


class Library:
    """Everything under `root`. `inspect` reads a header in a confined process; see `inspection.confined`. `trust` is
    what is asked of a model's origin before it is fetched and before it is loaded.

    Two processes may use one library: each part is locked while it is fetched. One event loop uses one `Library`.
    """

    def __init__(
        self, root: Path, inspect: Inspect, clock: Clock | None = None, trust: TrustPolicy | None = None
    ) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._blobs = Blobs(root)
        self._shelf = Shelf(root / "manifests")
        self._signatures = Signatures(root / "signatures")
        self._trust = trust or TrustPolicy()
        self._inspect = inspect
        self._clock = clock or SystemClock()
        self._flights: dict[str, Flight] = {}
        self._held: Counter[str] = Counter()

    def list(self) -> list[Manifest]:
        """Every model, by name. One whose manifest is damaged is left out; `get` says what is wrong with it."""
        return self._shelf.all()

    def get(self, name: str) -> Manifest:
        """One model. Raises Missing(`model_not_found`) naming what there is, Misasked(`bad_model_name`)."""
        return self._shelf.get(name)

    def remove(self, name: str) -> int:
        """Forget the model; its bytes go when no other refers to them. Returns the bytes freed.

        Raises Missing(`model_not_found`).
        """
        if parse_name(name) not in self._shelf.names():
            self._shelf.get(name)
        self._shelf.remove(name)
        self._signatures.put(name, None)
        return self.sweep()

    def sweep(self) -> int:
        """Remove blobs that no model refers to (a crash between the two writes of a pull leaves one). Bytes freed.

        Removes nothing while any manifest is damaged, for then nobody knows what it refers to.
        """
        with self._blobs.exclusive():
            referred = self._shelf.referred()
            if referred is None:
                return 0
            unused = [digest for digest in self._blobs.digests() if digest not in referred and not self._held[digest]]
            return sum(self._blobs.remove(digest) for digest in unused)

    def release(self, name: str, reason: str, by: str) -> Manifest:
        """Let a quarantined model be loaded from now on, because `by` says so for `reason`; its manifest keeps both.

        Raises Missing(`model_not_found`), Conflicting(`model_not_quarantined`), Misasked(`release_without_reason`).
        """
        released = Release(by, self.releasable(name, reason), int(self._clock.now_s() * 1000))
        manifest = structs.replace(self._shelf.get(name), released=released)
        self._shelf.put(manifest)
        return manifest

    def releasable(self, name: str, reason: str) -> str:
        """The reason on one line, if `release` would accept it. Raises as `release`; changes nothing."""
        manifest, reason = self._shelf.get(name), " ".join(reason.split())
        if not manifest.is_quarantined:
            hint = "`intramural show` says what was found about it, and who released it."
            raise Conflicting("model_not_quarantined", f"{manifest.name} is not quarantined.", hint, param="model")
        if not 0 < len(reason) <= MAX_REASON:
            message = f"A release needs a reason, of up to {MAX_REASON} characters."
            raise Misasked("release_without_reason", message, "Say why this model may be used.", param="reason")
        return reason

    def drop_incoming(self, digests: Sequence[str]) -> None:
        """Delete what came of these blobs and is not shelved; what another pull is fetching stays."""
        for digest in digests:
            if digest not in self._flights:
                self._blobs.drop_part(digest)

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
                opened.append(self._blobs.open(file.blob.digest))
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
        signature, came_ms = self._signatures.get(manifest.name), manifest.signed_ms or manifest.added_ms
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
        return self._signatures.get(name)

    async def attach(self, name: str, signature: bytes) -> Standing:
        """Keep `signature` as the model's. It counts if its signer is trusted here.

        Raises Missing(`model_not_found`), Untrusted when it is not a signature of this model's files.
        """
        manifest, now_s = self._shelf.get(name), self._clock.now_s()
        before: Trust = "local" if manifest.trust == "signed" else manifest.trust
        standing = await in_thread(self._trust.judge, manifest.files, before, signature, now_s=now_s)
        signed_ms = int(now_s * 1000) if standing.signer else None
        renewed = structs.replace(manifest, trust=standing.trust, signer=standing.signer, signed_ms=signed_ms)
        await in_thread(self._shelve, [renewed], {manifest.name: signature})
        return standing

    def open_unverified(self, digest: str) -> int:
        """A descriptor of a file on the shelf, for somebody who hashes what is read. Raises as `open_verified`."""
        return self._blobs.open(digest)

    def missing(self, blobs: Iterable[Blob]) -> Sequence[Blob]:
        """Those of `blobs` that are not on the shelf."""
        return [blob for blob in blobs if not self._blobs.has(blob)]

    async def pull(
        self,
        source: Source,
        name: str | None,
        on_progress: OnProgress,
        *,
        locked: LockedModel | None = None,
        replace: bool = False,
    ) -> Manifest:
        """Resolve, fetch, verify, inspect and shelve what `source` offers, under `name` or the name it suggests.

        With `locked` only exactly what it says is fetched, and its digests count as pinned. With `replace` another
        model of that name is replaced. `on_progress` hears of every step, and of bytes while fetching and verifying;
        the last state it hears is final. Cancelling keeps what came for a resume.

        Raises Untrusted (a check failed), Conflicting(`model_name_taken`, `pull_in_progress`),
        Refused(`trust_too_low`), Unavailable(`disk_full`) and whatever the source raises.
        """

        async def chosen() -> list[Wish]:
            offer = only_offer(await source.resolve())
            return [Wish(parse_name(name or offer.name), offer, locked, replace)]

        (manifest,) = await self._told(source, chosen, on_progress)
        return manifest

    async def pull_all(self, source: Source, on_progress: OnProgress, *, replace: bool = False) -> Sequence[Manifest]:
        """Like `pull`, for everything that `source` offers: all of it is shelved, or nothing is changed."""

        async def all_() -> list[Wish]:
            return [Wish(parse_name(offer.name), offer, replace=replace) for offer in await source.resolve()]

        try:
            return await self._told(source, all_, on_progress)
        except BaseException:
            await in_thread(self.sweep)
            raise

    async def _told(
        self, source: Source, wishes: Callable[[], Awaitable[Sequence[Wish]]], on_progress: OnProgress
    ) -> Sequence[Manifest]:
        progress = _Progress(on_progress)
        try:
            progress.tell(PullState())
            return await self._get(source, await wishes(), progress)
        except asyncio.CancelledError:
            progress.end(None)
            raise
        except IntramuralError as error:
            progress.end(error)
            raise
        except OSError as error:
            failed = disk_error(error)
            progress.end(failed)
            raise failed from error

    async def _get(self, source: Source, wishes: Sequence[Wish], progress: "_Progress") -> Sequence[Manifest]:
        standings = [await self._judged(wish) for wish in wishes]
        for wish in wishes:
            require_whole(pieces(wish.offer.files))
            self._require_free(wish)
        try:
            with self._holding([wish.offer for wish in wishes]):
                facts = await self._ride_all(source, [wish.offer for wish in wishes], progress)
                added_ms = int(self._clock.now_s() * 1000)
                manifests = [
                    _still_released(_manifest(wish, standing, each, added_ms=added_ms), self._shelf.find(wish.name))
                    for wish, standing, each in zip(wishes, standings, facts, strict=True)
                ]
                for wish in wishes:
                    self._require_free(wish)
                await in_thread(self._shelve, manifests, {wish.name: wish.offer.signature for wish in wishes})
        except Untrusted:
            await in_thread(self.sweep)  # files that were in order by themselves, of a model that is not
            raise
        progress.tell(advance(progress.state, Event.STORED))
        return manifests

    async def _judged(self, wish: Wish) -> Standing:
        """What is established before anything is fetched. Raises Untrusted, Refused(`trust_too_low`)."""
        offer = wish.offer
        now_s = self._clock.now_s()
        standing = await in_thread(self._trust.judge, offer.files, offer.trust, offer.signature, now_s=now_s)
        if wish.locked is not None:
            require_locked(wish.locked, offer.files, offer.revision, standing.signer)
            standing = replace(standing, trust=higher(standing.trust, "pinned"))
        self._trust.require(wish.name, standing)
        return standing

    def _shelve(self, manifests: Sequence[Manifest], signatures: Mapping[str, bytes | None]) -> None:
        with self._blobs.exclusive():
            if not all(self._blobs.has(file.blob) for manifest in manifests for file in manifest.files):
                raise Unavailable("weights_removed", "Another process removed the weights meanwhile.", "Pull it again.")
            for manifest in manifests:
                self._signatures.put(manifest.name, signatures[manifest.name])
                self._shelf.put(manifest)

    def _require_free(self, wish: Wish) -> None:
        there = None if wish.replace else self._shelf.find(wish.name)
        if there is not None and [f.blob for f in there.files] != [f.blob for f in wish.offer.files]:
            hint = f"Remove it first (`intramural rm {wish.name}`), or give the new one another name."
            raise Conflicting("model_name_taken", f"{wish.name} is already another model's name.", hint, param="name")

    @contextmanager
    def _holding(self, offers: Sequence[Offer]) -> Iterator[None]:
        """Nothing sweeps the blobs away between their arrival and their manifest's."""
        digests = [file.blob.digest for offer in offers for file in offer.files]
        self._held.update(digests)
        try:
            yield
        finally:
            self._held.subtract(digests)

    async def _ride_all(self, source: Source, offers: Sequence[Offer], progress: "_Progress") -> Sequence[ModelFacts]:
        """One file after another: what an earlier one is refused for need not be fetched of the others."""
        blobs = [file.blob for offer in offers for file in offer.files]
        if not isinstance(source, OnThisDisk):  # what can be linked needs no room
            self._blobs.require_room(sum(self._blobs.missing_bytes(blob) for blob in set(blobs)))
        digests = tuple(blob.digest for blob in blobs)
        done_bytes, total_bytes = 0, sum(blob.size_bytes for blob in blobs)
        facts: list[ModelFacts] = []
        for offer in offers:
            found = None
            # What is small goes first, and may save fetching the weights.
            for file, piece in sorted(zip(offer.files, pieces(offer.files), strict=True), key=_after_support):
                rider = _FileProgress(progress, done_bytes, total_bytes, digests)
                found = await self._ride(source, offer, file, piece, rider)
                done_bytes += file.blob.size_bytes
            if found is None or len(offer.files) > 1:
                found = await self._inspected_together(offer)
            facts.append(found)
        return facts

    async def _inspected_together(self, offer: Offer) -> ModelFacts:
        """The facts of a model of several files, each of which is on the shelf and in order by itself."""
        opened: list[int] = []
        try:
            opened.extend(self._blobs.open(file.blob.digest) for file in offer.files)
            return await self._inspect.together(opened, pieces(offer.files))
        finally:
            close_all(opened)

    async def _ride(
        self, source: Source, offer: Offer, file: ModelFile, piece: Piece, rider: "_FileProgress"
    ) -> ModelFacts | None:
        """Join the flight of this blob, or start it. Another's failed flight is not held against this source."""
        digest = file.blob.digest
        while True:
            flight = self._flights.get(digest)
            if flight is not None and (flight.is_over or flight.piece != piece):
                await asyncio.wait([flight.task])  # until it has let go of everything
                self._forget(digest, flight)
                continue
            mine = flight is None
            if flight is None:
                flight = self._flights[digest] = Flight(self._blobs, self._inspect, source, offer, file, piece)
                flight.task.add_done_callback(functools.partial(self._forget, digest, flight))
            try:
                return await flight.ride(rider)
            except IntramuralError:
                if mine:
                    raise
            rider.tell(PullState())

    def _forget(self, digest: str, over: Flight, _task: object = None) -> None:
        if self._flights.get(digest) is over:
            del self._flights[digest]
        if not over.task.cancelled():
            over.task.exception()  # looked at: whoever waited was told


class _Progress:
    """The last state a pull reported."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self.state = PullState()

    def tell(self, state: PullState) -> None:
        self.state = state
        self._on_progress(state)

    def end(self, error: IntramuralError | None) -> None:
        if not self.state.is_final:
            self.tell(end(self.state, error))


@dataclass(frozen=True)
class _FileProgress:
    """One file's flight as part of its pull: `before_bytes` of `total_bytes` are there already."""

    pull: _Progress
    before_bytes: int
    total_bytes: int
    digests: tuple[str, ...]

    def tell(self, state: PullState) -> None:
        done_bytes = self.before_bytes + state.done_bytes
        self.pull.tell(replace(state, done_bytes=done_bytes, total_bytes=self.total_bytes, digests=self.digests))


def _after_support(part: tuple[ModelFile, Piece]) -> bool:
    return part[1].role != "support"


def close_all(descriptors: Iterable[int]) -> None:
    """Close each of them."""
    for each in descriptors:
        os.close(each)


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


def _still_released(manifest: Manifest, before: Manifest | None) -> Manifest:
    """A release holds when the same bytes are pulled again, for what was found then."""
    same = before is not None and (before.digest, before.quarantine) == (manifest.digest, manifest.quarantine)
    return structs.replace(manifest, released=before.released) if before is not None and same else manifest


def _manifest(wish: Wish, standing: Standing, facts: ModelFacts, *, added_ms: int) -> Manifest:
    offer, template = wish.offer, facts.template
    return Manifest(
        name=wish.name,
        weights=offer.files[0].blob,
        weights_name=offer.files[0].name,
        format=format_of(offer.files),
        more=offer.files[1:],
        architecture=facts.architecture,
        parameters=facts.parameters,
        quantisation=facts.quantisation,
        trained_context_tokens=facts.trained_context_tokens,
        has_chat_template=template is not None,
        template=template,
        template_digest=template and f"sha256:{hashlib.sha256(template.encode()).hexdigest()}",
        pooling=POOLINGS.get(offer.files[0].blob.digest, facts.pooling),
        licence=offer.licence,
        source=offer.source,
        revision=offer.revision,
        trust=standing.trust,
        signer=standing.signer,
        signed_ms=added_ms if standing.signer else None,
        added_ms=added_ms,
        shape=facts.shape,
        quarantine=facts.findings,
    )


def _require_protected(descriptor: int) -> None:
    """Nobody but their owner could have given himself leave to write to the weights after they are hashed."""
    if os.fstat(descriptor).st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        message = "The weights could be changed by other users of this machine."
        raise Untrusted("model_file_writable", message, "Set the file's mode to 0444, or pull the model again.")
