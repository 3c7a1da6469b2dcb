"""An administrator puts a real llama-server behind the service: people use its model as any other."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import requests
from openai import APIError, APIStatusError, BadRequestError
from tests.fakes.llama_server import KEY, LlamaServer, llama_server
from tests.fakes.remote_engine import Engine
from tests.fakes.web import serving
from tests.service import ENDLESS, Service
from tests.serving.conftest import weights as weights  # a fixture

NAME = "starter:elsewhere"
ASK: Any = [{"role": "user", "content": "Say hello."}]


def toml(server: LlamaServer, key_file: Path) -> str:
    return f"""
[lab]
kind = "llama-server"
address = "{server.url}/v1"
slots = 2
context_tokens = 512
api_key_file = "{key_file}"

[lab.models]
"{NAME}" = "starter"
"""


def house(service: Service, text: str) -> None:
    service.settings["INTRAMURAL_LIBRARY_STARTER"] = ""
    service.settings["INTRAMURAL_SANDBOX_OLDER_ENGINES"] = "lab"  # built by a package, it says that it is build 0
    service.data_dir.mkdir(exist_ok=True)
    (service.data_dir / "engines.toml").write_text(text)


async def test_a_llama_server_that_does_not_say_its_build_is_not_asked(fresh: Service) -> None:
    engine = Engine(build_info="b0-unknown")
    table = '[lab]\nkind = "llama-server"\naddress = "{}"\ncontext_tokens = 512\nmodels = {{ a = "theirs" }}\n'
    async with serving(engine) as server:
        house(fresh, table.format(server.url))
        del fresh.settings["INTRAMURAL_SANDBOX_OLDER_ENGINES"]
        fresh.start()
        fresh.set_up()
        answer = await asyncio.to_thread(fresh.page, "POST", "/models/a/load")
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "engine_build_unknown"), answer.text
        assert "sandbox.older_engines" in answer.text
        (started,) = fresh.events(event="service.started")
        assert started["facts"]["engine_build"] >= started["facts"]["engine_floor"]
        assert fresh.events(event="engines.older_allowed") == []
        shown = fresh.page("GET", "/machine").json()["engine"]
        assert (shown["refused"], shown["open_flaws"], shown["build"]) == (None, [], started["facts"]["engine_build"])
        fresh.stop()
    assert engine.asked == []


async def test_a_model_elsewhere_is_listed_asked_metered_and_receipted(fresh: Service, weights: Path) -> None:
    key_file = fresh.data_dir.parent / "lab.key"
    key_file.write_text(KEY + "\n")
    key_file.chmod(0o600)
    async with llama_server(weights) as server:
        house(fresh, toml(server, key_file))
        fresh.start()
        fresh.set_up()
        await asyncio.to_thread(_walk, fresh, server)
        await asyncio.to_thread(_killed, fresh, server)
        fresh.stop()
        assert KEY not in (fresh.data_dir.parent / "service.log").read_text()
        (fresh.data_dir / "engines.toml").unlink()
        fresh.start()
        fresh.sign_in()
        assert [each["event"] for each in fresh.events() if each["event"].startswith("engine.")] == [
            "engine.removed", "engine.added",
        ]  # fmt: skip
        assert fresh.page("GET", "/models").json()["models"] == []
        fresh.stop()


def _walk(service: Service, server: LlamaServer) -> None:
    key = service.new_key()
    client = service.client(key)
    assert [model.id for model in client.models.list()] == [NAME]
    answer = client.chat.completions.with_raw_response.create(model=NAME, messages=ASK, max_tokens=8)
    said = answer.parse()
    assert said.choices[0].message.content
    assert said.usage is not None
    assert said.usage.completion_tokens <= 8
    stream = client.chat.completions.create(model=NAME, messages=ASK, max_tokens=8, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    with pytest.raises(BadRequestError) as caught:
        client.chat.completions.create(model=NAME, messages=ASK, extra_body={"deterministic": True, "seed": 1})
    assert caught.value.code == "engine_cannot"

    (model,) = service.page("GET", "/models").json()["models"]
    assert (model["name"], model["digest"], model["files"], model["state"]) == (NAME, "", [], "ready")
    assert model["engine"] == f"llama-server at {server.url}"
    assert (model["worker"]["planned_bytes"], model["worker"]["pid"]) == (0, None)
    assert model["worker"]["layers"] == ["remote, not confined by us"]
    refused = service.page("DELETE", f"/models/{NAME}")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "model_is_elsewhere")

    events = service.events()
    (added,) = [each for each in events if each["event"] == "engine.added"]
    (older,) = [each for each in events if each["event"] == "engines.older_allowed"]
    assert older["facts"]["value"] == "lab", "a downgrade is in the log"
    assert added["target"] == "engine:lab"
    assert added["facts"]["address"] == server.url
    assert KEY not in json.dumps(events)
    asked = next(each for each in events if each["event"] == "chat.asked")
    path = f"{service.address}/v1/receipts/{asked['request_id']}"
    receipt = requests.get(path, headers={"Authorization": f"Bearer {key}"}, timeout=60).json()
    about = receipt["statement"]["model"]
    assert (about["name"], about["digest"], about["theirs"]) == (NAME, None, "starter")
    assert about["confinement"] == "remote, not confined by us"
    assert receipt["statement"]["engine"] == f"llama-server at {server.url}"
    assert [json.loads(entry["record"])["facts"]["weights"] for entry in receipt["entries"]] == [None, None]

    table = service.command("ps")
    assert "not confined by us" in json.dumps(table)
    assert NAME in json.dumps(service.command("ls"))


def _killed(service: Service, server: LlamaServer) -> None:
    """The engine is killed in mid-answer: that is said, the next are told when to come again, and nothing crashed."""
    client = service.client()
    stream = client.chat.completions.create(model=NAME, messages=ASK, max_tokens=400, stream=True, extra_body=ENDLESS)
    with pytest.raises(APIError) as caught:
        for number, _ in enumerate(stream):
            if number == 3:
                server.process.kill()
    assert caught.value.code == "worker_died"
    codes = set()
    for _ in range(4):
        with pytest.raises(APIStatusError) as refused:
            client.chat.completions.create(model=NAME, messages=ASK, max_tokens=8)
        codes.add(refused.value.code)
        assert refused.value.status_code == 503
        assert refused.value.response.headers["Retry-After"]
    assert codes <= {"engine_unreachable", "engine_paused"}
    (model,) = service.page("GET", "/models").json()["models"]
    assert model["state"] == "resting"
    key = service.new_key(scopes=["metrics"])
    metrics = requests.get(f"{service.address}/metrics", headers={"Authorization": f"Bearer {key}"}, timeout=10).text
    assert f'intramural_workers{{model="{NAME}",state="resting"}} 1' in metrics


def test_a_file_that_is_wrong_stops_the_start_and_names_the_line(fresh: Service) -> None:
    house(
        fresh, '[lab]\nkind = "llama-server"\naddress = "http://10.1.2.3"\ncontext_tokens = 512\nmodels = {a = "b"}\n'
    )
    done = fresh.command("doctor", check=False)
    assert done.returncode != 0
    assert "line 3: http sends what people ask unencrypted" in " ".join(done.stderr.split())


def test_models_elsewhere_are_not_served_where_more_must_be_known_of_models(fresh: Service) -> None:
    house(fresh, '[lab]\nkind = "vllm"\naddress = "http://127.0.0.1:9"\ncontext_tokens = 512\nmodels = {a = "b"}\n')
    fresh.settings["INTRAMURAL_LIBRARY_REQUIRED_TRUST"] = "signed"
    done = fresh.command("ls", check=False)
    assert done.returncode != 0
    assert "bad_engine" in done.stderr
