"""A strict reader of ONNX files: what the graph takes, gives and holds, without reading a single weight.

An ONNX file is one protocol buffer (onnx.proto of the ONNX project): a graph of named operations, and tensors. Native
readers follow paths in it to other files (`external_data`), hand out memory by address, load compiled blobs (an
operation `EPContext`) and look up operations in libraries. So what is accepted is what encoders consist of: one file,
operations of two known sets, every tensor with the bytes its type and shape take, each field known and where it may be.
`docs/inspection.md` lists the flaws; a test compares.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NoReturn

from intramural.library.gguf import LIMIT, Malformed, ReadAt
from intramural.library.strictjson import whole_characters


class OnnxFlaw(StrEnum):
    """Why a file is refused. The values are error codes and never change their meaning."""

    SIZE = "onnx_size"
    WIRE = "onnx_wire"
    FIELD = "onnx_field"
    TEXT = "onnx_text"
    COUNT = "onnx_count"
    DEPTH = "onnx_depth"
    EXTERNAL = "onnx_external_data"
    FUNCTION = "onnx_function"
    DOMAIN = "onnx_domain"
    OPERATION = "onnx_operation"
    TENSOR_TYPE = "onnx_tensor_type"
    TENSOR_SHAPE = "onnx_tensor_shape"
    TENSOR_SIZE = "onnx_tensor_size"
    TENSOR_TWICE = "onnx_tensor_twice"
    NO_GRAPH = "onnx_no_graph"


#: A protocol buffer cannot be longer.
MAX_BYTES = 2**31 - 1
#: A large encoder has some 2,000 nodes, 1,000 tensors and 60,000 fields.
MAX_NODES = 65_536
MAX_TENSORS = 65_536
MAX_FIELDS = 1_000_000
MAX_DEPTH = 8
MAX_DIMENSIONS = 8
MAX_NAME_BYTES = 1024
#: Documentation, metadata: passed over, but not without end.
MAX_TEXT_BYTES = 1 << 20
#: Numbers that are not raw bytes are counted one by one.
MAX_COUNTED_BYTES = 32 << 20
_WINDOW_BYTES = 1 << 18

#: number → (name, bits of one number)
TYPES: Mapping[int, tuple[str, int]] = {
    1: ("F32", 32), 2: ("U8", 8), 3: ("I8", 8), 4: ("U16", 16), 5: ("I16", 16), 6: ("I32", 32), 7: ("I64", 64),
    9: ("BOOL", 8), 10: ("F16", 16), 11: ("F64", 64), 12: ("U32", 32), 13: ("U64", 64), 16: ("BF16", 16),
    17: ("F8_E4M3", 8), 18: ("F8_E4M3FNUZ", 8), 19: ("F8_E5M2", 8), 20: ("F8_E5M2FNUZ", 8), 21: ("U4", 4),
    22: ("I4", 4), 23: ("F4", 4),
}  # fmt: skip
#: The standard's own operations; they touch nothing but tensors.
_STANDARD = ("", "ai.onnx")
#: ONNX Runtime's own, by name: those that encoders are fused and quantised to.
_CONTRIBUTED = "com.microsoft"
_NAMES = (
    "Attention BiasAdd BiasDropout BiasGelu BiasSoftmax BiasSplitGelu DequantizeLinear DynamicQuantizeMatMul "
    "EmbedLayerNormalization FastGelu FusedGemm FusedMatMul FusedMatMulActivation GatedRelativePositionBias Gelu "
    "GemmaRotaryEmbedding GroupQueryAttention LayerNormalization LongformerAttention MatMulInteger16 "
    "MatMulIntegerToFloat MatMulNBits MultiHeadAttention PackedAttention PackedMultiHeadAttention QAttention QGemm "
    "QEmbedLayerNormalization QLinearAdd QLinearAveragePool QLinearConcat QLinearLeakyRelu QLinearMul "
    "QLinearReduceMean QLinearSigmoid QLinearSoftmax QLinearWhere QOrderedAttention QOrderedGelu "
    "QOrderedLayerNormalization QOrderedMatMul QuantizeLinear QuickGelu RelativePositionBias RemovePadding "
    "RestorePadding RotaryEmbedding SimplifiedLayerNormalization SkipLayerNormalization "
    "SkipSimplifiedLayerNormalization TransposeMatMul"
)
_CONTRIBUTED_OPERATIONS = frozenset(_NAMES.split())

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
#: Of a varint's tenth and last byte.
_LAST_SHIFT = 63


@dataclass(frozen=True, slots=True)
class Value:
    """An input or output: its type (a key of `TYPES`, 0 if it is no tensor) and shape; a length that varies is None."""

    name: str
    type_number: int
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor that the file holds; `weights` counts numbers, `place` is its byte in the file."""

    name: str
    type_name: str
    shape: tuple[int, ...]
    weights: int
    size_bytes: int
    place: int


