#!/usr/bin/env python3
"""Checks what an intramural service hands out: on any machine, without the service, without a network.

    python3 verify_intramural.py log EXPORT --key KEY [--held FILE_OR_FOLDER]...
    python3 verify_intramural.py checkpoint FILE --key KEY
    python3 verify_intramural.py proof FILE --key KEY
    python3 verify_intramural.py consistency FILE --held OLDER --key KEY
    python3 verify_intramural.py receipt FILE --key KEY [--prompt FILE] [--answer FILE]
    python3 verify_intramural.py statement FILE --key KEY [--kind attestation]
    python3 verify_intramural.py attestation FILE --key KEY [--nonce NONCE] [--max-age HOURS]
    python3 verify_intramural.py model SIGNATURE FILE... --model-key PEM

It needs Python 3.11 and the package `cryptography`, and shares no code with what it checks. The byte formats are in
docs/formats.md, so that anybody can write another one. KEY is the log's public key as you were given it, by another way
than the file that you are checking.

Exit status: 0, everything that was asked for holds; 1, something is wrong; 2, it was called wrongly or a file is not
there; 3, nothing is wrong, but something that was asked for could not be checked.
"""

import argparse
import base64
import binascii
import hashlib
import io
import json
import re
import sqlite3
import struct
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    sys.stderr.write("This needs the Python package `cryptography`: pip install cryptography\n")
    sys.exit(3)
try:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
except ImportError:  # before cryptography 48
    MLDSA44PublicKey = None  # type: ignore[assignment,misc]

#: Bounds on what is read. A record has at most some 20 KB; a note with 16 ML-DSA-44 signatures 53 KB.
MAX_LINE_BYTES = 1 << 18
MAX_NOTE_BYTES = 1 << 16
MAX_FILE_BYTES = 1 << 24
MAX_SIGNATURES = 16
MAX_PROOF_HASHES = 64
MAX_HELD = 100_000
MAX_CERTIFICATES = 16
MAX_STAMP_BYTES = 1 << 16

ED25519, COSIGNED_ED25519, COSIGNED_ML_DSA = 0x01, 0x04, 0x06
#: Of each signature type: what it is called, the bytes of a public key, the bytes of a signature.
TYPES = {
    ED25519: ("Ed25519", 32, 64),
    COSIGNED_ED25519: ("Ed25519 cosignature", 32, 8 + 64),
    COSIGNED_ML_DSA: ("ML-DSA-44", 1312, 8 + 2420),
}


class Wrong(Exception):
    """What was checked does not hold. Of a log, `first_wrong` names the first entry that is wrong, or, where hashes
    cannot tell, the first of those (up to `before`, excluded) among which it is."""

    def __init__(self, says: str, *, first_wrong: int | None = None, before: int | None = None) -> None:
        super().__init__(says)
        self.first_wrong = first_wrong
        self.before = None if first_wrong is not None and before == first_wrong + 1 else before

    def at(self, first_wrong: int, before: int | None = None) -> "Wrong":
        """The same, where it does not yet say where."""
        return self if self.first_wrong is not None else Wrong(str(self), first_wrong=first_wrong, before=before)


class Misuse(Exception):
    """It was called wrongly."""


# what is found --------------------------------------------------------------------------------------------------------


@dataclass
class Report:
    """What was checked, one sentence each. Outcomes: `holds`, `wrong`, `not checked` (it was asked for and could not
    be), `passed over` (it was there, and nobody asked), `told` (what it says; whether that is good is
    for who asked to judge)."""

    checks: list[dict[str, Any]] = field(default_factory=list)

    def add(self, outcome: str, check: str, says: str, **more: Any) -> None:
        self.checks.append({"check": check, "outcome": outcome, "says": says, **more})

    def holds(self, check: str, says: str, **more: Any) -> None:
        self.add("holds", check, says, **more)

    @property
    def status(self) -> int:
        outcomes = {each["outcome"] for each in self.checks}
        if "wrong" in outcomes:
            return 1
        return 3 if "not checked" in outcomes or "holds" not in outcomes else 0


# bytes and text -------------------------------------------------------------------------------------------------------


def from_base64(text: str) -> bytes:
    """Standard base64, padded, without spare bits: one spelling for each value."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Wrong("Something that should be base64 is not.") from None
    if base64.b64encode(data).decode() != text:
        raise Wrong("Something is base64 in another spelling than the one there is.")
    return data


def to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def number(text: str) -> int:
    """A decimal number without sign or leading zeros, below 2^63."""
    if not re.fullmatch(r"0|[1-9][0-9]{0,18}", text) or not text.isascii() or int(text) >= 1 << 63:
        raise Wrong("Something that should be a number is not.")
    return int(text)


def hash_of(text: str) -> bytes:
    data = from_base64(text)
    if len(data) != 32:
        raise Wrong("Something that should be a hash of 32 bytes is not.")
    return data


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def parsed(data: bytes | str, what: str) -> Any:
    """JSON; a key given twice, or nesting without end, is an error."""
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Wrong(f"{what} is not JSON: {str(error)[:120]}.") from None


def canonical(value: Any) -> str:
    """One line of ASCII with sorted keys and no spaces: the form of everything that is signed as JSON."""
    try:
        text = json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError):
        raise Wrong("Something has a number, or is nested, as nothing that is signed here.") from None
    return text.replace("\x7f", "\\u007f")


def member(value: Any, name: str, kind: type, what: str) -> Any:
    """`value[name]`, of that type."""
    found = value.get(name) if isinstance(value, dict) else None
    if type(found) is not kind:
        raise Wrong(f"{what} has no {name!r}, or not of the right kind.")
    return found


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


# the tree: RFC 9162 section 2.1 ---------------------------------------------------------------------------------------


def leaf_of(record: bytes) -> bytes:
    return sha256(b"\x00" + record)


def node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right)


class Tree:
    """A growing tree: the roots of its perfect subtrees, largest first, one for each 1-bit of its size."""

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        if len(peaks) != size.bit_count():
            raise Wrong(f"A tree of {size} entries has {size.bit_count()} peaks, not {len(peaks)}.")
        self.size = size
        self.peaks = list(peaks)

    def add(self, leaf: bytes) -> None:
        below = self.size
        while below & 1:
            leaf, below = node(self.peaks.pop(), leaf), below >> 1
        self.peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        if not self.peaks:
            return sha256(b"")
        found = self.peaks[-1]
        for peak in self.peaks[-2::-1]:
            found = node(peak, found)
        return found


def is_included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Section 2.1.3.2."""
    if not 0 <= index < size:
        return False
    at, last, found = index, size - 1, leaf
    for each in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node(each, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node(found, each)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def is_consistent(first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]) -> bool:
    """Section 2.1.4.2, of a tree that is not empty."""
    if not 0 < first <= second:
        return False
    if first == second:
        return not proof and first_root == second_root
    path = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    if not path:
        return False
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = path[0]
    for each in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = node(each, old), node(each, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node(new, each)
        at, last = at >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root


# signed notes and checkpoints: c2sp.org/signed-note, tlog-checkpoint, tlog-cosignature --------------------------------

_NAME = re.compile(r"[^\s+]+")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


class Key(NamedTuple):
    """Whose signature counts: `name+id+base64(type, public key)`."""

    name: str
    type: int
    public: bytes

    @classmethod
    def parse(cls, text: str) -> "Key":
        name, id_, encoded = [*text.strip().split("+", 2), "", ""][:3]
        try:
            data = from_base64(encoded)
        except Wrong:
            data = b""
        if not _NAME.fullmatch(name) or len(data) < 2 or data[0] not in TYPES or len(data) - 1 != TYPES[data[0]][1]:
            raise Misuse(f"{text[:60]!r} is not a key of a kind that is known here. It looks like name+hash+key.")
        key = cls(name, data[0], data[1:])
        if key.id.hex() != id_:
            raise Misuse(f"The key {text[:60]!r} does not match its own hash. Copy it again, whole.")
        return key

    @property
    def id(self) -> bytes:
        return sha256(self.name.encode() + b"\n" + bytes([self.type]) + self.public)[:4]

    @property
    def title(self) -> str:
        return f"{TYPES[self.type][0]} of {self.name}"


class Note(NamedTuple):
    """A text, ending in a newline, and its signatures: name, key id, the rest."""

    text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]


