"""What is only needed later is not waited for at the start."""

import subprocess
import sys

import pytest

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
