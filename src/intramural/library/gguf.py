"""A strict reader of GGUF headers: the gate before any native code opens the file.

Reads the header only, front to back, through a `read_at(offset, size)` function; never the weights. Work and memory
are bounded by the header's bytes: nothing is allocated from a count that the remaining bytes could not hold, and all
arithmetic is on Python's integers, which do not wrap. Each way to be malformed has a `Flaw` of its own; each refusal
names the field and the byte where it begins. `docs/inspection.md` lists them; a test compares.

Layout (little-endian): magic, version u32, tensor count u64, key count u64; keys: name, type u32, value; tensors:
name, dimension count u32, dimensions u64 each, type u32, offset u64; zero padding up to the alignment; the weights.
A string is a length u64 and UTF-8 bytes. Source: docs/gguf.md of the ggml project. What known keys mean is in `facts`.
"""

import math
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Literal, NoReturn

from intramural.core.errors import Untrusted

ReadAt = Callable[[int, int], bytes]
Scalar = bool | int | float | str


class Flaw(StrEnum):
    """Why a file is refused. The values are error codes and never change their meaning."""

    TOO_SMALL = "gguf_too_small"
    MAGIC = "gguf_magic"
    BYTE_ORDER = "gguf_byte_order"
    VERSION = "gguf_version"
    TENSOR_COUNT = "gguf_tensor_count"
    KEY_COUNT = "gguf_key_count"
    TRUNCATED = "gguf_truncated"
    HEADER_SIZE = "gguf_header_size"
    STRING_LENGTH = "gguf_string_length"
    STRING_UTF8 = "gguf_string_utf8"
    KEY_EMPTY = "gguf_key_empty"
    KEY_LENGTH = "gguf_key_length"
    KEY_UTF8 = "gguf_key_utf8"
    KEY_CHARACTERS = "gguf_key_characters"
    KEY_DUPLICATE = "gguf_key_duplicate"
    VALUE_TYPE = "gguf_value_type"
    BOOLEAN = "gguf_boolean"
    FLOAT = "gguf_float"
    ARRAY_NESTED = "gguf_array_nested"
    ARRAY_TYPE = "gguf_array_type"
    ARRAY_LENGTH = "gguf_array_length"
    ALIGNMENT_TYPE = "gguf_alignment_type"
    ALIGNMENT_VALUE = "gguf_alignment_value"
    TENSOR_NAME_EMPTY = "gguf_tensor_name_empty"
    TENSOR_NAME_LENGTH = "gguf_tensor_name_length"
    TENSOR_NAME_CHARACTERS = "gguf_tensor_name_characters"
    TENSOR_NAME_DUPLICATE = "gguf_tensor_name_duplicate"
    TENSOR_DIMENSIONS = "gguf_tensor_dimensions"
    TENSOR_DIMENSION_ZERO = "gguf_tensor_dimension_zero"
    TENSOR_TYPE = "gguf_tensor_type"
    TENSOR_BLOCK = "gguf_tensor_block"
    OVERFLOW = "gguf_overflow"
    TENSOR_UNALIGNED = "gguf_tensor_unaligned"
    TENSOR_RANGE = "gguf_tensor_range"
    TENSOR_OVERLAP = "gguf_tensor_overlap"
    TENSOR_GAP = "gguf_tensor_gap"
    TENSOR_ORDER = "gguf_tensor_order"
    PADDING = "gguf_padding"
    TRAILING_BYTES = "gguf_trailing_bytes"
    # Found by `facts`, in keys whose meaning is known:
    MISSING_KEY = "gguf_missing_key"
    SCHEMA = "gguf_schema"
    KEY_RANGE = "gguf_key_range"
    NOT_A_MODEL = "gguf_not_a_model"
    SPLIT = "gguf_split"
    LAYERS = "gguf_layers"
    VOCABULARY_LENGTH = "gguf_vocabulary_length"
    VOCABULARY_TENSOR = "gguf_vocabulary_tensor"
    TOKEN_ID = "gguf_token_id"  # noqa: S105 - a token of text, not a secret
    BYTE_TOKEN = "gguf_byte_token"  # noqa: S105 - likewise
    HEADS = "gguf_heads"
    EXPERTS = "gguf_experts"
    CHARACTER_MAP = "gguf_character_map"
    # Found by `parts`, in sets of several files and in projectors:
    SPLIT_KEYS = "gguf_split_keys"
    SPLIT_NUMBER = "gguf_split_number"
    SPLIT_TENSORS = "gguf_split_tensors"
    PROJECTOR = "gguf_projector"