def parse_note(data: bytes | str) -> Note:
    try:
        whole = data if isinstance(data, str) else data.decode("utf-8")
        long = len(whole.encode("utf-8")) > MAX_NOTE_BYTES
    except UnicodeError:
        raise Wrong("A note is not UTF-8.") from None
    if long or _CONTROL.search(whole) or not whole.endswith("\n"):
        raise Wrong("A note is too long, holds control characters, or does not end with a newline.")
    text, blank, lines = whole.rpartition("\n\n")
    signatures = lines[:-1].split("\n")
    if not blank or not lines or len(signatures) > MAX_SIGNATURES:
        raise Wrong("A note has no signatures, or too many.")
    return Note(text + "\n", tuple(map(_signature, signatures)))


def _signature(line: str) -> tuple[str, bytes, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "\u2014" or not _NAME.fullmatch(parts[1]):
        raise Wrong("A signature line of a note is not `\u2014 name base64`.")
    data = from_base64(parts[2])
    if len(data) <= 4:
        raise Wrong("A signature in a note is empty.")
    return parts[1], data[:4], data[4:]


class Checkpoint(NamedTuple):
    """The log `origin` had `size` entries, and this root."""

    origin: str
    size: int
    root: bytes

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        lines = text.split("\n")
        if len(lines) != 4 or lines[3] or not lines[0]:
            raise Wrong("A checkpoint is not origin, size and root, each on a line.")
        found = cls(lines[0], number(lines[1]), hash_of(lines[2]))
        if found.size == 0 and found.root != sha256(b""):
            raise Wrong("A checkpoint of no entries has a root that the empty tree has not.")
        return found


class NotAble(Exception):
    """What was asked for needs something that is not here."""


def is_signed(key: Key, note: Note, signature: bytes) -> int | None:
    """Checks one signature; gives its time in seconds since 1970, if it has one. Raises Wrong, NotAble."""
    name, _, length = TYPES[key.type]
    if len(signature) != length:
        raise Wrong(f"A signature by {key.name} is not as long as one with {name} is.")
    when = None if key.type == ED25519 else struct.unpack(">Q", signature[:8])[0]
    if when is not None and when >= 1 << 63:
        raise Wrong(f"A signature by {key.name} has no time that could be.")
    try:
        if key.type == ED25519:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature, note.text.encode())
        elif key.type == COSIGNED_ED25519:
            Checkpoint.parse(note.text)
            message = f"cosignature/v1\ntime {when}\n{note.text}".encode()
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature[8:], message)
        else:
            message = cosigned_message(key.name, when or 0, Checkpoint.parse(note.text))
            _verify_ml_dsa(key.public, message, signature[8:])
    except (InvalidSignature, ValueError):
        raise Wrong(f"The {name} signature of {key.name} does not fit the note.") from None
    return when


def _verify_ml_dsa(public: bytes, message: bytes, signature: bytes) -> None:
    if MLDSA44PublicKey is None:
        raise NotAble("ML-DSA-44 needs the package `cryptography` 48 or newer")
    try:
        MLDSA44PublicKey.from_public_bytes(public).verify(signature, message)
    except UnsupportedAlgorithm:
        raise NotAble("ML-DSA-44 needs a `cryptography` that was built with a library that has it") from None


def cosigned_message(cosigner: str, when: int, checkpoint: Checkpoint) -> bytes:
    """What an ML-DSA-44 signature of a checkpoint signs (tlog-cosignature, `cosigned_message`)."""
    name, origin = cosigner.encode(), checkpoint.origin.encode()
    if len(name) > 255 or len(origin) > 255:
        raise Wrong("A name is longer than a cosignature can have it.")
    start_end = struct.pack(">QQ", 0, checkpoint.size)
    named = bytes([len(name)]) + name + struct.pack(">Q", when) + bytes([len(origin)]) + origin
    return b"subtree/v1\n\x00" + named + start_end + checkpoint.root


@dataclass(frozen=True)
class Trust:
    """Whom to believe: keys of the log (all of one name, one of them Ed25519), of witnesses, of stampers."""

    log: tuple[Key, ...]
    witnesses: tuple[Key, ...] = ()
    stampers: tuple["x509.Certificate", ...] = ()

    @property
    def origin(self) -> str:
        return self.log[0].name


def opened(data: bytes | str, trust: Trust, report: Report, what: str, *, whole: bool = True) -> Checkpoint:
    """The checkpoint in a note that the log signed: with every key that was given if `whole`, else with Ed25519 at
    least. Says who else signed it."""
    note = parse_note(data)
    checkpoint = Checkpoint.parse(note.text)
    _require_signed(note, trust, report, what, whole=whole)
    if checkpoint.origin != trust.origin:
        raise Wrong(f"{what} is of the log {checkpoint.origin!r}, not of {trust.origin!r}.")
    for key in trust.witnesses:
        for signature in _by(note, key):
            try:
                when = is_signed(key, note, signature)
            except NotAble as error:
                report.add("not checked", "witness", f"Of {what} the cosignature of {key.name}: {error}.")
                continue
            says = f"{what} was cosigned by {key.name} {f'at {shown_time(when)}' if when else 'at no stated time'}."
            report.holds("witness", says, time=when, key=key.id.hex())
    known = {(key.name, key.id) for key in (*trust.log, *trust.witnesses)}
    others = sorted({name for name, id_, _ in note.signatures if (name, id_) not in known})
    if others and whole:
        says = f"{what} has signatures of keys that were not given: {', '.join(others)}."
        report.add("passed over", "signatures", says)
    return checkpoint


def _require_signed(note: Note, trust: Trust, report: Report, what: str, *, whole: bool) -> None:
    for key in trust.log:
        found = _by(note, key)
        if not found and (whole or key.type == ED25519):
            raise Wrong(f"{what} is not signed with the key {key.title}.")
        for signature in found:
            try:
                is_signed(key, note, signature)
            except NotAble as error:
                report.add("not checked", "signature", f"Of {what} the signature by {key.title}: {error}.")


def _by(note: Note, key: Key) -> list[bytes]:
    return [signature for name, id_, signature in note.signatures if (name, id_) == (key.name, key.id)]


def shown_time(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):
        return f"{seconds} s after 1970"


# the log --------------------------------------------------------------------------------------------------------------


class Held(NamedTuple):
    """A checkpoint that somebody kept elsewhere."""

    size: int
    root: bytes
    where: str


class Entry(NamedTuple):
    leaf: bytes
    record: bytes
    #: The columns of a database: its position, and by what it is searched. None in an export: the record has them.
    columns: tuple[Any, ...] | None = None


class Signed(NamedTuple):
    """A checkpoint of the log's own, and where it stands."""

    where: str
    note: str


class Head(NamedTuple):
    """Where an export begins, and how many entries its log has (None: it does not say)."""

    start: int = 0
    peaks: tuple[bytes, ...] = ()
    size: int | None = None


Item = Entry | Signed

_LEAF, _RECORD, _CHECKPOINT = b'{"leaf":"', b'","record":', b'{"checkpoint":'
_LEAF_END = len(_LEAF) + 44
_RECORD_START = _LEAF_END + len(_RECORD)  # 64
_PRINTABLE = re.compile(rb"[\x20-\x7e]*")
EXPORT_FORM = "intramural-log/1"


def lines_of(file: Any) -> Iterator[tuple[int, bytes]]:
    """Lines without their newline, numbered from 1. None is longer than `MAX_LINE_BYTES`, however long the file is."""
    count = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        count += 1
        if len(line) > MAX_LINE_BYTES:
            raise Wrong(f"Line {count} is longer than any line of an export is.")
        if not line.endswith(b"\n"):
            raise Wrong(f"Line {count} is cut off: it does not end with a newline.")
        yield count, line[:-1]


