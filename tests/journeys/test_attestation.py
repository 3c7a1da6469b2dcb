"""An auditor asks for an account with a number of their own, and checks it elsewhere; what was lowered is red in it.

One service for all of it: first as it should be, then started again with less.
"""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests import databases
from tests.journeys.test_page import pass_in_chromium
from tests.service import ADMIN, Service
from tests.verifier.standing import FILE, loaded

from intramural.core.quiet import SWITCHES

_NET_ADMIN = 12  # of capabilities(7)
NONCE = "3f0c5a1e9b7d2468"
#: Places at which the file is changed, besides a few chosen ones: each is checked whole.
FLIPS = 60
#: What is green in a service that is as it should be, whatever machine it is on. (Whether it runs as a user of its own,
#: and what else this user runs, is the machine's.)
HOLD = {
    "confinement", "processes", "seal", "networks", "sockets", "control", "listening", "connections", "mode", "allowed",
    "ledger", "itself", "telemetry", "engines", "models", "settings", "log",
}  # fmt: skip
#: What cannot be green where the database is a server, which the service itself connects to.
ELSEWHERE = {"itself"} if databases.SERVER else set()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, starter_wheel: Path) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("house") / "data", starter_wheel).running() as running:
        yield running


@pytest.fixture(scope="module")
def keys(house: Service) -> list[str]:
    return list(house.command("audit", "key").values())


