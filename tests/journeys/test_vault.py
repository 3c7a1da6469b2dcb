"""What people write, over the real service: sealed on the disk, theirs to take along, gone when they are erased."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.service import MODEL, Service

PASSWORD = "a long enough password"


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
    asked = person.page("POST", f"/chats/{chat}/messages", json={"content": next(words), "max_tokens": 4})
    assert asked.status_code == 200, asked.text
    untitled = person.page("POST", "/chats", json={"model": MODEL}).json()["id"]
    person.page("POST", f"/chats/{untitled}/messages", json={"content": f"{next(words)} and so on", "max_tokens": 2})
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
    while batch.status not in ("completed", "failed"):
        batch = client.batches.retrieve(batch.id)
    assert batch.status == "completed", batch
    while not (found := search(person, "word is")):
        pass
    assert found and not search(person, next(words))
    person.page("GET", "/chats", params={"query": next(words)})


def search(person: Person, query: str) -> list[Any]:
    key = person.key()
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "search_documents", "arguments": {"query": query}}}  # fmt: skip
    headers = {"Authorization": f"Bearer {key}", "Accept": "application/json, text/event-stream"}
    answer = requests.post(f"{person.service.address}/mcp", json=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    text = answer.json()["result"]["content"][0]["text"]
    return ["found"] if "The word is" in text else []


def lying(folder: Path) -> dict[str, bytes]:
    """Every byte under a folder, but the models'."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] != "library"
    }


def test_none_of_fifty_words_lies_on_the_disk(service: Service, tmp_path: Path) -> None:
    words = iter([canary(n) for n in range(50)])
    ada, ben = Person(service, "ada.canary"), Person(service, "ben.canary")
    say(ada, words)
    used = 50 - len(rest := list(words))
    assert used == 25, used
    say(ben, iter(rest))
    for person, whole in ((ada, [canary(n) for n in range(25)]), (ben, rest)):
        exported = zipfile.ZipFile(io.BytesIO(person.page("GET", "/me/export").content))
        text = b"".join(exported.read(name) for name in exported.namelist()).decode()
        kept = [word for word in whole if word in text]
        # two searches and what was only asked for are in the texts of the log alone; the page's search is nowhere
        assert len(kept) >= len(whole) - 1, set(whole) - set(kept)
        others = {canary(n) for n in range(50)} - set(whole)
        assert not [word for word in others if word in text]
    check_nothing_lies(service)
    service.stop()
    try:
        check_nothing_lies(service)
    finally:
        service.start()
        service.sign_in()
        service.wait_ready()


def check_nothing_lies(service: Service) -> None:
    found = lying(service.data_dir)
    assert any(name.startswith("files/") for name in found) and "intramural.db" in found
    for name, data in found.items():
        folded = data.lower()
        assert not [canary(n) for n in range(50) if canary(n).encode() in folded], name
