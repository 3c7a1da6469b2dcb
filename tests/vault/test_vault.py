"""Keys under keys: what is sealed opens only where it belongs, and for nobody once the key is gone."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select
from tests import databases
from tests.disks import disk_with

from intramural.core.clock import SystemClock
from intramural.core.config import VaultConfig
from intramural.core.errors import Broken, IntramuralError, Misasked, Missing, Unavailable, Untrusted
from intramural.storage import Database
from intramural.storage.schema import data_keys, people
from intramural.vault import MAGIC, Place, Vault
from intramural.vault.envelope import KEY_BYTES, DataKey, WrappingKey
from intramural.vault.keyfile import KEY_FILE, KeyFile
from intramural.vault.vault import bound

ADA, BOB = "person_ada", "person_bob"
TITLE, CONTENT = Place("chats", "title"), Place("chat_messages", "content")
CLOCK = SystemClock()


async def add_people(db: Database, *names: str) -> None:
    values = {"role": "member", "password_hash": "", "created_ms": 0}
    async with db.writing() as connection:
        for name in names:
            await connection.execute(insert(people).values(id=name, username=name, username_folded=name, **values))


async def opened(db: Database, **settings: str) -> Vault:
    return await Vault.open(db, databases.file_of(db).parent / "secrets", VaultConfig(**settings), CLOCK, held=2)


async def sealed_of_many(folder: Path) -> dict[str, bytes]:
    """What 400 people have each sealed, in the database of `folder`, by person: enough to change keys for a while."""
    db = await databases.opened(folder / "intramural.db")
    names = [f"p{n:03}" for n in range(400)]
    await add_people(db, *names)
    vault = await opened(db)
    for name in names:
        await vault.prepare(name)
    sealed = {name: vault.seal(name, TITLE, "c", name.encode()) for name in names}
    await db.close()
    return sealed


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = await databases.opened(tmp_path / "intramural.db")
    await add_people(database, ADA, BOB)
    yield database
    await database.close()


@pytest.fixture
async def vault(db: Database) -> Vault:
    vault = await opened(db)
    await vault.prepare(ADA)
    await vault.prepare(BOB)
    return vault


KEY, OTHER = DataKey(1, bytes(KEY_BYTES)), DataKey(1, b"\x01" * KEY_BYTES)


@given(st.binary(max_size=300))
def test_a_value_opens_only_where_it_was_sealed(value: bytes) -> None:
    sealed = KEY.seal(TITLE, "chat_1", ADA, value)
    assert KEY.open(TITLE, "chat_1", ADA, sealed) == value
    assert sealed.startswith(MAGIC)
    assert len(value) < 12 or value not in sealed
    elsewhere = [
        (KEY, TITLE, "chat_2", ADA),  # another row
        (KEY, CONTENT, "chat_1", ADA),  # another column
        (KEY, TITLE, "chat_1", BOB),  # another person
        (OTHER, TITLE, "chat_1", ADA),  # another key
        (DataKey(2, bytes(KEY_BYTES)), TITLE, "chat_1", ADA),  # another generation
    ]
    for key, place, row, person in elsewhere:
        with pytest.raises(Untrusted) as caught:
            key.open(place, row, person, sealed)
        assert caught.value.code == "sealed_wrong"


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_bit_is_noticed(at: int, by: int) -> None:
    sealed = bytearray(KEY.seal(TITLE, "chat_1", ADA, b"What is a monad?"))
    at = 8 + at % (len(sealed) - 8)  # the head says which key, and is bound too: `Vault.reveal` reads it
    sealed[at] ^= by
    with pytest.raises(Untrusted):
        KEY.open(TITLE, "chat_1", ADA, bytes(sealed))


async def test_nobody_opens_what_is_another_persons(vault: Vault) -> None:
    sealed = vault.seal(ADA, TITLE, "chat_1", b"mine")
    assert vault.reveal(ADA, TITLE, "chat_1", sealed) == b"mine"
    with pytest.raises(Untrusted):
        vault.reveal(BOB, TITLE, "chat_1", sealed)
    for never_sealed in (b"", b"mine", b"\xff" * 50, MAGIC, sealed[:35]):
        with pytest.raises(IntramuralError):
            vault.reveal(ADA, TITLE, "chat_1", never_sealed)
    with pytest.raises(Broken):  # a generation that there never was
        vault.reveal(ADA, TITLE, "chat_1", MAGIC + b"\0\0\0\x63" + sealed[8:])


async def test_it_goes_on_after_a_start_and_holds_few_keys_open(db: Database, vault: Vault) -> None:
    sealed = vault.seal(ADA, TITLE, "c", b"kept")
    await add_people(db, *(f"p{n}" for n in range(5)))
    for n in range(5):
        await vault.prepare(f"p{n}")
        vault.seal(f"p{n}", TITLE, "c", b"")
    assert len(vault._held) == 2
    again = await opened(db)
    assert again.reveal(ADA, TITLE, "c", sealed) == b"kept"
    assert again.salts_key(ADA) == vault.salts_key(ADA) != vault.salts_key(BOB)


async def test_who_is_nobody_gets_no_keys(vault: Vault) -> None:
    await vault.prepare("person_nobody")
    assert not vault.knows("person_nobody")
    with pytest.raises(Missing):
        vault.seal("person_nobody", TITLE, "c", b"")
    assert vault.states_key("person_nobody") == vault.states_key("person_nobody") != vault.states_key(ADA)


async def test_many_at_once_make_one_key(db: Database) -> None:
    vault = await opened(db)
    await asyncio.gather(*(vault.prepare(ADA) for _ in range(20)))
    sealed = vault.seal(ADA, TITLE, "c", b"x")
    assert (await opened(db)).reveal(ADA, TITLE, "c", sealed) == b"x"


@pytest.mark.parametrize("turns", range(1, 12))
async def test_keys_of_who_left_meanwhile_are_known(db: Database, turns: int) -> None:
    """Wherever they were cut off: what is in the database is in memory too, and the next request finds it."""
    vault = await opened(db)
    for work in (vault.prepare(ADA), vault.add_generation(ADA)):
        leaving = asyncio.ensure_future(work)
        for _ in range(turns):
            await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        await vault.prepare(ADA)
    await vault.add_generation(ADA)
    assert (await opened(db)).generation(ADA) == vault.generation(ADA)


@pytest.mark.sqlite(reason="its file cannot grow")
async def test_keys_that_cannot_be_written_are_refused_by_name(db: Database) -> None:
    vault = await opened(db)
    await vault.prepare(ADA)  # so that the connection is there
    with disk_with(db.file.with_name(db.file.name + "-wal").stat().st_size):
        with pytest.raises(Unavailable, match="vault_unavailable"):
            await vault.prepare(BOB)
        assert not vault.knows(BOB)
    await vault.prepare(BOB)
    assert vault.knows(BOB)


async def test_a_destroyed_key_is_gone_also_from_the_files(db: Database, vault: Vault) -> None:
    async with db.reading() as connection:
        wanted = select(data_keys.c.wrapped).where(data_keys.c.person_id == ADA)
        wrapped = list((await connection.execute(wanted)).scalars())
    await db.scrub()
    assert all(each in databases.everything(db.address) for each in wrapped)
    sealed = vault.seal(ADA, TITLE, "c", b"x")
    async with db.writing() as connection:
        assert await vault.destroy(connection, ADA) == 2
    vault.forget(ADA)
    assert await db.scrub()
    lying = databases.everything(db.address)
    assert not any(each in lying for each in wrapped)
    for each in (vault, await opened(db)):
        with pytest.raises(Missing):
            each.reveal(ADA, TITLE, "c", sealed)
        assert each.knows(BOB)


# the installation's key -----------------------------------------------------------------------------------------------


async def test_without_its_key_the_database_does_not_open(db: Database, vault: Vault) -> None:
    file = databases.file_of(db).parent / "secrets" / KEY_FILE
    held = file.read_bytes()
    file.unlink()
    with pytest.raises(Untrusted) as caught:
        await opened(db)
    assert caught.value.code == "vault_key_missing" and not file.exists()
    KeyFile(file.parent, VaultConfig(), CLOCK).current(make=True)  # another one
    with pytest.raises(Untrusted) as caught:
        await opened(db)
    assert caught.value.code == "data_key_wrong"
    file.write_bytes(held)
    file.chmod(0o644)
    with pytest.raises(Untrusted) as caught:
        await opened(db)
    assert caught.value.code == "secret_exposed"
    for damaged in (b"", b"{}", b'{"key":"!!"}', held[:20]):
        file.write_bytes(damaged)
        file.chmod(0o600)
        with pytest.raises(Untrusted) as caught:
            await opened(db)
        assert caught.value.code == "secret_damaged"


async def test_no_copy_of_a_key_is_left_by_who_was_killed_while_writing_it(db: Database, vault: Vault) -> None:
    secrets = databases.file_of(db).parent / "secrets"
    for name in (KEY_FILE, f"{KEY_FILE}.next"):
        (secrets / f".{name}.4711.part").write_bytes((secrets / KEY_FILE).read_bytes())
    await opened(db)
    assert [each.name for each in secrets.iterdir() if KEY_FILE in each.name] == [KEY_FILE]


async def test_a_passphrase_locks_it(db: Database, tmp_path: Path) -> None:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("seven wet horses\n")
    vault = await opened(db, passphrase_file=str(passphrase))
    await vault.prepare(ADA)
    sealed = vault.seal(ADA, TITLE, "c", b"x")
    again = await opened(db, passphrase_file=str(passphrase))
    assert again.reveal(ADA, TITLE, "c", sealed) == b"x"
    passphrase.write_text("eight wet horses\n")
    with pytest.raises(Untrusted) as wrong:
        await opened(db, passphrase_file=str(passphrase))
    assert wrong.value.code == "passphrase_wrong"
    for settings in ({}, {"passphrase_file": str(tmp_path / "nowhere")}):
        with pytest.raises(Misasked) as needed:
            await opened(db, **settings)
        assert needed.value.code == "passphrase_needed"


async def test_after_a_change_the_old_key_opens_nothing(db: Database, vault: Vault) -> None:
    secrets = databases.file_of(db).parent / "secrets"
    old = KeyFile(secrets, VaultConfig(), CLOCK).current(make=False)
    sealed = vault.seal(ADA, TITLE, "c", b"x")
    assert await vault.change_wrapping_key() == 4
    async with db.reading() as connection:
        rows = (await connection.execute(select(data_keys))).all()
    for row in rows:
        with pytest.raises(Untrusted):
            old.unwrap(row.wrapped, bound(row.person_id, row.purpose, row.generation))
    for each in (vault, await opened(db)):
        assert each.reveal(ADA, TITLE, "c", sealed) == b"x"
    assert sorted(each.name for each in secrets.iterdir()) == [KEY_FILE]
    await vault.prepare(BOB)
    assert await vault.change_wrapping_key() == 4  # as often as one likes


def test_a_wrapped_key_opens_for_its_own_row_alone() -> None:
    wrapping = WrappingKey(bytes(KEY_BYTES))
    wrapped = wrapping.wrap(b"k" * KEY_BYTES, bound(ADA, "content", 1))
    assert wrapping.unwrap(wrapped, bound(ADA, "content", 1)) == b"k" * KEY_BYTES
    for elsewhere in (bound(BOB, "content", 1), bound(ADA, "salts", 1), bound(ADA, "content", 2)):
        with pytest.raises(Untrusted):
            wrapping.unwrap(wrapped, elsewhere)


async def test_a_change_cut_off_anywhere_is_finished_at_the_next_start(tmp_path: Path) -> None:
    """A real process is killed while it changes the key, at seven moments from its beginning on."""
    sealed = await sealed_of_many(tmp_path)
    changer, place = Path(__file__).parent / "changes_key.py", databases.place(tmp_path / "intramural.db")
    first = name_of_key_in(tmp_path)
    cut_off = 0
    for n in range(7):
        process = subprocess.Popen([sys.executable, changer, tmp_path, str(place)], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        time.sleep(n * 0.006)
        process.send_signal(signal.SIGKILL)
        process.wait()
        cut_off += (tmp_path / "secrets" / (KEY_FILE + ".next")).exists()
    assert cut_off, "none of them was in the middle of it"
    db = await databases.opened(tmp_path / "intramural.db")
    vault = await opened(db)
    assert not (tmp_path / "secrets" / (KEY_FILE + ".next")).exists()
    for name, kept in sealed.items():
        assert vault.reveal(name, TITLE, "c", kept) == name.encode()
    await db.close()
    found = databases.query(place, "SELECT DISTINCT wrapping_key FROM data_keys")
    assert found == [(name_of_key_in(tmp_path),)] and found != [(first,)]


def name_of_key_in(folder: Path) -> str:
    return KeyFile(folder / "secrets", VaultConfig(), CLOCK).current(make=False).name


# one person's data key ------------------------------------------------------------------------------------------------


async def test_another_generation_seals_and_older_ones_open_until_they_are_dropped(db: Database, vault: Vault) -> None:
    before = vault.seal(ADA, TITLE, "c", b"before")
    salts = vault.salts_key(ADA)
    assert await vault.add_generation(ADA) == 2
    after = vault.seal(ADA, TITLE, "d", b"after")
    for each in (vault, await opened(db)):
        assert each.reveal(ADA, TITLE, "c", before) == b"before"
        assert each.reveal(ADA, TITLE, "d", after) == b"after"
    await vault.drop_older_generations(ADA)
    for each in (vault, await opened(db)):
        with pytest.raises(Broken):
            each.reveal(ADA, TITLE, "c", before)
        assert each.reveal(ADA, TITLE, "d", after) == b"after"
        assert each.salts_key(ADA) == salts
