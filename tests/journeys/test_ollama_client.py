"""The official Ollama client against the real service: real answers from real weights."""

from collections.abc import Iterator
from typing import Any

import ollama
import pytest
from tests.service import MODEL, Service

ASK = [{"role": "user", "content": "Say hello."}]
#: Short and repeatable.
BRIEF = {"num_predict": 12, "seed": 1}


def client_of(service: Service, key: str) -> ollama.Client:
    return ollama.Client(service.address, headers={"Authorization": f"Bearer {key}"}, timeout=110)


@pytest.fixture(scope="module")
def ours(service: Service) -> Iterator[ollama.Client]:
    """A client that may only ask models."""
    with client_of(service, service.new_key()) as client:
        yield client


@pytest.fixture(scope="module")
def admin(service: Service) -> Iterator[ollama.Client]:
    """A client that may do everything."""
    with client_of(service, service.new_key(scopes=["inference", "admin"])) as client:
        yield client


def _complete(answer: Any) -> None:
    """The last line of an answer: why it ended, counts, and times in nanoseconds that fit together."""
    assert answer.done is True and answer.done_reason in ("stop", "length")
    assert answer.model == MODEL and answer.created_at.endswith("Z")
    assert answer.prompt_eval_count > 5 and 1 <= answer.eval_count <= 12
    parts = answer.load_duration + answer.prompt_eval_duration + answer.eval_duration
    assert 0 < answer.eval_duration <= answer.total_duration
    assert parts <= answer.total_duration * 1.05


def test_chat(ours: ollama.Client) -> None:
    answer = ours.chat(MODEL, ASK, options=BRIEF)
    assert answer.message.role == "assistant" and answer.message.content
    assert not answer.message.tool_calls and not answer.message.thinking
    _complete(answer)


def test_chat_streams_lines(ours: ollama.Client) -> None:
    lines = list(ours.chat(MODEL, ASK, stream=True, options=BRIEF))
    assert [line.done for line in lines] == [False] * (len(lines) - 1) + [True]
    assert all(line.message.role == "assistant" for line in lines)
    assert lines[-1].message.content == ""
    _complete(lines[-1])
    whole = ours.chat(MODEL, ASK, options=BRIEF)
    assert "".join(line.message.content or "" for line in lines) == whole.message.content


def test_generate(ours: ollama.Client) -> None:
    whole = ours.generate(MODEL, "Say hello.", options=BRIEF)
    assert whole.response
    _complete(whole)
    lines = list(ours.generate(MODEL, "Say hello.", stream=True, options=BRIEF))
    assert "".join(line.response or "" for line in lines) == whole.response
    _complete(lines[-1])
    chatted = ours.chat(MODEL, [{"role": "user", "content": "Say hello."}], options=BRIEF)
    assert chatted.message.content == whole.response, "a prompt is a conversation of one message"


def test_generate_raw_goes_on_with_the_text(ours: ollama.Client) -> None:
    options = {"num_predict": 4, "temperature": 0}
    assert "Paris" in (ours.generate(MODEL, "The capital of France is", raw=True, options=options).response or "")


def test_system_is_heard(ours: ollama.Client) -> None:
    plain = ours.generate(MODEL, "Who are you?", options=BRIEF | {"temperature": 0})
    pirate = ours.generate(MODEL, "Who are you?", system="You are a pirate.", options=BRIEF | {"temperature": 0})
    assert (pirate.prompt_eval_count, pirate.response) != (plain.prompt_eval_count, plain.response)


async def test_the_asynchronous_client(service: Service) -> None:
    headers = {"Authorization": f"Bearer {service.new_key()}"}
    async with ollama.AsyncClient(service.address, headers=headers, timeout=110) as client:
        stream = await client.chat(MODEL, ASK, stream=True, options=BRIEF)
        lines = [line async for line in stream]
        _complete(lines[-1])
        assert (await client.list()).models


def test_the_tag_latest_may_be_left_out_and_added(ours: ollama.Client) -> None:
    assert ours.show(f"registry.ollama.ai/library/{MODEL.upper()}").details
    assert [each.model for each in ours.list().models] == [MODEL]


def test_show_and_list_agree(ours: ollama.Client) -> None:
    (listed,) = ours.list().models
    shown = ours.show(MODEL)
    assert shown.modified_at == listed.modified_at and shown.details == listed.details
    assert shown.capabilities == ["completion", "tools"]
    assert shown.modelinfo["general.architecture"] == "llama"
    assert shown.modelinfo["llama.context_length"] == 8192
    assert shown.template and listed.size and listed.size > 90_000_000
    assert listed.digest and len(listed.digest) == 64
    assert (listed.details.parameter_size, listed.details.quantization_level) == ("134.52M", "Q4_1")


def test_ps(ours: ollama.Client) -> None:
    ours.chat(MODEL, ASK, options=BRIEF)
    (loaded,) = ours.ps().models
    assert (loaded.name, loaded.size_vram) == (MODEL, 0)
    assert loaded.context_length == 8192 and loaded.size and loaded.expires_at


def test_errors_are_the_clients_own(service: Service, ours: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError) as missing:
        ours.chat("llama3.2", ASK)
    assert missing.value.status_code == 404 and MODEL in missing.value.error
    with pytest.raises(ollama.ResponseError) as wrong:
        ours.chat(MODEL, ASK, options={"temperature": 9})
    assert wrong.value.status_code == 400 and "options.temperature" in wrong.value.error
    with pytest.raises(ollama.ResponseError) as stranger:
        client_of(service, "im-nonsense").list()
    assert stranger.value.status_code == 401
    with pytest.raises(ollama.ResponseError) as elsewhere:
        client_of(service, service.new_key(models=["another:model"])).chat(MODEL, ASK)
    assert elsewhere.value.status_code == 403


def test_an_answer_is_in_the_log_as_ollamas(service: Service, ours: ollama.Client) -> None:
    ours.chat(MODEL, ASK, options=BRIEF)
    asked = next(e for e in service.events() if e["event"] == "chat.asked")
    assert (asked["facts"]["dialect"], asked["facts"]["operation"]) == ("ollama", "chat")
