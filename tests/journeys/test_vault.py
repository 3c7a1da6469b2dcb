"""What people write, over the real service: sealed on the disk, theirs to take along, gone when they are erased."""

import io
import json
import shutil
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from tests import databases
from tests.service import ADMIN, MODEL, Service, eventually

from intramural.audit import VerifierKey
from intramural.storage.schema import metadata

PASSWORD = "a long enough password"
ENDED = ("completed", "failed")


def canary(n: int) -> str:
    """No word of any model, and hardly to be met by chance."""
    return f"qzx{n:02}vwk{n * 7919 % 1000:03}jpy"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, starter_wheel: Path) -> Iterator[Service]:
    root = tmp_path_factory.mktemp("vault")
    with Service(root / "data", starter_wheel, {"INTRAMURAL_AUDIT_RECORD_PROMPTS": "true"}).running() as running:
        yield running


class Person:
    """Somebody with a session of their own."""

    def __init__(self, service: Service, name: str) -> None:
        made = service.page("POST", "/people", json={"username": name, "password": PASSWORD, "role": "member"})
        assert made.status_code == 201, made.text
        self.service, self.name, self.id = service, name, str(made.json()["id"])
        self.session = requests.Session()
        self.sign_in()

    def sign_in(self) -> None:
        answer = self.page("POST", "/login", json={"username": self.name, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        self.session.headers["X-CSRF-Token"] = answer.json()["csrf_token"]

    def page(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        return self.session.request(method, f"{self.service.address}/intramural/v1{path}", timeout=60, **kwargs)

    def key(self) -> str:
        return str(self.page("POST", "/keys", json={"name": "k", "scopes": ["inference"]}).json()["secret"])


def say(person: Person, words: Iterator[str]) -> None:
    """Something wherever something can be said; it takes as many words as there are such places."""
    chat = person.page("POST", "/chats", json={"model": MODEL, "title": next(words)}).json()["id"]
    asked = person.page("POST", f"/chats/{chat}/turns", json={"content": next(words), "max_tokens": 4})
    assert asked.status_code == 200, asked.text
    untitled = person.page("POST", "/chats", json={"model": MODEL}).json()["id"]
    person.page("POST", f"/chats/{untitled}/turns", json={"content": f"{next(words)} and so on", "max_tokens": 2})
    person.page("PATCH", f"/chats/{untitled}", json={"title": next(words)})
    client = person.service.client(person.key())
    client.chat.completions.create(
        model=MODEL, max_tokens=3, messages=[{"role": "system", "content": next(words)},
                                             {"role": "user", "content": next(words)}],
    )  # fmt: skip
    client.completions.create(model=MODEL, prompt=next(words), max_tokens=2)
    first = client.responses.create(
        model=MODEL, input=next(words), instructions=next(words), metadata={"a": next(words)}, max_output_tokens=16
    )
    client.responses.create(model=MODEL, input=next(words), previous_response_id=first.id, max_output_tokens=16)
    talk = client.conversations.create(
        metadata={"topic": next(words)}, items=[{"type": "message", "role": "user", "content": next(words)}]
    )
    client.conversations.items.create(talk.id, items=[{"type": "message", "role": "user", "content": next(words)}])
    client.responses.create(model=MODEL, input=next(words), conversation=talk.id, max_output_tokens=16)
    client.files.create(file=(f"{next(words)}.txt", f"The word is {next(words)}.".encode()), purpose="user_data")
    client.files.create(file=(f"{next(words)}.bin", next(words).encode() * 20_000), purpose="vision")
    line = {
        "custom_id": next(words), "method": "POST", "url": "/v1/chat/completions",
        "body": {"model": MODEL, "max_tokens": 2, "messages": [{"role": "user", "content": next(words)}]},
    }  # fmt: skip
    given = client.files.create(file=(f"{next(words)}.jsonl", json.dumps(line).encode()), purpose="batch")
    batch = client.batches.create(
        input_file_id=given.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"b": next(words)}
    )
    ended = eventually(lambda: over if (over := client.batches.retrieve(batch.id)).status in ENDED else None)
    assert ended.status == "completed", ended
    eventually(lambda: search(person, "word is"))
    assert not search(person, next(words))
    person.page("GET", "/chats", params={"query": next(words)})


def search(person: Person, query: str) -> list[Any]:
    key = person.key()
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "search_documents", "arguments": {"query": query}}}  # fmt: skip
    headers = {"Authorization": f"Bearer {key}", "Accept": "application/json, text/event-stream"}
    answer = requests.post(f"{person.service.address}/mcp", json=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["result"]["structuredContent"]["passages"])


def lying(service: Service) -> dict[str, bytes]:
    """Every byte that a service keeps, but the models'."""
    folder = service.data_dir
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] != "library"
    }
    return found | {"intramural.db": databases.everything(service.database)}


