"""A picture without what it says besides its pixels: where, when and with what it was taken, names, comments,
thumbnails, and whatever follows its end. How a photograph (JPEG, WebP) is to be turned stays. Nothing is decoded: whole
parts are left out.

What a decoder could not read is no better and no worse afterwards. Sources: PNG (W3C) 4.7, JPEG (ITU T.81 B.1, B.2),
Exif 2.32 (4.5, 4.6), GIF89a (23 to 26), WebP (RFC 9649, 2.5 to 2.7).
"""

import struct
from collections.abc import Iterator

from intramural.core.pictures import look_at

#: Of PNG: what is needed to draw it, animations included. Not a colour profile, which has a name and a maker.
_PNG_KEPT = {
    *(b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"bKGD", b"pHYs"),
    *(b"acTL", b"fcTL", b"fdAT"),
}
_WEBP_KEPT = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"}
_WEBP_HAS_ICC_EXIF_XMP, _WEBP_HAS_EXIF = 0x20 | 0x08 | 0x04, 0x08
_GIF_LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
_EXIF = b"Exif\x00\x00"
_ORIENTATION, _SHORT, _UPRIGHT = 0x0112, 3, 1
#: A JFIF segment with its marker, where no thumbnail follows.
_JFIF_BYTES = 18
_SOS, _EOI, _APP0, _APP14, _COM = 0xDA, 0xD9, 0xE0, 0xEE, 0xFE
#: JPEG markers within the entropy-coded data: a stuffed zero, and restarts.
_IN_SCAN = {0x00, *range(0xD0, 0xD8)}
_ALONE = {0x01, *range(0xD0, 0xD9)}


def bare(data: bytes, param: str) -> bytes:
    """`data`, a PNG, JPEG, WebP or GIF, with its pixels only. Raises what `look_at` raises."""
    kind = look_at(data, param).media_type
    return {"image/png": _png, "image/jpeg": _jpeg, "image/webp": _webp, "image/gif": _gif}[kind](data)


def _png(data: bytes) -> bytes:
    kept, at = [data[:8]], 8
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + 12 + length
        if kind in _PNG_KEPT:
            kept.append(data[at:end])
        at = end
        if kind == b"IEND":
            break
    return b"".join(kept)


def _jpeg(data: bytes) -> bytes:
    kept, turned = [data[:2]], _UPRIGHT
    for marker, part in _segments(data):
        if marker == _APP0 + 1 and part[4 : 4 + len(_EXIF)] == _EXIF:
            turned = _turned(part[4 + len(_EXIF) :])
        about = marker == _COM or (_APP0 <= marker <= _APP0 + 15 and marker != _APP14)
        if not about or (marker == _APP0 and part[4:9] == b"JFIF\x00"):
            kept.append(_without_thumbnail(part) if marker == _APP0 else part)
    if turned != _UPRIGHT:
        said = _EXIF + _says(turned)
        after = 2 if kept[1][4:9] == b"JFIF\x00" else 1  # which comes first of all
        kept.insert(after, b"\xff\xe1" + struct.pack(">H", 2 + len(said)) + said)
    return b"".join(kept)


def _without_thumbnail(jfif: bytes) -> bytes:
    return jfif if len(jfif) <= _JFIF_BYTES else jfif[:2] + struct.pack(">H", _JFIF_BYTES - 2) + jfif[4:16] + bytes(2)


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and bytes of each segment after the first, up to the end of the picture; a scan goes with its head."""
    at = 2
    while at + 2 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill
            at += 1
            continue
        if marker in _ALONE or marker == _EOI:
            yield marker, data[at : at + 2]
            at += 2
            if marker == _EOI:
                return
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _SOS:
            end = _scan_end(data, end)
        yield marker, data[at:end]
        at = max(end, at + 2)


def _scan_end(data: bytes, at: int) -> int:
    while (found := data.find(b"\xff", at)) >= 0 and found + 1 < len(data):
        if data[found + 1] == 0xFF:
            at = found + 1
        elif data[found + 1] in _IN_SCAN:
            at = found + 2
        else:
            return found
    return len(data)


def _webp(data: bytes) -> bytes:
    kept: list[bytes] = []
    turned, at = _UPRIGHT, 12
    while at + 8 <= len(data):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + length + length % 2
        if kind == b"EXIF":
            turned = _turned(data[at + 8 : end].removeprefix(_EXIF))
        elif kind in _WEBP_KEPT:
            kept.append(data[at:end])
        at = end
    if kept and kept[0][:4] == b"VP8X":
        says = _WEBP_HAS_EXIF if turned != _UPRIGHT else 0
        kept[0] = kept[0][:8] + bytes([kept[0][8] & ~_WEBP_HAS_ICC_EXIF_XMP | says]) + kept[0][9:]
        if says:
            said = _says(turned)
            kept.append(b"EXIF" + struct.pack("<I", len(said)) + said)
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _gif(data: bytes) -> bytes:
    at = 13 + _gif_colours(data[10])
    kept = [data[:at]]
    while at + 2 <= len(data):
        start, kind, label = at, data[at], data[at + 1]
        if kind == 0x3B:  # the end
            break
        if kind == 0x2C:  # a picture
            at = _gif_blocks(data, at + 11 + (_gif_colours(data[at + 9]) if at + 9 < len(data) else 0))
        elif kind == 0x21:
            at = _gif_blocks(data, at + 2)
        else:
            break
        comment = kind == 0x21 and label == 0xFE
        others = kind == 0x21 and label == 0xFF and data[start + 3 : start + 14] not in _GIF_LOOPS
        if not (comment or others):
            kept.append(data[start:at])
    return b"".join((*kept, b";"))


def _gif_colours(flags: int) -> int:
    """The length of a table of colours, by the flags that announce it."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _gif_blocks(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1


def _turned(tiff: bytes) -> int:
    """The orientation (1 to 8) that an Exif block says; 1 where it says none."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return _UPRIGHT
    (at,) = struct.unpack_from(f"{order}I", tiff, 4)
    if at + 2 > len(tiff):
        return _UPRIGHT
    (count,) = struct.unpack_from(f"{order}H", tiff, at)
    for entry in range(at + 2, min(at + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
        if (tag, kind) == (_ORIENTATION, _SHORT) and _UPRIGHT <= value <= 8:
            return int(value)
    return _UPRIGHT


def _says(turned: int) -> bytes:
    """An Exif block that says the orientation and nothing else."""
    return b"MM\x00*" + struct.pack(">IHHHIHHI", 8, 1, _ORIENTATION, _SHORT, 1, turned, 0, 0)
