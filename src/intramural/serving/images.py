"""What a picture claims to be, read from its first bytes, before an engine decodes it: pure, no decoding here.

The engine decodes pictures in its confined process. What is refused here is what would cost it memory out of all
proportion, and what it does not know.
"""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from intramural.core.chat import Image, Message
from intramural.core.errors import Misasked

LIMIT_BYTES = 8 * 2**20
LIMIT_SIDE = 8192
#: Decoded, a pixel takes some bytes more than once.
LIMIT_PIXELS = 40_000_000
LIMIT_IMAGES = 32

#: JPEG segments that hold the size (of the frames that decoders know), and those without a length.
_JPEG_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture's header says. `kind` is the media type; sizes in pixels."""

    kind: str
    width: int
    height: int


def check(messages: Sequence[Message]) -> bool:
    """Whether `messages` hold pictures. Raises Misasked for one that no model is to be shown."""
    found = [part for message in messages for part in message.parts if isinstance(part, Image)]
    if len(found) > LIMIT_IMAGES:
        raise _wrong("too_many_images", f"A request may hold {LIMIT_IMAGES} images; this one holds {len(found)}.")
    for image in found:
        _check(image)
    return bool(found)


def data_url(image: Image) -> str:
    """The picture as the engine takes it."""
    return f"data:{_header(image.data).kind};base64,{b64encode(image.data).decode('ascii')}"


def _check(image: Image) -> None:
    if not image.data:
        raise _wrong("image_not_here", "An image is named but its bytes are not here.", "Send it as a data URL.")
    if len(image.data) > LIMIT_BYTES:
        raise _wrong("image_too_large", f"An image has {len(image.data)} bytes; {LIMIT_BYTES} is the limit.")
    header = _header(image.data)
    if not (0 < header.width <= LIMIT_SIDE and 0 < header.height <= LIMIT_SIDE):
        raise _wrong(
            "image_too_large", f"An image is {header.width}x{header.height}; {LIMIT_SIDE} a side is the limit."
        )
    if header.width * header.height > LIMIT_PIXELS:
        raise _wrong(
            "image_too_large", f"An image has {header.width * header.height} pixels; {LIMIT_PIXELS} is the limit."
        )


def _header(data: bytes) -> Header:
    """Raises Misasked(`image_unknown`) for what is no PNG, JPEG, GIF or WebP, or is cut off within its header."""
    header = None
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR" and len(data) >= 24:
        header = Header("image/png", int.from_bytes(data[16:20]), int.from_bytes(data[20:24]))
    elif data[:6] in (b"GIF87a", b"GIF89a") and len(data) >= 10:
        header = Header("image/gif", int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little"))
    elif data.startswith(b"\xff\xd8\xff"):
        header = _jpeg(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) >= 30:
        header = _webp(data)
    if header is None:
        raise _wrong("image_unknown", "An image is no PNG, JPEG, GIF or WebP.", "Convert it to one of them.")
    return header


def _jpeg(data: bytes) -> Header | None:
    for marker, at in _segments(data):
        if marker in _JPEG_FRAMES and at + 7 <= len(data):
            height, width = int.from_bytes(data[at + 3 : at + 5]), int.from_bytes(data[at + 5 : at + 7])
            return Header("image/jpeg", width, height)
    return None


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and place of each segment's length, up to the picture itself."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker in _JPEG_BARE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == 0xDA:
            return
        yield marker, at + 2
        at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4]))


def _webp(data: bytes) -> Header | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return Header(
            "image/webp", 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
        )
    if kind == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        return Header("image/webp", 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
        return Header("image/webp", width, height)
    return None


def _wrong(code: str, message: str, hint: str = "") -> Misasked:
    return Misasked(code, message, hint, param="messages")
