"""The folder that backups lie in.

backup.json      whom they are for: a public key, and what a passphrase needs to become the private one
objects/ab/…     sealed contents, named by a keyed digest: the name tells nobody what is in them
*.backup         a sealed manifest each
"""

import hashlib
import hmac
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from intramural.core.durable import ORDINARY, whole
from intramural.core.errors import Conflicting, Misasked, Missing, Untrusted
from intramural.services.backups.sealed import Spoiled, opened, seal

_HEAD = "backup.json"
_ENDING = ".backup"
_FORM = 1
#: What one guess at a passphrase costs: 256 MiB, three passes.
_PASSES, _MEMORY_KIB, _LANES = 3, 262_144, 1
_SALT_BYTES = 16
_MIN_PASSPHRASE_CHARS = 12
#: What was not written to for so long, nobody is writing any more: it is of a backup that was killed.
_ABANDONED_S = 86_400.0
_PART = ".part"
_NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z(-[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Lock:
    """Whom backups are for. `private` where the secret is at hand, `salt` where it is a passphrase."""

    public: X25519PublicKey
    private: X25519PrivateKey | None = None
    salt: bytes | None = None


def key_lock(file: Path) -> Lock:
    """From an X25519 key as PEM, public or private (`openssl genpkey -algorithm X25519`). Raises Misasked."""
    try:
        data = file.read_bytes()
        key = load_pem_private_key(data, None) if b"PRIVATE" in data else load_pem_public_key(data)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if isinstance(key, X25519PrivateKey):
        return Lock(key.public_key(), key)
    if isinstance(key, X25519PublicKey):
        return Lock(key)
    hint = "Make one: openssl genpkey -algorithm X25519 -out backup.pem; openssl pkey -in backup.pem -pubout."
    raise Misasked("bad_backup_key", f"{file} holds no X25519 key (PEM, without a password).", hint)


def passphrase_lock(passphrase: str, salt: bytes | None = None) -> Lock:
    """From a passphrase; `salt` as the folder has it. Takes a second and 256 MiB.

    Raises Misasked(`weak_passphrase`).
    """
    from argon2.low_level import Type, hash_secret_raw

    if len(passphrase) < _MIN_PASSPHRASE_CHARS:
        message = f"A passphrase for backups has {_MIN_PASSPHRASE_CHARS} characters at least."
        raise Misasked("weak_passphrase", message, "Several words are best: whoever finds the folder can guess at it.")
    salt = os.urandom(_SALT_BYTES) if salt is None else salt
    secret = hash_secret_raw(passphrase.encode(), salt, _PASSES, _MEMORY_KIB, _LANES, 32, Type.ID)
    private = X25519PrivateKey.from_private_bytes(secret)
    return Lock(private.public_key(), private, salt)


class Folder:
    """A folder with backups for one reader. Blocking."""

    def __init__(self, path: Path, public: X25519PublicKey) -> None:
        self.path = path
        self._public = public

    @classmethod
    def salt(cls, path: Path) -> bytes | None:
        """What a passphrase needs here; None where there is no folder yet, or it is for a key."""
        salt = (_head(path) or {}).get("salt")
        return None if salt is None else bytes.fromhex(salt)

    @classmethod
    def open(cls, path: Path, lock: Lock | None, *, make: bool) -> "Folder":
        """Open the folder, or begin one. Without a lock it goes on for whom it was begun.

        Raises Misasked(`backup_lock_needed`), Conflicting(`other_backup_key`), Missing(`no_backup`).
        """
        head = _head(path)
        if head is None and not make:
            raise Missing("no_backup", f"There are no backups in {path}.", "Name the folder that they were made in.")
        if head is None:
            if lock is None:
                hint = "Give --passphrase-file or --recipient the first time; the folder remembers whom it is for."
                raise Misasked("backup_lock_needed", f"{path} is a new folder.", hint)
            _begin(path, lock)
            return cls(path, lock.public)
        public = X25519PublicKey.from_public_bytes(bytes.fromhex(head["public_key"]))
        if lock is not None and lock.public.public_bytes_raw() != public.public_bytes_raw():
            hint = "Is the passphrase or the key right? For another one begin another folder."
            raise Conflicting("other_backup_key", f"The backups in {path} are for another passphrase or key.", hint)
        return cls(path, public)

    # writing ----------------------------------------------------------------------------------------------------------

    def sweep(self, now_s: float) -> None:
        """Remove what backups that were killed have left half written, a day ago or more."""
        for part in self.path.rglob(f"*{_PART}"):
            with suppress(FileNotFoundError):  # somebody else did
                if now_s - part.stat().st_mtime > _ABANDONED_S:
                    part.unlink()

    def has(self, name: str) -> bool:
        """Whether an object is there already."""
        return self._object(name).is_file()

    def put(self, name: str, text: Iterable[bytes]) -> int:
        """Seal an object under `name`, durably and whole or not at all; how many bytes it takes."""
        return _write(self._object(name), seal(self._public, text))

    def finish(self, when: str, manifest: bytes) -> str:
        """The manifest, last of all: from now on this is a backup. Its name."""
        name, number = when, 1
        while (self.path / f"{name}{_ENDING}").exists():
            number += 1
            name = f"{when}-{number}"
        _write(self.path / f"{name}{_ENDING}", seal(self._public, [manifest]))
        return name

    # reading ----------------------------------------------------------------------------------------------------------

    def backups(self) -> list[str]:
        """The names of all backups, the oldest first."""
        names = (each.name.removesuffix(_ENDING) for each in self.path.glob(f"*{_ENDING}"))
        return sorted((name for name in names if _NAME.fullmatch(name)), key=_order)

    def manifest(self, name: str, private: X25519PrivateKey) -> bytes:
        """A backup's manifest. Raises Missing(`no_backup`), Untrusted(`backup_spoiled`)."""
        file = self.path / f"{name}{_ENDING}"
        if not _NAME.fullmatch(name) or not file.is_file():
            raise Missing("no_backup", f"There is no backup {name!r} in {self.path}.", "Leave it out for the newest.")
        return b"".join(_opened(file, private, f"the manifest of {name}"))

    def get(self, name: str, private: X25519PrivateKey, what: str) -> Iterator[bytes]:
        """An object's text, piece by piece. Raises Untrusted(`backup_spoiled`), which names `what`."""
        return _opened(self._object(name), private, what)

    def _object(self, name: str) -> Path:
        return self.path / "objects" / name[:2] / name


def object_name(names_key: bytes, digest: str) -> str:
    """What the object with this content (SHA-256, hex) is called."""
    return hmac.new(names_key, bytes.fromhex(digest), hashlib.sha256).hexdigest()


def _order(name: str) -> tuple[str, int]:
    when, _, number = name.partition("-")
    return when, int(number or 1)


def spoiled(what: str) -> Untrusted:
    """Something in a backup is not as it was written."""
    hint = "Nothing was restored. Use another copy of the folder, or an older backup."
    return Untrusted("backup_spoiled", f"The backup is damaged or was changed: {what}.", hint)


def _head(path: Path) -> dict[str, Any] | None:
    try:
        head = json.loads((path / _HEAD).read_bytes())
        if head["form"] != _FORM or len(bytes.fromhex(head["public_key"])) != 32:
            raise ValueError("another form")
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise spoiled(_HEAD) from None
    return dict(head)


def _begin(path: Path, lock: Lock) -> None:
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    # one that was killed while it began the folder is begun again
    if any(not (each.name.lstrip(".").startswith(_HEAD) and each.name.endswith(_PART)) for each in path.iterdir()):
        raise Conflicting("backup_folder_not_empty", f"There is something else in {path}.", "Name an empty folder.")
    salt = None if lock.salt is None else lock.salt.hex()
    head = {"form": _FORM, "public_key": lock.public.public_bytes_raw().hex(), "salt": salt}
    _write(path / _HEAD, [json.dumps(head, indent=1).encode()])


def _opened(file: Path, private: X25519PrivateKey, what: str) -> Iterator[bytes]:
    try:
        with file.open("rb") as sealed:
            yield from opened(private, sealed)
    except (Spoiled, OSError):
        raise spoiled(what) from None


def _write(file: Path, pieces: Iterable[bytes]) -> int:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with whole(file, mode=ORDINARY) as out:
        for each in pieces:
            out.write(each)
        return out.tell()
