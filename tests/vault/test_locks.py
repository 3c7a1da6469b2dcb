"""What locks the installation's key: a real token made of software, and a keyring that keeps its entries in a file.

Every way in which a lock can be missing, wrong or shut has an error of its own, at the start, and changes nothing.
"""

import json
import os
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import keyring
import pytest
from keyring.backends.fail import Keyring as NoKeyring
from keyring.errors import KeyringLocked
from keyrings.alt.file import PlaintextKeyring
from tests import databases
from tests.fakes import softhsm
from tests.vault.changing import Changer, changer
from tests.vault.test_vault import ADA, BOB, CLOCK, TITLE, opened, sealed_of_many

from intramural.core.config import VaultConfig
from intramural.core.errors import IntramuralError, Misasked, Unavailable, Untrusted
from intramural.storage import Database
from intramural.vault.keyfile import KEY_FILE, NEXT, KeyFile

needs_token = pytest.mark.skipif(not softhsm.MODULE, reason="no SoftHSM was to be had: see scripts/test-system")


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = await databases.opened(tmp_path / "intramural.db")
    await databases.add_people(database, ADA, BOB)
    yield database
    await database.close()


@pytest.fixture
def changing() -> Iterator[Changer]:
    with changer() as made:
        yield made


@pytest.fixture(scope="module")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[softhsm.SoftHsm]:
    """One for the file: the library looks for its settings once in a process."""
    made = softhsm.made(tmp_path_factory.mktemp("softhsm") / "hsm")
    before = dict(os.environ)
    os.environ.update(made.environment)
    softhsm.make_pair()
    yield made
    os.environ.clear()
    os.environ.update(before)


class Rings(PlaintextKeyring):
    """The one in a file, in a file of the test's."""

    file_path = ""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file_path = str(file)


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Path]:
    """Where the user's keyring lies for as long as the test goes."""
    before = keyring.get_keyring()
    keyring.set_keyring(Rings(tmp_path / "ring.cfg"))
    yield tmp_path / "ring.cfg"
    keyring.set_keyring(before)


def stored(db: Database, name: str = KEY_FILE) -> dict[str, Any]:
    return dict(json.loads((databases.file_of(db).parent / "secrets" / name).read_text()))


async def fails(db: Database, code: str, kind: type[IntramuralError], **settings: str) -> None:
    """It does not open, says why in this way, and nothing of the key has changed."""
    file = databases.file_of(db).parent / "secrets" / KEY_FILE
    before = file.read_bytes() if file.exists() else None
    with pytest.raises(kind) as caught:
        await opened(db, **settings)
    assert caught.value.code == code and caught.value.hint
    assert softhsm.PIN not in str(caught.value)
    assert (file.read_bytes() if file.exists() else None) == before


# a token --------------------------------------------------------------------------------------------------------------


@needs_token
async def test_a_token_locks_it_and_only_the_token_opens_it(db: Database, hsm: softhsm.SoftHsm) -> None:
    vault = await opened(db, **hsm.settings())
    await vault.prepare(ADA)
    sealed = vault.seal(ADA, TITLE, "c", b"x")
    again = await opened(db, **hsm.settings())
    assert again.reveal(ADA, TITLE, "c", sealed) == b"x"
    found = stored(db)
    assert found["locked_by"] == "pkcs11" and found["of"] == {"token": softhsm.TOKEN, "key": softhsm.KEY}
    key = KeyFile(databases.file_of(db).parent / "secrets", VaultConfig(**hsm.settings()), CLOCK)._read(
        databases.file_of(db).parent / "secrets" / KEY_FILE
    )
    for file in (*databases.file_of(db).parent.rglob("*"), *hsm.folder.rglob("*.object")):
        if file.is_file():
            assert key not in file.read_bytes() and softhsm.PIN.encode() not in file.read_bytes(), file


