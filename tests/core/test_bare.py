"""What a picture says besides its pixels is left out, and its pixels are not touched."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import pictures

from intramural.core.bare import bare
from intramural.core.pictures import look_at

SECRET = b"52.5163N 13.3777E, taken by Ada"


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _exif(turned: int, order: str) -> bytes:
    """As cameras write it: a maker, the orientation, a place."""
    head = b"II*\x00" if order == "<" else b"MM\x00*"
    entries = [
        struct.pack(f"{order}HHII", 0x010F, 2, len(SECRET), 50),
        struct.pack(f"{order}HHIHH", 0x0112, 3, 1, turned, 0),
    ]
    return head + struct.pack(f"{order}IH", 8, len(entries)) + b"".join(entries) + bytes(4) + SECRET


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", 2 + len(body)) + body


def _jpeg(*about: bytes, thumbnail: bytes = b"") -> bytes:
    """Two scans, as progressive ones have, with stuffed zeros and a restart in them."""
    jfif = _segment(0xE0, b"JFIF\x00\x01\x02\x00\x00\x01\x00\x01" + b"\x00\x00" + thumbnail)
    frame = _segment(0xC2, struct.pack(">BHHB", 8, 5, 3, 1) + b"\x01\x11\x00")
    scan = _segment(0xDA, b"\x01\x01\x00\x00\x3f\x00") + b"\x12\xff\x00\x34\xff\xd0\x56\xff\xff\x00\x78"
    tables = _segment(0xC4, b"\x00" * 17)
    adobe = _segment(0xEE, b"Adobe\x00\x64\x00\x00\x00\x00\x01")
    return b"\xff\xd8" + jfif + b"".join(about) + adobe + frame + tables + scan + tables + scan + b"\xff\xd9"


def _webp(*about: bytes, flags: int = 0) -> bytes:
    def part(kind: bytes, body: bytes) -> bytes:
        return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)

    head = part(b"VP8X", bytes([flags, 0, 0, 0]) + (2).to_bytes(3, "little") + (4).to_bytes(3, "little"))
    pixels = part(b"VP8L", b"\x2f" + (2 | 4 << 14).to_bytes(4, "little") + b"pixels")
    body = (
        b"WEBP" + head + pixels + b"".join(part(b"EXIF" if at == 0 else b"XMP ", each) for at, each in enumerate(about))
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _gif(*about: bytes) -> bytes:
    head = b"GIF89a" + struct.pack("<HH", 3, 5) + b"\x80\x00\x00" + bytes(6)
    loop = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"
    control = b"\x21\xf9\x04\x00\x0a\x00\x00\x00"
    frame = b"\x2c" + struct.pack("<HHHH", 0, 0, 3, 5) + b"\x80" + bytes(6) + b"\x02\x02\x4c\x01\x00"
    return head + loop + b"".join(about) + control + frame + b";"


PNG = pictures.png(3, 5)
PNG_ABOUT = (
    PNG[:33]
    + b"".join(_chunk(kind, SECRET) for kind in (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME", b"iCCP", b"prVt"))
    + PNG[33:]
)
GIF_ABOUT = (
    b"\x21\xfe" + bytes([len(SECRET)]) + SECRET + b"\x00",
    b"\x21\xff\x0bXMP DataXMP" + bytes([len(SECRET)]) + SECRET + b"\x00",
)
ABOUT = [
    (PNG_ABOUT + SECRET, PNG),
    (
        _jpeg(
            _segment(0xE1, b"http://ns.adobe.com/xap/1.0/\x00" + SECRET),
            _segment(0xE2, b"ICC_PROFILE\x00" + SECRET),
            _segment(0xED, SECRET),
            _segment(0xFE, SECRET),
            _segment(0xE0, b"JFXX\x00" + SECRET),
            thumbnail=SECRET,
        )
        + SECRET,
        _jpeg(),
    ),
    (_jpeg(_segment(0xE1, b"Exif\x00\x00" + _exif(1, "<"))), _jpeg()),
    (_webp(_exif(1, ">"), SECRET, flags=0x2C | 0x10) + SECRET, _webp(flags=0x10)),
    (_gif(*GIF_ABOUT) + SECRET, _gif()),
]  # fmt: skip


@pytest.mark.parametrize(("data", "wanted"), ABOUT, ids=["png", "jpeg", "jpeg exif", "webp", "gif"])
def test_what_is_said_about_it_is_left_out_and_nothing_else(data: bytes, wanted: bytes) -> None:
    assert SECRET in data
    assert bare(data, "x") == wanted
    assert bare(wanted, "x") == wanted, "where nothing is said, nothing changes"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("turned", range(1, 9))
def test_how_it_is_turned_stays(turned: int, order: str) -> None:
    for made in (_jpeg(_segment(0xE1, b"Exif\x00\x00" + _exif(turned, order))), _webp(_exif(turned, order), flags=8)):
        found = bare(made, "x")
        assert SECRET not in found
        assert found[:20] == _jpeg()[:20] or found[:4] == b"RIFF", "JFIF stays first"
        said = struct.pack(">HHIH", 0x0112, 3, 1, turned)
        assert (said in found) == (turned != 1)
        assert bare(found, "x") == found
        assert look_at(found, "x") == look_at(made, "x")


@given(st.sampled_from([PNG_ABOUT, ABOUT[1][0], ABOUT[3][0], ABOUT[4][0]]), st.data())
def test_broken_ones_end_too(data: bytes, drawn: st.DataObject) -> None:
    """Cut off or changed anywhere behind the head, it comes out somehow, no longer than it was but for the turning."""
    at = drawn.draw(st.integers(33, len(data) - 1))
    broken = data[:at] + drawn.draw(st.binary(max_size=8)) + data[at + drawn.draw(st.integers(0, 8)) :]
    try:
        look_at(broken, "x")
    except Exception:
        return
    assert len(bare(broken, "x")) <= len(broken) + 64
