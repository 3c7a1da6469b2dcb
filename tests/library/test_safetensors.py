"""The reader of safetensors: a table of hostile files, one row a code; and mutations of honest ones."""

import random
import struct
from typing import Any

import pytest
from tests.fakes.safetensors_file import file_of, raw_file, tensor, tiny_weights

from intramural.library import Malformed
from intramural.library.safetensors import MAX_HEADER_BYTES, MAX_TENSORS, Contents, SafetensorsFlaw, read_contents
from intramural.library.strictjson import MAX_VALUES


def read(raw: bytes) -> Contents:
    return read_contents(lambda offset, size: raw[offset : offset + size], len(raw))


def test_an_honest_file() -> None:
    raw = tiny_weights("a.weight", "b.weight")
    found = read(raw)
    assert [(each.name, each.dtype, each.weights, each.begin, each.end) for each in found.tensors] == [
        ("a.weight", "F16", 16, 0, 32),
        ("b.weight", "F16", 16, 32, 64),
    ]
    assert found.header_bytes == len(raw) - 64
    assert all(raw[each.place :].startswith(f'"{each.name}"'.encode()) for each in found.tensors)


def test_order_empty_tensors_scalars_and_half_bytes() -> None:
    header = {
        "späť": tensor(40, 48, "F4", [16]),
        "nothing": tensor(0, 0, "F32", [0, 7]),
        "first": tensor(0, 40, "U8", [40]),
        "scalar": tensor(48, 56, "I64", []),
        "last": tensor(56, 64, "F8_E4M3", [8]),
    }
    found = read(file_of(header))
    assert [each.name for each in found.tensors] == ["nothing", "first", "späť", "scalar", "last"]


ONE = tensor(0, 64)
F = SafetensorsFlaw


def two(first: Any, second: Any) -> bytes:
    return file_of({"x": first, "y": second})


HOSTILE: list[tuple[SafetensorsFlaw, bytes, str | None, int]] = [
    (F.TOO_SMALL, b"", None, 0),
    (F.TOO_SMALL, bytes(9), None, 0),
    (F.HEADER_LENGTH, raw_file(b"{}", length=0), "header length", 0),
    (F.HEADER_LENGTH, raw_file(b"{}", length=3), "header length", 0),
    (F.HEADER_LENGTH, raw_file(b"{}", length=2**64 - 1), "header length", 0),
    (F.HEADER_LENGTH, raw_file(b"{" + b" " * MAX_HEADER_BYTES), "header length", 0),
    (F.HEADER_UTF8, raw_file(b'{"\xff": 1}'), "header", 10),
    (F.HEADER_JSON, raw_file(b" {}"), "header", 8),
    (F.HEADER_JSON, raw_file(b"[1, 2]"), "header", 8),
    (F.HEADER_JSON, raw_file(b'{"a": }'), "a", 14),
    (F.HEADER_JSON, raw_file(b'{"a" 1}'), "a", 13),
    (F.HEADER_JSON, raw_file(b'{"a": 1'), "header", 15),
    (F.HEADER_JSON, raw_file(b'{"a": 1,}'), "a", 16),
    (F.HEADER_JSON, raw_file(b'{"a": NaN}'), "a", 14),
    (F.HEADER_JSON, raw_file(b'{"a": ' + b"1" * 5000 + b"}"), "a", 14),
    (F.HEADER_JSON, raw_file(b'{"a": ' + b"[" * 100_000 + b"}"), "a", 14),
    (F.HEADER_JSON, raw_file(b'{"a": [' + b"[]," * MAX_VALUES + b"[]]}"), "header", 8),
    (F.HEADER_JSON, raw_file(b"{} {}"), "header", 10),
    (F.HEADER_JSON, raw_file(b"{}\n\0"), "header", 10),
    (F.DUPLICATE, raw_file(b'{"a": 1, "a": 1}'), "a", 17),
    (F.DUPLICATE, raw_file(b'{"a": {"dtype": 1, "dtype": 2}}'), "a", 9),
    (F.METADATA, file_of({"__metadata__": [], "x": ONE}), "__metadata__", 9),
    (F.METADATA, file_of({"__metadata__": {"a": 1}, "x": ONE}), "__metadata__", 9),
    (F.TENSOR_COUNT, file_of({}, 0), "tensor count", 8),
    (F.TENSOR_COUNT, file_of({str(n): 0 for n in range(MAX_TENSORS + 1)}, 0), "tensor count", 8),
    (F.TENSOR_NAME, file_of({"": ONE}), "", 9),
    (F.TENSOR_NAME, file_of({"a\nb": ONE}), "a\nb", 9),
    (F.TENSOR_NAME, raw_file(b'{"\\ud800": 1}'), "?", 9),
    (F.TENSOR_NAME, file_of({"x" * 257: ONE}), "x" * 256, 9),
    (F.TENSOR_FIELDS, file_of({"x": 1}), "x", 9),
    (F.TENSOR_FIELDS, file_of({"x": {"dtype": "F16", "shape": [32]}}), "x", 9),
    (F.TENSOR_FIELDS, file_of({"x": {**ONE, "more": 1}}), "x", 9),
    (F.DTYPE, file_of({"x": tensor(0, 64, "F17")}), "x", 9),
    (F.DTYPE, file_of({"x": {**ONE, "dtype": ["F16"]}}), "x", 9),
    (F.SHAPE, file_of({"x": tensor(0, 64, shape=[-32])}), "x", 9),
    (F.SHAPE, file_of({"x": tensor(0, 64, shape=[32.0])}), "x", 9),
    (F.SHAPE, file_of({"x": tensor(0, 64, shape=[True, 32])}), "x", 9),
    (F.SHAPE, file_of({"x": tensor(0, 64, shape=32)}), "x", 9),
    (F.SHAPE, file_of({"x": tensor(0, 64, shape=[1] * 8 + [32])}), "x", 9),
    (F.SHAPE, file_of({"x": tensor(0, 64, shape=[2**32, 2**32])}), "x", 9),
    (F.OFFSETS, file_of({"x": {**ONE, "data_offsets": [0]}}), "x", 9),
    (F.OFFSETS, file_of({"x": {**ONE, "data_offsets": [64, 0]}}), "x", 9),
    (F.OFFSETS, file_of({"x": {**ONE, "data_offsets": [-64, 0]}}), "x", 9),
    (F.OFFSETS, file_of({"x": {**ONE, "data_offsets": [0, 2**63]}}), "x", 9),
    (F.RANGE, file_of({"x": tensor(0, 66)}), "x", 9),
    (F.SIZE, file_of({"x": tensor(0, 64, shape=[31])}), "x", 9),
    (F.SIZE, file_of({"x": tensor(0, 64, "F32", [32])}), "x", 9),
    (F.SIZE, file_of({"x": tensor(0, 64, "F4", [127])}), "x", 9),
    (F.OVERLAP, two(tensor(0, 64), tensor(62, 64)), "y", 72),
    (F.OVERLAP, two(tensor(0, 64), tensor(0, 64)), "y", 72),
    (F.GAP, two(tensor(0, 30), tensor(32, 64)), "y", 72),
    (F.GAP, file_of({"x": tensor(2, 64)}), "x", 9),
    (F.TRAILING_BYTES, raw_file(b'{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', bytes(2)), None, 62),
]


