"""Two machines and a stick: the real program signs, bundles, imports, follows a lock and asks for signatures."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from tests.fakes.pki import Pair, key_pair
from tests.service import Service

from intramural.library import STARTER

MODEL = STARTER.name


@pytest.fixture
def machines(tmp_path: Path, starter_wheel: Path) -> Iterator[tuple[Service, Service, Pair]]:
    """The desk, which has the model; the ward, which has nothing but the desk's public key; the desk's key. Both run:
    then a command is soon done.
    """
    pair = key_pair(tmp_path, "desk")
    desk = Service(tmp_path / "desk", starter_wheel)
    ward = Service(tmp_path / "ward", starter_wheel, {"INTRAMURAL_LIBRARY_STARTER": ""})
    for each in (desk, ward):
        (each.data_dir / "trust").mkdir(parents=True, exist_ok=True)
        shutil.copy(pair.public, each.data_dir / "trust")
        each.start()
    yield desk, ward, pair
    for each in (desk, ward):
        each.stop()


@pytest.mark.timeout(400)  # fifteen commands
def test_over_the_gap_by_the_command_line(machines: tuple[Service, Service, Pair], tmp_path: Path) -> None:
    desk, ward, pair = machines
    assert ward.command("ls") == []
    signed = desk.command("sign", MODEL, "--key", str(pair.private))
    assert signed["trust"] == "signed"
    stick = tmp_path / "stick.bundle"
    done = desk.command("bundle", "export", MODEL, "--sign", str(pair.private), "--to", str(stick))
    assert done["models"] == [MODEL] and done["signed"]
    shown = ward.command("bundle", "show", str(stick))
    assert shown["signer"] == signed["signer"] and shown["models"] == [MODEL]

    cut = tmp_path / "cut.bundle"
    cut.write_bytes(stick.read_bytes()[:-5000])
    refused = ward.command("bundle", "import", str(cut), check=False)
    assert refused.returncode == 1 and "bundle_truncated" in refused.stderr
    assert ward.command("ls") == []

    ward.stop()
    ward.settings["INTRAMURAL_LIBRARY_REQUIRED_TRUST"] = "signed"
    ward.start()
    (imported,) = ward.command("bundle", "import", str(stick))
    assert (imported["name"], imported["trust"]) == (MODEL, "signed")
    (row,) = ward.command("verify", "--all")
    assert (row["verdict"], row["signer"]) == ("matches", signed["signer"])

    lock = tmp_path / "models.lock"
    assert desk.command("sync", "--write", str(lock))["models"] == 1
    (step,) = ward.command("sync", str(lock))
    assert (step["act"], step["state"]) == ("keep", "done")
    bill = ward.command("sbom")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None
    assert f"model:{MODEL}" in {each["bom-ref"] for each in bill["components"]}

    (ward.data_dir / "trust" / pair.public.name).unlink()
    answer = ward.command("run", MODEL, "Hello", check=False)
    assert answer.returncode == 1 and "trust_too_low" in answer.stderr
    wrong = ward.command("verify", check=False)
    assert wrong.returncode == 1 and json.loads(wrong.stdout)[0]["problem"]["code"] == "trust_too_low"


def test_nobody_elsewhere_names_files_of_the_machine(service: Service, tmp_path: Path) -> None:
    """Not even its administrator: only over the private socket."""
    target = tmp_path / "out.bundle"
    asked = [
        ("/provenance/bundles/export", {"models": [MODEL], "to": str(target)}),
        ("/provenance/bundles/import", {"path": "/etc/passwd"}),
        ("/provenance/sign", {"model": MODEL, "key": {"key": "/etc/passwd"}}),
    ]
    for path, body in asked:
        answer = service.page("POST", path, json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "console_only")
    assert not target.exists()


def test_what_the_page_may_ask_for(service: Service) -> None:
    assert f'name = "{MODEL}"' in service.page("GET", "/provenance/lock").json()["lock"]
    bill = service.page("GET", "/provenance/bill", params={"model": MODEL})
    assert bill.headers["content-type"].startswith("application/vnd.cyclonedx+json")
    checked = service.page("POST", "/provenance/check", json={})
    assert json.loads(checked.text.removeprefix("data: "))["problem"] is None
    absent = service.page("GET", "/provenance/signature", params={"model": MODEL})
    assert (absent.status_code, absent.json()["error"]["code"]) == (404, "signature_not_found")
    bad = service.page("POST", "/provenance/sync", json={"lock": "junk"})
    assert (bad.status_code, bad.json()["error"]["code"]) == (400, "bad_lock")
