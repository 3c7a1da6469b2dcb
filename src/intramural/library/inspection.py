"""What runs in the confined one-shot process: header, known keys, chat template. Nothing else ever parses a file.

The process gets the files of one model as descriptors, `file-0`, `file-1` …, with the part that each claims to be, and
answers with JSON. The parent checks the shape of that answer too: the reader may have been taken over by what it read.
"""

import codecs
import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Protocol

import msgspec

from intramural.core.errors import Untrusted
from intramural.library.facts import ModelFacts, templates_of
from intramural.library.gguf import Malformed, ReadAt, read_header
from intramural.library.manifest import WHOLE, Piece
from intramural.library.parts import check_alone, check_together
from intramural.library.snapshot import examine_snapshot
from intramural.library.template import MAX_TEMPLATES, Danger, Finding, audit

for _name in ("ascii", "unicode-escape", "utf-8"):
    codecs.lookup(_name)  # Jinja asks for these by name, when nothing can be imported any more

#: For `sandbox.Launch(entry=…)`.
ENTRY = "intramural.library.inspection:inspect"
#: A header takes well under 2 s; the rest is for a busy machine.
TIMEOUT_S = 30.0
MAX_TEXT = 1000
_CODE = re.compile("[a-z][a-z0-9_]{0,63}")

#: (entry, its argument, descriptors by name) -> the entry's JSON, from a confined process.
RunConfined = Callable[[str, Mapping[str, Any], Mapping[str, int]], Awaitable[Any]]


class Inspect(Protocol):
    """Says what files are. Raises Malformed, or another Untrusted where the reader itself was got the better of."""

    async def __call__(self, descriptor: int, size_bytes: int, piece: Piece = WHOLE) -> ModelFacts | None:
        """One file, which claims to be `piece` of a model. None for a further shard, a projector, and safetensors."""
        ...

    async def together(self, descriptors: Sequence[int], pieces: Sequence[Piece]) -> ModelFacts:
        """All files of one model, in order."""
        ...


class Refusal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A refusal on its way out of the confined process."""

    code: str
    message: str
    hint: str
    field: str | None
    offset: Annotated[int, msgspec.Meta(ge=0, le=2**62)] | None


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the confined process says: one of the two, or neither, for a file that says nothing by itself."""

    facts: ModelFacts | None = None
    refused: Refusal | None = None


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


def confined(run: RunConfined) -> Inspect:
    """An `Inspect` that lets `run` start the confined process."""
    return _Confined(run)


class _Confined:
    def __init__(self, run: RunConfined) -> None:
        self._run = run

    async def __call__(self, descriptor: int, size_bytes: int, piece: Piece = WHOLE) -> ModelFacts | None:
        facts = await self._ask([descriptor], [piece])
        if facts is None and piece.kind == "gguf" and piece.role == "weights" and piece.number == 1:
            raise _senseless("it says nothing")
        return facts

    async def together(self, descriptors: Sequence[int], pieces: Sequence[Piece]) -> ModelFacts:
        facts = await self._ask(descriptors, pieces)
        if facts is None:
            raise _senseless("it says nothing")
        return facts

    async def _ask(self, descriptors: Sequence[int], pieces: Sequence[Piece]) -> ModelFacts | None:
        files = {f"file-{number}": descriptor for number, descriptor in enumerate(descriptors)}
        said = await self._run(ENTRY, {"pieces": msgspec.to_builtins(pieces)}, files)
        try:
            answer = msgspec.convert(said, Answer)
        except msgspec.ValidationError as error:
            raise _senseless(str(error)) from error
        if answer.refused is not None:
            raise _raised(answer.refused)
        return answer.facts


def _raised(refused: Refusal) -> Malformed:
    if not _CODE.fullmatch(refused.code):
        raise _senseless("no code of an error looks like this")
    field = None if refused.field is None else _plain(refused.field)
    return Malformed(refused.code, _plain(refused.message), field, refused.offset, _plain(refused.hint))


def _plain(text: str) -> str:
    """`text` without what would act on a terminal, a log or a reader's eye."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text[:MAX_TEXT])


def _senseless(why: str) -> Untrusted:
    return Untrusted(
        "inspection_answer", f"The reader's answer makes no sense: {_plain(why)}.", "Do not trust this file."
    )
