"""Running pulls, as the table in `pull` says.

One *flight* per digest takes bytes from fetching to the shelf; every pull of the same digest rides on it, so that two
people who ask for the same model share one download.
"""

import asyncio
import functools
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from msgspec import structs

from intramural.core.clock import Clock
from intramural.core.errors import Conflicting, IntramuralError, Untrusted
from intramural.library.blobs import close_all, disk_error
from intramural.library.catalogue import POOLINGS
from intramural.library.facts import ModelFacts
from intramural.library.flight import Flight
from intramural.library.inspection import Inspect
from intramural.library.manifest import Manifest, ModelFile, Piece, format_of, pieces
from intramural.library.names import parse_name
from intramural.library.provenance.levels import Standing, TrustPolicy, higher
from intramural.library.provenance.lock import LockedModel, require_locked
from intramural.library.pull import Event, PullState, advance, end
from intramural.library.snapshot import require_whole
from intramural.library.sources.port import Offer, OnThisDisk, Source, only_offer
from intramural.library.stock import Stock
from intramural.library.threads import in_thread

OnProgress = Callable[[PullState], None]


@dataclass(frozen=True)
class Wish:
    """An offer somebody wants on the shelf under `name`, in the place of another model there if `replace`.

    `locked`: what a lock file says it must be.
    """

    name: str
    offer: Offer
    locked: LockedModel | None = None
    replace: bool = False


class Pulling:
    """Brings what sources offer into `stock`. One event loop uses one `Pulling`."""

    def __init__(self, stock: Stock, inspect: Inspect, clock: Clock, trust: TrustPolicy) -> None:
        self._stock = stock
        self._inspect = inspect
        self._clock = clock
        self._trust = trust
        self._flights: dict[str, Flight] = {}

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
            await in_thread(self._stock.sweep)
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
            with self._stock.holding([wish.offer for wish in wishes]):
                facts = await self._ride_all(source, [wish.offer for wish in wishes], progress)
                added_ms = int(self._clock.now_s() * 1000)
                manifests = [
                    _still_released(_manifest(wish, standing, each, added_ms), self._stock.shelf.find(wish.name))
                    for wish, standing, each in zip(wishes, standings, facts, strict=True)
                ]
                for wish in wishes:
                    self._require_free(wish)
                await in_thread(self._stock.put, manifests, {wish.name: wish.offer.signature for wish in wishes})
        except Untrusted:
            await in_thread(self._stock.sweep)  # files that were in order by themselves, of a model that is not
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

    def _require_free(self, wish: Wish) -> None:
        there = None if wish.replace else self._stock.shelf.find(wish.name)
        if there is not None and [f.blob for f in there.files] != [f.blob for f in wish.offer.files]:
            raise name_taken(wish.name)

    def drop_incoming(self, digests: Sequence[str]) -> None:
        """Delete what came of these blobs and is not shelved; what another pull is fetching stays."""
        for digest in digests:
            if digest not in self._flights:
                self._stock.blobs.drop_part(digest)

    async def _ride_all(self, source: Source, offers: Sequence[Offer], progress: "_Progress") -> Sequence[ModelFacts]:
        """One file after another: what an earlier one is refused for need not be fetched of the others."""
        blobs = [file.blob for offer in offers for file in offer.files]
        if not isinstance(source, OnThisDisk):  # what can be linked needs no room
            self._stock.blobs.require_room(sum(self._stock.blobs.missing_bytes(blob) for blob in set(blobs)))
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
            opened.extend(self._stock.blobs.open(file.blob.digest) for file in offer.files)
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
                flight = self._flights[digest] = Flight(self._stock.blobs, self._inspect, source, offer, file, piece)
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


def name_taken(name: str) -> Conflicting:
    """The error for a name that a model of other bytes has."""
    hint = f"Remove it first (`intramural rm {name}`), or give the new one another name."
    return Conflicting("model_name_taken", f"{name} is already another model's name.", hint, param="name")


def _after_support(part: tuple[ModelFile, Piece]) -> bool:
    return part[1].role != "support"


def _still_released(manifest: Manifest, before: Manifest | None) -> Manifest:
    """A release holds when the same bytes are pulled again, for what was found then."""
    same = before is not None and (before.digest, before.quarantine) == (manifest.digest, manifest.quarantine)
    return structs.replace(manifest, released=before.released) if before is not None and same else manifest


def _manifest(wish: Wish, standing: Standing, facts: ModelFacts, added_ms: int) -> Manifest:
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