def test_none_of_fifty_words_lies_on_the_disk(service: Service) -> None:
    words = [canary(n) for n in range(50)]
    ada, ben = Person(service, "ada.canary"), Person(service, "ben.canary")
    for person, theirs, others in ((ada, words[:25], words[25:]), (ben, words[25:], words[:25])):
        given = iter(theirs)
        say(person, given)
        assert not list(given), "there are more words than places"
        exported = zipfile.ZipFile(io.BytesIO(person.page("GET", "/me/export").content))
        text = b"".join(exported.read(name) for name in exported.namelist()).decode()
        assert not [word for word in others if word in text]
        # the page's search leaves no trace; what was only asked is among the texts that the log commits to
        assert {word for word in theirs if word not in text} == {theirs[-1]}
    check_nothing_lies(service)


def check_nothing_lies(service: Service) -> None:
    found = lying(service)
    assert any(name.startswith("files/") for name in found) and found["intramural.db"]
    for name, data in found.items():
        folded = data.lower()
        assert not [canary(n) for n in range(50) if canary(n).encode() in folded], name


def test_one_persons_data_key_is_changed_while_they_go_on(service: Service) -> None:
    cleo = Person(service, "cleo")
    chat = cleo.page("POST", "/chats", json={"model": MODEL, "title": "Before the change"}).json()["id"]
    client = service.client(cleo.key())
    file = client.files.create(file=("a.txt", b"The word is early." * 9_000), purpose="user_data")
    eventually(lambda: search(cleo, "early"))
    changed = service.command("vault", "change-data-key", "cleo")["changed"]
    assert changed >= 2
    assert cleo.page("GET", f"/chats/{chat}").json()["title"] == "Before the change"
    assert client.files.content(file.id).read() == b"The word is early." * 9_000
    eventually(lambda: search(cleo, "early"))
    keys = f"SELECT purpose, generation FROM data_keys WHERE person_id = '{cleo.id}'"
    assert sorted(databases.query(service.database, keys)) == [("content", 2), ("salts", 1)]


@pytest.mark.sqlite(reason="puts an older file of it back")
def test_the_installations_key_is_changed_and_who_is_erased_stays_erased(service: Service, tmp_path: Path) -> None:
    emil, fay = Person(service, "emil"), Person(service, "fay")
    for person in (emil, fay):
        chat = person.page("POST", "/chats", json={"model": MODEL, "title": f"{person.name} has a title"}).json()["id"]
        person.page("POST", f"/chats/{chat}/turns", json={"content": "Tell me.", "max_tokens": 3})
    file = service.client(emil.key()).files.create(file=("a.txt", b"The word is late."), purpose="user_data")
    key_file = service.data_dir / "secrets" / "vault.key"
    old_key = key_file.read_bytes()
    assert service.command("vault", "change-key")["changed"] >= 4
    new_key = key_file.read_bytes()
    assert new_key != old_key
    assert fay.page("GET", "/chats").json()["chats"][0]["title"] == "fay has a title"
    events = [each["event"] for each in service.events()]
    assert events.index("vault.key_changed") < events.index("vault.key_changing")

    service.stop()
    check_nothing_lies(service)
    key_file.write_bytes(old_key)
    done = service.command("user", "ls", check=False)
    assert done.returncode != 0 and "data_key_wrong" in done.stderr
    key_file.write_bytes(new_key)
    backup = tmp_path / "backup"
    shutil.copytree(service.data_dir, backup, ignore=shutil.ignore_patterns("library", "console*"))
    service.start()
    service.sign_in()

    certificate = service.page("DELETE", f"/people/{emil.id}").json()
    assert emil.page("GET", "/me").status_code == 401
    check_certificate(certificate, emil.id)
    assert certificate["statement"]["rows_deleted"]["chats"] == 1 and certificate["statement"]["keys_destroyed"] == 2
    assert service.page("GET", f"/erasures/{emil.id}").json() == certificate
    assert service.page("GET", f"/erasures/{fay.id}").status_code == 404
    assert not (service.data_dir / "files" / file.id).exists()
    assert service.page("POST", "/audit/verify").json()["ok"]
    assert naming(service, emil.id) == {"audit_entries", "erasures", "usage"}

    service.stop()  # the database and the files of before come back: as after a disk was lost
    for name in ("intramural.db", "files"):
        put_back(backup / name, service.data_dir / name)
    (service.data_dir / "intramural.db-wal").unlink(missing_ok=True)
    assert "chats" in naming(service, emil.id)
    service.start()
    service.sign_in()
    assert naming(service, emil.id) == {"audit_entries", "erasures", "usage"}
    assert not (service.data_dir / "files" / file.id).exists()
    check_certificate(service.page("GET", f"/erasures/{emil.id}").json(), emil.id)
    assert service.page("POST", "/audit/verify").json()["ok"]
    fay.sign_in()
    assert fay.page("GET", "/chats").json()["chats"][0]["title"] == "fay has a title"
    (again,) = service.events(event="person.removed")
    assert again["facts"]["again"] and again["actor"]["id"] == "system"


