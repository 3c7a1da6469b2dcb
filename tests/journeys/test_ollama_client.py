"""The official Ollama client against the real service: real answers from real weights."""

import asyncio
import base64
import hashlib
import json
import math
import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import ollama
import pytest
import requests
from tests.fakes.gguf_file import tiny_model
from tests.fakes.registry import OLLAMA, Registry
from tests.fakes.web import serving
from tests.service import MODEL, Service

ASK = [{"role": "user", "content": "Say hello."}]
CONTEXT_TOKENS = 512
#: Short and repeatable.
BRIEF = {"num_predict": 12, "seed": 1}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, starter_wheel: Path) -> Iterator[Service]:
    """A service of this file's own, with a context so short that it can be overrun in no time."""
    settings = {"INTRAMURAL_SERVING_CONTEXT_TOKENS": str(CONTEXT_TOKENS)}
    with Service(tmp_path_factory.mktemp("house") / "data", starter_wheel, settings).running() as running:
        yield running


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
    assert loaded.context_length == CONTEXT_TOKENS and loaded.size and loaded.expires_at


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


def _length(vector: Any) -> float:
    return math.sqrt(sum(each * each for each in vector))


def test_embed(ours: ollama.Client) -> None:
    answer = ours.embed(MODEL, ["A cat sleeps.", "A kitten is asleep.", "Pay the tax by April."])
    cat, kitten, tax = answer.embeddings
    assert all(math.isclose(_length(each), 1, abs_tol=1e-4) for each in answer.embeddings)
    assert sum(map(operator.mul, cat, kitten)) > sum(map(operator.mul, cat, tax))
    assert answer.prompt_eval_count and answer.total_duration and answer.model == MODEL
    (short,) = ours.embed(MODEL, "A cat sleeps.", dimensions=16).embeddings
    assert len(short) == 16 and math.isclose(_length(short), 1, abs_tol=1e-4)
    assert short == pytest.approx([each / _length(cat[:16]) for each in cat[:16]], abs=1e-3)
    assert ours.embeddings(MODEL, "A cat sleeps.").embedding == pytest.approx(cat, abs=1e-3)
    assert ours.embed(MODEL, []).embeddings == []
    with pytest.raises(ollama.ResponseError) as caught:
        ours.embed(MODEL, "A cat sleeps.", dimensions=4096)
    assert caught.value.status_code == 400 and "576" in caught.value.error


def test_a_text_that_is_too_long_to_embed_is_cut_and_that_is_said(service: Service, ours: ollama.Client) -> None:
    long = "word " * 600
    headers = {"Authorization": f"Bearer {service.new_key()}"}
    body = {"model": MODEL, "input": ["short", long]}
    answer = requests.post(f"{service.address}/api/embed", json=body, headers=headers, timeout=110)
    assert (answer.status_code, answer.headers["X-Intramural-Truncated"]) == (200, "1")
    assert len(answer.json()["embeddings"]) == 2
    with pytest.raises(ollama.ResponseError) as caught:
        ours.embed(MODEL, ["short", long], truncate=False)
    assert caught.value.status_code == 400 and "input[1]" in caught.value.error


def test_logprobs(ours: ollama.Client) -> None:
    answer = ours.chat(MODEL, ASK, logprobs=True, top_logprobs=3, options=BRIEF | {"temperature": 0})
    assert answer.logprobs and len(answer.logprobs) == answer.eval_count
    for each in answer.logprobs:
        assert each.logprob <= 0 and len(each.top_logprobs or []) == 3
    lines = list(ours.generate(MODEL, "Say hello.", logprobs=True, stream=True, options=BRIEF))
    assert sum(len(line.logprobs or []) for line in lines) == lines[-1].eval_count


