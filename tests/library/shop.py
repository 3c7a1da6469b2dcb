"""A library together with what a test wants to look at behind its back."""

import asyncio
import hashlib
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from intramural.library import WHOLE, Library, Manifest, ModelFacts, Piece, PullState, Source
from intramural.library.blobs import Blobs, digest_of
from intramural.library.examination import examine


class Inspector:
    """Runs the real reader and remembers which bytes passed it."""

    def __init__(self) -> None:
        self.passed: set[str] = set()

    async def __call__(self, descriptor: int, size_bytes: int, piece: Piece = WHOLE) -> ModelFacts | None:
        facts = examine([descriptor], [piece])
        found = await digest_of(descriptor, size_bytes)
        assert found is not None
        self.passed.add(found.digest)
        return facts

    async def together(self, descriptors: Sequence[int], pieces: Sequence[Piece]) -> ModelFacts:
        facts = examine(descriptors, pieces)
        assert facts is not None
        return facts


class Shop:
    """A library and what a test wants to look at behind its back."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.inspector = Inspector()
        self.library = Library(root, self.inspector)
        self.blobs = Blobs(root)

    def shelved(self) -> list[Path]:
        return sorted((self.root / "blobs" / "sha256").iterdir())

    def incoming(self) -> list[Path]:
        return sorted((self.root / "incoming").iterdir())

    def check_invariant(self) -> None:
        """Nothing is in `blobs/` that did not pass Verify and Inspect."""
        for file in self.shelved():
            assert file.name == hashlib.sha256(file.read_bytes()).hexdigest(), "shelved unverified"
            assert f"sha256:{file.name}" in self.inspector.passed, "shelved uninspected"
            assert stat.S_IMODE(file.stat().st_mode) == 0o444

    async def pull(self, source: Source, name: str | None = None) -> tuple[Manifest, list[PullState]]:
        """Pull, and what was reported on the way."""
        states: list[PullState] = []
        return await self.library.pull(source, name, states.append), states


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until `holds`; the test's own timeout is the limit."""
    while not holds():
        await asyncio.sleep(0.001)
