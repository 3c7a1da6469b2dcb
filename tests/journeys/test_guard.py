"""A service whose people ask about patients: what reaches the model, the log and the disk."""

import json
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
import requests
from tests import preloaded
from tests.service import MODEL, Service

SSN, MRN = "817-26-5593", "77190482"
SAID = f"My patient, MRN {MRN}, has the SSN {SSN} and was seen on March 3, 2024. Say hello."
MESSAGES = [{"role": "user", "content": SAID}]


@pytest.fixture(scope="module")
def phi(tmp_path_factory: pytest.TempPathFactory, starter_wheel: Path) -> Iterator[Service]:
    settings = {
        "INTRAMURAL_GUARD_LABEL": "phi",
        "INTRAMURAL_GUARD_RULES": "phi: card=block",
        "INTRAMURAL_GUARD_NAMES": "off",
        "INTRAMURAL_AUDIT_RECORD_PROMPTS": "true",
    }
    with Service(tmp_path_factory.mktemp("phi") / "data", starter_wheel, settings).running() as running:
        yield running


def test_the_model_and_the_log_see_marks_and_no_file_has_the_values(phi: Service) -> None:
    client = phi.client()
    headers = {"Authorization": f"Bearer {client.api_key}"}
    body = {"model": MODEL, "messages": MESSAGES}
    read = requests.post(f"{phi.address}/apply-template", json=body, headers=headers, timeout=60).json()["prompt"]
    assert "[MRN-" in read and "[SSN-" in read and "[DATE-2024-" in read
    answer = client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=12)
    assert answer.choices[0].finish_reason in ("stop", "length")
    streamed = client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=12, stream=True, seed=1)
    assert [chunk.choices[0].finish_reason for chunk in streamed if chunk.choices][-1] in ("stop", "length")
    asked = [entry for entry in phi.events() if entry["event"] == "chat.asked"]
    assert len(asked) == 2
    for entry in asked:
        assert entry["facts"]["guard"]["found"] == {"redact": {"date": 1, "mrn": 1, "ssn": 1}}
        assert entry["facts"]["guard"]["not_looked_for"] == ["image", "name", "organisation", "place"]
    found = [path for path in phi.data_dir.rglob("*") if path.is_file() and holds(path, SSN, MRN)]
    assert found == []


def test_what_is_blocked_is_refused_with_places_in_every_dialect(phi: Service) -> None:
    client = phi.client()
    said = [{"role": "user", "content": "Charge 4111 1111 1111 1111, please."}]
    with pytest.raises(openai.PermissionDeniedError) as caught:
        client.chat.completions.create(model=MODEL, messages=said)
    assert caught.value.code == "guard_stopped"
    assert "card number (message 1, characters 8 to 26)" in caught.value.message
    assert "4111" not in str(caught.value)
    with pytest.raises(openai.PermissionDeniedError):
        client.completions.create(model=MODEL, prompt=said[0]["content"])
    refused = [entry["facts"] for entry in phi.events() if entry["event"] == "guard.stopped"]
    assert [each["found"] for each in refused] == [{"block": {"card": 1}}] * 2


def test_a_check_shows_what_would_be_found_on_the_page_and_the_command_line(phi: Service, tmp_path: Path) -> None:
    standing = phi.page("GET", "/guard").json()
    assert standing["label"] == "phi" and standing["actions"]["card"] == "block"
    assert standing["claim"].startswith("Assisted redaction, measured leak rate ")
    found = phi.page("POST", "/guard/check", json={"text": SAID}).json()
    assert [(SAID[each["start"] : each["end"]], each["kind"]) for each in found["found"]] == [
        (MRN, "mrn"),
        (SSN, "ssn"),
        ("March 3, 2024", "date"),
    ]
    assert phi.page("POST", "/guard/check", json={"text": SAID, "label": "nonsense"}).status_code == 400
    file = tmp_path / "note.txt"
    file.write_text(f"A note.\n{SAID}\n")
    told = phi.command("guard", "check", str(file))
    assert [each["kind"] for each in told["found"]] == ["mrn", "ssn", "date"]
    assert SSN not in json.dumps(told)
    shown = preloaded.run(["guard", "check", "--label", "public"], {**phi.environ, "COLUMNS": "200"}, SAID)
    assert "social security number" in shown.stdout and "warn" in shown.stdout
    assert SSN not in shown.stdout + shown.stderr and "Not looked for" in shown.stderr


def test_numbers_are_counted(phi: Service) -> None:
    key = {"Authorization": f"Bearer {phi.new_key(scopes=['metrics'])}"}
    text = requests.get(f"{phi.address}/metrics", headers=key, timeout=10).text
    assert 'intramural_guard_found_total{action="block",direction="in",identifier="card",label="phi"}' in text


def holds(path: Path, *values: str) -> bool:
    data = path.read_bytes()
    return any(value.encode() in data for value in values)
