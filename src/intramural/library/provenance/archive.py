"""A bundle as one tar file or as a folder: the same members under the same names.

The tar file has no compression, no dates, no owners and no kind of member but plain files, and its reader accepts
exactly what the writer writes: each header is compared, byte by byte, with the one that the index calls for. So links,
devices, names that lead elsewhere, sizes that disagree and members given twice are not cases to think of; they are
merely not equal. `tar -tf` and `tar -xf` read it as well.
"""

import os
import stat
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from intramural.core.errors import Missing, Untrusted

INDEX, SIGNATURE = "bundle.json", "bundle.sig"
MAX_INDEX_BYTES = 16 << 20
BLOCK_BYTES = 512
END = bytes(2 * BLOCK_BYTES)

_GET_AGAIN = "Nothing was changed. Copy the bundle again from where it was made, and compare the two."
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def header(name: str, size_bytes: int) -> bytes:
    """The 512 bytes before a member's content."""
    info = tarfile.TarInfo(name)
    info.size = size_bytes
    block = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")
    if len(block) != BLOCK_BYTES:
        raise ValueError(f"{name!r} is too long for a member's name")
    return block


def padding(size_bytes: int) -> bytes:
    """The zeros behind a member's content."""
    return bytes(-size_bytes % BLOCK_BYTES)


class Archive(Protocol):
    """An opened bundle. Its members' sizes are those of the index; nothing is said about their bytes."""

    def first(self, name: str, limit_bytes: int) -> bytes | None:
        """The whole of `bundle.json` or, next, `bundle.sig`; None if there is none. Raises Untrusted."""
        ...

    def expect(self, sizes: Mapping[str, int]) -> None:
        """Check that these members and no others follow, in this order. Raises Untrusted."""
        ...

    def pread(self, name: str, size_bytes: int, offset: int) -> bytes:
        """Some bytes of an expected member; fewer at its end. Raises OSError."""
        ...


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """The tar file or folder at `path`. Raises Missing(`bundle_not_readable`)."""
    try:
        descriptor = os.open(path, _READ_FLAGS & ~os.O_NOFOLLOW)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _unreadable() from error
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            yield Folder(descriptor)
        elif stat.S_ISREG(mode):
            yield Tar(descriptor)
        else:
            raise _unreadable()
    finally:
        os.close(descriptor)


def _unreadable() -> Missing:
    hint = "Give the path of a bundle that this service may read."
    return Missing("bundle_not_readable", "There is no readable file or folder at that path.", hint, param="bundle")


def refuse(code: str, message: str) -> NoReturn:
    """The bundle is not what its maker made."""
    raise Untrusted(code, message, _GET_AGAIN)


# one file -------------------------------------------------------------------------------------------------------------


