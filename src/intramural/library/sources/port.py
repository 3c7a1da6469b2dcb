"""What every source of models is. A source only claims; the library checks."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

import msgspec

from intramural.library.blobs import Blob
from intramural.library.manifest import Trust


class Offer(msgspec.Struct, frozen=True):
    """One set of weights a source has: exact bytes, where from, on what terms, and a name to keep it under."""

    blob: Blob
    name: str
    source: str
    licence: str
    trust: Trust


class Source(Protocol):
    """Where models come from. See `docs/add-a-model-source.md`."""

    async def resolve(self) -> Sequence[Offer]:
        """What there is, with digests. Raises Missing when there is nothing, Unavailable when nobody answers."""
        ...

    def open(self, offer: Offer, offset: int) -> AsyncGenerator[bytes, None]:
        """The bytes of `offer` from `offset` on, in chunks of some hundred KB. The library closes the generator.

        May raise IntramuralError; then what came is kept, and a later pull begins where this one stopped.
        """
        ...
