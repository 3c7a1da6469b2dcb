"""What `mutations` runs in the confined process: takes real files apart, changes them, and has each one inspected.

Two kinds of change: structured (a count, a length, a type, a dimension, an offset set to a hostile number; a key or a
tensor dropped, doubled, swapped or taken from another file; the chat template rewritten) and of bytes (flipped, cut
off, taken out, put in). Everything follows from a seed, so any case can be made again.
"""

import os
import random
import struct
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from intramural.library.examination import examine_bytes
from intramural.library.gguf import Malformed, read_header
from intramural.library.manifest import Piece

HOSTILE = (
    *(0, 1, 2, 7, 8, 255, 256, 4095, 4096, 2**15, 2**16),
    *(2**power + delta for power in (31, 32, 61, 62, 63, 64) for delta in (-8, -1, 0, 1)),
)
PIECES = (
    "{{", "}}", "{%", "%}", "{% if x %}", "{% endif %}", "{% for a in messages %}", "{% endfor %}", "(", ")", "[", "]",
    "{% macro m(x) %}", "{% endmacro %}", "m(x)", "|", "|attr('x')", ".__class__", "not ", "-", "~", "'", '"',
    "\\u200b", "{{ messages[0].content }}", "range(99)", "{% set x %}", "{% endset %}", "9" * 300, "https://x.example",
)  # fmt: skip
#: Opened here, as nothing can be opened once the process is confined.
_STATUS = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
_WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
#: Strings of an array of which the lengths count as fields: a vocabulary has too many.
_STRING_FIELDS = 40


@dataclass
class Anatomy:
    """Where a header's fields are: (offset, width in bytes); where each record begins and ends; and the template."""

    fields: list[tuple[int, int]] = field(default_factory=lambda: [(4, 4), (8, 8), (16, 8)])
    keys: list[tuple[int, int]] = field(default_factory=list)
    tensors: list[tuple[int, int]] = field(default_factory=list)
    template: tuple[int, int] | None = None  # the text, without its length


def anatomy(head: bytes) -> Anatomy:
    """Take a well-formed header apart. Knows nothing of the reader."""
    found, at = Anatomy(), 24
    tensor_count, key_count = struct.unpack_from("<QQ", head, 8)

    def number(width: int) -> int:
        nonlocal at
        found.fields.append((at, width))
        at += width
        return int.from_bytes(head[at - width : at], "little")

    def text(count: bool = True) -> tuple[int, int]:
        nonlocal at
        size = number(8) if count else int.from_bytes(head[at : at + 8], "little")
        at += size if count else size + 8
        return at - size, at

    for _ in range(key_count):
        begin = at
        start, end = text()
        kind = number(4)
        if kind == _STRING:
            value = text()
            found.template = value if head[start:end] == b"tokenizer.chat_template" else found.template
        elif kind == _ARRAY:
            item, count = number(4), number(8)
            if item == _STRING:
                for each in range(count):
                    text(each < _STRING_FIELDS)
            else:
                at += count * _WIDTHS[item]
        else:
            number(_WIDTHS[kind])
        found.keys.append((begin, at))
    for _ in range(tensor_count):
        begin = at
        text()
        for _ in range(number(4)):
            number(8)
        number(4), number(8)
        found.tensors.append((begin, at))
    return found


@dataclass
class Part:
    """One file of a subject: its header with the padding, taken apart, and how many bytes of weights follow."""

    head: bytes
    tail_bytes: int
    anatomy: Anatomy


def part_of(descriptor: int, *, may_be_empty: bool) -> Part:
    """The well-formed file behind `descriptor`; the bytes of its weights do not matter, only how many they are."""
    size = os.fstat(descriptor).st_size
    header = read_header(lambda at, count: os.pread(descriptor, count, at), size, may_be_empty=may_be_empty)
    head = os.pread(descriptor, header.data_offset, 0)
    return Part(head, size - len(head), anatomy(head))


def mutated(part: Part, others: Sequence[Part], chance: random.Random) -> tuple[bytes, int]:
    """(header, bytes of weights) after one to four changes; those that move things come last."""
    head, tail_bytes = bytearray(part.head), part.tail_bytes
    for _ in range(chance.randint(0, 3)):
        _in_place(head, part.anatomy, chance)
    match chance.randrange(12):
        case 0 | 1 | 2 | 3:
            _in_place(head, part.anatomy, chance)
        case 4:
            at, _ = chance.choice(part.anatomy.fields)
            head, tail_bytes = head[: chance.choice((at, chance.randrange(len(head))))], 0
        case 5:
            at = chance.randrange(len(head))
            del head[at : at + chance.randint(1, 64)]
        case 6:
            at = chance.randrange(len(head))
            head[at:at] = chance.randbytes(chance.randint(1, 64))
        case 7 | 8:
            head = _records(head, part.anatomy, chance.choice(others), chance)
        case 9 | 10 if part.anatomy.template:
            head = _template(head, part.anatomy.template, chance)
        case _:
            tail_bytes = max(0, tail_bytes + chance.choice((-1, 1, -32, 32, -tail_bytes, 2**40, 2**62)))
    if chance.random() < 0.5:  # as an honest writer would end it, so that what comes behind the header is reached
        head += bytes(-len(head) % 32)
    return bytes(head), tail_bytes


