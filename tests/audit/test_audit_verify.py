"""Whoever changes the database is found out, and the first wrong entry is named."""

import asyncio
import itertools
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import databases
from tests.chance import tries
from tests.verifier.standing import FILE, loaded

from intramural.audit import AuditLog, Event, Finding, Signer, Verdict, keys, verify_database
from intramural.audit.log import TAIL_ENTRIES
from intramural.audit.merkle import Frontier, leaf_hash
from intramural.core.actor import SYSTEM, Actor
from intramural.core.clock import SystemClock
from intramural.core.config import AuditConfig
from intramural.core.errors import Misasked, Untrusted
from intramural.storage import Database

pytestmark = pytest.mark.sqlite(reason="copies the file and spoils it past the database")

ADA = Actor("key", "person_ada", "ada", "member", frozenset(), "key_1")
#: Entries per commit; after them, single ones.
GROUPS = (1, 2, 3, 8, 1, 5, 16, 4)
GROUPED = sum(GROUPS)
SIZE = GROUPED + 8


@dataclass(frozen=True)
class Original:
    """A good log, to be copied and spoiled."""

    folder: Path
    public_key: str
    notes: dict[int, str]  # size -> checkpoint

    def copy(self, folder: Path) -> Path:
        file = folder / "copy.db"
        for suffix in ("-wal", "-shm"):
            file.with_name(file.name + suffix).unlink(missing_ok=True)
        file.write_bytes((self.folder / "intramural.db").read_bytes())
        return file

    def verify(self, file: Path, *held: int) -> Verdict:
        return verify_database(file, self.public_key, [self.notes[size] for size in held])

    def signer(self) -> Signer:
        return Signer("intramural.local/audit", keys.signing_key(self.folder / "secrets", make=False))


async def written(folder: Path, groups: tuple[int, ...]) -> Original:
    db = await databases.opened(folder / "intramural.db")
    log = await AuditLog.open(db, folder / "secrets", AuditConfig(), SystemClock())
    for number, group in enumerate(groups):
        facts = {"group": number}
        await asyncio.gather(
            *[log.record(Event.CHAT_ASKED, ADA, request_id=f"r{n}", facts=facts) for n in range(group)]
        )
    public_key = str(log.verifier)
    await log.close()
    await db.close()
    with closing(sqlite3.connect(folder / "intramural.db")) as connection:
        notes = dict(connection.execute("SELECT size, note FROM audit_checkpoints").fetchall())
    return Original(folder, public_key, notes)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    return asyncio.run(written(tmp_path_factory.mktemp("original"), (*GROUPS, *([1] * (SIZE - GROUPED)))))


@contextmanager
def spoiling(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(file)) as connection, connection:
        yield connection


def rows(connection: sqlite3.Connection) -> list[list[object]]:
    return [list(row) for row in connection.execute("SELECT * FROM audit_entries ORDER BY position")]


def put(connection: sqlite3.Connection, entries: list[list[object]]) -> None:
    """All of `entries`, numbered anew in the column, not in the records."""
    connection.execute("DELETE FROM audit_entries")
    for position, row in enumerate(entries):
        connection.execute("INSERT INTO audit_entries VALUES (?,?,?,?,?,?,?)", (position, *row[1:]))


def forged(connection: sqlite3.Connection, position: int, old: bytes = b'"chat.asked"') -> None:
    """Change a record together with its hash and copies, as somebody would who knows how."""
    (record,) = connection.execute("SELECT record FROM audit_entries WHERE position = ?", (position,)).fetchone()
    changed = record.replace(old, b'"chat.answered"')
    assert changed != record
    connection.execute(
        "UPDATE audit_entries SET record = ?, leaf_hash = ?, event = 'chat.answered' WHERE position = ?",
        (changed, leaf_hash(changed), position),
    )


def group_of(position: int) -> range:
    """The entries that were committed together with `position`."""
    ends = [0, *itertools.accumulate(GROUPS), *range(GROUPED + 1, SIZE + 1)]
    return next(range(start, end) for start, end in itertools.pairwise(ends) if position < end)


def test_the_original_is_right(original: Original, tmp_path: Path) -> None:
    expected = Verdict(True, SIZE, SIZE)
    assert original.verify(original.copy(tmp_path)) == expected
    assert original.verify(original.copy(tmp_path), *original.notes) == expected
    assert sorted(original.notes) == [*itertools.accumulate(GROUPS), *range(GROUPED + 1, SIZE + 1)]


def _edit_record(connection: sqlite3.Connection, at: int) -> Finding:
    changed = "CAST(replace(record, 'asked', 'asket') AS BLOB)"
    connection.execute(f"UPDATE audit_entries SET record = {changed} WHERE position = ?", (at,))
    return Finding.EDITED


