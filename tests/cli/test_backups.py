"""What whoever backs up, and whoever restores, is told: the key is theirs to keep."""

from pathlib import Path

import pytest
from tests import preloaded
from tests.service import Service


@pytest.mark.sqlite(reason="two data directories, each with its own file")
def test_the_key_that_is_not_in_a_backup_is_spoken_of(tmp_path: Path) -> None:
    phrase, folder, again = tmp_path / "phrase.txt", tmp_path / "backups", tmp_path / "again"
    phrase.write_text("correct horse battery\n")
    secret = ["--passphrase-file", str(phrase)]
    environ = {**Service(tmp_path / "data", Path("none"), {"INTRAMURAL_LIBRARY_STARTER": ""}).environ, "COLUMNS": "500"}
    preloaded.run(["user", "ls"], environ)

    made = preloaded.run(["backup", str(folder), *secret], environ)
    assert made.returncode == 0, made.stderr
    assert f"Keep a copy of {tmp_path / 'data/secrets/vault.key'} elsewhere" in made.stderr
    assert "\ufffd" not in made.stdout  # the checkpoint has lines of its own
    restored = preloaded.run(["restore", str(folder), *secret, "--data-dir", str(again)], environ)
    assert restored.returncode == 0, restored.stderr
    assert f"put your copy of it at {again / 'secrets/vault.key'}" in restored.stderr
    assert "vault_key_missing" in preloaded.run(["user", "ls", "--data-dir", str(again)], environ).stderr

    whole = preloaded.run(["backup", str(tmp_path / "whole"), *secret, "--with-key"], environ)
    assert whole.returncode == 0 and "Keep a copy" not in whole.stderr
