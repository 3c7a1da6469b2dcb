"""Every answer of an API names its request, also one that refuses it."""

from typing import Any

import anthropic
import openai
import pytest
import requests
from anthropic import Anthropic
from openai import OpenAI
from tests.service import MODEL, Service

ASK: Any = [{"role": "user", "content": "Say hello."}]
CLAUDE = {"anthropic-version": "2023-06-01"}


def named(answer: requests.Response) -> str:
    """The identifier, said once."""
    assert answer.headers["X-Request-Id"].startswith("req_") and "," not in answer.headers["X-Request-Id"]
    return answer.headers["X-Request-Id"]


def test_every_route_names_a_strangers_request(service: Service) -> None:
    paths = service.page("GET", "/openapi.json").json()["paths"]
    asked = [
        requests.request(method, service.address + path.replace("{", "").replace("}", ""), json={}, timeout=10)
        for path, methods in paths.items()
        if path.startswith(("/v1/", "/v2/", "/api/"))
        for method in methods
    ]
    assert len({named(answer) for answer in asked}) == len(asked) > 40


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/models", None, 200),
        ("GET", "/v1/files", None, 200),
        ("GET", "/v1/files/file_x/content", None, 404),
        ("POST", "/v1/chat/completions", {"messages": 1}, 400),
        ("POST", "/v1/chat/completions", {"model": "none", "messages": ASK}, 404),
        ("POST", "/v1/chat/completions", {"model": "none", "messages": ASK, "stream": True}, 404),
        ("POST", "/v1/completions", {"model": MODEL, "prompt": ["a", "b"], "max_tokens": 1}, 200),
        ("POST", "/v1/completions", {"model": "none", "prompt": ["a", "b"]}, 404),
        ("POST", "/v1/responses", {"model": "none", "input": "a"}, 404),
        ("POST", "/v1/messages", {"model": "none", "max_tokens": 1, "messages": ASK}, 404),
        ("DELETE", "/v1/messages", None, 405),
        ("GET", "/v1/nothing", None, 404),
    ],
)
def test_every_answer_is_named(
    service: Service, client: OpenAI, method: str, path: str, body: dict[str, Any] | None, status: int
) -> None:
    for headers in ({}, CLAUDE) if path.startswith(("/v1/m", "/v1/f", "/v1/n")) else ({},):
        headers = {"Authorization": f"Bearer {client.api_key}", **headers}
        answer = requests.request(method, service.address + path, json=body, headers=headers, timeout=60)
        assert answer.status_code == status, answer.text
        name = named(answer)
        if "anthropic-version" in headers and status >= 400:
            assert answer.headers["request-id"] == answer.json()["request_id"] == name


def test_clients_find_it_in_their_errors(service: Service, client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="none", messages=ASK)
    assert missing.value.request_id and missing.value.request_id.startswith("req_")
    claude = Anthropic(base_url=service.address, api_key=client.api_key, max_retries=0)
    with pytest.raises(anthropic.NotFoundError) as unknown:
        claude.models.retrieve("none")
    assert unknown.value.request_id and unknown.value.request_id.startswith("req_")


def test_what_policy_refused_is_found_in_the_log(service: Service) -> None:
    client = service.client(service.new_key(models=["another:model"]))
    with pytest.raises(openai.PermissionDeniedError) as refused:
        client.chat.completions.create(model=MODEL, messages=ASK)
    (entry,) = [each for each in service.events() if each["request_id"] == refused.value.request_id]
    assert entry["event"] == "access.refused"


def test_an_unknown_host_is_told_what_its_request_is_called(service: Service) -> None:
    assert named(requests.get(f"{service.address}/v1/models", headers={"Host": "evil.example"}, timeout=10))