def _edit_hash(connection: sqlite3.Connection, at: int) -> Finding:
    connection.execute("UPDATE audit_entries SET leaf_hash = zeroblob(32) WHERE position = ?", (at,))
    return Finding.EDITED


def _edit_copy(column: str, value: object) -> Callable[[sqlite3.Connection, int], Finding]:
    def edit(connection: sqlite3.Connection, at: int) -> Finding:
        connection.execute(f"UPDATE audit_entries SET {column} = ? WHERE position = ?", (value, at))
        return Finding.EDITED

    return edit


def _delete(connection: sqlite3.Connection, at: int) -> Finding:
    connection.execute("DELETE FROM audit_entries WHERE position = ?", (at,))
    return Finding.DELETED if at < SIZE - 1 else Finding.TRUNCATED


def _delete_and_close_up(connection: sqlite3.Connection, at: int) -> Finding:
    entries = rows(connection)
    put(connection, entries[:at] + entries[at + 1 :])
    return Finding.MOVED if at < SIZE - 1 else Finding.TRUNCATED


def _repeat(connection: sqlite3.Connection, at: int) -> Finding:
    entries = rows(connection)
    put(connection, [*entries[:at], entries[at - 1], *entries[at:]])
    return Finding.MOVED


def _truncate(connection: sqlite3.Connection, at: int) -> Finding:
    connection.execute("DELETE FROM audit_entries WHERE position >= ?", (at,))
    return Finding.TRUNCATED


SPOILERS = [
    _edit_record,
    _edit_hash,
    _edit_copy("time_ms", 5),
    _edit_copy("event", "login.failed"),
    _edit_copy("event", b"chat.asked"),
    _edit_copy("actor_id", "person_bob"),
    _edit_copy("request_id", None),
    _edit_copy("record", "text"),
    _edit_copy("record", b"{}"),
    _edit_copy("leaf_hash", "text"),
    _delete,
    _delete_and_close_up,
    _repeat,
    _truncate,
]


@settings(max_examples=tries(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(SPOILERS), st.integers(1, SIZE - 1))
def test_clumsy_changes_are_named_exactly(
    original: Original, tmp_path: Path, spoil: Callable[[sqlite3.Connection, int], Finding], at: int
) -> None:
    file = original.copy(tmp_path)
    with spoiling(file) as connection:
        finding = spoil(connection, at)
    verdict = original.verify(file)
    assert (verdict.ok, verdict.first_wrong, verdict.finding, verdict.before) == (False, at, finding, None)
    assert verdict.proven <= at


@settings(max_examples=tries(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, SIZE - 1), min_size=2, max_size=SIZE, unique=True))
def test_reordering_names_the_first_moved(original: Original, tmp_path: Path, places: list[int]) -> None:
    file = original.copy(tmp_path)
    with spoiling(file) as connection:
        entries = rows(connection)
        order = list(range(SIZE))
        for place, source in zip(places, places[1:] + places[:1], strict=True):
            order[place] = source
        put(connection, [entries[source] for source in order])
    verdict = original.verify(file)
    assert (verdict.first_wrong, verdict.finding) == (min(places), Finding.MOVED)


@settings(max_examples=tries(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, SIZE - 1))
def test_an_edit_with_its_hash_is_pinned_to_its_commit(original: Original, tmp_path: Path, at: int) -> None:
    file = original.copy(tmp_path)
    with spoiling(file) as connection:
        forged(connection, at)
    verdict = original.verify(file)
    commit = group_of(at)
    assert verdict.finding is Finding.EDITED
    assert verdict.proven <= at
    assert verdict.first_wrong is not None
    assert commit.start <= verdict.first_wrong <= at
    assert at < (verdict.before or verdict.first_wrong + 1) <= commit.stop


def test_a_forged_insertion_is_pinned_to_its_commit(original: Original, tmp_path: Path) -> None:
    """The forged entry agrees with itself; the one it pushed on does not, and `proven` ends before both."""
    file = original.copy(tmp_path)
    at = 8
    with spoiling(file) as connection:
        entries = rows(connection)
        put(connection, [*entries[:at], entries[at], *entries[at:]])
        forged(connection, at)
    verdict = original.verify(file)
    assert verdict.finding is Finding.MOVED
    assert verdict.proven <= at <= verdict.first_wrong <= at + 1


