"""The library itself: lists, opens and removes models, and runs pulls as the table in `pull` says.

One *flight* per digest takes bytes from fetching to the shelf; every pull of the same digest rides on it, so that two
people who ask for the same model share one download. A flight that nobody waits for any more is cancelled.
"""

import asyncio
import functools
import hashlib
import os
import stat
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path

from intramural.core.clock import Clock, SystemClock
from intramural.core.errors import Broken, Conflicting, IntramuralError, Misasked, Missing, Unavailable, Untrusted
from intramural.library.blobs import Blob, Blobs, Part, digest_of, disk_error
from intramural.library.facts import ModelFacts
from intramural.library.inspection import Inspect
from intramural.library.manifest import Manifest
from intramural.library.names import parse_name
from intramural.library.pull import Event, PullState, Step, advance, end
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
        self._flights: dict[str, _Flight] = {}
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

    async def open_verified(self, manifest: Manifest) -> int:
        """A read-only descriptor of the weights whose every byte was hashed through that same descriptor just now.

        Load the model from it, never from a path. The caller closes it. Raises Untrusted(`model_file_missing`,
        `model_file_writable`, `model_digest_mismatch`).
        """
        descriptor = self._blobs.open(manifest.weights.digest)
        try:
            _require_protected(descriptor)
            found = await digest_of(descriptor, manifest.weights.size_bytes)
            if found != manifest.weights:
                message = f"The weights of {manifest.name} are not the bytes that were pulled."
                raise Untrusted("model_digest_mismatch", message, "Remove the model and pull it again.")
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    async def verify(self, manifest: Manifest) -> None:
        """Hash the weights. Raises as `open_verified`."""
        os.close(await self.open_verified(manifest))

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
        self._require_free(name, offer.blob)
        with self._holding(offer.blob.digest):
            facts = await self._ride(source, offer, progress)
            manifest = _manifest(name, offer, facts, added_ms=int(self._clock.now_s() * 1000))
            self._require_free(name, offer.blob)
            await in_thread(self._shelve, manifest)
        progress.tell(advance(progress.state, Event.STORED))
        return manifest

    def _shelve(self, manifest: Manifest) -> None:
        with self._blobs.exclusive():
            if not self._blobs.has(manifest.weights):
                raise Unavailable("weights_removed", "Another process removed the weights meanwhile.", "Pull it again.")
            self._shelf.put(manifest)

    def _require_free(self, name: str, blob: Blob) -> None:
        there = self._shelf.find(name)
        if there is not None and there.weights != blob:
            hint = f"Remove it first (`intramural rm {name}`), or give the new one another name."
            raise Conflicting("model_name_taken", f"{name} is already another model's name.", hint, param="name")

    @contextmanager
    def _holding(self, digest: str) -> Iterator[None]:
        """Nothing sweeps the blob away between its arrival and its manifest's."""
        self._held[digest] += 1
        try:
            yield
        finally:
            self._held[digest] -= 1

    async def _ride(self, source: Source, offer: Offer, progress: "_Progress") -> ModelFacts:
        """Join the flight of this digest, or start it. Another's failed flight is not held against this source."""
        while True:
            flight = self._flights.get(offer.blob.digest)
            if flight is not None and flight.is_over:
                await asyncio.wait([flight.task])  # until it has let go of everything
                self._forget(offer.blob.digest, flight)
                continue
            mine = flight is None
            if flight is None:
                flight = self._flights[offer.blob.digest] = _Flight(self._blobs, self._inspect, source, offer)
                flight.task.add_done_callback(functools.partial(self._forget, offer.blob.digest, flight))
            try:
                return await flight.ride(progress)
            except IntramuralError:
                if mine:
                    raise
            progress.tell(PullState())

    def _forget(self, digest: str, over: "_Flight", _task: object = None) -> None:
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


