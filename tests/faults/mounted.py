"""A disk of a test's own: small, and full, without inodes or read-only whenever the test says so."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Mounted:
    """A file system in memory at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        """Nothing more can be written, not a byte."""
        with self._filler.open("wb", buffering=0) as out:
            for size_bytes in (2**20, 4096):  # a file takes whole pages
                try:
                    while out.write(bytes(size_bytes)) == size_bytes:
                        pass
                except OSError:
                    continue

    def take_inodes(self) -> None:
        """No file can be made any more; those that are there can grow."""
        self._filler.mkdir()
        try:
            for number in range(10**6):
                (self._filler / str(number)).touch()
        except OSError:
            return

    def mend(self) -> None:
        """There is room again."""
        if self._filler.is_dir():
            for each in self._filler.iterdir():
                each.unlink()
            self._filler.rmdir()
        else:
            self._filler.unlink(missing_ok=True)

    def remount(self, how: str) -> None:
        """`ro` or `rw`."""
        subprocess.run(["mount", "-o", f"remount,{how}", self.path], check=True)


@contextmanager
def mounted(path: Path, size: str, inodes: int = 1000) -> Iterator[Mounted]:
    """`size` as mount has it (`64m`). Needs root. Nothing may be open there at the end."""
    path.mkdir()
    options = f"size={size},nr_inodes={inodes},mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=True)
    try:
        yield Mounted(path)
    finally:
        subprocess.run(["umount", path], check=True)
