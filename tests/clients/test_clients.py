"""Every client that must work unmodified, installed and run for real against the starter model."""

import subprocess

import pytest
from tests.clients.conftest import Run
from tests.service import MODEL, Service

#: Length of the starter's vectors.
WIDTH = 576
pytestmark = [pytest.mark.timeout(900), pytest.mark.clients]


def test_openai_for_python(python: Run) -> None:
    told = python("openai")
    assert told["chat"] and told["stream"] and told["response"]
    assert told["tokens"] <= 12
    assert told["follow"] is True
    assert (told["events"][0], told["events"][-1]) == ("response.created", told["events"][-1])
    assert told["events"][-1] in ("response.completed", "response.incomplete")
    assert (told["embedding"], told["file"], told["models"]) == (WIDTH, "A note.", [MODEL])


def test_anthropic_for_python(python: Run) -> None:
    told = python("anthropic")
    assert told["chat"] and told["stream"]
    assert told["stop_reason"] in ("end_turn", "max_tokens")
    assert (told["tool"], type(told["city"])) == ("get_weather", str)
    assert told["counted"] > 5
    assert told["models"] == [MODEL]


def test_ollama_for_python(python: Run) -> None:
    told = python("ollama")
    assert told["chat"] and told["stream"] and told["generate"]
    assert told["tokens"] <= 12
    assert (told["embedding"], told["models"], told["running"]) == (WIDTH, [MODEL], [MODEL])
    assert "completion" in told["capabilities"]


def test_langchain(python: Run) -> None:
    told = python("langchain")
    assert told["chat"] and told["stream"] and told["anthropic"] and told["ollama"]
    assert (told["person"], told["tool"], told["embedding"]) == (["str", "int"], "weather", WIDTH)


def test_llama_index(python: Run) -> None:
    told = python("llama-index")
    assert told["chat"] and told["stream"] and told["complete"]
    assert told["embedding"] == WIDTH


def test_litellm(python: Run) -> None:
    told = python("litellm")
    assert told["openai"] and told["anthropic"] and told["ollama"] and told["stream"]
    assert told["embedding"] == WIDTH


def test_pydantic_ai(python: Run) -> None:
    told = python("pydantic-ai")
    assert told["chat"] and told["responses"] and told["anthropic"]
    assert told["typed"] == ["str", "str"]


def test_instructor(python: Run) -> None:
    assert python("instructor") == {"tools": ["str", "int"], "schema": ["str", "int"]}


def test_crewai(python: Run) -> None:
    told = python("crewai")
    assert told["raw"]
    assert told["tokens"] > 0


def test_openai_for_node(node: Run) -> None:
    told = node("openai")
    assert told["chat"] and told["stream"] and told["response"]
    assert told["embedding"] == WIDTH


def test_anthropic_for_node(node: Run) -> None:
    told = node("anthropic")
    assert told["chat"] and told["stream"]
    assert told["stream"] == told["whole"]


def test_ollama_for_javascript(node: Run) -> None:
    told = node("ollama")
    assert told["chat"] and told["stream"]
    assert (told["embedding"], told["models"]) == (WIDTH, [MODEL])


def test_the_ai_sdk(node: Run) -> None:
    told = node("ai-sdk")
    assert told["chat"] and told["stream"]
    assert (told["tool"], told["city"], told["embedding"]) == ("weather", "string", WIDTH)


def test_curl(service: Service) -> None:
    body = f'{{"model": "{MODEL}", "messages": [{{"role": "user", "content": "hi"}}], "max_tokens": 8, "stream": true}}'
    done = subprocess.run(
        ["curl", "-sSN", f"{service.address}/v1/chat/completions", "-H", f"Authorization: Bearer {service.new_key()}",
         "-H", "Content-Type: application/json", "-d", body],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("data: {")
    assert done.stdout.endswith("data: [DONE]\n\n")
