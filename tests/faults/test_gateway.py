"""The service itself, killed at each point of the table: what was acknowledged is there, and nothing half is.

One data directory, one service after the other: the start that shows what became of one kill is the one that the next
comes to. Every start checks the log, the vault and the database (`House.check`).
"""

import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from tests import databases
from tests.access.test_rosters import HEADER
from tests.fakes.gguf_file import tiny_model
from tests.faults.house import House
from tests.faults.shop import registry_with, state_of
from tests.service import eventually
from tests.verifier.standing import Standing

from intramural.services.rosters import AT_ONCE

#: No model is loaded here, nothing needs one; and but for pulls no broker is started.
WITHOUT_MODELS = {"INTRAMURAL_LIBRARY_STARTER": "", "INTRAMURAL_SERVING_PRELOAD": "nothing@04:00"}
SEALED = {"INTRAMURAL_EGRESS_MODE": "sealed"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    mine = House(tmp_path_factory.mktemp("faults") / "data", Path(), WITHOUT_MODELS | SEALED)
    yield mine.up()
    if mine.runs:
        mine.stop()


def upload(house: House, data: bytes, name: str = "a.txt") -> requests.Response:
    """Raises requests.ConnectionError when the service is gone before it answered."""
    return house.session.post(
        f"{house.address}/v1/files", files={"file": (name, data)}, data={"purpose": "user_data"}, timeout=60
    )


def files(house: House) -> dict[str, bytes]:
    """Everybody's files: by their identifiers, what can be read of them."""
    listed = house.session.get(f"{house.address}/v1/files", timeout=60).json()["data"]
    address = f"{house.address}/v1/files"
    return {each["id"]: house.session.get(f"{address}/{each['id']}/content", timeout=60).content for each in listed}


def lying(house: House) -> set[str]:
    return {each.name for each in (house.data_dir / "files").iterdir()}


# a start, and an end --------------------------------------------------------------------------------------------------


def test_a_start_and_an_end(house: House) -> None:
    house.dies_at("stop: asked", lambda: house.process and house.process.terminate())
    started = len(house.recorded("service.started"))
    house.dies_starting("start: opened")
    assert len(house.recorded("service.started")) == started
    house.dies_starting("start: recorded")
    house.up()
    assert len(house.recorded("service.started")) == started + 2


# an act and its record ------------------------------------------------------------------------------------------------


def test_an_act_and_its_entry_are_both_there_or_neither(house: House) -> None:
    def make_key() -> str:
        return house.new_key(name="half")

    assert not house.dies_at("act: written", make_key).told
    assert [each["name"] for each in house.up().page("GET", "/keys").json()["keys"]] == []
    assert house.recorded("key.created") == []
    assert not house.dies_at("act: committed", make_key).told
    (key,) = house.up().page("GET", "/keys").json()["keys"]
    (entry,) = house.recorded("key.created")
    assert entry["target"] == f"key:{key['id']}"


def test_entries_that_were_committed_and_not_told(house: House) -> None:
    before = len(house.up().recorded("audit.read"))
    acted = house.dies_at("log: group committed", lambda: house.page("GET", "/audit", params={"limit": 1}))
    assert not acted.told
    assert len(house.recorded("audit.read")) == before + 1
    house.up()


# chats, files ---------------------------------------------------------------------------------------------------------


def test_words_without_their_entry(house: House) -> None:
    chat = house.up().page("POST", "/chats", json={"model": "no:model"}).json()["id"]
    asked = {"content": "Is anybody there?"}
    assert not house.dies_at("chat: text written", lambda: house.page("POST", f"/chats/{chat}/turns", json=asked)).told
    question, answer = house.up().page("GET", f"/chats/{chat}").json()["messages"]
    assert question["content"] == "Is anybody there?"
    assert (answer["content"], answer["outcome"]) == ("", "failed")
    assert house.recorded("chat.asked", target="model:no:model") == []
    assert house.page("DELETE", f"/chats/{chat}").status_code == 204


def test_files_are_there_whole_or_not_at_all(house: House) -> None:
    kept = b"kept " * 1000
    file_id = upload(house.up(), kept).json()["id"]
    large = bytes(range(256)) * 10_000
    assert not house.dies_at("file: half written", lambda: upload(house, large)).told
    assert any(each.endswith(".part") for each in lying(house)), "it did not come so far"
    assert files(house.up()) == {file_id: kept} and lying(house) == {file_id}
    assert not house.dies_at("file: no row", lambda: upload(house, large)).told
    assert len(lying(house)) == 2
    assert files(house.up()) == {file_id: kept} and lying(house) == {file_id}
    address = f"{house.address}/v1/files/{file_id}"
    assert not house.dies_at("file: row deleted", lambda: house.session.delete(address, timeout=60)).told
    assert lying(house) == {file_id}
    assert files(house.up()) == {} and lying(house) == set()
    assert len(house.recorded("file.deleted", target=f"file:{file_id}")) == 1


def test_a_file_is_searched_after_the_next_start(house: House) -> None:
    house.dies_at("file: no index", lambda: upload(house, b"the stone heron\n"))
    state = "SELECT search FROM files"
    assert databases.query(house.database, state) == [("pending",)]
    (file_id,) = files(house.up())
    eventually(lambda: databases.query(house.database, state) == [("ready",)])
    assert files(house)[file_id] == b"the stone heron\n"
    house.session.delete(f"{house.address}/v1/files/{file_id}", timeout=60)


# models ---------------------------------------------------------------------------------------------------------------


def test_a_pull_goes_on_by_itself(house: House) -> None:
    """Asked for by an administrator, and done when the service has been started again: once, and with one record."""
    points = ("pull: half fetched", "import: checked", "import: no manifest", "import: no record")
    models = [tiny_model(seed=number, extra_bytes=4 * 2**20 if number == 0 else 0) for number in range(len(points))]
    house.up().stop()
    del house.settings["INTRAMURAL_EGRESS_MODE"]
    with registry_with(*models) as registry:
        for number, point in enumerate(points):
            source = f"oci+{registry.url}/library/tiny:{number}"
            house.dies_at(point, lambda source=source: house.page("POST", "/pulls", json={"source": source}))
            assert house.recorded("model.shelved", source=source) == [], point
            house.up()
            (pull,) = [each for each in house.page("GET", "/pulls").json()["pulls"] if each["source"] == source]
            eventually(lambda source=source: state_of(house, source) != "running")
            assert state_of(house, source) == "shelved", (point, pull)
            assert len(house.recorded("model.shelved", source=source)) == 1, point
            assert len(house.recorded("model.requested", target=f"source:{source}")) == 1
    names = [each["name"] for each in house.page("GET", "/models").json()["models"]]
    assert len(names) == len(points)
    assert list((house.data_dir / "library" / "incoming").iterdir()) == []
    assert len(list((house.data_dir / "library" / "blobs" / "sha256").iterdir())) == len(points)
    house.settings |= SEALED  # from the next start on


# people ---------------------------------------------------------------------------------------------------------------


def test_a_list_of_people(house: House) -> None:
    people = AT_ONCE + 20
    text = HEADER + "".join(f"{number},pupil{number},,,School,,,\n" for number in range(people))

    def take_in() -> list[str]:
        answer = house.page("POST", "/people/import", params={"source": "school"}, data=text.encode())
        assert answer.status_code == 200, answer.text
        return answer.text.splitlines()

    # the group and people of the first part are the first two; what follows is of the second
    house.dies_at("list: half taken in", take_in, 3)
    imports = house.up().page("GET", "/people/imports").json()["imports"]
    assert [each["outcome"] for each in imports] == ["interrupted"]
    here = pupils(house)
    assert len(here) == AT_ONCE - 1, "the first part, of which one step is the group"
    assert {each["target"] for each in house.recorded("person.created", source="school")} == here
    take_in()
    assert len(pupils(house)) == people
    assert {each["target"] for each in house.recorded("person.created", source="school")} == pupils(house)
    assert house.page("GET", "/people/imports").json()["imports"][0]["outcome"] == "finished"


def pupils(house: House) -> set[str]:
    people = house.page("GET", "/people").json()["people"]
    return {f"person:{each['id']}" for each in people if each["username"].startswith("pupil")}


def new_person(house: House, name: str) -> tuple[str, House]:
    """Somebody with a file of theirs: their identifier, and the service as they see it."""
    body = {"username": name, "password": "a long enough one", "role": "member"}
    person_id = house.up().page("POST", "/people", json=body).json()["id"]
    theirs = seen_by(house, name)
    assert upload(theirs, b"of " + name.encode()).status_code == 200
    return person_id, theirs


def seen_by(house: House, name: str) -> House:
    theirs = House(house.data_dir, house.wheel, address=house.address)
    answer = theirs.page("POST", "/login", json={"username": name, "password": "a long enough one"})
    assert answer.status_code == 200, answer.text
    theirs.session.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
    return theirs


@pytest.mark.parametrize("point", ["erasure: listed", "erasure: rows gone"])
def test_an_erasure_is_finished(house: House, point: str) -> None:
    name = point.replace(": ", "-").replace(" ", "-")
    person_id, _ = new_person(house, name)
    before = lying(house)
    assert not house.dies_at(point, lambda: house.page("DELETE", f"/people/{person_id}")).told
    assert lying(house) == before, "it did not come so far"
    house.up()
    assert person_id not in {each["id"] for each in house.page("GET", "/people").json()["people"]}
    assert len(house.recorded("person.removed", target=f"person:{person_id}")) == 1
    assert databases.query(house.database, f"SELECT 1 FROM data_keys WHERE person_id = '{person_id}'") == []
    assert databases.query(house.database, f"SELECT 1 FROM files WHERE person_id = '{person_id}'") == []
    assert lying(house) == set()
    assert house.page("GET", f"/erasures/{person_id}").json()["statement"]["person_id"] == person_id


def test_an_export_can_be_had_again(house: House) -> None:
    person_id, theirs = new_person(house, "exporter")
    data = bytes(range(256)) * 4096
    assert upload(theirs, data, "large.bin").status_code == 200

    def export() -> bytes:
        return theirs.page("GET", "/me/export").content

    assert not house.dies_at("export: half sent", export, 2).told
    theirs = seen_by(house.up(), "exporter")
    with zipfile.ZipFile(io.BytesIO(export())) as archive:
        assert archive.testzip() is None
        assert data in [archive.read(name) for name in archive.namelist()]
    assert len(house.recorded("person.exported", target=f"person:{person_id}")) == 2
    assert house.page("DELETE", f"/people/{person_id}").status_code == 200


# keys -----------------------------------------------------------------------------------------------------------------


def test_keys_open_whatever_a_change_has_come_to(house: House) -> None:
    kept = b"sealed " * 500_000
    file_id = upload(house.up(), kept, "k").json()["id"]
    secrets = house.data_dir / "secrets"
    for point in ("key: next one made", "key: wrapped anew", "key: not exchanged"):
        before = (secrets / "vault.key").read_bytes()
        house.dies_at(point, lambda: house.page("POST", "/vault/key"))
        assert (secrets / "vault.key.next").exists() and (secrets / "vault.key").read_bytes() == before, point
        assert files(house.up())[file_id] == kept, point
        assert sorted(each.name for each in secrets.iterdir() if each.name.startswith((".", "vault"))) == ["vault.key"]
        assert (secrets / "vault.key").read_bytes() != before, "the change was finished by the start"
        assert len(databases.query(house.database, "SELECT DISTINCT wrapping_key FROM data_keys")) == 1
    me = house.page("GET", "/me").json()["id"]
    house.dies_at("data key: half sealed", lambda: house.page("POST", f"/people/{me}/data-key"))
    assert files(house.up())[file_id] == kept
    assert house.page("POST", f"/people/{me}/data-key").status_code == 200, "asked for again, it is done"
    assert files(house)[file_id] == kept
    kinds = "SELECT count(*) FROM data_keys WHERE purpose = 'content'"
    assert databases.query(house.database, f"{kinds} AND person_id = '{me}'") == [(1,)]


# the database and what it is copied to --------------------------------------------------------------------------------


@pytest.mark.sqlite(reason="copies the file")
def test_a_migration_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine
    from tests.faults.at import LATE

    from intramural.storage.revision import MIGRATIONS, head_revision

    old = House(tmp_path / "data", Path(), WITHOUT_MODELS | SEALED)
    old.data_dir.mkdir(mode=0o700)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    engine = create_engine(f"sqlite:///{old.data_dir / 'intramural.db'}")
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql("INSERT INTO model_settings (name, pinned) VALUES ('a:model', 1)")
        connection.commit()
    engine.dispose()
    database = old.data_dir / "intramural.db"
    tables = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
    before = databases.query(database, tables)
    for point, time_ in (("migration: between two", 4), ("migration: not committed", 1)):
        old.dies_starting(point, time_, **{LATE: point})
        assert databases.query(database, "SELECT version_num FROM alembic_version") == [("0001",)]
        assert databases.query(database, tables) == before
    old.up()
    assert databases.query(database, "SELECT version_num FROM alembic_version") == [(head_revision(),)]
    assert databases.query(database, "SELECT name FROM model_settings") == [("a:model",)]
    old.stop()


@pytest.mark.sqlite(reason="restores into a file")
def test_a_backup_and_a_restore(house: House, tmp_path: Path) -> None:
    """The commands are killed; the service runs beside them, and notices nothing."""
    phrase, folder = tmp_path / "phrase.txt", tmp_path / "backups"
    phrase.write_text("correct horse battery\n")
    house.up()
    pid = house.pid
    backup = ("backup", str(folder), "--passphrase-file", str(phrase))
    house.command_dies_at("backup: some objects", *backup, time_=3)
    house.command_dies_at("backup: no manifest", "backup", str(folder))
    assert list(folder.glob("*.backup")) == []
    made = house.command("backup", str(folder))
    assert made["written"] < made["objects"], "what the killed ones had written is not written again"
    assert list(folder.rglob("*.part")) == []
    assert house.pid == pid and house.runs
    house.check_log()
    there = files(house)

    again = House(tmp_path / "again" / "data", Path(), dict(house.settings))
    again.switches = house.switches
    restore = ("restore", str(folder), "--passphrase-file", str(phrase), "--public-key", house.key)
    for point, time_ in (("restore: some files", 2), ("restore: not named", 1)):
        again.command_dies_at(point, *restore, time_=time_)
        assert not again.data_dir.exists(), point
    again.command_dies_at("restore: no record", *restore)
    assert again.recorded("backup.restored") == []
    shutil.copy(house.data_dir / "secrets" / "vault.key", again.data_dir / "secrets")
    again.held = [made["checkpoint"]]
    again.start()
    again.sign_in()
    again.check()
    assert files(again) == there
    again.stop()


# what a stranger says -------------------------------------------------------------------------------------------------


def test_after_all_of_it_the_log_verifies_for_a_stranger(house: House, tmp_path: Path) -> None:
    """With the verifier that stands alone, against every checkpoint that was told in between."""
    export = tmp_path / "log"
    export.write_bytes(house.up().page("GET", "/audit/log").content)
    held = tmp_path / "held"
    held.mkdir()
    for number, note in enumerate(house.held):
        (held / f"{number}.txt").write_text(note)
    said = Standing.made(tmp_path).run("log", str(export), "--key", house.key, "--held", str(held))
    assert said.status == 0, said.text
