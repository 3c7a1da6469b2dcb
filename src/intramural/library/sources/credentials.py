"""Names and passwords for registries, from a file that only this service's user can read.

The format is Docker's `config.json`, which `docker login` and `oras login` write: `{"auths": {"HOST": {"auth":
"<base64 of NAME:PASSWORD>"}}}`, or `{"registrytoken": "…"}` instead. Helper programs that it may name are not run.
"""

import base64
import binascii
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from intramural.core.errors import Misasked, Refused

_MAX_BYTES: Final = 1 << 20
_SECRET: Final = re.compile(r"[\x21-\x7e]{1,65536}")
#: How Docker's registry is called in the files that its tools write.
_SPELLINGS: Final = {"docker.io": ("https://index.docker.io/v1/", "registry-1.docker.io", "index.docker.io")}


@dataclass(frozen=True, slots=True)
class Login:
    """What to say to one registry; never shown.

    `basic` is the value of a header with name and password, `token` one to present as it is.
    """

    basic: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)


class _Entry(msgspec.Struct, frozen=True):
    auth: str = ""
    registrytoken: str = ""


class _File(msgspec.Struct, frozen=True):
    auths: dict[str, _Entry] = {}


def login_for(host: str, file: Path | None) -> Login | None:
    """What `file` has for the registry at `host` (with its port, if that is not the scheme's own); None if nothing.

    A file that is not there holds nothing. Raises Refused(`credentials_exposed`) when others could read it, or
    Misasked(`credentials_unreadable`).
    """
    if file is None:
        return None
    found = _read(file).auths
    for key in (host, f"https://{host}", f"https://{host}/v2/", *_SPELLINGS.get(host, ())):
        if key in found:
            return _login(found[key], host, file)
    return None


def _login(entry: _Entry, host: str, file: Path) -> Login | None:
    if entry.registrytoken:
        if not _SECRET.fullmatch(entry.registrytoken):
            raise _unreadable(file, f"the token for {host} is none")
        return Login(token=entry.registrytoken)
    if not entry.auth:
        return None
    try:
        plain = base64.b64decode(entry.auth, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _unreadable(file, f"what it has for {host} is not base64") from error
    if b":" not in plain:
        raise _unreadable(file, f"what it has for {host} is not a name and a password")
    return Login(basic=f"Basic {base64.b64encode(plain).decode()}")


def _read(file: Path) -> _File:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        return _File()
    except OSError as error:
        raise _unreadable(file, error.strerror or "it cannot be opened") from error
    with os.fdopen(descriptor, "rb") as opened:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise _unreadable(file, "it is no regular file")
        if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o077:
            message = f"{file} holds passwords, and others could read or replace it."
            raise Refused("credentials_exposed", message, f"chmod 600 {file}, and let this service's user own it.")
        body = opened.read(_MAX_BYTES + 1)
    if len(body) > _MAX_BYTES:
        raise _unreadable(file, "it is too long")
    try:
        return msgspec.json.decode(body, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # never its text: that is secret
        raise _unreadable(file, "it is not what `docker login` writes") from error


def _unreadable(file: Path, why: str) -> Misasked:
    hint = "Mend it, or take the setting library.registry_credentials away."
    return Misasked("credentials_unreadable", f"The credentials in {file} cannot be used: {why}.", hint)
