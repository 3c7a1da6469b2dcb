"""Files on their way in that a client sends: `uploads/<hex>`, under the digest that they were checked against.

Nothing here is a model. A pull takes from here as from any source: it hashes, inspects and shelves. What nobody made a
model of within a day goes.
"""

import hashlib
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Final

from intramural.core.clock import Clock
from intramural.core.errors import Misasked
from intramural.library.blobs import Blobs, disk_error, parse_digest
from intramural.library.threads import in_thread

_PART: Final = ".part"
#: How long a file waits for a model to be made of it.
KEPT_S: Final = 86_400.0
#: How often the disk is asked for room where the client does not say how much comes.
_ASK_EACH_BYTES: Final = 256 << 20


class Uploads:
    """The files under `root/uploads` (made on first use)."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self._folder = root / "uploads"
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._blobs = Blobs(root)
        self._clock = clock

    def find(self, digest: str) -> Path | None:
        """The file of that digest: one that was uploaded, else one on the shelf. Raises Untrusted(`bad_digest`)."""
        candidates = (self._folder / parse_digest(digest).removeprefix("sha256:"), self._blobs.path(digest))
        return next((path for path in candidates if path.is_file()), None)

    async def receive(self, digest: str, chunks: AsyncIterator[bytes], announced_bytes: int | None) -> int:
        """Write what comes; returns how much it was. Nothing is kept of what has another digest.

        Raises Misasked(`digest_mismatch`, `empty_upload`), Unavailable(`disk_full`), Untrusted(`bad_digest`).
        """
        target = self._folder / parse_digest(digest).removeprefix("sha256:")
        self._blobs.require_room(announced_bytes or 0)
        part = target.with_name(f"{target.name}.{self._clock.token_bytes(8).hex()}{_PART}")
        try:
            size_bytes = await self._fill(part, digest, chunks, announced_bytes)
            await in_thread(_finish, part, target)
        except OSError as error:
            raise disk_error(error) from error
        finally:
            part.unlink(missing_ok=True)
        return size_bytes

    async def _fill(self, part: Path, digest: str, chunks: AsyncIterator[bytes], announced_bytes: int | None) -> int:
        hasher, size_bytes, asked_bytes = hashlib.sha256(), 0, announced_bytes or 0
        with part.open("xb") as file:
            async for chunk in chunks:
                size_bytes += len(chunk)
                if size_bytes > asked_bytes:
                    self._blobs.require_room(_ASK_EACH_BYTES)
                    asked_bytes = size_bytes + _ASK_EACH_BYTES
                await in_thread(_take, file.fileno(), hasher, chunk)
        if size_bytes == 0:
            raise Misasked("empty_upload", "Nothing was sent.", "Send the file's bytes as the body.")
        if f"sha256:{hasher.hexdigest()}" != digest:
            message = f"What was sent has the digest sha256:{hasher.hexdigest()}."
            raise Misasked("digest_mismatch", message, "Nothing was kept. Send it again.", param="digest")
        return size_bytes

    def discard(self, digests: Iterable[str]) -> None:
        """Let go of these: a model was made of them."""
        for digest in digests:
            (self._folder / parse_digest(digest).removeprefix("sha256:")).unlink(missing_ok=True)

    def sweep(self, *, at_start: bool = False) -> None:
        """Let go of what nobody made a model of, and at the service's start of what never came whole."""
        oldest_s = self._clock.now_s() - KEPT_S
        for file in self._folder.iterdir():
            left = file.suffix == _PART and at_start
            if left or file.stat().st_mtime < oldest_s:
                file.unlink(missing_ok=True)


def _take(descriptor: int, hasher: "hashlib._Hash", chunk: bytes) -> None:
    hasher.update(chunk)
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]


def _finish(part: Path, target: Path) -> None:
    descriptor = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
        os.fchmod(descriptor, 0o444)
    finally:
        os.close(descriptor)
    part.replace(target)
