"""Backups are rehearsed: made beside a running service, lost, changed, and restored on a clean directory."""

import asyncio
import hashlib
import io
import os
import shutil
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from tests import databases
from tests.services.test_moving import CLOCK, Home

from intramural.audit import AuditLog, Event, log_signer, public_key, verify_database
from intramural.core.actor import SYSTEM
from intramural.core.config import AuditConfig
from intramural.core.errors import Conflicting, IntramuralError, Misasked, Missing, Untrusted
from intramural.services.backups import Folder, Lock, Made, back_up, key_lock, passphrase_lock, restore
from intramural.services.backups.sealed import PIECE_BYTES, Spoiled, opened, seal
from intramural.storage import Database

SECRET = X25519PrivateKey.generate()
LOCK = Lock(SECRET.public_key(), SECRET)
BLOB = b"weights" * 300_000


class House(Home):
    """An installation with files as well: a model's, a person's, settings, and what is not to be kept."""

    async def furnish(self) -> "House":
        await super().furnish()
        self.blob = hashlib.sha256(BLOB).hexdigest()
        for name, data in {
            f"library/blobs/{self.blob}": BLOB,
            "library/names.json": b"{}",
            "library/incoming/half": b"half a model",
            "files/f": b"a person's file",
            "files/late.part": b"on its way",
            "states/s": b"state",
            "run/x": b"run",
            "lock": b"",
            "intramural.toml": b"# settings\n",
            "secrets/erased.jsonl": b'{"person_id": "one"}\n',
        }.items():
            file = self.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            file.chmod(0o600)
        return self

    async def back_up(self, folder: Path, *, lock: Lock | None = LOCK, with_key: bool = False) -> Made:
        return await back_up(
            Folder.open(folder, lock, make=True),
            address=self.address,
            data_dir=self.folder,
            signer=log_signer(self.folder / "secrets", AuditConfig().origin),
            clock=CLOCK,
            with_key=with_key,
        )


@pytest.fixture
async def house(tmp_path: Path) -> House:
    folder = tmp_path / "house"
    folder.mkdir()
    return await House(folder, databases.place(folder / "intramural.db")).furnish()


def empty(tmp_path: Path, name: str = "restored") -> str | None:
    """Where the database is restored to: a file in the data directory, or an empty one of the server."""
    return databases.empty_postgres(tmp_path / f"{name}.db") if databases.SERVER else None


async def restored(tmp_path: Path, backups: Path, name: str = "restored", **choices: object) -> House:
    address = empty(tmp_path, name)
    folder = Folder.open(backups, LOCK, make=False)
    await restore(folder, SECRET, data_dir=tmp_path / name, address=address, **choices)  # type: ignore[arg-type]
    return House(tmp_path / name, address or tmp_path / name / "intramural.db")


def rows(address: Path | str, table: str) -> list[tuple[object, ...]]:
    return sorted(databases.query(address, f"SELECT * FROM {table}"), key=repr)


