"""What every source of models is. A source only claims; the library checks."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

import msgspec

from intramural.library.manifest import ModelFile, Trust


class Offer(msgspec.Struct, frozen=True):
    """One model a source has: exact files, where from, on what terms, and a name to keep it under.

    The first file is the weights, or their first shard. `revision` says exactly what of the source was resolved: a
    commit, a manifest's digest.
    """

    files: tuple[ModelFile, ...]
    name: str
    source: str
    licence: str
    trust: Trust
    revision: str | None = None


class Source(Protocol):
    """Where models come from. See `docs/add-a-source.md`."""

    async def resolve(self) -> Sequence[Offer]:
        """What there is, with digests. Raises Missing when there is nothing, Unavailable when nobody answers."""
        ...

    def open(self, offer: Offer, file: ModelFile, offset: int) -> AsyncGenerator[bytes, None]:
        """The bytes of `file` from `offset` on, in chunks of some hundred KB. The library closes the generator.

        May raise IntramuralError; then what came is kept, and a later pull begins where this one stopped.
        """
        ...