def check_certificate(certificate: dict[str, Any], person_id: str) -> None:
    """As anybody can who has the log's public key."""
    signed = VerifierKey.parse(certificate["public_key"]).statement_of(certificate["signature"], "erasure")
    assert json.loads(signed) == certificate["statement"]
    assert certificate["statement"]["person_id"] == person_id


def naming(service: Service, person_id: str) -> set[str]:
    """The tables that still name somebody."""
    return {
        table.name
        for table in metadata.sorted_tables
        if any(person_id in row for row in databases.query(service.database, f"SELECT * FROM {table.name}"))
    }


def put_back(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.rmtree(target)
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


def test_the_console_and_a_key_take_no_export(service: Service) -> None:
    gil = Person(service, "gil")
    key = service.page("POST", "/keys", json={"name": "k", "scopes": ["admin", "chats", "inference"]}).json()["secret"]
    with_key = requests.get(
        f"{service.address}/intramural/v1/me/export", headers={"Authorization": f"Bearer {key}"}, timeout=60
    )
    assert with_key.status_code == 403 and with_key.json()["error"]["code"] == "session_required"
    own = zipfile.ZipFile(io.BytesIO(gil.page("GET", "/me/export").content))
    assert json.loads(own.read("data.json"))["tables"]["people"][0]["username"] == "gil"
    assert next(each["actor"]["id"] for each in service.events(event="person.exported")) == gil.id


@pytest.mark.sqlite(reason="made before PostgreSQL could be used")
def test_an_older_installation_is_sealed_and_nothing_lost(tmp_path: Path, starter_wheel: Path) -> None:
    """A data directory as the version before the vault left it: in clear."""
    data_dir = tmp_path / "data"
    older(data_dir)
    service = Service(data_dir, starter_wheel).start()
    try:
        service.sign_in()
        (chat,) = service.page("GET", "/chats").json()["chats"]
        assert chat["title"] == f"Über {canary(1)}"
        messages = service.page("GET", f"/chats/{chat['id']}").json()["messages"]
        assert [each["content"] for each in messages] == [f"Was ist {canary(2)}?", ""]
        client = service.client()
        (file,) = client.files.list().data
        assert file.filename == f"{canary(3)}.txt"
        assert client.files.content(file.id).read() == f"The word is {canary(4)}.".encode()
        assert service.page("GET", "/chats", params={"query": canary(2).upper()}).json()["chats"][0]["id"] == chat["id"]
        (sealed,) = service.events(event="vault.sealed")
        assert sealed["facts"] == {"values": 4, "files": 1}
        check_nothing_lies(service)
    finally:
        service.stop()
    check_nothing_lies(service)


def older(data_dir: Path) -> None:
    """Revision 0007, with an administrator, a chat and a file."""
    from alembic import command
    from alembic.config import Config
    from argon2 import PasswordHasher
    from sqlalchemy import create_engine

    import intramural.storage

    (data_dir / "files").mkdir(parents=True)
    config = Config()
    config.set_main_option("script_location", str(Path(intramural.storage.__file__).parent / "migrations"))
    engine = create_engine(f"sqlite:///{data_dir / 'intramural.db'}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0007")
    engine.dispose()
    data = f"The word is {canary(4)}.".encode()
    (data_dir / "files" / "file_1").write_bytes(data)
    name, password = ADMIN
    hashed = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(password)
    with closing(sqlite3.connect(data_dir / "intramural.db")) as connection:
        for statement, values in (
            ("INSERT INTO people VALUES ('person_1', ?, ?, 'administrator', ?, 0, NULL)", (name, name, hashed)),
            ("INSERT INTO chats VALUES ('chat_1', 'person_1', ?, ?, ?, 1, 2)",
             (f"Über {canary(1)}", f"über {canary(1)}", MODEL)),
            ("INSERT INTO chat_messages VALUES ('message_1', 'chat_1', 0, 'user', ?, ?, NULL, NULL, NULL, 1)",
             (f"Was ist {canary(2)}?", f"was ist {canary(2)}?")),
            ("INSERT INTO chat_messages VALUES ('message_2', 'chat_1', 1, 'assistant', '', '', ?, NULL, NULL, 1)",
             (MODEL,)),
            ("INSERT INTO files VALUES ('file_1', 'person_1', ?, 'user_data', ?, 'sha256:', 1, NULL, 'ready')",
             (f"{canary(3)}.txt", len(data))),
            ("INSERT INTO file_texts (text, owner, file_id, position, line) VALUES (?, 'person1 file1', ?, 0, 1)",
             (data.decode(), "file_1")),
        ):  # fmt: skip
            connection.execute(statement, values)
        connection.commit()
