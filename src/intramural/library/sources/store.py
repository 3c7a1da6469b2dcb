"""Models that other programs on this machine already have: Ollama's store, LM Studio's folder.

Nothing in either is changed, except that a file which is linked instead of copied becomes read-only (see `linking`).
"""

import hashlib
import os
import re
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Final

from intramural.core.errors import Misasked, Missing, Untrusted
from intramural.library.blobs import Blob
from intramural.library.manifest import ModelFile
from intramural.library.names import suggest_name
from intramural.library.sources.disk import open_beneath, read_from
from intramural.library.sources.file import FileSource
from intramural.library.sources.layers import MAX_MANIFEST_BYTES, Contents, Index, contents, parse_manifest
from intramural.library.sources.licences import MAX_LICENCE_BYTES, UNKNOWN, licence_of
from intramural.library.sources.port import Offer
from intramural.library.threads import in_thread

OLLAMA_REGISTRY: Final = "registry.ollama.ai"
OLLAMA_NAMESPACE: Final = "library"
#: Where Ollama keeps models: a person's own, then the service's on Linux. `~` is this service's user.
OLLAMA_FOLDERS: Final = ("~/.ollama/models", "/usr/share/ollama/.ollama/models", "/var/lib/ollama/models")
LM_STUDIO_FOLDERS: Final = ("~/.lmstudio/models", "~/.cache/lm-studio/models")
#: What Ollama lets a host, namespace, model or tag be called. It cannot begin with a dot, so `..` is none.
_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")
_HOST: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}(?::[0-9]{1,5})?")


class OllamaName:
    """`[[host/]namespace/]model[:tag]`, as Ollama reads it. Raises Misasked(`bad_source`)."""

    def __init__(self, text: str) -> None:
        path, mark, tag = text.rpartition(":")
        if not mark or "/" in tag:  # what follows the last colon may be a port and a path
            path, tag = text, "latest"
        parts = path.split("/")
        named = all(_PART.fullmatch(part) for part in (*parts[-2:], tag))
        if len(parts) > 3 or not named or (len(parts) == 3 and not _HOST.fullmatch(parts[0])):
            hint = "Write a name as `ollama list` shows it, such as llama3.2:3b."
            raise Misasked("bad_source", f"{text[:80]!r} is not the name of an Ollama model.", hint, param="source")
        defaults = (OLLAMA_REGISTRY, OLLAMA_NAMESPACE)
        self.host, self.namespace, self.model = (*defaults[: 3 - len(parts)], *parts)
        self.tag = tag

    @property
    def stem(self) -> str:
        """For files that have no name of their own."""
        return self.model if self.tag == "latest" else f"{self.model}-{self.tag}"

    @property
    def suggestion(self) -> str:
        """The name to keep it under."""
        return registry_model_name(self.model, self.tag)

    def __str__(self) -> str:
        parts = [self.host, self.namespace, self.model]
        defaults = [OLLAMA_REGISTRY, OLLAMA_NAMESPACE]
        while defaults and parts[0] == defaults[0]:
            parts, defaults = parts[1:], defaults[1:]
        return f"{'/'.join(parts)}:{self.tag}"


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
        found = contents(manifest, self._name.stem)
        licence = await in_thread(self._licence, found) if found.licence is None else found.licence
        return [
            Offer(
                files=found.files,
                name=self._name.suggestion,
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


def registry_model_name(model: str, tag: str | None) -> str:
    """A name to keep `model:tag` under, in the library's grammar: `Llama-3.2-GGUF:Q4_K_M` in lower case."""
    if tag in (None, "latest"):
        return suggest_name(model)
    cleaned = [re.sub("[^a-z0-9._-]+", "-", part.lower()).strip("._-")[:60].strip("._-") for part in (model, tag or "")]
    return ":".join(part for part in cleaned if part) or "model"


def _at_folder(text: str, usual: Sequence[str]) -> tuple[str, Path]:
    name, mark, folder = text.partition("@/")
    if mark:
        return name, Path("/" + folder)
    folders = [Path(each).expanduser() for each in usual]
    return name, next((each for each in folders if each.is_dir()), folders[0])


def _read(descriptor: int, limit_bytes: int) -> bytes:
    """A whole small file; closes it. Raises Untrusted(`bad_registry_manifest`) when it is longer."""
    with os.fdopen(descriptor, "rb") as file:
        body = file.read(limit_bytes + 1)
    if len(body) <= limit_bytes:
        return body
    raise Untrusted("bad_registry_manifest", "A file of the store is longer than it can be.", "Pull it anew there.")
