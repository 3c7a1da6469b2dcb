"""Which files the kernel executes when a program is started: itself, and the loader that it names. Source: elf(5)."""

import struct
from collections.abc import Iterator
from pathlib import Path

_MAGIC_64_LITTLE = b"\x7fELF\x02\x01"
_PT_INTERP = 3
_HEADER_BYTES, _ENTRY_BYTES, _MOST_NAME_BYTES = 64, 56, 4096


def executed(program: Path) -> Iterator[Path]:
    """`program`, links followed, and its loader if it has one. Raises OSError."""
    program = program.resolve(strict=True)
    yield program
    if loader := _loader(program):
        yield loader.resolve()


def _loader(program: Path) -> Path | None:
    with program.open("rb") as file:
        header = file.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC_64_LITTLE):
            return None
        (table,) = struct.unpack_from("<Q", header, 32)
        size, count = struct.unpack_from("<HH", header, 54)
        for number in range(count):
            file.seek(table + number * size)
            entry = file.read(_ENTRY_BYTES)
            kind, offset, length = struct.unpack("<I4xQ16xQ16x", entry)
            if kind == _PT_INTERP:
                file.seek(offset)
                return Path(file.read(min(length, _MOST_NAME_BYTES)).rstrip(b"\0").decode())
    return None