async def test_what_was_lost_is_there_again(house: House, tmp_path: Path) -> None:
    made = await house.back_up(tmp_path / "backups")
    assert (made.log_entries, made.checkpoint, made.skipped) == (20, house.note, [])
    before = {table: rows(house.address, table) for table in ("people", "chats", "chat_messages", "audit_entries")}
    kept_public = public_key(house.folder / "secrets", AuditConfig().origin)
    kept = {path: (house.folder / path).read_bytes() for path in ("files/f", f"library/blobs/{house.blob}")}
    shutil.rmtree(house.folder)
    again = await restored(tmp_path, tmp_path / "backups", public_key=kept_public)
    assert {table: rows(again.address, table) for table in before} == before
    assert {path: (again.folder / path).read_bytes() for path in kept} == kept
    assert (again.folder / "intramural.toml").read_text() == "# settings\n"
    assert not any((again.folder / name).exists() for name in ("states", "run", "lock", "library/incoming"))
    assert not (again.folder / "files/late.part").exists() and not (again.folder / "secrets/vault.key").exists()
    assert stat.S_IMODE((again.folder / "secrets/audit-ed25519.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE(again.folder.stat().st_mode) == 0o700
    verdict = await asyncio.to_thread(verify_database, again.address, kept_public, [house.note])
    assert (verdict.ok, verdict.size) == (True, 20)
    # the log goes on where it was
    db = await Database.open(again.address)
    log = await AuditLog.open(db, again.folder / "secrets", AuditConfig(), CLOCK)
    assert log.plain_checkpoint() == house.note
    assert await log.record(Event.BACKUP_RESTORED, SYSTEM) == 20
    await log.close()
    await db.close()


async def test_what_is_there_already_is_not_written_again(house: House, tmp_path: Path) -> None:
    first = await house.back_up(tmp_path / "backups")
    assert first.written_bytes > len(BLOB)
    second = await house.back_up(tmp_path / "backups", lock=None)  # the folder remembers whom it is for
    assert (second.written, second.objects, second.written_bytes) == (0, first.objects, 0)
    db = await Database.open(house.address)
    log = await AuditLog.open(db, house.folder / "secrets", AuditConfig(), CLOCK)
    await log.record(Event.CHAT_ASKED, SYSTEM)
    await log.close()
    await db.close()
    third = await house.back_up(tmp_path / "backups", lock=None)
    assert third.written == 2 and third.written_bytes < 50_000  # the log's two tables
    folder = Folder.open(tmp_path / "backups", None, make=False)
    assert folder.backups() == sorted(folder.backups()) and folder.backups()[-1] == third.name
    older = await restored(tmp_path, tmp_path / "backups", name="older", public_key=None)
    assert len(rows(older.address, "audit_entries")) == 21


async def test_what_a_killed_backup_has_left_is_in_nobodys_way(house: House, tmp_path: Path) -> None:
    """It was killed while it began the folder, or made its key, or wrote an object: nothing needs to be mended."""
    folder, names_key = tmp_path / "backups", house.folder / "secrets" / "backup-names.key"
    folder.mkdir()
    (folder / "backup.json.77.part").write_bytes(b"{")
    names_key.write_bytes(b"")
    made = await house.back_up(folder)
    assert len(names_key.read_bytes()) == 32
    half = next((folder / "objects").glob("*/*"))
    old, new = half.with_name("a.1.part"), half.with_name("b.2.part")
    for each in (old, new):
        each.write_bytes(half.read_bytes()[:100])
    day_ago_s = CLOCK.now_s() - 90_000
    os.utime(old, (day_ago_s, day_ago_s))
    again = await house.back_up(folder, lock=None)
    assert (again.written, again.objects) == (0, made.objects)
    assert not old.exists() and new.exists(), "whoever writes that may still be there"


async def test_an_older_backup_can_be_named(house: House, tmp_path: Path) -> None:
    first = await house.back_up(tmp_path / "backups")
    (house.folder / "intramural.toml").write_text("# changed\n")
    second = await house.back_up(tmp_path / "backups")
    assert first.name != second.name
    folder = Folder.open(tmp_path / "backups", LOCK, make=False)
    address = empty(tmp_path)
    await restore(folder, SECRET, data_dir=tmp_path / "r", address=address, name=first.name)
    assert (tmp_path / "r" / "intramural.toml").read_text() == "# settings\n"
    with pytest.raises(Missing, match="no_backup"):
        await restore(folder, SECRET, data_dir=tmp_path / "s", name="20200101T000000Z")


async def test_nothing_in_the_folder_is_in_clear(house: House, tmp_path: Path) -> None:
    await house.back_up(tmp_path / "backups")
    everything = b"".join(each.read_bytes() for each in (tmp_path / "backups").rglob("*") if each.is_file())
    names = " ".join(each.name for each in (tmp_path / "backups").rglob("*"))
    for secret in (b"a person's file", b"weightsweights", b"audit_entries", b"# settings", b"PRIVATE KEY"):
        assert secret not in everything
    assert house.blob not in names  # nor can be told whether a known model is in it


async def test_every_changed_file_is_refused_and_named(house: House, tmp_path: Path) -> None:
    """Each file of the folder, changed in the middle, cut off, emptied, or replaced by another one."""
    await house.back_up(tmp_path / "backups")
    files = sorted(each for each in (tmp_path / "backups").rglob("*") if each.is_file())
    other = max(files, key=lambda each: each.stat().st_size)
    said = []
    for number, file in enumerate(files):
        data = file.read_bytes()
        middle = len(data) // 2
        spoils = [data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :], data[:-1], b"", other.read_bytes()]
        # the largest one, replaced by itself, is not spoiled
        for spoil in spoils[:1] if file == other else spoils[number % 4 : number % 4 + 2]:
            file.write_bytes(spoil)
            with pytest.raises(IntramuralError) as caught:
                folder = Folder.open(tmp_path / "backups", LOCK, make=False)
                await restore(folder, SECRET, data_dir=tmp_path / "r", address=None)
            assert caught.value.code in ("backup_spoiled", "other_backup_key"), caught.value
            said.append(caught.value.message)
            assert not (tmp_path / "r").exists()
        file.write_bytes(data)
    for part in ("the table people", "the table audit_entries", "the file files/f", f"blobs/{house.blob}", "manifest"):
        assert any(part in message for message in said), (part, said)
    await restored(tmp_path, tmp_path / "backups")


async def test_a_missing_part_is_named(house: House, tmp_path: Path) -> None:
    await house.back_up(tmp_path / "backups")
    largest = max((tmp_path / "backups" / "objects").rglob("*"), key=lambda each: each.stat().st_size)
    largest.unlink()
    with pytest.raises(Untrusted, match=f"the file library/blobs/{house.blob}"):
        await restored(tmp_path, tmp_path / "backups")


async def test_a_backup_that_somebody_else_wrote_is_refused(house: House, tmp_path: Path) -> None:
    """Whoever can write into the folder can seal for its reader, but not sign in the log's name."""
    own = public_key(house.folder / "secrets", AuditConfig().origin)
    forger = tmp_path / "forger"
    forger.mkdir()
    forged = await House(forger, databases.place(forger / "intramural.db")).furnish()
    await forged.back_up(tmp_path / "backups")
    with pytest.raises(Untrusted, match="backup_not_signed"):
        await restored(tmp_path, tmp_path / "backups", public_key=own)


async def test_a_log_changed_before_the_backup_is_not_restored(house: House, tmp_path: Path) -> None:
    databases.query(house.address, "UPDATE audit_entries SET event = 'chat.answered' WHERE position = 5")
    await house.back_up(tmp_path / "backups")
    with pytest.raises(Untrusted, match="audit_log_broken"):
        await restored(tmp_path, tmp_path / "backups")
    assert not (tmp_path / "restored").exists()


async def test_a_model_whose_file_changed_stops_the_backup(house: House, tmp_path: Path) -> None:
    (house.folder / f"library/blobs/{house.blob}").write_bytes(BLOB[:-1] + b"!")
    with pytest.raises(Untrusted, match="model_file_changed"):
        await house.back_up(tmp_path / "backups")


async def test_the_key_that_seals_words_comes_along_only_if_wanted(house: House, tmp_path: Path) -> None:
    await house.back_up(tmp_path / "backups", with_key=True)
    again = await restored(tmp_path, tmp_path / "backups")
    assert (again.folder / "secrets/vault.key").read_bytes() == (house.folder / "secrets/vault.key").read_bytes()


async def test_who_was_erased_since_stays_on_the_list(house: House, tmp_path: Path) -> None:
    await house.back_up(tmp_path / "backups")
    newer = tmp_path / "erased.jsonl"
    newer.write_text('{"person_id": "one"}\n{"person_id": "two"}\n')
    again = await restored(tmp_path, tmp_path / "backups", erased=newer)
    assert (again.folder / "secrets/erased.jsonl").read_text() == '{"person_id": "one"}\n{"person_id": "two"}\n'


async def test_what_is_there_is_not_overwritten(house: House, tmp_path: Path) -> None:
    await house.back_up(tmp_path / "backups")
    folder = Folder.open(tmp_path / "backups", LOCK, make=False)
    with pytest.raises(Conflicting, match="data_dir_not_empty"):
        await restore(folder, SECRET, data_dir=house.folder)
    if databases.SERVER:
        with pytest.raises(Conflicting, match="database_not_empty"):
            await restore(folder, SECRET, data_dir=tmp_path / "r", address=str(house.address))
        assert not (tmp_path / "r").exists()


async def test_made_while_the_service_writes_it_is_one_moment(house: House, tmp_path: Path) -> None:
    db = await Database.open(house.address)
    log = await AuditLog.open(db, house.folder / "secrets", AuditConfig(), CLOCK)
    over = False

    async def write() -> None:
        while not over:
            await log.record(Event.CHAT_ASKED, SYSTEM)

    writers = [asyncio.ensure_future(write()) for _ in range(4)]
    made = await asyncio.to_thread(lambda: asyncio.run(house.back_up(tmp_path / "backups")))
    over = True
    await asyncio.gather(*writers)
    assert 20 <= made.log_entries <= log.size
    await log.close()
    await db.close()
    again = await restored(tmp_path, tmp_path / "backups")
    assert len(rows(again.address, "audit_entries")) == made.log_entries


def test_whom_a_folder_is_for(tmp_path: Path) -> None:
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    private.write_bytes(SECRET.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(SECRET.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert key_lock(private).private is not None and key_lock(public).private is None
    folder = tmp_path / "backups"
    with pytest.raises(Misasked, match="backup_lock_needed"):
        Folder.open(folder, None, make=True)
    with pytest.raises(Missing, match="no_backup"):
        Folder.open(folder, key_lock(public), make=False)
    Folder.open(folder, key_lock(public), make=True)
    Folder.open(folder, key_lock(private), make=False)
    with pytest.raises(Conflicting, match="other_backup_key"):
        Folder.open(folder, Lock(X25519PrivateKey.generate().public_key()), make=True)
    with pytest.raises(Conflicting, match="backup_folder_not_empty"):
        Folder.open(tmp_path, LOCK, make=True)
    public.write_text("no key")
    with pytest.raises(Misasked, match="bad_backup_key"):
        key_lock(public)


async def test_a_passphrase_opens_what_it_closed_and_nothing_else(house: House, tmp_path: Path) -> None:
    lock = passphrase_lock("correct horse battery")
    await house.back_up(tmp_path / "backups", lock=lock)
    salt = Folder.salt(tmp_path / "backups")
    again = passphrase_lock("correct horse battery", salt)
    assert again.private is not None
    folder = Folder.open(tmp_path / "backups", again, make=False)
    await restore(folder, again.private, data_dir=tmp_path / "r", address=empty(tmp_path))
    with pytest.raises(Conflicting, match="other_backup_key"):
        Folder.open(tmp_path / "backups", passphrase_lock("incorrect horse battery", salt), make=False)
    with pytest.raises(Misasked, match="weak_passphrase"):
        passphrase_lock("short")


@given(st.lists(st.binary(max_size=200), max_size=6), st.data())
def test_what_is_sealed_opens_for_its_reader_alone_and_unchanged(text: list[bytes], data: st.DataObject) -> None:
    sealed = b"".join(seal(SECRET.public_key(), text))
    assert b"".join(opened(SECRET, io.BytesIO(sealed))) == b"".join(text)
    with pytest.raises(Spoiled):
        b"".join(opened(X25519PrivateKey.generate(), io.BytesIO(sealed)))
    at = data.draw(st.integers(0, len(sealed) - 1))
    for wrong in (sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], sealed[:at], sealed + b"x"):
        with pytest.raises(Spoiled):
            b"".join(opened(SECRET, io.BytesIO(wrong)))


def test_pieces_cannot_be_dropped_moved_or_cut_off() -> None:
    for size in (PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES):
        text = bytes(size)
        sealed = b"".join(seal(SECRET.public_key(), [text]))
        assert b"".join(opened(SECRET, io.BytesIO(sealed))) == text
    head, whole = 48, PIECE_BYTES + 16
    first, second = sealed[head : head + whole], sealed[head + whole : head + 2 * whole]
    rest = sealed[head + 2 * whole :]
    for wrong in (second + first + rest, first + rest, first + second, first, first + first + rest):
        with pytest.raises(Spoiled):
            b"".join(opened(SECRET, io.BytesIO(sealed[:head] + wrong)))