def read_head(line: bytes, origin: str) -> Head:
    """The first line of an export."""
    what = "The first line"
    fields = parsed(line, what)
    if not isinstance(fields, dict) or set(fields) != {"export", "frontier", "origin", "size", "start"}:
        raise Wrong("The first line is not that of an export.")
    if canonical(fields).encode() != line or fields["export"] != EXPORT_FORM:
        raise Wrong(f"The first line is not that of an export of the form {EXPORT_FORM}.")
    if fields["origin"] != origin:
        raise Wrong("The export is of another log than the key.")
    start, size = member(fields, "start", int, what), member(fields, "size", int, what)
    peaks = member(fields, "frontier", list, what)
    if not 0 <= start <= size < 1 << 63 or len(peaks) > 64 or not all(isinstance(each, str) for each in peaks):
        raise Wrong("The first line has sizes that cannot be.")
    return Head(start, tuple(map(hash_of, peaks)), size)


def read_line(count: int, line: bytes) -> Item:
    """An entry or a checkpoint."""
    if line.startswith(_CHECKPOINT):
        fields = parsed(line, f"Line {count}")
        if set(fields) != {"checkpoint"} or canonical(fields).encode() != line:
            raise Wrong(f"Line {count} is not a checkpoint in the form that an export has.")
        return Signed(f"line {count}", member(fields, "checkpoint", str, f"Line {count}"))
    if not (line.startswith(_LEAF) and line[_LEAF_END:_RECORD_START] == _RECORD and line.endswith(b"}")):
        raise Wrong(f"Line {count} is neither an entry nor a checkpoint.")
    return Entry(hash_of(line[len(_LEAF) : _LEAF_END].decode("latin-1")), line[_RECORD_START:-1])


def check_entry(entry: Entry, position: int) -> None:
    """Whether an entry is in its place and agrees with itself."""
    if entry.columns is not None and entry.columns[0] != position:
        raise Wrong(f"Where entry {position} should be stands entry {entry.columns[0]}.")
    if not isinstance(entry.record, bytes) or leaf_of(entry.record) != entry.leaf:
        raise Wrong(f"The record of entry {position} does not have the hash that stands beside it.")
    if not _PRINTABLE.fullmatch(entry.record):
        raise Wrong(f"The record of entry {position} is not one line of printable ASCII.")
    record = parsed(entry.record, f"The record of entry {position}")
    if not isinstance(record, dict) or record.get("v") != 1 or type(record.get("position")) is not int:
        raise Wrong(f"The record of entry {position} has not the form of one.")
    if record["position"] != position:
        raise Wrong(f"Where entry {position} should be stands the record of entry {record['position']}.")
    if entry.columns is not None:
        actor = record.get("actor")
        id_ = actor.get("id") if isinstance(actor, dict) else None
        if entry.columns[1:] != (record.get("time_ms"), record.get("event"), id_, record.get("request_id")):
            raise Wrong(f"The columns by which entry {position} is searched differ from its record.")


class Walk:
    """One pass over a log, in order. Remembers peaks and what is held: memory does not grow with the log."""

    def __init__(self, head: Head, trust: Trust, held: Sequence[Held], report: Report) -> None:
        self.tree = Tree(head.start, head.peaks)
        self.start = self.proven = self._matched = head.start
        self.last: Signed | None = None
        self.compared = 0
        self._size = head.size
        self._trust = trust
        self._report = report
        self._due = sorted(each for each in held if each.size >= head.start)
        self._before = [each for each in held if each.size < head.start]

    def take(self, item: Item) -> None:
        if isinstance(item, Signed):
            try:
                self._checkpoint(item)
            except Wrong as error:
                raise error.at(self.proven, self.tree.size) from None
            return
        check_entry(item, self.tree.size)
        self._compare()  # with what is held of the entries before this one
        self.tree.add(item.leaf)
        self.last = None

    def _checkpoint(self, item: Signed) -> None:
        what = f"The checkpoint in {item.where}"
        if self.last is not None:
            raise Wrong(f"{what} follows another one.")
        checkpoint = opened(item.note, self._trust, self._report, what, whole=False)
        if checkpoint.size != self.tree.size:
            says = f"{what} is of {checkpoint.size} entries, and stands after {self.tree.size}."
            raise Wrong(says, first_wrong=self.tree.size if checkpoint.size > self.tree.size else None)
        if checkpoint.root != self.tree.root():
            raise Wrong(f"The entries do not make the root that was signed for {checkpoint.size} entries.")
        self.proven, self.last = checkpoint.size, item

    def _compare(self) -> None:
        while self._due and self._due[0].size == self.tree.size:
            held = self._due.pop(0)
            if held.root != self.tree.root():
                says = f"History was rewritten: {held.where} has another root for the first {held.size} entries."
                raise Wrong(says, first_wrong=min(self._matched, max(held.size - 1, 0)), before=held.size)
            self._matched = held.size
            self.compared += 1

    def end(self) -> None:
        """After the last item."""
        self._compare()
        size = self.tree.size
        if self._size is not None and size != self._size:
            raise Wrong(f"It should have {self._size} entries, and has {size}.", first_wrong=min(size, self._size))
        if self.proven != size:
            raise Wrong("No checkpoint that this log signed covers it.", first_wrong=self.proven, before=size)
        if self._due:
            held = self._due[0]
            raise Wrong(f"It ends after {size} entries, but {held.where} covers {held.size}.", first_wrong=size)
        for held in self._before:
            says = f"{held.where} covers {held.size} entries; the export begins with entry {self.start}."
            self._report.add("not checked", "held", says)


def walk_all(walk: Walk, items: Iterable[Item]) -> None:
    try:
        for item in items:
            walk.take(item)
    except Wrong as error:
        raise error.at(walk.tree.size) from None
    walk.end()


def tell(walk: Walk, trust: Trust, report: Report) -> None:
    count, size = walk.tree.size - walk.start, walk.tree.size
    span = f"all its {count} entries" if walk.start == 0 else f"entries {walk.start} to {size - 1}"
    says = f"The log {trust.origin} holds {span} as they were written, under a checkpoint of {size}."
    report.holds("log", says, start=walk.start, size=size)
    if walk.compared:
        says = f"Checkpoints that were kept elsewhere fit it: {walk.compared}."
        report.holds("held", says, count=walk.compared)


def check_export(file: Any, trust: Trust, held: Sequence[Held], report: Report) -> None:
    """An export of the form `intramural-log/1`, from a file opened for bytes. Its last checkpoint must have a signature
    of each key that was given."""
    try:
        lines = lines_of(file)
        _, first = next(lines, (1, b""))
        walk = Walk(read_head(first, trust.origin), trust, held, report)
    except Wrong as error:
        raise error.at(0) from None
    walk_all(walk, (read_line(count, line) for count, line in lines))
    if walk.last is None:
        raise Wrong("It does not end with a checkpoint.", first_wrong=walk.proven)
    try:
        opened(walk.last.note, trust, report, "The last checkpoint")
    except Wrong as error:
        raise error.at(walk.start, walk.tree.size) from None
    tell(walk, trust, report)


