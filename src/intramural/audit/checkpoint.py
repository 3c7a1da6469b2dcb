"""Signed checkpoints: a C2SP tlog-checkpoint (origin, size, root) in a C2SP signed note with an Ed25519 key.

    intramural.local/audit
    42
    <root, base64>

    — intramural.local/audit <key hash and signature, base64>

Formats: c2sp.org/tlog-checkpoint and c2sp.org/signed-note. Parsing is strict: what is not exactly of this form is
refused, so that no two readers can understand one note differently. Pure; keys come from `keys`.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from intramural.audit.merkle import HASH_BYTES
from intramural.core.errors import Misasked, Untrusted

_ED25519 = b"\x01"
KEY_HASH_BYTES = 4
_MAX_NOTE_CHARS = 65_536
_MAX_SIGNATURES = 16
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_NAME = re.compile(r"[^\s+]+")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a note states: the log `origin` had `size` entries, and their Merkle root was `root` (32 bytes)."""

    origin: str
    size: int
    root: bytes

    def body(self) -> str:
        """The signed text, ending in a newline."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """Whose signature counts: a name and an Ed25519 public key. `str()` gives the C2SP form `name+hash+base64`."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Read the C2SP form. Raises Misasked(`bad_audit_key`)."""
        name, _, rest = text.partition("+")
        hash_, _, encoded = rest.partition("+")
        data = decoded(encoded)
        if data is None or len(data) != 33 or data[:1] != _ED25519 or not _NAME.fullmatch(name):
            raise Misasked("bad_audit_key", "That is not a public key of an audit log.", "It looks like name+hash+key.")
        key = cls(name, data[1:])
        if key.hash.hex() != hash_:
            raise Misasked("bad_audit_key", "The public key does not match its own hash.", "Copy it again, whole.")
        return key

    @property
    def hash(self) -> bytes:
        """The four bytes that name the key in a signature line: SHA-256(name ‖ newline ‖ 0x01 ‖ key), cut."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:KEY_HASH_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.hash.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    def text_of(self, note: str) -> str:
        """The signed text of `note`, if this key signed it. Raises Untrusted(`audit_note_malformed`|`_unsigned`).

        Other people's signatures (of witnesses, say) may stand beside ours and are passed over.
        """
        text, lines = split_note(note)
        ours = [
            data[KEY_HASH_BYTES:] for name, data in lines if (name, data[:KEY_HASH_BYTES]) == (self.name, self.hash)
        ]
        if not ours:
            raise Untrusted("audit_note_unsigned", f"The note is not signed by {self.name}.", "Is it of another log?")
        try:
            for signature in ours:
                Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except InvalidSignature:
            raise Untrusted("audit_note_unsigned", f"The signature of {self.name} does not fit the note.") from None
        return text

    def checkpoint_of(self, note: str) -> Checkpoint:
        """The checkpoint that `note` signs. Raises as `text_of` does, also where it speaks of another log."""
        found = parse_body(self.text_of(note))
        if found.origin != self.name:
            raise Untrusted("audit_note_malformed", "The checkpoint names another log than its signature.")
        return found

    def statement_of(self, note: str, kind: str) -> str:
        """The line that `note` signs as a statement of that kind. Raises as `text_of` does."""
        line = self.text_of(note).removeprefix(f"{self.name}/{kind}\n").removesuffix("\n")
        if note.rpartition("\n\n")[0] + "\n" != statement_text(self.name, kind, line) or "\n" in line:
            raise Untrusted("audit_note_malformed", f"The note is not a {kind} of {self.name}.")
        return line


def statement_text(name: str, kind: str, line: str) -> str:
    """The signed text of a statement that is no checkpoint. A checkpoint's first line is the bare name."""
    return f"{name}/{kind}\n{line}\n"


class Signer:
    """Signs checkpoints in the name of one log."""

    def __init__(self, origin: str, key: Ed25519PrivateKey) -> None:
        """Raises Misasked(`bad_setting`) where `origin` cannot stand in a signature line."""
        if not _NAME.fullmatch(origin) or _CONTROL.search(origin):
            raise Misasked("bad_setting", f"audit.origin {origin!r} is not a name.", "No spaces, no `+`, not empty.")
        self._key = key
        self.verifier = VerifierKey(origin, key.public_key().public_bytes_raw())

    def sign(self, size: int, root: bytes) -> str:
        """The signed note for a tree of `size` entries under `root`."""
        return self._note(Checkpoint(self.verifier.name, size, root).body())

    def sign_statement(self, kind: str, line: str) -> str:
        """A signed note whose text is `name/kind`, then `line`: nothing that can be taken for a checkpoint."""
        return self._note(statement_text(self.verifier.name, kind, line))

    def _note(self, text: str) -> str:
        signature = self.verifier.hash + self._key.sign(text.encode())
        return f"{text}\n— {self.verifier.name} {base64.b64encode(signature).decode()}\n"


def parse_body(text: str) -> Checkpoint:
    """Read a checkpoint's signed text. Raises Untrusted(`audit_note_malformed`). Extension lines are refused."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not lines[0] or not _DECIMAL.fullmatch(lines[1]):
        raise _malformed("It is not origin, size and root, each on a line.")
    root = decoded(lines[2])
    if root is None or len(root) != HASH_BYTES:
        raise _malformed("Its root is not 32 bytes in base64.")
    return Checkpoint(lines[0], int(lines[1]), root)


def split_note(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """A note's text and its signatures as (name, key hash ‖ signature). Raises Untrusted(`audit_note_malformed`)."""
    if len(note) > _MAX_NOTE_CHARS or _CONTROL.search(note) or not note.endswith("\n"):
        raise _malformed("It is too long, holds control characters, or does not end with a newline.")
    text, blank, signatures = note.rpartition("\n\n")
    lines = signatures[:-1].split("\n")
    if not blank or len(lines) > _MAX_SIGNATURES:
        raise _malformed("It has no signatures, or too many.")
    return text + "\n", [_signature(line) for line in lines]


def _signature(line: str) -> tuple[str, bytes]:
    dash, name, encoded = [*line.split(" "), "", ""][:3]
    data = decoded(encoded)
    if dash != "—" or line.count(" ") != 2 or not _NAME.fullmatch(name) or data is None or len(data) <= KEY_HASH_BYTES:
        raise _malformed("A signature line is not `— name base64`.")
    return name, data


def is_name(text: str) -> bool:
    """Whether a key may be called so."""
    return _NAME.fullmatch(text) is not None and not _CONTROL.search(text)


def decoded(text: str) -> bytes | None:
    """Decode canonical base64 (padded, no spare bits); None for anything else."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if base64.b64encode(data).decode() == text else None


def _malformed(why: str) -> Untrusted:
    return Untrusted("audit_note_malformed", f"The checkpoint is malformed. {why}", "Compare it with where you got it.")
