"""What the OpenAI dialect does beyond the plain answer: by the real service."""

import json
from typing import Any

import pytest
import requests
from openai import BadRequestError, NotFoundError, OpenAI
from tests.service import MODEL, Service

ASK = [{"role": "user", "content": "Say hello."}]
GET_TIME = {"name": "get_time", "parameters": {"type": "object", "properties": {"zone": {"enum": ["UTC", "CET"]}},
                                               "required": ["zone"], "additionalProperties": False}}  # fmt: skip


def test_who_computed_it_is_named_and_stays(client: OpenAI) -> None:
    whole = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=2)
    chunks = list(client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=2, stream=True))
    text = client.completions.create(model=MODEL, prompt="One, two", max_tokens=2)
    names = {whole.system_fingerprint, text.system_fingerprint, *(c.system_fingerprint for c in chunks)}
    assert len(names) == 1 and str(names.pop()).startswith("fp_")
    assert whole.service_tier == "default"
    assert whole.usage and whole.usage.completion_tokens_details
    assert whole.usage.completion_tokens_details.reasoning_tokens == 0


def test_usage_is_null_until_the_last_chunk(service: Service, client: OpenAI) -> None:
    body = {"model": MODEL, "messages": ASK, "max_tokens": 3, "stream": True, "stream_options": {"include_usage": True}}
    answer = requests.post(
        f"{service.address}/v1/chat/completions",
        json=body,
        headers={"Authorization": f"Bearer {client.api_key}"},
        timeout=110,
    )
    chunks = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert chunks[-1]["usage"]["completion_tokens"] >= 1 and chunks[-1]["choices"] == []


def test_functions_are_called_in_the_old_form(client: OpenAI) -> None:
    fields: Any = {"functions": [GET_TIME], "function_call": {"name": "get_time"}, "max_tokens": 100}
    whole = client.chat.completions.create(model=MODEL, messages=ASK, **fields)
    call = whole.choices[0].message.function_call
    assert whole.choices[0].finish_reason == "function_call" and call is not None
    assert call.name == "get_time" and json.loads(call.arguments)["zone"] in ("UTC", "CET")
    assert whole.choices[0].message.tool_calls is None
    chunks = list(client.chat.completions.create(model=MODEL, messages=ASK, stream=True, **fields))
    deltas = [c.choices[0].delta.function_call for c in chunks if c.choices and c.choices[0].delta.function_call]
    assert deltas[0].name == "get_time"
    assert json.loads("".join(d.arguments or "" for d in deltas))["zone"] in ("UTC", "CET")
    assert chunks[-1].choices[0].finish_reason == "function_call"


@pytest.mark.parametrize("stream", [False, True])
def test_a_deterministic_answer_replays_to_the_last_byte(service: Service, client: OpenAI, stream: bool) -> None:
    body = {"model": MODEL, "messages": ASK, "max_tokens": 24, "temperature": 1.3, "deterministic": True}
    if stream:
        body["stream"] = True
    bearer = {"Authorization": f"Bearer {client.api_key}"}

    def once(**more: Any) -> tuple[bytes, dict[str, Any]]:
        url = f"{service.address}/v1/chat/completions"
        answer = requests.post(url, json={**body, **more}, headers=bearer, timeout=110)
        assert answer.status_code == 200, answer.text
        receipt = requests.get(service.address + answer.headers["X-Intramural-Receipt"], headers=bearer, timeout=60)
        name = answer.headers["X-Request-Id"].encode()
        lines = [line for line in answer.content.split(b"\n") if not line.startswith(b":")]
        created = json.loads(next(line for line in lines if b"created" in line).removeprefix(b"data: "))["created"]
        text = b"\n".join(lines).replace(name, b"-").replace(b'"created":%d' % created, b"-")
        return text, receipt.json()["statement"]

    first, said = once()
    assert said["deterministic"] is True and said["seed_from"] == "service"
    client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=5)  # something else in the cache
    second, again = once(seed=said["seed"])
    assert second == first and again["seed_from"] == "client"
    assert again["tokens"]["cached"] == 0


def test_several_prompts_in_a_stream(client: OpenAI) -> None:
    prompts, fields = ["One, two,", "Red, green,"], {"max_tokens": 4, "temperature": 0, "seed": 1}
    whole = client.completions.create(model=MODEL, prompt=prompts, echo=True, **fields)  # type: ignore[call-overload]
    assert [c.index for c in whole.choices] == [0, 1]
    receipts = whole.model_extra["receipts"]
    assert len(receipts) == 2 and all(each.startswith("/v1/receipts/req_") for each in receipts)
    chunks = client.completions.create(  # type: ignore[call-overload]
        model=MODEL, prompt=prompts, echo=True, stream=True, stream_options={"include_usage": True}, **fields
    )
    texts, usage = {0: "", 1: ""}, None
    for chunk in chunks:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert [texts[0], texts[1]] == [c.text for c in whole.choices]
    assert usage.total_tokens == whole.usage.total_tokens


def test_nothing_is_stored(client: OpenAI) -> None:
    assert list(client.chat.completions.list()) == []
    for act in (client.chat.completions.retrieve, client.chat.completions.delete):
        with pytest.raises(NotFoundError) as error:
            act("chatcmpl-1")
        assert error.value.code == "completion_not_stored"
    with pytest.raises(BadRequestError) as bad:
        client.chat.completions.create(model=MODEL, messages=ASK, store=True)
    assert bad.value.param == "store"


def test_a_model_that_does_not_think_says_so_in_this_dialect_s_words(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as error:
        client.chat.completions.create(model=MODEL, messages=ASK, reasoning_effort="high")
    assert (error.value.code, error.value.param) == ("model_does_not_think", "reasoning_effort")
    client.chat.completions.create(model=MODEL, messages=ASK, reasoning_effort="none", max_tokens=2)
