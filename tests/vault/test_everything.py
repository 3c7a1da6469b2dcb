"""All of one person: shown whole and with nothing of another's, counted, and gone; no table is forgotten."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, func, insert, select, update
from tests import databases

from intramural.core.clock import SystemClock
from intramural.core.config import VaultConfig
from intramural.core.errors import Untrusted
from intramural.storage import Database
from intramural.storage import schema as t
from intramural.vault import Erased, Sealed, Stored, Vault, everything, places, row_id
from intramural.vault.everything import OF_NOBODY, OF_PEOPLE, STAYS

CLOCK = SystemClock()
ADA, BOB = "person_ada", "person_bob"


def test_every_table_is_somebodys_or_nobodys() -> None:
    """A new table belongs into one of the lists: what is in neither would be missing from exports and erasures."""
    listed = set(OF_PEOPLE) | OF_NOBODY
    assert listed == set(t.metadata.tables.values()), {table.name for table in listed ^ set(t.metadata.tables.values())}
    assert not set(OF_PEOPLE) & OF_NOBODY


def test_every_column_of_bytes_is_sealed_or_holds_nobodys_words() -> None:
    no_words = {
        "sessions.token_hash", "keys.key_hash", "setup_tokens.token_hash", "audit_entries.leaf_hash",
        "invitations.token_hash", "recovery_codes.code_hash", "passkeys.credential_id", "passkeys.public_key",
        "audit_entries.record", "audit_checkpoints.frontier", "data_keys.wrapped", "file_words.word",
    }  # fmt: skip
    sealed = {f"{each.place.table}.{each.place.column}" for each in places.ALL}
    binary = {
        f"{table.name}.{column.name}"
        for table in t.metadata.tables.values()
        for column in table.c
        if column.type.python_type is bytes
    }
    assert binary == sealed | no_words


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = await databases.opened(tmp_path / "intramural.db")
    yield database
    await database.close()


async def opened(db: Database, folder: Path) -> Vault:
    return await Vault.open(db, folder / "secrets", VaultConfig(), CLOCK)


def _said(whose: str, column: str) -> bytes:
    text = f"{whose} said {column}"
    return json.dumps([text]).encode() if column in ("body", "notes", "errors", "events") else text.encode()


def _sealed_of(table: Table) -> dict[str, Sealed]:
    return {each.column.name: each for each in places.ALL if each.column.table is table}


async def seed(db: Database, vault: Vault | None, whose: str) -> None:
    """A row in every table of people, with every column filled; in clear without a vault."""
    ids = {"chats": "chat", "responses": "resp", "transcripts": "conv", "files": "file", "batches": "batch"}
    parents = {
        "chat_id": "chat",
        "response_id": "resp",
        "transcript_id": "conv",
        "file_id": "file",
        "batch_id": "batch",
    }
    async with db.writing() as connection:
        for table in OF_PEOPLE:
            if table in (t.data_keys, t.erasures):
                continue
            row: dict[str, Any] = {}
            for column in table.c:
                kind = column.type.python_type
                row[column.name] = {int: 7, float: 0.5, bool: True, bytes: whose.encode()}.get(
                    kind, f"{whose} {table.name} {column.name}"
                )
                if column.name in parents:
                    row[column.name] = f"{parents[column.name]}_{whose}"
            if "person_id" in row:
                row["person_id"] = whose
            if table is t.people:
                row |= {"id": whose, "username": whose, "username_folded": whose}
            elif table.name in ids:
                row["id"] = f"{ids[table.name]}_{whose}"
            elif table is t.audit_entries:
                row |= {"actor_id": whose, "position": 1 if whose == ADA else 2}
            elif table is t.quota_limits:
                row |= {"subject": "person", "subject_id": whose}
            elif table is t.quota_balances:
                row["who"] = whose
            elif table is t.legal_holds:
                row |= {"id": f"hold_{whose}", "subject": "person", "subject_id": whose}
            elif table is t.legal_hold_people:
                row["hold_id"] = f"hold_{whose}"
            elif table is t.pulls:
                row["requested_by"] = whose
            elif table is t.openings:
                row["asker_id"] = whose
            elif table is t.egress_entries:
                row["asked_by"] = whose
            elif table is t.file_passages:
                row["id"] = 1 if whose == ADA else 2
            for name, sealed in _sealed_of(table).items():
                row[name] = _said(whose, name)
                if sealed is places.RESPONSE_EVENTS:
                    import zlib

                    row[name] = zlib.compress(row[name])
                if vault is not None:
                    at = row_id(*(row[key.name] for key in sealed.keys))
                    row[name] = vault.seal(whose, sealed.place, at, row[name])
            await connection.execute(insert(table).values(**row))
            if table is t.people and vault is not None:
                await connection.commit()
                await connection.exec_driver_sql("BEGIN")


async def places_to_belong(db: Database) -> None:
    """A group and a workspace for each, which are nobody's."""
    async with db.writing() as connection:
        for whose in (ADA, BOB):
            group = {"id": f"{whose} group_members group_id", "name": "g", "lineage": "/", "created_ms": 0}
            await connection.execute(insert(t.groups).values(**group))
            more = {"label": "public", "purposes": "", "retention_days": "", "created_ms": 0}
            for table in ("workspace_people", "workspace_overseers"):
                workspace = {"id": f"{whose} {table} workspace_id", "name": whose, "name_folded": f"{whose} {table}"}
                await connection.execute(insert(t.workspaces).values(**workspace, **more))


async def seeded(db: Database, folder: Path) -> Vault:
    vault = await opened(db, folder)
    await places_to_belong(db)
    for whose in (ADA, BOB):
        await databases.add_people(db, whose)
        await vault.prepare(whose)
        async with db.writing() as connection:
            await connection.execute(t.people.delete().where(t.people.c.id == whose))
        await seed(db, vault, whose)
    return vault


