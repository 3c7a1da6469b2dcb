"""The official Anthropic client against the real service: real answers from real weights."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from anthropic import Anthropic
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter
from tests.service import MODEL, Service

ASK: Any = [{"role": "user", "content": "Say hello."}]
WEATHER: Any = {
    "name": "get_weather",
    "description": "Weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
        "required": ["city", "unit"],
        "additionalProperties": False,
    },
}
CLOCK: Any = {
    "name": "get_time",
    "input_schema": {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]},
}
_EVENTS: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


@pytest.fixture(scope="session")
def key(service: Service) -> str:
    return service.new_key()


@pytest.fixture(scope="session")
def claude(service: Service, key: str) -> Iterator[Anthropic]:
    with Anthropic(base_url=service.address, api_key=key, max_retries=0, timeout=110) as client:
        yield client


def _strict(message: Message) -> Message:
    """The same message, read as the published types say and not as leniently as the client does."""
    return Message.model_validate_json(json.dumps(message.to_dict(mode="json")), strict=True)


def _valid(calls: list[Any]) -> None:
    assert calls
    schemas = {tool["name"]: tool["input_schema"] for tool in (WEATHER, CLOCK)}
    for call in calls:
        jsonschema.validate(call.input, schemas[call.name])


def test_plain_answer(claude: Anthropic) -> None:
    answer = claude.messages.with_raw_response.create(model=MODEL, max_tokens=12, messages=ASK)
    message = _strict(answer.parse())
    assert message.id.startswith("msg_")
    assert message.stop_reason in ("end_turn", "max_tokens")
    assert [block.type for block in message.content] == ["text"]
    assert message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0) > 5
    assert 1 <= message.usage.output_tokens <= 12
    assert answer.headers["request-id"].startswith("req_")


def test_stream(claude: Anthropic) -> None:
    events = list(claude.messages.create(model=MODEL, max_tokens=8, messages=ASK, stream=True))
    for event in events:
        _EVENTS.validate_json(json.dumps(event.to_dict(mode="json")), strict=True)
    kinds = [event.type for event in events]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}


def test_stream_helper(claude: Anthropic) -> None:
    with claude.messages.stream(model=MODEL, max_tokens=8, messages=ASK) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert text and text == message.content[0].text  # type: ignore[union-attr]
    assert 1 <= message.usage.output_tokens <= 8
    assert message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0) > 5


def test_any_tool_gives_a_valid_call(claude: Anthropic) -> None:
    message = claude.messages.create(
        model=MODEL,
        max_tokens=300,
        messages=[{"role": "user", "content": "What is the weather in Oslo?"}],
        tools=[WEATHER, CLOCK],
        tool_choice={"type": "any"},
    )
    assert message.stop_reason == "tool_use"
    _valid([block for block in _strict(message).content if block.type == "tool_use"])
