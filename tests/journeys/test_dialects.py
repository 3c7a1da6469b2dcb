"""One conversation in every form it can come in: the same policy, meter, log and receipts, whoever's words it is in."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests
from tests import databases
from tests.service import MODEL, Service

from intramural.audit import commitment
from intramural.storage.schema import usage

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


def rendered(service: Service, key: str) -> str:
    """The conversation as the model reads it."""
    body = {"messages": [{"role": "user", "content": SAY}]}
    return str(post(service, key, "/v1/apply-template", body).json()["prompt"])


def completions(service: Service, key: str, *, stream: bool) -> tuple[str, requests.Response]:
    body = {"prompt": rendered(service, key), "max_tokens": TOKENS, "temperature": 0, "seed": 7, "stream": stream}
    answer = post(service, key, "/v1/completions", body)
    told = lines(answer) if stream else [answer.json()]
    return "".join(each["choices"][0]["text"] for each in told), answer


def generate(service: Service, key: str, *, stream: bool) -> tuple[str, requests.Response]:
    options = {"num_predict": TOKENS, "temperature": 0, "seed": 7}
    body = {"prompt": rendered(service, key), "raw": True, "options": options, "stream": stream}
    answer = post(service, key, "/api/generate", body)
    return "".join(each["response"] for each in lines(answer)), answer


def page(service: Service, key: str, *, stream: bool) -> tuple[str, requests.Response]:
    """As the page does it: signed in, in a chat that is kept, streamed in any case."""
    chat = service.page("POST", "/chats", json={"model": MODEL}).json()["id"]
    body = {"content": SAY, "max_tokens": TOKENS, "temperature": 0}
    answer = service.page("POST", f"/chats/{chat}/turns", json=body)
    assert answer.status_code == 200, answer.text
    told = [each["choices"][0]["delta"] for each in lines(answer) if each.get("choices")]
    said = "".join(each.get("content") or "" for each in told)
    assert stream or service.page("GET", f"/chats/{chat}").json()["messages"][-1]["content"] == said
    return said, answer


DIALECTS = {
    "openai": openai,
    "responses": responses,
    "completions": completions,
    "anthropic": anthropic,
    "ollama": ollama,
    "generate": generate,
    "page": page,
}
#: What is metered as.
METERED = {"responses": "openai", "completions": "openai", "generate": "ollama"}
#: Those that are given the prompt as the model reads it, and not the conversation.
RAW = {"completions", "generate"}


@pytest.fixture(scope="module")
def key(service: Service) -> str:
    return service.new_key()


def usage_row(service: Service, request_id: str) -> dict[str, Any]:
    names = [column.name for column in usage.columns]
    (row,) = databases.query(
        service.database, f"SELECT {', '.join(names)} FROM usage WHERE request_id = '{request_id}'"
    )
    return dict(zip(names, row, strict=True))


def recorded(service: Service, request_id: str) -> dict[str, dict[str, Any]]:
    return {e["event"]: e for e in service.events() if e["request_id"] == request_id}


@pytest.fixture(scope="module")
def asked(service: Service, key: str) -> dict[str, tuple[str, str, Any]]:
    """By dialect and manner: what it said, under which request, and its receipt."""
    found = {}
    for name, ask in DIALECTS.items():
        for stream in (False, True):
            said, answer = ask(service, key, stream=stream)
            where = service.address + answer.headers["X-Intramural-Receipt"]
            bearer = {"Authorization": f"Bearer {key}"}
            receipt = service.session.get(where) if name == "page" else requests.get(where, headers=bearer, timeout=60)
            found[f"{name} {'streamed' if stream else 'whole'}"] = (
                said,
                answer.headers["X-Request-Id"],
                receipt.json(),
            )
    return found


def test_the_same_words_and_the_same_count(service: Service, asked: dict[str, tuple[str, str, Any]]) -> None:
    assert len({said for said, _, _ in asked.values()}) == 1, {name: said for name, (said, _, _) in asked.items()}
    rows = [usage_row(service, request_id) for _, request_id, _ in asked.values()]
    for column in ("prompt_tokens", "completion_tokens", "outcome", "model", "weights_digest", "person_id"):
        assert len({row[column] for row in rows}) == 1, (column, [row[column] for row in rows])
    assert rows[0]["completion_tokens"] == TOKENS
    by_name = {name.split()[0]: row for name, row in zip(asked, rows, strict=True)}
    assert {name: row["dialect"] for name, row in by_name.items()} == {
        name: METERED.get(name, name) for name in by_name
    }
    for name, row in by_name.items():
        assert row["operation"] == ("completion" if name in RAW else "chat")
        # the page's is a session, and not the key that all others came with
        assert (row["credential_id"] == by_name["openai"]["credential_id"]) == (name != "page")


def test_the_same_entries_in_the_log(service: Service, asked: dict[str, tuple[str, str, Any]]) -> None:
    kinds = []
    for name, (_, request_id, _) in asked.items():
        entries = recorded(service, request_id)
        assert set(entries) == {"chat.asked", "chat.answered"}
        question, answer = entries["chat.asked"]["facts"], entries["chat.answered"]["facts"]
        known = ("model", "weights", "rule", "choices", "tools", "images", "deterministic")
        ended = {fact: value for fact, value in answer.items() if fact not in TIMES}
        raw = name.split()[0] in RAW
        assert (question["operation"], question["messages"]) == (("completion", 0) if raw else ("chat", 1))
        kinds.append(({fact: question[fact] for fact in known}, ended, entries["chat.answered"]["outcome"]))
        assert question["sampling"]["max_tokens"] == TOKENS and question["sampling"]["temperature"] == 0
    assert all(kind == kinds[0] for kind in kinds), kinds


def test_the_same_receipts(service: Service, key: str, asked: dict[str, tuple[str, str, Any]]) -> None:
    prompt = rendered(service, key)
    for name, (said, _, receipt) in asked.items():
        texts, salts = receipt["statement"]["texts"], {n: bytes.fromhex(s) for n, s in receipt["salts"].items()}
        assert texts["prompt"]["commitment"] == commitment(
            salts["prompt"], prompt if name.split()[0] in RAW else f"user: {SAY}"
        )
        assert texts["answer"]["commitment"] == commitment(salts["answer"], said)
        assert receipt["statement"]["outcome"] == "finished"
        assert receipt["statement"]["tokens"]["completion"] == TOKENS
