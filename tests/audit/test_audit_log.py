"""Writing: durable, grouped, together with the act, and failing where it cannot be written."""

import asyncio
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from tests import databases
from tests.audit.settable_clock import SettableClock
from tests.disks import disk_with
from tests.vaults import vault_in

from intramural.audit import AuditLog, Beside, Event, VerifierKey, commitment, verify_database
from intramural.audit.log import CHECKPOINT_SPACING, KEPT_CHECKPOINTS, PRUNE_EVERY
from intramural.audit.merkle import EMPTY_ROOT, leaf_hash, verify_consistency, verify_inclusion
from intramural.core.actor import SYSTEM, Actor
from intramural.core.config import AuditConfig
from intramural.core.errors import Misasked, Missing, Unavailable, Untrusted
from intramural.storage import Database
from intramural.storage.schema import audit_texts, model_settings, people
from intramural.vault.places import AUDIT_TEXT

PINS = insert(model_settings)


def pin(name: str) -> Beside:
    return Beside(PINS, {"name": name, "pinned": True})


async def pins(db: Database) -> list[str]:
    async with db.reading() as connection:
        return list((await connection.execute(select(model_settings.c.name).order_by("name"))).scalars())


async def stored(db: Database, query: str) -> list[tuple[object, ...]]:
    async with db.reading() as connection:
        return [tuple(row) for row in await connection.exec_driver_sql(query)]


async def test_an_empty_log_has_a_checkpoint(log: AuditLog) -> None:
    assert log.size == 0
    found = log.verifier.checkpoint_of(log.checkpoint())
    assert (found.origin, found.size, found.root) == ("intramural.local/audit", 0, EMPTY_ROOT)
    assert (await log.verify()).ok
    assert await log.entries() == []


async def test_what_is_recorded_is_there_when_record_returns(
    log: AuditLog, db: Database, ada: Actor, clock: SettableClock
) -> None:
    clock.offset_s = -100.0
    position = await log.record(
        Event.CHAT_ASKED, ada, target="model:m", outcome="allowed", request_id="req_1", facts={"tokens": 3}
    )
    assert position == 0
    columns = "record, leaf_hash, event, actor_id, request_id"
    ((record, leaf, event, actor_id, request_id),) = databases.query(db.address, f"SELECT {columns} FROM audit_entries")
    assert leaf == leaf_hash(record)
    assert (event, actor_id, request_id) == ("chat.asked", "person_ada", "req_1")
    (entry,) = await log.entries()
    assert (entry.position, entry.event, entry.target, entry.outcome) == (0, "chat.asked", "model:m", "allowed")
    assert (entry.actor_kind, entry.actor_id, entry.actor_role, entry.credential_id) == (
        "key",
        "person_ada",
        "member",
        "key_1",
    )
    assert entry.facts == {"tokens": 3}
    assert abs(entry.time_ms - clock.now_s() * 1000) < 60_000
    assert VerifierKey.parse(str(log.verifier)).checkpoint_of(log.checkpoint()).size == 1


async def test_concurrent_events_share_commits(log: AuditLog, db: Database, ada: Actor) -> None:
    positions = await asyncio.gather(*[log.record(Event.CHAT_ASKED, ada, facts={"n": n}) for n in range(300)])
    assert positions == list(range(300))
    ((checkpoints,),) = await stored(db, "SELECT count(*) FROM audit_checkpoints")
    assert checkpoints == 1
    entries = await log.entries(limit=300)
    assert [entry.facts["n"] for entry in entries] == list(range(299, -1, -1))
    assert (await log.verify()).size == 300


async def test_records_and_transactions_interleave(log: AuditLog, db: Database, ada: Actor) -> None:
    async def act(number: int) -> None:
        async with log.transaction() as (connection, record):
            await connection.execute(PINS, {"name": f"t{number:03}", "pinned": False})
            record(Event.MODEL_PINNED, ada, target=f"model:t{number:03}")
            record(Event.MODEL_LOADED, SYSTEM)

    await asyncio.gather(
        *[act(number) for number in range(20)],
        *[log.record(Event.CHAT_ASKED, ada, beside=[pin(f"r{number:03}")]) for number in range(50)],
    )
    assert log.size == 90
    assert len(await pins(db)) == 70
    verdict = await log.verify()
    assert (verdict.ok, verdict.size) == (True, 90)


