"""Asking the confined one-shot process, in which alone files are parsed: see `examination`.

The process gets the files of one model as descriptors, `file-0`, `file-1` …, with the part that each claims to be, and
answers with JSON. The parent checks the shape of that answer too: the reader may have been taken over by what it read.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, Protocol

import msgspec

from intramural.core.errors import Untrusted
from intramural.library.facts import ModelFacts
from intramural.library.gguf import Malformed
from intramural.library.manifest import WHOLE, Piece

#: For `sandbox.Launch(entry=…)`.
ENTRY = "intramural.library.examination:inspect"
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
