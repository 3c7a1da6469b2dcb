"""Walking a log and naming the first wrong entry. Reads a database file; changes nothing; needs only the public key.

Every entry is checked against its own bytes (position, hash, search copies), every stored checkpoint against the tree
that the entries make. Where a root does not fit, entries were changed together with their hashes; then the wrong one
lies after the last place that fitted and before this checkpoint, and the first entry of that range is named.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import merge
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import select, text
from sqlalchemy.exc import DatabaseError

from intramural.audit.checkpoint import Checkpoint, VerifierKey
from intramural.audit.merkle import EMPTY_ROOT, Frontier, Range
from intramural.audit.record import FORM, outline
from intramural.core.errors import Misasked, Untrusted
from intramural.storage import BlockingConnection, read_apart
from intramural.storage.schema import audit_checkpoints

_ROWS_AT_ONCE = 2_000


class Finding(StrEnum):
    """What is wrong."""

    EDITED = "edited"
    DELETED = "deleted"
    MOVED = "moved"  # reordered, or inserted in between
    UNSIGNED = "unsigned"  # no checkpoint covers it: it was added, or the checkpoint was cut off
    TRUNCATED = "truncated"
    REWRITTEN = "rewritten"  # against a checkpoint that somebody held
    CHECKPOINT = "checkpoint"  # a stored checkpoint was changed
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a walk over `size` entries.

    `first_wrong` names an entry by position; where hashes cannot tell which of several it is, it is the first of those
    and `before` the end of the range (excluded). None with `ok` false: the entries are right, a checkpoint is not.
    Entries below `proven` are covered by a signed checkpoint that fits: those are certainly as they were written.
    """

    ok: bool
    size: int
    proven: int
    first_wrong: int | None = None
    before: int | None = None
    finding: Finding | None = None
    reason: str = ""


class EntryRow(NamedTuple):
    """An entry as stored. (A tuple: making a million of them is much of the work.)"""

    position: int
    leaf_hash: bytes
    record: bytes
    time_ms: int
    event: str
    actor_id: str
    request_id: str | None


class CheckpointRow(NamedTuple):
    """A checkpoint as stored."""

    size: int
    note: str
    frontier: bytes


@dataclass(frozen=True, slots=True)
class Stop:
    """A signed checkpoint at which the tree is compared: a stored one with its subtree hashes, or a held one."""

    size: int
    root: bytes
    frontier: bytes | None


def verify_database(address: Path | str, public_key: str, held: Sequence[str] = ()) -> Verdict:
    """Walk the log in a database (blocking): SQLite's file, or a text `postgresql://…`.

    `public_key`: the C2SP form; `held`: notes somebody kept elsewhere.

    Raises Misasked(`bad_audit_key`|`held_checkpoint_invalid`|`audit_file_missing`).
    """
    verifier = VerifierKey.parse(public_key)
    kept = [_held(verifier, note) for note in held]
    if isinstance(address, Path) and not address.is_file():
        raise Misasked("audit_file_missing", f"There is no file {address}.", "Name the service's intramural.db.")
    walk = Walk(verifier, kept)
    try:
        return read_apart(address, lambda connection: walk.run(_entries(connection), _checkpoints(connection)))
    except DatabaseError as error:
        where = walk.size
        reason = f"The database could be read for {where} entries, then no further: {error.orig}."
        return Verdict(False, where, walk.proven, where, None, Finding.UNREADABLE, reason)


def verify_connection(connection: BlockingConnection, public_key: str, held: Sequence[str] = ()) -> Verdict:
    """As `verify_database`, over a connection that is open. Raises sqlalchemy.exc.DBAPIError."""
    verifier = VerifierKey.parse(public_key)
    walk = Walk(verifier, [_held(verifier, note) for note in held])
    return walk.run(_entries(connection), _checkpoints(connection))


def newest_checkpoint(connection: BlockingConnection) -> str | None:
    """The note that the log ends in; None: it has no entry."""
    order = audit_checkpoints.c.size.desc()
    return connection.execute(select(audit_checkpoints.c.note).order_by(order).limit(1)).scalar()


