"""Clients as their users have them: installed from a lock of their own, unmodified, told one address and one key."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.clients.environments import CACHE, ROOT, claimed, digest, environment, install
from tests.service import MODEL, Service

HERE = Path(__file__).parent
_TIMEOUT_S = 110
_SUITE_TIMEOUT_S = 1500

#: Runs a client's program and returns what it printed, parsed.
Run = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, starter_wheel: Path) -> Iterator[Service]:
    """A service with its first administrator, shared by the clients of one process."""
    with Service(tmp_path_factory.mktemp("house") / "data", starter_wheel).running() as running:
        yield running


@pytest.fixture(scope="session")
def told(service: Service) -> dict[str, str]:
    """All that a client is told."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(CACHE),  # some keep a database of theirs in the home directory
        "INTRAMURAL_ADDRESS": service.address,
        "INTRAMURAL_KEY": service.new_key(),
        "INTRAMURAL_MODEL": MODEL,
        "NO_PROXY": "*",
    }


@pytest.fixture
def python(told: dict[str, str]) -> Run:
    """Runs `programs/with_NAME.py` with what `locks/clients/NAME.txt` pins."""

    def run(name: str) -> dict[str, Any]:
        interpreter = environment(name) / "bin/python"
        return printed([str(interpreter), str(HERE / f"programs/with_{name.replace('-', '_')}.py")], told)

    return run


@pytest.fixture
def langchain_suite(told: dict[str, str]) -> Run:
    """Runs a class of LangChain's own tests (`programs/suite_langchain.py`)."""

    def run(name: str) -> dict[str, Any]:
        interpreter = environment("langchain-tests") / "bin/python"
        return printed([str(interpreter), str(HERE / "programs/suite_langchain.py"), name], told, _SUITE_TIMEOUT_S)

    return run


@pytest.fixture
def node(told: dict[str, str]) -> Run:
    """Runs `node/NAME.mjs` with what `node/package-lock.json` pins."""

    def run(name: str) -> dict[str, Any]:
        folder = _node_modules()
        program = folder / f"{name}.mjs"
        program.write_bytes((HERE / f"node/{name}.mjs").read_bytes())
        return printed([str(ROOT / "scripts/with-node"), "node", str(program)], told)

    return run


def printed(command: list[str], environ: dict[str, str], timeout_s: int = _TIMEOUT_S) -> dict[str, Any]:
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    printed: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return printed


def _node_modules() -> Path:
    lock = HERE / "node/package-lock.json"
    folder = CACHE / f"node-{digest(lock)}"
    with claimed("node"):
        if not (folder / ".complete").exists():
            folder.mkdir(parents=True, exist_ok=True)
            for each in ("package.json", "package-lock.json"):
                (folder / each).write_bytes((HERE / "node" / each).read_bytes())
            install(str(ROOT / "scripts/with-node"), "npm", "ci", "--silent", "--prefix", str(folder))
            (folder / ".complete").touch()
    return folder
