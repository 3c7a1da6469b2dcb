"""The official OpenAI client against the real service: real answers from real weights."""

import json
import math
from typing import Any

import jsonschema
import openai
import pytest
import requests
from openai import OpenAI
from tests.service import MODEL, Service

ASK = [{"role": "user", "content": "Say hello."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}
CLOCK = {
    "type": "function",
    "function": {
        "name": "get_time",
        "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]},
    },
}


def _valid_calls(calls: Any) -> None:
    """At least one call, each of a known tool, with arguments that its schema accepts."""
    assert calls
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in (WEATHER, CLOCK)}
    for call in calls:
        jsonschema.validate(json.loads(call.function.arguments), schemas[call.function.name])


def test_models(client: OpenAI) -> None:
    assert [m.id for m in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).owned_by == "intramural"


def test_plain_answer(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=12)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage and answer.usage.prompt_tokens > 5
    assert 1 <= answer.usage.completion_tokens <= 12


def test_streamed_answer_with_usage(client: OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=ASK, max_tokens=12, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert chunks[-1].usage and chunks[-1].usage.completion_tokens <= 12
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] in ("stop", "length")


def test_no_usage_unless_asked(client: OpenAI) -> None:
    chunks = list(client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=3, stream=True))
    assert all(chunk.usage is None for chunk in chunks)


def test_seed_makes_answers_repeat(client: OpenAI) -> None:
    def once(seed: int) -> str | None:
        answer = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=16, seed=seed, temperature=1)
        return answer.choices[0].message.content

    assert once(7) == once(7)
    assert len({once(seed) for seed in range(5)}) > 1


def test_stop(client: OpenAI) -> None:
    count = [{"role": "user", "content": "Count: 1, 2, 3, 4, 5, 6, 7, 8"}]
    whole = client.chat.completions.create(model=MODEL, messages=count, max_tokens=40, seed=1, temperature=0)
    text = whole.choices[0].message.content or ""
    word = text.split()[3]
    cut = client.chat.completions.create(model=MODEL, messages=count, max_tokens=40, seed=1, temperature=0, stop=[word])
    assert word not in (cut.choices[0].message.content or "")
    assert text.startswith(cut.choices[0].message.content or "")
    assert cut.choices[0].finish_reason == "stop"


def test_several_choices(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=8, n=3, seed=3, temperature=1)
    assert [c.index for c in answer.choices] == [0, 1, 2]
    assert len({c.message.content for c in answer.choices}) > 1
    assert answer.usage and answer.usage.completion_tokens <= 24
    again = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=8)
    assert again.usage and again.usage.prompt_tokens == answer.usage.prompt_tokens


def test_logprobs(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=ASK, max_tokens=4, logprobs=True, top_logprobs=3, temperature=0
    )
    entries = answer.choices[0].logprobs.content  # type: ignore[union-attr]
    assert entries
    for entry in entries:
        assert entry.logprob <= 0
        assert bytes(entry.bytes or []).decode() == entry.token
        assert len(entry.top_logprobs) == 3
        assert math.isclose(max(t.logprob for t in entry.top_logprobs), entry.logprob, abs_tol=1e-3)


def test_json_schema(client: OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Invent a person."}],
        response_format={"type": "json_schema", "json_schema": {"name": "person", "schema": schema, "strict": True}},
        max_tokens=120,
    )
    jsonschema.validate(json.loads(answer.choices[0].message.content or ""), schema)


def test_tool_choice_required(client: OpenAI) -> None:
    for city in ("Paris", "Oslo", "Nairobi"):
        answer = client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": f"What is the weather in {city}?"}],
            tools=[WEATHER, CLOCK],
            tool_choice="required",
            max_tokens=300,
        )
        assert answer.choices[0].finish_reason == "tool_calls"
        _valid_calls(answer.choices[0].message.tool_calls)


def test_tool_choice_named(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL,
        messages=ASK,
        tools=[WEATHER, CLOCK],
        tool_choice={"type": "function", "function": {"name": "get_time"}},
        max_tokens=300,
    )
    calls = answer.choices[0].message.tool_calls
    _valid_calls(calls)
    assert {call.function.name for call in calls or []} == {"get_time"}


def test_tool_choice_none(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=ASK, tools=[WEATHER], tool_choice="none", max_tokens=20
    )
    assert not answer.choices[0].message.tool_calls
    assert answer.choices[0].message.content


def test_tool_choice_auto_gives_a_call_or_an_answer(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=ASK, tools=[WEATHER], max_tokens=300)
    message = answer.choices[0].message
    if message.tool_calls:
        _valid_calls(message.tool_calls)
    else:
        assert message.content


