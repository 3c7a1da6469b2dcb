"""Writes ONNX files field by field, so that tests can write wrong ones: a message is a list of (number, value).

An int is a varint, bytes and text are length-delimited, a list is a message, a float four fixed bytes.
"""

import struct
from collections.abc import Sequence
from typing import Any

Message = Sequence[tuple[int, Any]]
F32, U8, I8, I64, STRING = 1, 2, 3, 7, 8


def varint(value: int) -> bytes:
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def encoded(message: Message) -> bytes:
    out = bytearray()
    for number, value in message:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        elif isinstance(value, float):
            out += varint(number << 3 | 5) + struct.pack("<f", value)
        else:
            body = value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else encoded(value)
            out += varint(number << 3 | 2) + varint(len(body)) + body
    return bytes(out)


def value(name: str, kind: int, *shape: int | str) -> Message:
    """An input or output; a length that is a text varies."""
    dims = [(1, [(1, each)] if isinstance(each, int) else [(2, each)]) for each in shape]
    return [(1, name), (2, [(1, [(1, kind), (2, dims)])])]


def tensor(name: str, *shape: int, kind: int = F32, raw: bytes | None = None, more: Message = ()) -> Message:
    """A tensor of raw zeros, or with `raw` bytes instead."""
    count = 1
    for each in shape:
        count *= each
    width = {F32: 4, U8: 1, I8: 1, I64: 8}.get(kind, 1)
    body = bytes(count * width) if raw is None else raw
    return [*((1, each) for each in shape), (2, kind), (8, name), (9, body), *more]


def node(
    operation: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", more: Message = ()
) -> Message:
    """One operation."""
    return [*((1, each) for each in inputs), *((2, each) for each in outputs), (4, operation), (7, domain), *more]


INPUTS = ("input_ids", "attention_mask")
WIDTH, VOCABULARY, POSITIONS = 8, 1000, 64


def graph(
    *,
    inputs: Sequence[Message] | None = None,
    outputs: Sequence[Message] | None = None,
    tensors: Sequence[Message] = (),
    nodes: Sequence[Message] = (),
    more: Message = (),
) -> Message:
    """A tiny encoder: a table of words of which the tokens' rows are the answer."""
    words = tensor("word_embeddings", VOCABULARY, WIDTH)
    places = tensor("position_embeddings", POSITIONS, WIDTH)
    gather = node("Gather", ["word_embeddings", "input_ids"], ["last_hidden_state"])
    taken = inputs if inputs is not None else [value(name, I64, "batch", "tokens") for name in INPUTS]
    given = outputs if outputs is not None else [value("last_hidden_state", F32, "batch", "tokens", WIDTH)]
    return [
        *((1, each) for each in (gather, *nodes)),
        (2, "tiny"),
        *((5, each) for each in (words, places, *tensors)),
        *((11, each) for each in taken),
        *((12, each) for each in given),
        *more,
    ]


def model(body: Message | None = None, more: Message = (), opset: int = 17) -> bytes:
    """The file."""
    return encoded([(1, 8), (2, "test"), (7, graph() if body is None else body), (8, [(2, opset)]), *more])