def check_database(path: Path, trust: Trust, held: Sequence[Held], report: Report) -> None:
    """A copy of the service's SQLite database: entries and checkpoints as they are stored, under the Ed25519 key."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error as error:
        raise Wrong(f"The database cannot be read: {error}.", first_wrong=0) from None
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    walk, items = Walk(Head(), Trust(trust.log[:1]), held, report), stored_items(connection)
    try:
        walk_all(walk, items)
    except sqlite3.Error as error:
        raise Wrong(f"The database cannot be read further: {error}.", first_wrong=walk.tree.size) from None
    finally:
        items.close()
        connection.close()
    if walk.last is None:
        raise Wrong("It has no checkpoint.", first_wrong=0)
    tell(walk, trust, report)


def stored_items(connection: "sqlite3.Connection") -> Generator[Item, None, None]:
    """Entries in order, each checkpoint after the last entry that it covers."""
    connection.execute("PRAGMA trusted_schema = OFF")
    kinds = connection.execute("SELECT type FROM sqlite_schema WHERE name IN ('audit_entries', 'audit_checkpoints')")
    if kinds.fetchall() != [("table",), ("table",)]:  # a view could be made to compute for ever
        raise Wrong("The database has not the two tables of a log.")
    columns = "position, leaf_hash, record, time_ms, event, actor_id, request_id"
    with closing(connection.cursor()) as checkpoints, closing(connection.cursor()) as entries:
        checkpoints.execute("SELECT size, note FROM audit_checkpoints ORDER BY size")
        entries.execute(f"SELECT {columns} FROM audit_entries ORDER BY position")  # noqa: S608 — names of ours
        count = 0
        for size, note in checkpoints:
            if type(size) is not int:
                raise Wrong("A checkpoint in the database has no size.")
            while count < size and (row := entries.fetchone()) is not None:
                yield Entry(row[1], row[2], (row[0], *row[3:]))
                count += 1
            yield Signed(f"the row of size {size}", str(note))
        for row in entries:
            yield Entry(row[1], row[2], (row[0], *row[3:]))


# proofs ---------------------------------------------------------------------------------------------------------------


def split_proof(data: bytes, what: str) -> tuple[list[str], str]:
    """Lines before the first empty one, and the note after it."""
    try:
        text = data.decode("utf-8")
    except UnicodeError:
        raise Wrong(f"{what} is not UTF-8.") from None
    head, blank, note = text.partition("\n\n")
    lines = head.split("\n")
    if not blank or len(lines) > MAX_PROOF_HASHES + 3:
        raise Wrong(f"{what} is not some lines, an empty line and a checkpoint.")
    return lines, note


def check_proof(data: bytes, trust: Trust, report: Report) -> Any:
    """One entry: a c2sp.org/tlog-proof@v1 whose extra data is the record. Gives the record."""
    lines, note = split_proof(data, "The proof")
    if lines[0] != "c2sp.org/tlog-proof@v1" or len(lines) < 3 or not lines[1].startswith("extra "):
        raise Wrong("That is not a c2sp.org/tlog-proof@v1 with the record as its extra data.")
    record = from_base64(lines[1].removeprefix("extra "))
    if not lines[2].startswith("index "):
        raise Wrong("The proof does not say which entry it is of.")
    index = number(lines[2].removeprefix("index "))
    checkpoint = opened(note, trust, report, "The checkpoint")
    check_included(index, record, [hash_of(each) for each in lines[3:]], checkpoint)
    found = parsed(record, "The record")
    says = f"Entry {index} ({found.get('event')}) is in the log of {checkpoint.size} entries."
    report.holds("entry", says, position=index)
    return found


def check_included(index: int, record: bytes, proof: Sequence[bytes], checkpoint: Checkpoint) -> None:
    leaf = leaf_of(record)
    if not is_included(leaf, index, checkpoint.size, proof, checkpoint.root):
        says = f"The proof of entry {index} does not lead to the checkpoint of {checkpoint.size} entries."
        raise Wrong(says, first_wrong=index)
    try:
        check_entry(Entry(leaf, record), index)
    except Wrong as error:
        raise error.at(index) from None


def check_consistency(data: bytes, older: bytes, trust: Trust, report: Report) -> None:
    """That the log of an older checkpoint is the beginning of that of a newer one: the body of `add-checkpoint` in
    c2sp.org/tlog-witness."""
    lines, note = split_proof(data, "The proof")
    if not lines[0].startswith("old "):
        raise Wrong("The proof does not say from which size it leads.")
    old = opened(older, trust, report, "The older checkpoint", whole=False)
    new = opened(note, trust, report, "The newer checkpoint")
    if number(lines[0].removeprefix("old ")) != old.size:
        raise Wrong("The proof leads from another size than that of the older checkpoint.")
    proof = [hash_of(each) for each in lines[1:]]
    is_beginning = is_consistent(old.size, old.root, new.size, new.root, proof) if old.size else not proof
    if not is_beginning:
        says = f"The log of {old.size} entries is not shown to be the beginning of that of {new.size}."
        raise Wrong(says, first_wrong=0, before=old.size)
    report.holds("consistency", f"The first {old.size} entries are the same in the log of {new.size} entries.")


# statements -----------------------------------------------------------------------------------------------------------


def check_statement(data: bytes, trust: Trust, report: Report, kind: str | None) -> Any:
    """A signed JSON statement: an object with `object` (its kind), `statement` and `signature`, or the note alone."""
    whole = parsed(data, "The statement") if data[:1] == b"{" else None
    note = data if whole is None else member(whole, "signature", str, "The statement")
    signed_kind, statement = signed_statement(note, trust)
    if kind is not None and signed_kind != kind:
        raise Wrong(f"What was signed is a {signed_kind}, not a {kind}.")
    if whole is not None:
        if whole.get("object", signed_kind) != signed_kind:
            raise Wrong("What it calls itself is not what was signed.")
        require_same(member(whole, "statement", dict, "The statement"), statement)
    says = f"{trust.origin} signed this {signed_kind}: {canonical(statement)[:400]}"
    report.holds("statement", says, kind=signed_kind)
    return statement


def signed_statement(note: bytes | str, trust: Trust) -> tuple[str, dict[str, Any]]:
    """Kind and content of a note `name/kind`, one line of canonical JSON, signed with the log's Ed25519 key."""
    read = parse_note(note)
    _require_signed(read, Trust(trust.log[:1]), Report(), "The statement", whole=True)
    first, _, line = read.text.removesuffix("\n").partition("\n")
    kind = first.removeprefix(f"{trust.origin}/")
    if kind == first or not re.fullmatch(r"[a-z0-9-]+", kind) or "\n" in line:
        raise Wrong("What was signed is not a statement of this log.")
    statement = parsed(line, "What was signed")
    if not isinstance(statement, dict) or canonical(statement) != line:
        raise Wrong("What was signed is not canonical JSON.")
    return kind, statement


def require_same(shown: Any, signed: Any) -> None:
    if canonical(shown) != canonical(signed):
        raise Wrong("The statement to be read is not the one that was signed.")


# attestations ---------------------------------------------------------------------------------------------------------

_ATTESTATION = {"object", "statement", "signature", "checkpoint", "public_keys", "recorded", "sections"}
_ATTESTED = {
    "v", "id", "time_ms", "nonce", "scheduled", "product", "log", "colour", "findings", "sections",
}  # fmt: skip
COLOURS = ("green", "amber", "red")
#: A clock that is ahead by more is wrong, or the statement is.
MAX_AHEAD_S = 600


def check_attestation(
    data: bytes, trust: Trust, report: Report, nonce: str | None, max_age_s: float | None, now_s: float
) -> None:
    """An account of an installation: that all of it hangs on the signature, and is of the log and the moment."""
    whole = parsed(data, "The attestation")
    if not isinstance(whole, dict) or set(whole) != _ATTESTATION or whole["object"] != "attestation":
        raise Wrong("That is not an attestation.")
    if canonical(whole).encode() + b"\n" != data:
        raise Wrong("The attestation is not canonical JSON on one line: it is not the file that was handed out.")
    kind, said = signed_statement(member(whole, "signature", str, "The attestation"), trust)
    if kind != "attestation":
        raise Wrong(f"What was signed is a {kind}, not an attestation.")
    require_same(whole["statement"], said)
    _check_attested(said)
    known = [shown_key(key) for key in trust.log]
    keys = member(whole, "public_keys", list, "The attestation")
    if keys[:1] != known[:1] or not set(known) <= set(map(str, keys)):
        raise Wrong("The attestation names other keys than those you gave.")
    report.holds("attestation", f"{trust.origin} signed this account of {said['product']}.", id=said["id"])
    _check_log_of(whole, said, trust, report)
    _check_sections(whole["sections"], said["sections"], report)
    _check_moment(said, report, nonce, max_age_s, now_s)
    for each in said["findings"]:
        report.add("told", each["code"], f"{each['colour']}: {each['says']}", colour=each["colour"])