@dataclass(slots=True)
class Graph:
    """What a file holds. `operations` are the names used, those of ONNX Runtime with its domain before them."""

    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    tensors: list[StoredTensor] = field(default_factory=list)
    operations: set[str] = field(default_factory=set)
    nodes: int = 0


def read_graph(read_at: ReadAt, size_bytes: int) -> Graph:
    """Check the whole file but the weights' own bytes. Raises Malformed with an `OnnxFlaw` as its code."""
    if not 0 < size_bytes <= MAX_BYTES:
        _refuse(OnnxFlaw.SIZE, f"{size_bytes} bytes are no ONNX file: 1 to {MAX_BYTES} make sense.", None, 0)
    reader = _Reader(read_at)
    reader.model(0, size_bytes)
    return reader.graph


@dataclass(frozen=True, slots=True)
class _Field:
    """One field of a message: where it is, and its number (a varint's value) or the bytes from `begin` to `end`."""

    number: int
    wire: int
    place: int
    value: int
    begin: int
    end: int


#: What a message may have: field number → (name, wire type, may it be repeated).
_Known = Mapping[int, tuple[str, int, bool]]
_MODEL: _Known = {
    1: ("ir_version", _VARINT, False), 2: ("producer_name", _BYTES, False), 3: ("producer_version", _BYTES, False),
    4: ("domain", _BYTES, False), 5: ("model_version", _VARINT, False), 6: ("doc_string", _BYTES, False),
    7: ("graph", _BYTES, False), 8: ("opset_import", _BYTES, True), 14: ("metadata_props", _BYTES, True),
    20: ("training_info", _BYTES, True), 25: ("functions", _BYTES, True),
}  # fmt: skip
_OPSET: _Known = {1: ("domain", _BYTES, False), 2: ("version", _VARINT, False)}
_GRAPH: _Known = {
    1: ("node", _BYTES, True), 2: ("name", _BYTES, False), 5: ("initializer", _BYTES, True),
    10: ("doc_string", _BYTES, False), 11: ("input", _BYTES, True), 12: ("output", _BYTES, True),
    13: ("value_info", _BYTES, True), 14: ("quantization_annotation", _BYTES, True),
    16: ("metadata_props", _BYTES, True),
}  # fmt: skip
_NODE: _Known = {
    1: ("input", _BYTES, True), 2: ("output", _BYTES, True), 3: ("name", _BYTES, False),
    4: ("op_type", _BYTES, False), 5: ("attribute", _BYTES, True), 6: ("doc_string", _BYTES, False),
    7: ("domain", _BYTES, False), 8: ("overload", _BYTES, False), 9: ("metadata_props", _BYTES, True),
}  # fmt: skip
_ATTRIBUTE: _Known = {
    1: ("name", _BYTES, False), 2: ("f", _FIXED32, False), 3: ("i", _VARINT, False), 4: ("s", _BYTES, False),
    5: ("t", _BYTES, False), 6: ("g", _BYTES, False), 7: ("floats", -1, True), 8: ("ints", -1, True),
    9: ("strings", _BYTES, True), 10: ("tensors", _BYTES, True), 11: ("graphs", _BYTES, True),
    13: ("doc_string", _BYTES, False), 20: ("type", _VARINT, False),
}  # fmt: skip
_TENSOR: _Known = {
    1: ("dims", -1, True), 2: ("data_type", _VARINT, False), 4: ("float_data", _BYTES, False),
    5: ("int32_data", _BYTES, False), 7: ("int64_data", _BYTES, False), 8: ("name", _BYTES, False),
    9: ("raw_data", _BYTES, False), 10: ("double_data", _BYTES, False), 11: ("uint64_data", _BYTES, False),
    12: ("doc_string", _BYTES, False), 13: ("external_data", _BYTES, True), 14: ("data_location", _VARINT, False),
    16: ("metadata_props", _BYTES, True),
}  # fmt: skip
_VALUE: _Known = {
    1: ("name", _BYTES, False), 2: ("type", _BYTES, False), 3: ("doc_string", _BYTES, False),
    4: ("metadata_props", _BYTES, True),
}  # fmt: skip
_TYPE: _Known = {1: ("tensor_type", _BYTES, False), 6: ("denotation", _BYTES, False)}
_TENSOR_TYPE: _Known = {1: ("elem_type", _VARINT, False), 2: ("shape", _BYTES, False)}
_SHAPE: _Known = {1: ("dim", _BYTES, True)}
_DIMENSION: _Known = {
    1: ("dim_value", _VARINT, False), 2: ("dim_param", _BYTES, False), 3: ("denotation", _BYTES, False)
}  # fmt: skip
#: Which field holds numbers of a type that are not raw, and how long one is there (0: a varint).
_COUNTED = {
    "F32": ("float_data", 4), "F64": ("double_data", 8), "I64": ("int64_data", 0), "U64": ("uint64_data", 0),
    "U32": ("uint64_data", 0),
}  # fmt: skip
_DATA_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "raw_data")


