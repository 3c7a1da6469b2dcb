"""The service's own tools with the official client of the Model Context Protocol, and without any."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import jsonschema
import pytest
import requests
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from tests.service import MODEL, Service


@asynccontextmanager
async def connected(service: Service, key: str, **how: Any) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(headers=headers, timeout=110) as http:
        transport = streamable_http_client(f"{service.address}/mcp", http_client=http)
        async with Client(transport, **how) as client:
            yield client


@pytest.fixture(scope="module")
def key(service: Service) -> str:
    return service.new_key()


def post(service: Service, key: str | None, message: Any, **headers: str) -> requests.Response:
    body = message if isinstance(message, str | bytes) else json.dumps(message)
    sent = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", **headers}
    if key:
        sent["Authorization"] = f"Bearer {key}"
    return requests.post(f"{service.address}/mcp", data=body, headers=sent, timeout=60)


def call(method: str, params: Any = None, call_id: Any = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": call_id, "method": method} | ({} if params is None else {"params": params})


async def test_the_official_client_finds_and_uses_the_tools(service: Service, key: str) -> None:
    async with connected(service, key) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert {"list_models", "ask_model"} <= set(tools)
        for tool in tools.values():
            jsonschema.Draft202012Validator.check_schema(tool.input_schema)
            assert tool.annotations and tool.annotations.read_only_hint
        found = await client.call_tool("list_models", {})
        assert not found.is_error and found.structured_content
        jsonschema.validate(found.structured_content, tools["list_models"].output_schema or {})
        assert [each["name"] for each in found.structured_content["models"]] == [MODEL]
        answered = await client.call_tool("ask_model", {"question": "Say hello.", "model": MODEL, "max_tokens": 8})
        assert answered.structured_content and answered.structured_content["answer"]
        assert json.loads(answered.content[0].text) == answered.structured_content  # type: ignore[union-attr]
    request_id = answered.structured_content["request_id"]
    (logged,) = [e for e in service.events(event="chat.asked") if e["request_id"] == request_id]
    assert logged["facts"]["dialect"] == "mcp"


async def test_what_goes_wrong_in_a_tool_is_something_a_model_can_read(service: Service, key: str) -> None:
    async with connected(service, key) as client:
        for arguments, code in (
            ({"question": "?", "model": "nobody"}, "model_not_found"),
            ({"question": "", "model": MODEL}, "bad_parameter"),
            ({"question": "?", "model": MODEL, "max_tokens": 0}, "bad_parameter"),
            ({"question": "?", "model": MODEL, "colour": "red"}, "bad_parameter"),
            ({"question": 7, "model": MODEL}, "bad_parameter"),
        ):
            refused = await client.call_tool("ask_model", arguments)
            assert refused.is_error and f"[{code}]" in refused.content[0].text  # type: ignore[union-attr]


def test_policy_holds(service: Service) -> None:
    narrow = service.new_key(models=["another"])
    answered = post(service, narrow, call("tools/call", {"name": "list_models", "arguments": {}})).json()
    assert answered["result"]["structuredContent"] == {"models": []}
    asked = {"name": "ask_model", "arguments": {"question": "?", "model": MODEL}}
    refused = post(service, narrow, call("tools/call", asked)).json()["result"]
    assert refused["isError"] and "[model_not_allowed]" in refused["content"][0]["text"]


@pytest.mark.parametrize("version", ["2025-03-26", "2025-06-18", "2025-11-25"])
def test_the_handshake_agrees_on_a_version(service: Service, key: str, version: str) -> None:
    told = post(service, key, call("initialize", {"protocolVersion": version, "capabilities": {}, "clientInfo": {}}))
    assert told.headers["Content-Type"] == "application/json" and "Mcp-Session-Id" not in told.headers
    result = told.json()["result"]
    assert result["protocolVersion"] == version and result["serverInfo"]["name"] == "intramural"
    later = call("notifications/initialized")
    del later["id"]
    acknowledged = post(service, key, later, **{"MCP-Protocol-Version": version})
    assert (acknowledged.status_code, acknowledged.content) == (202, b"")
    assert post(service, key, call("ping"), **{"MCP-Protocol-Version": version}).json()["result"] == {}


def test_an_unknown_version_is_offered_the_newest(service: Service, key: str) -> None:
    told = post(service, key, call("initialize", {"protocolVersion": "1999-01-01"})).json()
    assert told["result"]["protocolVersion"] == "2025-11-25"
    refused = post(service, key, call("ping"), **{"MCP-Protocol-Version": "1999-01-01"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, -32022)
    assert "2025-06-18" in refused.json()["error"]["data"]["supported"]


@pytest.mark.parametrize(
    ("message", "status", "code"),
    [
        ("{nonsense", 400, -32700),
        ("[" * 100, 400, -32700),
        (b"\xff\xfe", 400, -32700),
        ([call("ping")], 400, -32600),  # batches of messages went with 2025-06-18
        ("7", 400, -32600),
        ({"id": 1, "method": "ping"}, 400, -32600),
        ({"jsonrpc": "2.0", "id": True, "method": "ping"}, 400, -32600),
        ({"jsonrpc": "2.0", "id": None, "method": "ping"}, 400, -32600),
        ({"jsonrpc": "2.0", "id": 1, "method": 7}, 400, -32600),
        (call("ping", [1]), 200, -32602),
        (call("resources/list"), 200, -32601),
        (call("tools/call", {"name": "nothing"}), 200, -32602),
        (call("tools/list", {"cursor": "x"}), 200, -32602),
        (call("initialize", {}), 200, -32602),
    ],
)
def test_messages_that_are_none(service: Service, key: str, message: Any, status: int, code: int) -> None:
    answered = post(service, key, message)
    assert answered.status_code == status, answered.text
    assert answered.json()["error"]["code"] == code and answered.json()["jsonrpc"] == "2.0"


def test_the_identifier_comes_back_as_it_was(service: Service, key: str) -> None:
    for call_id in (0, -5, "", "a", 2**40):
        assert post(service, key, call("ping", call_id=call_id)).json()["id"] == call_id


def test_nobody_else_gets_in(service: Service, key: str) -> None:
    stranger = post(service, None, call("tools/list"))
    assert stranger.status_code == 401 and stranger.headers["WWW-Authenticate"] == "Bearer"
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        foreign = post(service, key, call("tools/list"), **headers)
        assert foreign.status_code == 403, headers
    own = post(service, key, call("tools/list"), Origin=service.address)
    assert own.status_code == 200
    for method in ("GET", "DELETE"):
        answered = requests.request(method, f"{service.address}/mcp", timeout=20)
        assert (answered.status_code, answered.headers["Allow"]) == (405, "POST")


async def test_ones_own_documents_are_searched(service: Service, key: str) -> None:
    openai = service.client(key)
    text = "# Rules of the house\n\nVisitors sign in.\n\nThe zymurgy laboratory opens at nine.\n"
    file = openai.files.create(file=("rules.md", text.encode()), purpose="user_data")
    picture = openai.files.create(file=("plan.png", b"\x89PNG zymurgy"), purpose="user_data")
    assert "Not searchable" in (picture.status_details or "")
    end = time.monotonic() + 30
    while openai.files.retrieve(file.id).status != "processed" and time.monotonic() < end:
        time.sleep(0.02)
    asked = {"query": "When does the zymurgy laboratory open?", "limit": 3}
    async with connected(service, key) as client:
        found = (await client.call_tool("search_documents", asked)).structured_content
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        jsonschema.validate(found, tools["search_documents"].output_schema or {})
        assert found and found["other_files"] >= 1
        (passage,) = [each for each in found["passages"] if each["file_id"] == file.id]
        assert (passage["file_name"], passage["position"], passage["line"]) == ("rules.md", 0, 1)
        assert "opens at nine" in passage["text"]
        openai.files.delete(file.id)
        again = (await client.call_tool("search_documents", asked)).structured_content
        assert again and file.id not in [each["file_id"] for each in again["passages"]]
        refused = await client.call_tool("search_documents", {"query": "?"})
        assert refused.is_error and "[bad_query]" in refused.content[0].text  # type: ignore[union-attr]
    searched = service.events(event="documents.searched")
    assert searched and "zymurgy" not in json.dumps(searched)