def test_formats(ours: ollama.Client) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
        "required": ["name", "age"],
    }
    person = ours.chat(MODEL, [{"role": "user", "content": "Invent a person."}], format=schema)
    jsonschema.validate(json.loads(person.message.content or ""), schema)
    assert isinstance(json.loads(ours.generate(MODEL, "Invent a person.", format=schema).response or ""), dict)
    free = ours.chat(MODEL, ASK, format="json", options={"num_predict": 400})
    text = free.message.content or ""
    assert isinstance(json.loads(text), dict) if free.done_reason == "stop" else text.lstrip().startswith("{")


def weather(city: str, unit: str) -> str:
    """Weather of a city.

    Args:
      city: Its name
      unit: celsius or fahrenheit
    """
    return f"21 degrees {unit} in {city}"


def test_tools(ours: ollama.Client) -> None:
    question = {"role": "user", "content": "What is the weather in Rome, in celsius? Call the tool."}
    call = {"function": {"name": "weather", "arguments": {"city": "Rome", "unit": "celsius"}}}
    answer = ours.chat(MODEL, [question], tools=[weather], options={"num_predict": 300, "seed": 1})
    for made in answer.message.tool_calls or []:
        assert made.function.name == "weather" and isinstance(made.function.arguments, dict)
    assert answer.message.tool_calls or answer.message.content
    assert answer.done_reason in ("stop", "length")
    replied = ours.chat(
        MODEL,
        [
            question,
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": "21 degrees, sunny", "tool_name": "weather"},
        ],
        tools=[weather],
        options=BRIEF,
    )
    assert replied.message.content or replied.message.tool_calls


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"think": True}, "think"),
        ({"format": "yaml"}, "format"),
        ({"suffix": "}"}, "suffix"),
        ({"template": "{{ .Prompt }}"}, "template"),
        ({"context": [1, 2]}, "Send the conversation"),
        ({"images": [base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()]}, "image"),
        ({"options": {"num_ctx": 4096}}, str(CONTEXT_TOKENS)),
    ],
)
def test_what_cannot_be_had_is_refused_and_named(service: Service, asked: dict[str, Any], said: str) -> None:
    headers = {"Authorization": f"Bearer {service.new_key()}"}
    body = {"model": MODEL, "prompt": "hi", "stream": False, **asked}
    answer = requests.post(f"{service.address}/api/generate", json=body, headers=headers, timeout=110)
    assert answer.status_code == 400 and said in answer.json()["error"]


def test_a_prompt_that_is_too_long_is_refused_never_cut(ours: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError) as caught:
        ours.generate(MODEL, "word " * 600)
    assert caught.value.status_code == 400 and str(CONTEXT_TOKENS) in caught.value.error


def test_what_has_no_effect_is_said(service: Service) -> None:
    headers = {"Authorization": f"Bearer {service.new_key()}"}
    body = {"model": MODEL, "prompt": "hi", "stream": False, "keep_alive": "5m"}
    options = {"num_gpu": 99, "num_thread": 4, "num_predict": 2}
    answer = requests.post(
        f"{service.address}/api/generate", json=body | {"options": options}, headers=headers, timeout=110
    )
    assert answer.headers["X-Intramural-Ignored"] == "num_gpu, num_thread, keep_alive"
    plain = {"model": MODEL, "prompt": "hi", "options": {"num_predict": 2}}
    streamed = requests.post(f"{service.address}/api/generate", json=plain, headers=headers, timeout=110)
    assert "X-Intramural-Ignored" not in streamed.headers
    assert streamed.headers["Content-Type"] == "application/x-ndjson"


