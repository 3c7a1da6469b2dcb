"""The official Anthropic client against the real service: real answers from real weights."""

import json
from collections.abc import Iterator
from typing import Annotated, Any

import anthropic
import jsonschema
import pydantic
import pytest
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import Message, ModelInfo, RawMessageStreamEvent
from anthropic.types.shared import ErrorResponse
from pydantic import TypeAdapter
from tests.service import ENDLESS, MODEL, Service

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
    began, ended = events[0].message.usage, events[-2].usage  # type: ignore[union-attr]
    assert began.input_tokens + (began.cache_read_input_tokens or 0) > 5
    counts = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    assert [getattr(began, each) for each in counts] == [getattr(ended, each) for each in counts]


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


def test_a_prompt_is_counted_as_it_is_answered(claude: Anthropic) -> None:
    asked: Any = {"model": MODEL, "messages": ASK, "system": "Be brief."}
    counted = claude.messages.count_tokens(**asked)
    answer = claude.messages.create(**asked, max_tokens=1)
    assert counted.input_tokens == answer.usage.input_tokens + (answer.usage.cache_read_input_tokens or 0)
    assert claude.beta.messages.count_tokens(**asked).input_tokens == counted.input_tokens


def test_a_second_time_comes_from_the_cache(claude: Anthropic) -> None:
    long: Any = [{"role": "user", "content": "Remember: " + "one two three " * 40}]
    for _ in range(2):
        usage = claude.messages.create(model=MODEL, messages=long, max_tokens=1).usage
    assert (usage.cache_read_input_tokens or 0) > usage.input_tokens


def test_stop_sequence(claude: Anthropic) -> None:
    asked: Any = {"model": MODEL, "max_tokens": 30, "extra_body": {"temperature": 0, "top_k": 1}}
    count: Any = [{"role": "user", "content": "Count: 1, 2, 3, 4, 5, 6, 7, 8"}]
    whole = claude.messages.create(**asked, messages=count)
    word = whole.content[0].text.split()[3]  # type: ignore[union-attr]
    cut = claude.messages.create(**asked, messages=count, stop_sequences=["never", word])
    assert (cut.stop_reason, cut.stop_sequence) == ("stop_sequence", word)
    assert all(word not in block.text for block in cut.content if block.type == "text")


def test_the_last_answer_is_gone_on_with(claude: Anthropic) -> None:
    message = claude.messages.create(
        model=MODEL,
        max_tokens=4,
        messages=[
            {"role": "user", "content": "What is the capital of France?"},
            {"role": "assistant", "content": "The capital of France is"},
        ],
        extra_body={"temperature": 0},
    )
    assert "Paris" in message.content[0].text  # type: ignore[union-attr]
    assert not message.content[0].text.startswith("The capital")  # type: ignore[union-attr]


def test_named_tool_and_no_tool(claude: Anthropic) -> None:
    asked: Any = {"model": MODEL, "max_tokens": 300, "messages": ASK, "tools": [WEATHER, CLOCK]}
    choice: Any = {"type": "tool", "name": "get_time", "disable_parallel_tool_use": True}
    named = claude.messages.create(**asked, tool_choice=choice)
    (call,) = [block for block in named.content if block.type == "tool_use"]
    _valid([call])
    assert call.name == "get_time"
    none = claude.messages.create(**{**asked, "max_tokens": 8}, tool_choice={"type": "none"})
    assert [block.type for block in none.content] == ["text"]


def test_streamed_call_and_its_result(claude: Anthropic) -> None:
    asked: Any = {"model": MODEL, "max_tokens": 300, "tools": [WEATHER]}
    messages: Any = [{"role": "user", "content": "Weather in Rome?"}]
    with claude.messages.stream(**asked, messages=messages, tool_choice={"type": "any"}) as stream:
        called = stream.get_final_message()
    assert called.stop_reason == "tool_use"
    calls = [block for block in called.content if block.type == "tool_use"]
    _valid(calls)
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "21 degrees, sunny"} for call in calls]
    messages += [{"role": "assistant", "content": called.content}, {"role": "user", "content": results}]
    told = claude.messages.create(**{**asked, "max_tokens": 20}, messages=messages, tool_choice={"type": "none"})
    assert told.content[0].type == "text"


def test_tool_runner(claude: Anthropic) -> None:
    asked_for: list[str] = []

    @anthropic.beta_tool
    def get_weather(city: str) -> str:
        """Weather of a city.

        Args:
            city: its name
        """
        asked_for.append(city)
        return "21 degrees"

    runner = claude.beta.messages.tool_runner(
        model=MODEL,
        max_tokens=100,
        extra_body={"temperature": 0},  # left to chance, one name in some dozens is longer than there is room for
        tools=[get_weather],
        tool_choice={"type": "any"},
        messages=[{"role": "user", "content": "Weather in Rome?"}],
        max_iterations=2,
    )
    messages = list(runner)
    assert len(messages) == 2 and asked_for


def test_structured_output(claude: Anthropic) -> None:
    class Person(pydantic.BaseModel):
        name: Annotated[str, pydantic.Field(max_length=20)]
        age: int

    answer = claude.messages.parse(
        model=MODEL,
        max_tokens=120,
        extra_body={"temperature": 0},  # the client takes the length out of the schema and hopes
        messages=[{"role": "user", "content": "Invent a person."}],
        output_format=Person,
    )
    assert isinstance(answer.parsed_output, Person)
    again = claude.messages.create(
        model=MODEL, max_tokens=12, messages=[*ASK, {"role": "assistant", "content": answer.content}, *ASK]
    )
    assert again.content