@dataclass
class Tar:
    """A tar file behind `descriptor`, read by position."""

    descriptor: int

    def __post_init__(self) -> None:
        self._next = 0
        self._seen: dict[str, tuple[int, int]] = {}  # name -> where its content is, and how long

    def first(self, name: str, limit_bytes: int) -> bytes | None:
        block = os.pread(self.descriptor, BLOCK_BYTES, self._next)
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except (tarfile.HeaderError, UnicodeError):
            if name == INDEX:
                refuse("bundle_unreadable", "This is not a bundle: it does not begin with an index.")
            return None
        if info.name != name and name == SIGNATURE:
            return None
        if info.name == name and info.size > limit_bytes:
            refuse("bundle_too_large", f"Its {name} is larger than any is.")
        self._member(name, info.size)
        return self.pread(name, info.size, 0)

    def expect(self, sizes: Mapping[str, int]) -> None:
        for name, size_bytes in sizes.items():
            self._member(name, size_bytes)
        ending = os.pread(self.descriptor, len(END) + 1, self._next)
        if len(ending) < len(END):
            refuse("bundle_truncated", "The bundle is cut off at its end.")
        if ending != END:
            self._explain(ending[:BLOCK_BYTES], None)
            refuse("bundle_extra", "Something follows after the bundle's end.")

    def pread(self, name: str, size_bytes: int, offset: int) -> bytes:
        start, length = self._seen[name]
        return os.pread(self.descriptor, max(0, min(size_bytes, length - offset)), start + offset)

    def _member(self, name: str, size_bytes: int) -> None:
        """The next member must be `name`; go behind it."""
        block = os.pread(self.descriptor, BLOCK_BYTES, self._next)
        if block != header(name, size_bytes):
            self._explain(block, name)
            refuse("bundle_damaged", f"The header of {name} is not as it was written.")
        start = self._next + BLOCK_BYTES
        zeros = padding(size_bytes)
        behind = start + size_bytes + len(zeros)
        if os.fstat(self.descriptor).st_size < behind:
            refuse("bundle_truncated", f"The bundle is cut off in {name}.")
        if os.pread(self.descriptor, len(zeros), start + size_bytes) != zeros:
            refuse("bundle_damaged", f"What follows {name} is not as it was written.")
        self._seen[name] = (start, size_bytes)
        self._next = behind

    def _explain(self, block: bytes, name: str | None) -> None:
        """Refuse with the reason, if there is one to be named."""
        if len(block) < BLOCK_BYTES or (name and not any(block)):
            refuse("bundle_truncated", f"The bundle is cut off before {name or 'its end'}.")
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except (tarfile.HeaderError, UnicodeError):
            return
        shown = repr(info.name[:80])
        if info.type != tarfile.REGTYPE:
            refuse("bundle_not_a_file", f"{shown} in the bundle is a link, a device or another thing than a file.")
        if info.name.startswith("/") or ".." in info.name.split("/"):
            refuse("bundle_names", f"{shown} in the bundle leads out of it.")
        if info.name in self._seen:
            refuse("bundle_duplicate", f"{shown} is in the bundle twice.")
        if info.name != name:
            refuse("bundle_extra", f"The bundle has {shown} where its index has {name or 'nothing more'}.")


# a folder -------------------------------------------------------------------------------------------------------------


@dataclass
class Folder:
    """A folder behind `descriptor`; no link in it is followed."""

    descriptor: int

    def __post_init__(self) -> None:
        self._sizes: dict[str, int] = {}

    def first(self, name: str, limit_bytes: int) -> bytes | None:
        found = dict(self._walk(self.descriptor, ""))
        if name not in found:
            if name == INDEX:
                refuse("bundle_unreadable", "This is not a bundle: it has no index.")
            return None
        if found[name] > limit_bytes:
            refuse("bundle_too_large", f"Its {name} is larger than any is.")
        self._sizes[name] = found[name]
        return self.pread(name, found[name], 0)

    def expect(self, sizes: Mapping[str, int]) -> None:
        self._sizes.update(sizes)
        found = dict(self._walk(self.descriptor, ""))
        for name, size_bytes in self._sizes.items():
            if found.get(name) != size_bytes:
                refuse("bundle_truncated", f"{name} in the bundle is missing or has another length.")
        for name in sorted(found.keys() - self._sizes.keys()):
            refuse("bundle_extra", f"{name[:80]!r} is in the bundle and not in its index.")

    def pread(self, name: str, size_bytes: int, offset: int) -> bytes:
        *folders, file = name.split("/")
        holders = [self.descriptor]
        try:
            for each in folders:
                holders.append(os.open(each, _READ_FLAGS | os.O_DIRECTORY, dir_fd=holders[-1]))
            holders.append(os.open(file, _READ_FLAGS, dir_fd=holders[-1]))
            return os.pread(holders[-1], max(0, min(size_bytes, self._sizes[name] - offset)), offset)
        finally:
            for each_ in holders[1:]:
                os.close(each_)

    def _walk(self, holder: int, before: str, depth: int = 0) -> Iterator[tuple[str, int]]:
        """Every file below, with its size. Raises Untrusted for anything that is neither file nor folder."""
        with os.scandir(holder) as entries:
            found: Sequence[os.DirEntry[str]] = list(entries)
        for entry in found:
            name = f"{before}{entry.name}"
            about = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(about.st_mode):
                yield name, about.st_size
            elif stat.S_ISDIR(about.st_mode) and depth < 2:
                below = os.open(entry.name, _READ_FLAGS | os.O_DIRECTORY, dir_fd=holder)
                try:
                    yield from self._walk(below, f"{name}/", depth + 1)
                finally:
                    os.close(below)
            else:
                refuse("bundle_not_a_file", f"{name[:80]!r} in the bundle is a link or another thing than a file.")
