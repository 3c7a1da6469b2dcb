"""Message batches with the official Anthropic client."""

import time
from typing import Any

import anthropic
import pytest
import requests
from anthropic import Anthropic
from anthropic.types.messages import MessageBatch
from tests.service import MODEL, Service


@pytest.fixture(scope="module")
def claude(service: Service) -> Anthropic:
    return Anthropic(base_url=service.address, api_key=service.new_key(), max_retries=0, timeout=110)


def message(custom_id: str, **fields: Any) -> Any:
    params = {"model": MODEL, "max_tokens": 6, "messages": [{"role": "user", "content": "Say hello."}], **fields}
    return {"custom_id": custom_id, "params": params}


def over(claude: Anthropic, batch_id: str) -> MessageBatch:
    end = time.monotonic() + 100
    while time.monotonic() < end:
        batch = claude.messages.batches.retrieve(batch_id)
        if batch.processing_status == "ended":
            return batch
        time.sleep(0.05)
    raise AssertionError(batch)


def test_every_request_has_its_result(claude: Anthropic) -> None:
    asked = [
        message("good"),
        message("nobody", model="nobody"),
        message("bad", temperature=9),
        message("s", stream=True),
    ]
    batch = claude.messages.batches.create(requests=asked)
    assert batch.processing_status == "in_progress" and batch.results_url is None
    assert batch.request_counts.processing == 4
    batch = over(claude, batch.id)
    counts = batch.request_counts
    assert (counts.processing, counts.succeeded, counts.errored) == (0, 1, 3) and batch.ended_at
    results = list(claude.messages.batches.results(batch.id))
    assert [each.custom_id for each in results] == ["good", "nobody", "bad", "s"]
    first = results[0].result
    assert first.type == "succeeded" and first.message.usage.output_tokens > 0
    assert first.message.content[0].type == "text"
    errors = [each.result.error.error.type for each in results[1:] if each.result.type == "errored"]
    assert errors == ["not_found_error", "invalid_request_error", "invalid_request_error"]
    assert batch in list(claude.messages.batches.list(limit=5))
    assert claude.messages.batches.delete(batch.id).type == "message_batch_deleted"
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.batches.retrieve(batch.id)


def test_cancelling(claude: Anthropic) -> None:
    batch = claude.messages.batches.create(requests=[message(f"n{n}", max_tokens=60) for n in range(100)])
    with pytest.raises(anthropic.AnthropicError):  # the client itself refuses: there is no address yet
        claude.messages.batches.results(batch.id)
    with pytest.raises(anthropic.ConflictError):
        claude.messages.batches.delete(batch.id)
    cancelled = claude.messages.batches.cancel(batch.id)
    assert cancelled.processing_status == "canceling" and cancelled.cancel_initiated_at
    counts = over(claude, batch.id).request_counts
    assert counts.canceled > 0 and counts.succeeded + counts.canceled == 100
    kinds = [each.result.type for each in claude.messages.batches.results(batch.id)]
    assert kinds == ["succeeded"] * counts.succeeded + ["canceled"] * counts.canceled


def test_pages_both_ways(claude: Anthropic) -> None:
    made = [claude.messages.batches.create(requests=[message("a")]).id for _ in range(3)]
    for each in made:
        over(claude, each)
    newest = sorted(made, reverse=True)
    first = claude.messages.batches.list(limit=2)
    assert [each.id for each in first.data] == newest[:2] and first.has_more
    assert newest[2] in [each.id for each in claude.messages.batches.list(limit=2, after_id=newest[1]).data]
    back = claude.messages.batches.list(limit=1, before_id=newest[2])
    assert [each.id for each in back.data] == [newest[1]] and back.has_more


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"requests": []}, "requests"),
        ({"requests": [message("a"), message("a")]}, "requests[1].custom_id"),
        ({"requests": [message("a b")]}, "requests[0].custom_id"),
        ({"requests": [{"custom_id": "a", "params": 7}]}, "requests[0].params"),
        ({"requests": [{**message("a"), "colour": "red"}]}, "requests[0].colour"),
    ],
)
def test_what_is_wrong_is_named_in_the_dialects_own_form(
    service: Service, claude: Anthropic, body: dict[str, Any], param: str
) -> None:
    headers = {"x-api-key": str(claude.api_key), "anthropic-version": "2023-06-01"}
    answer = requests.post(f"{service.address}/v1/messages/batches", json=body, headers=headers, timeout=20)
    assert answer.status_code == 400, answer.text
    told = answer.json()
    assert told["type"] == "error" and told["error"]["type"] == "invalid_request_error"
    assert told["error"]["param"].replace("...", "0") == param


def test_the_dialects_see_their_own_batches_only(service: Service, claude: Anthropic) -> None:
    batch = claude.messages.batches.create(requests=[message("a")])
    headers = {"Authorization": f"Bearer {claude.api_key}"}
    assert requests.get(f"{service.address}/v1/batches/{batch.id}", headers=headers, timeout=20).status_code == 404
    over(claude, batch.id)