def test_an_addition_is_named(original: Original, tmp_path: Path) -> None:
    file = original.copy(tmp_path)
    with spoiling(file) as connection:
        entries = rows(connection)
        put(connection, [*entries, entries[-1]])
        forged(connection, SIZE)
    verdict = original.verify(file)
    assert (verdict.first_wrong, verdict.finding, verdict.proven) == (SIZE, Finding.UNSIGNED, SIZE)


def test_negative_positions_are_named(original: Original, tmp_path: Path) -> None:
    file = original.copy(tmp_path)
    with spoiling(file) as connection:
        connection.execute("UPDATE audit_entries SET position = -1 WHERE position = 5")
    assert original.verify(file).first_wrong == 0


def test_an_unsigned_checkpoint_proves_nothing(original: Original, tmp_path: Path) -> None:
    stranger = Signer("intramural.local/audit", keys.signing_key(tmp_path / "other", make=True))
    for size in (1_000_000, 0, -5, 5):
        file = original.copy(tmp_path)
        with spoiling(file) as connection:
            connection.execute("INSERT INTO audit_checkpoints VALUES (?,0,?,'')", (size, stranger.sign(7, bytes(32))))
        verdict = original.verify(file)
        assert (verdict.ok, verdict.first_wrong, verdict.finding) == (False, None, Finding.CHECKPOINT)


def test_changed_checkpoints_are_reported(original: Original, tmp_path: Path) -> None:
    changes = (
        "note = replace(note, '\n14\n', '\n13\n')",
        "note = x'00'",
        "note = ''",
        "note = (SELECT note FROM audit_checkpoints WHERE size = 15)",
        "frontier = zeroblob(32)",
        "frontier = 'text'",
    )
    for change in changes:
        file = original.copy(tmp_path)
        with spoiling(file) as connection:
            connection.execute(f"UPDATE audit_checkpoints SET {change} WHERE size = 14")
        verdict = original.verify(file)
        assert (verdict.ok, verdict.first_wrong, verdict.finding, verdict.size) == (
            False,
            None,
            Finding.CHECKPOINT,
            SIZE,
        ), change


def test_losing_the_newest_checkpoint_leaves_its_entries_unproven(original: Original, tmp_path: Path) -> None:
    for change in ("DELETE FROM audit_checkpoints", "UPDATE audit_checkpoints SET note = ''"):
        file = original.copy(tmp_path)
        with spoiling(file) as connection:
            connection.execute(f"{change} WHERE size = (SELECT max(size) FROM audit_checkpoints)")
        verdict = original.verify(file)
        assert (verdict.first_wrong, verdict.finding) == (SIZE - 1, Finding.UNSIGNED)


def test_cutting_off_entries_and_checkpoints_needs_a_held_checkpoint(original: Original, tmp_path: Path) -> None:
    """What a log alone cannot prove (docs/audit.md): that nothing followed."""
    file = original.copy(tmp_path)
    with spoiling(file) as connection:
        connection.execute("DELETE FROM audit_entries WHERE position >= 20")
        connection.execute("DELETE FROM audit_checkpoints WHERE size > 20")
    assert original.verify(file).ok
    verdict = original.verify(file, 36, 15)
    assert (verdict.first_wrong, verdict.finding) == (20, Finding.TRUNCATED)


def test_rewriting_with_the_key_needs_a_held_checkpoint(original: Original, tmp_path: Path) -> None:
    file = original.copy(tmp_path)
    signer = original.signer()
    with spoiling(file) as connection:
        forged(connection, 17)
        tree = Frontier()
        for (leaf,) in connection.execute("SELECT leaf_hash FROM audit_entries ORDER BY position").fetchall():
            tree = tree.extended([leaf])
            connection.execute(
                "UPDATE audit_checkpoints SET note = ?, frontier = ? WHERE size = ?",
                (signer.sign(tree.size, tree.root()), tree.to_bytes(), tree.size),
            )
    assert original.verify(file).ok
    assert original.verify(file, 15).ok
    verdict = original.verify(file, 40, 15)
    assert (verdict.first_wrong, verdict.before, verdict.finding) == (15, 40, Finding.REWRITTEN)
    assert original.verify(file, 40).first_wrong == 0


def test_a_held_checkpoint_must_be_of_this_log(original: Original, tmp_path: Path) -> None:
    file = original.copy(tmp_path)
    stranger = Signer("intramural.local/audit", keys.signing_key(tmp_path / "other", make=True))
    for note in ("", stranger.sign(3, bytes(32)), original.signer().sign(0, bytes(32))):
        with pytest.raises(Misasked, match="held_checkpoint_invalid"):
            verify_database(file, original.public_key, [note])
    with pytest.raises(Misasked, match="bad_audit_key"):
        verify_database(file, "key")
    with pytest.raises(Misasked, match="audit_file_missing"):
        verify_database(tmp_path / "missing.db", original.public_key)


