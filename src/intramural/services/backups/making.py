"""Making a backup, beside a running service: it only reads.

The database is read as it is at one moment; files are read after that moment. A file that is there is complete and does
not change; one that was deleted in between is missed, and then everything is done once more, which finds nearly all of
it in the folder.
"""

import hashlib
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from sqlalchemy import Connection, func, select
from sqlalchemy.util import greenlet_spawn

from intramural import __version__
from intramural.audit import Signer, newest_checkpoint
from intramural.core.clock import Clock
from intramural.core.durable import write_whole
from intramural.core.errors import Broken, Untrusted
from intramural.services.backups.folder import Folder, object_name
from intramural.services.backups.manifest import FORM, FilePart, Manifest, Part, TableParts, signed
from intramural.storage import copying, head_revision
from intramural.storage.copying import Content
from intramural.storage.schema import audit_entries, files

#: Not in a backup: the database, which is in it row by row; what a start makes anew; what is on its way.
_NOT_KEPT = frozenset({"run", "tmp", "lent", "states", "lock", "database-moved-to", "intramural.db"})
#: Files that open what is encrypted at rest. A backup that holds them is worth as much as its own key.
KEY_ENCRYPTING = frozenset({"secrets/vault.key", "secrets/vault.key.next"})
_ON_THE_WAY = (".part", ".restoring")
_NAMES_KEY, _NAMES_KEY_BYTES = "secrets/backup-names.key", 32
_BLOBS = ("library", "blobs")
_READ_BYTES = 2**20
_ATTEMPTS = 3


@dataclass(slots=True)
class Made:
    """A backup. Of `objects` so many were `written`, the others were in the folder; `skipped` names what is no file."""

    name: str = ""
    rows: int = 0
    files: int = 0
    objects: int = 0
    written: int = 0
    written_bytes: int = 0
    log_entries: int = 0
    checkpoint: str | None = None
    skipped: list[str] = field(default_factory=list)


async def back_up(
    folder: Folder, *, address: Path | str, data_dir: Path, signer: Signer, clock: Clock, with_key: bool = False
) -> Made:
    """Write a backup into `folder`. `with_key`: with the installation's key, without which people's words stay shut.

    Raises Broken(`backup_unsteady`), Untrusted(`model_file_changed`), OSError where the folder cannot be written.
    """
    names_key = _names_key(data_dir / _NAMES_KEY, clock)
    folder.sweep(clock.now_s())
    for _ in range(_ATTEMPTS):
        made = Made()
        store = _Store(folder, names_key, made)
        async with copying.reading(address) as connection:
            tables, wanted = await greenlet_spawn(_tables, connection, store)
        kept = list(_files(data_dir, store, with_key=with_key))
        if wanted <= {each.path for each in kept}:
            break
    else:
        raise Broken("backup_unsteady", "Files were deleted whenever they were to be read.", "Try again later.")
    made_ms = int(clock.now_s() * 1000)
    manifest = Manifest(
        form=FORM,
        made_ms=made_ms,
        version=__version__,
        revision=head_revision(),
        names_key=names_key.hex(),
        public_key=str(signer.verifier),
        log_entries=made.log_entries,
        checkpoint=made.checkpoint,
        tables=tables,
        files=tuple(kept),
    )
    when = datetime.fromtimestamp(made_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    made.name, made.files = folder.finish(when, signed(manifest, signer)), len(kept)
    return made


@dataclass(slots=True)
class _Store:
    """Puts contents into the folder that are not there yet, and counts."""

    folder: Folder
    names_key: bytes
    made: Made

    def known(self, digest: str) -> bool:
        return self.folder.has(object_name(self.names_key, digest))

    def keep(self, part: Part, text: Callable[[], Iterator[bytes]]) -> Part:
        self.made.objects += 1
        name = object_name(self.names_key, part.digest)
        if not self.folder.has(name):
            self.made.written_bytes += self.folder.put(name, text())
            self.made.written += 1
        return part


def _tables(connection: Connection, store: _Store) -> tuple[dict[str, TableParts], set[str]]:
    """Every table's rows into the folder; and which files these rows say there are."""
    store.made.checkpoint = newest_checkpoint(connection)  # the first statement: the moment of this backup
    count = select(func.count()).select_from(audit_entries)
    store.made.log_entries = int(connection.execute(count).scalar_one())
    wanted = {f"files/{each}" for each in connection.execute(select(files.c.id)).scalars()}
    found = {}
    for table in copying.tables():
        summed, rows, parts = hashlib.sha256(), 0, []
        for batch in copying.batches(connection, table):
            encoded = [copying.encoded(row) for row in batch]
            for each in encoded:
                summed.update(each)
            rows += len(batch)
            parts.append(_keep(store, zlib.compress(msgspec.msgpack.encode(encoded))))
        content = Content(rows, summed.hexdigest())
        found[table.name] = TableParts(content.rows, content.digest, tuple(parts))
        store.made.rows += rows
    return found, wanted


def _keep(store: _Store, data: bytes) -> Part:
    return store.keep(Part(hashlib.sha256(data).hexdigest(), len(data)), lambda: iter((data,)))


def _files(data_dir: Path, store: _Store, *, with_key: bool) -> Iterator[FilePart]:
    """Every file of the data directory into the folder; what people deleted meanwhile is left out."""
    for path in _walk(data_dir):
        name = path.relative_to(data_dir).as_posix()
        if name in KEY_ENCRYPTING and not with_key:
            continue
        try:
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode):
                if not stat.S_ISSOCK(status.st_mode):
                    store.made.skipped.append(name)
                continue
            part = _part(path, status.st_size, store)
        except FileNotFoundError:
            continue
        yield FilePart(name, stat.S_IMODE(status.st_mode), part)


def _walk(data_dir: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(data_dir):
        here = Path(folder)
        if here == data_dir:
            folders[:] = [each for each in folders if each not in _NOT_KEPT]
        folders.sort()
        for name in sorted(names):
            # what SQLite keeps beside its file is called as that, and how
            kept = here != data_dir or not {name, name.partition("-")[0]} & _NOT_KEPT
            if kept and not name.endswith(_ON_THE_WAY):
                yield here / name
        if "incoming" in folders and here == data_dir / "library":
            folders.remove("incoming")


def _part(path: Path, size_bytes: int, store: _Store) -> Part:
    """A file's content in the folder. A model's is named by its digest: where that is in the folder it is not read."""
    is_blob = path.parts[-3:-1] == _BLOBS
    if is_blob and store.known(path.name):
        return store.keep(Part(path.name, size_bytes), lambda: _pieces(path))
    summed, size_bytes = hashlib.sha256(), 0
    for piece in _pieces(path):
        summed.update(piece)
        size_bytes += len(piece)
    if is_blob and summed.hexdigest() != path.name:
        message = f"The model's file {path.name} does not have the content that its name says."
        raise Untrusted("model_file_changed", message, "Run `intramural verify`, remove the model and pull it again.")
    return store.keep(Part(summed.hexdigest(), size_bytes), lambda: _pieces(path))


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            yield piece


def _names_key(file: Path, clock: Clock) -> bytes:
    """What objects are named with: otherwise who has the folder could tell whether a known file is in it."""
    with suppress(FileNotFoundError):
        key = file.read_bytes()
        if len(key) == _NAMES_KEY_BYTES:  # what a crash cut off is none: with another one all is written once more
            return key
    key = clock.token_bytes(_NAMES_KEY_BYTES)
    write_whole(file, key)
    return key
