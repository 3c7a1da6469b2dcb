"""The Responses API with the official client against the real service: real answers from real weights."""

import json
from typing import Any

import jsonschema
import openai
import pytest
import requests
from openai import OpenAI
from openai.types.responses import Response
from pydantic import BaseModel
from tests.journeys.responses import frames, types
from tests.service import MODEL, Service


@pytest.fixture(scope="module")
def key(service: Service) -> str:
    return service.new_key()


def test_plain_answer(client: OpenAI) -> None:
    response = client.responses.create(model=MODEL, input="Say hello.", max_output_tokens=12)
    Response.model_validate(response.to_dict(), strict=True)
    assert response.id.startswith("resp_")
    assert response.output_text
    assert response.status in ("completed", "incomplete")
    assert response.usage and response.usage.input_tokens > 5
    assert 1 <= response.usage.output_tokens <= 12
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_a_cut_answer_is_incomplete_and_a_whole_one_complete(client: OpenAI) -> None:
    cut = client.responses.create(model=MODEL, input="Count to fifty.", max_output_tokens=3, temperature=0)
    assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")  # type: ignore[union-attr]
    assert cut.output[0].status == "incomplete" and cut.completed_at is None  # type: ignore[union-attr]
    whole = client.responses.create(model=MODEL, input="Say only: yes.", temperature=0, max_output_tokens=400)
    assert (whole.status, whole.incomplete_details, whole.output[0].status) == ("completed", None, "completed")  # type: ignore[union-attr]
    assert whole.completed_at and whole.completed_at >= whole.created_at


def test_stream_in_the_order_of_the_specification(service: Service, key: str) -> None:
    events = frames(service, key, input="Say hello.", max_output_tokens=12)
    kinds = types(events)
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-4:-1] == ["response.output_text.done", "response.content_part.done", "response.output_item.done"]
    assert kinds[-1] in ("response.completed", "response.incomplete")
    assert set(kinds[4:-4]) == {"response.output_text.delta"}
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    last = events[-1]["response"]
    text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert last["output"][0]["content"][0]["text"] == text == events[-4]["text"]
    assert {event["item_id"] for event in events if "item_id" in event} == {last["output"][0]["id"]}
    assert last["usage"]["output_tokens"] <= 12
    assert events[0]["response"]["output"] == [] and events[0]["response"]["status"] == "in_progress"


def test_the_clients_stream_helper(client: OpenAI) -> None:
    with client.responses.stream(model=MODEL, input="Say only: yes.", temperature=0, max_output_tokens=400) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert stream.get_final_response().output_text == text


class Person(BaseModel):
    name: str
    age: int


def test_parse(client: OpenAI) -> None:
    response = client.responses.parse(
        model=MODEL, input="Invent a person.", text_format=Person, max_output_tokens=300, temperature=0
    )
    assert isinstance(response.output_parsed, Person)


WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "Weather of a city.",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 30}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
CLOCK: Any = {**WEATHER, "name": "get_time", "description": "Time of a city."}


def test_tool_call_and_its_output(service: Service, key: str, client: OpenAI) -> None:
    question = {"role": "user", "content": "Weather in Rome?"}
    events = frames(
        service, key, input=[question], tools=[WEATHER], tool_choice="required", parallel_tool_calls=False,
        max_output_tokens=300,
    )  # fmt: skip
    kinds = types(events)
    for kind in ("output_item.added", "function_call_arguments.delta", "function_call_arguments.done"):
        assert f"response.{kind}" in kinds
    call = events[-1]["response"]["output"][0]
    jsonschema.validate(json.loads(call["arguments"]), WEATHER["parameters"])
    assert (call["type"], call["status"], call["name"]) == ("function_call", "completed", "get_weather")
    given = {"type": "function_call_output", "call_id": call["call_id"], "output": "21 degrees, sunny"}
    answer = client.responses.create(model=MODEL, input=[question, call, given], max_output_tokens=30)  # type: ignore[list-item]
    assert answer.output_text


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "function", "name": "get_time"},
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "get_time"}]},
    ],
)
def test_tool_choice_that_names(client: OpenAI, choice: Any) -> None:
    response = client.responses.create(
        model=MODEL, input="Hello.", tools=[WEATHER, CLOCK], tool_choice=choice, max_output_tokens=300
    )
    calls = [item for item in response.output if item.type == "function_call"]
    assert calls and {call.name for call in calls} == {"get_time"}
    assert response.tool_choice.to_dict() == choice  # type: ignore[union-attr]


def test_logprobs(client: OpenAI) -> None:
    response = client.responses.create(
        model=MODEL, input="Hi.", max_output_tokens=4, top_logprobs=2, include=["message.output_text.logprobs"]
    )
    entries = response.output[0].content[0].logprobs  # type: ignore[union-attr]
    assert entries and all(len(entry.top_logprobs) == 2 for entry in entries)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"temperature": 3}, "bad_parameter", "temperature"),
        ({"max_output_tokens": 0}, "bad_parameter", "max_output_tokens"),
        ({"input": None}, "bad_parameter", "input"),
        ({"moderation": {"model": "x"}}, "unsupported_parameter", "moderation"),
        ({"prompt": {"id": "pmpt_1"}}, "unsupported_parameter", "prompt"),
        ({"context_management": [{"type": "compaction"}]}, "unsupported_parameter", "context_management"),
        ({"prompt_cache_retention": "24h"}, "unsupported_parameter", "prompt_cache_retention"),
        ({"reasoning": {"summary": "concise"}}, "unsupported_parameter", "reasoning.summary"),
        ({"text": {"verbosity": "low"}}, "unsupported_parameter", "text.verbosity"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "bad_parameter", "text.format.schema"),
        ({"tools": [{"type": "web_search"}]}, "unsupported_tool", "tools[0].type"),
        ({"tools": [{"type": "function", "name": "a b"}]}, "bad_parameter", "tools[0].name"),
        ({"tool_choice": "required"}, "bad_parameter", "tool_choice"),
        ({"tool_choice": {"type": "mcp"}}, "unsupported_parameter", "tool_choice.type"),
        ({"input": [{"type": "computer_call"}]}, "unsupported_item", "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "bad_parameter", "input[0].content[0]"),
        ({"input": [{"role": "user", "content": "x", "colour": 1}]}, "unknown_parameter", "input[0].colour"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "call_not_found", "input"),
        ({"tempreature": 1}, "unknown_parameter", "tempreature"),
    ],
)
def test_what_is_wrong_is_named(service: Service, key: str, change: dict[str, Any], code: str, param: str) -> None:
    answer = requests.post(
        f"{service.address}/v1/responses",
        json={"model": MODEL, "input": "Hi.", "max_output_tokens": 4, **change},
        headers={"Authorization": f"Bearer {key}"},
        timeout=60,
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, code, param), error
    assert error["hint"]


def test_an_unknown_model_is_a_404_also_in_a_stream(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="gpt-4o", input="Hi.")
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="gpt-4o", input="Hi.", stream=True)