def test_who_keeps_a_model_loaded(service: Service, ours: ollama.Client, admin: ollama.Client) -> None:
    ours.generate(MODEL, "hi", options={"num_predict": 1})
    assert admin.generate(MODEL, keep_alive=3600).done_reason == "load"
    until = admin.ps().models[0].expires_at
    assert until is not None
    ours.generate(MODEL, "hi", options={"num_predict": 1}, keep_alive=0)
    assert len(ours.ps().models) == 1, "who may not unload does not"
    with pytest.raises(ollama.ResponseError) as caught:
        ours.generate(MODEL, keep_alive=0)
    assert caught.value.status_code == 403
    admin.chat(MODEL, ASK, options=BRIEF, keep_alive=0)
    assert admin.ps().models == []
    assert ours.chat(MODEL, []).done_reason == "load"
    assert admin.chat(MODEL, [], keep_alive=-1).done_reason == "load"
    for_ever = admin.ps().models[0].expires_at
    assert for_ever is not None and for_ever.year > 2100
    assert admin.chat(MODEL, [], keep_alive=0).done_reason == "unload"
    assert admin.ps().models == []
    kept = [e["facts"]["keep_alive_s"] for e in service.events() if e["event"] == "model.kept"]
    assert kept[::-1] == [3600, 0, -1]


def test_version_status_and_greeting(service: Service) -> None:
    headers = {"Authorization": f"Bearer {service.new_key()}"}
    version = requests.get(f"{service.address}/api/version", headers=headers, timeout=10).json()
    assert version["version"].count(".") == 2
    status = requests.get(f"{service.address}/api/status", headers=headers, timeout=10).json()
    assert status == {"cloud": {"disabled": True, "source": "config"}}
    assert requests.get(service.address, timeout=10).text == "Ollama is running"
    assert requests.head(service.address, timeout=10).status_code == 200
    page = requests.get(service.address, headers={"Accept": "text/html,*/*"}, timeout=10)
    assert page.headers["Content-Type"].startswith("text/html")
    absent = requests.post(f"{service.address}/api/me", headers=headers, timeout=10)
    assert absent.status_code == 404 and "ollama.com" in absent.json()["error"]


@pytest.fixture
def made(admin: ollama.Client) -> Iterator[list[str]]:
    """Names of models that the test makes; they go afterwards."""
    names: list[str] = []
    yield names
    there = {each.model for each in admin.list().models}
    for name in names:
        if {name, f"{name}:latest"} & there:
            admin.delete(name)


def test_create_from_a_model(service: Service, admin: ollama.Client, made: list[str]) -> None:
    made += ["parrot"]
    parameters = {"num_predict": 1, "temperature": 0, "stop": ["END"], "num_ctx": 512}
    messages = [{"role": "user", "content": "2+2"}, {"role": "assistant", "content": "4"}]
    lines = list(
        admin.create("parrot", from_=MODEL, system="Repeat.", parameters=parameters, messages=messages, stream=True)
    )
    assert [line.status for line in lines][-2:] == ["writing manifest", "success"]
    shown = admin.show("parrot:latest")
    assert shown.details and shown.details.parent_model == MODEL
    assert {"num_predict", "temperature", "stop", "num_ctx"} == {
        line.split()[0] for line in (shown.parameters or "").splitlines()
    }
    assert 'SYSTEM "Repeat."' in (shown.modelfile or "") and f"FROM {MODEL}" in (shown.modelfile or "")
    plain = admin.chat(MODEL, ASK, options={"num_predict": 1, "temperature": 0})
    answer = admin.chat("parrot", ASK)
    assert answer.eval_count == 1 and answer.done_reason == "length"
    assert (answer.prompt_eval_count or 0) > (plain.prompt_eval_count or 0), "system text and messages came first"
    through_openai = service.client(service.new_key()).chat.completions.create(model="parrot", messages=ASK)
    assert through_openai.choices[0].message.content == answer.message.content, "defaults hold in every dialect"
    longer = admin.chat("parrot", ASK, options={"num_predict": 2})
    assert longer.eval_count == 2, "what a request says goes first"
    assert [each.model for each in admin.ps().models].count(MODEL) == 1


