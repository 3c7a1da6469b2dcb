"""Whoever is shut out, by whatever way, has nothing running any more: real answers that would not end by themselves."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest
import requests
from openai import OpenAI
from tests import databases
from tests.service import ENDLESS, MODEL, Service

PASSWORD = "a sentence nobody guesses"
ASKED = {"model": MODEL, "messages": [{"role": "user", "content": "Go on for ever."}], "max_tokens": 4000, **ENDLESS}


class Somebody:
    """A person with a session and a key."""

    def __init__(self, service: Service, name: str) -> None:
        self.service = service
        body = {"username": name, "password": PASSWORD, "role": "member"}
        self.id = service.page("POST", "/people", json=body).json()["id"]
        self.name = name
        self.browser = requests.Session()
        base = f"{service.address}/intramural/v1"
        me = self.browser.post(f"{base}/login", json={"username": name, "password": PASSWORD}).json()
        self.browser.headers["X-CSRF-Token"] = me["csrf_token"]
        made = self.browser.post(f"{base}/keys", json={"name": "k", "scopes": ["inference"]}).json()
        self.key, self.key_id = made["secret"], made["key"]["id"]

    def stream(self, headers: Mapping[str, str] = MappingProxyType({})) -> Iterator[bytes]:
        """The lines of an answer on its way, of which the first was read."""
        answer = requests.post(
            f"{self.service.address}/v1/chat/completions",
            json={**ASKED, "stream": True},
            headers={"Authorization": f"Bearer {self.key}", **headers},
            stream=True,
            timeout=100,
        )
        assert answer.status_code == 200, answer.text
        lines: Iterator[bytes] = answer.iter_lines()
        next(lines)
        return lines

    def me(self) -> int:
        return self.browser.get(f"{self.service.address}/intramural/v1/me").status_code

    def answered(self) -> list[dict[str, Any]]:
        return [e for e in self.service.events(event="chat.answered") if e["actor"]["id"] == self.id]


def last_error(lines: Iterator[bytes]) -> str:
    """The code in the stream's last frame that has one; reads it to its end."""
    frames = [json.loads(line[6:]) for line in lines if line.startswith(b"data: {")]
    return str(next(frame["error"]["code"] for frame in reversed(frames) if "error" in frame))


WAYS: dict[str, tuple[str, Callable[[Service, Somebody], object]]] = {
    "the page": (
        "disabled_person",
        lambda service, one: service.page("PATCH", f"/people/{one.id}", json={"disabled": True}),
    ),
    "the command line": ("disabled_person", lambda service, one: service.command("user", "disable", one.name)),
    "the database": (
        "disabled_person",
        # as another program would, behind the service's back
        lambda service, one: databases.query(
            service.database, f"UPDATE people SET disabled_ms = 1 WHERE id = '{one.id}'"
        ),
    ),
    "a directory": (
        "disabled_person",
        lambda service, one: service.session.patch(
            f"{service.address}/scim/v2/Users/{one.id}",
            json={"Operations": [{"op": "Replace", "path": "active", "value": "False"}]},
        ),
    ),
    "removal": ("invalid_key", lambda service, one: service.page("DELETE", f"/people/{one.id}")),
    "their key": ("revoked_key", lambda service, one: service.page("DELETE", f"/keys/{one.key_id}")),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_running_answer_ends(service: Service, way: str) -> None:
    code, shut_out = WAYS[way]
    one = Somebody(service, "gone-by-" + way.replace(" ", "-"))
    answer = one.stream()
    began_s = time.monotonic()
    shut_out(service, one)
    assert last_error(answer) == code
    print(f"ended {time.monotonic() - began_s:.1f} s after {way}")
    [entry] = one.answered()
    assert (entry["outcome"], entry["facts"]["error"]) == ("failed", code)
    assert one.me() == (200 if way == "their key" else 401)
    refused = requests.get(f"{service.address}/v1/models", headers={"Authorization": f"Bearer {one.key}"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, code)


@pytest.mark.parametrize("way", ["dismissed", "closed"])
def test_a_running_answer_in_a_workspace_ends_with_the_membership(service: Service, way: str) -> None:
    """What runs elsewhere for the same person goes on."""
    one = Somebody(service, f"{way}-from-there")
    made = service.page("POST", "/workspaces", json={"name": f"Until {way}", "label": "phi"}).json()
    url = f"/workspaces/{made['id']}"
    service.page("PUT", f"{url}/members/{one.id}")
    inside, outside = one.stream(headers={"X-Intramural-Workspace": made["id"]}), one.stream()
    if way == "closed":
        service.page("POST", f"{url}/close")
    else:
        service.page("DELETE", f"{url}/members/{one.id}")
    assert last_error(inside) == "workspace_closed"
    [entry] = one.answered()
    assert (entry["outcome"], entry["facts"]["error"]) == ("failed", "workspace_closed")
    assert next(outside) is not None
    service.page("DELETE", f"/people/{one.id}")
    assert last_error(outside) == "invalid_key"


def test_who_still_waits_is_told_and_others_are_left_alone(service: Service) -> None:
    busy, gone = Somebody(service, "busy"), Somebody(service, "gone-while-waiting")
    running = [busy.stream() for _ in range(4)]  # as many as there are slots
    told: list[requests.Response] = []

    def ask() -> None:
        client = f"{service.address}/v1/embeddings", {"Authorization": f"Bearer {gone.key}"}
        told.append(requests.post(client[0].replace("embeddings", "chat/completions"), json=ASKED, headers=client[1]))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    while service.page("GET", "/models").json()["queued"] < 2 and not told:
        time.sleep(0.05)
    service.page("PATCH", f"/people/{gone.id}", json={"disabled": True})
    for thread in threads:
        thread.join()
    assert [(each.status_code, each.json()["error"]["code"]) for each in told] == [(401, "disabled_person")] * 2
    assert next(running[0]) is not None  # goes on
    service.page("DELETE", f"/people/{busy.id}")


def test_a_batch_ends_in_the_middle_of_a_line(service: Service) -> None:
    one = Somebody(service, "gone-with-a-batch")
    client = OpenAI(base_url=f"{service.address}/v1", api_key=one.key, max_retries=0)
    lines = [{"custom_id": str(n), "method": "POST", "url": "/v1/chat/completions", "body": ASKED} for n in range(3)]
    data = "\n".join(json.dumps(line) for line in lines).encode()
    file_id = client.files.create(file=("in.jsonl", data), purpose="batch").id
    batch = client.batches.create(input_file_id=file_id, endpoint="/v1/chat/completions", completion_window="24h")
    while not [e for e in service.events(event="chat.asked") if e["actor"]["id"] == one.id]:
        time.sleep(0.05)
    service.page("PATCH", f"/people/{one.id}", json={"disabled": True})
    while not [e for e in service.events(event="batch.ended") if e["target"] == f"batch:{batch.id}"]:
        time.sleep(0.05)
    service.page("PATCH", f"/people/{one.id}", json={"disabled": False})
    ended = client.batches.retrieve(batch.id)
    assert (ended.status, ended.request_counts.completed) == ("cancelled", 0)
    assert [e["facts"]["error"] for e in one.answered()] == ["disabled_person"]