class _Flight:
    """One digest on its way to the shelf, for one or more pulls."""

    def __init__(self, blobs: Blobs, inspect: Inspect, source: Source, offer: Offer) -> None:
        self._blobs, self._inspect, self._source, self._offer = blobs, inspect, source, offer
        self._state = PullState(total_bytes=offer.blob.size_bytes)
        self._riders: list[_Progress] = []
        self._facts: ModelFacts | None = None
        self._abandoned = False
        self._had_bytes = False  # some of the bytes being verified were there before this flight
        self.task = asyncio.create_task(self._fly(), name=f"pull {offer.blob.digest[:19]}")

    async def ride(self, progress: _Progress) -> ModelFacts:
        """Wait for the flight to end. The last to leave cancels it and waits until it has let go of everything."""
        self._riders.append(progress)
        if self._state.step != Step.RESOLVING:
            progress.tell(self._state)
        try:
            return await asyncio.shield(self.task)
        except asyncio.CancelledError:
            self._riders.remove(progress)
            if not self._riders and not self.task.done():
                self._abandoned = True
                self.task.cancel()
                await asyncio.wait([self.task])
            raise

    @property
    def is_over(self) -> bool:
        """Whether it is too late to get on."""
        return self._abandoned or self.task.done()

    def _tell(self, state: PullState) -> None:
        self._state = state
        for each in self._riders:
            each.tell(state)

    def _happened(self, event: Event) -> None:
        self._tell(advance(self._state, event))

    def _count(self, done_bytes: int) -> None:
        self._tell(PullState(self._state.step, done_bytes, self._offer.blob.size_bytes))

    async def _fly(self) -> ModelFacts:
        await asyncio.sleep(0)  # the first rider gets on
        blob = self._offer.blob
        if self._blobs.has(blob):
            self._happened(Event.ON_SHELF)
            facts = await self._check_shelved()
            if facts is not None:
                return facts
            self._happened(Event.SPOILED)
        else:
            self._happened(Event.OFFERED)
        part = self._blobs.part(blob)
        try:
            return await self._fill(part)
        finally:
            part.close()

    async def _check_shelved(self) -> ModelFacts | None:
        """The facts of bytes already on the shelf; None when they are no longer what they were."""
        descriptor = self._blobs.open(self._offer.blob.digest)
        try:
            if await digest_of(descriptor, self._offer.blob.size_bytes, self._count) != self._offer.blob:
                return None
            self._happened(Event.INTACT)
            return await self._inspected(descriptor)
        finally:
            os.close(descriptor)

    async def _fill(self, part: Part) -> ModelFacts:
        """Fetch, verify, inspect, shelve; a second time from the first byte if resumed bytes were wrong."""
        while True:
            await self._fetch(part)
            self._happened(Event.FETCHED)
            checked = await in_thread(part.open_readonly)
            try:
                intact = await digest_of(checked, self._offer.blob.size_bytes, self._count) == self._offer.blob
                if intact:
                    self._happened(Event.INTACT)
                    facts = await self._inspected(checked)
                    await in_thread(part.shelve, checked)
                    return facts
            except Untrusted:
                part.discard()
                raise
            finally:
                os.close(checked)
            if not self._had_bytes:
                part.discard()
                message = f"What {self._offer.source} sent has another digest than it announced."
                raise Untrusted("digest_mismatch", message, "Nothing was kept. Tell whoever runs the source.")
            part.restart()
            self._happened(Event.SPOILED)

    async def _fetch(self, part: Part) -> None:
        size_bytes = self._offer.blob.size_bytes
        self._had_bytes = part.size_bytes > 0
        self._blobs.require_room(size_bytes - part.size_bytes)
        self._count(part.size_bytes)
        if part.size_bytes == size_bytes:
            return
        async with aclosing(_claimed(self._source, self._offer, part.size_bytes)) as chunks:
            async for chunk in chunks:
                if part.size_bytes + len(chunk) > size_bytes:
                    part.discard()
                    message = f"{self._offer.source} sent more than the {size_bytes} bytes it announced."
                    raise Untrusted("source_too_long", message, "Nothing was kept. Tell whoever runs the source.")
                await in_thread(part.append, chunk)
                self._count(part.size_bytes)
        if part.size_bytes < size_bytes:
            message = f"{self._offer.source} stopped after {part.size_bytes} of {size_bytes} bytes."
            raise Broken("source_ended_early", message, "Pull again: it goes on where it stopped.")

    async def _inspected(self, descriptor: int) -> ModelFacts:
        facts = await self._inspect(descriptor, self._offer.blob.size_bytes)
        self._happened(Event.PASSED)
        return facts


async def _claimed(source: Source, offer: Offer, offset: int) -> AsyncGenerator[bytes, None]:
    """What `source` sends; its own failures told from those of our disk."""
    async with aclosing(source.open(offer, offset)) as chunks:
        try:
            async for chunk in chunks:
                yield chunk
        except OSError as error:
            message = f"{offer.source} broke off: {error.strerror or error}."
            raise Broken("source_failed", message, "Pull again: it goes on where it stopped.") from error


def _only(offers: Sequence[Offer]) -> Offer:
    if not offers:
        raise Missing("source_empty", "The source has no model.", "Check what it names.", param="source")
    if len(offers) > 1:
        names = ", ".join(offer.name for offer in offers)
        raise Misasked("source_ambiguous", "The source has several models.", f"Name one of: {names}.", param="source")
    return offers[0]


def _manifest(name: str, offer: Offer, facts: ModelFacts, *, added_ms: int) -> Manifest:
    template = facts.template
    return Manifest(
        name=name,
        weights=offer.blob,
        architecture=facts.architecture,
        parameters=facts.parameters,
        quantisation=facts.quantisation,
        trained_context_tokens=facts.trained_context_tokens,
        has_chat_template=template is not None,
        template=template,
        template_digest=template and f"sha256:{hashlib.sha256(template.encode()).hexdigest()}",
        pooling=facts.pooling,
        licence=offer.licence,
        source=offer.source,
        trust=offer.trust,
        added_ms=added_ms,
        shape=facts.shape,
    )


def _require_protected(descriptor: int) -> None:
    """Nobody but their owner could have given himself leave to write to the weights after they are hashed."""
    if os.fstat(descriptor).st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        message = "The weights could be changed by other users of this machine."
        raise Untrusted("model_file_writable", message, "Set the file's mode to 0444, or pull the model again.")