def _check_attested(said: dict[str, Any]) -> None:
    """Its form, and that it says of itself what its findings come to."""
    what = "The attestation"
    if set(said) != _ATTESTED or said["v"] != 1 or type(said["v"]) is not int:
        raise Wrong("The attestation is of another form than is known here.")
    for name, type_ in (("id", str), ("time_ms", int), ("scheduled", bool), ("product", str), ("colour", str)):
        member(said, name, type_, what)
    if said["nonce"] is not None:
        member(said, "nonce", str, what)
    if not 0 <= said["time_ms"] < 1 << 53:
        raise Wrong("The attestation was made at no time that could be.")
    findings = member(said, "findings", list, what)
    for each in findings:
        if not isinstance(each, dict) or set(each) != {"code", "topic", "colour", "says"}:
            raise Wrong("A finding of the attestation has not the form of one.")
        if not all(isinstance(part, str) for part in each.values()) or each["colour"] not in COLOURS:
            raise Wrong("A finding of the attestation has not the form of one.")
    worst = max((COLOURS.index(each["colour"]) for each in findings), default=2)
    if said["colour"] != COLOURS[worst]:
        raise Wrong("The attestation calls itself another colour than the worst of its findings.")


def _check_log_of(whole: dict[str, Any], said: dict[str, Any], trust: Trust, report: Report) -> None:
    """Of which log it is, as of when; and that the log then took it in."""
    checkpoint = opened(member(whole, "checkpoint", str, "The attestation"), trust, report, "Its checkpoint")
    log = {"size": checkpoint.size, "root": to_base64(checkpoint.root)}
    if canonical(said["log"]) != canonical(log):
        raise Wrong("The checkpoint is of another log, or of another moment, than the attestation says.")
    says = f"It is of the log as it had {checkpoint.size} entries."
    report.holds("checkpoint", says, size=checkpoint.size, root=log["root"])
    recorded = member(whole, "recorded", str, "The attestation").encode("utf-8", "surrogatepass")
    record = check_proof(recorded, trust, report)
    facts = record.get("facts")
    line = f"sha256:{sha256(canonical(said).encode()).hex()}"
    if record.get("event") != "attestation.made" or not isinstance(facts, dict) or facts.get("statement") != line:
        raise Wrong("The log's entry that comes with it is of something else.")
    if member(record, "position", int, "The log's entry") < checkpoint.size:
        raise Wrong("The log is said to have taken it in before it was made.")


def _check_sections(sections: Any, hashed: Any, report: Report) -> None:
    """Each section is the one that was signed, or was left out."""
    if not isinstance(sections, dict) or not isinstance(hashed, dict) or not set(sections) <= set(hashed):
        raise Wrong("The attestation has sections that nobody signed.")
    for name in sorted(hashed):
        if name not in sections:
            report.add("not checked", "section", f"The section {name!r} was left out of this copy.")
        elif sha256(canonical(sections[name]).encode()).hex() != hashed[name]:
            raise Wrong(f"The section {name!r} is not the one that was signed.")
    if sections:
        report.holds("sections", f"What it was made from is as it was signed: {', '.join(sorted(sections))}.")


def _check_moment(
    said: dict[str, Any], report: Report, nonce: str | None, max_age_s: float | None, now_s: float
) -> None:
    """That it was made for whoever asked, and lately."""
    made = shown_time(said["time_ms"] // 1000)
    if nonce is not None:
        if said["nonce"] != nonce:
            raise Wrong("The attestation was made with another nonce, or none.")
        report.holds("nonce", "It was made after somebody chose your nonce.")
    elif said["nonce"] is not None:
        report.add("passed over", "nonce", "It was made with a nonce; --nonce says which one you chose.")
    age_s = now_s - said["time_ms"] / 1000
    if max_age_s is None:
        report.add("passed over", "age", f"It says that it was made at {made}; --max-age says how old it may be.")
    elif -MAX_AHEAD_S <= age_s <= max_age_s:
        report.holds("age", f"It says that it was made at {made}: lately enough.")
    else:
        raise Wrong(f"It says that it was made at {made}: not within the time you allow, by this machine's clock.")


# receipts -------------------------------------------------------------------------------------------------------------

_ASKED = ("chat.asked", "embedding.asked", "rerank.asked")
_ANSWERED = ("chat.answered", "embedding.answered", "rerank.answered")
_RECEIPT = {"object", "id", "statement", "signature", "entries", "checkpoint", "public_key"}


def check_receipt(data: bytes, trust: Trust, report: Report, texts: dict[str, bytes]) -> None:
    """The receipt of one answer: what its two entries say, that the log holds them, and what the texts were."""
    receipt = parsed(data, "The receipt")
    if not isinstance(receipt, dict) or receipt.keys() - {"salts"} != _RECEIPT or receipt["object"] != "receipt":
        raise Wrong("That is not a receipt.")
    if receipt["public_key"] != shown_key(trust.log[0]):
        raise Wrong("The receipt names another key than the one you gave.")
    checkpoint = opened(member(receipt, "checkpoint", str, "The receipt"), trust, report, "The receipt's checkpoint")
    kind, statement = signed_statement(member(receipt, "signature", str, "The receipt"), trust)
    if kind != "receipt":
        raise Wrong(f"What was signed is a {kind}, not a receipt.")
    require_same(receipt["statement"], statement)
    entries = member(receipt, "entries", list, "The receipt")
    if len(entries) != 2:
        raise Wrong("It does not hold a question and its answer.")
    records = [receipt_entry(each, checkpoint) for each in entries]
    if canonical(statement_of(*records)) != canonical(statement) or receipt["id"] != statement["request_id"]:
        raise Wrong("What was signed is not what the log's entries say.")
    positions = [each["position"] for each in records]
    says = f"The answer {receipt['id']} is entries {positions[0]} and {positions[1]} of the log of {checkpoint.size}."
    report.holds("receipt", says, id=receipt["id"], positions=positions, checkpoint=checkpoint.size)
    check_texts(texts, statement["texts"], receipt.get("salts", {}), report)


def receipt_entry(entry: Any, checkpoint: Checkpoint) -> dict[str, Any]:
    what = "An entry of the receipt"
    if not isinstance(entry, dict) or set(entry) != {"position", "leaf_hash", "record", "proof"}:
        raise Wrong(f"{what} has not the form of one.")
    index, proof = member(entry, "position", int, what), member(entry, "proof", list, what)
    if len(proof) > MAX_PROOF_HASHES or not all(isinstance(each, str) for each in proof):
        raise Wrong(f"{what} has no proof that could be one.", first_wrong=index)
    try:
        record = member(entry, "record", str, what).encode("ascii")
    except UnicodeError:
        raise Wrong(f"{what} is not ASCII.", first_wrong=index) from None
    if leaf_of(record).hex() != entry["leaf_hash"]:
        raise Wrong(f"{what} does not have the hash that stands beside it.", first_wrong=index)
    check_included(index, record, [hash_of(each) for each in proof], checkpoint)
    found: dict[str, Any] = parsed(record, what)
    return found


def statement_of(first: dict[str, Any], last: dict[str, Any]) -> dict[str, Any]:
    """What a receipt states, from the records of a question and its answer (docs/formats.md has the table)."""
    if first.get("event") not in _ASKED or last.get("event") not in _ANSWERED:
        raise Wrong("It does not hold a question and its answer.")
    if first.get("request_id") != last.get("request_id"):
        raise Wrong("Its entries are of different requests.")
    try:
        facts, end = first["facts"], last["facts"]
        about, sampling = facts.get("model") or {}, facts.get("sampling", {})
        told = ("format", "quantisation", "architecture", "template", "files", "source", "trust")
        some = ("theirs", "confinement", "options", "adapters")
        both = [(each, each.get("texts", {})) for each in (first, last)]
        return {
            "request_id": first["request_id"],
            "actor": {name: first["actor"][name] for name in ("kind", "id", "role", "credential")},
            "dialect": facts.get("dialect"),
            "operation": facts.get("operation"),
            "model": {
                "name": first["target"].removeprefix("model:"),
                "digest": facts.get("weights"),
                **{name: about.get(name) for name in told},
                **{name: about[name] for name in some if name in about},
            },
            "engine": about.get("engine"),
            "policy": {"action": "model.use", "rule": facts.get("rule")},
            "sampling": sampling,
            "seed": sampling.get("seed"),
            "seed_from": facts.get("seed_from"),
            "deterministic": facts.get("deterministic", False),
            "outcome": last["outcome"],
            "reasons": end.get("reasons", []),
            "error": end.get("error"),
            "tokens": {name: end.get(f"{name}_tokens") for name in ("prompt", "completion", "cached", "reasoning")},
            "times_ms": {
                "asked": first["time_ms"],
                "answered": last["time_ms"],
                **{name: end.get(f"{name}_ms") for name in ("waited", "first", "prompt", "completion", "took")},
            },
            "texts": {name: text for _, texts in both for name, text in texts.items() if isinstance(text, dict)},
            "entries": [
                {"position": each["position"], "event": each["event"], "nonce": texts.get("nonce")}
                for each, texts in both
            ],
        }
    except (KeyError, AttributeError, TypeError):
        raise Wrong("An entry of the receipt has not the form of one.") from None


def check_texts(texts: dict[str, bytes], committed: Any, salts: Any, report: Report) -> None:
    for name, text in texts.items():
        if not isinstance(salts, dict) or not isinstance(salts.get(name), str):
            raise Wrong(f"The receipt has no salt with which the {name} could be opened.")
        if not re.fullmatch(r"[0-9a-f]{64}", salts[name]):
            raise Wrong(f"The salt of the {name} is not 32 bytes.")
        found = "sha256:" + hashlib.sha256(bytes.fromhex(salts[name]) + text).hexdigest()
        held = committed.get(name) if isinstance(committed, dict) else None
        if not isinstance(held, dict) or held.get("commitment") != found or held.get("bytes") != len(text):
            raise Wrong(f"The {name} is another text than the one that was recorded.")
        report.holds("text", f"The {name} is the text that was recorded.")


def shown_key(key: Key) -> str:
    return f"{key.name}+{key.id.hex()}+{to_base64(bytes([key.type]) + key.public)}"


# signatures of models: the OpenSSF Model Signing format ---------------------------------------------------------------

_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD = "application/vnd.in-toto+json"
_CURVES: dict[str, Callable[[], hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}


def check_model(data: bytes, files: Sequence[Path], key_files: Sequence[Path], report: Report) -> None:
    """That one of the keys signed exactly these files: a DSSE envelope around an in-toto statement."""
    bundle = parsed(data, "The signature")
    if member(bundle, "mediaType", str, "The signature") != _BUNDLE:
        raise Wrong("The signature is not in the OpenSSF Model Signing format.")
    material = member(bundle, "verificationMaterial", dict, "The signature")
    envelope = member(bundle, "dsseEnvelope", dict, "The signature")
    signatures = member(envelope, "signatures", list, "The signature")
    if member(envelope, "payloadType", str, "The signature") != _PAYLOAD or len(signatures) != 1:
        raise Wrong("The signature does not hold one statement with one signature.")
    payload = from_base64(member(envelope, "payload", str, "The signature"))
    signature = from_base64(member(signatures[0], "sig", str, "The signature"))
    signed = signed_files(payload)
    if "publicKey" not in material:
        says = "It was signed with a certificate or by Sigstore; that is checked by `model_signing verify`, not here."
        report.add("not checked", "signer", says)
    else:
        message = b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD), _PAYLOAD.encode(), len(payload), payload)
        signer = next((key for key in key_files if _is_signer(key, message, signature)), None)
        if signer is None:
            raise Wrong("None of the keys that you gave signed it.")
        report.holds("signer", f"The key in {signer.name} signed {len(signed)} files.")
    here = files_here(files)
    if list(signed) == ["."] and len(here) == 1:  # a file that was signed by itself has no name in its signature
        signed = {next(iter(here)): signed["."]}
    for name in sorted(signed.keys() | here.keys()):
        if name not in here:
            raise Wrong(f"{name} was signed and is not here.")
        if name not in signed:
            raise Wrong(f"{name} is here and was not signed.")
        if file_digest(here[name]) != signed[name]:
            raise Wrong(f"{name} is not the file that was signed.")
    report.holds("files", f"The {len(here)} files are those that the signature lists.", files=sorted(here))


