"""Sealed files: the bytes that went in come out, from anywhere; anything else is noticed."""

import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intramural.core.errors import Untrusted
from intramural.vault.streams import PIECE_BYTES, Opened, Sealer, head_of

KEY, BOUND = bytes(32), b"file|f|ada"
SIZES = (0, 1, 1000, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES, 3 * PIECE_BYTES + 7)


def sealed(data: bytes, step: int = 50_000, bound: bytes = BOUND) -> bytes:
    sealer = Sealer(KEY, 3, bound)
    parts = [sealer.begin, *(sealer.more(data[at : at + step]) for at in range(0, len(data), step)), sealer.end()]
    return b"".join(parts)


def opened(folder: Path, data: bytes, key: bytes = KEY, bound: bytes = BOUND) -> io.BufferedReader:
    (folder / "f").write_bytes(data)
    file = (folder / "f").open("rb")
    head = head_of(file)
    assert head is not None and head[0] == 3
    return io.BufferedReader(Opened(file, key, head[1], bound), PIECE_BYTES)


@pytest.mark.parametrize("size", SIZES)
def test_what_went_in_comes_out(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    with opened(tmp_path, sealed(data, step=70_001)) as file:
        assert file.read() == data
        assert file.read() == b""
        for at in (0, 1, size // 2, max(0, size - 3), size, size + 10):
            file.seek(at)
            assert file.read(100) == data[at : at + 100]
        assert file.seek(0, os.SEEK_END) == size
    assert size < 16 or data[:16] not in sealed(data)


def test_pieces_cannot_be_moved_cut_off_or_taken_over(tmp_path: Path) -> None:
    whole = sealed(os.urandom(3 * PIECE_BYTES + 100))
    head, step = 28, PIECE_BYTES + 16
    pieces = [whole[head + n * step : head + (n + 1) * step] for n in range(4)]
    wrong = {
        "exchanged": whole[:head] + pieces[1] + pieces[0] + pieces[2] + pieces[3],
        "cut off": whole[: head + 3 * step],
        "shortened": whole[:-1],
        "lengthened": whole + pieces[3],
        "changed": whole[:-1] + bytes([whole[-1] ^ 1]),
        "another's head": sealed(b"")[:head] + whole[head:],
    }
    for what, data in wrong.items():
        with pytest.raises(Untrusted), opened(tmp_path, data) as file:
            file.read()
            pytest.fail(what)
    for key, bound in ((b"\1" * 32, BOUND), (KEY, b"file|f|bob"), (KEY, b"file|g|ada")):
        with pytest.raises(Untrusted), opened(tmp_path, whole, key, bound) as file:
            file.read()


def test_an_emptied_file_is_no_empty_file(tmp_path: Path) -> None:
    with pytest.raises(Untrusted), opened(tmp_path, sealed(b"something")[:28]) as file:
        file.read()


@given(st.binary(max_size=100))
def test_what_is_no_sealed_file_is_told(data: bytes) -> None:
    assert head_of(io.BytesIO(data)) is None
