"""Signatures kept beside the manifests, one file a model name, so that they can be checked again and handed on."""

import os
import stat
from pathlib import Path

from intramural.core.durable import ORDINARY, write_whole
from intramural.core.errors import Untrusted
from intramural.library.names import file_of, parse_name
from intramural.library.provenance.signing import MAX_SIGNATURE_BYTES

#: How a signature is called where a publisher puts it beside the files.
NAME = "model.sig"


class Signatures:
    """The signatures under `folder` (made on first use). What is in them is checked where they are used."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, name: str) -> bytes | None:
        """The signature of model `name`, None if there is none."""
        try:
            return self._file(name).read_bytes()
        except FileNotFoundError:
            return None

    def put(self, name: str, signature: bytes | None) -> None:
        """Write durably, or take away."""
        file = self._file(name)
        if signature is None:
            file.unlink(missing_ok=True)
            return
        self._folder.mkdir(exist_ok=True)
        write_whole(file, signature, mode=ORDINARY)

    def _file(self, name: str) -> Path:
        return self._folder / file_of(parse_name(name)).replace(".json", ".sig")


def beside(weights: Path) -> bytes | None:
    """The signature that lies beside a file: `model.gguf.sig`, else `model.sig`. None if neither is a readable file.

    Raises Untrusted(`signature_too_long`).
    """
    for path in (weights.with_name(weights.name + ".sig"), weights.with_name(NAME)):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            continue
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                continue
            found = file.read(MAX_SIGNATURE_BYTES + 1)
        if len(found) > MAX_SIGNATURE_BYTES:
            raise Untrusted("signature_too_long", f"{path.name} is larger than any signature is.", "Take it away.")
        return found
    return None
