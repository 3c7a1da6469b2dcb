"""Services for the journeys: one per test process, or one of a test's own."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI
from tests.service import Service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, starter_wheel: Path) -> Iterator[Service]:
    """A service with its first administrator, shared by the tests of one process."""
    with Service(tmp_path_factory.mktemp("house") / "data", starter_wheel).running() as running:
        yield running


@pytest.fixture
def fresh(tmp_path: Path, starter_wheel: Path) -> Iterator[Service]:
    """A service of the test's own, not yet started, stopped at the end if it still runs."""
    mine = Service(tmp_path / "data", starter_wheel)
    yield mine
    if mine.process is not None and mine.process.poll() is None:
        mine.stop(signal.SIGKILL)


@pytest.fixture(scope="session")
def client(service: Service) -> OpenAI:
    """The official client with a key of its own."""
    return service.client()
