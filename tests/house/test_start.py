"""What is only needed later is not waited for at the start."""

import subprocess
import sys

import pytest

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
        ("intramural.serving.engine", SERVICE),  # every module of a worker is memory, and something to break into
    ],
    ids=["the service", "the command line", "a worker"],
)
def test_what_is_imported_later(imported: str, absent: tuple[str, ...]) -> None:
    program = f"import sys, {imported}; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert set(found.stdout.split()).isdisjoint(absent)
