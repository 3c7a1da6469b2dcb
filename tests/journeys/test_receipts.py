"""Every answer names its log entry, and that can be checked without the service."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import requests
from openai import OpenAI
from tests.service import MODEL, Service
from tests.verifier.standing import Standing

ASK = [{"role": "user", "content": "Say hello."}]


def receipt(service: Service, path: str, key: str) -> dict[str, Any]:
    answer = requests.get(service.address + path, headers={"Authorization": f"Bearer {key}"}, timeout=60)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def chat(service: Service, key: str, **fields: Any) -> requests.Response:
    body = {"model": MODEL, "messages": ASK, "max_tokens": 8, **fields}
    answer = requests.post(
        f"{service.address}/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"}, timeout=110
    )
    assert answer.status_code == 200, answer.text
    return answer


@pytest.fixture(scope="module")
def key(service: Service) -> str:
    return service.new_key()


@pytest.fixture(scope="module")
def public_key(service: Service) -> str:
    return str(service.command("audit", "key")["public_key"])


def test_an_answer_s_receipt_says_what_computed_it(service: Service, key: str) -> None:
    answer = chat(service, key, temperature=0.7, stop=["zzz"], user="patient 7")
    assert answer.headers["X-Intramural-Receipt"] == f"/v1/receipts/{answer.headers['X-Request-Id']}"
    found = receipt(service, answer.headers["X-Intramural-Receipt"], key)
    said, body = found["statement"], answer.json()
    assert found["id"] == said["request_id"] == answer.headers["X-Request-Id"]
    assert (said["dialect"], said["operation"], said["outcome"]) == ("openai", "chat", "finished")
    assert said["model"]["name"] == MODEL
    assert said["model"]["digest"].startswith("sha256:") and said["model"]["digest"] == said["model"]["files"][0]
    assert said["model"]["quantisation"] == "Q4_1" and re.fullmatch(r"[0-9a-f:sha]+", said["model"]["template"])
    assert re.fullmatch(r"xllamacpp [0-9.]+", said["engine"])
    assert said["policy"] == {"action": "model.use", "rule": "role"}
    assert said["sampling"] == {"temperature": 0.7, "max_tokens": 8, "stop": 1, "seed": said["seed"]}
    assert said["seed_from"] == "service" and 0 <= said["seed"] < 2**32
    assert said["tokens"]["completion"] == body["usage"]["completion_tokens"]
    assert said["times_ms"]["first"] <= said["times_ms"]["took"]
    assert said["reasons"] == [body["choices"][0]["finish_reason"]]
    assert "patient" not in json.dumps(found) and "zzz" not in json.dumps(found)
    assert set(said["texts"]) == {"prompt", "answer", "options", "labels"} == set(found["salts"])
    events = {e["position"]: e["event"] for e in service.events() if e["request_id"] == found["id"]}
    assert {e["position"]: e["event"] for e in said["entries"]} == events


def test_the_seed_that_was_chosen_gives_the_same_answer(service: Service, key: str) -> None:
    first = chat(service, key, temperature=1, max_tokens=16)
    seed = receipt(service, first.headers["X-Intramural-Receipt"], key)["statement"]["seed"]
    again = chat(service, key, temperature=1, max_tokens=16, seed=seed)
    assert again.json()["choices"][0]["message"] == first.json()["choices"][0]["message"]


def test_a_receipt_is_checked_offline(service: Service, key: str, public_key: str, tmp_path: Path) -> None:
    answer = chat(service, key)
    found = receipt(service, answer.headers["X-Intramural-Receipt"], key)
    file, prompt, said = tmp_path / "receipt.json", tmp_path / "prompt.txt", tmp_path / "answer.txt"
    file.write_text(json.dumps(found), "utf-8")
    prompt.write_text("user: Say hello.", "utf-8")
    said.write_text(answer.json()["choices"][0]["message"]["content"], "utf-8")
    told = service.command(
        "audit", "verify-receipt", str(file), "--public-key", public_key, "--prompt", str(prompt), "--answer", str(said)
    )
    assert (told["ok"], told["id"], told["texts"]) == (True, found["id"], ["prompt", "answer"])
    alone = Standing.made(tmp_path)
    done = alone.run("receipt", file, "--key", public_key, "--prompt", prompt, "--answer", said)
    assert done.status == 0 and [each["outcome"] for each in done.checks].count("holds") == 3, done.text
    said.write_text("Something else.", "utf-8")
    other = service.command("audit", "verify-receipt", str(file), "--answer", str(said), check=False)
    assert other.returncode != 0 and "audit_evidence_wrong" in other.stderr


def forged(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The same receipt with one thing changed each."""
    asked, answered = found["entries"]
    record = answered["record"]
    return [
        {**found, "statement": {**found["statement"], "outcome": "failed"}},
        {**found, "signature": found["signature"].replace('"finished"', '"cancelled"')},
        {**found, "signature": found["checkpoint"]},
        {**found, "checkpoint": found["signature"]},
        {**found, "entries": [asked]},
        {**found, "entries": [answered, asked]},
        {**found, "entries": [asked, {**answered, "record": record.replace('"finished"', '"cancelled"')}]},
        {**found, "entries": [asked, {**answered, "position": answered["position"] + 1}]},
        {**found, "entries": [asked, {**answered, "proof": answered["proof"][1:]}]},
        {**found, "entries": [asked, {**answered, "proof": ["no base64"]}]},
        {"statement": 1},
    ]