class _Reader:
    """One pass over a file. Bytes of weights are measured, not read."""

    def __init__(self, read_at: ReadAt) -> None:
        self._read_at = read_at
        self._window, self._window_at = b"", 0
        self._fields = 0
        self._counted_bytes = 0
        self._names: set[str] = set()
        self.graph = Graph()

    # messages

    def model(self, begin: int, end: int) -> None:
        found = self._all(begin, end, _MODEL)
        for name in ("training_info", "functions"):
            if name in found:
                _refuse(OnnxFlaw.FUNCTION, f"It brings {name} of its own.", name, found[name][0].place)
        if "graph" not in found:
            _refuse(OnnxFlaw.NO_GRAPH, "There is no graph in it.", "graph", begin)
        for each in found.get("opset_import", ()):  # sets are announced by habit; what counts is which one is used
            self._text(self._all(each.begin, each.end, _OPSET), "domain", MAX_NAME_BYTES)
        graph = found["graph"][0]
        self._graph(graph.begin, graph.end, depth=0)

    def _graph(self, begin: int, end: int, depth: int) -> None:
        if depth > MAX_DEPTH:
            _refuse(OnnxFlaw.DEPTH, f"Graphs are nested more than {MAX_DEPTH} deep.", None, begin)
        found = self._all(begin, end, _GRAPH, self._heavy(depth))
        if depth == 0:
            self.graph.inputs = [self._value(each) for each in found.get("input", ())]
            self.graph.outputs = [self._value(each) for each in found.get("output", ())]

    def _heavy(self, depth: int) -> dict[str, Callable[[_Field], None]]:
        """What there may be thousands of: looked at as it comes, and not kept."""
        return {
            "node": lambda each: self._node(each, depth),
            "initializer": lambda each: self._stored(each, named=depth == 0),
            "value_info": lambda each: None,
        }

    def _node(self, node: _Field, depth: int) -> None:
        self.graph.nodes += 1
        if self.graph.nodes > MAX_NODES:
            _refuse(OnnxFlaw.COUNT, f"There are more than {MAX_NODES} operations.", "node", node.place)
        attributes: list[_Field] = []
        found = self._all(node.begin, node.end, _NODE, {"attribute": attributes.append})
        operation = self._text(found, "op_type", MAX_NAME_BYTES)
        domain = self._text(found, "domain", MAX_NAME_BYTES)
        if domain not in (*_STANDARD, _CONTRIBUTED):
            _refuse(OnnxFlaw.DOMAIN, f"Operations of {domain[:60]!r} are not known here.", domain[:60], node.place)
        if domain == _CONTRIBUTED and operation not in _CONTRIBUTED_OPERATIONS:
            message = f"{operation[:60]!r} is none of the operations of ONNX Runtime that encoders consist of."
            _refuse(OnnxFlaw.OPERATION, message, operation[:60], node.place)
        if self._text(found, "overload", MAX_NAME_BYTES):
            _refuse(OnnxFlaw.FUNCTION, "An operation names an overload, as functions have.", operation, node.place)
        self.graph.operations.add(f"{domain}.{operation}" if domain == _CONTRIBUTED else operation)
        for each in attributes:
            self._attribute(each, depth)

    def _attribute(self, attribute: _Field, depth: int) -> None:
        found = self._all(attribute.begin, attribute.end, _ATTRIBUTE)
        for name in ("t", "tensors"):
            for each in found.get(name, ()):
                self._stored(each, named=False)
        for name in ("g", "graphs"):
            for each in found.get(name, ()):
                self._graph(each.begin, each.end, depth + 1)

    def _stored(self, tensor: _Field, *, named: bool) -> None:
        found = self._all(tensor.begin, tensor.end, _TENSOR)
        name = self._text(found, "name", MAX_NAME_BYTES)
        if "external_data" in found or any(each.value for each in found.get("data_location", ())):
            message = f"{name[:80]!r} is said to lie in another file, or in memory."
            _refuse(OnnxFlaw.EXTERNAL, message, name, tensor.place)
        number = found["data_type"][0].value if "data_type" in found else 0
        if number not in TYPES:
            _refuse(OnnxFlaw.TENSOR_TYPE, f"{name[:80]!r}: {number} is no type that is taken.", name, tensor.place)
        type_name, bits = TYPES[number]
        shape = tuple(self._numbers(found.get("dims", ())))
        if len(shape) > MAX_DIMENSIONS or any(each >= LIMIT for each in shape) or (n := math.prod(shape)) >= LIMIT:
            _refuse(OnnxFlaw.TENSOR_SHAPE, f"{name[:80]!r}: the shape makes no sense.", name, tensor.place)
        size_bytes = (n * bits + 7) // 8
        if not self._holds(found, type_name, n, size_bytes):
            message = f"{name[:80]!r}: {n} numbers of type {type_name} are announced, and other bytes are there."
            _refuse(OnnxFlaw.TENSOR_SIZE, message, name, tensor.place)
        if named:
            self._keep(StoredTensor(name, type_name, shape, n, size_bytes, tensor.place))

    def _keep(self, tensor: StoredTensor) -> None:
        if tensor.name in self._names:
            _refuse(OnnxFlaw.TENSOR_TWICE, f"{tensor.name[:80]!r} is there twice.", tensor.name, tensor.place)
        self._names.add(tensor.name)
        self.graph.tensors.append(tensor)
        if len(self.graph.tensors) > MAX_TENSORS:
            _refuse(OnnxFlaw.COUNT, f"There are more than {MAX_TENSORS} tensors.", "initializer", tensor.place)

    def _holds(self, found: dict[str, list[_Field]], type_name: str, count: int, size_bytes: int) -> bool:
        """Whether there are exactly `count` numbers, in one field, and the one for their type."""
        data = [(name, found[name][0]) for name in _DATA_FIELDS if name in found]
        if len(data) != 1:
            return not data and count == 0
        name, each = data[0]
        length = each.end - each.begin
        if name == "raw_data":
            return length == size_bytes
        expected, width = _COUNTED.get(type_name, ("int32_data", 0))
        return name == expected and (length == width * count if width else self._varints(each) == count)

    def _value(self, value: _Field) -> Value:
        found = self._all(value.begin, value.end, _VALUE)
        name = self._text(found, "name", MAX_NAME_BYTES)
        kind = found.get("type")
        tensor = self._all(kind[0].begin, kind[0].end, _TYPE).get("tensor_type") if kind else None
        if not tensor:
            return Value(name, 0, None)
        said = self._all(tensor[0].begin, tensor[0].end, _TENSOR_TYPE)
        number = said["elem_type"][0].value if "elem_type" in said else 0
        if "shape" not in said:
            return Value(name, number, None)
        shape = self._all(said["shape"][0].begin, said["shape"][0].end, _SHAPE).get("dim", [])
        if len(shape) > MAX_DIMENSIONS:
            _refuse(OnnxFlaw.TENSOR_SHAPE, f"{name[:80]!r} has {len(shape)} dimensions.", name, value.place)
        return Value(name, number, tuple(self._length(each) for each in shape))

    def _length(self, dimension: _Field) -> int | None:
        found = self._all(dimension.begin, dimension.end, _DIMENSION)
        number = found["dim_value"][0].value if "dim_value" in found else 0
        return number if 0 < number < LIMIT else None

    # fields

    def _all(
        self, begin: int, end: int, known: _Known, heavy: Mapping[str, Callable[[_Field], None]] | None = None
    ) -> dict[str, list[_Field]]:
        """The fields of a message by name; those in `heavy` are handed over instead."""
        found: dict[str, list[_Field]] = {}
        for each in self._walk(begin, end):
            if each.number not in known:
                _refuse(OnnxFlaw.FIELD, f"Field {each.number} is not known here.", str(each.number), each.place)
            name, wire, repeated = known[each.number]
            if wire not in (-1, each.wire):
                _refuse(OnnxFlaw.WIRE, f"{name} is written as something else than it is.", name, each.place)
            if name in ("doc_string", "metadata_props") and each.end - each.begin > MAX_TEXT_BYTES:
                _refuse(OnnxFlaw.TEXT, f"{name} is over {MAX_TEXT_BYTES} bytes long.", name, each.place)
            if heavy is not None and name in heavy:
                heavy[name](each)
                continue
            if name in found and not repeated:
                _refuse(OnnxFlaw.FIELD, f"{name} is there twice.", name, each.place)
            found.setdefault(name, []).append(each)
        return found

    def _walk(self, begin: int, end: int) -> Iterator[_Field]:
        at = begin
        while at < end:
            self._fields += 1
            if self._fields > MAX_FIELDS:
                _refuse(OnnxFlaw.COUNT, f"There are more than {MAX_FIELDS} fields.", None, at)
            place = at
            tag, at = self._varint(at, end)
            number, wire = tag >> 3, tag & 7
            value = length = 0
            if wire == _VARINT:
                value, at = self._varint(at, end)
            elif wire == _BYTES:
                length, at = self._varint(at, end)
            elif wire in (_FIXED32, _FIXED64):
                length = 4 if wire == _FIXED32 else 8
            else:
                _refuse(OnnxFlaw.WIRE, f"{wire} is no way to write a field that is taken.", None, place)
            if number == 0 or length > end - at:
                _refuse(OnnxFlaw.WIRE, "A field reaches past the end of what it is in.", None, place)
            yield _Field(number, wire, place, value, at, at + length)
            at += length

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        byte = 0x80
        while byte & 0x80:
            if at >= end or shift > _LAST_SHIFT:
                _refuse(OnnxFlaw.WIRE, "A number does not end.", None, at)
            byte = self._byte(at)
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
        return value & (2**64 - 1), at

    def _byte(self, at: int) -> int:
        place = at - self._window_at
        if not 0 <= place < len(self._window):
            self._window, self._window_at = self._read_at(at, _WINDOW_BYTES), at
            place = 0
            if not self._window:
                _refuse(OnnxFlaw.WIRE, "It ended while it was read.", None, at)
        return self._window[place]

    def _bytes(self, begin: int, end: int) -> bytes:
        place = begin - self._window_at
        if place >= 0 and place + (end - begin) <= len(self._window):
            return self._window[place : place + (end - begin)]
        raw = self._read_at(begin, end - begin)
        if len(raw) != end - begin:
            _refuse(OnnxFlaw.WIRE, "It ended while it was read.", None, begin)
        return raw

    def _text(self, found: dict[str, list[_Field]], name: str, most: int) -> str:
        if name not in found:
            return ""
        each = found[name][0]
        if each.end - each.begin > most:
            _refuse(OnnxFlaw.TEXT, f"{name} is over {most} bytes long.", name, each.place)
        try:
            return self._bytes(each.begin, each.end).decode("utf-8")
        except UnicodeDecodeError:
            _refuse(OnnxFlaw.TEXT, f"{name} is not UTF-8.", name, each.place)

    def _numbers(self, fields: "list[_Field] | tuple[()]") -> list[int]:
        """Whole numbers, one a field or packed into one."""
        found: list[int] = []
        for each in fields:
            if each.wire == _VARINT:
                found.append(each.value)
                continue
            at = each.begin
            while at < each.end and len(found) <= MAX_DIMENSIONS:
                value, at = self._varint(at, each.end)
                found.append(value)
        return found

    def _varints(self, packed: _Field) -> int:
        """How many numbers are packed there: every one ends with a byte below 128."""
        self._counted_bytes += packed.end - packed.begin
        if self._counted_bytes > MAX_COUNTED_BYTES:
            message = f"More than {MAX_COUNTED_BYTES} bytes of numbers are not stored as raw data."
            _refuse(OnnxFlaw.COUNT, message, None, packed.place)
        raw = self._bytes(packed.begin, packed.end)
        if raw and raw[-1] >= 0x80:
            return -1
        return sum(byte < 0x80 for byte in raw)


def _refuse(flaw: OnnxFlaw, message: str, field_: str | None, offset: int) -> NoReturn:
    raise Malformed(flaw.value, whole_characters(message), field_ and whole_characters(field_), offset)