async def test_an_export_is_complete_and_holds_nothing_of_anothers(db: Database, tmp_path: Path) -> None:
    vault = await seeded(db, tmp_path)
    shown = await Stored(db, CLOCK).shown(vault, ADA)
    for table in OF_PEOPLE:
        if table is not t.erasures:
            assert shown[table.name], f"nothing of {table.name}"
        for name in _sealed_of(table):
            value = shown[table.name][0][name]
            assert value in (f"{ADA} said {name}", [f"{ADA} said {name}"]), (table.name, name)
    everything_shown = json.dumps(shown)
    assert BOB not in everything_shown
    for secret in ("password_hash", "token_hash", "csrf_token", "key_hash", "wrapped"):
        assert secret not in everything_shown


async def test_an_erasure_leaves_nothing_but_what_stays_and_nothing_of_anothers_goes(
    db: Database, tmp_path: Path
) -> None:
    vault = await seeded(db, tmp_path)
    stored = Stored(db, CLOCK)
    before = await stored.shown(vault, BOB)
    async with db.writing() as connection:
        gone, stays = await stored.counted(connection, ADA)
        await stored.remove(connection, ADA)
        assert await vault.destroy(connection, ADA) == 2
    vault.forget(ADA)
    assert set(gone) == {table.name for table in OF_PEOPLE if table not in STAYS}
    assert set(stays) == {"audit_entries", "usage"}
    async with db.reading() as connection:
        assert await everything.counted(connection, ADA) == stays
        assert (
            await connection.scalar(select(func.count()).select_from(t.pulls)) == 2
        )  # what is here, stays; not by whom
    assert await stored.shown(vault, BOB) == before
    assert not await stored.has(ADA) and await stored.has(BOB)
    await db.scrub()
    lying = databases.everything(db.address)
    assert b"person_ada chats" not in lying


async def test_a_value_moved_within_the_database_is_noticed(db: Database, tmp_path: Path) -> None:
    vault = await seeded(db, tmp_path)
    theirs = "(SELECT title FROM chats WHERE person_id = 'person_bob')"
    databases.query(db.address, f"UPDATE chats SET title = {theirs} WHERE person_id = 'person_ada'")
    with pytest.raises(Untrusted) as caught:
        await Stored(db, CLOCK).shown(vault, ADA)
    assert caught.value.code == "sealed_wrong"


# what an older version left in clear ------------------------------------------------------------------------------


async def test_what_was_in_clear_is_sealed_and_nothing_lost(db: Database, tmp_path: Path) -> None:
    await places_to_belong(db)
    for whose in (ADA, BOB):
        await seed(db, None, whose)
    vault, stored = await opened(db, tmp_path), Stored(db, CLOCK)
    assert not await stored.is_sealed()
    count = await stored.seal_clear(vault)
    assert count == 2 * len(places.ALL)
    assert await stored.seal_clear(vault) == 0  # as after a start that was cut off before it was noted
    await stored.note_sealed()
    assert await Stored(db, CLOCK).is_sealed()
    for whose in (ADA, BOB):
        shown = await stored.shown(vault, whose)
        for each in places.ALL:
            value = shown[each.place.table][0][each.place.column]
            assert value in (f"{whose} said {each.place.column}", [f"{whose} said {each.place.column}"])
    lying = databases.everything(db.address)
    assert b" said " not in lying


async def test_sealing_cut_off_goes_on(db: Database, tmp_path: Path) -> None:
    await places_to_belong(db)
    await seed(db, None, ADA)
    vault = await opened(db, tmp_path)
    await vault.prepare(ADA)
    async with db.writing() as connection:  # half of it is done already
        for each in places.ALL[::2]:
            ((*values, clear),) = await connection.execute(select(*each.keys, each.column))
            sealed = vault.seal(ADA, each.place, row_id(*values), clear)
            await connection.execute(update(each.column.table).values({each.column: sealed}))
    assert await Stored(db, CLOCK).seal_clear(vault) == len(places.ALL) - len(places.ALL[::2])
    assert (await Stored(db, CLOCK).shown(vault, ADA))["chats"][0]["title"] == f"{ADA} said title"


async def test_another_data_key_seals_everything_anew(db: Database, tmp_path: Path) -> None:
    vault = await seeded(db, tmp_path)
    stored = Stored(db, CLOCK)
    before = await stored.shown(vault, ADA)
    await vault.add_generation(ADA)
    assert await stored.reseal(vault, ADA) == len(places.ALL)
    assert await stored.reseal(vault, ADA) == 0
    await vault.drop_older_generations(ADA)
    after = await stored.shown(await opened(db, tmp_path), ADA)
    before.pop("data_keys"), after.pop("data_keys")
    assert after == before


# the list of erased people ----------------------------------------------------------------------------------------


def test_the_list_knows_who_is_erased(tmp_path: Path) -> None:
    erased = Erased(tmp_path / "secrets" / "erased.jsonl")
    assert erased.people() == {}
    erased.note(ADA, 5, "begun")
    erased.note(BOB, 6, "begun")
    erased.note(BOB, 6, "undone")
    assert erased.people() == {ADA: 5}
    file = tmp_path / "secrets" / "erased.jsonl"
    assert file.stat().st_mode & 0o777 == 0o600
    with file.open("a") as out:
        out.write('{"person_id": "person_x", "ti')  # cut off by a crash
    assert erased.people() == {ADA: 5}
    erased.note("person_c", 7, "begun")
    assert erased.people() == {ADA: 5, "person_c": 7}
    with file.open("a") as out:
        out.write("{nonsense}\n")
    with pytest.raises(Untrusted) as caught:
        erased.people()
    assert caught.value.code == "erased_list_damaged"
