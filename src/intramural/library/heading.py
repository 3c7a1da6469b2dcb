"""What a model is, from the beginnings of its files: nothing more is fetched to say whether it fits.

A header's length is only known once it was read, so pieces are fetched until the reader, confined as always, is
content. What was fetched lies in a file without a name, as long as the one it is the beginning of and mostly holes.
(Not in memory alone: the kernel confines nobody to a file that is on no disk.)
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, aclosing, contextmanager
from pathlib import Path

from intramural.core.errors import Unavailable
from intramural.library.blobs import Blob
from intramural.library.facts import ModelFacts
from intramural.library.fit import Weighed
from intramural.library.gguf import Malformed
from intramural.library.inspection import Inspect
from intramural.library.manifest import ModelFile, Piece, pieces
from intramural.library.sources.port import Offer, Source

#: After so many bytes the reader is asked; headers of models with large vocabularies take 6 to 16 MB.
_STEPS_BYTES = (1 << 20, 4 << 20, 12 << 20, 32 << 20, 64 << 20)


async def weighed(source: Source, offer: Offer, inspect: Inspect, folder: Path) -> Weighed:
    """What the plan needs of what `source` offers; `folder` is where there may be files without a name.

    Raises Malformed for what is no sound model, Unavailable(`header_cut_short`) and what the source raises.
    """
    weights = [file for file in offer.files if file.role == "weights"]
    parts = [piece for piece in pieces(offer.files) if piece.role == "weights"]
    with ExitStack() as stack:
        heads = [stack.enter_context(_sparse(file.blob, folder)) for file in weights]
        alone = [
            await _read(source, offer, file, piece, head, inspect)
            for file, piece, head in zip(weights, parts, heads, strict=True)
        ]
        facts = alone[0] if len(weights) == 1 else await _together(heads, parts, inspect)
    if facts is None:
        raise Unavailable("header_cut_short", f"{offer.source} does not say what it is.", "Pull it to find out.")
    size_bytes = sum(file.blob.size_bytes for file in offer.files)
    return Weighed(
        offer.name, facts.parameters, facts.quantisation, facts.trained_context_tokens, size_bytes, facts.shape
    )


async def _read(
    source: Source, offer: Offer, file: ModelFile, piece: Piece, head: int, inspect: Inspect
) -> ModelFacts | None:
    """Fetch the beginning of `file` into `head` until the reader is content with it."""
    done, limit = 0, min(_STEPS_BYTES[-1], file.blob.size_bytes)
    steps = [*(step for step in _STEPS_BYTES if step < limit), limit]
    async with aclosing(source.open(offer, file, 0)) as chunks:
        async for chunk in chunks:
            done += os.pwrite(head, chunk[: limit - done], done)
            if done < steps[0]:
                continue
            steps = [step for step in steps if step > done]
            try:
                return await _inspected(head, file.blob.size_bytes, piece, inspect)
            except Malformed:  # it may only be cut short
                if not steps:
                    raise
    raise Unavailable("header_cut_short", f"{file.name} ended after {done} bytes.", "Try again.")


async def _together(heads: Sequence[int], parts: Sequence[Piece], inspect: Inspect) -> ModelFacts:
    with ExitStack() as stack:
        return await inspect.together([stack.enter_context(_for_reading(head)) for head in heads], parts)


async def _inspected(head: int, size_bytes: int, piece: Piece, inspect: Inspect) -> ModelFacts | None:
    with _for_reading(head) as descriptor:
        return await inspect(descriptor, size_bytes, piece)


@contextmanager
def _sparse(blob: Blob, folder: Path) -> Iterator[int]:
    """A descriptor of a file as long as `blob`, of which nothing is there yet."""
    with tempfile.TemporaryFile(dir=folder) as file:
        os.ftruncate(file.fileno(), blob.size_bytes)
        yield file.fileno()


@contextmanager
def _for_reading(head: int) -> Iterator[int]:
    """The same file through a descriptor that cannot write: a confined process is handed no other."""
    descriptor = os.open(f"/proc/self/fd/{head}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
