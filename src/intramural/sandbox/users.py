"""A user for each worker where the service is root: numbers that belong to nobody, lent one at a time.

Two workers of one number would be one user to the kernel: they could signal each other but for the other layers, and
the threads of one would count against the limit of the other. A number is held by a lock on a file, so that several
services on one machine (or a command beside one) never lend the same, and a crash gives it back.
"""

import fcntl
import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from intramural.core.errors import Unavailable
from intramural.sandbox.kernel import failed

#: A gap in systemd's table of reserved numbers (systemd.io/UIDS-GIDS); from 61 184 on its dynamic users follow.
FIRST, COUNT = 61_000, 184
_NAME = "intramural-users"
_PLACES = (Path("/run"), Path("/tmp"))  # noqa: S108 — only a directory in there that is root's and closed is used


@dataclass(frozen=True, slots=True)
class Lent:
    """A user number, and the lock that keeps it ours."""

    uid: int
    lock: int

    def give_back(self) -> None:
        """From now on others may have it: call it when no process of that user is left."""
        os.close(self.lock)


def lend() -> Lent:
    """A number that no other worker on this machine has.

    Raises Unavailable(`no_worker_user`) when all are lent, Broken(`confinement_failed`) where no lock can be kept.
    """
    directory = place()
    for uid in range(FIRST, FIRST + COUNT):
        lock = os.open(directory / str(uid), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        if _locked(lock) and not _is_somebody(uid):
            return Lent(uid, lock)
        os.close(lock)
    raise Unavailable(
        "no_worker_user",
        f"All {COUNT} user numbers for workers are in use on this machine.",
        "Unload a model, or wait until a worker ends.",
        retry_after_s=5.0,
    )


def place() -> Path:
    """Where the locks lie; made if it is not there. Raises Broken(`confinement_failed`)."""
    for place in _PLACES:
        directory = place / _NAME
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
            found = directory.lstat()
        except OSError:
            continue
        if stat.S_ISDIR(found.st_mode) and found.st_uid == 0 and not found.st_mode & 0o077:
            return directory
    raise failed("uid", f"no directory for locks can be made in {' or '.join(map(str, _PLACES))}")


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_somebody(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