async def test_an_act_that_fails_leaves_neither_act_nor_event(log: AuditLog, db: Database, ada: Actor) -> None:
    with pytest.raises(ZeroDivisionError):
        async with log.transaction() as (connection, record):
            await connection.execute(PINS, {"name": "a", "pinned": False})
            record(Event.MODEL_PINNED, ada)
            raise ZeroDivisionError
    with pytest.raises(IntegrityError):
        async with log.transaction() as (connection, record):
            record(Event.MODEL_PINNED, ada)
            await connection.execute(PINS, {"name": "a", "pinned": False})
            await connection.execute(PINS, {"name": "a", "pinned": False})
    assert (await pins(db), log.size) == ([], 0)
    assert await log.record(Event.LOGOUT, ada) == 0
    assert (await log.verify()).ok


async def test_an_act_without_an_event_is_a_mistake(log: AuditLog, db: Database) -> None:
    with pytest.raises(RuntimeError, match="without an event"):
        async with log.transaction() as (connection, _):
            await connection.execute(PINS, {"name": "a", "pinned": False})
    assert await pins(db) == []


async def test_cancelling_a_transaction_at_any_moment_keeps_act_and_event_together(
    log: AuditLog, db: Database, ada: Actor
) -> None:
    async def act(name: str) -> None:
        async with log.transaction() as (connection, record):
            await connection.execute(PINS, {"name": name, "pinned": False})
            record(Event.MODEL_PINNED, ada, target=name)

    for turn in range(80):
        task = asyncio.create_task(act(f"a{turn:03}"))
        for _ in range(turn):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await act("z")
    assert sorted(entry.target for entry in await log.entries(limit=100)) == await pins(db)
    verdict = await log.verify()
    assert (verdict.ok, verdict.size) == (True, log.size)


async def test_a_cancelled_callers_event_is_written(log: AuditLog, ada: Actor) -> None:
    task = asyncio.ensure_future(log.record(Event.CHAT_ASKED, ada))
    await asyncio.sleep(0)
    task.cancel()
    assert await log.record(Event.CHAT_ANSWERED, ada) == 1
    assert [entry.event for entry in await log.entries()] == ["chat.answered", "chat.asked"]


async def test_rows_beside_are_committed_with_the_event_or_not_at_all(log: AuditLog, db: Database, ada: Actor) -> None:
    await log.record(Event.CHAT_ANSWERED, ada, beside=[pin("a"), pin("b")])
    results = await asyncio.gather(
        log.record(Event.CHAT_ANSWERED, ada, facts={"n": 1}, beside=[pin("c")]),
        log.record(Event.CHAT_ANSWERED, ada, facts={"n": 2}, beside=[pin("a")]),
        log.record(Event.CHAT_ANSWERED, ada, facts={"n": 3}),
        return_exceptions=True,
    )
    assert isinstance(results[1], Unavailable)
    assert (results[0], results[2]) == (1, 2)
    assert await pins(db) == ["a", "b", "c"]
    assert [entry.facts.get("n") for entry in await log.entries()] == [3, 1, None]


async def test_a_wrong_fact_fails_before_anything_is_written(log: AuditLog, ada: Actor) -> None:
    no_fact: Any = object()
    with pytest.raises(TypeError):
        await log.record(Event.CHAT_ASKED, ada, facts={"a": no_fact})
    with pytest.raises(TypeError):
        async with log.transaction() as (_, record):
            record(Event.CHAT_ASKED, ada, facts={"a": no_fact})
    assert log.size == 0


def full_disk(file: Path) -> AbstractContextManager[None]:
    """No file of this process may grow beyond the database's write-ahead log as it is."""
    return disk_with(file.with_name(file.name + "-wal").stat().st_size)


