"""A strict reader of safetensors headers: what lies in the file, all of it and nothing else.

Reads the header only, through a `read_at(offset, size)` function; never the weights. Layout: the header's length u64
(little-endian), the header (a JSON object, padded with spaces), the weights. The header has for each tensor its dtype,
shape and data_offsets (from the end of the header), and `__metadata__` (text to text). Source: the format's own README;
this reader is stricter in what it bounds. `docs/inspection.md` lists the flaws; a test compares.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn

from intramural.library.gguf import LIMIT, Malformed, ReadAt
from intramural.library.strictjson import BadJson, Read, read_object, whole_characters


class SafetensorsFlaw(StrEnum):
    """Why a file is refused. The values are error codes and never change their meaning."""

    TOO_SMALL = "safetensors_too_small"
    HEADER_LENGTH = "safetensors_header_length"
    HEADER_UTF8 = "safetensors_header_utf8"
    HEADER_JSON = "safetensors_header_json"
    DUPLICATE = "safetensors_duplicate"
    METADATA = "safetensors_metadata"
    TENSOR_COUNT = "safetensors_tensor_count"
    TENSOR_NAME = "safetensors_tensor_name"
    TENSOR_FIELDS = "safetensors_tensor_fields"
    DTYPE = "safetensors_dtype"
    SHAPE = "safetensors_shape"
    OFFSETS = "safetensors_offsets"
    SIZE = "safetensors_size"
    RANGE = "safetensors_range"
    OVERLAP = "safetensors_overlap"
    GAP = "safetensors_gap"
    TRAILING_BYTES = "safetensors_trailing_bytes"


#: The format allows 100 MB; a tensor takes some 130 bytes, and files have up to some ten thousand.
MAX_HEADER_BYTES = 16 << 20
MAX_TENSORS = 65_536
MAX_TENSOR_NAME_BYTES = 256
MAX_DIMENSIONS = 8
_LENGTH_BYTES = 8
_LEAST_BYTES = _LENGTH_BYTES + len("{}")
_METADATA = "__metadata__"
_FIELDS = {"dtype", "shape", "data_offsets"}
#: Bits of one number.
DTYPES: Mapping[str, int] = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
    "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """`weights` counts numbers; `begin` and `end` are bytes behind the header; `place` is where the header lists it."""

    name: str
    dtype: str
    weights: int
    begin: int
    end: int
    place: int


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file holds, in the order in which it lies there."""

    header_bytes: int
    tensors: tuple[StoredTensor, ...]


def read_contents(read_at: ReadAt, size_bytes: int) -> Contents:
    """Check everything about the header. Raises Malformed with a `SafetensorsFlaw` as its code."""
    read = _header(read_at, size_bytes)
    header_bytes = read.end
    named = {name: value for name, value in read.object.items() if name != _METADATA}
    _check_metadata(read)
    if not 0 < len(named) <= MAX_TENSORS:
        _refuse(SafetensorsFlaw.TENSOR_COUNT, f"It has {len(named)} tensors.", "tensor count", _LENGTH_BYTES)
    data_bytes = size_bytes - header_bytes
    tensors = [_tensor(name, value, _LENGTH_BYTES + read.places[name], data_bytes) for name, value in named.items()]
    tensors.sort(key=lambda each: (each.begin, each.end))
    _check_layout(tensors, data_bytes, size_bytes)
    return Contents(header_bytes, tuple(tensors))


