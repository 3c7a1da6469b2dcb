"""Batches with the official OpenAI client: real answers, crashes, and owners who are shut out."""

import json
import signal
import time
from collections.abc import Callable, Iterable
from typing import Any

import openai
import pytest
import requests
from openai import OpenAI
from openai.types import Batch
from tests import databases
from tests.service import MODEL, Service

CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"


def chat(custom_id: str, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Say hello."}]
    body = {"model": MODEL, "messages": messages, "max_tokens": 6, **fields}
    return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body}


def upload(client: OpenAI, lines: Iterable[Any]) -> str:
    data = "".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in lines)
    return client.files.create(file=("in.jsonl", data.encode()), purpose="batch").id


def begin(client: OpenAI, lines: Iterable[Any], endpoint: Any = CHAT, **more: Any) -> Batch:
    return client.batches.create(
        input_file_id=upload(client, lines), endpoint=endpoint, completion_window="24h", **more
    )


def until(client: OpenAI, batch_id: str, holds: Callable[[Batch], bool]) -> Batch:
    end = time.monotonic() + 100
    while time.monotonic() < end:
        batch = client.batches.retrieve(batch_id)
        if holds(batch):
            return batch
        time.sleep(0.05)
    raise AssertionError(batch)


def is_over(batch: Batch) -> bool:
    return batch.status in ("completed", "failed", "expired", "cancelled")