@pytest.mark.parametrize(("flaw", "raw", "field", "offset"), HOSTILE)
def test_refused_by_name(flaw: SafetensorsFlaw, raw: bytes, field: str | None, offset: int) -> None:
    with pytest.raises(Malformed) as refused:
        read(raw)
    assert (refused.value.code, refused.value.field, refused.value.offset) == (flaw, field, offset)


def test_every_flaw_has_a_row() -> None:
    assert {flaw for flaw, *_ in HOSTILE} == set(SafetensorsFlaw)


def test_a_file_that_shrinks_while_it_is_read() -> None:
    raw = tiny_weights("a")
    with pytest.raises(Malformed) as refused:
        read_contents(lambda offset, size: raw[offset : offset + min(size, 20)], len(raw))
    assert refused.value.code == "safetensors_too_small"


def test_mutations_are_answered_by_name() -> None:
    """Whatever is done to an honest file, it is read or refused with a known code; nothing else comes out."""
    honest, random_ = tiny_weights("a.weight", "b.weight"), random.Random(7)
    codes: set[str] = set()
    for _ in range(4000):
        codes.add(_outcome(_mutated(honest, random_)))
    assert codes <= {"sound", *(flaw.value for flaw in SafetensorsFlaw)}
    assert len(codes) > 8  # they really go everywhere


def _outcome(raw: bytes) -> str:
    try:
        found = read(raw)
    except Malformed as error:
        assert error.offset is not None and 0 <= error.offset <= len(raw)
        return error.code
    assert sum(each.end - each.begin for each in found.tensors) == len(raw) - found.header_bytes
    return "sound"


def _mutated(honest: bytes, random_: random.Random) -> bytes:
    raw, at = bytearray(honest), random_.randrange(len(honest))
    header = range(8, 8 + struct.unpack_from("<Q", honest)[0])
    match random_.randrange(5):
        case 0:
            raw[at] ^= 1 << random_.randrange(8)
        case 1:
            del raw[at:]
        case 2:
            raw[random_.choice(header)] = random_.choice(b'{}[],:"0123456789-.eE\\ ')
        case 3:
            digits = [place for place in header if raw[place : place + 1].isdigit()]
            raw[random_.choice(digits)] = random_.choice(b"0123456789")
        case _:
            struct.pack_into("<Q", raw, 0, random_.choice([0, 1, 2, len(raw), 2**32, 2**63, 2**64 - 1, at]))
    return bytes(raw)
