"""Evidence of a real service: controls are turned off one after another, and the next pack says so; a stranger checks
packs with the one file that shares no code with the service."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.service import MODEL, Service

from intramural.audit import canonical

VERIFIER = Path(__file__).parents[2] / "verifier/verify_intramural.py"


def controls(service: Service) -> dict[str, str]:
    answer = service.page("POST", "/evidence/look", json={})
    assert answer.status_code == 200, answer.text
    return {each["control"]: each["outcome"] for each in answer.json()["controls"]}


def pack(service: Service, law: str) -> tuple[dict[str, Any], str]:
    answer = service.page("GET", f"/evidence/packs/{law}")
    assert answer.status_code == 200, answer.text
    return answer.json()["pack"], answer.json()["page"]


def outcome(said: dict[str, Any], control: str) -> str:
    [found] = [each["outcome"] for each in said["statement"]["controls"] if each["control"] == control]
    return str(found)


def checked(file: Path, key: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(VERIFIER), "statement", str(file), "--key", key, "--kind", "evidence", "--json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.timeout(300)
def test_what_is_turned_off_fails_in_the_next_pack(fresh: Service, tmp_path: Path) -> None:
    with fresh.running() as service:
        # what an administrator changes while it runs
        assert controls(service)["answers-traceable"] == "not seen"
        say = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
        service.client().chat.completions.create(**say)
        found = controls(service)
        for name in ("workers-confined", "processes-confined", "service-sealed", "log-verifies", "answers-traceable"):
            assert found[name] == "met", name
        assert (found["auditor-named"], found["people-informed"], found["keys-end"]) == ("failed",) * 3

        service.page(
            "POST", "/people", json={"username": "olga", "password": "a quiet place up north", "role": "auditor"}
        )
        text = {"title": "How we use AI", "text": "As the board agreed.", "audience": "everyone"}
        notice = service.page("POST", "/notices", json=text).json()
        place = {"name": "Clinic", "label": "phi", "purposes": ["care"], "retention_days": {"chat": 30, "file": 30}}
        ward = service.page("POST", "/workspaces", json=place).json()
        found = controls(service)
        for name in ("auditor-named", "people-informed", "purposes-named", "guard-health", "log-kept-health"):
            assert found[name] == "met", name

        [olga] = [each for each in service.page("GET", "/people").json()["people"] if each["username"] == "olga"]
        service.page("PATCH", f"/people/{olga['id']}", json={"disabled": True})
        service.page("DELETE", f"/notices/{notice['id']}")
        service.page("PUT", f"/workspaces/{ward['id']}", json={**place, "purposes": []})
        service.data_dir.chmod(0o755)
        said, page = pack(service, "hipaa")
        assert outcome(said, "auditor-named") == outcome(said, "purposes-named") == "failed"
        assert outcome(said, "data-private") == "failed" and "data directory 0755" in page
        assert outcome(said, "shut-out") == "met"
        assert outcome(pack(service, "ferpa")[0], "people-informed") == "failed"
        service.data_dir.chmod(0o700)
        assert controls(service)["data-private"] == "met"

        # a backup, and that somebody tried it
        passphrase = tmp_path / "passphrase"
        passphrase.write_text("nobody would guess this one")
        made = service.command("backup", str(tmp_path / "backup"), "--passphrase-file", str(passphrase))
        assert service.command("evidence", "rehearsed", made["backup"], "--note", "It opened.")["position"] > 0
        found = controls(service)
        assert (found["backed-up"], found["restore-rehearsed"]) == ("met", "met")

        # checked by a stranger, as the command line writes it and as the page does
        key = service.command("audit", "key")["public_key"]
        assert service.command("evidence", "gdpr", str(tmp_path / "gdpr.json"))["law"] == "gdpr"
        for law in ("hipaa", "ferpa", "ai-act"):
            (tmp_path / f"{law}.json").write_text(json.dumps(pack(service, law)[0]))
        for law in ("hipaa", "ferpa", "ai-act", "gdpr"):
            assert checked(tmp_path / f"{law}.json", key).returncode == 0, law
        signed = json.loads((tmp_path / "gdpr.json").read_text("utf-8"))
        digest = hashlib.sha256(canonical(signed["statement"]).encode()).hexdigest()
        logged = service.page("GET", "/audit", params={"event": "evidence.made"}).json()["entries"]
        facts = [each["facts"] for each in logged if each["facts"]["pack"] == "gdpr"]
        assert facts[0]["digest"] == f"sha256:{digest}" and digest in (tmp_path / "gdpr.html").read_text("utf-8")
        signed["statement"]["controls"][0]["outcome"] = "met, really"
        (tmp_path / "gdpr.json").write_text(json.dumps(signed))
        assert checked(tmp_path / "gdpr.json", key).returncode == 1

    # what settings turn off, at the next start; and since when, which the log remembers
    before = {each["control"]: each["since_ms"] for each in signed["statement"]["controls"]}
    off = {
        "INTRAMURAL_SANDBOX_SEAL": "off",
        "INTRAMURAL_EGRESS_MODE": "open",
        "INTRAMURAL_CONSENT_LABEL_ANSWERS": "false",
        "INTRAMURAL_CONSENT_AI_NOTICE": "off",
        "INTRAMURAL_CONSENT_BELOW": "0",
        "INTRAMURAL_ACCESS_LOGIN_ATTEMPTS": "100000",
        "INTRAMURAL_ACCESS_SESSION_IDLE_S": "100000",
        "INTRAMURAL_GUARD_RULES": "phi: *=warn",
    }
    failing = {
        "service-sealed", "way-out-decided", "answers-labelled", "told-of-ai", "consent-asked", "guesses-limited",
        "sessions-end", "guard-health",
    }  # fmt: skip
    assert not failing & {name for name, value in found.items() if value == "failed"}
    fresh.settings |= off
    fresh.start()
    listed = fresh.command("evidence", "look")
    assert {each["control"] for each in listed if each["outcome"] == "failed"} >= failing
    since = {each["control"]: each["since_ms"] for each in listed}
    assert since["way-out-decided"] > before["way-out-decided"]
    assert abs(since["words-sealed"] - before["words-sealed"]) < 60_000
