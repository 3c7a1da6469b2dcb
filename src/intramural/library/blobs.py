"""Bytes by digest: `blobs/sha256/<hex>` (0444) and what is on its way in, `incoming/<hex>.part`.

A part becomes a blob by one rename in one place (`Part.shelve`), and only the pull runner calls it, after Verify and
Inspect. Every path is formed from a digest that `parse_digest` accepted, never from what a source said.
"""

import errno
import fcntl
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from intramural.core.durable import sync_folder
from intramural.core.errors import Broken, Conflicting, IntramuralError, Unavailable, Untrusted
from intramural.library.threads import in_thread

_DIGEST = re.compile("sha256:[0-9a-f]{64}")
#: Small enough that a cancelled hash stops within a millisecond or so, large enough to cost nothing.
CHUNK_BYTES = 1 << 20
#: Left free on the disk besides the model itself: the database and the audit log live there as well.
SPARE_BYTES = 64 << 20


def parse_digest(text: str) -> str:
    """`text` if it is `sha256:` and 64 lower-case hexadecimal digits. Raises Untrusted(`bad_digest`)."""
    if not _DIGEST.fullmatch(text):
        raise Untrusted("bad_digest", f"{text[:80]!r} is not a SHA-256 digest.", "It must be sha256:<64 hex digits>.")
    return text


