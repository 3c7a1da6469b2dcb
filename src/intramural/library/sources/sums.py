"""`SHA256SUMS`: which files a publisher's folder has, with their digests. Pure.

As `sha256sum` writes it (GNU coreutils): 64 hex digits, a space, a space or `*`, a name; with `--tag` the BSD form.
"""

import re

from intramural.core.errors import Untrusted
from intramural.library.sources.sets import plain_name

#: The name by which such a file is looked for.
NAME = "SHA256SUMS"
MAX_FILES = 10_000
_GNU = re.compile(r"(?P<hex>[0-9A-Fa-f]{64}) [ *](?P<name>.+)")
_BSD = re.compile(r"SHA256 \((?P<name>.+)\) = (?P<hex>[0-9A-Fa-f]{64})")


def parse_sums(text: str) -> dict[str, str]:
    """Digest (`sha256:<64 hex>`) by path; comments, empty lines and what is hidden is passed over.

    Raises Untrusted(`bad_sums`, `bad_file_name`) for anything else that is no such line, a path listed with two
    digests, or one that leads out of the folder.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith(("#", ";")):
            continue
        match = _GNU.fullmatch(line) or _BSD.fullmatch(line)
        if match is None:
            raise _bad(f"line {number} is {line[:80]!r}")
        path, digest = match["name"].removeprefix("./"), f"sha256:{match['hex'].lower()}"
        if any(part.startswith(".") and part not in (".", "..") for part in path.split("/")):
            continue
        plain_name(path)
        if found.setdefault(path, digest) != digest:
            raise _bad(f"{path[:80]!r} is listed with two digests")
        if len(found) > MAX_FILES:
            raise _bad(f"it lists more than {MAX_FILES} files")
    return found


def _bad(why: str) -> Untrusted:
    return Untrusted("bad_sums", f"{NAME} cannot be used: {why}.", "Tell whoever runs the mirror.")