DAMAGED = "The file is damaged or hostile: get it again from its publisher."


class Malformed(Untrusted):
    """A refusal by inspection. `field` is the key or tensor at fault, `offset` the byte of the file where it begins;

    None where the fault is of the whole file.
    """

    def __init__(
        self, code: str, message: str, field: str | None = None, offset: int | None = None, hint: str = DAMAGED
    ) -> None:
        super().__init__(code, message, hint)
        self.field = field
        self.offset = offset


def refuse(flaw: Flaw, message: str, field: str | None = None, offset: int | None = None) -> NoReturn:
    """Raises Malformed with the flaw as its code."""
    raise Malformed(flaw.value, message, field, offset)


#: Largest header: the tokenizers of the largest vocabularies (262 144 tokens with merges) need about 16 MiB.
MAX_HEADER_BYTES = 128 << 20
#: Real files have some 30-80 keys and up to some ten thousand tensors.
MAX_KEYS = 4096
MAX_TENSORS = 65_536
#: Strings in arrays of one file, together: bounds the time (about half a microsecond each).
MAX_ARRAY_STRINGS = 2_000_000
MAX_KEY_BYTES = 256
#: The native reader keeps names in 64 bytes, one of them a NUL.
MAX_TENSOR_NAME_BYTES = 63
#: A licence or a template; templates have a lower limit of their own.
MAX_STRING_BYTES = 1 << 20
#: Tokens and merges.
MAX_ARRAY_STRING_BYTES = 1 << 16
#: Magic, version and counts; behind them the keys begin.
FIXED_BYTES = 24
#: Numbers of an array are kept up to this many bytes, enough for a type per token of a vocabulary of 2 million.
MAX_KEPT_ARRAY_BYTES = 8 << 20
#: Texts and numbers kept of one header, together: bounds the memory.
MAX_KEPT_BYTES = 32 << 20
DEFAULT_ALIGNMENT = 32
MIN_ALIGNMENT, MAX_ALIGNMENT = 8, 4096
MAX_DIMENSIONS = 4
LIMIT = 2**63  #: sizes and offsets are int64 in native readers

MAGIC = b"GGUF"
_FIXED = struct.Struct("<4sIQQ")
_MIN_KEY_RECORD = 8 + 1 + 4 + 1
_MIN_TENSOR_RECORD = 8 + 1 + 4 + 8 + 4 + 8
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
_BYTE_TOKEN = re.compile(rb"<0x[0-9A-F]{2}>")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

