"""Linking and cloning: when a file on this disk may share its bytes with the library, and what it costs its owner."""

import os
import stat
from pathlib import Path

import pytest
from tests.fakes.gguf_file import tiny_model
from tests.fakes.source import blob_of

from intramural.core.errors import Untrusted
from intramural.library.blobs import Blob, Blobs, digest_of
from intramural.library.linking import Linked, clone, link

BODY = tiny_model(extra_bytes=4096)
BLOB = blob_of(BODY)


class Place:
    """A library's folders with a model beside them."""

    def __init__(self, root: Path) -> None:
        self.blobs = Blobs(root / "library")
        self.second = root / "library" / "incoming" / "second.link"
        self.original = root / "model.gguf"
        self.original.write_bytes(BODY)
        self.original.chmod(0o644)

    def link(self, blob: Blob = BLOB, original: Path | None = None) -> Linked | None:
        descriptor = os.open(original or self.original, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return link(descriptor, self.second, self.blobs.path(BLOB.digest), blob)
        finally:
            os.close(descriptor)

    def mode(self) -> int:
        return stat.S_IMODE(self.original.stat().st_mode)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_a_file_of_ours_becomes_a_blob_without_a_copy(place: Place) -> None:
    linked = place.link()
    assert linked is not None
    assert place.mode() == 0o444, "protected before it is hashed"
    checked = linked.open_readonly()
    assert await digest_of(checked, len(BODY)) == BLOB
    linked.shelve(checked)
    os.close(checked)
    linked.close()
    assert place.blobs.has(BLOB)
    assert place.blobs.path(BLOB.digest).samefile(place.original)
    assert place.original.stat().st_nlink == 2
    assert not place.second.exists()


def test_what_is_linked_already_is_linked_again(place: Place) -> None:
    for _ in range(2):
        linked = place.link()
        assert linked is not None
        checked = linked.open_readonly()
        linked.shelve(checked)
        os.close(checked)
        linked.close()
    assert not place.second.exists()
    assert place.original.stat().st_nlink == 2


def test_a_file_that_fails_a_check_gets_its_mode_back(place: Place) -> None:
    linked = place.link()
    assert linked is not None
    linked.discard()
    linked.close()
    assert place.mode() == 0o644
    assert place.original.read_bytes() == BODY
    assert place.original.stat().st_nlink == 1


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o440, 0o755, 0o4644, 0o000])
def test_a_mode_that_would_need_more_than_taking_writing_away_is_left_alone(place: Place, mode: int) -> None:
    """Making a private file readable for everybody, or a program no program, is not ours to do."""
    place.original.chmod(mode)
    assert place.link() is None
    assert place.mode() == mode


@pytest.mark.parametrize("mode", [0o444, 0o644, 0o664, 0o666])
def test_modes_that_can_be_protected(place: Place, mode: int) -> None:
    place.original.chmod(mode)
    linked = place.link()
    assert linked is not None
    linked.discard()
    linked.close()
    assert place.mode() == mode


def test_a_file_open_for_writing_is_not_linked(place: Place) -> None:
    """Its mode keeps nobody from writing who has it open already."""
    with place.original.open("r+b"):
        assert place.link() is None
        assert place.mode() == 0o644
    linked = place.link()
    assert linked is not None
    linked.close()


def test_what_is_not_the_announced_file_is_not_linked(place: Place, tmp_path: Path) -> None:
    assert place.link(Blob(BLOB.digest, len(BODY) + 1)) is None
    assert place.link(original=tmp_path) is None
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert place.link(original=fifo) is None
    assert place.mode() == 0o644


def test_a_symbolic_link_is_followed_to_the_file(place: Place, tmp_path: Path) -> None:
    pointer = tmp_path / "pointer.gguf"
    pointer.symlink_to(place.original)
    linked = place.link(original=pointer)
    assert linked is not None
    checked = linked.open_readonly()
    linked.shelve(checked)
    os.close(checked)
    linked.close()
    assert place.blobs.path(BLOB.digest).samefile(place.original)
    assert not place.blobs.path(BLOB.digest).is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_somebody_elses_file_is_not_linked(place: Place) -> None:
    os.chown(place.original, 65534, 65534)
    assert place.link() is None
    assert place.mode() == 0o644


def test_another_file_system_is_not_linked(place: Place) -> None:
    elsewhere = Path("/dev/shm") / f"intramural-{os.getpid()}.gguf"
    if elsewhere.parent.stat().st_dev == place.original.stat().st_dev:
        pytest.skip("one file system only")
    elsewhere.write_bytes(BODY)
    try:
        elsewhere.chmod(0o644)
        assert place.link(original=elsewhere) is None
        assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o644
    finally:
        elsewhere.unlink()


def test_a_file_put_in_its_place_while_it_was_checked_is_refused(place: Place, tmp_path: Path) -> None:
    linked = place.link()
    assert linked is not None
    checked = linked.open_readonly()
    other = tmp_path / "other"
    other.write_bytes(tiny_model(seed=1, extra_bytes=4096))
    other.chmod(0o444)
    other.replace(place.original)
    with pytest.raises(Untrusted) as refused:
        linked.shelve(checked)
    assert refused.value.code == "part_replaced"
    os.close(checked)
    linked.close()
    assert not place.second.exists()
    assert not place.blobs.has(BLOB)


def test_a_file_made_writable_while_it_was_checked_is_refused(place: Place) -> None:
    linked = place.link()
    assert linked is not None
    checked = linked.open_readonly()
    place.original.chmod(0o664)
    with pytest.raises(Untrusted) as refused:
        linked.shelve(checked)
    assert refused.value.code == "part_replaced"
    os.close(checked)
    linked.close()
    assert not place.blobs.has(BLOB)


def test_a_clone_is_whole_or_not_there(place: Place, tmp_path: Path) -> None:
    """What this disk can is its own affair; a clone that did not succeed leaves the file empty for a copy."""
    target = os.open(tmp_path / "clone", os.O_RDWR | os.O_CREAT, 0o600)
    original = os.open(place.original, os.O_RDONLY)
    if clone(original, target, len(BODY)):
        assert os.pread(target, len(BODY) + 1, 0) == BODY
    else:
        assert os.fstat(target).st_size == 0
    os.close(target)
    fresh = os.open(tmp_path / "fresh", os.O_RDWR | os.O_CREAT, 0o600)
    assert not clone(original, fresh, len(BODY) + 1)
    assert not clone(target, fresh, -1)
    assert os.fstat(fresh).st_size == 0
    os.close(fresh)
    os.close(original)
