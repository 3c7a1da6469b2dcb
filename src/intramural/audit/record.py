"""The canonical bytes of one event: what is hashed into the tree, and what is read back. Pure, but for keys.

A record is one line of ASCII JSON with sorted keys and no spaces. Everything that is not printable ASCII is written as
`\\uXXXX`, so no text from outside can end the line, colour a terminal, turn the reading direction or be invalid UTF-8.
Bytes are never canonicalised again: readers hash what is stored. `docs/audit.md` has the form in full.
"""

import hashlib
import hmac
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, TypeVar

import msgspec

from intramural.audit.events import Event
from intramural.core.actor import Actor
from intramural.vault import Vault, row_id
from intramural.vault.places import AUDIT_TEXT

Outcome = Literal["allowed", "refused", "finished", "failed", "cancelled"]

#: A value in `facts`. Kept as text where JSON readers differ: integers beyond ±(2^53 - 1), infinities, not-a-number.
Fact = str | int | float | bool | None | list[Any] | tuple[Any, ...] | Mapping[str, Any]

_Form = TypeVar("_Form")

FORM = 1
#: Longer text is cut there and ends in `…[length]`: 1,024 characters hold every name, reason and user agent worth one.
MAX_TEXT_CHARS = 1_024
#: Stands beside the nonce where the salts come from the actor's own key.
OWN_KEY = "person"
#: Recorded prompts and answers (only where settings ask for them) are cut there: 64 Ki characters are ~40 pages.
MAX_RECORDED_CHARS = 65_536
#: Facts that come out larger are left out, and their size is recorded in their place.
MAX_FACTS_BYTES = 16_384
MAX_ITEMS = 64
MAX_DEPTH = 4
#: A clock that steps back by more than this against an earlier event is flagged (`skew_ms`): below it is NTP at work.
MAX_SKEW_MS = 1_000
NONCE_BYTES = 16
_MAX_SAFE_INTEGER = 2**53 - 1
_MAX_INTEGER_BITS = 256

_escaped = json.JSONEncoder(ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False).encode
_quick = msgspec.json.Encoder(order="sorted").encode


class Record(msgspec.Struct, frozen=True):
    """One event, ready to be given a position. `facts` and `texts` are already in their canonical JSON form."""

    event: Event
    actor: Actor
    target: str
    outcome: Outcome
    request_id: str | None
    time_ms: int
    facts: str = "{}"
    texts: str = "{}"
    skew_ms: int = 0
    #: Rows of `audit_texts` that are committed with it.
    kept: tuple[Mapping[str, Any], ...] = ()

    def to_bytes(self, position: int) -> bytes:
        """The canonical record at `position` in the log. The keys below stand in their sorted order."""
        skew = f'"skew_ms":{self.skew_ms},' if self.skew_ms else ""
        texts = f'"texts":{self.texts},' if self.texts != "{}" else ""
        line = (
            f'{{"actor":{_actor_json(self.actor)},"event":{_json(str(self.event))},"facts":{self.facts},'
            f'"outcome":{_json(str(self.outcome))},"position":{position},"request_id":{_json(_or_none(self.request_id))},'
            f'{skew}"target":{_json(clean(self.target))},{texts}"time_ms":{self.time_ms},"v":{FORM}}}'
        )
        return line.encode("ascii")


class StoredActor(msgspec.Struct, frozen=True):
    """Who acted, as the log has it: pseudonymous identifiers, no names."""

    kind: str
    id: str
    role: str
    credential: str


class StoredRecord(msgspec.Struct, frozen=True):
    """A record read back."""

    v: int
    position: int
    time_ms: int
    event: str
    actor: StoredActor
    target: str
    outcome: str
    request_id: str | None
    facts: dict[str, Any]
    texts: dict[str, Any] = msgspec.field(default_factory=dict)
    skew_ms: int = 0


class OutlineActor(msgspec.Struct, frozen=True):
    """Of a stored actor, what is copied into columns."""

    id: str


class Outline(msgspec.Struct, frozen=True):
    """Of a stored record, what a verifier compares: the rest is covered by the hash."""

    v: int
    position: int
    time_ms: int
    event: str
    actor: OutlineActor
    request_id: str | None


_decoder = msgspec.json.Decoder(StoredRecord)
_outline_decoder = msgspec.json.Decoder(Outline)


def parse(record: bytes) -> StoredRecord:
    """Read a record. Raises ValueError where it has not the form of one."""
    return _decoded(_decoder, record)


def outline(record: bytes) -> Outline:
    """Read only what a verifier compares. Raises ValueError where that is not there."""
    return _decoded(_outline_decoder, record)


def _decoded(decoder: "msgspec.json.Decoder[_Form]", record: bytes) -> _Form:
    try:
        return decoder.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def facts_json(facts: Mapping[str, Fact]) -> str:
    """The canonical form of `facts`; one that is too large becomes `{"left_out_bytes": n}`. Raises TypeError."""
    text = _json(_plain(facts, MAX_DEPTH))
    return text if len(text) <= MAX_FACTS_BYTES else f'{{"left_out_bytes":{len(text)}}}'


def canonical(value: object) -> str:
    """One line of ASCII JSON with sorted keys and no spaces: the form of everything that is signed here."""
    return _escaped(value).replace("\x7f", "\\u007f")  # DEL is ASCII, yet no text


def clean(text: str, limit_chars: int = MAX_TEXT_CHARS) -> str:
    """`text` as valid Unicode of bounded length: lone surrogates become U+FFFD, the rest is cut and marked."""
    if type(text) is str and len(text) <= limit_chars and text.isascii():
        return text  # nearly all of them
    if len(text) > limit_chars:
        text = f"{text[:limit_chars]}…[{len(text)}]"
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return str(text)


