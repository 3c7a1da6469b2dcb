"""Restoring: a data directory and a database that were not there before, whole or not at all.

Everything is written beside its place and compared with the signed manifest; the data directory gets its name last.
Who was erased since the backup was made must stay so, and what was held or let go since too: see `erased`, `holds`.
"""

import hashlib
import os
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import Connection
from sqlalchemy.util import greenlet_spawn

from intramural.audit import verify_connection
from intramural.core.errors import Conflicting, Refused, Untrusted
from intramural.services.backups.folder import Folder, object_name, spoiled
from intramural.services.backups.manifest import FilePart, Manifest, checked
from intramural.services.moving import note_place
from intramural.storage import copying, head_revision
from intramural.storage.copying import Content, Row

#: The lists of erased people and of legal holds in the data directory. They are kept outside the database, and replayed
#: at every start.
ERASED, HOLDS = "secrets/erased.jsonl", "secrets/holds.jsonl"


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored. `log_entries` and `checkpoint` are those at the moment of the backup."""

    name: str
    made_ms: int
    rows: int
    files: int
    log_entries: int
    checkpoint: str | None
    public_key: str


async def restore(
    folder: Folder,
    private: X25519PrivateKey,
    *,
    data_dir: Path,
    address: str | None = None,
    name: str | None = None,
    public_key: str | None = None,
    erased: Path | None = None,
    holds: Path | None = None,
) -> Restored:
    """Restore backup `name` (None: the newest) into `data_dir`, which must be empty or missing, and into the PostgreSQL
    database at `address` (None: a file in there), which must be empty too.

    `public_key`: the log's, as it was handed out; without it the backup vouches for itself. `erased`: the newest list
    of erased people that there is; its lines are added to that of the backup. `holds`: that of legal holds, likewise.

    Raises Untrusted(`backup_spoiled`, `backup_not_signed`, `audit_log_broken`), which name the part;
    Missing(`no_backup`), Conflicting(`data_dir_not_empty`, `database_not_empty`), Refused(`backup_of_other_version`),
    and as `Database.open`.
    """
    if data_dir.exists() and any(data_dir.iterdir()):
        raise Conflicting("data_dir_not_empty", f"There is something in {data_dir}.", "Name an empty or a new folder.")
    name = name or next(iter(folder.backups()[::-1]), "")
    manifest = checked(folder.manifest(name, private), public_key)
    if manifest.revision != head_revision():
        message = f"The backup was made by version {manifest.version}, whose tables are others."
        raise Refused("backup_of_other_version", message, "Restore with that version, then start this one.")
    source = _Source(folder, private, bytes.fromhex(manifest.names_key))
    part = data_dir.with_name(f"{data_dir.name}.restoring")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True, mode=0o700)
    for file in manifest.files:
        source.write(file, part)
    if erased is not None:
        _add_lines(part / ERASED, erased.read_text("utf-8"))
    if holds is not None:
        _add_lines(part / HOLDS, holds.read_text("utf-8"))
    async with copying.filling(address or part / "intramural.db") as connection:
        await greenlet_spawn(_fill, connection, manifest, source)
    if address is not None:
        note_place(part, address)
    os.sync()
    if data_dir.exists():
        data_dir.rmdir()
    part.rename(data_dir)
    rows = sum(each.rows for each in manifest.tables.values())
    return Restored(
        name,
        manifest.made_ms,
        rows,
        len(manifest.files),
        manifest.log_entries,
        manifest.checkpoint,
        manifest.public_key,
    )


def _fill(connection: Connection, manifest: Manifest, source: "_Source") -> None:
    if (there := copying.holds_rows(connection)) is not None:
        hint = "Name an empty database."
        raise Conflicting("database_not_empty", f"There is something in the database: its table {there}.", hint)
    if set(manifest.tables) != {table.name for table in copying.tables()}:
        raise spoiled("the manifest names other tables")
    for table in copying.tables():
        said = manifest.tables[table.name]
        copying.fill(connection, table, source.batches(table.name, manifest))
        if copying.content(connection, table) != Content(said.rows, said.digest):
            raise spoiled(f"the table {table.name} is not as it was")
    held = [] if manifest.checkpoint is None else [manifest.checkpoint]
    verdict = verify_connection(connection, manifest.public_key, held)
    if not verdict.ok or verdict.size != manifest.log_entries:
        message = f"The audit log in the backup is not right. {verdict.reason}"
        raise Untrusted("audit_log_broken", message, "Nothing was restored. Use an older backup.")


@dataclass(frozen=True, slots=True)
class _Source:
    """Contents out of the folder, each held against the digest that the manifest has of it."""

    folder: Folder
    private: X25519PrivateKey
    names_key: bytes

    def pieces(self, digest: str, what: str) -> Iterator[bytes]:
        """An object, piece by piece; where its digest is another, the last piece does not come."""
        summed = hashlib.sha256()
        before = b""
        for piece in self.folder.get(object_name(self.names_key, digest), self.private, what):
            yield before
            summed.update(piece)
            before = piece
        if summed.hexdigest() != digest:
            raise spoiled(f"{what} is not what it was")
        yield before

    def batches(self, table: str, manifest: Manifest) -> Iterator[list[Row]]:
        for number, part in enumerate(manifest.tables[table].parts):
            what = f"part {number} of the table {table}"
            data = zlib.decompress(b"".join(self.pieces(part.digest, what)))
            yield [copying.decoded(row) for row in msgspec.msgpack.decode(data, type=list[bytes])]

    def write(self, file: FilePart, root: Path) -> None:
        pure = PurePosixPath(file.path)
        if pure.is_absolute() or ".." in pure.parts or not pure.parts:
            raise spoiled(f"the manifest names a file {file.path!r}")
        path = root / pure
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.open("xb") as out:
            path.chmod(0o600)
            for piece in self.pieces(file.part.digest, f"the file {file.path}"):
                out.write(piece)
        path.chmod(file.mode)


def _add_lines(file: Path, lines: str) -> None:
    before = file.read_text("utf-8") if file.exists() else ""
    known = set(before.splitlines())
    new = [line for line in lines.splitlines() if line not in known]
    with file.open("a", encoding="utf-8") as out:
        out.write("\n" * (bool(before) and not before.endswith("\n")) + "".join(f"{line}\n" for line in new))
    file.chmod(0o600)
