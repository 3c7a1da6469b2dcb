"""What is only needed later is not waited for at the start."""

import subprocess
import sys

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from intramural.http.page.routing import routes
from intramural.sandbox import child

#: Each takes between 30 and 600 ms to import, and is for a pull, a signature, a bill, a migration or the inspector.
LATER = (
    "alembic",
    "cyclonedx",
    "gguf",
    "httpx2",
    "huggingface_hub",
    "jinja2",
    "model_signing",
    "numpy",
    "onnxruntime",
    "tokenizers",
    "xllamacpp",
)
#: What the service is made of, and a command that asks it over its socket is not.
SERVICE = ("fastapi", "intramural.app", "pydantic", "sqlalchemy", "uvicorn")


@pytest.mark.parametrize(
    ("imported", "absent"),
    [
        ("intramural.cli.serve", LATER),
        ("intramural.cli.client", (*LATER, *SERVICE)),
    ],
    ids=["the service", "the command line"],
)
def test_what_is_imported_later(imported: str, absent: tuple[str, ...]) -> None:
    program = f"import sys, {imported}; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert set(found.stdout.split()).isdisjoint(absent)


@pytest.mark.parametrize("entry", ["serving.engine:serve", "serving.onnx:serve", "library.examination:inspect"])
def test_a_confined_process_has_what_it_runs_and_nothing_of_the_service(entry: str) -> None:
    """Every module there is memory, and something to break into."""
    program = (
        f"import sys, runpy; child = runpy.run_path({child.__file__!r}); child['_enter']('intramural.sandbox');"
        f"child['_imported']('intramural.{entry}'); print(*sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    modules = set(found.stdout.split())
    gateway = {"intramural.sandbox.spawn", "intramural.serving.pool", "intramural.library.library", "aiosqlite"}
    assert modules.isdisjoint({*SERVICE, *gateway}) and f"intramural.{entry.partition(':')[0]}" in modules


def test_a_route_looks_at_what_its_endpoint_wants_when_it_is_first_asked_for() -> None:
    api = routes("things", "/things")

    @api.get("/{name}", status_code=202)
    async def thing(name: str, count: int) -> list[str]:
        return [name] * count

    app = FastAPI()
    app.router.routes.extend(api.routes)
    (route,) = api.routes
    assert "dependant" not in vars(route)
    client = TestClient(app)
    assert client.get("/elsewhere").status_code == 404
    assert client.post("/intramural/v1/things/a").status_code == 405
    assert client.get("/intramural/v1/things/a?count=many").status_code == 422
    answer = client.get("/intramural/v1/things/a?count=2")
    assert (answer.status_code, answer.json()) == (202, ["a", "a"])
    assert "dependant" in vars(route)
    assert app.openapi()["paths"]["/intramural/v1/things/{name}"]["get"]["tags"] == ["things"]
    assert not hasattr(route, "no_such_thing")