def _is_signer(file: Path, message: bytes, signature: bytes) -> bool:
    try:
        key = serialization.load_pem_public_key(file.read_bytes())
    except (ValueError, UnsupportedAlgorithm):
        raise Misuse(f"{file} holds no public key.") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise Misuse(f"{file} holds no key on P-256, P-384 or P-521.")
    try:
        key.verify(signature, message, ec.ECDSA(_CURVES[key.curve.name]()))
    except InvalidSignature:
        return False
    return True


def signed_files(payload: bytes) -> dict[str, str]:
    """Names and SHA-256 of what a statement lists, once it is in order."""
    statement = parsed(payload, "What was signed")
    kinds = (statement.get("_type"), statement.get("predicateType")) if isinstance(statement, dict) else ()
    if kinds != ("https://in-toto.io/Statement/v1", "https://model_signing/signature/v1.0"):
        raise Wrong("What was signed is not a list of a model's files.")
    predicate = member(statement, "predicate", dict, "What was signed")
    how = member(predicate, "serialization", dict, "What was signed")
    if (how.get("method"), how.get("hash_type")) != ("files", "sha256"):
        raise Wrong("The files were not signed by their SHA-256.")
    found: dict[str, str] = {}
    for each in member(predicate, "resources", list, "What was signed"):
        name, digest = member(each, "name", str, "A file"), member(each, "digest", str, "A file")
        if name in found or each.get("algorithm") != "sha256" or not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise Wrong("A file is listed twice, or not by its SHA-256.")
        found[name] = digest
    root = sha256(b"".join(map(bytes.fromhex, found.values()))).hex()
    subject = member(statement, "subject", list, "What was signed")
    if not found or len(subject) != 1 or member(subject[0], "digest", dict, "What was signed") != {"sha256": root}:
        raise Wrong("The list of files that was signed does not agree with itself.")
    return found


def files_here(paths: Sequence[Path]) -> dict[str, Path]:
    """Files by the names that a signature has for them: in a folder the path from there, else the bare name."""
    found: dict[str, Path] = {}
    for path in paths:
        inside = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
        for each in inside:
            name = each.relative_to(path).as_posix() if path.is_dir() else each.name
            if name in found:
                raise Misuse(f"Two files are called {name}.")
            found[name] = each
    return found


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# time stamps: RFC 3161, in the CMS of RFC 5652 ------------------------------------------------------------------------


class Der(NamedTuple):
    """One value: its tag, its content, and itself whole."""

    tag: int
    content: bytes
    whole: bytes

    def parts(self, *tags: int) -> list["Der"]:
        """What is inside; the first ones must have these tags (0: any)."""
        found, rest = [], self.content
        while rest:
            each = read_der(rest)
            found.append(each)
            rest = rest[len(each.whole) :]
        if len(found) < len(tags) or any(tag and tag != each.tag for tag, each in zip(tags, found)):  # noqa: B905
            raise Wrong("The time stamp is malformed.")
        return found


def read_der(data: bytes) -> Der:
    """The value with which `data` begins: one-byte tags, definite lengths in their shortest form."""
    if len(data) < 2 or data[0] & 0x1F == 0x1F:
        raise Wrong("The time stamp is malformed.")
    length, head = data[1], 2
    if length & 0x80:
        count = length & 0x7F
        length, head = int.from_bytes(data[2 : 2 + count], "big"), 2 + count
        if not 1 <= count <= 4 or length < 128 or data[2:3] == b"\x00":
            raise Wrong("The time stamp is malformed.")
    if len(data) < head + length:
        raise Wrong("The time stamp is cut off.")
    return Der(data[0], data[head : head + length], data[: head + length])


_SEQUENCE, _SET, _INTEGER, _OCTETS, _OID, _TIME, _ZERO = 0x30, 0x31, 0x02, 0x04, 0x06, 0x18, 0xA0


