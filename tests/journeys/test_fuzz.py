"""Every route of the OpenAPI document, fuzzed: with a session and without, and never a 5xx."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.service import Service

#: Seconds each run may take: whoever is nobody is turned away at every door alike. `make soak` runs for longer.
BUDGETS_S = {"stranger": 8, "administrator": 20}
SOAK_S = 200


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory, starter_wheel: Path) -> Iterator[Service]:
    """A service whose answers are short, so that time goes into requests."""
    settings = {"INTRAMURAL_SERVING_CONTEXT_TOKENS": "256"}
    with Service(tmp_path_factory.mktemp("fuzz") / "data", starter_wheel, settings).running() as service:
        yield service


#: What can end the session that the other requests ride on: these come last.
ENDS_SESSIONS = r"/(logout|me/password|me/sessions/\{session_id\}|people/\{person_id\})$"

#: Answered with a 501 whatever is asked (`test_retrieval.py`, `test_responses*.py`).
NOT_OFFERED = r"^/v1/(moderations|responses/compact)$"

#: Reads everything that is installed, for seconds: a few of these would be the whole run (`test_attestation.py`).
LONG = r"/attestations$"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("who", ["stranger", "administrator"])
def test_no_server_error(fuzzed: Service, tmp_path: Path, who: str) -> None:
    _fuzz(fuzzed, tmp_path, who, BUDGETS_S[who], "--exclude-path-regex", f"{ENDS_SESSIONS}|{NOT_OFFERED}|{LONG}")
    assert fuzzed.page("GET", "/me").status_code == 200, "the session did not outlive the run: it tested nothing"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_server_error_for_long(fuzzed: Service, tmp_path: Path) -> None:
    _fuzz(fuzzed, tmp_path, "administrator", SOAK_S, "--exclude-path-regex", f"{ENDS_SESSIONS}|{NOT_OFFERED}")
    assert fuzzed.page("GET", "/me").status_code == 200, "the session did not outlive the run: it tested nothing"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("who", ["stranger", "administrator"])
def test_no_server_error_where_sessions_end(fuzzed: Service, tmp_path: Path, who: str) -> None:
    _fuzz(fuzzed, tmp_path, who, BUDGETS_S[who] // 4, "--include-path-regex", ENDS_SESSIONS)


def _fuzz(fuzzed: Service, folder: Path, who: str, budget_s: int, *which: str) -> None:
    document = folder / "openapi.json"
    document.write_bytes(fuzzed.page("GET", "/openapi.json").content)
    command = [
        *(str(Path(sys.executable).parent / "schemathesis"), "run", str(document)),
        *("--url", fuzzed.address, "--checks", "not_a_server_error", "--phases", "coverage,fuzzing"),
        # one worker: Python 3.11's parser counts its depth across threads, and the tool parses its own sources
        *("--max-time", str(budget_s), "--max-examples", "15", "--workers", "1", "--request-timeout", "60"),
        *("--suppress-health-check", "all", "--warnings", "off", "--seed", "1", "--no-shrink", *which),
    ]
    if who == "administrator":
        cookie = "; ".join(f"{c.name}={c.value}" for c in fuzzed.session.cookies)
        command += ["-H", f"Cookie: {cookie}", "-H", f"X-CSRF-Token: {fuzzed.session.headers['X-CSRF-Token']}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=280)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
