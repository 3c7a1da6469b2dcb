"""A bundle carried here by hand. Its index was signed by somebody trusted here, or it is worth what a file is worth."""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from pathlib import Path

from intramural.core.errors import Missing
from intramural.library.blobs import CHUNK_BYTES, Blob
from intramural.library.manifest import ModelFile
from intramural.library.provenance.anchors import Anchors
from intramural.library.provenance.bundle import Bundle, BundleModel, blob_reader, read_bundle
from intramural.library.sources.port import Offer
from intramural.library.threads import in_thread


class BundleSource:
    """The models in one bundle. `missing` says which of some blobs this machine lacks, for deltas; `accept` may raise
    once the index is believed and before anything is taken from it.
    """

    def __init__(
        self,
        path: Path,
        anchors: Anchors,
        missing: Callable[[Iterable[Blob]], Sequence[Blob]],
        *,
        now_s: float,
        accept: Callable[[Bundle], None] = lambda _: None,
    ) -> None:
        self._path = path
        self._anchors = anchors
        self._accept = accept
        self._missing = missing
        self._now_s = now_s
        self.bundle: Bundle | None = None

    async def resolve(self) -> Sequence[Offer]:
        """Everything but the blobs' bytes is checked here. Raises Untrusted, Missing(`bundle_not_readable`,
        `bundle_delta`)."""
        bundle = await in_thread(read_bundle, self._path, self._anchors, now_s=self._now_s)
        self._accept(bundle)
        self.bundle = bundle
        absent = self._missing(bundle.index.lacks)
        if absent:
            size_mb = sum(blob.size_bytes for blob in absent) // 10**6
            message = f"The bundle leaves out {len(absent)} files ({size_mb} MB) that this machine was said to have."
            hint = "Export it again with `--have` and this machine's own models.lock, or without."
            raise Missing("bundle_delta", message, hint)
        return [self._offer(bundle, each) for each in bundle.models]

    def _offer(self, bundle: Bundle, model: BundleModel) -> Offer:
        """A trusted signer's word on where models are from is taken: it could as well have signed the models."""
        about = model.about
        believed = bundle.signer is not None
        return Offer(
            files=about.files,
            name=about.name,
            source=about.source if believed else f"bundle:{self._path.name}",
            licence=about.licence,
            trust=about.trust if believed else "local",
            revision=about.revision if believed else None,
            signature=model.signature,
        )

    async def open(self, offer: Offer, file: ModelFile, offset: int) -> AsyncGenerator[bytes, None]:
        """The blob's bytes from `offset` on. Raises Untrusted when the bundle was changed meanwhile."""
        assert self.bundle is not None
        with blob_reader(self._path, self.bundle, file.blob) as read:
            while chunk := await in_thread(read, CHUNK_BYTES, offset):
                offset += len(chunk)
                yield chunk
