"""Files that a command names and a running service does not reach, because it has sealed itself.

Whoever types the command can read them. So the command puts them into the service's own directory, by a hard link where
they lie on the same disk, and takes them out again. What the service writes for a command goes the other way.
"""

import hashlib
import os
import secrets
import shutil
from pathlib import Path

from intramural.core.config import Config
from intramural.core.errors import Conflicting

#: In the data directory.
FOLDER = "lent"
#: Below a model's folder, what may belong to it.
_BELOW = ("onnx", "1_Pooling")
_COPY_BYTES = 2**20
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Lending:
    """What one command lends. `close` takes back what is not to stay."""

    def __init__(self, config: Config, *, running: bool) -> None:
        """Unless a service is `running` there is nobody to lend to: this process reaches what it is named."""
        self._running = running
        self._data_dir = config.data_dir.absolute()
        within = (*config.sandbox.read_folders, *config.sandbox.write_folders)
        self._reached = (self._data_dir, *(Path(each).absolute() for each in within))
        self._returned: list[tuple[Path, Path]] = []
        self._made: list[Path] = []

    def source(self, text: str) -> str:
        """The source of a model as the service can read it: `file:`, `package:` and `bundle:` name paths.

        The same source is lent in the same place, so that a pull which was interrupted goes on.
        """
        kind, mark, rest = text.partition(":")
        if not mark or kind not in ("file", "package", "bundle"):
            return text
        name, hash_, model = rest.partition("#") if kind == "package" else (rest, "", "")
        path = Path(name).absolute()
        if kind == "package" and not path.is_file():  # the name of one that the service knows
            return f"{kind}:{path}{hash_}{model}" if "/" in name else text
        place = hashlib.sha256(str(path).encode()).hexdigest()[:32]
        return f"{kind}:{self._lent(path, place, together=kind == 'file')}{hash_}{model}"

    def path(self, path: Path) -> str:
        """A file or folder for the service to read, until the command is over."""
        return str(self._lent(path.absolute(), secrets.token_hex(16), together=False))

    def result(self, target: Path) -> str:
        """Where the service is to write what `returned` puts at `target`. Raises Conflicting(`bundle_exists`)."""
        target = target.absolute()
        if not self._must_lend(target):
            return str(target)
        if os.path.lexists(target):
            raise Conflicting("bundle_exists", f"There is something at {target} already.", "Take it away.", param="to")
        inside = self._place(secrets.token_hex(16)) / target.name
        self._returned.append((inside, target))
        return str(inside)

    def returned(self, told: str) -> str:
        """Put what the service wrote where it was wanted; `told`: where it says that is."""
        for inside, target in self._returned:
            shutil.move(inside, target)
            told = told.replace(str(inside), str(target))
        self._returned.clear()
        return told

    def close(self, *, keep: bool = False) -> None:
        """Take everything back, unless it is to be gone on with."""
        for place in self._made if not keep else ():
            shutil.rmtree(place, ignore_errors=True)
        self._made.clear()

    def _must_lend(self, path: Path) -> bool:
        return self._running and not any(path.is_relative_to(folder) for folder in self._reached)

    def _lent(self, path: Path, place: str, *, together: bool) -> Path:
        """`path` as the service can read it; `together`: with the files beside it that belong to it."""
        if not self._must_lend(path) or not path.exists():
            return path
        folder, files = _whole(path) if together or path.is_dir() else (path.parent, [path])
        lent = self._place(place) / (folder.name or "files")
        for file in files:
            there = lent / file.relative_to(folder)
            for each in (lent, there.parent):
                each.mkdir(mode=0o700, exist_ok=True)
                self._give(each)
            self._lend(_opened(file, path, folder), there)
        return lent / path.relative_to(folder)

    def _lend(self, descriptor: int, there: Path) -> None:
        there.unlink(missing_ok=True)
        with os.fdopen(descriptor, "rb") as file:
            try:
                os.link(f"/proc/self/fd/{descriptor}", there, src_dir_fd=descriptor, follow_symlinks=True)
            except OSError:  # another disk, or a file of somebody else's
                with os.fdopen(os.open(there, _NEW, 0o600), "wb") as copy:
                    shutil.copyfileobj(file, copy, _COPY_BYTES)
                self._give(there)

    def _place(self, name: str) -> Path:
        lent = self._data_dir / FOLDER
        place = lent / name
        for each in (lent, place):
            each.mkdir(mode=0o700, exist_ok=True)
            self._give(each)
        self._made.append(place)
        return place

    def _give(self, path: Path) -> None:
        """To the user that the service runs as, where root lends it."""
        owner = self._data_dir.stat()
        if os.geteuid() == 0 != owner.st_uid:
            os.chown(path, owner.st_uid, owner.st_gid)


def _opened(file: Path, named: Path, folder: Path) -> int:
    """A descriptor of a file: what was named is followed wherever it leads, what was found as a source follows it.

    Raises Missing(`file_not_readable`), Untrusted(`link_refused`).
    """
    from intramural.library.sources.disk import open_beneath, open_regular

    return open_regular(file) if file == named else open_beneath(folder, *file.relative_to(folder).parts)


def _whole(path: Path) -> tuple[Path, list[Path]]:
    """The folder of the model at `path`, and the files there that may belong to it."""
    from intramural.library import FileSource
    from intramural.library.provenance.signatures import NAME

    if path.suffix.lower() == ".gguf" and not path.is_dir():
        names = FileSource(path).sets()[0].names
        beside = [path.with_name(name) for name in (*names, f"{names[0]}.sig", NAME)]
        return path.parent, [each for each in beside if each.is_file()]
    folder = path if path.is_dir() else path.parent.parent if path.parent.name in _BELOW else path.parent
    places = (folder, *(folder / name for name in _BELOW))
    return folder, [each for place in places if place.is_dir() for each in place.iterdir() if each.is_file()]
