"""Files that are there whole or not at all, whatever ends the process or the machine, and when. Blocking.

What is written lies beside its place until every byte of it is on the disk, under a name that begins with a dot and
ends in `.part`; then it gets its own name, and that is on the disk too. What a crash leaves beside it is nobody's file:
who lists a folder passes over it, backups leave it out, and it is in nobody's way.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

#: For files that are no secret: as a plain `open` makes them, which the process's umask lowers.
ORDINARY = 0o666
_FOR_ITS_OWNER = 0o600
_BESIDE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def whole(file: Path, *, mode: int = _FOR_ITS_OWNER) -> Iterator[BinaryIO]:
    """What the block writes is `file`, durably, when the block has ended; an error in it leaves what was there.

    Whoever reads meanwhile finds what was there before or all of this. Of several writers the last one's stays, whole.
    Raises OSError.
    """
    with _beside(file, mode) as (part, out):
        yield out
        _flush(out)
        part.replace(file)
    sync_folder(file.parent)


def write_whole(file: Path, data: bytes, *, mode: int = _FOR_ITS_OWNER) -> None:
    """`file` holds `data`, as `whole` promises."""
    with whole(file, mode=mode) as out:
        out.write(data)


def make_whole(file: Path, data: bytes) -> bool:
    """As `write_whole`, but never over another: of several makers one's stays, and the others get False."""
    with _beside(file, _FOR_ITS_OWNER) as (part, out):
        out.write(data)
        _flush(out)
        try:
            file.hardlink_to(part)
        except FileExistsError:
            return False
    sync_folder(file.parent)
    return True


def sync_folder(folder: Path) -> None:
    """What was named, renamed or removed in `folder` stays so. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _beside(file: Path, mode: int) -> Iterator[tuple[Path, BinaryIO]]:
    # no two threads on a machine have one number, so nobody else writes this one; an older process's may have been left
    part = file.with_name(f".{file.name}.{threading.get_native_id()}.part")
    part.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(part, _BESIDE, mode), "wb") as out:
            yield part, out
    finally:
        part.unlink(missing_ok=True)


def _flush(out: BinaryIO) -> None:
    out.flush()
    os.fsync(out.fileno())
