"""A disk of a test's own: small, and full, without inodes, read-only or broken whenever the test says so."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


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


class Broken:
    """A file system on blocks, at `path`. The kernel makes it read-only when it finds that something is wrong with it:
    also under whoever writes there, which no remount can (it is refused while a file is open to be written)."""

    def __init__(self, path: Path, image: Path) -> None:
        self.path = path
        self._image = image

    def mount(self) -> None:
        subprocess.run(["mount", "-o", "loop,errors=remount-ro", self._image, self.path], check=True)
        self.path.chmod(0o700)

    def breaks(self) -> None:
        """The kernel has found an error."""
        found = subprocess.run(["findmnt", "-no", "SOURCE", self.path], check=True, capture_output=True, text=True)
        Path("/sys/fs/ext4", Path(found.stdout.strip()).name, "trigger_fs_error").write_text("1")

    def repaired(self) -> None:
        """As an administrator does it. Nothing may be open there."""
        subprocess.run(["umount", self.path], check=True)
        done = subprocess.run(["e2fsck", "-fy", self._image], check=False, capture_output=True, text=True)
        assert done.returncode in (0, 1), done  # 1: and it is well again
        self.mount()


@contextmanager
def breakable(path: Path, size_bytes: int) -> Iterator[Broken]:
    """Needs root, and a machine that can do it: else the test is skipped."""
    if shutil.which("mkfs.ext4") is None or not Path("/dev/loop-control").exists():
        pytest.skip("no file system on blocks can be made here")
    image = path.with_suffix(".image")
    with image.open("wb") as file:
        file.truncate(size_bytes)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    path.mkdir()
    disk = Broken(path, image)
    disk.mount()
    try:
        (path / "lost+found").rmdir()
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)  # a test that failed may have left somebody there
