"""GGUF files on this machine: one, a split set, or a folder; an ONNX model, or a folder with a safetensors snapshot.
Their digests are computed here, so they say only what was imported, not who made it.
"""

import os
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from intramural.core.errors import Misasked, Missing
from intramural.library.blobs import digest_of
from intramural.library.manifest import INDEX, ONNX, SAFETENSORS, SUPPORT, TOKENIZER, ModelFile, Role
from intramural.library.names import suggest_name
from intramural.library.provenance.signatures import beside
from intramural.library.sources.disk import open_beneath, open_regular, read_from, unreadable
from intramural.library.sources.encoders import POOLING_PATH, encoder_in, known_as
from intramural.library.sources.port import Offer
from intramural.library.sources.sets import SUFFIX, FileSet, set_with, sets_of
from intramural.library.sources.snapshots import snapshot_in
from intramural.library.threads import in_thread

#: Entries of a folder that are looked at; a folder of models has a few.
MAX_ENTRIES = 10_000
_NO_LIMIT = 2**63 - 1


class FileSource:
    """A model at `path`: a file, with the other shards and the projector that belong to it, or a folder with one model.

    `label` is what the manifest will say it came from; `root` a folder above `path`, if only that was named by
    somebody. One message for every reason why something cannot be read, so that nothing is told about other files.
    """

    def __init__(self, path: Path, label: str = "", root: Path | None = None) -> None:
        self._path, self._root = path, root
        self._label = label or f"file:{path.name}"
        self._paths: dict[str, Path] = {}

    def sets(self) -> list[FileSet]:
        """The models there, by name, without reading them. Raises Missing(`file_not_readable`)."""
        if self._path.is_dir():
            return sets_of(_names_in(self._path))
        alone = FileSet(self._path.stem, (self._path.name,))
        if self._path.suffix.lower() != SUFFIX:
            return [alone]
        try:
            found = set_with(self._path.name, sets_of(_names_in(self._path.parent)))
        except Missing:  # its folder may be passed through, but not listed
            found = None
        return [found or alone]

    async def resolve(self) -> Sequence[Offer]:
        """Hash the model's files, and take a signature beside them along. A folder with several models is not
        hashed: the error lists them.

        Raises Missing(`file_not_readable`, `shard_missing`), Misasked(`source_ambiguous`, `folder_too_large`),
        Untrusted(`link_refused`, `signature_too_long`).
        """
        if self._path.suffix.lower() == ONNX and not self._path.is_dir():
            return [await self._encoder(self._path)]
        try:
            sets = await in_thread(self.sets)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise unreadable() from error
        if not sets:
            return [await self._snapshot()]
        if len(sets) > 1:
            raise _several(sets)
        only = sets[0]
        only.require_complete()
        folder = self._path if self._path.is_dir() else self._path.parent
        self._paths = {name: folder / name for name in only.names}
        files = [await self._described(name, "weights") for name in only.weights]
        if only.projector is not None:
            files.append(await self._described(only.projector, "projector"))
        name, signature = suggest_name(only.stem), await in_thread(beside, folder / only.names[0])
        return [Offer(tuple(files), name, self._label, "unknown", "local", signature=signature)]

    async def _snapshot(self) -> Offer:
        """The safetensors of a folder without GGUF. Raises as `resolve` and `snapshot_in`."""
        names = await in_thread(_names_in, self._path, (SAFETENSORS, INDEX, *SUPPORT))
        found = snapshot_in(names, self._path.name)
        if found is None:
            return await self._encoder(None)
        self._paths = {name: self._path / name for name, _ in found.paths}
        files = [await self._described(name, role) for name, role in found.paths]
        signature = await in_thread(beside, self._path / found.weights[0])
        return Offer(tuple(files), found.name, self._label, "unknown", "local", signature=signature)

    async def _encoder(self, weights: Path | None) -> Offer:
        """The ONNX model in this folder, or the one with these `weights`. Raises as `resolve` and `encoder_in`."""
        folder = self._path if weights is None else weights.parent
        if weights is not None and folder.name == "onnx" and not (folder / TOKENIZER).is_file():
            folder = folder.parent
        wanted = None if weights is None else weights.relative_to(folder).as_posix()
        found = encoder_in(await in_thread(_encoder_paths, folder), folder.name, wanted)
        if found is None:
            raise unreadable()
        self._paths = {known_as(path): folder / path for path, _ in found.paths}
        files = [await self._described(known_as(path), role) for path, role in found.paths]
        signature = await in_thread(beside, folder / found.weights[0])
        return Offer(tuple(files), found.name, self._label, "unknown", "local", signature=signature)

    async def _described(self, name: str, role: Role) -> ModelFile:
        descriptor = self._open(name)
        try:
            blob = await digest_of(descriptor, _NO_LIMIT)
        except OSError as error:
            raise unreadable() from error
        finally:
            os.close(descriptor)
        if blob is None:
            raise unreadable()
        return ModelFile(name, role, blob)

    def open_local(self, file: ModelFile) -> int:
        """The offered file, for a link instead of a copy. Raises Missing(`file_not_readable`)."""
        return self._open(file.name)

    def open(self, offer: Offer, file: ModelFile, offset: int) -> AsyncGenerator[bytes, None]:
        """The file's bytes from `offset` on. Raises Missing(`file_not_readable`)."""
        return read_from(lambda: self._open(file.name), offset)

    def _open(self, name: str) -> int:
        path = self._paths[name]
        if path == self._path and self._root is None:
            return open_regular(path)  # somebody named this very file
        root = self._root or path.parent
        return open_beneath(root, *path.relative_to(root).parts)


def _names_in(folder: Path, endings: tuple[str, ...] = (SUFFIX,)) -> list[str]:
    """Names of the regular files in `folder` that end in one of `endings`. Raises Missing(`file_not_readable`)."""
    found: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for count, entry in enumerate(entries):
                if count >= MAX_ENTRIES:
                    hint = "Name the model's file itself, or put the models into a folder of their own."
                    raise Misasked("folder_too_large", f"{folder} has too many files.", hint, param="source")
                if entry.name.lower().endswith(endings) and entry.is_file():
                    found.append(entry.name)
    except OSError as error:
        raise unreadable() from error
    return found


def _encoder_paths(folder: Path) -> list[str]:
    """What of a folder may belong to an ONNX model. Raises as `_names_in`."""
    inner = folder / "onnx"
    found = _names_in(folder, (ONNX, *SUPPORT))
    found += [f"onnx/{name}" for name in (_names_in(inner, (ONNX,)) if inner.is_dir() else ())]
    return [*found, *([POOLING_PATH] if (folder / POOLING_PATH).is_file() else [])]


def _several(sets: Sequence[FileSet]) -> Misasked:
    shown = ", ".join(each.weights[0] for each in sets[:20])
    more = f" and {len(sets) - 20} more" if len(sets) > 20 else ""
    hint = f"Name the file of one of them: {shown}{more}."
    return Misasked("source_ambiguous", f"The folder has {len(sets)} models.", hint, param="source")