@needs_token
async def test_whatever_is_wrong_with_a_token_is_said_at_the_start(
    db: Database, hsm: softhsm.SoftHsm, tmp_path: Path
) -> None:
    vault = await opened(db, **hsm.settings())
    await vault.prepare(ADA)
    await fails(db, "token_module_wrong", Misasked, **hsm.settings(pkcs11_module=str(tmp_path / "none.so")))
    await fails(db, "token_module_wrong", Misasked, **hsm.settings(pkcs11_module=__file__))
    await fails(db, "token_module_wrong", Misasked, **hsm.settings(pkcs11_module=""))
    await fails(db, "pin_wrong", Misasked, **hsm.settings(pin_file=hsm.pin_file("0000000")))
    await fails(db, "pin_wrong", Misasked, **hsm.settings(pin_file=hsm.pin_file("1")))
    await fails(db, "pin_needed", Misasked, **hsm.settings(pin_file=""))
    await fails(db, "pin_needed", Misasked, **hsm.settings(pin_file=hsm.pin_file("")))
    await fails(db, "pin_needed", Misasked, **hsm.settings(pin_file=str(tmp_path / "nowhere")))
    shown = Path(hsm.pin_file(softhsm.PIN + "0"))
    shown.chmod(0o640)
    await fails(db, "secret_exposed", Untrusted, **hsm.settings(pin_file=str(shown)))
    # what is locked says itself by what: another token's file is another token's
    file = databases.file_of(db).parent / "secrets" / KEY_FILE
    held = file.read_text()
    for of, code, kind in (
        ({"token": "another", "key": softhsm.KEY}, "token_missing", Unavailable),
        ({"token": softhsm.TOKEN, "key": "another"}, "token_key_missing", Misasked),
    ):
        file.write_text(json.dumps(json.loads(held) | {"of": of}))
        await fails(db, code, kind, **hsm.settings())
    spoiled = json.loads(held)
    spoiled["key"] = ("B" if spoiled["key"][0] == "A" else "A") + spoiled["key"][1:]
    file.write_text(json.dumps(spoiled))
    await fails(db, "token_key_wrong", Untrusted, **hsm.settings())
    file.write_text(held)
    await opened(db, **hsm.settings())


@needs_token
async def test_keys_that_would_protect_nothing_are_not_used(db: Database, hsm: softhsm.SoftHsm) -> None:
    softhsm.make_pair("loose", given_out=True)
    softhsm.make_pair("short", bits=1024)
    await fails(db, "token_key_extractable", Untrusted, **hsm.settings(pkcs11_key="loose"))
    await fails(db, "token_key_weak", Untrusted, **hsm.settings(pkcs11_key="short"))
    softhsm.make_pair("twice")
    softhsm.make_pair("twice")
    await fails(db, "token_key_missing", Misasked, **hsm.settings(pkcs11_key="twice"))


@needs_token
async def test_a_token_whose_key_was_taken_off_opens_nothing_any_more(db: Database, hsm: softhsm.SoftHsm) -> None:
    softhsm.make_pair("fleeting")
    vault = await opened(db, **hsm.settings(pkcs11_key="fleeting"))
    await vault.prepare(ADA)
    softhsm.drop_pair("fleeting")
    await fails(db, "token_key_missing", Misasked, **hsm.settings(pkcs11_key="fleeting"))


# a keyring ------------------------------------------------------------------------------------------------------------


async def test_a_keyring_locks_it_and_neither_half_opens_it_alone(db: Database, ring: Path) -> None:
    vault = await opened(db, lock="keyring")
    await vault.prepare(ADA)
    sealed = vault.seal(ADA, TITLE, "c", b"x")
    assert (await opened(db)).reveal(ADA, TITLE, "c", sealed) == b"x"  # the file says itself what opens it
    assert stored(db)["locked_by"] == "keyring"
    entry = stored(db)["of"]["entry"]
    held = keyring.get_password("intramural", entry)
    assert held is not None
    keyring.delete_password("intramural", entry)
    await fails(db, "keyring_entry_missing", Untrusted, lock="keyring")
    keyring.set_password("intramural", entry, "bm90IHRoZSBzZWNyZXQgdGhhdCBpdCB3YXMgMzIgYg==")
    await fails(db, "keyring_entry_wrong", Untrusted, lock="keyring")
    keyring.set_password("intramural", entry, held)
    assert (await opened(db)).reveal(ADA, TITLE, "c", sealed) == b"x"
    keyring.set_keyring(NoKeyring())
    await fails(db, "keyring_missing", Misasked, lock="keyring")


class Shut(Rings):
    """A keyring whose owner has not unlocked it: what such backends raise."""

    def get_password(self, service: str, username: str) -> str:
        raise KeyringLocked("shut")

    set_password = get_password  # type: ignore[assignment]


class Forgetful(Rings):
    """One that keeps nothing, and does not say so."""

    def set_password(self, service: str, username: str, password: str | None = None) -> None:
        pass


async def test_a_keyring_that_is_shut_or_forgets(db: Database, ring: Path) -> None:
    keyring.set_keyring(Forgetful(ring))
    await fails(db, "keyring_failed", Unavailable, lock="keyring")
    keyring.set_keyring(Rings(ring))
    await opened(db, lock="keyring")
    keyring.set_keyring(Shut(ring))
    await fails(db, "keyring_locked", Unavailable, lock="keyring")