def verify_tail(connection: BlockingConnection, verifier: VerifierKey, least: int) -> tuple[Verdict, Frontier]:
    """Check the newest `least` entries or more, from a stored checkpoint on. Also gives the tree they end in."""
    checkpoints = audit_checkpoints
    newest = connection.execute(select(checkpoints.c.size).order_by(checkpoints.c.size.desc()).limit(1)).scalar() or 0
    query = select(checkpoints.c.size, checkpoints.c.note, checkpoints.c.frontier)
    query = query.where(checkpoints.c.size <= newest - least).order_by(checkpoints.c.size.desc()).limit(1)
    row = connection.execute(query).first()
    start = Frontier()
    if row is not None:
        try:
            start = _trusted_frontier(verifier, CheckpointRow(row.size, row.note, row.frontier))
        except (Untrusted, ValueError) as error:
            reason = f"The stored checkpoint of size {row.size} is not right: {error}"
            return Verdict(False, newest, 0, None, None, Finding.CHECKPOINT, reason), start
    walk = Walk(verifier, (), start)
    return walk.run(_entries(connection, start.size), _checkpoints(connection, start.size)), walk.tree


@dataclass(slots=True)
class Walk:
    """One pass over entries and checkpoints, both in order. `tree` is what the entries so far make."""

    verifier: VerifierKey
    held: Sequence[Checkpoint] = ()
    tree: Frontier = field(default_factory=Frontier)
    proven: int = 0  # entries below are covered by a checkpoint that fitted
    _leaves: list[bytes] = field(default_factory=list)
    _bad_checkpoint: str = ""

    def __post_init__(self) -> None:
        self.proven = self.tree.size

    @property
    def size(self) -> int:
        """Entries walked so far."""
        return self.tree.size + len(self._leaves)

    def run(self, entries: Iterable[EntryRow], checkpoints: Iterable[CheckpointRow]) -> Verdict:
        """The verdict on all of them."""
        rows = iter(entries)
        held = sorted((Stop(each.size, each.root, None) for each in self.held), key=_size_of)
        for stop in merge(self._signed(checkpoints), held, key=_size_of):
            compare = self._compare_held if stop.frontier is None else self._compare
            wrong = self._advance(rows, stop.size) or compare(stop)
            if wrong is not None:
                return wrong
        beyond = next(rows, None)
        if beyond is not None or self.proven < self.size:
            return self._wrong(Finding.UNSIGNED, self.proven, "No checkpoint that this log signed covers it.")
        if self._bad_checkpoint:
            return Verdict(False, self.size, self.proven, None, None, Finding.CHECKPOINT, self._bad_checkpoint)
        return Verdict(True, self.size, self.proven)

    def _advance(self, rows: Iterator[EntryRow], size: int) -> Verdict | None:
        """Take entries until there are `size`; the first wrong one ends it."""
        at = self.size
        while at < size:
            row = next(rows, None)
            if row is None:
                self._flush()
                return self._wrong(
                    Finding.TRUNCATED, at, f"The log ends there, but a checkpoint covers {size} entries."
                )
            finding, reason = _check_entry(row, at)
            if finding is not None:
                self._flush()
                return self._wrong(finding, at, reason)
            self._leaves.append(row.leaf_hash)
            at += 1
            if len(self._leaves) >= _ROWS_AT_ONCE:
                self._flush()
        self._flush()
        return None

    def _flush(self) -> None:
        self.tree = self.tree.extended(self._leaves)
        self._leaves.clear()

    def _signed(self, checkpoints: Iterable[CheckpointRow]) -> Iterator[Stop]:
        """Those stored checkpoints that this log signed: what anybody can write down proves nothing."""
        for row in checkpoints:
            try:
                signed = self.verifier.checkpoint_of(row.note)
            except Untrusted as error:
                self._bad_checkpoint = f"The stored checkpoint of size {row.size} is not right: {error.message}"
                continue
            if signed.size == row.size:
                yield Stop(signed.size, signed.root, row.frontier)
            else:
                self._bad_checkpoint = f"The stored checkpoint of size {row.size} is really of size {signed.size}."

    def _compare(self, stop: Stop) -> Verdict | None:
        if stop.root != self.tree.root():
            return self._differs(stop)
        if stop.frontier != self.tree.to_bytes():
            self._bad_checkpoint = f"The subtree hashes stored with the checkpoint of size {stop.size} are not right."
        self.proven = stop.size
        return None

    def _compare_held(self, held: Stop) -> Verdict | None:
        if held.root == self.tree.root():
            return None
        reason = f"The checkpoint held elsewhere for {held.size} entries has another root: history was rewritten."
        start = max((each.size for each in self.held if each.size < held.size), default=0)
        return self._wrong(Finding.REWRITTEN, start, reason, before=held.size)

    def _differs(self, stop: Stop) -> Verdict:
        """The root does not fit: the signed subtree hashes, if still there, narrow down where."""
        start, before = self.proven, stop.size
        for first, end in _differing(self.tree, stop):
            start, before = max(start, first), end
            break
        reason = f"The entries do not make the root signed for {stop.size} entries (expected {_base64(stop.root)})."
        return self._wrong(Finding.EDITED, start, reason, before=before)

    def _wrong(self, finding: Finding, position: int, reason: str, before: int | None = None) -> Verdict:
        end = None if before is None or before == position + 1 else before
        return Verdict(False, self.size, self.proven, position, end, finding, reason)


