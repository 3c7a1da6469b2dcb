"""A GGUF file on this machine. Its digest is computed here, so it says only what was imported, not who made it."""

import os
import stat
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from intramural.core.errors import Missing
from intramural.library.blobs import CHUNK_BYTES, digest_of
from intramural.library.manifest import ModelFile
from intramural.library.names import suggest_name
from intramural.library.provenance.signatures import beside
from intramural.library.sources.port import Offer
from intramural.library.threads import in_thread


class FileSource:
    """One regular file. One message for every reason it cannot be read, so that nothing is told about other files."""

    def __init__(self, path: Path, licence: str = "unknown") -> None:
        self._path = path
        self._licence = licence

    async def resolve(self) -> Sequence[Offer]:
        """Hash the file, and take a signature that lies beside it along. Raises Missing(`file_not_readable`)."""
        descriptor = self._open()
        try:
            blob = await digest_of(descriptor, limit_bytes=2**63 - 1)
        except OSError as error:
            raise self._unreadable() from error
        finally:
            os.close(descriptor)
        if blob is None:
            raise self._unreadable()
        name, source = suggest_name(self._path.stem), f"file:{self._path.name}"
        files = (ModelFile(self._path.name, "weights", blob),)
        signature = await in_thread(beside, self._path)
        return [Offer(files=files, name=name, source=source, licence=self._licence, trust="local", signature=signature)]

    async def open(self, offer: Offer, file: ModelFile, offset: int) -> AsyncGenerator[bytes, None]:
        """The file's bytes from `offset` on. Raises Missing(`file_not_readable`)."""
        descriptor = self._open()
        try:
            while chunk := await in_thread(os.pread, descriptor, CHUNK_BYTES, offset):
                offset += len(chunk)
                yield chunk
        except OSError as error:
            raise self._unreadable() from error
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        try:
            # O_NONBLOCK: opening a FIFO must not wait for somebody to write to it.
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise self._unreadable() from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise self._unreadable()
        return descriptor

    def _unreadable(self) -> Missing:
        hint = "Give the path of a GGUF file that this service may read."
        return Missing("file_not_readable", "There is no readable regular file at that path.", hint, param="source")