async def test_there_is_no_other_lock(db: Database) -> None:
    await fails(db, "bad_setting", Misasked, lock="tpm")
    await opened(db, lock="none")
    file = databases.file_of(db).parent / "secrets" / KEY_FILE
    file.write_text(json.dumps(stored(db) | {"locked_by": "tpm"}))
    await fails(db, "secret_damaged", Untrusted)


# from one to another --------------------------------------------------------------------------------------------------


@needs_token
async def test_it_moves_from_one_lock_to_another_and_back(
    db: Database, hsm: softhsm.SoftHsm, ring: Path, tmp_path: Path
) -> None:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("seven wet horses\n")
    vault = await opened(db)
    await vault.prepare(ADA)
    sealed = vault.seal(ADA, TITLE, "c", b"x")
    both = {"passphrase_file": str(passphrase)}
    seen = []
    for settings in (
        hsm.settings(),
        {**hsm.settings(), "lock": "keyring"},
        {"lock": "keyring"},
        {**both, "lock": "passphrase"},
        {**both, **hsm.settings()},
        {**hsm.settings(), "lock": "none"},
    ):
        vault = await opened(db, **settings)
        await vault.change_wrapping_key()
        assert vault.reveal(ADA, TITLE, "c", sealed) == b"x"
        seen.append(stored(db).get("locked_by", ""))
        again = await opened(db, **settings)
        assert again.reveal(ADA, TITLE, "c", sealed) == b"x"
    assert seen == ["pkcs11", "keyring", "keyring", "passphrase", "pkcs11", ""]
    assert sorted(each.name for each in (tmp_path / "secrets").iterdir()) == [KEY_FILE]
    assert "vault" not in ring.read_text()  # what is not needed any more is not kept


@needs_token
async def test_what_cannot_be_moved_stays_where_it_is(db: Database, hsm: softhsm.SoftHsm) -> None:
    vault = await opened(db)
    await vault.prepare(ADA)
    vault = await opened(db, **hsm.settings(pin_file=hsm.pin_file("0000000")))
    with pytest.raises(Misasked) as caught:
        await vault.change_wrapping_key()
    assert caught.value.code == "pin_wrong"
    assert not (databases.file_of(db).parent / "secrets" / (KEY_FILE + NEXT)).exists()
    await vault.prepare(BOB)  # and it goes on with the key that it has
    again = await opened(db)
    assert again.knows(BOB) and again.salts_key(BOB) == vault.salts_key(BOB)


@needs_token
@pytest.mark.sqlite(reason="copies the file")
async def test_moving_to_a_token_that_is_cut_off_anywhere_is_finished_at_the_next_start(
    tmp_path: Path, hsm: softhsm.SoftHsm, changing: Changer
) -> None:
    """Real processes are killed while the key moves from a file in clear to the token, from its beginning on."""
    sealed = await sealed_of_many(tmp_path)
    assert softhsm.PIN not in json.dumps(hsm.settings())
    cut_off = 0
    for n in range(6):
        copy = tmp_path / f"cut{n}"
        copy.mkdir()
        shutil.copy(tmp_path / "intramural.db", copy)
        shutil.copytree(tmp_path / "secrets", copy / "secrets")
        changing.begin(copy, copy / "intramural.db", hsm.settings(), hsm.copied(copy / "hsm").environment)
        while n and not (copy / "secrets" / (KEY_FILE + NEXT)).exists() and not changing.is_over:
            time.sleep(0.0005)  # from when the next key is there to when it has taken the place of the other
        time.sleep(max(0, n - 1) * 0.008)
        changing.kill()
        cut_off += (copy / "secrets" / (KEY_FILE + NEXT)).exists()
        db = await Database.open(copy / "intramural.db")
        vault = await opened(db, **hsm.settings())
        for name, kept in sealed.items():
            assert vault.reveal(name, TITLE, "c", kept) == name.encode()
        finished = stored(db).get("locked_by", "")
        assert not (copy / "secrets" / (KEY_FILE + NEXT)).exists()
        await db.close()
        with sqlite3.connect(copy / "intramural.db") as connection:
            found = connection.execute("SELECT DISTINCT wrapping_key FROM data_keys").fetchall()
        assert len(found) == 1 and finished in ("", "pkcs11")
    assert cut_off, "none of them was in the middle of it"
