"""Writing the log: concurrent events share one transaction and one signed checkpoint (group commit)."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec
from sqlalchemy import Delete, Insert, Update, delete, func, insert, select
from sqlalchemy.exc import NoResultFound, SQLAlchemyError

from intramural.audit import keys, verifiable
from intramural.audit.checkpoint import Signer, VerifierKey
from intramural.audit.cosignature import Cosigner, CosignerKey
from intramural.audit.entries import LIMIT_MOST, Entry, Found, Wanted, search, walk
from intramural.audit.events import Event
from intramural.audit.evidence import Evidence, Proven, checked
from intramural.audit.merkle import (
    Frontier,
    Range,
    consistency_ranges,
    inclusion_proof,
    inclusion_ranges,
    leaf_hash,
)
from intramural.audit.record import (
    MAX_SKEW_MS,
    NONCE_BYTES,
    OWN_KEY,
    Fact,
    Outcome,
    Record,
    StoredRecord,
    Texts,
    clean,
    facts_json,
    parse,
)
from intramural.audit.verifiable import Span
from intramural.audit.verify import Verdict, verify_database, verify_tail
from intramural.core.actor import SYSTEM, Actor
from intramural.core.clock import Clock
from intramural.core.config import AuditConfig
from intramural.core.errors import Misasked, Unavailable, Untrusted
from intramural.storage import BlockingConnection, Connection, Database, DatabaseDown, insert_rows, scalar
from intramural.storage.schema import audit_checkpoints, audit_entries, audit_texts
from intramural.vault import Vault

#: Events in one transaction: bounds how long one commit can take when very many wait.
GROUP_LIMIT = 512
#: Opening checks at least this many of the newest entries; the rest is `verify`'s.
TAIL_ENTRIES = 1_024
#: The newest checkpoints are all kept: each pins down the few entries of one commit.
KEPT_CHECKPOINTS = 1_024
#: Of older ones one in so many entries is kept (the width of a C2SP tile): 2 bytes an entry for ever.
CHECKPOINT_SPACING = 256
#: Commits between two prunings: each costs a range scan.
PRUNE_EVERY = 256

_INSERT_ENTRY = insert(audit_entries)
_INSERT_CHECKPOINT = insert(audit_checkpoints)
_INSERT_TEXT = insert(audit_texts)
_NEWEST_SIZE = select(func.max(audit_checkpoints.c.size))


class RecordInTransaction(Protocol):
    """Adds an event to the transaction at hand. Nothing to await: it is durable when the block has ended."""

    def __call__(
        self,
        event: Event,
        actor: Actor,
        *,
        target: str = "",
        outcome: Outcome = "allowed",
        request_id: str | None = None,
        facts: Mapping[str, Fact] | None = None,
        texts: Mapping[str, str] | None = None,
    ) -> None: ...


class Beside(msgspec.Struct, frozen=True):
    """A row that is to be committed together with an event. Those with the same statement are written in one go, in the
    order in which statements first come: rows of one statement must not depend on how often another ran."""

    statement: Insert | Update | Delete
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class After:
    """Something to be done in the transaction of an event, when all rows beside it are written."""

    work: Callable[[BlockingConnection], None]


@dataclass(frozen=True, slots=True)
class _Tip:
    """Where the log ends: its tree and the note signed for it."""

    tree: Frontier
    note: str


@dataclass(frozen=True, slots=True)
class _Signers:
    """Of every checkpoint; and of those that are handed out (None: not here)."""

    first: Signer
    second: Cosigner | None


@dataclass(slots=True)
class _Waiting:
    record: Record
    beside: Sequence[Beside | After]
    position: "asyncio.Future[int]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class AuditLog:
    """The open log. Make one with `AuditLog.open(…)`; close it with `close()` before the database."""

    def __init__(
        self, db: Database, signers: _Signers, texts: Texts, kept: bool, clock: Clock, tip: _Tip, latest_ms: int
    ) -> None:
        self._kept = kept
        self._db = db
        self._signers = signers
        self._signer = signers.first
        self._handed_out = ("", "")
        self._texts = texts
        self._clock = clock
        self._tip = tip
        self._latest_ms = latest_ms
        self._queue: list[_Waiting] = []
        self._committer: asyncio.Task[None] | None = None
        self._closed = False
        self._commits = 0
        self._pruned_to = 0

    @classmethod
    async def open(
        cls, db: Database, secrets_dir: Path, config: AuditConfig, clock: Clock, vault: Vault | None = None
    ) -> "AuditLog":
        """Open the log in `db`, or begin one. Checks the newest entries only: milliseconds, whatever its length.

        With `vault`, people's texts are committed to under keys of their own, and kept there where settings ask for it.

        Raises Untrusted(`audit_log_broken`|`audit_key_missing`|…) where the log does not end as it was left.
        """
        async with db.reading() as connection:
            begun = (await connection.execute(select(audit_entries.c.position).limit(1))).first() is not None
            signer = Signer(config.origin, keys.signing_key(secrets_dir, make=not begun))
            verdict, tree = await connection.run_sync(verify_tail, signer.verifier, TAIL_ENTRIES)
            if not verdict.ok:
                raise _broken(verdict.reason)
            newest = select(audit_entries.c.record).order_by(audit_entries.c.position.desc()).limit(1)
            last = (await connection.execute(newest)).scalar()
        latest_ms = 0 if last is None else _latest_ms(parse(last))
        texts = Texts(keys.text_key(secrets_dir, clock), vault)
        tip = _Tip(tree, signer.sign(tree.size, tree.root()))
        second, is_new = keys.second_signer(secrets_dir, config.origin)
        log = cls(db, _Signers(signer, second), texts, config.record_prompts, clock, tip, latest_ms)
        if begun and is_new and second is not None:  # from here on what is handed out is signed with it as well
            facts = {"algorithm": "ML-DSA-44", "key": second.key.fingerprint}
            await log.record(Event.AUDIT_KEY_MADE, SYSTEM, target="audit:key", facts=facts)
        return log

    async def close(self) -> None:
        """Take no more events and wait until those that wait are durable."""
        self._closed = True
        if self._committer is not None:
            await asyncio.wait([self._committer])

    @property
    def verifier(self) -> VerifierKey:
        """The public key; `str()` of it is what to hand to verifiers."""
        return self._signer.verifier

    @property
    def size(self) -> int:
        """How many entries are durable."""
        return self._tip.tree.size

    @property
    def second_key(self) -> CosignerKey | None:
        """The public key of the second signature on what is handed out; None: there is none here."""
        return None if self._signers.second is None else self._signers.second.key

    def checkpoint(self) -> str:
        """The newest signed note. Keep copies elsewhere: they are what a rewritten history cannot pass."""
        note = self._tip.note
        if self._handed_out[0] != note:  # the second signature takes a millisecond: once for each that is asked for
            self._handed_out = (note, self._signed_twice(note))
        return self._handed_out[1]

    def plain_checkpoint(self) -> str:
        """The newest note with its Ed25519 signature alone: short enough for paper."""
        return self._tip.note

    def _signed_twice(self, note: str) -> str:
        """A checkpoint of ours as it is handed out."""
        second = self._signers.second
        return note if second is None else note + second.line(self.verifier.checkpoint_of(note), 0)

    def record(
        self,
        event: Event,
        actor: Actor,
        *,
        target: str = "",
        outcome: Outcome = "allowed",
        request_id: str | None = None,
        facts: Mapping[str, Fact] | None = None,
        texts: Mapping[str, str] | None = None,
        beside: Sequence[Beside | After] = (),
        passing: bool = False,
    ) -> "asyncio.Future[int]":
        """Write one event: its position, once it is durable. It is written as well if nobody waits for that, any more.

        `facts` hold no text that people wrote: that goes into `texts` (name -> text): the record has its size and a
        commitment, and where settings ask for it the text is kept beside the log, sealed; never if it is `passing`.
        `beside`: rows committed together with it, and what is done after them.
        Who waits gets Unavailable(`audit_unavailable`) if the event is not in the log: then the act must not happen.
        """
        made = self._record(event, actor, target, outcome, request_id, facts, texts, passing=passing)
        waiting = _Waiting(made, beside)
        if self._closed:
            waiting.position.set_exception(_unavailable())
            return waiting.position
        self._queue.append(waiting)
        if self._committer is None or self._committer.done():
            self._committer = asyncio.create_task(self._commit_queue(), name="audit-commit")
        return waiting.position

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[tuple[Connection, RecordInTransaction]]:
        """An act and its event in one commit: `async with log.transaction() as (connection, record)`.

        An error in the block undoes both. A block that ends without an event is a mistake (RuntimeError) and undone.
        Raises Unavailable(`audit_unavailable`) where the log cannot be written.
        """
        records: list[Record] = []

        def record(
            event: Event,
            actor: Actor,
            *,
            target: str = "",
            outcome: Outcome = "allowed",
            request_id: str | None = None,
            facts: Mapping[str, Fact] | None = None,
            texts: Mapping[str, str] | None = None,
        ) -> None:
            records.append(self._record(event, actor, target, outcome, request_id, facts, texts))

        if self._closed:
            raise _unavailable()
        in_block = False
        try:
            async with self._db.writing() as connection:
                in_block = True
                yield connection, record
                in_block = False
                if not records:
                    raise RuntimeError("an audit transaction ended without an event")
                tip = await connection.run_sync(self._append, records, ())
        except DatabaseDown as error:
            raise _unavailable() from error
        except SQLAlchemyError as error:
            if in_block:  # the caller's own statement failed
                raise
            raise _unavailable() from error
        self._tip = tip

    async def entries(
        self, before: int | None = None, limit: int = 100, event: str | None = None, actor_id: str | None = None
    ) -> list[Entry]:
        """Up to `limit` (at most 1,000) entries, newest first, with positions below `before`."""
        return (await self.search(Wanted(before, event, actor_id), limit)).entries

    async def search(self, wanted: Wanted, limit: int) -> Found:
        """Up to `limit` (at most 1,000) wanted entries, newest first.

        What no column tells is looked for in `SEARCHED_MOST` entries, and then `older` says where to go on.
        """
        return await search(self._db, wanted, limit)

    def walk(self, wanted: Wanted) -> AsyncGenerator[Entry, None]:
        """Every entry that is `wanted`, the oldest first, read in parts that keep nobody waiting."""
        return walk(self._db, wanted)

    async def verify(self, held: Sequence[str] = ()) -> Verdict:
        """Walk the whole log, also against the newest checkpoint that this process signed, and `held` ones."""
        own = [self._tip.note] if self._tip.tree.size else []
        return await asyncio.to_thread(verify_database, self._db.address, str(self.verifier), [*own, *held])

    async def prove_inclusion(self, position: int, size: int) -> list[bytes]:
        """The Merkle proof (hashes) that entry `position` is in the log of `size` entries. Reads all leaf hashes."""
        return await self._prove(inclusion_ranges, position, size)

    async def prove_consistency(self, first: int, second: int) -> list[bytes]:
        """The Merkle proof (hashes) that the log of `first` entries is the beginning of that of `second`."""
        return await self._prove(consistency_ranges, first, second)

    async def of_request(self, request_id: str) -> list[tuple[bytes, StoredRecord]]:
        """The entries of one request in their order, as bytes and read; none: the log knows of no such request."""
        table = audit_entries.c
        query = select(table.record).where(table.request_id == request_id).order_by(table.position).limit(LIMIT_MOST)
        async with self._db.reading() as connection:
            return [(data, parse(data)) for data in (await connection.execute(query)).scalars()]

    async def evidence(self, records: Sequence[bytes]) -> Evidence:
        """Proofs of these entries up to the first kept checkpoint that covers them all.

        Reads the entries between two checkpoints, not the log. Raises Untrusted(`audit_log_broken`) where what is
        stored does not lead to what was signed.
        """
        positions = [parse(data).position for data in records]
        async with self._db.reading() as connection:
            before, after = await _around(connection, min(positions), max(positions))
            start = Frontier() if before is None else Frontier.from_bytes(before.size, before.frontier)
            where = audit_entries.c.position >= start.size, audit_entries.c.position < after.size
            query = select(audit_entries.c.leaf_hash).where(*where).order_by(audit_entries.c.position)
            leaves = list((await connection.execute(query)).scalars())
        try:
            proofs = [inclusion_proof(position, leaves, start, after.size) for position in positions]
        except ValueError as error:
            raise _broken(str(error)) from None
        found = zip(positions, records, proofs, strict=True)
        evidence = Evidence(tuple(Proven(at, data, tuple(proof)) for at, data, proof in found), after.note)
        checked(evidence, self.verifier)
        return replace(evidence, checkpoint=self._signed_twice(after.note))

    async def span(self, from_ms: int, to_ms: int) -> Span | None:
        """Which part of the log a verifiable export of a period is; None: nothing happened then.

        Raises Untrusted(`audit_log_broken`).
        """
        try:
            return await verifiable.span_of(self._db, from_ms, to_ms)
        except (NoResultFound, ValueError) as error:
            raise _broken(f"No checkpoint covers its newest entries: {error}") from None

    def lines(self, span: Span) -> AsyncGenerator[bytes, None]:
        """That part, line by line, for whoever checks it elsewhere (`docs/formats.md`)."""
        return verifiable.lines(self._db, self.verifier.name, span, self._signed_twice)

    async def record_at(self, position: int) -> bytes | None:
        """The bytes of one entry; None: the log has no such entry."""
        query = select(audit_entries.c.record).where(audit_entries.c.position == position)
        async with self._db.reading() as connection:
            found: bytes | None = (await connection.execute(query)).scalar()
        return found

    def sign_statement(self, kind: str, line: str) -> str:
        """A signed note of what `line` says, in the log's name; `kind` keeps it apart from checkpoints."""
        return self._signer.sign_statement(kind, line)

    def salt(self, name: str, texts: Mapping[str, Any], person_id: str) -> bytes:
        """The salt with which text `name` was committed in a record that has these `texts` and in which `person_id`
        acted: it opens that one only. Raises Missing(`no_data_key`) where that person was erased.
        """
        own = texts.get("key") == OWN_KEY
        return self._texts.salt(name, bytes.fromhex(texts["nonce"]), person_id if own else None)

    async def _prove(self, plan: "_Plan", first: int, second: int) -> list[bytes]:
        try:
            ranges = plan(first, second) if second <= self.size else None
        except ValueError:
            ranges = None
        if ranges is None:
            message = f"There is no proof from {first} to {second} in a log of {self.size} entries."
            raise Misasked("audit_proof_impossible", message, "Ask for positions and sizes that the log has.")
        async with self._db.reading() as connection:
            return [await _root_of(connection, each) for each in ranges]

    def _record(
        self,
        event: Event,
        actor: Actor,
        target: str,
        outcome: Outcome,
        request_id: str | None,
        facts: Mapping[str, Fact] | None,
        texts: Mapping[str, str] | None,
        *,
        passing: bool = False,
    ) -> Record:
        now_ms = int(self._clock.now_s() * 1000)
        behind_ms = self._latest_ms - now_ms
        self._latest_ms = max(self._latest_ms, now_ms)
        nonce = self._clock.token_bytes(NONCE_BYTES) if texts else b""
        who = actor.person_id
        return Record(
            event=event,
            actor=actor,
            target=target,
            outcome=outcome,
            request_id=request_id,
            time_ms=now_ms,
            facts=facts_json(facts or {}),
            texts=self._texts.json(texts, nonce, who) if texts else "{}",
            kept=self._texts.kept(texts, nonce, who, now_ms, actor.workspace)
            if texts and self._kept and not passing
            else (),
            skew_ms=behind_ms if behind_ms > MAX_SKEW_MS else 0,
        )

    async def _commit_queue(self) -> None:
        while self._queue:
            group, self._queue = self._queue[:GROUP_LIMIT], self._queue[GROUP_LIMIT:]
            try:
                await self._commit(group)
            finally:  # whatever happened, nobody waits for ever
                for each in group:
                    if not each.position.done():
                        each.position.set_exception(_unavailable())

    async def _commit(self, group: Sequence[_Waiting]) -> None:
        beside = [row for each in group for row in each.beside]
        try:
            tip = await self._db.write(partial(self._append, records=[each.record for each in group], beside=beside))
        except (SQLAlchemyError, DatabaseDown, Untrusted) as error:
            await self._failed(group, error)
            return
        self._tip = tip
        first = tip.tree.size - len(group)
        for offset, each in enumerate(group):
            if not each.position.done():  # done: its caller was cancelled
                each.position.set_result(first + offset)

    async def _failed(self, group: Sequence[_Waiting], error: Exception) -> None:
        """Somebody's row may be at fault: then it fails alone."""
        if len(group) > 1 and any(each.beside for each in group):
            for each in group:
                await self._commit([each])
            return
        for each in group:
            if not each.position.done():
                failure = _unavailable()
                failure.__cause__ = error
                each.position.set_exception(failure)

    # From here on blocking, inside a transaction that holds the database's only writer lock.

    def _append(
        self, connection: BlockingConnection, records: Sequence[Record], beside: Sequence[Beside | After]
    ) -> _Tip:
        tree = self._tree_now(connection)
        rows = [_row(record, tree.size + offset) for offset, record in enumerate(records)]
        tree = tree.extended(row["leaf_hash"] for row in rows)
        note = self._signer.sign(tree.size, tree.root())
        insert_rows(connection, _INSERT_ENTRY, rows)
        checkpoint = {"size": tree.size, "time_ms": rows[-1]["time_ms"], "note": note, "frontier": tree.to_bytes()}
        insert_rows(connection, _INSERT_CHECKPOINT, [checkpoint])
        if texts := [row for record in records for row in record.kept]:
            insert_rows(connection, _INSERT_TEXT, texts)
        together: dict[int, tuple[Insert | Update | Delete, list[Mapping[str, Any]]]] = {}
        for row in (each for each in beside if isinstance(each, Beside)):
            together.setdefault(id(row.statement), (row.statement, []))[1].append(row.values)
        for statement, values in together.values():
            insert_rows(connection, statement, values)
        for each in (each for each in beside if isinstance(each, After)):
            each.work(connection)
        self._prune(connection)
        return _Tip(tree, note)

    def _tree_now(self, connection: BlockingConnection) -> Frontier:
        """The tree as stored: another process (the command line) may have written since."""
        if (scalar(connection, _NEWEST_SIZE) or 0) == self._tip.tree.size:
            return self._tip.tree
        verdict, tree = verify_tail(connection, self.verifier, 1)
        if not verdict.ok or tree.size < self._tip.tree.size:
            raise _broken(verdict.reason)
        return tree

    def _prune(self, connection: BlockingConnection) -> None:
        self._commits += 1
        if self._commits % PRUNE_EVERY:
            return
        size = audit_checkpoints.c.size
        oldest_kept = connection.execute(
            select(size).order_by(size.desc()).limit(1).offset(KEPT_CHECKPOINTS - 1)
        ).scalar()
        if oldest_kept is None:
            return
        span = (size >= self._pruned_to, size < oldest_kept)
        stays = select(func.min(size)).where(*span).group_by(size // CHECKPOINT_SPACING)
        connection.execute(delete(audit_checkpoints).where(*span, size.not_in(stays)))
        self._pruned_to = oldest_kept - oldest_kept % CHECKPOINT_SPACING


class _Plan(Protocol):
    def __call__(self, first: int, second: int, /) -> list[Range]: ...


def _row(record: Record, position: int) -> dict[str, Any]:
    data = record.to_bytes(position)
    return {
        "position": position,
        "leaf_hash": leaf_hash(data),
        "record": data,
        "time_ms": record.time_ms,
        "event": str(record.event),
        "actor_id": clean(record.actor.person_id),
        "request_id": None if record.request_id is None else clean(record.request_id),
    }


async def _root_of(connection: Connection, leaves: Range) -> bytes:
    start, end = leaves
    position = audit_entries.c.position
    query = select(audit_entries.c.leaf_hash).where(position >= start, position < end).order_by(position)
    tree = Frontier()
    async for part in (await connection.stream_scalars(query)).partitions(2_000):
        tree = tree.extended(part)
    return tree.root()


async def _around(connection: Connection, first: int, last: int) -> tuple[Any, Any]:
    """The newest checkpoint that ends before entry `first` (or None), and the oldest that covers entry `last`."""
    table = audit_checkpoints.c
    before = select(audit_checkpoints).where(table.size <= first).order_by(table.size.desc()).limit(1)
    after = select(audit_checkpoints).where(table.size > last).order_by(table.size).limit(1)
    found = (await connection.execute(after)).first()
    if found is None:
        raise _broken(f"No checkpoint covers entry {last}.")
    return (await connection.execute(before)).first(), found


def _latest_ms(last: StoredRecord) -> int:
    return last.time_ms + last.skew_ms


def _broken(reason: str) -> Untrusted:
    return Untrusted(
        "audit_log_broken",
        f"The audit log is not as it was left. {reason}",
        "Run `intramural audit verify`, keep the database as evidence, and restore a backup or begin a new one.",
    )


def _unavailable() -> Unavailable:
    return Unavailable(
        "audit_unavailable",
        "The audit log cannot be written, so nothing was done.",
        "Look at the disk of the data directory: is it full, read-only or damaged?",
    )
