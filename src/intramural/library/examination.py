"""What runs in the confined one-shot process: header, known keys, chat template. Nothing else ever parses a file.

Nobody else needs this module and what it imports, the parser of templates above all: the service starts without them.
"""

import codecs
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from intramural.library.encoder import examine_encoder
from intramural.library.facts import ModelFacts, templates_of
from intramural.library.finding import Danger, Finding
from intramural.library.gguf import Malformed, ReadAt, read_header
from intramural.library.inspection import Answer, Refusal
from intramural.library.manifest import WHOLE, Piece
from intramural.library.parts import check_alone, check_together
from intramural.library.snapshot import examine_snapshot
from intramural.library.template import MAX_TEMPLATES, audit

for _name in ("ascii", "unicode-escape", "utf-8"):
    codecs.lookup(_name)  # Jinja asks for these by name, when nothing can be imported any more


def inspect(arg: Mapping[str, Any], fds: Mapping[str, int]) -> Any:
    """The entry of the confined process. `arg` has `pieces`: which part of a model each file claims to be."""
    pieces = msgspec.convert(arg["pieces"], list[Piece])
    try:
        answer = Answer(facts=examine([fds[f"file-{number}"] for number in range(len(pieces))], pieces))
    except Malformed as error:
        answer = Answer(refused=Refusal(error.code, error.message, error.hint, error.field, error.offset))
    return msgspec.to_builtins(answer)


def examine(descriptors: Sequence[int], pieces: Sequence[Piece] = (WHOLE,)) -> ModelFacts | None:
    """Read one file alone, or all files of a model. Raises Malformed with a named reason."""
    return examine_bytes([(partial(_read_at, each), os.fstat(each).st_size) for each in descriptors], pieces)


def examine_bytes(files: Sequence[tuple[ReadAt, int]], pieces: Sequence[Piece] = (WHOLE,)) -> ModelFacts | None:
    """As `examine`, for files given as a way to read them and their size in bytes."""
    if any(piece.kind == "onnx" for piece in pieces):
        return examine_encoder(files, pieces)
    if any(piece.kind != "gguf" for piece in pieces):
        return _examine_snapshot(files, pieces)
    headers = [
        read_header(read_at, size_bytes, may_be_empty=piece.role == "weights" and piece.number == 1 < piece.count)
        for (read_at, size_bytes), piece in zip(files, pieces, strict=True)
    ]
    found = [check_alone(header, piece) for header, piece in zip(headers, pieces, strict=True)]
    facts = found[0] if len(headers) == 1 else check_together(headers, pieces)
    if facts is None:
        return None
    templates = {name: (text, headers[0].places[name]) for name, text in templates_of(headers[0]).items()}
    return msgspec.structs.replace(facts, findings=_findings(templates))


def _examine_snapshot(files: Sequence[tuple[ReadAt, int]], pieces: Sequence[Piece]) -> ModelFacts | None:
    facts, templates = examine_snapshot(files, pieces)
    found = _findings(templates)
    return None if facts is None else msgspec.structs.replace(facts, findings=found)


def _read_at(descriptor: int, offset: int, size: int) -> bytes:
    return os.pread(descriptor, size, offset)


def _findings(templates: Mapping[str, tuple[str, int]]) -> tuple[Finding, ...]:
    """What an administrator has to decide about the chat templates: for each name its text, and the byte where it is.

    Raises Malformed for what nobody may allow.
    """
    if len(templates) > MAX_TEMPLATES:
        name = list(templates)[MAX_TEMPLATES]
        message = f"There are {len(templates)} chat templates; {MAX_TEMPLATES} is the limit."
        raise Malformed(Danger.SIZE.value, message, name, templates[name][1])
    found = [each for name, (text, _) in templates.items() for each in audit(text, name)]
    for each in found:
        if each.severity == "refused":
            hint = "Ask its publisher for a plain chat template, or use another model."
            message = f"Chat template, line {each.line}: {each.message}"
            raise Malformed(each.code, message, each.field, templates[each.field][1], hint)
    return tuple(found)