@pytest.mark.sqlite(reason="the file may not grow")
async def test_where_the_log_cannot_be_written_nothing_happens(log: AuditLog, db: Database, ada: Actor) -> None:
    await log.record(Event.CHAT_ASKED, ada)
    note = log.checkpoint()
    with full_disk(db.file):
        with pytest.raises(Unavailable, match="audit_unavailable"):
            await log.record(Event.CHAT_ASKED, ada)
        with pytest.raises(Unavailable, match="audit_unavailable"):
            async with log.transaction() as (connection, record):
                await connection.execute(PINS, {"name": "a", "pinned": False})
                record(Event.MODEL_PINNED, ada)
        results = await asyncio.gather(
            *[log.record(Event.CHAT_ASKED, ada) for _ in range(5)],
            log.record(Event.CHAT_ASKED, ada, beside=[pin("b")]),
            return_exceptions=True,
        )
        assert all(isinstance(result, Unavailable) for result in results)
    assert (log.size, log.checkpoint(), await pins(db)) == (1, note, [])
    assert await log.record(Event.CHAT_ASKED, ada) == 1
    assert (await log.verify()).ok


async def test_a_closed_log_takes_nothing_but_finishes_what_waits(log: AuditLog, ada: Actor) -> None:
    tasks = [asyncio.ensure_future(log.record(Event.CHAT_ASKED, ada)) for _ in range(20)]
    await asyncio.sleep(0)
    await log.close()
    assert sorted(await asyncio.gather(*tasks)) == list(range(20))
    recorded = log.record(Event.CHAT_ASKED, ada)  # does not raise here: what is wrong comes out of the future
    with pytest.raises(Unavailable):
        await recorded
    with pytest.raises(Unavailable):
        async with log.transaction():
            pass
    await log.close()


async def test_two_processes_may_write_by_turns(
    log: AuditLog, db: Database, ada: Actor, tmp_path: Path, clock: SettableClock
) -> None:
    """The command line writes while the service runs: each continues the other's tree."""
    second_db = await Database.open(db.address)
    second = await AuditLog.open(second_db, tmp_path / "secrets", AuditConfig(), clock)
    await log.record(Event.CHAT_ASKED, ada)
    assert await second.record(Event.PERSON_CREATED, SYSTEM) == 1
    async with second.transaction() as (_, record):
        record(Event.PERSON_CREATED, SYSTEM)
    assert await log.record(Event.CHAT_ASKED, ada) == 3
    positions = await asyncio.gather(*[each.record(Event.LOGOUT, ada) for each in (log, second) * 20])
    assert sorted(positions) == list(range(4, 44))
    verdict = await log.verify()
    assert (verdict.ok, verdict.size) == (True, 44)
    await second.close()
    await second_db.close()


async def test_a_log_spoiled_while_open_takes_no_more(log: AuditLog, db: Database, ada: Actor) -> None:
    for _ in range(3):
        await log.record(Event.CHAT_ASKED, ada)
    databases.query(db.address, "DELETE FROM audit_entries WHERE position = 2")
    databases.query(db.address, "DELETE FROM audit_checkpoints WHERE size = 3")
    with pytest.raises(Unavailable):
        await log.record(Event.CHAT_ASKED, ada)
    with pytest.raises(Untrusted, match="audit_log_broken"):
        async with log.transaction() as (_, record):
            record(Event.LOGOUT, ada)
    verdict = await log.verify()
    assert (verdict.ok, verdict.first_wrong) == (False, 2)


async def test_reopening_continues(
    log: AuditLog, db: Database, ada: Actor, tmp_path: Path, clock: SettableClock
) -> None:
    for _ in range(5):
        await log.record(Event.CHAT_ASKED, ada)
    note = log.plain_checkpoint()
    await log.close()
    again = await AuditLog.open(db, tmp_path / "secrets", AuditConfig(), clock)
    assert again.plain_checkpoint() == note
    assert await again.record(Event.CHAT_ASKED, ada) == 5
    assert (await again.verify([note])).ok
    await again.close()


