"""What every source of models is. A source only claims; the library checks."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from intramural.core.errors import Misasked, Missing
from intramural.library.manifest import ModelFile, Trust


class Offer(msgspec.Struct, frozen=True):
    """One model a source has: exact files, where from, on what terms, and a name to keep it under.

    The first file is the weights, or their first shard. `revision` says exactly what of the source was resolved: a
    commit, a manifest's digest. `signature` is the publisher's signature file, as it lies beside the weights: the
    library checks it, and only that makes a model `signed`.
    """

    files: tuple[ModelFile, ...]
    name: str
    source: str
    licence: str
    trust: Trust
    revision: str | None = None
    signature: bytes | None = None


def only_offer(offers: Sequence[Offer]) -> Offer:
    """The one there is. Raises Missing(`source_empty`), Misasked(`source_ambiguous`)."""
    if not offers:
        raise Missing("source_empty", "The source has no model.", "Check what it names.", param="source")
    if len(offers) > 1:
        names = ", ".join(offer.name for offer in offers)
        raise Misasked("source_ambiguous", "The source has several models.", f"Name one of: {names}.", param="source")
    return offers[0]


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


@runtime_checkable
class OnThisDisk(Protocol):
    """What a source may be besides: one whose files lie on a disk of this machine, to be linked instead of copied."""

    def open_local(self, file: ModelFile) -> int:
        """A descriptor that reads the offered file, for the caller to close. It is verified like bytes that were sent.

        Raises Missing when it cannot be read, Untrusted when it should not be.
        """
        ...
