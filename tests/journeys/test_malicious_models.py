"""Malicious models on their whole way: brought, inspected, asked for, loaded by the real engine if it comes to that.

One service for all of them, which answers a chat of an honest model before, while and after each is dealt with.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.families.families import llama
from tests.families.tiny import CHATML, Tensors, write
from tests.library.test_template import HARMFUL
from tests.malicious import CASES, SHORT, Case, honest, templated
from tests.service import MODEL, Service, eventually

#: A worker that is not ready after so long is ended.
_START_S = 10
_ENDLESS = "{% for a in range(100000) %}" * 3 + "x" + "{% endfor %}" * 3


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which people put what they bring."""
    return tmp_path_factory.mktemp("brought")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, starter_wheel: Path, brought: Path) -> Iterator[Service]:
    settings = {
        "INTRAMURAL_SANDBOX_READ_FOLDERS": str(brought),
        "INTRAMURAL_SERVING_START_TIMEOUT_S": str(_START_S),
        "INTRAMURAL_SERVING_CONTEXT_TOKENS": "512",
        "INTRAMURAL_SERVING_SLOTS": "2",
    }
    with Service(tmp_path_factory.mktemp("house") / "data", starter_wheel, settings).running() as running:
        yield running


@pytest.fixture(scope="module")
def key(service: Service) -> dict[str, str]:
    return {"Authorization": f"Bearer {service.new_key(scopes=['inference', 'admin'])}"}


def ask(service: Service, key: dict[str, str], model: str = MODEL) -> requests.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    return requests.post(f"{service.address}/v1/chat/completions", headers=key, json=body, timeout=100)


@pytest.fixture(autouse=True)
def _answers_before_and_after(service: Service, key: dict[str, str]) -> Iterator[None]:
    assert ask(service, key).status_code == 200
    yield
    service.page("DELETE", "/models/hostile")
    assert ask(service, key).status_code == 200
    assert service.process is not None and service.process.poll() is None


def begin(service: Service, path: Path, name: str | None = None) -> dict[str, Any]:
    answer = service.page("POST", "/pulls", json={"source": f"file:{path}", "name": name})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def end(service: Service, pull: dict[str, Any]) -> dict[str, Any]:
    def over() -> dict[str, Any] | None:
        listed = service.page("GET", "/pulls").json()["pulls"]
        now = next(each for each in listed if each["id"] == pull["id"])
        return now if now["state"] != "running" else None

    return eventually(over)


def put(folder: Path, case: Case) -> Path:
    """Its files, in a folder of their own; the path that somebody would name."""
    home = folder / hashlib.sha256(case.name.encode()).hexdigest()[:12]
    home.mkdir()
    files = case.files()
    for name, body in files.items():
        (home / name).write_bytes(body)
    (first, *more) = files
    return home if more else home / first


def events_of(service: Service, pull: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in service.events() if each["facts"].get("pull") == pull["id"]]


@pytest.mark.parametrize(
    "case", [pytest.param(c, id=c.name, marks=() if c.name in SHORT else pytest.mark.slow) for c in CASES]
)
def test_is_refused_or_held_back(case: Case, service: Service, key: dict[str, str], brought: Path) -> None:
    pull = begin(service, put(brought, case), "hostile")
    assert ask(service, key).status_code == 200, "meanwhile"
    ended = end(service, pull)
    newest = events_of(service, pull)[0]
    if case.outcome == "refused":
        assert (ended["state"], newest["event"], newest["outcome"]) == ("refused", "model.refused", "refused")
        assert ended["code"] in case.codes
        assert newest["facts"]["code"] == ended["code"]
        assert ended["message"] and ended["hint"]
        assert service.page("POST", "/models/hostile/load").status_code == 404, "nothing of it was kept"
        return
    assert (ended["state"], newest["event"]) == ("quarantined", "model.quarantined")
    assert set(case.codes) & set(newest["facts"]["findings"])
    refused_to_load(service, key)


def refused_to_load(service: Service, key: dict[str, str]) -> None:
    for answer in (service.page("POST", "/models/hostile/load"), ask(service, key, "hostile")):
        assert answer.status_code == 403, answer.text
        assert answer.json()["error"]["code"] == "model_quarantined"
        assert "intramural release" in answer.text
    assert service.events(event="model.load_refused")[0]["facts"]["code"] == "model_quarantined"
    answer = service.page("POST", "/models/hostile/release", json={"reason": " "})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "release_without_reason")
    assert service.page("POST", "/models/hostile/load").status_code == 403


def test_the_same_is_said_to_the_command_line(service: Service, brought: Path) -> None:
    home = brought / "command"
    home.mkdir()
    (home / "cut.gguf").write_bytes(honest()[:-1])
    refused = service.command("pull", f"file:{home}/cut.gguf", "--name", "hostile", check=False)
    assert refused.returncode != 0
    assert "gguf_tensor_range" in refused.stdout + refused.stderr
    (home / "odd.gguf").write_bytes(templated("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}"))
    held = service.command("pull", f"file:{home}/odd.gguf", "--name", "hostile", check=False)
    assert held.returncode == 0 and "quarantined" in held.stdout + held.stderr


