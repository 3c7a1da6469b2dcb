"""One blob on its way from a source to the shelf, for everybody who asked for it.

Pulls *ride* on a flight: they hear of its steps and wait for its end. A flight that nobody rides any more is cancelled,
and what came is kept for a resume.
"""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

from intramural.core.errors import Broken, Untrusted
from intramural.library.blobs import Blobs, Part, digest_of
from intramural.library.facts import ModelFacts
from intramural.library.inspection import Inspect
from intramural.library.linking import Linked, clone, link
from intramural.library.manifest import ModelFile, Piece
from intramural.library.pull import Event, PullState, Step, advance
from intramural.library.sources.port import Offer, OnThisDisk, Source
from intramural.library.threads import in_thread


class Rider(Protocol):
    """A pull that waits for a flight."""

    def tell(self, state: PullState) -> None:
        """What the flight does now."""
        ...


class Flight:
    """One digest on its way to the shelf, for one or more pulls."""

    def __init__(
        self, blobs: Blobs, inspect: Inspect, source: Source, offer: Offer, file: ModelFile, piece: Piece
    ) -> None:
        self._blobs, self._inspect, self._source, self._offer = blobs, inspect, source, offer
        self._file, self._blob, self.piece = file, file.blob, piece
        self._state = PullState(total_bytes=self._blob.size_bytes)
        self._riders: list[Rider] = []
        self._abandoned = False
        self._had_bytes = False  # some of the bytes being verified were there before this flight
        self.task = asyncio.create_task(self._fly(), name=f"pull {self._blob.digest[:19]}")

    async def ride(self, progress: Rider) -> ModelFacts | None:
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
        self._tell(PullState(self._state.step, done_bytes, self._blob.size_bytes))

    async def _fly(self) -> ModelFacts | None:
        await asyncio.sleep(0)  # the first rider gets on
        blob = self._blob
        if self._blobs.has(blob):
            self._happened(Event.ON_SHELF)
            intact, facts = await self._check_shelved()
            if intact:
                return facts
            self._happened(Event.SPOILED)
        else:
            self._happened(Event.OFFERED)
        part = self._blobs.part(blob)
        try:
            linked = self._linked()
            return await (self._adopt(linked, part) if linked else self._fill(part))
        finally:
            if part.size_bytes == 0:  # nothing to resume
                part.discard()
            part.close()

    def _linked(self) -> Linked | None:
        if not isinstance(self._source, OnThisDisk):
            return None
        original = self._source.open_local(self._file)
        try:
            return link(original, self._blobs.link_path(self._blob), self._blobs.path(self._blob.digest), self._blob)
        finally:
            os.close(original)

    async def _adopt(self, linked: Linked, part: Part) -> ModelFacts | None:
        """Verify, inspect and shelve a file that lies on this disk under another name. Nothing is copied."""
        try:
            self._happened(Event.FETCHED)
            intact, facts = await self._checked(linked)
            if not intact:
                raise self._mismatch()
        finally:
            linked.discard()
            linked.close()
        part.discard()
        return facts

    async def _checked(self, held: Part | Linked) -> tuple[bool, ModelFacts | None]:
        """Shelve what `held` holds, if it passes every check, and its facts; False if its digest is another."""
        checked = await in_thread(held.open_readonly)
        try:
            if await digest_of(checked, self._blob.size_bytes, self._count) != self._blob:
                return False, None
            self._happened(Event.INTACT)
            facts = await self._inspected(checked)
            await in_thread(held.shelve, checked)
            return True, facts
        finally:
            os.close(checked)

    async def _check_shelved(self) -> tuple[bool, ModelFacts | None]:
        """Whether bytes already on the shelf are still what they were, and then their facts."""
        descriptor = self._blobs.open(self._blob.digest)
        try:
            if await digest_of(descriptor, self._blob.size_bytes, self._count) != self._blob:
                return False, None
            self._happened(Event.INTACT)
            return True, await self._inspected(descriptor)
        finally:
            os.close(descriptor)

    async def _fill(self, part: Part) -> ModelFacts | None:
        """Fetch, verify, inspect, shelve; a second time from the first byte if resumed bytes were wrong."""
        while True:
            await self._fetch(part)
            self._happened(Event.FETCHED)
            try:
                intact, facts = await self._checked(part)
            except Untrusted:
                part.discard()
                raise
            if intact:
                return facts
            if not self._had_bytes:
                part.discard()
                raise self._mismatch()
            part.restart()
            self._happened(Event.SPOILED)

    def _mismatch(self) -> Untrusted:
        message = f"What {self._offer.source} sent has another digest than it announced."
        return Untrusted("digest_mismatch", message, "Nothing was kept. Tell whoever runs the source.")

    async def _fetch(self, part: Part) -> None:
        size_bytes = self._blob.size_bytes
        self._had_bytes = part.size_bytes > 0
        if not self._had_bytes and await in_thread(self._clone, part):
            self._count(part.size_bytes)
            return
        self._blobs.require_room(size_bytes - part.size_bytes)
        self._count(part.size_bytes)
        if part.size_bytes == size_bytes:
            return
        async with aclosing(_claimed(self._source, self._offer, self._file, part.size_bytes)) as chunks:
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

    def _clone(self, part: Part) -> bool:
        if not isinstance(self._source, OnThisDisk):
            return False
        original = self._source.open_local(self._file)
        try:
            return part.fill(lambda descriptor: clone(original, descriptor, self._blob.size_bytes))
        finally:
            os.close(original)

    async def _inspected(self, descriptor: int) -> ModelFacts | None:
        facts = await self._inspect(descriptor, self._blob.size_bytes, self.piece)
        self._happened(Event.PASSED)
        return facts


async def _claimed(source: Source, offer: Offer, file: ModelFile, offset: int) -> AsyncGenerator[bytes, None]:
    """What `source` sends; its own failures told from those of our disk."""
    async with aclosing(source.open(offer, file, offset)) as chunks:
        try:
            async for chunk in chunks:
                yield chunk
        except OSError as error:
            message = f"{offer.source} broke off: {error.strerror or error}."
            raise Broken("source_failed", message, "Pull again: it goes on where it stopped.") from error
