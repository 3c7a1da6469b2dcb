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
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from intramural.core.clock import Clock, SystemClock
from intramural.core.errors import Conflicting, IntramuralError, Misasked, Missing, Unavailable, Untrusted
from intramural.library.blobs import Blobs, digest_of, disk_error
from intramural.library.facts import ModelFacts
from intramural.library.flight import Flight
from intramural.library.inspection import Inspect
from intramural.library.manifest import Manifest, ModelFile, Piece, pieces
from intramural.library.names import parse_name
from intramural.library.pull import Event, PullState, advance, end
from intramural.library.shelf import Shelf
from intramural.library.sources.port import Offer, Source
from intramural.library.threads import in_thread

OnProgress = Callable[[PullState], None]


class Library:
    """Everything under `root`. `inspect` reads a header in a confined process; see `inspection.confined`.

    Two processes may use one library: each part is locked while it is fetched. One event loop uses one `Library`.
    """

    def __init__(self, root: Path, inspect: Inspect, clock: Clock | None = None) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._blobs = Blobs(root)
        self._shelf = Shelf(root / "manifests")
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

    async def open_verified(self, manifest: Manifest) -> Sequence[int]:
        """Read-only descriptors of the model's files, in order; every byte was hashed through that descriptor just now.

        Load the model from them, never from a path. The caller closes them. Raises Untrusted(`model_file_missing`,
        `model_file_writable`, `model_digest_mismatch`).
        """
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
        """Hash every file. Raises as `open_verified`."""
        close_all(await self.open_verified(manifest))

    async def pull(self, source: Source, name: str | None, on_progress: OnProgress) -> Manifest:
        """Resolve, fetch, verify, inspect and shelve what `source` offers, under `name` or the name it suggests.

        `on_progress` hears of every step, and of bytes while fetching and verifying; the last state it hears is final.
        Cancelling keeps what came for a resume. Raises Untrusted (a check failed), Conflicting(`model_name_taken`,
        `pull_in_progress`), Unavailable(`disk_full`) and whatever the source raises.
        """
        progress = _Progress(on_progress)
        try:
            return await self._pull(source, name, progress)
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

    async def _pull(self, source: Source, name: str | None, progress: "_Progress") -> Manifest:
        progress.tell(PullState())
        offer = _only(await source.resolve())
        name = parse_name(name or offer.name)
        self._require_free(name, offer)
        with self._holding(offer):
            facts = await self._ride_all(source, offer, progress)
            manifest = _manifest(name, offer, facts, added_ms=int(self._clock.now_s() * 1000))
            self._require_free(name, offer)
            await in_thread(self._shelve, manifest)
        progress.tell(advance(progress.state, Event.STORED))
        return manifest

    def _shelve(self, manifest: Manifest) -> None:
        with self._blobs.exclusive():
            if not all(self._blobs.has(file.blob) for file in manifest.files):
                raise Unavailable("weights_removed", "Another process removed the weights meanwhile.", "Pull it again.")
            self._shelf.put(manifest)

    def _require_free(self, name: str, offer: Offer) -> None:
        there = self._shelf.find(name)
        if there is not None and [f.blob for f in there.files] != [f.blob for f in offer.files]:
            hint = f"Remove it first (`intramural rm {name}`), or give the new one another name."
            raise Conflicting("model_name_taken", f"{name} is already another model's name.", hint, param="name")

    @contextmanager
    def _holding(self, offer: Offer) -> Iterator[None]:
        """Nothing sweeps the blobs away between their arrival and their manifest's."""
        digests = [file.blob.digest for file in offer.files]
        self._held.update(digests)
        try:
            yield
        finally:
            self._held.subtract(digests)

    async def _ride_all(self, source: Source, offer: Offer, progress: "_Progress") -> Sequence[ModelFacts]:
        """One file after another: what an earlier one is refused for need not be fetched of the others."""
        total_bytes = sum(file.blob.size_bytes for file in offer.files)
        self._blobs.require_room(sum(self._blobs.missing_bytes(file.blob) for file in offer.files))
        done_bytes, facts = 0, []
        for file, piece in zip(offer.files, pieces(offer.files), strict=True):
            rider = _FileProgress(progress, done_bytes, total_bytes)
            facts.append(await self._ride(source, offer, file, piece, rider))
            done_bytes += file.blob.size_bytes
        return facts

    async def _ride(
        self, source: Source, offer: Offer, file: ModelFile, piece: Piece, rider: "_FileProgress"
    ) -> ModelFacts:
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

    def tell(self, state: PullState) -> None:
        self.pull.tell(replace(state, done_bytes=self.before_bytes + state.done_bytes, total_bytes=self.total_bytes))


def close_all(descriptors: Iterable[int]) -> None:
    """Close each of them."""
    for each in descriptors:
        os.close(each)


def _only(offers: Sequence[Offer]) -> Offer:
    if not offers:
        raise Missing("source_empty", "The source has no model.", "Check what it names.", param="source")
    if len(offers) > 1:
        names = ", ".join(offer.name for offer in offers)
        raise Misasked("source_ambiguous", "The source has several models.", f"Name one of: {names}.", param="source")
    return offers[0]


def _manifest(name: str, offer: Offer, facts: Sequence[ModelFacts], *, added_ms: int) -> Manifest:
    first = facts[0]
    shards = [each for each, file in zip(facts, offer.files, strict=True) if file.role == "weights"]
    template = first.template
    return Manifest(
        name=name,
        weights=offer.files[0].blob,
        weights_name=offer.files[0].name,
        more=offer.files[1:],
        architecture=first.architecture,
        parameters=sum(each.parameters for each in shards),
        quantisation=first.quantisation,
        trained_context_tokens=first.trained_context_tokens,
        has_chat_template=template is not None,
        template=template,
        template_digest=template and f"sha256:{hashlib.sha256(template.encode()).hexdigest()}",
        pooling=first.pooling,
        licence=offer.licence,
        source=offer.source,
        revision=offer.revision,
        trust=offer.trust,
        added_ms=added_ms,
        shape=first.shape,
    )


def _require_protected(descriptor: int) -> None:
    """Nobody but their owner could have given himself leave to write to the weights after they are hashed."""
    if os.fstat(descriptor).st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        message = "The weights could be changed by other users of this machine."
        raise Untrusted("model_file_writable", message, "Set the file's mode to 0444, or pull the model again.")
