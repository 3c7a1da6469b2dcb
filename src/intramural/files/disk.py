"""The bytes of files: each in a file of its own, sealed for its person, whole or not there."""

import asyncio
import contextlib
import errno
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from intramural.core.errors import Broken, Unavailable, Untrusted
from intramural.vault import PIECE_BYTES, Sealer, Vault

#: What is gathered before it is written: each write costs a hop to another thread.
_GATHER_BYTES = 2**20
_PART = ".part"
#: 0600 from the first moment, and never through a link that somebody else put there.
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Disk:
    """One folder with one file per identifier. Blocking, except `Arriving`."""

    def __init__(self, folder: Path, vault: Vault, keep_free_bytes: int) -> None:
        self._folder = folder
        self._vault = vault
        self._keep_free_bytes = keep_free_bytes

    def prepare(self) -> None:
        """Make the folder (0700) where it is missing."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def arriving(self, person_id: str, file_id: str, admit: Callable[[int], None]) -> "Arriving":
        """Begin a file of this person's. `admit` is told of every piece's length; it raises where there is no room."""
        self.require_room(0)
        return Arriving(self, self._path(file_id), self._vault.sealer(person_id, file_id), admit)

    def require_room(self, size_bytes: int) -> None:
        """Raises Unavailable(`disk_full`) where less than the reserve would be left after so many bytes more."""
        free = os.statvfs(self._folder)
        if free.f_bavail * free.f_frsize - size_bytes < self._keep_free_bytes:
            raise _full()

    def open(self, person_id: str, file_id: str) -> BinaryIO:
        """The bytes, for reading, from anywhere. Raises Broken(`file_lost`) where the disk does not have them,
        Untrusted(`sealed_wrong`), also in `read`, where they are not what was sealed for this person and file.
        """
        try:
            sealed = self._path(file_id).open("rb")
        except OSError as error:
            message, hint = "The bytes of this file cannot be read.", "Upload it again; an administrator can say more."
            raise Broken("file_lost", message, hint) from error
        try:
            return io.BufferedReader(self._vault.opened(person_id, file_id, sealed), PIECE_BYTES)
        except BaseException:
            sealed.close()
            raise

    def adopt(self, other: "Disk", person_id: str, file_id: str, own_id: str) -> None:
        """Have the bytes of a file on `other` here too: they stay when it is dropped there."""
        with other.open(person_id, file_id) as bytes_there:
            self._take(bytes_there, person_id, own_id)

    def seal_clear(self, person_id: str, file_id: str) -> bool:
        """Seal the bytes that an older version left in clear; whether they were."""
        try:
            clear = self._path(file_id).open("rb")
        except FileNotFoundError:
            return False
        with clear:
            if self._is_sealed(person_id, file_id):
                return False
            self._take(clear, person_id, file_id)
        return True

    def reseal(self, person_id: str, file_id: str) -> None:
        """Seal the bytes with the newest key of this person's. Who is reading them reads on."""
        try:
            with self.open(person_id, file_id) as before:
                self._take(before, person_id, file_id)
        except Broken:
            return  # it was deleted meanwhile

    def _is_sealed(self, person_id: str, file_id: str) -> bool:
        try:
            with self.open(person_id, file_id) as opened:
                opened.read(1)
        except Untrusted:
            return False
        return True

    def _take(self, source: BinaryIO, person_id: str, own_id: str) -> None:
        """Seal what `source` holds into the file `own_id`, whole or not at all."""
        path = self._path(own_id)
        part = path.with_name(path.name + _PART)
        sealer = self._vault.sealer(person_id, own_id)
        with _writing():
            part.unlink(missing_ok=True)
            with os.fdopen(os.open(part, _NEW, 0o600), "wb") as out:
                out.write(sealer.begin)
                while data := source.read(_GATHER_BYTES):
                    out.write(sealer.more(data))
                out.write(sealer.end())
                out.flush()
                os.fsync(out.fileno())
            part.rename(path)
            _sync_folder(self._folder)

    def drop(self, file_id: str) -> None:
        """Remove the bytes, if they are there."""
        self._path(file_id).unlink(missing_ok=True)

    def ids(self) -> set[str]:
        """The identifiers of everything that lies here, complete or not."""
        return {each.name.removesuffix(_PART) for each in self._folder.iterdir()}

    def drop_all(self, file_id: str) -> None:
        """Remove the bytes, also those of a file that never arrived whole."""
        self.drop(file_id)
        self._path(file_id + _PART).unlink(missing_ok=True)

    def _path(self, file_id: str) -> Path:
        assert "/" not in file_id and not file_id.startswith(".")
        return self._folder / file_id


class Arriving:
    """A file on its way in. `write` pieces, then `finish`; `abandon` where it ends otherwise."""

    def __init__(self, disk: Disk, path: Path, sealer: Sealer, admit: Callable[[int], None]) -> None:
        self.id = path.name
        self.size_bytes = 0
        self._disk = disk
        self._path = path
        self._part = path.with_name(path.name + _PART)
        self._sealer = sealer
        self._admit = admit
        self._hash = hashlib.sha256()
        self._pending = bytearray()
        self._file: BinaryIO | None = None

    @property
    def digest(self) -> str:
        """Of what was written so far: `sha256:<64 hex>`."""
        return f"sha256:{self._hash.hexdigest()}"

    async def write(self, data: bytes) -> None:
        """More bytes. Raises what `admit` raises, Unavailable(`disk_full`)."""
        self._admit(len(data))
        self.size_bytes += len(data)
        self._pending += data
        if len(self._pending) >= _GATHER_BYTES:
            await asyncio.to_thread(self._flush)

    async def finish(self) -> None:
        """All is there: make it durable under its own name. Raises Unavailable(`disk_full`)."""
        await asyncio.to_thread(self._finish)

    async def abandon(self) -> None:
        """Nothing stays of it."""
        await asyncio.to_thread(self._abandon)

    def _flush(self) -> None:
        self._disk.require_room(len(self._pending))
        with _writing():
            if self._file is None:
                self._file = os.fdopen(os.open(self._part, _NEW, 0o600), "wb", buffering=0)
                self._put(self._sealer.begin)
            data = bytes(self._pending)
            self._hash.update(data)
            self._put(self._sealer.more(data))
        self._pending.clear()

    def _put(self, data: bytes) -> None:
        assert self._file is not None
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]

    def _finish(self) -> None:
        self._flush()
        assert self._file is not None
        with _writing():
            self._put(self._sealer.end())
            os.fsync(self._file.fileno())
            self._file.close()
            self._part.rename(self._path)
            _sync_folder(self._path.parent)

    def _abandon(self) -> None:
        if self._file is not None:
            self._file.close()
        with contextlib.suppress(OSError):  # a disk that cannot be written: the next start removes what has no row
            self._disk.drop_all(self.id)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full() from error
        message, hint = "The file cannot be written to the disk.", "Tell an administrator."
        raise Broken("disk_failed", message, hint) from error


def _full() -> Unavailable:
    message, hint = "There is no room for it on this machine's disk.", "Delete files, or tell an administrator."
    return Unavailable("disk_full", message, hint, retry_after_s=60.0)