def test_no_forged_receipt_passes(service: Service, key: str, public_key: str) -> None:
    from intramural.core.errors import Untrusted
    from intramural.services.receipts import verified

    one, other = (receipt(service, chat(service, key).headers["X-Intramural-Receipt"], key) for _ in range(2))
    assert verified(json.dumps(one).encode(), public_key, {}).statement == one["statement"]
    mixed = {**one, "entries": [one["entries"][0], other["entries"][1]]}
    for lie in [*forged(one), mixed, {**one, "signature": other["signature"]}]:
        with pytest.raises(Untrusted):
            verified(json.dumps(lie).encode(), public_key, {})
    with pytest.raises(Untrusted):
        verified(json.dumps({**one, "salts": {}}).encode(), public_key, {"prompt": "user: Say hello."})


def test_whose_it_is(service: Service, key: str, tmp_path: Path) -> None:
    body = {"username": "bob", "password": "another long password", "role": "member"}
    made = service.page("POST", "/people", json=body)
    assert made.status_code == 201, made.text
    bob = requests.Session()
    del body["role"]
    login = bob.post(f"{service.address}/intramural/v1/login", json=body, timeout=60)
    bob.headers["X-CSRF-Token"] = login.json()["csrf_token"]
    of_bob = bob.post(
        f"{service.address}/v1/chat/completions", json={"model": MODEL, "messages": ASK, "max_tokens": 4}, timeout=110
    ).headers["X-Intramural-Receipt"]
    of_ada = chat(service, key).headers["X-Intramural-Receipt"]
    assert bob.get(service.address + of_ada, timeout=60).status_code == 404
    assert bob.get(f"{service.address}/v1/receipts/req_nothing", timeout=60).status_code == 404
    mine = bob.get(service.address + of_bob, timeout=60).json()
    assert mine["salts"]
    theirs = service.session.get(service.address + of_bob, timeout=60).json()  # an administrator may read the log
    assert theirs["statement"] == mine["statement"] and "salts" not in theirs
    assert service.events(event="receipt.read")[0]["facts"] == {"of": made.json()["id"]}
    # a key for inference alone reads its person's receipts, not the log
    inference_only = requests.get(service.address + of_bob, headers={"Authorization": f"Bearer {key}"}, timeout=60)
    assert inference_only.status_code == 404


def test_streams_and_embeddings_have_receipts_too(service: Service, key: str) -> None:
    client: OpenAI = service.client(key)
    with client.chat.completions.with_streaming_response.create(
        model=MODEL, messages=ASK, max_tokens=4, stream=True
    ) as stream:
        path = stream.headers["X-Intramural-Receipt"]
        text = "".join(json.loads(line[6:])["choices"][0]["delta"].get("content") or ""
                       for line in stream.iter_lines() if line.startswith('data: {"id"'))  # fmt: skip
    found = receipt(service, path, key)
    salt = bytes.fromhex(found["salts"]["answer"])
    digest = hashlib.sha256(salt + text.encode()).hexdigest()
    assert found["statement"]["texts"]["answer"]["commitment"] == f"sha256:{digest}"
    vectors = client.embeddings.with_raw_response.create(model=MODEL, input="hello")
    embedded = receipt(service, vectors.headers["X-Intramural-Receipt"], key)["statement"]
    assert (embedded["operation"], embedded["outcome"]) == ("embedding", "finished")
    assert embedded["model"]["name"] == MODEL
