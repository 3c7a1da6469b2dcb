"""What a library has: manifests, their signatures and the blobs they refer to, changed together."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from intramural.core.errors import Unavailable
from intramural.library.blobs import Blobs
from intramural.library.manifest import Manifest
from intramural.library.names import parse_name
from intramural.library.provenance.signatures import Signatures
from intramural.library.shelf import Shelf
from intramural.library.sources.port import Offer


class Stock:
    """Everything under `root` (made on first use)."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.blobs = Blobs(root)
        self.shelf = Shelf(root / "manifests")
        self.signatures = Signatures(root / "signatures")
        self._held: Counter[str] = Counter()

    def put(self, manifests: Sequence[Manifest], signatures: Mapping[str, bytes | None]) -> None:
        """Write manifests and signatures, durably. Raises Unavailable(`weights_removed`)."""
        with self.blobs.exclusive():
            if not all(self.blobs.has(file.blob) for manifest in manifests for file in manifest.files):
                raise Unavailable("weights_removed", "Another process removed the weights meanwhile.", "Pull it again.")
            for manifest in manifests:
                self.signatures.put(manifest.name, signatures[manifest.name])
                self.shelf.put(manifest)

    def remove(self, name: str) -> int:
        """Forget the model; its bytes go when no other refers to them. Returns the bytes freed.

        Raises Missing(`model_not_found`).
        """
        if parse_name(name) not in self.shelf.names():
            self.shelf.get(name)
        self.shelf.remove(name)
        self.signatures.put(name, None)
        return self.sweep()

    def sweep(self) -> int:
        """Remove blobs that no model refers to (a crash between the two writes of a pull leaves one). Bytes freed.

        Removes nothing while any manifest is damaged, for then nobody knows what it refers to.
        """
        with self.blobs.exclusive():
            referred = self.shelf.referred()
            if referred is None:
                return 0
            unused = [digest for digest in self.blobs.digests() if digest not in referred and not self._held[digest]]
            return sum(self.blobs.remove(digest) for digest in unused)

    @contextmanager
    def holding(self, offers: Sequence[Offer]) -> Iterator[None]:
        """Nothing sweeps the blobs away between their arrival and their manifest's."""
        digests = [file.blob.digest for offer in offers for file in offer.files]
        self._held.update(digests)
        try:
            yield
        finally:
            self._held.subtract(digests)
