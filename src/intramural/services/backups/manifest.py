"""What a backup says of itself, signed in the name of the audit log."""

import hashlib
from collections.abc import Mapping

import msgspec

from intramural.audit import Signer, VerifierKey
from intramural.core.errors import Untrusted
from intramural.services.backups.folder import spoiled

#: Of this form, and of the statement that signs it.
FORM, KIND = 1, "backup"


class Part(msgspec.Struct, frozen=True):
    """An object: SHA-256 (hex) of its text."""

    digest: str
    size_bytes: int


class TableParts(msgspec.Struct, frozen=True):
    """A table: as `storage.copying.Content`, and the objects that its rows are in, in order."""

    rows: int
    digest: str
    parts: tuple[Part, ...]


class FilePart(msgspec.Struct, frozen=True):
    """A file of the data directory; `path` is relative to it."""

    path: str
    mode: int
    part: Part


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of a backup. `public_key` is the log's, `names_key` what objects are named with (hex)."""

    form: int
    made_ms: int
    version: str
    revision: str
    names_key: str
    public_key: str
    log_entries: int
    checkpoint: str | None
    tables: Mapping[str, TableParts]
    files: tuple[FilePart, ...]


class _Signed(msgspec.Struct, frozen=True):
    manifest: str
    note: str


def signed(manifest: Manifest, signer: Signer) -> bytes:
    """As it lies in the folder, before it is sealed."""
    text = msgspec.json.encode(manifest)
    note = signer.sign_statement(KIND, hashlib.sha256(text).hexdigest())
    return msgspec.json.encode(_Signed(text.decode(), note))


def checked(data: bytes, public_key: str | None) -> Manifest:
    """The opposite. `public_key`: the log's as somebody has it elsewhere; None: the one in the manifest itself.

    Raises Untrusted(`backup_spoiled`, `backup_not_signed`), Misasked(`bad_audit_key`).
    """
    try:
        both = msgspec.json.decode(data, type=_Signed)
        manifest = msgspec.json.decode(both.manifest, type=Manifest)
    except (msgspec.DecodeError, msgspec.ValidationError):
        raise spoiled("the manifest has another form") from None
    key = VerifierKey.parse(public_key or manifest.public_key)
    try:
        line = key.statement_of(both.note, KIND)
    except Untrusted as error:
        message = f"The backup is not signed by this log: {error.message}"
        raise Untrusted("backup_not_signed", message, "Is it a backup of this installation?") from error
    if line != hashlib.sha256(both.manifest.encode()).hexdigest():
        raise spoiled("the manifest is not the one that was signed")
    return manifest
