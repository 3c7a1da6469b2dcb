"""Marks of a prompt: a chain of keyed hashes over blocks of what is asked, to find the longest common beginning.

Two prompts that begin alike have equal marks as far as their blocks are alike. A mark says nothing of the text to who
does not have the key. They choose where a request is computed and nothing more: what may be used again of what is
there is found out by the engine, token by token.
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b

import msgspec

from intramural.core.chat import ChatRequest, Image, Message

#: Text of one block: some thirty tokens of it.
BLOCK_BYTES = 128
_MARK_BYTES = 8

Marks = tuple[bytes, ...]


def marks_of(request: ChatRequest, key: bytes) -> Marks:
    """One mark a block of `request`'s prompt, from its beginning; a last piece that fills no block has one too."""
    found: list[bytes] = []
    link = b""
    for block in _blocks(_pieces(request)):
        link = blake2b(link + block, key=key, digest_size=_MARK_BYTES).digest()
        found.append(link)
    return tuple(found)


def shared(one: Sequence[bytes], other: Sequence[bytes]) -> int:
    """How many marks both have from the beginning."""
    # Each mark stands for everything before it too, so that the last equal pair is found by halving.
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[middle - 1] == other[middle - 1] else (low, middle - 1)
    return low


def _blocks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        rest += piece
        whole = len(rest) - len(rest) % BLOCK_BYTES
        for begin in range(0, whole, BLOCK_BYTES):
            yield rest[begin : begin + BLOCK_BYTES]
        rest = rest[whole:]
    if rest:
        yield rest


def _pieces(request: ChatRequest) -> Iterator[bytes]:
    """What the prompt is made of, in the order in which most templates put it."""
    if isinstance(request.prompt, str):
        yield request.prompt.encode(errors="replace")
        return
    if request.prompt is not None:
        yield b"".join(token.to_bytes(8, "little", signed=True) for token in request.prompt)
        return
    if request.tools:
        yield msgspec.json.encode(request.tools)
    for message in request.messages:
        yield from _message(message)


def _message(message: Message) -> Iterator[bytes]:
    yield f"\n{message.role}: ".encode()
    yield message.content.encode(errors="replace")
    for part in message.parts:
        if isinstance(part, Image):
            yield blake2b(part.data).digest()
        else:
            yield part.encode(errors="replace")
    if message.reasoning:
        yield message.reasoning.encode(errors="replace")
    if message.tool_calls:
        yield msgspec.json.encode(message.tool_calls)
