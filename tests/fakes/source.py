"""A source of models that can lie."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

from intramural.core.errors import Broken
from intramural.library import Blob, ModelFile, Offer, Trust


@dataclass
class LyingSource:
    """Offers `body`; each knob makes it lie or fail in one way. Honest by default."""

    body: bytes
    name: str = "tiny"
    chunk_bytes: int = 256
    #: What it announces, where that is not the truth.
    announced: Blob | None = None
    #: Send only so many bytes of `body`, then end as if that were all.
    short_after: int | None = None
    #: Go on for ever after `body`.
    endless: bool = False
    #: Raise this after so many bytes.
    fail_after: int | None = None
    failure: Exception = field(default_factory=lambda: Broken("source_failed", "The source broke off.", "Try again."))
    #: Send these instead when asked to go on from the middle.
    body_after_resume: bytes | None = None
    #: Turn this byte over.
    flip: int | None = None
    #: Wait for this before each chunk.
    gate: Callable[[], "asyncio.Future[None]"] | None = None
    #: The level it claims, and the signature file beside its weights.
    trust: Trust = "local"
    signature: bytes | None = None
    opened: list[int] = field(default_factory=list)
    closed: int = 0

    async def resolve(self) -> Sequence[Offer]:
        blob = self.announced or blob_of(self.body)
        files = (ModelFile("tiny.gguf", "weights", blob),)
        said = {"source": "fake:tiny", "licence": "MIT"}
        return [Offer(files=files, name=self.name, trust=self.trust, signature=self.signature, **said)]

    async def open(self, offer: Offer, file: ModelFile, offset: int) -> AsyncGenerator[bytes, None]:
        self.opened.append(offset)
        body = self.body_after_resume if offset and self.body_after_resume is not None else self.body
        if self.flip is not None:
            body = flipped(body, self.flip % len(body))
        try:
            end = len(body) if self.short_after is None else min(len(body), self.short_after)
            while offset < end or self.endless:
                if self.gate:
                    await self.gate()
                if self.fail_after is not None and offset >= self.fail_after:
                    raise self.failure
                chunk = body[offset : min(end, offset + self.chunk_bytes)] or b"\x00" * self.chunk_bytes
                offset += len(chunk)
                yield chunk
                await asyncio.sleep(0)
        finally:
            self.closed += 1


@dataclass
class FilesSource:
    """An honest source of a model of several files: shards, and projectors among `bodies` named in `projectors`."""

    bodies: Sequence[bytes]
    projectors: Sequence[int] = ()

    async def resolve(self) -> Sequence[Offer]:
        files = tuple(
            ModelFile(f"{number}.gguf", "projector" if number in self.projectors else "weights", blob_of(body))
            for number, body in enumerate(self.bodies)
        )
        return [Offer(files=files, name="tiny", source="fake:tiny", licence="MIT", trust="local")]

    async def open(self, offer: Offer, file: ModelFile, offset: int) -> AsyncGenerator[bytes, None]:
        yield self.bodies[offer.files.index(file)][offset:]


def blob_of(body: bytes) -> Blob:
    return Blob(f"sha256:{hashlib.sha256(body).hexdigest()}", len(body))


def flipped(body: bytes, at: int) -> bytes:
    return body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1 :]