def test_a_damaged_file_is_a_verdict(original: Original, tmp_path: Path) -> None:
    file = original.copy(tmp_path)
    data = file.read_bytes()
    page = data.rindex(b'"position":30,') // 4096
    file.write_bytes(data[: page * 4096] + b"\xff" * 4096 + data[page * 4096 + 4096 :])
    assert original.verify(file).finding in (Finding.UNREADABLE, Finding.DELETED, Finding.TRUNCATED)
    file.write_bytes(b"no database" * 1000)
    assert original.verify(file).finding is Finding.UNREADABLE
    file.write_bytes(b"")
    assert original.verify(file).finding is Finding.UNREADABLE


@settings(max_examples=tries(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_changed_byte_in_an_entry_is_missed(original: Original, tmp_path: Path, data: st.DataObject) -> None:
    file = original.copy(tmp_path)
    column = data.draw(st.sampled_from(["record", "leaf_hash"]))
    at = data.draw(st.integers(0, SIZE - 1))
    with spoiling(file) as connection:
        (value,) = connection.execute(f"SELECT {column} FROM audit_entries WHERE position = ?", (at,)).fetchone()
        byte = data.draw(st.integers(0, len(value) - 1))
        changed = value[:byte] + bytes([value[byte] ^ data.draw(st.integers(1, 255))]) + value[byte + 1 :]
        connection.execute(f"UPDATE audit_entries SET {column} = ? WHERE position = ?", (changed, at))
    assert original.verify(file).first_wrong == at


@pytest.mark.parametrize("spoil", SPOILERS)
async def test_opening_refuses_a_spoiled_tail(
    original: Original, tmp_path: Path, spoil: Callable[[sqlite3.Connection, int], Finding]
) -> None:
    file = original.copy(tmp_path)
    with spoiling(file) as connection:
        spoil(connection, SIZE - 3)
    db = await Database.open(file)
    with pytest.raises(Untrusted, match="audit_log_broken"):
        await AuditLog.open(db, original.folder / "secrets", AuditConfig(), SystemClock())
    await db.close()


async def test_opening_looks_at_the_tail_only(tmp_path: Path) -> None:
    """So that it is fast; `verify` sees the rest."""
    long = await written(tmp_path, tuple([64] * (TAIL_ENTRIES // 64 + 2)))
    with spoiling(long.folder / "intramural.db") as connection:
        _edit_record(connection, 5)
    db = await Database.open(long.folder / "intramural.db")
    log = await AuditLog.open(db, long.folder / "secrets", AuditConfig(), SystemClock())
    assert (await log.verify()).first_wrong == 5
    await log.record(Event.SERVICE_STARTED, SYSTEM)
    await log.close()
    await db.close()


def test_the_verifier_that_stands_alone_agrees(original: Original, tmp_path: Path) -> None:
    """It shares no code with this package, and comes to the same verdict on a copy of the database."""

    def run(file: Path, *notes: str) -> tuple[int | None, str]:
        command = [sys.executable, str(FILE), "log", str(file), "--json", "--key", original.public_key]
        for number, note in enumerate(notes):
            held = tmp_path / f"held{number}.txt"
            held.write_text(note)
            command += ["--held", str(held)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        found = json.loads(done.stdout)["checks"][-1]
        return found.get("first_wrong"), found["outcome"]

    file = original.copy(tmp_path)
    assert run(file, original.notes[36]) == (None, "holds")
    assert run(file, original.signer().sign(36, bytes(32))) == (0, "wrong")
    for at in (3, 21):
        file = original.copy(tmp_path)
        with spoiling(file) as connection:
            _edit_record(connection, at)
        assert run(file) == (at, "wrong")
        assert original.verify(file).first_wrong == at
    with spoiling(original.copy(tmp_path)) as connection:
        _truncate(connection, 30)
    assert run(file) == (30, "wrong")


@settings(max_examples=tries(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(SPOILERS), st.integers(1, SIZE - 1))
def test_the_verifier_that_stands_alone_names_the_same_entry(
    original: Original, tmp_path: Path, spoil: Callable[[sqlite3.Connection, int], Finding], at: int
) -> None:
    alone = loaded()
    trust = alone.Trust((alone.Key.parse(original.public_key),))
    with spoiling(file := original.copy(tmp_path)) as connection:
        spoil(connection, at)
    with pytest.raises(alone.Wrong) as wrong:
        alone.check_database(file, trust, [], alone.Report())
    assert wrong.value.first_wrong == original.verify(file).first_wrong == at