@dataclass(frozen=True, slots=True)
class Texts:
    """How prompts and answers come into a record: their size and a salted digest, never they themselves.

    The commitment is SHA-256(salt ‖ UTF-8 text) with salt = HMAC-SHA-256(key, nonce ‖ name). The nonce stands in the
    record, the key does not: the log alone opens nothing, even by guessing short texts; the key's holder can show one
    salt to prove one text; and destroying the key closes its commitments for good. Everybody has a key of their own in
    the vault; `key` is for who has none, and for what was recorded before there was a vault.
    """

    key: bytes = field(repr=False)
    vault: Vault | None = None

    def json(self, texts: Mapping[str, str], nonce: bytes, person_id: str) -> str:
        """The canonical form of `texts` (name -> text), as `person_id` acted. `nonce`: 16 fresh random bytes."""
        own = self.has_own(person_id)
        found: dict[str, Any] = {}
        for name, text in texts.items():
            salt = self.salt(name, nonce, person_id if own else None)
            found[name] = {"bytes": len(text_bytes(text)), "commitment": commitment(salt, text)}
        return _json(found | {"nonce": nonce.hex()} | ({"key": OWN_KEY} if own else {})) if found else "{}"

    def has_own(self, person_id: str) -> bool:
        """Whether this person's texts are committed to under a key of their own."""
        return self.vault is not None and self.vault.knows(person_id)

    def salt(self, name: str, nonce: bytes, person_id: str | None) -> bytes:
        """The salt (32 bytes) with which the text `name` of the record holding `nonce` was committed, under the key of
        `person_id`, or the one for all. Raises Missing(`no_data_key`) where that person was erased.
        """
        key = self.key if person_id is None or self.vault is None else self.vault.salts_key(person_id)
        return hmac.digest(key, nonce + name.encode(), "sha256")

    def kept(
        self, texts: Mapping[str, str], nonce: bytes, person_id: str, time_ms: int, workspace_id: str | None
    ) -> tuple[Mapping[str, Any], ...]:
        """The rows of `audit_texts` that keep the texts themselves, sealed; none for who has no key. They were said at
        this time, in this workspace (None: in none).
        """
        if self.vault is None or not self.has_own(person_id):
            return ()
        of = nonce.hex()
        where = {"person_id": person_id, "time_ms": time_ms, "workspace_id": workspace_id}
        return tuple(
            {"nonce": of, "name": name, **where, "body": self._sealed(person_id, of, name, text)}
            for name, text in texts.items()
        )

    def _sealed(self, person_id: str, nonce: str, name: str, text: str) -> bytes:
        assert self.vault is not None
        data = clean(text, MAX_RECORDED_CHARS).encode()
        return self.vault.seal(person_id, AUDIT_TEXT.place, row_id(nonce, name), data)


def commitment(salt: bytes, text: str) -> str:
    """`sha256:<hex>` of `salt` followed by the text in UTF-8."""
    return "sha256:" + hashlib.sha256(salt + text_bytes(text)).hexdigest()


def text_bytes(text: str) -> bytes:
    """What is committed to: UTF-8, with lone surrogates as U+FFFD."""
    return clean(text, len(text)).encode()


class _Spelled(float):
    """A number with an exponent: `1e+300` in the canonical form, `1e300` by the quick encoder, which refuses this."""


@lru_cache(maxsize=1024)
def _actor_json(actor: Actor) -> str:
    """Who acted. Remembered: the same few act again and again."""
    found = {
        "credential": clean(actor.credential_id),
        "id": clean(actor.person_id),
        "kind": actor.kind,
        "role": actor.role,
    }
    return _json(found)


def _plain(value: object, depth: int) -> Any:
    if isinstance(value, str):
        return clean(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) <= _MAX_SAFE_INTEGER:
            return int(value)
        return str(int(value)) if value.bit_length() <= _MAX_INTEGER_BITS else f"…[{value.bit_length()} bits]"
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(float(value))
        return _Spelled(value) if "e" in repr(value) else float(value)
    if isinstance(value, (dict, list, tuple, Mapping)):  # the abstract one last: asking it is slow
        return _plain_items(value, depth)
    raise TypeError(f"a fact cannot be a {type(value).__name__}")


def _plain_items(value: Mapping[str, Any] | list[Any] | tuple[Any, ...], depth: int) -> Any:
    if depth == 0:
        return "…"
    if isinstance(value, (list, tuple)):
        plain = [_plain(item, depth - 1) for item in value[:MAX_ITEMS]]
        return plain if len(value) <= MAX_ITEMS else [*plain, f"…[{len(value)}]"]
    items = value.items() if len(value) <= MAX_ITEMS else list(value.items())[:MAX_ITEMS]
    found = {_key(key): _plain(item, depth - 1) for key, item in items}
    return found if len(value) <= MAX_ITEMS else found | {"…": len(value)}


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError("the name of a fact is text")
    return clean(key)


def _or_none(text: str | None) -> str | None:
    return None if text is None else clean(text)


def _json(value: object) -> str:
    """As `canonical`, in a fifth of the time where nothing in `value` needs care. Its floats come from `_plain`."""
    try:
        quick = _quick(value)
    except TypeError:  # a number that the quick encoder would spell otherwise
        return canonical(value)
    return quick.decode("ascii") if quick.isascii() and b"\x7f" not in quick else canonical(value)