def _header(read_at: ReadAt, size_bytes: int) -> Read:
    """The header's object; `end` is the byte of the file at which the weights begin."""
    if size_bytes < _LEAST_BYTES:
        _refuse(SafetensorsFlaw.TOO_SMALL, f"{size_bytes} bytes are too few for a header.", None, 0)
    length = int.from_bytes(read_at(0, _LENGTH_BYTES), "little")
    if not len("{}") <= length <= min(MAX_HEADER_BYTES, size_bytes - _LENGTH_BYTES):
        message = f"The header is said to have {length} bytes, of a file of {size_bytes}; {MAX_HEADER_BYTES} at most."
        _refuse(SafetensorsFlaw.HEADER_LENGTH, message, "header length", 0)
    raw = read_at(_LENGTH_BYTES, length)
    if len(raw) != length:
        _refuse(SafetensorsFlaw.TOO_SMALL, "It ended while it was read.", None, _LENGTH_BYTES + len(raw))
    if raw[:1] != b"{":
        _refuse(SafetensorsFlaw.HEADER_JSON, "The header does not begin with a brace.", "header", _LENGTH_BYTES)
    flaws = {
        "utf8": SafetensorsFlaw.HEADER_UTF8,
        "json": SafetensorsFlaw.HEADER_JSON,
        "duplicate": SafetensorsFlaw.DUPLICATE,
    }
    try:
        read = read_object(raw, padding=" ")
    except BadJson as error:
        _refuse(flaws[error.what], f"The header: {error.why}", error.field or "header", _LENGTH_BYTES + error.offset)
    return Read(read.object, read.places, _LENGTH_BYTES + length)


def _check_metadata(read: Read) -> None:
    found = read.object.get(_METADATA, {})
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        place = _LENGTH_BYTES + read.places[_METADATA]
        _refuse(SafetensorsFlaw.METADATA, "The metadata must be texts by name.", _METADATA, place)


def _tensor(name: str, said: Any, place: int, data_bytes: int) -> StoredTensor:
    if not name.isprintable() or not 0 < len(name.encode()) <= MAX_TENSOR_NAME_BYTES:
        message = f"A tensor needs a printable name of up to {MAX_TENSOR_NAME_BYTES} bytes."
        _refuse(SafetensorsFlaw.TENSOR_NAME, message, name[:MAX_TENSOR_NAME_BYTES], place)
    if not isinstance(said, dict) or said.keys() != _FIELDS:
        message = f"{name}: a tensor has a dtype, a shape and data_offsets, and nothing else."
        _refuse(SafetensorsFlaw.TENSOR_FIELDS, message, name, place)
    dtype, shape, offsets = said["dtype"], said["shape"], said["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        _refuse(SafetensorsFlaw.DTYPE, f"{name}: {str(dtype)[:40]!r} is no type of numbers.", name, place)
    if not _are_lengths(shape) or len(shape) > MAX_DIMENSIONS or (weights := math.prod(shape)) >= LIMIT:
        _refuse(SafetensorsFlaw.SHAPE, f"{name}: the shape makes no sense.", name, place)
    if not _are_lengths(offsets) or len(offsets) != len(("begin", "end")) or offsets[0] > offsets[1]:
        _refuse(SafetensorsFlaw.OFFSETS, f"{name}: the offsets make no sense.", name, place)
    begin, end = offsets
    if end > data_bytes:
        _refuse(SafetensorsFlaw.RANGE, f"{name} reaches past the end of the file.", name, place)
    if weights * DTYPES[dtype] != (end - begin) * 8:
        message = f"{name}: {weights} numbers of type {dtype} do not take {end - begin} bytes."
        _refuse(SafetensorsFlaw.SIZE, message, name, place)
    return StoredTensor(name, dtype, weights, begin, end, place)


def _are_lengths(found: Any) -> bool:
    """Whether it is a list of whole numbers that are neither negative nor too large for native readers."""
    return isinstance(found, list) and all(type(each) is int and 0 <= each < LIMIT for each in found)


def _check_layout(tensors: list[StoredTensor], data_bytes: int, size_bytes: int) -> None:
    """Each begins where the one before it ends, the first at the start and the last ends with the file."""
    at = 0
    for each in tensors:
        if each.begin < at:
            _refuse(SafetensorsFlaw.OVERLAP, f"{each.name} lies over another tensor.", each.name, each.place)
        if each.begin > at:
            _refuse(SafetensorsFlaw.GAP, f"Nothing explains the bytes before {each.name}.", each.name, each.place)
        at = each.end
    if at != data_bytes:
        message = f"Nothing explains the last {data_bytes - at} bytes."
        _refuse(SafetensorsFlaw.TRAILING_BYTES, message, None, size_bytes - data_bytes + at)


def _refuse(flaw: SafetensorsFlaw, message: str, field: str | None, offset: int) -> NoReturn:
    raise Malformed(flaw.value, whole_characters(message), field and whole_characters(field), offset)
