"""What a thing comes to that somebody keeps, and what all of theirs come to. Pure.

A thing is a chat, a file, a response, a conversation of a program, a batch. Its *head* says how often it was changed,
and what its parts (messages, items, lines) and what is said of it come to; a person's *root* says that of all their
heads, kind by kind. Both lie sealed under the person's key, in a row like any other. An older part, one more, one fewer
or in another place does not fit the head of its thing; an older thing with its own older head does not fit the root.

What several things come to is the exclusive or of a keyed hash of each (HMAC-SHA-256). A thing's place is hashed with
it, so that no two are the same. A change costs a hash of what went and one of what came, however much there is. Who has
neither the key nor the sums can make no other things come to the same, but by finding preimages of hashes.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

NOTHING = bytes(32)
#: The kind that roots knew first: what the log was told of it then counts still.
_FIRST = "chats"


@dataclass(frozen=True, slots=True)
class Head:
    """Of one thing. `said`: its parts; `about`: what is said of it, with its workspace."""

    changes: int
    said: bytes
    about: bytes

    def to_bytes(self) -> bytes:
        return json.dumps({"changes": self.changes, "said": self.said.hex(), "about": self.about.hex()}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Head":
        """Raises ValueError."""
        try:
            found = json.loads(data)
            return cls(int(found["changes"]), bytes.fromhex(found["said"]), bytes.fromhex(found["about"]))
        except (KeyError, TypeError) as error:
            raise ValueError("this is no head") from error


@dataclass(frozen=True, slots=True)
class Root:
    """Of all that a person keeps; `sums` by kind (of a kind that is not there, there is nothing)."""

    changes: int
    sums: Mapping[str, bytes]

    def of(self, kind: str) -> bytes:
        return self.sums.get(kind, NOTHING)

    def then(self, kind: str, total: bytes) -> "Root":
        """After a change, by which all of a kind come to `total`."""
        return Root(self.changes + 1, {**self.sums, kind: total})

    def to_bytes(self) -> bytes:
        return json.dumps({"changes": self.changes} | {kind: each.hex() for kind, each in self.sums.items()}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Root":
        """Raises ValueError."""
        try:
            found = json.loads(data)
            changes = int(found.pop("changes"))
            return cls(changes, {str(kind): bytes.fromhex(each) for kind, each in found.items()})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("this is no root") from error

    def told(self, key: bytes) -> str:
        """What the audit log says of it: the number of changes, and a keyed hash that tells nothing else."""
        others = (f"|{kind}|".encode() + each for kind, each in sorted(self.sums.items()) if kind != _FIRST)
        content = self.of(_FIRST) + b"".join(others)
        return f"{self.changes}.{_hash(key, 'root', str(self.changes), content).hex()[:32]}"


def of_part(key: bytes, thing_id: str, position: int, part_id: str, role: str, content: bytes) -> bytes:
    """One part, in its place."""
    return _hash(key, "message", f"{thing_id}|{position}|{part_id}|{role}", content)


def of_about(key: bytes, thing_id: str, content: bytes, workspace_id: str | None) -> bytes:
    """What is said of a thing beside its parts."""
    return _hash(key, "about", f"{thing_id}|{workspace_id or ''}", content)


def of_thing(key: bytes, word: str, thing_id: str, head: Head) -> bytes:
    """A thing, as its head has it; `word`: which kind of thing."""
    return _hash(key, word, f"{thing_id}|{head.changes}", head.said + head.about)


def together(*parts: bytes) -> bytes:
    """What they come to; one that is there twice is not there."""
    found = 0
    for part in parts:
        found ^= int.from_bytes(part, "big")
    return found.to_bytes(32, "big")


def all_of(parts: Iterable[bytes]) -> bytes:
    """As `together`, of many."""
    return together(*parts)


def told_changes(told: str) -> int:
    """The number of changes in what the log was told of a root. Raises ValueError."""
    return int(told.partition(".")[0])


def _hash(key: bytes, kind: str, name: str, content: bytes) -> bytes:
    # the name ends where the content's own hash begins, whatever is in either
    return hmac.digest(key, f"{kind}|{name}|".encode() + hashlib.sha256(content).digest(), "sha256")
