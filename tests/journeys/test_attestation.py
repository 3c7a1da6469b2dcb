"""An auditor asks for an account with a number of their own, and checks it elsewhere; what was lowered is red in it."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.service import Service, eventually

VERIFIER = Path(__file__).parents[2] / "verifier/verify_intramural.py"
NONCE = "3f0c5a1e9b7d2468"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, starter_wheel: Path) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("house") / "data", starter_wheel).running() as running:
        yield running


@pytest.fixture(scope="module")
def attested(house: Service, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that was asked for with a nonce on the command line, while a model is loaded."""
    file = tmp_path_factory.mktemp("auditor") / "attestation.json"
    done = house.command("attest", "--nonce", NONCE, "--out", str(file), "--page", str(file.with_suffix(".html")), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return file


@pytest.fixture(scope="module")
def keys(house: Service) -> list[str]:
    return house.command("audit", "key")["public_keys"]


def verified(command: str, file: Path, keys: list[str], *more: str) -> tuple[int, list[dict[str, Any]]]:
    """What the stand-alone verifier says, in a process of its own that has nothing of the service."""
    words = [word for key in keys for word in ("--key", key)]
    done = subprocess.run(
        [sys.executable, "-I", str(VERIFIER), command, str(file), *words, *more, "--json"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = json.loads(done.stdout)
    return said["status"], said["checks"]


def colours(whole: dict[str, Any]) -> dict[str, str]:
    return {each["code"]: each["colour"] for each in whole["statement"]["findings"]}


def test_an_auditor_checks_it_elsewhere(attested: Path, keys: list[str]) -> None:
    status, checks = verified("attestation", attested, keys, "--nonce", NONCE, "--max-age", "1")
    assert status == 0, checks
    held = [each["check"] for each in checks if each["outcome"] == "holds"]
    assert held == ["attestation", "checkpoint", "entry", "sections", "nonce", "age"]
    assert verified("statement", attested, keys, "--kind", "attestation")[0] == 0
    assert verified("attestation", attested, keys, "--nonce", "another")[0] == 1
    assert verified("attestation", attested, keys, "--max-age", "0")[0] == 1


def test_what_it_says_of_a_service_that_is_as_it_should_be(attested: Path, house: Service) -> None:
    whole = json.loads(attested.read_bytes())
    print(json.dumps(whole["statement"], indent=1))
    found = colours(whole)
    for code in ("confinement", "processes", "seal", "networks", "sockets", "control", "listening", "mode", "ledger"):
        assert found[code] == "green", whole["statement"]["findings"]
