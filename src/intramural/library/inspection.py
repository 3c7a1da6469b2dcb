"""What runs in the confined one-shot process: header, known keys, chat template. Nothing else ever parses a file.

The process gets one descriptor, named `model`, and answers with JSON. The parent checks the shape of that answer too:
the reader may have been taken over by what it read.
"""

import codecs
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from intramural.core.errors import Untrusted
from intramural.library.facts import ModelFacts, facts_of
from intramural.library.gguf import read_header
from intramural.library.manifest import WHOLE, Piece
from intramural.library.template import require_harmless

for _name in ("ascii", "unicode-escape", "utf-8"):
    codecs.lookup(_name)  # Jinja asks for these by name, when nothing can be imported any more

#: For `sandbox.Launch(entry=…)`.
ENTRY = "intramural.library.inspection:inspect"
#: A header takes well under 2 s; the rest is for a busy machine.
TIMEOUT_S = 30.0

#: (descriptor, size in bytes, which part of a model it claims to be) -> what it is. Raises Untrusted with a reason.
Inspect = Callable[[int, int, Piece], Awaitable[ModelFacts]]
#: (entry, descriptors by name) -> the entry's JSON, from a confined process.
RunConfined = Callable[[str, Mapping[str, int]], Awaitable[Any]]


def inspect(arg: Mapping[str, Any], fds: Mapping[str, int]) -> Any:
    """The entry of the confined process. `arg` is empty."""
    return msgspec.to_builtins(examine(fds["model"]))


def examine(descriptor: int) -> ModelFacts:
    """Read what is behind `descriptor`. Raises Untrusted with a named reason."""

    def read_at(offset: int, size: int) -> bytes:
        return os.pread(descriptor, size, offset)

    facts = facts_of(read_header(read_at, os.fstat(descriptor).st_size))
    if facts.template is not None:
        require_harmless(facts.template)
    return facts


def confined(run: RunConfined) -> Inspect:
    """An `Inspect` that lets `run` start the confined process."""

    async def inspect_confined(descriptor: int, size_bytes: int, piece: Piece = WHOLE) -> ModelFacts:
        answer = await run(ENTRY, {"model": descriptor})
        try:
            return msgspec.convert(answer, ModelFacts)
        except msgspec.ValidationError as error:
            raise Untrusted("inspection_answer", f"The reader's answer makes no sense: {error}.") from error

    return inspect_confined
