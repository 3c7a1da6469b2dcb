"""The verifier that outsiders run, as a file to hand out. It shares no code with this program; nothing here runs it.

Whoever gets it from the service that they check has it from the one who is checked: what they compare it with, by
`sha256`, has to come by another way (docs/reference/verifier.md says what this version's is).
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

NAME = "verify_intramural.py"
_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class VerifierFile:
    """The file's bytes and their SHA-256 (hexadecimal)."""

    data: bytes
    sha256: str


def verifier_path() -> Path:
    """Where it lies: in the installed package, or beside the sources."""
    packaged = _PACKAGE / "verifier" / NAME
    return packaged if packaged.exists() else _PACKAGE.parents[1] / "verifier" / NAME


@cache
def verifier_file() -> VerifierFile:
    """It never changes while the service runs. Raises OSError where it was not installed."""
    data = verifier_path().read_bytes()
    return VerifierFile(data, hashlib.sha256(data).hexdigest())
