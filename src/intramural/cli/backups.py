"""`intramural backup | restore`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import uvloop
from cyclopts import Parameter

from intramural.cli.root import DEFAULT, Common, cli
from intramural.core.errors import Misasked

if TYPE_CHECKING:
    from intramural.services.backups import Lock

Passphrase = Annotated[Path | None, Parameter(help="File whose first line is the passphrase.")]


@cli.command
def backup(
    folder: Path,
    *,
    passphrase_file: Passphrase = None,
    recipient: Annotated[Path | None, Parameter(help="X25519 public key (PEM) of who may read.")] = None,
    with_key: Annotated[bool, Parameter(negative="", help="Also the key that people's words are sealed with.")] = False,
    common: Common = DEFAULT,
) -> None:
    """Back everything up into FOLDER, encrypted; the service may run. What is there already is not written again.

    The first time say for whom: a passphrase, or a public key. The folder remembers it: later no secret is needed.
    """
    from intramural import app
    from intramural.services.backups import key_lock

    if passphrase_file is not None and recipient is not None:
        raise Misasked("bad_usage", "Both a passphrase and a recipient are given.", "Give one of the two.")
    lock = None
    if passphrase_file is not None:
        lock = _from_passphrase(folder, passphrase_file)
    elif recipient is not None:
        lock = key_lock(recipient)
    made = uvloop.run(app.back_up(common.config, folder, lock, with_key=with_key))
    record = {
        "backup": made.name,
        "rows": made.rows,
        "files": made.files,
        "objects": made.objects,
        "written": made.written,
        "written_bytes": made.written_bytes,
        "log_entries": made.log_entries,
        "checkpoint": made.checkpoint,
        "skipped": made.skipped,
    }
    common.out.record(record, main="backup")
    if not with_key:
        common.out.note(
            f"Not in it: the key that people's words are sealed with. Keep a copy of {_vault_key(common)} elsewhere: "
            "without it nobody can read them, from the backup either."
        )


@cli.command
def restore(
    folder: Path,
    *,
    name: Annotated[str | None, Parameter(help="Which backup; the newest, if none is named.")] = None,
    passphrase_file: Passphrase = None,
    key: Annotated[Path | None, Parameter(help="X25519 private key, PEM.")] = None,
    public_key: Annotated[str | None, Parameter(help="The audit log's public key, as you keep it elsewhere.")] = None,
    erased: Annotated[Path | None, Parameter(help="The newest list of erased people (erased.jsonl).")] = None,
    holds: Annotated[
        Path | None, Parameter(help="The newest list of legal holds; unless named, holds.jsonl beside --erased.")
    ] = None,
    common: Common = DEFAULT,
) -> None:
    """Restore everything from FOLDER into an empty data directory, and the database that the settings name.

    Everything is compared with what was signed; where a part is damaged it is named and nothing is restored.
    """
    from intramural import app
    from intramural.services.backups import key_lock

    if (passphrase_file is None) == (key is None):
        raise Misasked("bad_usage", "A backup is opened by a passphrase or a key.", "Give one of the two.")
    lock = _from_passphrase(folder, passphrase_file) if passphrase_file is not None else key_lock(key or Path())
    if lock.private is None:
        raise Misasked("bad_backup_key", f"{key} is the public key.", "Give the private one.")
    if holds is None and erased is not None and (beside := erased.with_name("holds.jsonl")).is_file():
        holds = beside
    choices = {"name": name, "public_key": public_key, "erased": erased, "holds": holds}
    restored = uvloop.run(app.restore(common.config, folder, lock, **choices))
    record = {
        "backup": restored.name,
        "rows": restored.rows,
        "files": restored.files,
        "log_entries": restored.log_entries,
        "checkpoint": restored.checkpoint,
        "public_key": restored.public_key,
    }
    common.out.record(record, main="backup")
    if not _vault_key(common).exists():
        common.out.warn(
            "The key that people's words are sealed with is not in this backup.",
            f"Before the first start put your copy of it at {_vault_key(common)} (mode 0600).",
        )


def _vault_key(common: Common) -> Path:
    return common.config.data_dir / "secrets/vault.key"


def _from_passphrase(folder: Path, file: Path) -> "Lock":
    from intramural.services.backups import Folder, passphrase_lock

    try:
        first = file.read_text("utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError) as error:
        raise Misasked("bad_usage", f"The passphrase in {file} cannot be read: {error}.", "Name a file.") from None
    return passphrase_lock(first, Folder.salt(folder))
