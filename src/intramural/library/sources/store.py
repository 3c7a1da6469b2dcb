"""Models that other programs on this machine already have: Ollama's store, LM Studio's folder.

Nothing in either is changed, except that a file which is linked instead of copied becomes read-only (see `linking`).
"""

import hashlib
import os
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Final

from intramural.core.errors import Misasked, Missing, Untrusted
from intramural.library.blobs import Blob
from intramural.library.manifest import ModelFile
from intramural.library.sources.disk import open_beneath, read_from
from intramural.library.sources.file import FileSource
from intramural.library.sources.layers import MAX_MANIFEST_BYTES, Contents, Index, contents, parse_manifest
from intramural.library.sources.licences import MAX_LICENCE_BYTES, UNKNOWN, licence_of
from intramural.library.sources.port import Offer
from intramural.library.sources.reference import OllamaName, stem_of, suggestion_of
from intramural.library.threads import in_thread

#: Where Ollama keeps models: a person's own, then the service's on Linux. `~` is this service's user.
OLLAMA_FOLDERS: Final = ("~/.ollama/models", "/usr/share/ollama/.ollama/models", "/var/lib/ollama/models")
LM_STUDIO_FOLDERS: Final = ("~/.lmstudio/models", "~/.cache/lm-studio/models")


class OllamaStore:
    """One model of an Ollama store: `manifests/HOST/NAMESPACE/MODEL/TAG` and `blobs/sha256-HEX` under `folder`."""

    def __init__(self, name: OllamaName, folder: Path) -> None:
        self._name, self._folder = name, folder

    async def resolve(self) -> Sequence[Offer]:
        """What the store says of the model. Raises Missing(`model_not_in_store`), and what `layers` raises."""
        body = await in_thread(self._read_manifest)
        manifest = parse_manifest(body, "")
        if isinstance(manifest, Index):
            raise Untrusted(
                "bad_registry_manifest", "The store's manifest lists other manifests.", "Pull it anew there."
            )
        found = contents(manifest, stem_of(self._name))
        licence = await in_thread(self._licence, found) if found.licence is None else found.licence
        return [
            Offer(
                files=found.files,
                name=suggestion_of(self._name),
                source=f"ollama-store:{self._name}",
                licence=licence,
                trust="local",
                revision=f"sha256:{hashlib.sha256(body).hexdigest()}",
            )
        ]

    def open_local(self, file: ModelFile) -> int:
        """The offered file, for a link instead of a copy. Raises Missing(`file_not_readable`)."""
        return self._open(file.blob)

    def open(self, offer: Offer, file: ModelFile, offset: int) -> AsyncGenerator[bytes, None]:
        """The blob's bytes from `offset` on. Raises Missing(`file_not_readable`)."""
        return read_from(lambda: self._open(file.blob), offset)

    def _open(self, blob: Blob) -> int:
        return open_beneath(self._folder, "blobs", blob.digest.replace(":", "-"))

    def _read_manifest(self) -> bytes:
        name = self._name
        try:
            parts = ("manifests", name.host, name.namespace, name.model, name.tag)
            return _read(open_beneath(self._folder, *parts), MAX_MANIFEST_BYTES)
        except Missing:
            hint = "`ollama list` shows what there is. Another folder is named by adding @/path/to/models."
            raise Missing(
                "model_not_in_store", f"Ollama's store has no readable {name}.", hint, param="source"
            ) from None

    def _licence(self, found: Contents) -> str:
        """The licence's name from its text. What cannot be read, or is not what it should be, says nothing."""
        for blob in found.licence_texts:
            try:
                text = _read(self._open(blob), MAX_LICENCE_BYTES)
            except (Missing, Untrusted):
                continue
            if hashlib.sha256(text).hexdigest() == blob.digest.removeprefix("sha256:"):
                return licence_of(text.decode(errors="replace"))
        return UNKNOWN


def ollama_store(text: str) -> OllamaStore:
    """`NAME[:TAG][@/FOLDER]`; without a folder the first of `OLLAMA_FOLDERS` that is there."""
    name, folder = _at_folder(text, OLLAMA_FOLDERS)
    return OllamaStore(OllamaName(name), folder)


def lm_studio(text: str) -> FileSource:
    """`PUBLISHER/REPO[/FILE.gguf][@/FOLDER]`; without a folder the first of `LM_STUDIO_FOLDERS` that is there."""
    name, folder = _at_folder(text, LM_STUDIO_FOLDERS)
    parts = name.split("/")
    if len(parts) not in (2, 3) or not all(part and part not in (".", "..") and "\0" not in part for part in parts):
        hint = "Write lmstudio:publisher/repository or lmstudio:publisher/repository/file.gguf."
        raise Misasked("bad_source", f"{name[:80]!r} is not a model of LM Studio.", hint, param="source")
    return FileSource(folder.joinpath(*parts), label=f"lmstudio:{name}", root=folder)


def _at_folder(text: str, usual: Sequence[str]) -> tuple[str, Path]:
    name, mark, folder = text.partition("@/")
    if mark:
        return name, Path("/" + folder)
    folders = [Path(os.path.expanduser(each)) for each in usual]  # noqa: PTH111 — Path's raises where there is no home
    return name, next((each for each in folders if each.is_dir()), folders[0])


def _read(descriptor: int, limit_bytes: int) -> bytes:
    """A whole small file; closes it. Raises Untrusted(`bad_registry_manifest`) when it is longer."""
    with os.fdopen(descriptor, "rb") as file:
        body = file.read(limit_bytes + 1)
    if len(body) <= limit_bytes:
        return body
    raise Untrusted("bad_registry_manifest", "A file of the store is longer than it can be.", "Pull it anew there.")
