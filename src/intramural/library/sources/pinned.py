"""A source whose bytes the catalogue already knows: what it offers must be exactly those."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from msgspec import structs

from intramural.core.errors import Untrusted
from intramural.library.catalogue import Variant
from intramural.library.manifest import ModelFile
from intramural.library.provenance.levels import higher
from intramural.library.sources.port import Offer, Source


@dataclass(frozen=True)
class PinnedSource:
    """`source`, held to the digests that the catalogue has of `variant`; each such digest was known beforehand."""

    source: Source
    variant: Variant

    async def resolve(self) -> Sequence[Offer]:
        """What `source` offers. Raises Untrusted(`catalogue_mismatch`) before anything is fetched, and as it does."""
        return [self._held(offer) for offer in await self.source.resolve()]

    def open(self, offer: Offer, file: ModelFile, offset: int) -> AsyncGenerator[bytes, None]:
        """The bytes, from `source`."""
        return self.source.open(offer, file, offset)

    def _held(self, offer: Offer) -> Offer:
        for role in ("weights", "projector"):
            known = {f"sha256:{file.sha256}" for file in self.variant.files if file.role == role and file.sha256}
            offered = {file.blob.digest for file in offer.files if file.role == role}
            if known and offered and not offered <= known:
                message = f"{offer.source} offers other {role} than the catalogue says it has."
                hint = "Find out why they changed. An administrator may name another file of that source instead."
                raise Untrusted("catalogue_mismatch", message, hint)
        return structs.replace(offer, trust=higher(offer.trust, "pinned")) if self.variant.pinned else offer
