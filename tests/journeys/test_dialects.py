"""One conversation through every dialect: the same policy, meter, log and receipts, whoever's words it came in."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
import requests
from tests.service import MODEL, Service

from intramural.audit import commitment

SAY = "Say hello to the river."
TOKENS = 12
#: Facts that may differ: how fast it was, and what a dialect leaves to the engine.
TIMES = {"waited_ms", "first_ms", "prompt_ms", "completion_ms", "took_ms", "cached_tokens"}

Ask = Callable[[Service, str], tuple[str, requests.Response]]


def post(service: Service, key: str, path: str, body: dict[str, Any]) -> requests.Response:
    headers = {"Authorization": f"Bearer {key}", "anthropic-version": "2023-06-01"}
    if "messages" not in path:
        del headers["anthropic-version"]
    answer = requests.post(service.address + path, json={"model": MODEL, **body}, headers=headers, timeout=110)
    assert answer.status_code == 200, answer.text
    return answer


def lines(answer: requests.Response) -> list[Any]:
    """The JSON of every event or line."""
    found = [line.removeprefix("data: ") for line in answer.text.splitlines()]
    return [json.loads(line) for line in found if line.startswith("{")]


def openai(service: Service, key: str, *, stream: bool) -> tuple[str, requests.Response]:
    body = {"messages": [{"role": "user", "content": SAY}], "max_tokens": TOKENS, "temperature": 0, "seed": 7}
    answer = post(service, key, "/v1/chat/completions", {**body, "stream": stream})
    if stream:
        return "".join(c["choices"][0]["delta"].get("content") or "" for c in lines(answer)), answer
    return answer.json()["choices"][0]["message"]["content"], answer


def responses(service: Service, key: str, *, stream: bool) -> tuple[str, requests.Response]:
    body = {"input": SAY, "max_output_tokens": TOKENS, "temperature": 0, "store": False, "stream": stream}
    answer = post(service, key, "/v1/responses", body)
    if stream:
        return "".join(e["delta"] for e in lines(answer) if e["type"] == "response.output_text.delta"), answer
    return answer.json()["output"][0]["content"][0]["text"], answer


def anthropic(service: Service, key: str, *, stream: bool) -> tuple[str, requests.Response]:
    body = {"messages": [{"role": "user", "content": SAY}], "max_tokens": TOKENS, "temperature": 0, "stream": stream}
    answer = post(service, key, "/v1/messages", body)
    if stream:
        return "".join(e["delta"]["text"] for e in lines(answer) if e["type"] == "content_block_delta"), answer
    return answer.json()["content"][0]["text"], answer


def ollama(service: Service, key: str, *, stream: bool) -> tuple[str, requests.Response]:
    options = {"num_predict": TOKENS, "temperature": 0, "seed": 7}
    body = {"messages": [{"role": "user", "content": SAY}], "options": options, "stream": stream}
    answer = post(service, key, "/api/chat", body)
    return "".join(line["message"]["content"] for line in lines(answer)), answer


DIALECTS = {"openai": openai, "responses": responses, "anthropic": anthropic, "ollama": ollama}


@pytest.fixture(scope="module")
def key(service: Service) -> str:
    return service.new_key()


def usage_row(service: Service, request_id: str) -> dict[str, Any]:
    with closing(sqlite3.connect(service.data_dir / "intramural.db")) as database:
        database.row_factory = sqlite3.Row
        (row,) = database.execute("SELECT * FROM usage WHERE request_id = ?", (request_id,)).fetchall()
    return dict(row)


def recorded(service: Service, request_id: str) -> dict[str, dict[str, Any]]:
    return {e["event"]: e for e in service.events() if e["request_id"] == request_id}


@pytest.fixture(scope="module")
def asked(service: Service, key: str) -> dict[str, tuple[str, str, Any]]:
    """By dialect and manner: what it said, under which request, and its receipt."""
    found = {}
    for name, ask in DIALECTS.items():
        for stream in (False, True):
            said, answer = ask(service, key, stream=stream)
            bearer = {"Authorization": f"Bearer {key}"}
            receipt = requests.get(service.address + answer.headers["X-Intramural-Receipt"], headers=bearer, timeout=60)
            found[f"{name} {'streamed' if stream else 'whole'}"] = (
                said,
                answer.headers["X-Request-Id"],
                receipt.json(),
            )
    return found


def test_the_same_words_and_the_same_count(service: Service, asked: dict[str, tuple[str, str, Any]]) -> None:
    assert len({said for said, _, _ in asked.values()}) == 1, {name: said for name, (said, _, _) in asked.items()}
    rows = [usage_row(service, request_id) for _, request_id, _ in asked.values()]
    for column in ("prompt_tokens", "completion_tokens", "outcome", "operation", "model", "weights_digest",
                   "person_id", "credential_id"):  # fmt: skip
        assert len({row[column] for row in rows}) == 1, (column, [row[column] for row in rows])
    assert rows[0]["completion_tokens"] == TOKENS
    dialects = {name.split()[0]: row["dialect"] for name, row in zip(asked, rows, strict=True)}
    assert dialects == {"openai": "openai", "responses": "openai", "anthropic": "anthropic", "ollama": "ollama"}


def test_the_same_entries_in_the_log(service: Service, asked: dict[str, tuple[str, str, Any]]) -> None:
    kinds = []
    for _, request_id, _ in asked.values():
        entries = recorded(service, request_id)
        assert set(entries) == {"chat.asked", "chat.answered"}
        question, answer = entries["chat.asked"]["facts"], entries["chat.answered"]["facts"]
        known = ("model", "weights", "rule", "choices", "messages", "tools", "images", "deterministic", "operation")
        ended = {name: value for name, value in answer.items() if name not in TIMES}
        kinds.append(({name: question[name] for name in known}, ended, entries["chat.answered"]["outcome"]))
        assert question["sampling"]["max_tokens"] == TOKENS and question["sampling"]["temperature"] == 0
    assert all(kind == kinds[0] for kind in kinds), kinds


def test_the_same_receipts(asked: dict[str, tuple[str, str, Any]]) -> None:
    for said, _, receipt in asked.values():
        texts, salts = receipt["statement"]["texts"], {n: bytes.fromhex(s) for n, s in receipt["salts"].items()}
        assert texts["prompt"]["commitment"] == commitment(salts["prompt"], f"user: {SAY}")
        assert texts["answer"]["commitment"] == commitment(salts["answer"], said)
        assert receipt["statement"]["outcome"] == "finished"
        assert receipt["statement"]["tokens"]["completion"] == TOKENS