async def test_async_client(service: Service, key: str) -> None:
    async with AsyncAnthropic(base_url=service.address, auth_token=key, api_key=None, max_retries=0) as client:
        async with client.beta.messages.stream(model=MODEL, max_tokens=6, messages=ASK, betas=["a-beta"]) as stream:
            text = "".join([piece async for piece in stream.text_stream])
        assert text
        assert (await client.messages.create(model=MODEL, max_tokens=2, messages=ASK)).usage.output_tokens <= 2


def test_models(claude: Anthropic, service: Service) -> None:
    (model,) = list(claude.models.list(limit=1))
    ModelInfo.model_validate_json(json.dumps(model.to_dict(mode="json")), strict=True)
    assert (model.id, model.type, model.lifecycle) == (MODEL, "model", "active")
    assert model.max_input_tokens and model.capabilities
    assert model.capabilities.structured_outputs.supported and model.capabilities.batch.supported
    assert not model.capabilities.image_input.supported
    assert claude.models.retrieve(MODEL) == model
    assert list(claude.models.list(after_id=MODEL)) == []
    assert list(claude.models.list(lifecycle=["retired"])) == []
    assert [each.id for each in claude.beta.models.list(before_id="", limit=20)] == [MODEL]
    with pytest.raises(anthropic.BadRequestError):
        claude.models.list(limit=0)
    with pytest.raises(anthropic.NotFoundError):
        claude.models.retrieve("claude-3")
    assert [each.id for each in service.client().models.list()] == [MODEL]


def test_errors_have_their_classes(claude: Anthropic, service: Service) -> None:
    asked: Any = {"model": MODEL, "max_tokens": 4, "messages": ASK}
    with pytest.raises(anthropic.BadRequestError, match="temperature") as wrong:
        claude.messages.create(**asked, extra_body={"temperature": 2})
    assert (wrong.value.type, wrong.value.error_code) == ("invalid_request_error", "bad_parameter")
    assert wrong.value.request_id and wrong.value.request_id == wrong.value.body["request_id"]  # type: ignore[index]
    ErrorResponse.model_validate(wrong.value.body)
    with pytest.raises(anthropic.NotFoundError, match=MODEL) as unknown:
        claude.messages.create(**{**asked, "model": "claude-3"}, stream=True)
    assert (unknown.value.type, unknown.value.error_code) == ("not_found_error", "model_not_found")
    with pytest.raises(anthropic.BadRequestError) as long:
        claude.messages.create(**{**asked, "messages": [{"role": "user", "content": "word " * 12_000}]})
    assert long.value.error_code == "context_length_exceeded"
    with pytest.raises(anthropic.BadRequestError, match="web_search"):
        claude.messages.create(**asked, tools=[{"type": "web_search_20250305", "name": "web_search"}])
    with pytest.raises(anthropic.BadRequestError, match="workspace"):
        claude.messages.create(**asked, extra_headers={"anthropic-workspace-id": "w"})
    with pytest.raises(anthropic.AuthenticationError) as stranger:
        claude.with_options(api_key="im-nonsense").messages.create(**asked)
    assert stranger.value.type == "authentication_error"
    elsewhere = claude.with_options(api_key=service.new_key(models=["another:model"]))
    for refused in (elsewhere.messages.create, lambda **_: elsewhere.messages.count_tokens(model=MODEL, messages=ASK)):
        with pytest.raises(anthropic.PermissionDeniedError) as caught:
            refused(**asked)
        assert (caught.value.type, caught.value.error_code) == ("permission_error", "model_not_allowed")


def test_the_client_tries_again_when_all_are_busy(fresh: Service) -> None:
    """One slot, one place in the queue: the third is told to come back, and is served once the others have left."""
    fresh.settings |= {"INTRAMURAL_SERVING_SLOTS": "1", "INTRAMURAL_SERVING_QUEUE_LIMIT": "1"}
    fresh.start()
    fresh.set_up()
    fresh.wait_ready()
    client = Anthropic(base_url=fresh.address, api_key=fresh.new_key(), max_retries=0, timeout=60)
    others = fresh.client()  # another dialect: this one has no field that keeps a model from ending early
    asked: Any = {"model": MODEL, "messages": ASK, "stream": True, "max_tokens": 2000, "extra_body": ENDLESS}
    answering = others.chat.completions.create(**asked)
    next(iter(answering))
    waiting = others.chat.completions.create(**asked)  # its headers come with the note of its place
    with pytest.raises(anthropic.OverloadedError) as busy:
        client.messages.create(model=MODEL, max_tokens=2, messages=ASK)
    assert (busy.value.status_code, busy.value.type) == (529, "overloaded_error")
    refusals: list[int] = []

    def refused(response: Any) -> None:
        if response.status_code == 529:
            refusals.append(response.status_code)
            answering.close()
            waiting.close()

    patient = client.with_options(
        max_retries=4, http_client=anthropic.DefaultHttpxClient(event_hooks={"response": [refused]})
    )
    assert patient.messages.create(model=MODEL, max_tokens=2, messages=ASK).stop_reason in ("max_tokens", "end_turn")
    assert refusals
