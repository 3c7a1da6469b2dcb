"""Files that are there whole or not at all: what readers find meanwhile, what reaches the disk when, and who wins."""

import errno
import os
import threading
from pathlib import Path

import pytest

from intramural.core.durable import ORDINARY, make_whole, sync_folder, whole, write_whole


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the disk, in order: everything is done as well."""
    seen: list[str] = []
    sync, replace, link = os.fsync, Path.replace, Path.hardlink_to

    def synced(descriptor: int) -> None:
        target = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        seen.append("folder" if target.is_dir() else f"{target.stat().st_size} bytes")
        sync(descriptor)

    def replaced(self: Path, target: Path) -> Path:
        seen.append("named")
        return replace(self, target)

    def linked(self: Path, target: Path) -> None:
        seen.append("named")
        link(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    monkeypatch.setattr(Path, "hardlink_to", linked)
    return seen


def test_the_bytes_are_on_the_disk_before_the_name_and_the_name_before_it_returns(
    tmp_path: Path, steps: list[str]
) -> None:
    write_whole(tmp_path / "a", b"four")
    assert steps == ["4 bytes", "named", "folder"]
    steps.clear()
    assert make_whole(tmp_path / "b", b"seven ")
    assert steps == ["6 bytes", "named", "folder"]


def test_a_reader_finds_what_was_there_until_all_is_written(tmp_path: Path) -> None:
    file = tmp_path / "kept"
    write_whole(file, b"before")
    with whole(file) as out:
        out.write(b"af")
        out.flush()
        assert file.read_bytes() == b"before"
        out.write(b"ter")
    assert file.read_bytes() == b"after"
    assert os.listdir(tmp_path) == ["kept"]


def test_what_fails_leaves_what_was_there_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "kept"
    write_whole(file, b"before")
    with pytest.raises(ZeroDivisionError), whole(file) as out:
        out.write(b"half")
        raise ZeroDivisionError

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    for write in (write_whole, make_whole):
        with pytest.raises(OSError, match="full"):
            write(file, b"after")
    assert file.read_bytes() == b"before" and os.listdir(tmp_path) == ["kept"]


def test_what_a_crash_left_is_in_nobodys_way(tmp_path: Path) -> None:
    left = tmp_path / f".kept.{threading.get_native_id()}.part"
    left.write_bytes(b"a half, of an older process with this number")
    outside = tmp_path / "outside"
    outside.write_bytes(b"untouched")
    write_whole(tmp_path / "kept", b"after")
    assert not left.exists()
    left.symlink_to(outside)
    assert make_whole(tmp_path / "made", b"whole") and (tmp_path / "made").read_bytes() == b"whole"
    left.with_name(left.name.replace("kept", "made")).symlink_to(outside)
    write_whole(tmp_path / "made", b"again")
    assert outside.read_bytes() == b"untouched" and (tmp_path / "made").read_bytes() == b"again"


def test_of_several_at_once_one_is_there_whole(tmp_path: Path) -> None:
    written, made, won = tmp_path / "written", tmp_path / "made", []
    together = threading.Barrier(8)

    def one(number: int) -> None:
        data = bytes([number]) * 100_000
        together.wait()
        write_whole(written, data)
        if make_whole(made, data):
            won.append(number)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    found = written.read_bytes()
    assert len(found) == 100_000 and len(set(found)) == 1
    assert len(won) == 1 and made.read_bytes() == bytes(won) * 100_000
    assert sorted(os.listdir(tmp_path)) == ["made", "written"]


def test_it_is_for_its_owner_unless_it_is_said_to_be_no_secret(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_whole(tmp_path / "secret", b"")
        make_whole(tmp_path / "made", b"")
        write_whole(tmp_path / "plain", b"", mode=ORDINARY)
    finally:
        os.umask(before)
    modes = {each.name: each.stat().st_mode & 0o777 for each in tmp_path.iterdir()}
    assert modes == {"secret": 0o600, "made": 0o600, "plain": 0o644}


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    for gone in (lambda: sync_folder(tmp_path / "no"), lambda: write_whole(tmp_path / "no" / "file", b"")):
        with pytest.raises(FileNotFoundError):
            gone()