def _oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    out = bytearray()
    for each in (first * 40 + second, *rest):
        out += bytes([*[0x80 | each >> shift & 0x7F for shift in (21, 14, 7) if each >> shift], each & 0x7F])
    return bytes(out)


_SIGNED_DATA, _TST_INFO = _oid("1.2.840.113549.1.7.2"), _oid("1.2.840.113549.1.9.16.1.4")
_CONTENT_TYPE, _MESSAGE_DIGEST = _oid("1.2.840.113549.1.9.3"), _oid("1.2.840.113549.1.9.4")
_SIGNING_CERTIFICATE_V2 = _oid("1.2.840.113549.1.9.16.2.47")
_SIGNING_CERTIFICATE = _oid("1.2.840.113549.1.9.16.2.12")
_HASHES: dict[bytes, Callable[[], hashes.HashAlgorithm]] = {
    _oid("2.16.840.1.101.3.4.2.1"): hashes.SHA256,
    _oid("2.16.840.1.101.3.4.2.2"): hashes.SHA384,
    _oid("2.16.840.1.101.3.4.2.3"): hashes.SHA512,
}


def check_stamp(response: bytes, stamped: bytes, roots: Sequence["x509.Certificate"]) -> datetime:
    """When `stamped` existed, as a time-stamping authority under one of `roots` says. Raises Wrong."""
    if len(response) > MAX_STAMP_BYTES or len(read_der(response).whole) != len(response):
        raise Wrong("The time stamp is longer than one is.")
    status, token = read_der(response).parts(_SEQUENCE, _SEQUENCE)[:2]
    if status.parts(_INTEGER)[0].content not in (b"\x00", b"\x01"):
        raise Wrong("The time-stamping authority refused.")
    kind, content = token.parts(_OID, _ZERO)[:2]
    if kind.content != _SIGNED_DATA:
        raise Wrong("The time stamp is not signed.")
    _, _, encapsulated, *more = content.parts(_SEQUENCE)[0].parts(_INTEGER, _SET, _SEQUENCE)
    kind, wrapped = encapsulated.parts(_OID, _ZERO)[:2]
    info = wrapped.parts(_OCTETS)[0].content
    if kind.content != _TST_INFO:
        raise Wrong("What was signed is not a time stamp.")
    signers = [each for each in more if each.tag == _SET]
    if len(signers) != 1 or len(signers[0].parts()) != 1:
        raise Wrong("The time stamp has not one signer.")
    certificates = _certificates([each for each in more if each.tag == _ZERO])
    when = _stamp_time(info, stamped)
    signer = _stamp_signer(signers[0].parts(_SEQUENCE)[0], info, certificates)
    _require_stamper(signer, [*certificates, *roots], roots, when)
    return when


def _certificates(sets: Sequence[Der]) -> list["x509.Certificate"]:
    encoded = [each.whole for every in sets for each in every.parts() if each.tag == _SEQUENCE]
    if len(encoded) > MAX_CERTIFICATES:
        raise Wrong("The time stamp holds too many certificates.")
    try:
        return [x509.load_der_x509_certificate(each) for each in encoded]
    except (ValueError, x509.InvalidVersion):
        raise Wrong("The time stamp holds a certificate that cannot be read.") from None


def _stamp_time(info: bytes, stamped: bytes) -> datetime:
    _, _, imprint, _, when = read_der(info).parts(_INTEGER, _OID, _SEQUENCE, _INTEGER, _TIME)[:5]
    algorithm, digest = imprint.parts(_SEQUENCE, _OCTETS)[:2]
    hash_ = _HASHES.get(algorithm.parts(_OID)[0].content)
    if hash_ is None or digest.content != _digest(hash_(), stamped):
        raise Wrong("The time stamp is of something else.")
    try:
        return datetime.strptime(when.content.decode("ascii")[:14] + "Z", "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except (ValueError, UnicodeError):
        raise Wrong("The time stamp holds no time.") from None


def _stamp_signer(info: Der, signed: bytes, certificates: Sequence["x509.Certificate"]) -> "x509.Certificate":
    """Who made the signature, of those whose certificates are there."""
    _, _, algorithm, attributes, _, signature = info.parts(_INTEGER, 0, _SEQUENCE, _ZERO, _SEQUENCE, _OCTETS)[:6]
    hash_ = _HASHES.get(algorithm.parts(_OID)[0].content)
    if hash_ is None:
        raise Wrong("The time stamp is signed with a hash that is not known here.")
    said: dict[bytes, Der] = {}
    for each in attributes.parts():
        name, values = each.parts(_OID, _SET)[:2]
        if name.content in said or len(values.parts()) != 1:
            raise Wrong("The time stamp says something twice.")
        said[name.content] = values.parts()[0]
    digest, kind = said.get(_MESSAGE_DIGEST), said.get(_CONTENT_TYPE)
    if digest is None or digest.content != _digest(hash_(), signed) or kind is None or kind.content != _TST_INFO:
        raise Wrong("The time stamp was changed after it was signed.")
    message = b"\x31" + attributes.whole[1:]  # what is signed is the SET, not the implicit tag
    for certificate in certificates:
        if _names(said, certificate) and _verifies(certificate.public_key(), signature.content, message, hash_()):
            return certificate
    raise Wrong("The signature of the time stamp does not fit.")


def _names(said: dict[bytes, Der], certificate: "x509.Certificate") -> bool:
    """Whether the signature names this certificate as its own (RFC 5035; in the older form RFC 2634)."""
    der = certificate.public_bytes(serialization.Encoding.DER)
    if (value := said.get(_SIGNING_CERTIFICATE_V2)) is not None:
        parts = value.parts(_SEQUENCE)[0].parts(_SEQUENCE)[0].parts()
        hash_: Callable[[], hashes.HashAlgorithm] | None = hashes.SHA256
        if parts and parts[0].tag == _SEQUENCE:
            hash_ = _HASHES.get(parts.pop(0).parts(_OID)[0].content)
        return hash_ is not None and bool(parts) and parts[0].content == _digest(hash_(), der)
    if (value := said.get(_SIGNING_CERTIFICATE)) is not None:
        parts = value.parts(_SEQUENCE)[0].parts(_SEQUENCE)[0].parts(_OCTETS)
        return parts[0].content == hashlib.sha1(der).digest()  # noqa: S324 — what RFC 2634 has
    return False


def _verifies(key: Any, signature: bytes, message: bytes, hash_: hashes.HashAlgorithm) -> bool:
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, padding.PKCS1v15(), hash_)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(hash_))
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _require_stamper(
    signer: "x509.Certificate", known: Sequence["x509.Certificate"], roots: Sequence["x509.Certificate"], when: datetime
) -> None:
    """The signer may stamp, and a chain of authorities that were valid at the time leads to a root."""
    try:
        use = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        is_stamper = use.critical and list(use.value) == [x509.oid.ExtendedKeyUsageOID.TIME_STAMPING]
    except (x509.ExtensionNotFound, ValueError):
        is_stamper = False
    if not is_stamper:
        raise Wrong("Who signed the time stamp is not certified to do so.")
    at = signer
    for _ in range(8):
        if not at.not_valid_before_utc <= when <= at.not_valid_after_utc:
            raise Wrong("A certificate above the time stamp was not valid then.")
        if at in roots:
            return
        above = next((each for each in known if each != at and _is_issuer(each, at)), None)
        if above is None:
            break
        at = above
    raise Wrong("Nobody whom you named vouches for the time stamp.")