def test_streamed_tool_call(client: OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Weather in Rome?"}],
            tools=[WEATHER],
            tool_choice="required",
            parallel_tool_calls=False,
            max_tokens=300,
            stream=True,
        )
    )
    parts = [call for c in chunks if c.choices for call in c.choices[0].delta.tool_calls or []]
    assert parts[0].id and parts[0].function and parts[0].function.name == "get_weather"
    arguments = "".join((p.function and p.function.arguments) or "" for p in parts)
    jsonschema.validate(json.loads(arguments), WEATHER["function"]["parameters"])
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "tool_calls"


def test_a_tool_conversation_goes_on(client: OpenAI) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Rome"}'}}
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "user", "content": "Weather in Rome?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "21 degrees, sunny"},
        ],
        max_tokens=30,
    )
    assert answer.choices[0].message.content


def test_completions(client: OpenAI) -> None:
    answer = client.completions.create(
        model=MODEL, prompt="The capital of France is", max_tokens=4, temperature=0, echo=True
    )
    assert answer.choices[0].text.startswith("The capital of France is")
    assert "Paris" in answer.choices[0].text
    streamed = client.completions.create(
        model=MODEL, prompt="The capital of France is", max_tokens=4, temperature=0, stream=True
    )
    assert "Paris" in "".join(chunk.choices[0].text for chunk in streamed)
    two = client.completions.create(model=MODEL, prompt=["One, two,", "A, B,"], max_tokens=3, logprobs=2)
    assert [c.index for c in two.choices] == [0, 1]
    assert two.choices[0].logprobs and len(two.choices[0].logprobs.tokens or []) == 3


def test_embeddings(client: OpenAI) -> None:
    cat, kitten, tax = client.embeddings.create(
        model=MODEL, input=["A cat sleeps.", "A kitten is asleep.", "Pay the tax by April."]
    ).model_dump()["data"]

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))

    assert cosine(cat["embedding"], kitten["embedding"]) > cosine(cat["embedding"], tax["embedding"])
    floats = client.embeddings.create(model=MODEL, input="A cat sleeps.", encoding_format="float").data[0].embedding
    assert math.isclose(floats[0], cat["embedding"][0], abs_tol=1e-3)


def test_context_too_long_is_refused_never_cut(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "word " * 12_000}], max_tokens=4
        )
    assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"temperature": 9}, "bad_parameter", "temperature"),
        ({"n": -1}, "bad_parameter", "n"),
        ({"max_tokens": -5}, "bad_parameter", "max_tokens"),
        ({"top_logprobs": 3}, "bad_parameter", "top_logprobs"),
        ({"messages": []}, "bad_parameter", "messages"),
        ({"tool_choice": "required"}, "bad_parameter", "tool_choice"),
        ({"extra_body": {"reasoning_effort": "high"}}, "model_does_not_think", "reasoning_effort"),
        ({"extra_body": {"verbosity": "high"}}, "unsupported_parameter", "verbosity"),
        ({"extra_body": {"tempreature": 1}}, "unknown_parameter", "tempreature"),
        ({"extra_body": {"response_format": {"type": "json_schema"}}}, "bad_parameter", "response_format.json_schema"),
    ],
)
def test_what_is_wrong_is_named(client: OpenAI, change: dict, code: str, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{"model": MODEL, "messages": ASK, "max_tokens": 4, **change})
    assert (caught.value.code, caught.value.param) == (code, param)
    assert caught.value.body["hint"]  # type: ignore[index]


def test_unknown_model_names_what_there_is(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-4o", messages=ASK)
    assert caught.value.code == "model_not_found"
    assert MODEL in str(caught.value)


@pytest.mark.parametrize(
    ("base", "path", "meant"),
    [
        ("", "/chat/completions", "/v1/chat/completions"),
        ("/v1", "/v1/messages", "/v1/messages"),
        ("/v1", "/api/chat", "/api/chat"),
    ],
)
def test_a_wrong_base_url_is_told_what_was_meant(service: Service, base: str, path: str, meant: str) -> None:
    answer = requests.post(f"{service.address}{base}{path}", json={}, timeout=20)
    assert answer.status_code == 404
    assert f"Is {meant} meant?" in answer.text


def test_nobody_takes_the_page_for_a_wrong_base_url(service: Service) -> None:
    browser = {"Accept": "text/html,*/*"}
    assert requests.get(f"{service.address}/models", headers=browser, timeout=20).text == "There is no such file.\n"
    program = requests.get(f"{service.address}/models", timeout=20)
    assert (program.status_code, program.json()["error"]["code"]) == (404, "no_such_route")
    assert requests.post(f"{service.address}/nothing", timeout=20).status_code == 405


def test_keys_are_needed_and_bounded(service: Service) -> None:
    with pytest.raises(openai.AuthenticationError):
        service.client("im-nonsense").models.list()
    elsewhere = service.client(service.new_key(models=["another:model"]))
    assert list(elsewhere.models.list()) == []
    with pytest.raises(openai.PermissionDeniedError) as caught:
        elsewhere.chat.completions.create(model=MODEL, messages=ASK)
    assert caught.value.code == "model_not_allowed"