def _in_place(head: bytearray, known: Anatomy, chance: random.Random) -> None:
    if chance.random() < 0.3:
        head[chance.randrange(len(head))] ^= 1 << chance.randrange(8)
        return
    at, width = chance.choice(known.fields)
    now = int.from_bytes(head[at : at + width], "little")
    value = chance.choice((chance.choice(HOSTILE), now + 1, now - 1, now * 2, now ^ 1, chance.getrandbits(8 * width)))
    head[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, "little")


def _records(head: bytearray, known: Anatomy, other: Part, chance: random.Random) -> bytearray:
    """Drop, double, swap or bring in a key or a tensor; the count follows, mostly."""
    counted, records, theirs = (8, known.tensors, other.anatomy.tensors)
    if not records or chance.random() < 0.6:
        counted, records, theirs = (16, known.keys, other.anatomy.keys)
    begin, end = chance.choice(records)
    record, change = bytes(head[begin:end]), 0
    match chance.randrange(4):
        case 0:
            head[begin:end], change = b"", -1
        case 1:
            head[end:end], change = record, 1
        case 2:
            other_begin, other_end = chance.choice(records)
            if other_begin >= end:
                head = head[:begin] + head[other_begin:other_end] + head[end:other_begin] + record + head[other_end:]
        case _ if theirs:
            start, stop = chance.choice(theirs)
            head[begin:begin], change = other.head[start:stop], 1
        case _:
            pass
    if chance.random() < 0.8:
        count = int.from_bytes(head[counted : counted + 8], "little") + change
        head[counted : counted + 8] = (count % 2**64).to_bytes(8, "little")
    return head


def _template(head: bytearray, where: tuple[int, int], chance: random.Random) -> bytearray:
    begin, end = where
    text = head[begin:end].decode("utf-8", "replace")
    for _ in range(chance.randint(1, 4)):
        at, size = chance.randrange(len(text) + 1), chance.randint(0, 40)
        match chance.randrange(4):
            case 0:
                text = text[:at] + chance.choice(PIECES) * chance.choice((1, 1, 1, 2, 70, 3000)) + text[at:]
            case 1:
                text = text[:at] + text[at + size :]
            case 2:
                other = chance.randrange(len(text) + 1)
                text = text[:at] + text[other : other + 4 * size] + text[at:]
            case _:
                text = text[:at] + chance.choice(PIECES) + text[at + size :]
    raw = text[:100_000].encode("utf-8", "replace")
    return head[: begin - 8] + struct.pack("<Q", len(raw)) + raw + head[end:]


def _read(head: bytes, size: int, offset: int, count: int) -> bytes:
    """The header, and behind it zeros up to `size`."""
    count = max(0, min(count, size - offset))
    return head[offset : offset + count].ljust(count, b"\x00")


def _peak_bytes() -> int:
    """The most memory this process came to. (What `getrusage` says began with the parent's.)"""
    lines = os.pread(_STATUS, 8192, 0).decode().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024


def batch(arg: Mapping[str, Any], fds: Mapping[str, int]) -> Any:
    """The entry: inspects `count` cases from `seed` on. Says what came of them; a crash of the reader with its seed."""
    pieces = msgspec.convert(arg["pieces"], list[Piece])
    parts = [part_of(fds[f"file-{n}"], may_be_empty=len(pieces) > 1 and not n) for n in range(len(pieces))]
    others = [*parts, *(part_of(fds[name], may_be_empty=True) for name in sorted(fds) if name.startswith("other-"))]
    outcomes: Counter[str] = Counter()
    crashes: list[list[str]] = []
    slowest_s = 0.0
    for seed in range(arg["seed"], arg["seed"] + arg["count"]):
        chance = random.Random(seed)
        victim = chance.randrange(len(parts))
        made = [(part.head, part.tail_bytes) for part in parts]
        made[victim] = mutated(parts[victim], others, chance)
        files = [(partial(_read, head, len(head) + tail), len(head) + tail) for head, tail in made]
        began = time.thread_time()
        try:
            facts = examine_bytes(files, pieces)
            outcomes["quarantined" if facts and facts.findings else "sound"] += 1
        except Malformed as error:
            outcomes[error.code if error.field is not None and error.offset is not None else "NO FIELD OR OFFSET"] += 1
        except Exception as error:  # what is looked for here
            crashes.append([str(seed), f"{type(error).__name__}: {error}"[:300]])
        slowest_s = max(slowest_s, time.thread_time() - began)
    return {"outcomes": outcomes, "crashes": crashes, "slowest_s": slowest_s, "peak_bytes": _peak_bytes()}
