"""Files with the official OpenAI client."""

import signal
import threading
import time
from pathlib import Path

import openai
import pytest
import requests
from openai import OpenAI
from tests.service import Service

ANCHOR, SECONDS = "expires_after[anchor]", "expires_after[seconds]"


def test_a_file_from_upload_to_deletion(service: Service, client: OpenAI) -> None:
    data = bytes(range(256)) * 20_000
    file = client.files.create(file=("Größe «1».bin", data), purpose="user_data")
    assert (file.bytes, file.filename, file.purpose, file.expires_at) == (len(data), "Größe «1».bin", "user_data", None)
    assert client.files.retrieve(file.id) == file
    assert file in list(client.files.list(purpose="user_data"))
    assert file not in list(client.files.list(purpose="vision"))
    assert client.files.content(file.id).read() == data
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError) as gone:
        client.files.retrieve(file.id)
    assert gone.value.code == "file_not_found"
    assert not (service.data_dir / "files" / file.id).exists()
    found = [entry["event"] for entry in service.events() if entry["target"] == f"file:{file.id}"]
    assert found == ["file.deleted", "file.read", "file.stored"]


def test_pages(client: OpenAI) -> None:
    made = [client.files.create(file=(f"{n}.txt", b"x"), purpose="assistants").id for n in range(3)]
    first = client.files.list(purpose="assistants", limit=2, order="asc")
    assert len(first.data) == 2 and first.has_more
    everything = [file.id for file in first]
    assert sorted(everything) == everything and set(made) <= set(everything)
    for each in made:
        client.files.delete(each)


def test_expiry(client: OpenAI) -> None:
    file = client.files.create(
        file=("a.jsonl", b"{}"), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert file.expires_at == file.created_at + 3600
    usual = client.files.create(file=("a.jsonl", b"{}"), purpose="batch")
    assert usual.expires_at == usual.created_at + 2_592_000


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"data": {"purpose": "user_data"}}, "bad_form"),
        ({"files": {"file": ("a", b"x")}}, "bad_parameter"),
        ({"files": {"file": ("a", b"x")}, "data": {"purpose": "batch_output"}}, "bad_purpose"),
        ({"files": {"file": ("a\x01", b"x")}, "data": {"purpose": "batch"}}, "bad_file_name"),
        ({"files": {"file": ("a", b"x")}, "data": {"purpose": "batch", "colour": "red"}}, "unknown_parameter"),
        ({"files": {"file": ("a", b"x")}, "data": {"purpose": "x" * 5000}}, "field_too_large"),
        ({"files": [("file", ("a", b"x")), ("file", ("b", b"y"))], "data": {"purpose": "batch"}}, "bad_form"),
        (
            {"files": {"file": ("a", b"x")}, "data": {"purpose": "batch", ANCHOR: "now"}},
            "bad_parameter",
        ),
        (
            {"files": {"file": ("a", b"x")}, "data": {"purpose": "batch", ANCHOR: "created_at", SECONDS: "2592001"}},
            "bad_expiry",
        ),
        ({"data": b"--x\r\nContent-", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, "bad_form"),
        ({"data": b"nonsense", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, "bad_form"),
        ({"data": b"", "headers": {"Content-Type": "multipart/form-data"}}, "bad_form"),
        ({"json": {"purpose": "batch"}}, "bad_form"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_stays(service: Service, client: OpenAI, form: dict, code: str) -> None:
    before = {file.name for file in (service.data_dir / "files").iterdir()}
    headers = {"Authorization": f"Bearer {client.api_key}", **form.pop("headers", {})}
    answer = requests.post(f"{service.address}/v1/files", headers=headers, timeout=20, **form)
    assert answer.status_code in (400, 413), answer.text
    assert answer.json()["error"]["code"] == code
    assert {file.name for file in (service.data_dir / "files").iterdir()} == before


def test_content_is_never_a_page_of_ours(service: Service, client: OpenAI) -> None:
    file = client.files.create(file=("a.html", b"<script>alert(1)</script>"), purpose="user_data")
    answer = service.session.get(f"{service.address}/v1/files/{file.id}/content", timeout=20)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment;")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]


def test_nobody_reaches_somebody_elses(service: Service, client: OpenAI) -> None:
    file = client.files.create(file=("a.txt", b"secret"), purpose="user_data")
    made = service.page("POST", "/people", json={"username": "bob", "password": "a long enough one", "role": "member"})
    bob = requests.Session()
    answer = bob.post(
        f"{service.address}/intramural/v1/login", json={"username": "bob", "password": "a long enough one"}, timeout=20
    )
    bob.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        refused = bob.request(method, f"{service.address}/v1/files/{file.id}{path}", timeout=20)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "file_not_found")
    assert bob.get(f"{service.address}/v1/files", timeout=20).json()["data"] == []
    mine = bob.post(
        f"{service.address}/v1/files", files={"file": ("b", b"x")}, data={"purpose": "user_data"}, timeout=20
    ).json()["id"]
    assert service.page("DELETE", f"/people/{made.json()['id']}").status_code == 200
    assert not (service.data_dir / "files" / mine).exists()
    assert client.files.content(file.id).read() == b"secret"


def test_a_key_needs_the_scope(service: Service) -> None:
    with pytest.raises(openai.PermissionDeniedError):
        service.client(service.new_key(scopes=["chats"])).files.list()


def test_what_was_acknowledged_survives_kill_9_and_nothing_else_stays(fresh: Service, tmp_path: Path) -> None:
    fresh.start().set_up()
    client = fresh.client()
    acknowledged: dict[str, bytes] = {}

    def upload() -> None:
        number = 0
        while True:
            number += 1
            data = bytes([number % 256]) * 1_500_000
            try:
                acknowledged[client.files.create(file=("a", data), purpose="user_data").id] = data
            except openai.APIConnectionError:
                return

    workers = [threading.Thread(target=upload) for _ in range(2)]
    for worker in workers:
        worker.start()
    while len(acknowledged) < 4:
        time.sleep(0.01)
    fresh.stop(signal.SIGKILL)
    for worker in workers:
        worker.join()
    fresh.start()
    again = OpenAI(base_url=f"{fresh.address}/v1", api_key=client.api_key, max_retries=0, timeout=60)
    there = {file.id for file in again.files.list()}
    assert set(acknowledged) <= there  # one may be there whose acknowledgement was lost on its way
    assert all(again.files.content(each).read() == data for each, data in acknowledged.items())
    assert {file.name for file in (fresh.data_dir / "files").iterdir()} == there
