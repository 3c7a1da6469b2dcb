"""The command line on a machine whose key is on a token: it opens, and says why it does not where the token will not.

Real processes, each of which opens the data directory by itself.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests import preloaded
from tests.fakes import softhsm


def ran(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    settings = {"INTRAMURAL_DATA_DIR": str(folder / "data"), "INTRAMURAL_LIBRARY_ALLOW_NETWORK": "false", **more}
    return preloaded.run(words, {**os.environ, **settings})


@pytest.mark.skipif(not softhsm.MODULE, reason="no SoftHSM was to be had: see scripts/test-system")
@pytest.mark.timeout(300)
def test_a_machine_with_a_token(tmp_path: Path) -> None:
    hsm = softhsm.made(tmp_path / "hsm")
    tool = Path(__file__).parent / "makes_pair.py"
    subprocess.run(
        [sys.executable, tool], env={**os.environ, **hsm.environment, "PYTHONPATH": ":".join(sys.path)}, check=True
    )
    vault = {f"INTRAMURAL_VAULT_{name}".upper(): value for name, value in hsm.settings().items()}
    given = {**hsm.environment, **vault}
    checked = ran(tmp_path, "vault", "check", "--json", **given)
    assert checked.returncode == 0 and json.loads(checked.stdout) == {"people": 0, "wrong": []}, checked.stderr
    assert json.loads((tmp_path / "data/secrets/vault.key").read_text())["locked_by"] == "pkcs11"

    wrong = ran(tmp_path, "user", "ls", **{**given, "INTRAMURAL_VAULT_PIN_FILE": hsm.pin_file("0000000")})
    assert wrong.returncode == 1 and "pin_wrong" in wrong.stderr and "vault.pin_file" in wrong.stderr
    (tmp_path / "hsm/tokens").rename(tmp_path / "hsm/elsewhere")
    (tmp_path / "hsm/tokens").mkdir()
    gone = ran(tmp_path, "user", "ls", **given)
    assert gone.returncode == 1 and "token_missing" in gone.stderr and "Plug it in" in gone.stderr

    said = [result.stdout + result.stderr for result in (checked, wrong, gone)]
    assert not any(softhsm.PIN in each for each in said)
    for file in (tmp_path / "data").rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            assert softhsm.PIN.encode() not in data, file
