"""The page in real Chromium against the real service and real weights; the journeys themselves are in ui/tests/e2e.

Those that need no service are in `test_page_alone`, so that two processes share the browser's work.
"""

import os
import subprocess
from pathlib import Path

import pytest
from tests.service import Service

ROOT = Path(__file__).parents[2]
#: Journeys that need a real service.
SERVED = ("administration", "attestation", "journey", "outside", "passkeys")


def pass_in_chromium(journey: str, given: dict[str, str]) -> None:
    """The journeys of one file, with what they are `given` in the environment: all of them, and each passes."""
    done = subprocess.run(
        [str(ROOT / "scripts/with-node"), "npm", "run", "--silent", "e2e", "--", f"tests/e2e/{journey}.test.ts"],
        cwd=ROOT / "ui",
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "passed" in done.stdout and "skipped" not in done.stdout, done.stdout[-2000:]


@pytest.mark.timeout(600)
def test_a_first_day_in_chromium(fresh: Service) -> None:
    fresh.start()
    assert fresh.setup_link is not None
    pass_in_chromium("journey", {"BASE_URL": fresh.address, "SETUP_TOKEN": fresh.setup_link.split("token=")[1]})


@pytest.mark.timeout(600)
def test_the_administration_in_chromium(tmp_path: Path) -> None:
    """Without a model: nothing here asks one. The provider is only named, for the invitation's link."""
    (tmp_path / "sign-in.toml").write_text(
        '[oidc.school]\ntitle = "Springfield Schools"\nissuer = "http://127.0.0.1:9/"\nclient_id = "intramural"\n'
    )
    settings = {"INTRAMURAL_LIBRARY_STARTER": "", "INTRAMURAL_SIGN_IN": str(tmp_path / "sign-in.toml")}
    settings["INTRAMURAL_SANDBOX_REQUIRED_LEVEL"] = "no-netns"  # a downgrade to be told of, that changes nothing here
    house = Service(tmp_path / "data", Path("none"), settings).start()
    assert house.setup_link is not None
    try:
        given = {"ADMIN_URL": house.address, "ADMIN_SETUP_TOKEN": house.setup_link.split("token=")[1]}
        pass_in_chromium("administration", given)
    finally:
        house.stop()


@pytest.mark.timeout(600)
def test_a_passkey_in_chromium(tmp_path: Path) -> None:
    settings = {"INTRAMURAL_LIBRARY_STARTER": "", "INTRAMURAL_ACCESS_PASSKEY_FOR": "administrators"}
    strict = Service(tmp_path / "data", Path("none"), settings).start()
    assert strict.setup_link is not None
    given = {
        "PASSKEY_URL": strict.address.replace("127.0.0.1", "localhost"),
        "PASSKEY_SETUP_TOKEN": strict.setup_link.split("token=")[1],
    }
    try:
        pass_in_chromium("passkeys", given)
    finally:
        strict.stop()