def test_the_same_is_said_of_an_upload(service: Service, key: dict[str, str]) -> None:
    def sent(body: bytes) -> str:
        digest = "sha256:" + hashlib.sha256(body).hexdigest()
        answer = requests.post(f"{service.address}/api/blobs/{digest}", headers=key, data=body, timeout=60)
        assert answer.status_code == 201, answer.text
        return digest

    def made(files: dict[str, str]) -> requests.Response:
        body = {"model": "hostile", "files": files, "stream": False}
        return requests.post(f"{service.address}/api/create", headers=key, json=body, timeout=60)

    bad = made({"model.gguf": sent(honest() + b"PK\x03\x04")})
    assert (bad.status_code, bad.json()["code"]) == (400, "gguf_trailing_bytes"), bad.text
    held = made({"model.gguf": sent(templated("{{ 'see http://10.1.2.3/' }}"))})
    assert held.status_code == 403 and "quarantined" in held.text, held.text
    refused_to_load(service, key)
    assert service.page("DELETE", "/models/hostile").status_code == 204
    digest = sent(honest())
    for name in ("../../x.gguf", "/etc/x.gguf", "a\x00.gguf", "a=b.gguf"):
        answer = made({name: digest})
        assert answer.status_code in (400, 503), name
        assert answer.json()["code"] in ("bad_source", "bad_file_name"), answer.text


def test_what_is_no_file_is_not_opened(service: Service, brought: Path) -> None:
    """A pipe would be waited for without end, and a device or link lead elsewhere."""
    home = brought / "no-files"
    home.mkdir()
    os.mkfifo(home / "pipe.gguf")
    (home / "zero.gguf").symlink_to("/dev/zero")
    (home / "away.gguf").symlink_to("/etc/passwd")
    for name in ("pipe.gguf", "zero.gguf", "away.gguf", "absent.gguf"):
        ended = end(service, begin(service, home / name, "hostile"))
        assert (ended["state"], ended["code"]) == ("refused", "file_not_readable"), name


# what inspection cannot tell ------------------------------------------------------------------------------------------


def crooked(made: Tensors) -> None:
    """Attention of another width than the model's."""
    llama(made)
    made.tensors = [(n, (32, 32) if "attn_q." in n else shape, fill) for n, shape, fill in made.tensors]


@dataclass(frozen=True)
class Loaded:
    """A model that an engine gets to see, because nothing was found or an administrator released it. `codes`: of the
    errors that may come of it; none: it answers."""

    name: str
    make: Callable[[Path], object]
    codes: frozenset[str]


def of(family: Callable[[Tensors], None], template: str = CHATML) -> Callable[[Path], object]:
    return lambda path: write(path, "llama", family, template=template)


def harmful(name: str) -> str:
    return next(template for each, _, template in HARMFUL if each == name)


_NOT_STARTED = frozenset({"worker_start_failed"})
_NOT_IN_TIME = frozenset({"worker_start_timeout", "worker_start_failed"})
#: The engine renders a template while it starts.
LOADED = [
    Loaded("none of the weights that an engine needs", lambda path: path.write_bytes(honest()), _NOT_STARTED),
    Loaded("weights of another shape", of(crooked), _NOT_STARTED),
    Loaded("a template without an end", of(llama, _ENDLESS), _NOT_IN_TIME),
]
#: As the last one: each takes the whole time.
FURTHER = [
    Loaded("a template that doubles a text", of(llama, harmful("doubling")), _NOT_IN_TIME),
    Loaded("a template that repeats a text", of(llama, harmful("a long text")), _NOT_IN_TIME),
]


@pytest.mark.parametrize(
    "loaded",
    [
        *(pytest.param(each, id=each.name) for each in LOADED),
        *(pytest.param(each, id=each.name, marks=pytest.mark.slow) for each in FURTHER),
    ],
)
def test_what_comes_as_far_as_an_engine_ends_there(
    loaded: Loaded, service: Service, key: dict[str, str], brought: Path
) -> None:
    path = brought / f"{hashlib.sha256(loaded.name.encode()).hexdigest()[:12]}.gguf"
    loaded.make(path)
    released(service, path)
    asked: list[requests.Response] = []
    asking = threading.Thread(target=lambda: asked.append(ask(service, key, "hostile")))
    asking.start()
    assert ask(service, key).status_code == 200, "meanwhile"
    asking.join()
    (answer,) = asked
    assert answer.status_code == 502, answer.text
    assert answer.json()["error"]["code"] in loaded.codes
    assert answer.json()["error"]["message"]


def released(service: Service, path: Path) -> None:
    """On the shelf, and let out of quarantine if it was put there."""
    ended = end(service, begin(service, path, "hostile"))
    if ended["state"] == "quarantined":
        answer = service.page("POST", "/models/hostile/release", json={"reason": "to see what comes of it"})
        assert answer.status_code == 200, answer.text
    else:
        assert ended["state"] == "shelved", ended


def test_a_model_that_crashes_three_times_is_held_back(service: Service, key: dict[str, str], brought: Path) -> None:
    """The real engine, ended by a template that calls itself."""
    path = brought / "crashes.gguf"
    write(path, "llama", llama, template=harmful("self-calling macro"))
    released(service, path)
    for _ in range(3):
        answer = ask(service, key, "hostile")
        assert answer.json()["error"]["code"] == "worker_start_failed", answer.text
        assert ask(service, key).status_code == 200, "meanwhile"
    refused_to_load(service, key)
    (facts,) = [each["facts"] for each in service.events(event="model.crashed")]
    assert (facts["crashes"], facts["how"]) == (3, "SIGSEGV")
    listed = service.page("GET", "/models").json()["models"]
    (shown,) = [each for each in listed if each["name"] == "hostile"]
    assert (shown["released"], shown["quarantine"][-1]["code"]) == (None, "worker_crashes")
    assert "SIGSEGV" in shown["quarantine"][-1]["message"]
    service.command("release", "hostile", "--reason", "to see it crash again")
    assert ask(service, key, "hostile").json()["error"]["code"] == "worker_start_failed", "it is started again"
