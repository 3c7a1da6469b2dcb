"""A model that already lies on this disk need not lie there twice: hard links and clones, where they are safe.

A hard link shares its bytes with the original: whoever may write to one writes to both. So a file is linked only if

- it is a regular file of ours, of exactly the announced size, on the library's own file system;
- taking away the permission to write is the only change that makes its mode 0444 (nothing becomes readable that was
  not, and it is no program), and that was done before the first byte is hashed;
- nobody has it open for writing: the kernel grants a read lease then, and only then (fcntl(2), F_SETLEASE).

What remains is what can be done to the library's own blobs too: this user, or root, may give himself leave to write.
That is why every load hashes again. Where a link is not safe, a clone (FICLONE: Btrfs, XFS, bcachefs) shares the disk
space and nothing else. Both are verified and inspected like bytes from anywhere.
"""

import fcntl
import os
import signal
import stat
from pathlib import Path
from typing import Final

from intramural.core.durable import sync_folder
from intramural.core.errors import Untrusted
from intramural.library.blobs import Blob, disk_error

#: ioctl(2) number of FICLONE, `_IOW(0x94, 9, int)`.
_FICLONE: Final = 0x40049409
_WRITE: Final = 0o222
_SHELVED: Final = 0o444


class Linked:
    """A file of ours that may become a blob under a second name. Does for a flight what `blobs.Part` does.

    `discard` gives the original its old mode back; `close` in any case. The original is never written to or removed.
    """

    def __init__(self, descriptor: int, mode: int, second: Path, target: Path, blob: Blob) -> None:
        self._descriptor, self._mode = descriptor, mode
        self._second, self._target, self._blob = second, target, blob
        self._is_shelved = False

    def open_readonly(self) -> int:
        """A descriptor of its own of the very file that was examined."""
        return _reopened(self._descriptor)

    def shelve(self, checked: int) -> None:
        """Give the very file that `checked` reads its name on the shelf, durably. Raises Untrusted(`part_replaced`)."""
        try:
            _link(checked, self._second)
            if not self._is_unchanged(checked):
                self._second.unlink()
                raise _replaced()
            self._second.replace(self._target)
            self._is_shelved = True
            self._second.unlink(missing_ok=True)  # rename(2) leaves both names where they are one file already
        except FileNotFoundError as error:  # it has no name any more
            raise _replaced() from error
        except OSError as error:
            raise disk_error(error) from error
        for folder in {self._target.parent, self._second.parent}:
            sync_folder(folder)

    def _is_unchanged(self, checked: int) -> bool:
        found, expected = self._second.lstat(), os.fstat(checked)
        same = (found.st_dev, found.st_ino) == (expected.st_dev, expected.st_ino)
        return same and found.st_size == self._blob.size_bytes and stat.S_IMODE(found.st_mode) == _SHELVED

    def discard(self) -> None:
        """It did not become a blob: leave it as it was found."""
        if not self._is_shelved:
            os.fchmod(self._descriptor, self._mode)

    def close(self) -> None:
        """Let go of it. Nothing else changes."""
        os.close(self._descriptor)


def link(original: int, second: Path, target: Path, blob: Blob) -> Linked | None:
    """The file that `original` reads, write-protected and ready to be verified, if it is safe to share its bytes.

    Else None, and the file is as it was. `second` is a name in the library's own folder that nobody else uses
    meanwhile, `target` the blob's. A service that dies in between leaves the original with mode 0444.
    """
    mode = stat.S_IMODE(os.fstat(original).st_mode)
    if not _is_safe(original, blob.size_bytes, mode & ~_WRITE):
        return None
    try:
        os.fchmod(original, _SHELVED)
        # Opened anew: on an overlay the change of mode may just have copied the file, and this is the copy.
        descriptor = _reopened(original)
    except OSError:  # a disk that cannot be written to
        return None
    linked = Linked(descriptor, mode, second, target, blob)
    if _is_safe(descriptor, blob.size_bytes, _SHELVED) and _has_no_writer(descriptor) and _can_link(descriptor, second):
        return linked
    linked.discard()
    linked.close()
    return None


def clone(original: int, descriptor: int, size_bytes: int) -> bool:
    """Make the empty file behind `descriptor` a clone of `original`, sharing disk space until either is written to.

    False, and still empty, where the file system cannot, or the size is another.
    """
    try:
        if os.fstat(original).st_size != size_bytes:
            return False
        fcntl.ioctl(descriptor, _FICLONE, original)
        if os.fstat(descriptor).st_size == size_bytes:
            return True
        os.ftruncate(descriptor, 0)
    except OSError:
        pass
    return False


def _is_safe(descriptor: int, size_bytes: int, mode: int) -> bool:
    found = os.fstat(descriptor)
    ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_size == size_bytes
    return ours and mode == _SHELVED


def _has_no_writer(descriptor: int) -> bool:
    """Whether nobody has the file open for writing. False also where the kernel or file system cannot tell."""
    try:
        # Should root open it in these microseconds, the kernel sends a signal: one that is ignored unless asked for.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False
    return True


def _can_link(descriptor: int, second: Path) -> bool:
    """Whether a link works there (another mount, a file system without links, too many): tried, and taken back."""
    try:
        _link(descriptor, second)
        second.unlink()
    except OSError:
        return False
    return True


def _link(descriptor: int, second: Path) -> None:
    """Give the very file behind `descriptor` a second name: whatever its first one leads to by now."""
    second.unlink(missing_ok=True)
    # Only linkat(2) follows the link in /proc, and Python calls it only if given a folder (which goes unused here).
    os.link(f"/proc/self/fd/{descriptor}", second, src_dir_fd=descriptor, follow_symlinks=True)


def _reopened(descriptor: int) -> int:
    return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)


def _replaced() -> Untrusted:
    return Untrusted("part_replaced", "The checked file was changed before it was shelved.", "Pull it again.")