def test_a_model_derived_from_a_derived_one(admin: ollama.Client, made: list[str]) -> None:
    made += ["first", "second", "third"]
    admin.create("first", from_=MODEL, system="Be brief.", parameters={"top_k": 7})
    admin.create("second", from_="first", parameters={"top_p": 0.5})
    admin.copy("second", "third")
    for name in ("second", "third"):
        shown = admin.show(name)
        assert {line.split()[0] for line in (shown.parameters or "").splitlines()} == {"top_k", "top_p"}
        assert 'SYSTEM "Be brief."' in (shown.modelfile or "")
        assert shown.details and shown.details.parent_model == MODEL


def test_copy_and_delete(service: Service, admin: ollama.Client, ours: ollama.Client, made: list[str]) -> None:
    made += ["twin"]
    assert admin.copy(MODEL, "twin").status == "success"
    listed = {each.model: each.digest for each in admin.list().models}
    assert listed["twin:latest"] == listed[MODEL]
    assert ours.chat("twin", ASK, options=BRIEF).message.content
    assert len(ours.ps().models) == 2, "one worker, and both models are in memory"
    with pytest.raises(ollama.ResponseError) as refused:
        ours.delete("twin")
    assert refused.value.status_code == 403
    assert admin.delete("twin").status == "success"
    with pytest.raises(ollama.ResponseError) as gone:
        admin.delete("twin")
    assert gone.value.status_code == 404
    assert ours.chat(MODEL, ASK, options=BRIEF).message.content, "its twin's weights are its own still"
    names = [e["event"] for e in service.events()]
    assert "model.derived" in names and "model.removed" in names


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"quantize": "q4_K_M"}, "quantize"),
        ({"template": "{{ .Prompt }}"}, "template"),
        ({"adapters": {"a.gguf": "sha256:" + "0" * 64}}, "adapters"),
        ({"license": "MIT"}, "license"),
        ({"parameters": {"temperature": 9}}, "parameters.temperature"),
        ({"parameters": {"num_ctx": 100_000}}, str(CONTEXT_TOKENS)),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0]"),
    ],
)
def test_what_a_new_model_cannot_have(admin: ollama.Client, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ollama.ResponseError) as caught:
        admin.create("never", from_=MODEL, **asked)
    assert caught.value.status_code == 400
    assert said in caught.value.error


def test_a_model_of_an_uploaded_file(service: Service, admin: ollama.Client, made: list[str], tmp_path: Path) -> None:
    made += ["uploaded", "uploaded-too"]
    file = tmp_path / "tiny.gguf"
    file.write_bytes(tiny_model(seed=5))
    digest = admin.create_blob(file)
    uploads = service.data_dir / "library" / "uploads"
    assert [each.name for each in uploads.iterdir()] == [digest.removeprefix("sha256:")]
    lines = list(admin.create("uploaded", files={"tiny.gguf": digest}, system="Be brief.", stream=True))
    assert lines[-1].status == "success"
    assert list(uploads.iterdir()) == [], "its bytes are the model's now"
    assert 'SYSTEM "Be brief."' in (admin.show("uploaded").modelfile or "")
    assert admin.create("uploaded-too", files={"tiny.gguf": digest}).status == "success", (
        "what is here is not sent again"
    )
    with pytest.raises(ollama.ResponseError) as caught:
        admin.create("uploaded", files={"tiny.gguf": "sha256:" + "0" * 64})
    assert caught.value.status_code == 404


