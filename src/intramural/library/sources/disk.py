"""Files of this machine, opened for reading only: what was named is followed, what was merely found beside it is not.

Whoever may write to a folder could put a symbolic link there to a file that this service may read and he may not. So on
the way from a named folder down, a symbolic link counts only if root or this service's user made it.
"""

import os
import stat
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Final

from intramural.core.errors import Missing, Untrusted
from intramural.library.blobs import CHUNK_BYTES
from intramural.library.threads import in_thread

# O_NONBLOCK: opening a FIFO must not wait for somebody to write to it.
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_FIND: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


async def read_from(opened: Callable[[], int], offset: int) -> AsyncGenerator[bytes, None]:
    """The bytes from `offset` on of the file that `opened` opens. Raises Missing(`file_not_readable`)."""
    descriptor = opened()
    try:
        while chunk := await in_thread(os.pread, descriptor, CHUNK_BYTES, offset):
            offset += len(chunk)
            yield chunk
    except OSError as error:
        raise unreadable() from error
    finally:
        os.close(descriptor)


def open_regular(path: str | Path) -> int:
    """A descriptor that reads a regular file, and waits for nothing. Raises Missing(`file_not_readable`)."""
    try:
        descriptor = os.open(path, _READ)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise unreadable() from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise unreadable()
    return descriptor


def open_beneath(folder: Path, *parts: str) -> int:
    """As `open_regular`, the file `parts` below `folder`: one step at a time, none of them up.

    Raises Missing(`file_not_readable`), Untrusted(`link_refused`).
    """
    if any(part in ("", ".", "..") or "/" in part for part in parts):
        raise unreadable()
    here = -1
    try:
        here = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        for part in parts:
            there = _step(here, part)
            os.close(here)
            here = there
        return open_regular(f"/proc/self/fd/{here}")
    except (OSError, ValueError) as error:
        raise unreadable() from error
    finally:
        if here >= 0:
            os.close(here)


def _step(here: int, part: str) -> int:
    """A descriptor of what `part` is in the folder `here`."""
    there = os.open(part, _FIND, dir_fd=here)
    found = os.fstat(there)
    if not stat.S_ISLNK(found.st_mode):
        return there
    try:
        if found.st_uid not in (0, os.geteuid()):
            hint = "Name the file it leads to, or have its owner put the file itself there."
            raise Untrusted("link_refused", f"{part} is a symbolic link that another user made.", hint)
        # Of this very link, whatever its name means by now. What it leads through is its maker's choice.
        return os.open(os.readlink("", dir_fd=there), os.O_PATH | os.O_CLOEXEC, dir_fd=here)
    finally:
        os.close(there)


def unreadable() -> Missing:
    """One error for whatever cannot be read."""
    hint = "Give the path of a GGUF file that this service may read; sealed, it reads `sandbox.read_folders`."
    return Missing("file_not_readable", "There is no readable regular file at that path.", hint, param="source")