def _check_entry(row: EntryRow, expected: int) -> tuple[Finding | None, str]:
    """Whether an entry is in its place and agrees with itself."""
    if row.position != expected:
        return Finding.DELETED, f"Entry {expected} is missing; {row.position} follows."
    if not isinstance(row.record, bytes) or hashlib.sha256(b"\x00" + row.record).digest() != row.leaf_hash:
        return Finding.EDITED, f"The record of entry {expected} does not have the hash stored with it."
    try:
        record = outline(row.record)
    except ValueError as error:
        return Finding.EDITED, f"The record of entry {expected} has not the form of one: {error}."
    if record.v != FORM:
        return Finding.EDITED, f"The record of entry {expected} has the unknown form {record.v}."
    if record.position != expected:
        return Finding.MOVED, f"Entry {expected} holds the record that was written as entry {record.position}."
    copies = (row.time_ms, row.event, row.actor_id, row.request_id)
    said = (record.time_ms, record.event, record.actor.id, record.request_id)
    if copies != said and copies != tuple(map(_without_nul, said)):  # which PostgreSQL's text cannot hold
        return Finding.EDITED, f"The columns by which entry {expected} is searched differ from its record."
    return None, ""


def _trusted_frontier(verifier: VerifierKey, row: CheckpointRow) -> Frontier:
    signed = verifier.checkpoint_of(row.note)
    tree = Frontier.from_bytes(row.size, row.frontier)
    if signed.size != row.size or tree.root() != signed.root:
        raise ValueError("its subtree hashes do not make its root")
    return tree


def _held(verifier: VerifierKey, note: str) -> Checkpoint:
    try:
        found = verifier.checkpoint_of(note)
    except Untrusted as error:
        raise Misasked(
            "held_checkpoint_invalid", f"The held checkpoint is of no use: {error.message}", error.hint
        ) from error
    if found.size == 0 and found.root != EMPTY_ROOT:
        raise Misasked("held_checkpoint_invalid", "The held checkpoint is of no use: it has no entries, yet a root.")
    return found


# Plain SQL, not the typed tables: a row whose columns hold other types than they should is a finding, not an accident.


def _entries(connection: BlockingConnection, start: int | None = None) -> Iterator[EntryRow]:
    columns = "position, leaf_hash, record, time_ms, event, actor_id, request_id"
    where = "" if start is None else f"WHERE position >= {start:d}"
    query = text(f"SELECT {columns} FROM audit_entries {where} ORDER BY position")  # noqa: S608 — a number of ours
    for rows in connection.execute(query).yield_per(_ROWS_AT_ONCE).partitions():
        yield from map(EntryRow._make, rows)


def _checkpoints(connection: BlockingConnection, after: int | None = None) -> Iterator[CheckpointRow]:
    where = "" if after is None else f"WHERE size > {after:d}"
    query = text(f"SELECT size, note, frontier FROM audit_checkpoints {where} ORDER BY size")  # noqa: S608 — likewise
    for size, note, frontier in connection.execute(query).yield_per(_ROWS_AT_ONCE):
        typed = (note if isinstance(note, str) else "", frontier if isinstance(frontier, bytes) else b"")
        yield CheckpointRow(size, *typed)


def _differing(tree: Frontier, stop: Stop) -> list[Range]:
    """The ranges of leaves on which `tree` is not what was signed; none where the stored subtree hashes are no use."""
    try:
        stored = Frontier.from_bytes(stop.size, stop.frontier or b"")
    except ValueError:
        return []
    if stored.root() != stop.root:
        return []
    return [span for span, a, b in zip(stored.ranges(), stored.peaks, tree.peaks, strict=True) if a != b]


def _size_of(stop: Stop) -> int:
    return stop.size


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _without_nul(value: object) -> object:
    return value.replace("\x00", "\ufffd") if isinstance(value, str) else value
