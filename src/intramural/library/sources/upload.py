"""Files that a client sent, or that are on the shelf already, as the source of a new model.

`upload:NAME=HEX,NAME=HEX`: each file's name, and its SHA-256 in 64 digits. Only files that an upload or the shelf has
under that digest can be named, so nothing is told about other files of this machine.
"""

import os
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from intramural.core.errors import Misasked, Missing
from intramural.library.blobs import Blob
from intramural.library.manifest import ModelFile
from intramural.library.names import suggest_name
from intramural.library.sources.disk import open_regular, read_from
from intramural.library.sources.port import Offer
from intramural.library.sources.sets import plain_name, sets_of

KIND: Final = "upload"
MAX_FILES: Final = 1000
_FILE: Final = re.compile("([^=,/]{1,255})=([0-9a-f]{64})")
#: Digest → where its bytes are; None: nowhere.
Find = Callable[[str], Path | None]


def spelt(files: Mapping[str, str]) -> str:
    """The source of these files (name → `sha256:<hex>`), as text. Raises Misasked(`bad_source`)."""
    text = ",".join(f"{name}={digest.removeprefix('sha256:')}" for name, digest in sorted(files.items()))
    _parsed(text)
    return f"{KIND}:{text}"


class UploadSource:
    """The files that `text` names, found by `find`. Raises Misasked(`bad_source`)."""

    def __init__(self, text: str, find: Find) -> None:
        self._text, self._files, self._find = text, _parsed(text), find

    async def resolve(self) -> Sequence[Offer]:
        """One model. Raises Missing(`blob_not_found`, `source_has_no_gguf`, `shard_missing`), Misasked(
        `source_ambiguous`), Untrusted(`bad_file_name`)."""
        sets = sets_of(plain_name(name) for name in self._files)
        if not sets:
            hint = "Only GGUF weights can be served: give the files names that end in .gguf."
            raise Missing("source_has_no_gguf", "Among the files are no GGUF weights.", hint, param="files")
        if len(sets) > 1:
            shown = ", ".join(each.weights[0] for each in sets)
            raise Misasked(
                "source_ambiguous", f"The files are {len(sets)} models.", f"Name one: {shown}.", param="files"
            )
        only = sets[0]
        only.require_complete()
        files = [ModelFile(name, "weights", self._blob(name)) for name in only.weights]
        if only.projector is not None:
            files.append(ModelFile(only.projector, "projector", self._blob(only.projector)))
        return [Offer(tuple(files), suggest_name(only.stem), f"{KIND}:{only.weights[0]}", "unknown", "local")]

    def open_local(self, file: ModelFile) -> int:
        """The file itself, for a link instead of a copy. Raises Missing(`blob_not_found`)."""
        return open_regular(self._path(file.name))

    def open(self, offer: Offer, file: ModelFile, offset: int) -> AsyncGenerator[bytes, None]:
        """The file's bytes from `offset` on. Raises Missing(`blob_not_found`)."""
        return read_from(lambda: open_regular(self._path(file.name)), offset)

    def _blob(self, name: str) -> Blob:
        descriptor = open_regular(self._path(name))
        try:
            return Blob(self._files[name], os.fstat(descriptor).st_size)
        finally:
            os.close(descriptor)

    def _path(self, name: str) -> Path:
        path = self._find(self._files[name])
        if path is None:
            hint = f"Upload it first: POST /api/blobs/{self._files[name]}."
            raise Missing("blob_not_found", f"Nothing was uploaded with the digest of {name!r}.", hint, param="files")
        return path


def _parsed(text: str) -> dict[str, str]:
    found = [_FILE.fullmatch(part) for part in text.split(",", MAX_FILES)]
    files = {match[1]: f"sha256:{match[2]}" for match in found if match}
    if len(files) != len(found):
        hint = "Write each file's own name (no folder, no comma, no equals sign), and its digest."
        raise Misasked("bad_source", "That does not name uploaded files.", hint, param="files")
    return files