def _is_issuer(issuer: "x509.Certificate", of: "x509.Certificate") -> bool:
    try:
        of.verify_directly_issued_by(issuer)
        return bool(issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False


def _digest(hash_: hashes.HashAlgorithm, data: bytes) -> bytes:
    return hashlib.new(hash_.name, data).digest()


# files and the command line -------------------------------------------------------------------------------------------


def read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Misuse(f"{path} cannot be read: {error.strerror}.") from None
    if len(data) > MAX_FILE_BYTES:
        raise Wrong(f"{path.name} is larger than any file of its kind.")
    return data


def held_in(paths: Sequence[Path], trust: Trust, report: Report) -> list[Held]:
    """What was kept elsewhere: files with a checkpoint, or folders of them (`*.txt`), a time stamp beside (`*.tsr`)."""
    files = [each for path in paths for each in (sorted(path.glob("*.txt")) if path.is_dir() else [path])]
    if len(files) > MAX_HELD or (paths and not files):
        raise Misuse("There is no checkpoint in what is held, or too many.")
    found = []
    for path in files:
        note = read(path)
        try:
            checkpoint = opened(note, trust, report, path.name, whole=False)
        except Wrong as error:
            raise Wrong(f"{path.name} is of no use: {error}") from None
        found.append(Held(checkpoint.size, checkpoint.root, path.name))
        stamp = path.with_suffix(".tsr")
        if stamp.exists():
            _stamped(stamp, note, trust, report)
    return found


def _stamped(stamp: Path, note: bytes, trust: Trust, report: Report) -> None:
    if not trust.stampers:
        report.add("passed over", "stamp", f"{stamp.name} is a time stamp; --stamp-root says whose are believed.")
        return
    when = check_stamp(read(stamp), note, trust.stampers)
    says = f"{stamp.name}: a time-stamping authority saw this checkpoint at {when:%Y-%m-%d %H:%M:%S} UTC."
    report.holds("stamp", says, time=int(when.timestamp()))


def trust_of(given: argparse.Namespace) -> Trust:
    keys = sorted((Key.parse(each) for each in key_lines(given.key)), key=lambda key: key.type)
    if not keys or keys[0].type != ED25519 or len({key.name for key in keys}) != 1:
        raise Misuse("Give the log's Ed25519 key with --key (and, if you have it, its ML-DSA-44 key too).")
    if len({key.type for key in keys}) != len(keys) or any(key.type == COSIGNED_ED25519 for key in keys):
        raise Misuse("Give one key of a log for each kind.")
    witnesses = [Key.parse(each) for each in key_lines(given.witness_key)]
    try:
        roots = [each for path in given.stamp_root for each in x509.load_pem_x509_certificates(read(path))]
    except ValueError:
        raise Misuse("--stamp-root names a file without a certificate.") from None
    return Trust(tuple(keys), tuple(witnesses), tuple(roots))


def key_lines(given: Sequence[str]) -> list[str]:
    """Keys, or files with one on each line."""
    found: list[str] = []
    for each in given:
        try:
            is_file = Path(each).is_file()
        except OSError:  # longer than a name can be: a key
            is_file = False
        found += read(Path(each)).decode("utf-8", "replace").split() if is_file else [each]
    return found


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Checks what an intramural service hands out, without the service.")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, says: str) -> argparse.ArgumentParser:
        found = commands.add_parser(name, help=says, description=says)
        found.add_argument("file", type=Path)
        found.add_argument("--json", action="store_true", help="print JSON")
        found.add_argument("--key", action="append", default=[], help="the log's public key, or a file of them; repeat")
        found.add_argument("--witness-key", action="append", default=[], help="the public key of a witness; repeat")
        found.add_argument("--stamp-root", action="append", default=[], type=Path, help="PEM: whose time stamps count")
        return found

    log = command("log", "A whole log, or its newest part: an export, or a copy of intramural.db.")
    log.add_argument("--held", action="append", default=[], type=Path, help="a checkpoint kept elsewhere, or a folder")
    command("checkpoint", "One signed checkpoint.")
    command("proof", "That the log holds one entry (c2sp.org/tlog-proof).")
    consistency = command("consistency", "That an older checkpoint's log is the beginning of a newer one's.")
    consistency.add_argument("--held", required=True, type=Path, help="the older checkpoint")
    receipt = command("receipt", "The receipt of an answer.")
    receipt.add_argument("--prompt", type=Path, help="the prompt that it is said to be about")
    receipt.add_argument("--answer", type=Path, help="the answer that it is said to be about")
    statement = command("statement", "A signed statement: an attestation, a certificate of erasure.")
    statement.add_argument("--kind", help="what it must be, such as `attestation`")
    attestation = command("attestation", "An account of what an installation reaches and what left it.")
    attestation.add_argument("--nonce", help="the number that you chose, and asked for it with")
    attestation.add_argument(
        "--max-age", type=float, metavar="HOURS", help="how old it may be, by this machine's clock"
    )
    model = command("model", "A model's signature in the OpenSSF format.")
    model.add_argument("files", nargs="+", type=Path, help="the model's files, or its folder")
    model.add_argument("--model-key", action="append", default=[], type=Path, help="PEM: the signer's public key")
    return parser


def check(given: argparse.Namespace, report: Report) -> None:
    """What the command line asks for, and whether those who were named did sign. Raises Wrong, Misuse."""
    trust = check_file(given, report)
    if trust is None:
        return
    held = [each for each in report.checks if each["outcome"] == "holds"]
    for key in trust.witnesses:
        if not any(each.get("key") == key.id.hex() for each in held):
            report.add("not checked", "witness", f"Nothing here was cosigned with the key {key.title}.")
    if trust.stampers and not any(each["check"] == "stamp" for each in held):
        report.add("not checked", "stamp", "Nothing here has a time stamp.")


def check_file(given: argparse.Namespace, report: Report) -> Trust | None:
    """What the command line asks for; gives whom it names. Raises Wrong, Misuse."""
    if given.command == "model":
        if not given.model_key:
            raise Misuse("Give the signer's public key with --model-key.")
        check_model(read(given.file), given.files, given.model_key, report)
        return None
    trust = trust_of(given)
    if given.command == "log":
        held = held_in(given.held, trust, report)
        try:
            with given.file.open("rb") as file:
                is_database = file.read(16) == b"SQLite format 3\x00"
                file.seek(0)
                if is_database:
                    check_database(given.file, trust, held, report)
                else:
                    check_export(file, trust, held, report)
        except OSError as error:
            raise Misuse(f"{given.file} cannot be read: {error.strerror}.") from None
        return trust
    data = read(given.file)
    if given.command == "checkpoint":
        checkpoint = opened(data, trust, report, "The checkpoint")
        says = f"{trust.origin} signed that it had {checkpoint.size} entries."
        report.holds("checkpoint", says, size=checkpoint.size, root=to_base64(checkpoint.root))
        if given.file.with_suffix(".tsr").exists():
            _stamped(given.file.with_suffix(".tsr"), data, trust, report)
    elif given.command == "proof":
        check_proof(data, trust, report)
    elif given.command == "consistency":
        check_consistency(data, read(given.held), trust, report)
    elif given.command == "receipt":
        texts = {"prompt": given.prompt, "answer": given.answer}
        check_receipt(data, trust, report, {name: read(path) for name, path in texts.items() if path is not None})
    elif given.command == "attestation":
        max_age_s = None if given.max_age is None else given.max_age * 3600
        check_attestation(data, trust, report, given.nonce, max_age_s, time.time())
    else:
        check_statement(data, trust, report, given.kind)
    return trust


def main(argv: Sequence[str] | None = None) -> int:
    given = arguments().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # whatever alphabet the terminal knows
    report = Report()
    try:
        check(given, report)
        status = report.status
    except Wrong as error:
        where = {"first_wrong": error.first_wrong, "before": error.before}
        report.add("wrong", given.command, str(error), **{k: v for k, v in where.items() if v is not None})
        status = 1
    except Misuse as error:
        report.add("misuse", given.command, str(error))
        status = 2
    if given.json:
        print(json.dumps({"ok": status == 0, "status": status, "checks": report.checks}))
    else:
        for each in report.checks:
            print(f"{each['outcome']}: {printable(each['says'])}{shown_place(each)}")
    return status


def shown_place(check: dict[str, Any]) -> str:
    if "first_wrong" not in check:
        return ""
    before = check.get("before")
    return f" First wrong: entry {check['first_wrong']}" + (f", or one before {before}." if before else ".")


def printable(text: str) -> str:
    """What stands in a file from elsewhere must not colour a terminal or turn the direction of reading."""
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)


if __name__ == "__main__":
    sys.exit(main())