def read(client: OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    return [json.loads(line) for line in client.files.content(file_id).text.splitlines()] if file_id else []


def test_lines_are_answered_as_requests_are(service: Service, client: OpenAI) -> None:
    lines = [
        chat("good"),
        "",  # a blank line is none
        chat("unknown model", model="nobody"),
        chat("out of range", temperature=9),
        chat("streams", stream=True),
        chat("good too", seed=1, temperature=0),
    ]
    batch = begin(client, lines, metadata={"term": "autumn"})
    assert (batch.status, batch.endpoint, batch.metadata) == ("validating", CHAT, {"term": "autumn"})
    assert batch.expires_at == batch.created_at + 86_400
    batch = until(client, batch.id, is_over)
    assert batch.status == "completed" and batch.completed_at and batch.in_progress_at and batch.finalizing_at
    counts = batch.request_counts
    assert counts and (counts.total, counts.completed, counts.failed) == (5, 2, 3)
    good, bad = read(client, batch.output_file_id), read(client, batch.error_file_id)
    assert [each["custom_id"] for each in good] == ["good", "good too"]
    for each in good:
        assert each["error"] is None and each["response"]["status_code"] == 200
        answer = openai.types.chat.ChatCompletion.model_validate(each["response"]["body"])
        assert answer.choices[0].message.content is not None
        assert answer.id.endswith(each["response"]["request_id"])
    direct = client.chat.completions.create(**lines[5]["body"])  # type: ignore[index]
    assert good[1]["response"]["body"]["choices"][0]["message"]["content"] == direct.choices[0].message.content
    assert [(each["custom_id"], each["response"]["status_code"]) for each in bad] == [
        ("unknown model", 404),
        ("out of range", 400),
        ("streams", 400),
    ]
    assert bad[1]["response"]["body"]["error"]["param"] == "temperature"
    used = [each["response"]["body"]["usage"] for each in good]
    assert batch.usage and batch.usage.input_tokens == sum(each["prompt_tokens"] for each in used)
    assert batch.usage.output_tokens == sum(each["completion_tokens"] for each in used)
    assert batch in list(client.batches.list(limit=1))
    asked = {each["response"]["request_id"] for each in good}
    logged = {e["request_id"] for e in service.events(event="chat.answered")}
    assert asked <= logged
    ended = next(e for e in service.events() if e["event"] == "batch.ended" and e["target"] == f"batch:{batch.id}")
    assert ended["facts"]["completed"] == 2
    assert not (service.data_dir / "batches" / batch.id).exists()


@pytest.mark.parametrize(
    ("endpoint", "body", "kind"),
    [
        (COMPLETIONS, {"prompt": "Once", "max_tokens": 4}, "text_completion"),
        (EMBEDDINGS, {"input": ["a", "b"]}, "list"),
        ("/v1/responses", {"input": "Say hello.", "max_output_tokens": 16, "store": False}, "response"),
    ],
)
def test_other_endpoints(client: OpenAI, endpoint: str, body: dict[str, Any], kind: str) -> None:
    line = {"custom_id": "a", "method": "POST", "url": endpoint, "body": {"model": MODEL, **body}}
    batch = until(client, begin(client, [line], endpoint).id, is_over)
    assert not read(client, batch.error_file_id)
    (answered,) = read(client, batch.output_file_id)
    assert answered["response"]["body"]["object"] == kind
    assert batch.usage and batch.usage.input_tokens > 0


def test_what_is_wrong_with_the_input_is_told_by_line(client: OpenAI) -> None:
    lines = [
        chat("a"),
        "{nonsense",
        chat("a"),
        {**chat("b"), "method": "GET"},
        {**chat("c"), "url": COMPLETIONS},
        {**chat("d"), "colour": "red"},
        {**chat("e"), "body": 7},
        chat(""),
    ]
    batch = until(client, begin(client, lines).id, is_over)
    assert batch.status == "failed" and batch.failed_at and batch.output_file_id is None
    assert batch.errors and batch.errors.data
    assert [(each.line, each.code) for each in batch.errors.data] == [
        (2, "bad_json"),
        (3, "duplicate_custom_id"),
        (4, "bad_parameter"),
        (5, "mismatched_url"),
        (6, "unknown_parameter"),
        (7, "bad_parameter"),
        (8, "bad_custom_id"),
    ]
    empty = until(client, begin(client, ["", " "]).id, is_over)
    assert empty.errors and empty.errors.data and empty.errors.data[0].code == "empty_file"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"input_file_id": "file_nobodys"}, "file_not_found"),
        ({"endpoint": "/v1/images/generations"}, "unsupported_parameter"),
        ({"completion_window": "48h"}, "bad_parameter"),
        ({"metadata": {"a": "x" * 600}}, "bad_parameter"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 5}}, "bad_expiry"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 2_592_001}}, "bad_expiry"),
        ({"colour": "red"}, "unknown_parameter"),
    ],
)
def test_what_is_wrong_is_named(service: Service, client: OpenAI, change: dict[str, Any], code: str) -> None:
    body = {"input_file_id": upload(client, [chat("a")]), "endpoint": CHAT, "completion_window": "24h", **change}
    headers = {"Authorization": f"Bearer {client.api_key}"}
    answer = requests.post(f"{service.address}/v1/batches", json=body, headers=headers, timeout=20)
    assert answer.status_code in (400, 404) and answer.json()["error"]["code"] == code, answer.text
    assert next(iter(change)) in answer.json()["error"]["param"]


def test_a_file_for_something_else_is_no_input(client: OpenAI) -> None:
    other = client.files.create(file=("a", b"{}"), purpose="user_data").id
    with pytest.raises(openai.BadRequestError) as refused:
        client.batches.create(input_file_id=other, endpoint=CHAT, completion_window="24h")
    assert refused.value.code == "bad_purpose"


def test_cancelling_keeps_what_was_answered(client: OpenAI) -> None:
    batch = begin(client, [chat(f"n{n}", max_tokens=60) for n in range(200)])
    until(client, batch.id, lambda b: bool(b.request_counts and b.request_counts.completed))
    assert client.batches.cancel(batch.id).status == "cancelling"
    over = until(client, batch.id, is_over)
    assert over.status == "cancelled" and over.cancelled_at and over.cancelling_at and over.request_counts
    found = read(client, over.output_file_id)
    assert 0 < len(found) == over.request_counts.completed < 200
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(batch.id)