def test_an_upload_is_what_it_says_or_nothing(service: Service, admin: ollama.Client) -> None:
    url, body = f"{service.address}/api/blobs/", b"bytes of no model"
    headers = {"Authorization": f"Bearer {service.new_key(scopes=['inference', 'admin'])}"}
    right = "sha256:" + hashlib.sha256(body).hexdigest()
    assert requests.head(url + right, headers=headers, timeout=10).status_code == 404
    wrong = requests.post(url + "sha256:" + "0" * 64, data=body, headers=headers, timeout=10)
    assert (wrong.status_code, wrong.json()["code"]) == (400, "digest_mismatch")
    assert requests.post(url + right, data=iter([body[:5], body[5:]]), headers=headers, timeout=10).status_code == 201
    assert requests.head(url + right, headers=headers, timeout=10).status_code == 200
    assert requests.post(url + right, data=body, headers=headers, timeout=10).status_code == 200
    member = {"Authorization": f"Bearer {service.new_key()}"}
    assert requests.head(url + right, headers=member, timeout=10).status_code == 403
    assert requests.post(url + right, data=body, headers=member, timeout=10).status_code == 403
    with pytest.raises(ollama.ResponseError) as caught:
        admin.create("never", files={"x.gguf": right})
    assert "model" not in [each.model for each in admin.list().models]
    assert (caught.value.status_code, "GGUF" in caught.value.error) == (400, True), "it was theirs, and stays no model"
    for bad in ("sha256:xyz", "..%2f..%2fetc", "md5:0"):
        assert requests.head(url + bad, headers=headers, timeout=10).status_code in (400, 404)


async def test_pull(service: Service, admin: ollama.Client, ours: ollama.Client, made: list[str]) -> None:
    made += ["tiny:3b", "team/tiny"]
    registry = Registry()
    body = tiny_model(seed=9, extra_bytes=1 << 20)
    registry.manifest("3b", registry.layer(f"{OLLAMA}.model", body))
    async with serving(registry) as server:
        registry.url = server.url
        name = f"{server.host}/library/tiny:3b"

        def pulled() -> list[ollama.ProgressResponse]:
            return list(admin.pull(name, insecure=True, stream=True))

        lines = await asyncio.to_thread(pulled)
        assert lines[0].status == "pulling manifest" and lines[-1].status == "success"
        moving = [line for line in lines if line.digest]
        assert all(line.total == len(body) and (line.completed or 0) <= len(body) for line in moving)
        assert await asyncio.to_thread(admin.show, name), "it is found under the name that it was pulled by"
        again = await asyncio.to_thread(admin.pull, f"oci+http://{name}")
        assert again.status == "success"
        with pytest.raises(ollama.ResponseError) as missing:
            await asyncio.to_thread(admin.pull, f"oci+http://{server.host}/library/tiny:none")
        assert missing.value.status_code == 404
        with pytest.raises(ollama.ResponseError) as refused:
            await asyncio.to_thread(ours.pull, name)
        assert refused.value.status_code == 403


async def test_push(service: Service, admin: ollama.Client, ours: ollama.Client, made: list[str]) -> None:
    made += ["team/small"]
    registry = Registry(repository="team/small")
    file = service.data_dir.parent / "small.gguf"
    file.write_bytes(tiny_model(seed=11))
    digest = await asyncio.to_thread(admin.create_blob, file)
    await asyncio.to_thread(lambda: admin.create("team/small", files={"small.gguf": digest}, system="Be brief."))
    async with serving(registry) as server:
        name = f"{server.host}/team/small:1"
        await asyncio.to_thread(admin.copy, "team/small", name)
        made += ["team/small:1"]
        lines = await asyncio.to_thread(lambda: list(admin.push(name, insecure=True, stream=True)))
        assert lines[0].status == "retrieving manifest" and lines[-1].status == "success"
        assert {line.digest for line in lines if line.digest} >= {digest}
        assert registry.blobs[digest] == file.read_bytes()
        whole = await asyncio.to_thread(lambda: admin.push(name, insecure=True))
        assert whole.status == "success"
        with pytest.raises(ollama.ResponseError) as refused:
            await asyncio.to_thread(lambda: ours.push(name, insecure=True))
        assert refused.value.status_code == 403
        with pytest.raises(ollama.ResponseError) as public:
            await asyncio.to_thread(admin.push, "team/small")
        assert public.value.status_code == 400 and "registry" in public.value.error
    events = {e["event"]: e["facts"] for e in service.events()}
    assert events["model.push_asked"]["target"] == f"http://{name}" == events["model.pushed"]["target"]
