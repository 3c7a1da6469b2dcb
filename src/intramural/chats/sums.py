"""What a chat comes to, and what all of a person's chats come to. Pure.

A chat's *head* says how often it was changed, and what its messages and its title come to; a person's *root* says that
of all their heads. Both lie sealed under the person's key, in a row like any other. An older message, one more, one
fewer or in another place does not fit the head of its chat; an older chat with its own older head does not fit the
root.

What several things come to is the exclusive or of a keyed hash of each (HMAC-SHA-256). A thing's place is hashed with
it, so that no two are the same. A change costs a hash of what went and one of what came, however much there is. Who has
neither the key nor the sums can make no other things come to the same, but by finding preimages of hashes.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass

NOTHING = bytes(32)


@dataclass(frozen=True, slots=True)
class Head:
    """Of one chat. `said`: its messages; `about`: its title and workspace."""

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
    """Of all chats of a person."""

    changes: int
    chats: bytes

    def to_bytes(self) -> bytes:
        return json.dumps({"changes": self.changes, "chats": self.chats.hex()}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Root":
        """Raises ValueError."""
        try:
            found = json.loads(data)
            return cls(int(found["changes"]), bytes.fromhex(found["chats"]))
        except (KeyError, TypeError) as error:
            raise ValueError("this is no root") from error

    def told(self, key: bytes) -> str:
        """What the audit log says of it: the number of changes, and a keyed hash that tells nothing else."""
        return f"{self.changes}.{_hash(key, 'root', str(self.changes), self.chats).hex()[:32]}"


def of_message(key: bytes, chat_id: str, position: int, message_id: str, role: str, content: str) -> bytes:
    """One message, in its place."""
    return _hash(key, "message", f"{chat_id}|{position}|{message_id}|{role}", content.encode())


def of_about(key: bytes, chat_id: str, title: str, workspace_id: str | None) -> bytes:
    """What is said of a chat beside its messages."""
    return _hash(key, "about", f"{chat_id}|{workspace_id or ''}", title.encode())


def of_chat(key: bytes, chat_id: str, head: Head) -> bytes:
    """A chat, as its head has it."""
    return _hash(key, "chat", f"{chat_id}|{head.changes}", head.said + head.about)


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
