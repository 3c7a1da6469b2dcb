"""The manifests on disk, one file a model name. Written whole: a reader sees the old one or the new one."""

from pathlib import Path

import msgspec

from intramural.core.durable import ORDINARY, sync_folder, write_whole
from intramural.core.errors import Broken, Missing, Untrusted
from intramural.library.manifest import Manifest
from intramural.library.names import file_of, name_of, parse_name


class Shelf:
    """The manifests under `folder` (made on first use)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, tuple[Path, tuple[int, int, int], Manifest]] = {}  # file, version, what it said
        folder.mkdir(parents=True, exist_ok=True)

    def names(self) -> list[str]:
        """Every model's name, sorted, whether or not its manifest can be read."""
        return sorted(name for file in self._folder.iterdir() if (name := name_of(file.name)))

    def all(self) -> list[Manifest]:
        """Every manifest that can be read, by name; `damaged` names the others."""
        return [manifest for name in self.names() if (manifest := self._read_or_none(name))]

    def damaged(self) -> list[str]:
        """Names whose manifest cannot be read."""
        return [name for name in self.names() if self._read_or_none(name) is None]

    def find(self, name: str) -> Manifest | None:
        """The manifest of `name`, None if there is none. Raises Misasked(`bad_model_name`), Broken(`bad_manifest`)."""
        name = name if name in self._read else parse_name(name)
        known = self._read.get(name)
        file = self._folder / file_of(name) if known is None else known[0]
        try:
            stat = file.stat()
            version = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if known is not None and known[1] == version:  # asked at every request: the file is read when it changed
                return known[2]
            text = file.read_bytes()
        except FileNotFoundError:
            return None
        hint = "Remove the model and pull it again."
        try:
            manifest = msgspec.json.decode(text, type=Manifest)
        except (msgspec.DecodeError, UnicodeDecodeError, Untrusted) as error:
            raise Broken("bad_manifest", f"What the library wrote about {name!r} is damaged: {error}.", hint) from error
        if manifest.name != name:
            raise Broken("bad_manifest", f"What the library wrote about {name!r} is about {manifest.name!r}.", hint)
        self._read[name] = (file, version, manifest)
        return manifest

    def get(self, name: str) -> Manifest:
        """The manifest of `name`. Raises Missing(`model_not_found`), naming what there is."""
        found = self.find(name)
        if found is None:
            there = ", ".join(self.names())
            hint = f"There is: {there}." if there else "The library is empty: pull a model first."
            raise Missing("model_not_found", f"There is no model {name!r} here.", hint, param="model")
        return found

    def put(self, manifest: Manifest) -> None:
        """Write durably."""
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
        write_whole(self._folder / file_of(manifest.name), text, mode=ORDINARY)

    def remove(self, name: str) -> None:
        """Take the manifest away, durably; nothing happens if there is none."""
        (self._folder / file_of(parse_name(name))).unlink(missing_ok=True)
        sync_folder(self._folder)

    def referred(self) -> set[str] | None:
        """Digests that some manifest refers to; None when one cannot be read, for then nobody knows."""
        if self.damaged():
            return None
        return {file.blob.digest for manifest in self.all() for file in manifest.files}

    def _read_or_none(self, name: str) -> Manifest | None:
        try:
            return self.find(name)
        except Broken:
            return None
