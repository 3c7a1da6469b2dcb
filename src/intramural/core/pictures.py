"""What a picture says of itself in its first bytes: PNG, JPEG, WebP or GIF, and how large it will be once unpacked.

A file's name and what a client calls it say nothing. The size is read before a decoder sees the bytes: a few hundred
bytes can unpack to gigabytes. Sources: PNG (W3C) 11.2.1, JFIF/ITU T.81 B.2.2, RFC 9649 (WebP) 2.5 to 2.7, GIF89a 18.
"""

from dataclasses import dataclass

from intramural.core.errors import Misasked, TooLarge

MAX_PICTURE_BYTES = 16 * 2**20
#: 40 million pixels are the largest photographs that common cameras make, and 120 MB once unpacked.
MAX_PIXELS = 40_000_000
_WEBP = {b"VP8 ": 30, b"VP8L": 25, b"VP8X": 30}
#: JPEG markers that carry no length, and those that begin a frame (SOF0 to SOF15 without DHT, JPG and DAC).
_BARE = {0x01, *range(0xD0, 0xD9)}
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True, slots=True)
class Picture:
    """Its media type, and its width and height in pixels."""

    media_type: str
    width: int
    height: int


def look_at(data: bytes, param: str) -> Picture:
    """What `data` is. Raises Misasked(`bad_image`) where it is none of the four kinds, TooLarge(`image_too_large`)."""
    if len(data) > MAX_PICTURE_BYTES:
        raise TooLarge(
            "image_too_large", f"The image is over {MAX_PICTURE_BYTES} bytes.", "Send a smaller one.", param=param
        )
    found = _png(data) or _gif(data) or _webp(data) or _jpeg(data)
    if found is None or not found.width or not found.height:
        raise Misasked("bad_image", "That is no PNG, JPEG, WebP or GIF image.", "Send one of these.", param=param)
    if found.width * found.height > MAX_PIXELS:
        message = f"The image has {found.width} x {found.height} pixels; {MAX_PIXELS} in all are the most."
        raise TooLarge("image_too_large", message, "Send a smaller one.", param=param)
    return found


def _png(data: bytes) -> Picture | None:
    if len(data) < 33 or not data.startswith(b"\x89PNG\r\n\x1a\n") or data[12:16] != b"IHDR":
        return None
    return Picture("image/png", int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"))


def _gif(data: bytes) -> Picture | None:
    if len(data) < 13 or data[:6] not in (b"GIF87a", b"GIF89a"):
        return None
    return Picture("image/gif", int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little"))


def _webp(data: bytes) -> Picture | None:
    kind = data[12:16]
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < _WEBP.get(kind, 2**63):
        return None
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[i : i + 3], "little") + 1 for i in (24, 27))
    elif kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (int.from_bytes(data[i : i + 2], "little") & 0x3FFF for i in (26, 28))
    return Picture("image/webp", width, height)


def _jpeg(data: bytes) -> Picture | None:
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    at = 2
    while True:
        while data[at : at + 2] == b"\xff\xff":  # fill bytes
            at += 1
        if data[at : at + 1] != b"\xff" or len(data) < at + 4:
            return None
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in _FRAMES and len(data) >= at + 9:
            height, width = (int.from_bytes(data[i : i + 2], "big") for i in (at + 5, at + 7))
            return Picture("image/jpeg", width, height)
        at += 2 if marker in _BARE else 2 + length
        if marker not in _BARE and length < 2:
            return None