async def test_another_key_or_name_cannot_continue_the_log(
    log: AuditLog, db: Database, ada: Actor, tmp_path: Path, clock: SettableClock
) -> None:
    await log.record(Event.CHAT_ASKED, ada)
    await log.close()
    with pytest.raises(Untrusted, match="audit_key_missing"):
        await AuditLog.open(db, tmp_path / "other", AuditConfig(), clock)
    with pytest.raises(Untrusted, match="audit_log_broken"):
        await AuditLog.open(db, tmp_path / "secrets", AuditConfig(origin="other.example"), clock)


async def test_a_clock_set_back_is_flagged_and_order_holds(
    log: AuditLog, db: Database, ada: Actor, tmp_path: Path, clock: SettableClock
) -> None:
    await log.record(Event.CHAT_ASKED, ada)
    clock.offset_s = -3600.0
    await log.record(Event.CHAT_ASKED, ada)
    await log.close()
    again = await AuditLog.open(db, tmp_path / "secrets", AuditConfig(), clock)
    await again.record(Event.CHAT_ASKED, ada)
    clock.offset_s = 60.0
    await again.record(Event.CHAT_ASKED, ada)
    last, third, second, first = await again.entries()
    assert (first.skew_ms, last.skew_ms) == (0, 0)
    assert abs(second.skew_ms - 3_600_000) < 60_000
    assert abs(third.skew_ms - 3_600_000) < 60_000
    assert [entry.position for entry in (first, second, third, last)] == [0, 1, 2, 3]
    assert (await again.verify()).ok
    await again.close()


async def test_entries_are_paged_and_filtered(log: AuditLog, db: Database, ada: Actor) -> None:
    async with db.writing() as connection:
        await connection.execute(
            insert(people),
            {
                "id": "person_ada",
                "username": "ada.lovelace",
                "username_folded": "ada.lovelace",
                "role": "member",
                "password_hash": "",
                "created_ms": 0,
            },
        )
    for number in range(10):
        actor = ada if number % 2 else SYSTEM
        await log.record(Event.CHAT_ASKED if number < 5 else Event.LOGOUT, actor)
    assert [entry.position for entry in await log.entries(limit=3)] == [9, 8, 7]
    assert [entry.position for entry in await log.entries(before=7, limit=3)] == [6, 5, 4]
    assert [entry.position for entry in await log.entries(event="chat.asked")] == [4, 3, 2, 1, 0]
    found = await log.entries(event="logout", actor_id="person_ada")
    assert [(entry.position, entry.username) for entry in found] == [
        (9, "ada.lovelace"),
        (7, "ada.lovelace"),
        (5, "ada.lovelace"),
    ]
    assert {entry.username for entry in await log.entries(actor_id="system")} == {"system"}
    assert await log.entries(limit=0) == await log.entries(limit=-1) == []


async def test_prompts_are_committed_to_and_no_name_is_in_the_log(log: AuditLog, db: Database, ada: Actor) -> None:
    prompt = "My number is 078-05-1120."
    await log.record(Event.CHAT_ASKED, ada, texts={"prompt": prompt})
    async with log.transaction() as (_, record):
        record(Event.CHAT_ANSWERED, ada, texts={"answer": prompt})
    answered, asked = await log.entries()
    salt = log.salt("prompt", asked.texts, "person_ada")
    assert asked.texts["prompt"] == {"bytes": len(prompt), "commitment": commitment(salt, prompt)}
    assert answered.texts["answer"]["commitment"] != asked.texts["prompt"]["commitment"]
    await log.close()
    await db.close()
    everything = databases.everything(db.address)
    assert b"person_ada" in everything
    assert b"078-05-1120" not in everything
    assert b"lovelace" not in everything