BOOL, STRING, ARRAY = 7, 8, 9
UINT32, INT32, FLOAT32 = 4, 5, 6
_NUMBERS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    UINT32: struct.Struct("<I"),
    INT32: struct.Struct("<i"),
    FLOAT32: struct.Struct("<f"),
    BOOL: struct.Struct("<B"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_FLOATS: Mapping[int, Literal["f", "d"]] = {FLOAT32: "f", 12: "d"}

#: Tensor type number -> (name, weights per block, bytes per block). Numbers that were withdrawn are not here.
TENSOR_TYPES: Mapping[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
}


@dataclass(frozen=True, slots=True)
class Value:
    """A key's scalar, with the number of its type as the file has it."""

    type_number: int
    scalar: Scalar


@dataclass(frozen=True, slots=True)
class Array:
    """A key's array. `numbers` are little-endian bytes as in the file (empty when strings, or too many to keep);

    for strings, `byte_tokens` has one byte each: 1 where the text is a byte token such as `<0x0A>`.
    """

    type_number: int
    count: int
    numbers: bytes = b""
    byte_tokens: bytes = b""

    def values(self) -> tuple[int | float, ...]:
        """The kept numbers."""
        return tuple(item for (item,) in _NUMBERS[self.type_number].iter_unpack(self.numbers))


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where one tensor lies: `offset` counts from the start of the weights; `weights` is how many numbers it has.

    `place` is where the header lists it, in bytes from the start of the file.
    """

    name: str
    dimensions: tuple[int, ...]
    type_name: str
    weights: int
    size_bytes: int
    offset: int
    place: int


@dataclass(frozen=True, slots=True)
class Header:
    """A well-formed header. `data_offset` is where the weights begin."""

    version: int
    keys: Mapping[str, Value | Array]
    tensors: tuple[Tensor, ...]
    alignment: int
    header_bytes: int
    data_offset: int
    places: Mapping[str, int]  # where each key begins in the file, in bytes


def read_header(read_at: ReadAt, size_bytes: int, *, may_be_empty: bool = False) -> Header:
    """Read and check the header of a file of `size_bytes`. Raises Malformed with a `Flaw` as its code.

    `read_at(offset, size)` returns at most `size` bytes; fewer only at the end of the file. `may_be_empty`: there may
    be no tensor, as in the first of several files.
    """
    cursor = _Cursor(read_at, size_bytes)
    try:
        header = _read(cursor, size_bytes, may_be_empty)
    except Malformed as found:
        if found.offset is None:
            found.field, found.offset = cursor.field, cursor.mark
        raise
    _check_layout(header, read_at, size_bytes)
    return header


def _read(cursor: "_Cursor", size_bytes: int, may_be_empty: bool) -> Header:
    version, tensor_count, key_count = _read_fixed(cursor, size_bytes, may_be_empty)
    keys: dict[str, Value | Array] = {}
    places: dict[str, int] = {}
    for number in range(key_count):
        cursor.begin(f"key {number + 1}")
        name = _read_key(cursor)
        cursor.field = name
        if name in keys:
            refuse(Flaw.KEY_DUPLICATE, f"The key {name!r} is there twice.")
        places[name] = cursor.mark
        keys[name] = _read_value(cursor, name)
    alignment = _alignment(keys, places)
    tensors: dict[str, Tensor] = {}
    for number in range(tensor_count):
        cursor.begin(f"tensor {number + 1}")
        tensor = _read_tensor(cursor, size_bytes)
        if tensor.name in tensors:
            refuse(Flaw.TENSOR_NAME_DUPLICATE, f"The tensor {tensor.name!r} is there twice.")
        tensors[tensor.name] = tensor
    data_offset = _padded(cursor.position, alignment)
    return Header(version, keys, tuple(tensors.values()), alignment, cursor.position, data_offset, places)


class _Cursor:
    """Reads forward in large pieces; knows how much may still come."""

    _PIECE_BYTES = 1 << 18

    def __init__(self, read_at: ReadAt, size_bytes: int) -> None:
        self._read_at = read_at
        self._size = size_bytes
        self._buffer = b""
        self._start = 0  # of the buffer, in the file
        self._at = 0  # in the buffer
        self.strings_left = MAX_ARRAY_STRINGS
        self.kept_left = MAX_KEPT_BYTES
        self.field = "magic"  # what is being read, and where it begins
        self.mark = 0

    def begin(self, what: str) -> None:
        """A key or tensor begins here, which is called `what` until its name is known."""
        self.field, self.mark = what, self.position

    def keep(self, size: int) -> None:
        """Account for `size` bytes that stay in memory."""
        self.kept_left -= size
        if self.kept_left < 0:
            refuse(Flaw.HEADER_SIZE, f"The header's values are longer than {MAX_KEPT_BYTES} bytes.")

    @property
    def position(self) -> int:
        return self._start + self._at

    @property
    def remaining(self) -> int:
        return self._size - self.position

    def take(self, size: int) -> bytes:
        """The next `size` bytes; callers bound `size` by a constant."""
        if self._at + size > len(self._buffer):
            self._refill(size)
        piece = self._buffer[self._at : self._at + size]
        self._at += size
        return piece

    def skip(self, size: int) -> None:
        """Go on without looking; the caller has checked `remaining`."""
        self._start, self._buffer, self._at = self.position + size, b"", 0
        if self.position > MAX_HEADER_BYTES:
            refuse(Flaw.HEADER_SIZE, f"The header is longer than {MAX_HEADER_BYTES} bytes.")

    def u32(self) -> int:
        return int(_U32.unpack(self.take(4))[0])

    def u64(self) -> int:
        return int(_U64.unpack(self.take(8))[0])

    def _refill(self, size: int) -> None:
        position = self.position
        if size > self._size - position:
            refuse(Flaw.TRUNCATED, f"The file ends in the middle of its header, at byte {self._size}.")
        if position + size > MAX_HEADER_BYTES:
            refuse(Flaw.HEADER_SIZE, f"The header is longer than {MAX_HEADER_BYTES} bytes.")
        self._buffer = self._read_at(position, min(max(size, self._PIECE_BYTES), self._size - position))
        self._start, self._at = position, 0
        if len(self._buffer) < size:
            refuse(Flaw.TRUNCATED, "The file became shorter while it was read.")

    def strings(self, count: int, name: str) -> bytes:
        """Go over `count` strings; returns one byte each, 1 for a byte token. Half a microsecond each: no calls."""
        flags = bytearray(count)
        for index in range(count):
            at = self._at
            if at + 8 > len(self._buffer):
                self._refill(8)
                at = 0
            (size,) = _U64.unpack_from(self._buffer, at)
            if size > MAX_ARRAY_STRING_BYTES:
                refuse(Flaw.STRING_LENGTH, f"Item {index} of {name!r} says it is {size} bytes long.")
            if at + 8 + size > len(self._buffer):
                self._refill(8 + size)
                at = 0
            text = self._buffer[at + 8 : at + 8 + size]
            self._at = at + 8 + size
            if not text.isascii():
                _utf8(text, Flaw.STRING_UTF8, f"Item {index} of {name!r}")
            if size == 6 and _BYTE_TOKEN.fullmatch(text):
                flags[index] = 1
        return bytes(flags)


#: How what people mistake for a model begins; only to say so, as none of it is opened.
_OTHER_FORMATS = (
    (b"PK", "a ZIP archive, as PyTorch, Keras and NumPy write"),
    (b"\x80", "a Python pickle, which runs code when it is opened"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"#!", "a script"),
    (b"\x89HDF", "an HDF5 file, as Keras writes"),
    (b"\x08", "possibly an ONNX model"),
    (b"ggml", "a file of the format before GGUF"),
    (b"ggjt", "a file of the format before GGUF"),
    (b"version https://git-lfs", "a pointer to a file, not the file itself"),
    (b"<", "a web page"),
    (b"\x1f\x8b", "a compressed archive"),
)


def _what_else(beginning: bytes) -> str:
    if beginning[8:10] == b'{"':
        return ": it looks like safetensors"
    found = next((what for start, what in _OTHER_FORMATS if beginning.startswith(start)), None)
    return f": it looks like {found}" if found else ""


def _read_fixed(cursor: _Cursor, size_bytes: int, may_be_empty: bool) -> tuple[int, int, int]:
    if size_bytes < _FIXED.size:
        refuse(Flaw.TOO_SMALL, f"{size_bytes} bytes are too few for a GGUF file.")
    beginning = cursor.take(_FIXED.size)
    magic, version, tensor_count, key_count = _FIXED.unpack(beginning)
    if magic != MAGIC:
        refuse(Flaw.MAGIC, f"This is not a GGUF file{_what_else(beginning)}.", "magic", 0)
    cursor.field, cursor.mark = "version", 4
    if version & 0xFFFF == 0 and version:
        refuse(Flaw.BYTE_ORDER, "This GGUF file was written for big-endian machines.")
    if version not in (2, 3):
        refuse(Flaw.VERSION, f"GGUF version {version} is not supported; 2 and 3 are.")
    cursor.field, cursor.mark = "tensor count", 8
    if tensor_count == 0 and not may_be_empty:
        refuse(Flaw.TENSOR_COUNT, "The file has no tensors.")
    if tensor_count > MAX_TENSORS or tensor_count * _MIN_TENSOR_RECORD > cursor.remaining:
        refuse(Flaw.TENSOR_COUNT, f"The file says it has {tensor_count} tensors, which it cannot hold.")
    cursor.field, cursor.mark = "key count", 16
    if key_count > MAX_KEYS or key_count * _MIN_KEY_RECORD > cursor.remaining:
        refuse(Flaw.KEY_COUNT, f"The file says it has {key_count} keys, which it cannot hold.")
    return version, tensor_count, key_count


def _read_key(cursor: _Cursor) -> str:
    size = cursor.u64()
    if size == 0:
        refuse(Flaw.KEY_EMPTY, f"A key without a name, at byte {cursor.position}.")
    if size > MAX_KEY_BYTES:
        refuse(Flaw.KEY_LENGTH, f"A key's name says it is {size} bytes long, at byte {cursor.position}.")
    name = _utf8(cursor.take(size), Flaw.KEY_UTF8, f"A key's name before byte {cursor.position}")
    if _CONTROL.search(name):
        refuse(Flaw.KEY_CHARACTERS, f"The key {name!r} has control characters in its name.")
    return name


def _read_value(cursor: _Cursor, name: str) -> Value | Array:
    type_number = cursor.u32()
    if type_number == ARRAY:
        return _read_array(cursor, name)
    if type_number == STRING:
        return Value(STRING, _read_string(cursor, name))
    if type_number not in _NUMBERS:
        refuse(Flaw.VALUE_TYPE, f"The key {name!r} has the unknown type {type_number}.")
    number = _NUMBERS[type_number]
    scalar: Scalar = number.unpack(cursor.take(number.size))[0]
    if type_number == BOOL:
        if scalar not in (0, 1):
            refuse(Flaw.BOOLEAN, f"The key {name!r} is neither true nor false but {scalar}.")
        scalar = bool(scalar)
    if isinstance(scalar, float) and not math.isfinite(scalar):
        refuse(Flaw.FLOAT, f"The key {name!r} is not a finite number.")
    return Value(type_number, scalar)


def _read_string(cursor: _Cursor, name: str) -> str:
    size = cursor.u64()
    if size > MAX_STRING_BYTES or size > cursor.remaining:
        refuse(Flaw.STRING_LENGTH, f"The key {name!r} says its text is {size} bytes long.")
    cursor.keep(size)
    return _utf8(cursor.take(size), Flaw.STRING_UTF8, f"The key {name!r}")


def _read_array(cursor: _Cursor, name: str) -> Array:
    type_number, count = cursor.u32(), cursor.u64()
    if type_number == ARRAY:
        refuse(Flaw.ARRAY_NESTED, f"The key {name!r} is an array of arrays.")
    if type_number != STRING and type_number not in _NUMBERS:
        refuse(Flaw.ARRAY_TYPE, f"The key {name!r} is an array of the unknown type {type_number}.")
    size = count * (8 if type_number == STRING else _NUMBERS[type_number].size)
    if size > cursor.remaining:
        refuse(Flaw.ARRAY_LENGTH, f"The key {name!r} says it has {count} items, which the file cannot hold.")
    if type_number == STRING:
        cursor.strings_left -= count
        if cursor.strings_left < 0:
            refuse(Flaw.HEADER_SIZE, f"The header has more than {MAX_ARRAY_STRINGS} strings in arrays.")
        return Array(STRING, count, byte_tokens=cursor.strings(count, name))
    if size > MAX_KEPT_ARRAY_BYTES:
        cursor.skip(size)
        return Array(type_number, count)
    cursor.keep(size)
    numbers = cursor.take(size)
    if type_number == BOOL and numbers.translate(None, b"\x00\x01"):
        refuse(Flaw.BOOLEAN, f"The key {name!r} has items that are neither true nor false.")
    if type_number in _FLOATS and any(map(math.isnan, memoryview(numbers).cast(_FLOATS[type_number]))):
        refuse(Flaw.FLOAT, f"The key {name!r} has items that are not numbers.")  # no order: a native sort runs wild
    return Array(type_number, count, numbers)


def _read_tensor(cursor: _Cursor, size_bytes: int) -> Tensor:
    size = cursor.u64()
    if size == 0:
        refuse(Flaw.TENSOR_NAME_EMPTY, f"A tensor without a name, at byte {cursor.position}.")
    if size > MAX_TENSOR_NAME_BYTES:
        refuse(Flaw.TENSOR_NAME_LENGTH, f"A tensor's name says it is {size} bytes long, at byte {cursor.position}.")
    name = _utf8(cursor.take(size), Flaw.TENSOR_NAME_CHARACTERS, f"A tensor's name before byte {cursor.position}")
    cursor.field = name
    if _CONTROL.search(name):
        refuse(Flaw.TENSOR_NAME_CHARACTERS, f"The tensor {name!r} has control characters in its name.")
    count = cursor.u32()
    if not 1 <= count <= MAX_DIMENSIONS:
        refuse(
            Flaw.TENSOR_DIMENSIONS, f"The tensor {name!r} has {count} dimensions; 1 to {MAX_DIMENSIONS} are allowed."
        )
    dimensions = tuple(cursor.u64() for _ in range(count))
    type_number, offset = cursor.u32(), cursor.u64()
    weights = math.prod(dimensions)
    if weights == 0:
        refuse(Flaw.TENSOR_DIMENSION_ZERO, f"The tensor {name!r} has a dimension of 0.")
    if type_number not in TENSOR_TYPES:
        refuse(Flaw.TENSOR_TYPE, f"The tensor {name!r} has the unknown type {type_number}.")
    type_name, block_weights, block_bytes = TENSOR_TYPES[type_number]
    if max(weights, weights * block_bytes, offset) >= LIMIT:
        refuse(Flaw.OVERFLOW, f"The tensor {name!r} is larger than any file can be.")
    if dimensions[0] % block_weights:
        refuse(Flaw.TENSOR_BLOCK, f"The rows of {name!r} are no multiple of {block_weights}, as {type_name} needs.")
    tensor_bytes = weights // block_weights * block_bytes
    if tensor_bytes > size_bytes:
        refuse(Flaw.OVERFLOW, f"The tensor {name!r} is larger than the file.")
    return Tensor(name, dimensions, type_name, weights, tensor_bytes, offset, cursor.mark)


ALIGNMENT_KEY = "general.alignment"


def _alignment(keys: Mapping[str, Value | Array], places: Mapping[str, int]) -> int:
    found = keys.get(ALIGNMENT_KEY)
    if found is None:
        return DEFAULT_ALIGNMENT
    place = places[ALIGNMENT_KEY]
    if not isinstance(found, Value) or found.type_number != UINT32 or not isinstance(found.scalar, int):
        refuse(Flaw.ALIGNMENT_TYPE, "general.alignment must be an unsigned 32-bit number.", ALIGNMENT_KEY, place)
    value = found.scalar
    if not MIN_ALIGNMENT <= value <= MAX_ALIGNMENT or value & (value - 1):
        message = f"general.alignment is {value}, not a power of two from 8 to 4096."
        refuse(Flaw.ALIGNMENT_VALUE, message, ALIGNMENT_KEY, place)
    return value


def _check_layout(header: Header, read_at: ReadAt, size_bytes: int) -> None:
    """The tensors must fill the rest of the file one after the other, with nothing between, before or behind."""
    room = size_bytes - header.data_offset
    if room < 0:
        refuse(Flaw.TRUNCATED, "The file ends before its weights begin.", "padding", header.header_bytes)
    _check_padding(read_at, header.header_bytes, header.data_offset, "before the weights")
    end = expected = 0
    last: Tensor | None = None
    for tensor in sorted(header.tensors, key=lambda each: each.offset):
        fault = _fault(tensor, header.alignment, room, end, expected)
        if fault is not None:
            refuse(fault[0], f"The tensor {tensor.name!r} {fault[1]}.", tensor.name, tensor.place)
        end = tensor.offset + tensor.size_bytes
        expected = _padded(end, header.alignment)
        last = tensor
    for one, other in pairwise(header.tensors):
        if other.offset < one.offset:
            message = "The tensors do not lie in the order in which the header lists them."
            refuse(Flaw.TENSOR_ORDER, message, other.name, other.place)
    if room not in (end, expected):
        message = f"There are {room - end} bytes behind the last tensor that nothing explains."
        refuse(Flaw.TRAILING_BYTES, message, last.name if last else "padding", header.data_offset + end)
    _check_padding(read_at, header.data_offset + end, size_bytes, "behind the last tensor")


def _fault(tensor: Tensor, alignment: int, room: int, end: int, expected: int) -> tuple[Flaw, str] | None:
    """What is wrong with where `tensor` lies, behind one that ends at `end`, its padding at `expected`."""
    if tensor.offset % alignment:
        return Flaw.TENSOR_UNALIGNED, "begins at an unaligned offset"
    if tensor.offset + tensor.size_bytes > room:
        return Flaw.TENSOR_RANGE, "reaches past the end of the file"
    if tensor.offset < end:
        return Flaw.TENSOR_OVERLAP, "overlaps the one before it"
    if tensor.offset != expected:
        return Flaw.TENSOR_GAP, "has unexplained bytes before it"
    return None


def _check_padding(read_at: ReadAt, begin: int, end: int, where: str) -> None:
    if end > begin and any(read_at(begin, end - begin)):
        refuse(Flaw.PADDING, f"The padding {where} is not all zeros.", "padding", begin)


def _padded(size: int, alignment: int) -> int:
    return (size + alignment - 1) // alignment * alignment


def _utf8(raw: bytes, flaw: Flaw, what: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        refuse(flaw, f"{what} is not UTF-8.")
