"""An answer held to a schema, in every dialect: what cannot be enforced is refused by name before anything waits."""

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
import requests
from tests.service import MODEL, Service

SAY = [{"role": "user", "content": "Describe a person."}]
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
WRONG = (5, True, ["a"], "text of no schema", {"strange": [1]}, {"type": "objekt"}, {"properties": 3})
#: For every way of asking: path, where the schema is, the parameter's name, the answer's text.
Ask = tuple[str, Callable[[Any], dict[str, Any]], str, Callable[[Any], str]]
WAYS: dict[str, Ask] = {
    "chat": (
        "/v1/chat/completions",
        lambda schema: {
            "messages": SAY,
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": schema}},
        },
        "response_format",
        lambda body: str(body["choices"][0]["message"]["content"]),
    ),
    "responses": (
        "/v1/responses",
        lambda schema: {
            "input": "Describe a person.",
            "text": {"format": {"type": "json_schema", "name": "n", "strict": True, "schema": schema}},
        },
        "text.format",
        lambda body: str(body["output"][0]["content"][0]["text"]),
    ),
    "anthropic": (
        "/v1/messages",
        lambda schema: {
            "messages": SAY,
            "max_tokens": 200,
            "output_config": {"format": {"type": "json_schema", "schema": schema}},
        },
        "output_config.format",
        lambda body: str(body["content"][0]["text"]),
    ),
    "anthropic's older name": (
        "/v1/messages",
        lambda schema: {
            "messages": SAY, "max_tokens": 200, "output_format": {"type": "json_schema", "schema": schema}
        },
        "output_config.format",
        lambda body: str(body["content"][0]["text"]),
    ),
    "ollama chat": (
        "/api/chat",
        lambda schema: {"messages": SAY, "stream": False, "format": schema},
        "format",
        lambda body: str(body["message"]["content"]),
    ),
    "ollama generate": (
        "/api/generate",
        lambda schema: {"prompt": "Describe a person.", "stream": False, "format": schema},
        "format",
        lambda body: str(body["response"]),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def key(service: Service) -> str:
    return service.new_key()


def post(service: Service, key: str, path: str, body: dict[str, Any]) -> requests.Response:
    headers = {"Authorization": f"Bearer {key}"}
    if path == "/v1/messages":
        headers["anthropic-version"] = "2023-06-01"
    return requests.post(service.address + path, json={"model": MODEL, **body}, headers=headers, timeout=110)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_a_keyword_that_cannot_be_enforced_is_named(service: Service, key: str, way: str, stream: bool) -> None:
    path, body, param, _ = WAYS[way]
    schema = {"type": "object", "properties": {"name": {"type": "string", "not": {"const": "x"}}, "minProperties": {}}}
    asked = service.events(event="chat.asked")
    answer = post(service, key, path, {**body({**schema, "maxProperties": 3}), "stream": stream})
    assert answer.status_code == 400, answer.text
    error = answer.json() if way.startswith("ollama") else answer.json()["error"]
    assert (error["code"], error["param"]) == ("unsupported_schema", param)
    said = error["error" if way.startswith("ollama") else "message"]
    assert "`maxProperties`, `not`" in said
    assert "minProperties" not in said, "that is a member's name"
    assert service.events(event="chat.asked") == asked, "it was turned away at the door"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "wrong", [5, True, ["a"], "text of no schema", {"strange": [1]}, {"type": "objekt"}, {"properties": 3}]
)
def test_what_is_no_schema_is_refused(service: Service, key: str, way: str, wrong: Any) -> None:
    path, body, _, _ = WAYS[way]
    answer = post(service, key, path, body(wrong))
    assert answer.status_code == 400, answer.text
    assert "format" in answer.text


@pytest.mark.parametrize("way", WAYS)
def test_what_can_be_enforced_is(service: Service, key: str, way: str) -> None:
    path, body, _, text = WAYS[way]
    answer = post(service, key, path, body(PERSON))
    assert answer.status_code == 200, answer.text
    jsonschema.validate(json.loads(text(answer.json())), PERSON)
