"""What is temporary is nowhere; what is held stays; what is due goes: over the real service and its command line."""

import io
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from tests import databases
from tests.journeys.test_vault import Person, canary, lying
from tests.service import MODEL, Service

#: Long enough that what is computed of it is worth keeping.
LONG = " ".join(f"Line {number} of the ballad of the stone heron tells of rain." for number in range(18))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, starter_wheel: Path) -> Iterator[Service]:
    root = tmp_path_factory.mktemp("lifecycle")
    settings = {"INTRAMURAL_AUDIT_RECORD_PROMPTS": "true", "INTRAMURAL_RETENTION_CHAT_DAYS": "30"}
    with Service(root / "data", starter_wheel, settings).running() as running:
        yield running


def post(person: Person, path: str, body: dict[str, Any], key: str | None = None) -> requests.Response:
    """As the person's browser does; with a key, as a program of theirs."""
    headers = {"anthropic-version": "2023-06-01"} | ({} if key is None else {"Authorization": f"Bearer {key}"})
    session = person.session if key is None else requests
    answer = session.post(f"{person.service.address}{path}", json=body, headers=headers, timeout=110)
    assert answer.status_code == 200, answer.text
    return answer


def asks_for_a_while(person: Person, words: Iterator[str]) -> None:
    """Everything that is answered and not kept, in every dialect; a canary in whatever can be said there."""
    said = [
        {"role": "system", "content": next(words)},
        {"role": "user", "content": f"{next(words)} {LONG}"},
        {"role": "assistant", "content": next(words)},
        {"role": "user", "content": next(words)},
    ]
    chat = {"model": MODEL, "messages": said, "max_tokens": 2}
    post(person, "/v1/chat/completions", chat)
    post(person, "/v1/chat/completions", {**chat, "stream": True})
    post(person, "/v1/completions", {"model": MODEL, "prompt": next(words), "max_tokens": 2})
    anthropic = {"model": MODEL, "max_tokens": 2, "system": next(words)}
    post(person, "/v1/messages", {**anthropic, "messages": [{"role": "user", "content": next(words)}]})
    ollama = {"model": MODEL, "stream": False, "options": {"num_predict": 2}}
    post(person, "/api/chat", {**ollama, "messages": [{"role": "user", "content": next(words)}]})
    post(person, "/api/generate", {**ollama, "prompt": next(words), "system": next(words)})
    response = {"model": MODEL, "max_output_tokens": 16, "store": False}
    post(person, "/v1/responses", {**response, "input": next(words), "instructions": next(words)})
    key = person.key()
    post(person, "/v1/responses", {**response, "input": next(words), "metadata": {"a": next(words)}}, key)
    chat = {"model": MODEL, "max_tokens": 2, "store": False}
    post(
        person,
        "/v1/chat/completions",
        {**chat, "messages": [{"role": "user", "content": f"{next(words)} {LONG}"}]},
        key,
    )


def states(service: Service) -> list[Path]:
    return sorted((service.data_dir / "states").glob("*/*"))


def unloaded(service: Service) -> None:
    """The worker is gone: whatever it had of conversations, and may be kept, is on the disk."""
    assert service.page("POST", f"/models/{MODEL}/unload").status_code in (200, 202, 204)
    while service.page("GET", "/models").json()["models"][0]["state"] in ("ready", "stopping"):
        time.sleep(0.1)


def exported(person: Person) -> tuple[dict[str, Any], str]:
    archive = zipfile.ZipFile(io.BytesIO(person.page("GET", "/me/export").content))
    text = b"".join(archive.read(name) for name in archive.namelist()).decode()
    return json.loads(archive.read("data.json"))["tables"], text


def test_what_is_temporary_is_nowhere(service: Service) -> None:
    words = [canary(n) for n in range(50)]
    gus = Person(service, "gus")
    asks_for_a_while(gus, given := iter(words))
    used = words[: 50 - len(list(given))]
    assert len(used) == 15
    unloaded(service)
    assert states(service) == []
    for name, data in lying(service).items():
        folded = data.lower()
        assert not [word for word in used if word.encode() in folded], name
    # sealed, a byte search would not see it: so what he takes along, where all is opened, and every table
    tables, text = exported(gus)
    assert not [word for word in used if word in text]
    kept = {name for name, rows in tables.items() if rows}
    assert kept == {"people", "sessions", "keys", "audit_entries", "usage", "data_keys"}
    assert gus.page("GET", "/chats", params={"query": used[0]}).json()["chats"] == []
    told = [each for each in service.events(event="chat.asked") if each["actor"]["id"] == gus.id]
    assert len(told) == 9  # that it was asked

    # the same that is not temporary: it is kept, which all of the above would find
    chat = gus.page("POST", "/chats", json={"model": MODEL, "title": words[48]}).json()["id"]
    gus.page("POST", f"/chats/{chat}/turns", json={"content": f"{words[49]} {LONG}", "max_tokens": 2})
    tables, text = exported(gus)
    assert words[48] in text and words[49] in text and tables["audit_texts"] and tables["chat_messages"]
    unloaded(service)
    assert len(states(service)) == 1


def test_holds_and_deleting_by_the_command_line(service: Service) -> None:
    hal = Person(service, "hal")
    chat = hal.page("POST", "/chats", json={"model": MODEL, "title": "Old"}).json()["id"]
    hold = service.command("hold", "put", "--user", "hal", "--reason", "Smith v. District")
    kept = {each["what"]: each for each in service.command("retention", "preview") if each.get("workspace") is None}
    assert kept["chats"]["held"] == 1 and kept["chats"]["days"] == 30
    assert [each["data_class"] for each in service.command("retention", "preview") if "nothing" in each["what"]] == [
        "audio"
    ]
    refused = service.command("user", "rm", "hal", check=False)
    assert refused.returncode == 1 and "legal_hold" in refused.stderr and hold["id"] in refused.stderr
    older(service, chat)
    service.command("retention", "run")
    wait_for_round(service)
    assert hal.page("GET", f"/chats/{chat}").status_code == 200
    assert service.command("hold", "ls")[0]["reason"] == "Smith v. District"
    service.command("hold", "lift", hold["id"], "--reason", "settled")
    service.command("retention", "run")
    wait_for_round(service)
    assert hal.page("GET", f"/chats/{chat}").status_code == 404
    (purged,) = service.events(event="retention.purged")
    assert (purged["target"], purged["facts"]["rule"]) == (f"person:{hal.id}", "retention.chat_days=30")
    assert service.page("POST", "/audit/verify").json()["ok"]


def older(service: Service, chat: str) -> None:
    """As if it had been used two months ago."""
    databases.query(service.database, f"UPDATE chats SET updated_ms = updated_ms - 5184000000 WHERE id = '{chat}'")


def wait_for_round(service: Service) -> None:
    """Until the round that was asked for is over."""
    asked_ms = service.events(event="retention.begun")[0]["time_ms"]
    while (found := service.command("retention", "status"))["running"] or found["begun_ms"] < asked_ms:
        time.sleep(0.1)
    assert found["error"] is None