class Blob(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Exact bytes: their digest (`sha256:<64 hex>`) and how many they are."""

    digest: str
    size_bytes: int

    def __post_init__(self) -> None:
        parse_digest(self.digest)
        if not 0 < self.size_bytes < 2**63:
            raise Untrusted("bad_size", f"{self.size_bytes} bytes is not the size of a model.")


async def digest_of(descriptor: int, limit_bytes: int, on_bytes: Callable[[int], None] | None = None) -> Blob | None:
    """Hash everything behind `descriptor` (by position, the file offset stays). None if over `limit_bytes` or empty.

    Reads in a thread, `CHUNK_BYTES` at a time, so that a cancellation takes effect at once; `on_bytes` gets the count
    so far.
    """
    hasher, done = hashlib.sha256(), 0

    def more() -> int:
        chunk = os.pread(descriptor, CHUNK_BYTES, done)
        hasher.update(chunk)
        return len(chunk)

    while size := await in_thread(more):
        done += size
        if done > limit_bytes:
            return None
        if on_bytes:
            on_bytes(done)
    return Blob(f"sha256:{hasher.hexdigest()}", done) if done else None


class Blobs:
    """The store under `root` (made on first use)."""

    def __init__(self, root: Path) -> None:
        self._shelved = root / "blobs" / "sha256"
        self._incoming = root / "incoming"
        self._shelved.mkdir(parents=True, exist_ok=True)
        self._incoming.mkdir(mode=0o700, exist_ok=True)

    def path(self, digest: str) -> Path:
        """Where the blob is or would be."""
        return self._shelved / parse_digest(digest).removeprefix("sha256:")

    def has(self, blob: Blob) -> bool:
        """Whether a regular file of that size is on the shelf; says nothing about its bytes."""
        try:
            found = self.path(blob.digest).lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_size == blob.size_bytes

    def open(self, digest: str) -> int:
        """A read-only descriptor of the blob, its bytes not yet checked. Raises Untrusted(`model_file_missing`)."""
        try:
            descriptor = os.open(self.path(digest), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            hint = "Remove the model and pull it again."
            raise Untrusted("model_file_missing", f"The weights cannot be opened: {error.strerror}.", hint) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise Untrusted("model_file_missing", "The weights are not a regular file.", "Pull the model again.")
        return descriptor

    def digests(self) -> list[str]:
        """Everything on the shelf, sorted; a file with another kind of name is not ours and is left alone."""
        found = (f"sha256:{file.name}" for file in self._shelved.iterdir())
        return sorted(digest for digest in found if _DIGEST.fullmatch(digest))

    def remove(self, digest: str) -> int:
        """Take the blob off the disk; returns the bytes freed: 0 if it was not there, or has another name."""
        path = self.path(digest)
        try:
            found = path.lstat()
            size_bytes = found.st_size if found.st_nlink == 1 else 0
            path.unlink()
        except FileNotFoundError:
            return 0
        sync_folder(self._shelved)
        return size_bytes

    def missing_bytes(self, blob: Blob) -> int:
        """How much of the blob has still to be fetched."""
        if self.has(blob):
            return 0
        try:
            return max(0, blob.size_bytes - self._part_path(blob.digest).lstat().st_size)
        except FileNotFoundError:
            return blob.size_bytes

    def link_path(self, blob: Blob) -> Path:
        """A name for whoever holds the blob's part: where a link to a file elsewhere is made before it is shelved."""
        return self._incoming / f"{self.path(blob.digest).name}.link"

    def drop_part(self, digest: str) -> None:
        """Delete what came of the blob, unless another process is fetching it."""
        path = self._part_path(digest)
        try:
            descriptor = _open_locked(path)
        except Conflicting:
            return
        path.unlink(missing_ok=True)
        os.close(descriptor)

    def _part_path(self, digest: str) -> Path:
        return self._incoming / f"{self.path(digest).name}.part"

    def require_room(self, size_bytes: int) -> None:
        """Raises Unavailable(`disk_full`) when the disk has not `size_bytes` and a little more."""
        free_bytes = shutil.disk_usage(self._incoming).free
        if size_bytes + SPARE_BYTES > free_bytes:
            missing_mb = (size_bytes + SPARE_BYTES - free_bytes) // 10**6 + 1
            raise disk_full(f"This needs {missing_mb} MB more than the disk has free.")

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """No other process sweeps or shelves meanwhile. Held for milliseconds."""
        descriptor = os.open(self._shelved, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def part(self, blob: Blob) -> "Part":
        """The unfinished file for `blob`, locked. Raises Conflicting(`pull_in_progress`) if another process has it."""
        return Part(self._part_path(blob.digest), self.path(blob.digest), blob)


class Part:
    """An unfinished blob, held by one process at a time. Close it in any case; what was written stays for a resume."""

    def __init__(self, path: Path, target: Path, blob: Blob) -> None:
        self._path, self._target, self._blob = path, target, blob
        self._descriptor = _open_locked(path)
        self.size_bytes = os.fstat(self._descriptor).st_size
        if self.size_bytes > blob.size_bytes:
            self.restart()

    def restart(self) -> None:
        """Forget what was fetched."""
        os.ftruncate(self._descriptor, 0)
        self.size_bytes = 0

    def fill(self, whole: Callable[[int], bool]) -> bool:
        """Let `whole` fill the empty file behind a descriptor at once; False if it did not, and it is still empty."""
        self.restart()
        if not whole(self._descriptor):
            return False
        self.size_bytes = os.fstat(self._descriptor).st_size
        return True

    def append(self, chunk: bytes) -> None:
        """Write at the end; the caller bounds the size. Raises Unavailable(`disk_full`)."""
        try:
            view = memoryview(chunk)
            while view:
                written = os.pwrite(self._descriptor, view, self.size_bytes)
                view, self.size_bytes = view[written:], self.size_bytes + written
        except OSError as error:
            raise disk_error(error) from error

    def open_readonly(self) -> int:
        """Make the bytes durable and take the write permission away; returns a descriptor that cannot write."""
        try:
            os.fchmod(self._descriptor, 0o444)
            os.fsync(self._descriptor)
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise disk_error(error) from error
        if not os.path.sameopenfile(descriptor, self._descriptor):
            os.close(descriptor)
            raise Untrusted("part_replaced", "The file being checked was replaced by another one.", "Pull it again.")
        return descriptor

    def shelve(self, checked: int) -> None:
        """Rename into the shelf the very file that `checked` (from `open_readonly`) reads; then durable."""
        found, expected = self._path.lstat(), os.fstat(checked)
        same = (found.st_dev, found.st_ino) == (expected.st_dev, expected.st_ino)
        if not same or found.st_size != self._blob.size_bytes or stat.S_IMODE(found.st_mode) != 0o444:
            raise Untrusted("part_replaced", "The checked file was changed before it was shelved.", "Pull it again.")
        try:
            self._path.replace(self._target)
        except OSError as error:
            raise disk_error(error) from error
        sync_folder(self._target.parent)
        sync_folder(self._path.parent)

    def discard(self) -> None:
        """Take the part off the disk: its bytes failed a check."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Release the lock. Nothing else changes."""
        os.close(self._descriptor)


def close_all(descriptors: Iterable[int]) -> None:
    """Close each of them."""
    for each in descriptors:
        os.close(each)


def disk_full(message: str) -> Unavailable:
    """The error for a full disk; `message` says how much is missing."""
    hint = "Free some space (`intramural rm` a model) and try again; what was fetched is kept."
    return Unavailable("disk_full", message, hint, retry_after_s=60.0)


def disk_error(error: OSError) -> IntramuralError:
    """What a failed write means to a person: a full disk, or a broken one."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full("The disk filled up in the middle of it.")
    return Broken("library_disk_failed", f"The library's disk refused: {error.strerror}.", "Check the data directory.")


def _open_locked(path: Path) -> int:
    hint = "Wait until it is done, or stop the other process."
    busy = Conflicting("pull_in_progress", "Another process is fetching this model now.", hint)
    for _ in range(3):
        descriptor = _open_part(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise busy from None
        # Whoever held it before may just have shelved it: then this is the blob itself and must not be touched.
        if path.exists() and path.samefile(f"/proc/self/fd/{descriptor}"):
            os.fchmod(descriptor, 0o600)
            return descriptor
        os.close(descriptor)
    raise busy


def _open_part(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    if path.is_symlink():
        path.unlink()  # never ours; following it would write outside the library
    try:
        return os.open(path, flags, 0o600)
    except PermissionError:
        path.chmod(0o600)  # left read-only by a process that died while checking it
    except OSError as error:
        raise disk_error(error) from error
    return os.open(path, flags, 0o600)
