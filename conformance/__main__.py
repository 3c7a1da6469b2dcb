"""`make conformance`: start a service, try every dialect, write `docs/conformance.md`.

Arguments name dialects: then only those are tried, and what was found is printed instead of written.
"""

import importlib.metadata
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.conftest import STARTER_WHEEL
from tests.service import MODEL, Service

from conformance import anthropic_cases, models, ollama_cases, openai_cases, report
from conformance.dialect import Dialect
from conformance.door import Door
from conformance.judge import Result

_DOCUMENT = Path(__file__).parent.parent / "docs/conformance.md"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        starter = Path(os.environ["INTRAMURAL_TEST_WHEELS"]) / STARTER_WHEEL
        with Service(Path(folder) / "data", starter).running() as service:
            models.shelve(service, starter, Path(folder))
            results = _all(service, sys.argv[1:])
    packages = {name: name.lower() for name in ("OpenAI", "Anthropic", "Ollama")}
    versions = {name: f"{package} {importlib.metadata.version(package)}" for name, package in packages.items()}
    page = report.page(results, versions)
    if sys.argv[1:]:
        print(page)
    else:
        _DOCUMENT.write_text(page, "utf-8")
    for dialect in dict.fromkeys(result.dialect for result in results):
        print(dialect, dict(Counter(result.verdict for result in results if result.dialect == dialect)))


def _all(service: Service, wanted: list[str]) -> list[Result]:
    results: list[Result] = []
    for dialect in _dialects(service):
        if not wanted or dialect.name.lower() in wanted:
            began = time.monotonic()
            results += dialect.run()
            print(f"{dialect.name}: {time.monotonic() - began:.0f} s", flush=True)
    return results


def _dialects(service: Service) -> list[Dialect]:
    key = service.new_key(scopes=["inference", "chats", "admin"])
    door = Door(service.address, {"authorization": f"Bearer {key}"})
    made = openai_cases.Made(door, MODEL)
    return [
        openai_cases.dialect(service.address, key, MODEL, models.EMBEDDER, made.file(), made),
        anthropic_cases.dialect(service.address, key, MODEL),
        ollama_cases.dialect(service.address, key, MODEL, models.EMBEDDER),
    ]


if __name__ == "__main__":
    main()