def test_deleting_the_input_changes_nothing(client: OpenAI) -> None:
    file_id = upload(client, [chat("a"), chat("b")])
    batch = client.batches.create(
        input_file_id=file_id,
        endpoint=CHAT,
        completion_window="24h",
        extra_body={"output_expires_after": {"anchor": "created_at", "seconds": 3600}},
    )
    client.files.delete(file_id)
    over = until(client, batch.id, is_over)
    assert over.status == "completed" and over.output_file_id
    output = client.files.retrieve(over.output_file_id)
    assert (output.purpose, output.expires_at) == ("batch_output", output.created_at + 3600)


def test_nobody_reaches_somebody_elses_and_a_disabled_owner_is_served_no_more(service: Service, client: OpenAI) -> None:
    person = {"username": "eve", "password": "a long enough one", "role": "member"}
    made = service.page("POST", "/people", json=person).json()
    eve = requests.Session()
    login = {"username": "eve", "password": "a long enough one"}
    answer = eve.post(f"{service.address}/intramural/v1/login", json=login, timeout=20)
    eve.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
    key = eve.post(f"{service.address}/intramural/v1/keys", json={"name": "k", "scopes": ["inference"]}, timeout=20)
    hers = service.client(key.json()["secret"])
    mine = begin(client, [chat("a")])
    for reach in (hers.batches.retrieve, hers.batches.cancel):
        with pytest.raises(openai.NotFoundError):
            reach(mine.id)
    batch = begin(hers, [chat(f"n{n}", max_tokens=40) for n in range(200)])
    until(hers, batch.id, lambda b: bool(b.request_counts and b.request_counts.completed))
    assert service.page("PATCH", f"/people/{made['id']}", json={"disabled": True}).status_code == 200

    def ended() -> list[dict[str, Any]]:
        return [e for e in service.events() if e["event"] == "batch.ended" and e["target"] == f"batch:{batch.id}"]

    end = time.monotonic() + 60
    while not ended() and time.monotonic() < end:
        time.sleep(0.1)
    (told,) = ended()
    assert told["facts"]["state"] == "cancelled" and told["facts"]["completed"] < 200
    assert service.page("PATCH", f"/people/{made['id']}", json={"disabled": False}).status_code == 200
    over = hers.batches.retrieve(batch.id)
    assert over.status == "cancelled" and over.errors and over.errors.data
    assert over.errors.data[0].code == "disabled_person"
    assert service.page("DELETE", f"/people/{made['id']}").status_code == 200
    until(client, mine.id, is_over)


@pytest.mark.timeout(300)
def test_kill_9_loses_no_finished_line_and_repeats_none(fresh: Service) -> None:
    fresh.start().set_up()
    fresh.wait_ready()
    client = fresh.client()
    batch = begin(client, [chat(f"n{n}", seed=n, temperature=1) for n in range(30)])
    recorded: list[tuple[int, str, bytes]] = []
    for wanted in (5, 12):
        until(client, batch.id, lambda b, least=wanted: bool(b.request_counts and b.request_counts.completed >= least))
        fresh.stop(signal.SIGKILL)
        found = databases.query(fresh.database, "SELECT position, request_id, body FROM batch_lines ORDER BY position")
        assert found[: len(recorded)] == recorded, "a recorded line was changed"
        recorded = found
        fresh.start()
        client = OpenAI(base_url=f"{fresh.address}/v1", api_key=client.api_key, max_retries=0, timeout=110)
    over = until(client, batch.id, is_over)
    assert over.request_counts and (over.request_counts.completed, over.request_counts.failed) == (30, 0)
    output = read(client, over.output_file_id)
    assert [each["custom_id"] for each in output] == [f"n{n}" for n in range(30)]
    for position, request_id, _ in recorded:  # the body is sealed, and was the same bytes after every start
        assert output[position]["response"]["request_id"] == request_id
    # each answer was metered once; those that a crash cut off were answered anew under names of their own
    finished = "SELECT request_id FROM usage WHERE outcome = 'finished'"
    metered = [row[0] for row in databases.query(fresh.database, finished)]
    asked = [each["response"]["request_id"] for each in output]
    assert len(set(asked)) == 30 and set(asked) <= set(metered) and len(metered) <= 32