@pytest.fixture(scope="module")
def attested(house: Service, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that was asked for on the command line, while a model is loaded: the signed file, and the page beside it."""
    file = tmp_path_factory.mktemp("auditor") / "attestation.json"
    words = ("--nonce", NONCE, "--out", str(file), "--page", str(file.with_suffix(".html")))
    done = house.command("attest", *words, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return file


def verified(command: str, file: Path, keys: list[str], *more: str) -> tuple[int, list[dict[str, Any]]]:
    """What the stand-alone verifier says, in a process of its own."""
    words = [word for key in keys for word in ("--key", key)]
    done = subprocess.run(
        [sys.executable, "-I", str(FILE), command, str(file), *words, *more, "--json"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = json.loads(done.stdout)
    return said["status"], said["checks"]


def findings(whole: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {each["code"]: (each["colour"], each["says"]) for each in whole["statement"]["findings"]}


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
    found = findings(whole)
    assert {code: found[code] for code in HOLD - ELSEWHERE if found[code][0] != "green"} == {}
    assert all(found[code][0] == "amber" and "storage.url" in found[code][1] for code in ELSEWHERE)
    assert found["software"][0] in ("green", "amber"), found["software"]  # this environment is one for developing
    processes = whole["sections"]["confinement"]["processes"]
    assert {"gateway", "spawner", "broker", "worker"} <= {each["kind"] for each in processes}
    worker = next(each for each in processes if each["kind"] == "worker")
    gateway = next(each for each in processes if each["kind"] == "gateway")
    assert gateway["pid"] == house.pid and worker["network"]["place"] != gateway["network"]["place"]
    assert {each["kind"]: each["unset"] for each in processes if each["unset"]} == {}
    assert whole["sections"]["leaving"]["switches"] == dict(SWITCHES)
    may_know = _effective() >> _NET_ADMIN & 1
    assert ("read_ms" in whole["sections"]["network"]["packet_filter"]) == may_know, "it is asked before the seal"
    assert found["firewall"][1].startswith("Not answered") != may_know
    control = whole["sections"]["control"]["control"]
    assert {each["outcome"] for each in control["confined"]["attempts"]} == {"EPERM"}
    assert (control["confined"]["arrived"], control["allowed"]["arrived"]) == (False, True)
    spaces = {each["place"]: each for each in whole["sections"]["network"]["namespaces"]}
    assert spaces[worker["network"]["place"]]["listed"] == []
    listening = [each["socket"]["local_port"] for each in spaces[gateway["network"]["place"]]["listed"]
                 if each["owner"] == "service" and each["socket"]["state"] == "listening"]  # fmt: skip
    assert f"127.0.0.1:{listening[0]}" == control["address"] and len(listening) == 1
    assert whole["sections"]["bill"]["bomFormat"] == "CycloneDX"
    assert [each["event"] for each in house.command("audit", "ls", "--event", "attestation.made")] == [
        "attestation.made"
    ]
    assert "ada" not in json.dumps(whole["sections"]["leaving"])


def _effective() -> int:
    """The capabilities of this process, with which the service is started."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))


def test_no_change_of_the_file_is_passed_over(attested: Path, keys: list[str]) -> None:
    """Anywhere: in what is signed, in what hangs on it by a hash, and in the spelling of both."""
    verifier = loaded()
    data = attested.read_bytes()
    trust = verifier.Trust(tuple(sorted(map(verifier.Key.parse, keys), key=lambda key: key.type)))
    assert refused(verifier, trust, data) is None
    chance = random.Random(20)
    for at in (0, 1, len(data) - 1, *(chance.randrange(len(data)) for _ in range(FLIPS))):
        changed = data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        assert refused(verifier, trust, changed), (at, data[max(0, at - 30) : at + 30])
    whole = json.loads(data)
    for cut in (whole | {"more": 1}, {k: v for k, v in whole.items() if k != "recorded"}):
        assert refused(verifier, trust, verifier.canonical(cut).encode() + b"\n")
    assert refused(verifier, trust, json.dumps(whole).encode())


def refused(verifier: ModuleType, trust: Any, data: bytes) -> str | None:
    """Why the verifier does; None: it does not."""
    try:
        verifier.check_attestation(data, trust, verifier.Report(), None, None, 0)
    except verifier.Wrong as error:
        return str(error)
    return None


def test_a_section_may_be_left_out_and_that_is_said(attested: Path, keys: list[str], tmp_path: Path) -> None:
    verifier, whole = loaded(), json.loads(attested.read_bytes())
    del whole["sections"]["leaving"]
    part = tmp_path / "part.json"
    part.write_text(verifier.canonical(whole) + "\n")
    status, checks = verified("attestation", part, keys)
    assert status == 3
    assert [each["says"] for each in checks if each["outcome"] == "not checked"] == [
        "The section 'leaving' was left out of this copy."
    ]


def test_the_page_needs_nothing_from_anywhere(attested: Path, house: Service) -> None:
    text = attested.with_suffix(".html").read_text()
    assert "<script" not in text and "http://" not in text and "https://" not in text and " src=" not in text
    assert text.index("What needs attention") < text.index("What holds") < text.index("What it was made from")
    report_id = json.loads(attested.read_bytes())["statement"]["id"]
    answer = house.page("GET", f"/attestations/{report_id}/page")
    assert answer.text == text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert house.page("GET", f"/attestations/{report_id}").content == attested.read_bytes()


@pytest.mark.timeout(600)
def test_in_chromium(house: Service, attested: Path) -> None:
    assert attested.exists()
    name, password = ADMIN
    pass_in_chromium("attestation", {"ATTEST_URL": house.address, "ATTEST_USER": name, "ATTEST_PASSWORD": password})


def test_what_was_lowered_is_red_in_the_next(house: Service, keys: list[str], tmp_path: Path) -> None:
    """Last here: the service is started again, without Landlock around itself, and sealed toward the network."""
    house.stop()
    house.settings |= {"INTRAMURAL_SANDBOX_SEAL": "no-landlock", "INTRAMURAL_EGRESS_MODE": "sealed"}
    house.start()
    file = tmp_path / "lowered.json"
    done = house.command("attest", "--out", str(file), check=False)
    assert done.returncode == 1, done.stderr
    status, checks = verified("attestation", file, keys)
    told = {each["check"]: each["colour"] for each in checks if each["outcome"] == "told"}
    assert (status, told["seal"]) == (0, "red")
    whole = json.loads(file.read_bytes())
    assert whole["statement"]["colour"] == "red" and "no-landlock" in findings(whole)["seal"][1]
    # Nothing may connect now, so half of the control cannot be made; that is said.
    assert "not_seen" in whole["sections"]["control"]["control"]["allowed"]
    assert told["control"] == "amber" and told["mode"] == "green"
    kept = house.command("attest", "list")
    assert kept[0]["colour"] == "red" and kept[-1]["nonce"] == NONCE