@pytest.mark.parametrize("kept", [True, False])
async def test_texts_are_committed_to_under_their_owners_key_and_kept_where_settings_say_so(
    db: Database, tmp_path: Path, ada: Actor, clock: SettableClock, kept: bool
) -> None:
    await databases.add_people(db, "person_ada")
    vault = await vault_in(db, tmp_path, "person_ada")
    log = await AuditLog.open(db, tmp_path / "secrets", AuditConfig(record_prompts=kept), clock, vault)
    await log.record(Event.CHAT_ASKED, ada, texts={"prompt": "hello"})
    async with log.transaction() as (connection, record):
        record(Event.FILE_STORED, ada, texts={"name": "hello"})
    bob = Actor("key", "person_bob", "bob", "member", frozenset(), "key_2")  # has no key of his own
    await log.record(Event.CHAT_ASKED, bob, texts={"prompt": "hello"})
    bobs, stored_file, asked = await log.entries()
    assert asked.texts.keys() == {"prompt", "nonce", "key"} and bobs.texts.keys() == {"prompt", "nonce"}
    for entry, name in ((asked, "prompt"), (stored_file, "name"), (bobs, "prompt")):
        salt = log.salt(name, entry.texts, entry.actor_id)
        assert entry.texts[name] == {"bytes": 5, "commitment": commitment(salt, "hello")}
    async with db.reading() as connection:
        rows = (await connection.execute(select(audit_texts).order_by(audit_texts.c.name))).all()
    place = AUDIT_TEXT.place
    found = [(row.name, vault.reveal(row.person_id, place, f"{row.nonce}/{row.name}", row.body)) for row in rows]
    assert found == ([("name", b"hello"), ("prompt", b"hello")] if kept else [])
    async with db.writing() as connection:
        await vault.destroy(connection, "person_ada")
    vault.forget("person_ada")
    with pytest.raises(Missing):
        log.salt("prompt", asked.texts, "person_ada")
    log.salt("prompt", bobs.texts, "person_bob")
    assert (await log.verify()).ok
    await log.close()


async def test_proofs(log: AuditLog, db: Database, ada: Actor) -> None:
    notes = []
    for number in range(13):
        await log.record(Event.CHAT_ASKED, ada, facts={"n": number})
        notes.append(log.verifier.checkpoint_of(log.checkpoint()))
    leaves = [leaf for (leaf,) in await stored(db, "SELECT leaf_hash FROM audit_entries ORDER BY position")]
    newest = notes[-1]
    for position, leaf in enumerate(leaves):
        assert isinstance(leaf, bytes)
        proof = await log.prove_inclusion(position, 13)
        assert verify_inclusion(leaf, position, 13, proof, newest.root)
        proof = await log.prove_consistency(position + 1, 13)
        assert verify_consistency(position + 1, notes[position].root, 13, newest.root, proof)
    for first, second in ((13, 13), (0, 14), (-1, 5)):
        with pytest.raises(Misasked, match="audit_proof_impossible"):
            await log.prove_inclusion(first, second)
    for first, second in ((0, 3), (5, 3), (3, 14)):
        with pytest.raises(Misasked, match="audit_proof_impossible"):
            await log.prove_consistency(first, second)


async def test_old_checkpoints_are_thinned_and_the_log_still_verifies(log: AuditLog, db: Database, ada: Actor) -> None:
    commits = KEPT_CHECKPOINTS + 3 * PRUNE_EVERY
    for _ in range(commits):
        await log.record(Event.CHAT_ASKED, ada)
    sizes = [size for (size,) in await stored(db, "SELECT size FROM audit_checkpoints ORDER BY size")]
    newest = sizes[-KEPT_CHECKPOINTS:]
    assert newest == list(range(commits - KEPT_CHECKPOINTS + 1, commits + 1))
    older = sizes[:-KEPT_CHECKPOINTS]
    assert older == [1, *range(CHECKPOINT_SPACING, commits - KEPT_CHECKPOINTS + 1, CHECKPOINT_SPACING)]
    assert (await asyncio.to_thread(verify_database, db.address, str(log.verifier), [log.checkpoint()])).ok
