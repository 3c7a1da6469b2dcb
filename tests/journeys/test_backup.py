"""The commands: backed up while it runs, lost, restored elsewhere, and moved into another database."""

import shutil
from pathlib import Path

import pytest
from tests import databases
from tests.service import ADMIN, Service


def _with_people(service: Service) -> None:
    name, password = ADMIN
    service.command("user", "add", name, "--admin", "--password-stdin", stdin=f"{password}\n")
    service.command("user", "add", "bob", "--password-stdin", stdin="another long password\n")


def _names(service: Service) -> set[str]:
    return {each["username"] for each in service.command("user", "ls")}


@pytest.mark.slow  # the commands over real processes; `tests/services/test_backups` rehearses it in every run
def test_backed_up_while_it_runs_and_restored_on_a_clean_directory(fresh: Service, tmp_path: Path) -> None:
    phrase = tmp_path / "phrase.txt"
    phrase.write_text("correct horse battery\n")
    _with_people(fresh)
    key = fresh.command("audit", "key")["public_key"]
    fresh.start()
    try:
        made = fresh.command("backup", str(tmp_path / "backups"), "--passphrase-file", str(phrase))
        again = fresh.command("backup", str(tmp_path / "backups"))
        assert again["written"] < made["written"]
        fresh.sign_in()
        backups = [each["event"] for each in fresh.events() if each["event"].startswith("backup")]
        assert backups == ["backup.made", "backup.begun"] * 2
    finally:
        fresh.stop()
    checkpoint = tmp_path / "held.txt"
    checkpoint.write_text(again["checkpoint"])
    kept_elsewhere = (fresh.data_dir / "secrets/vault.key").read_bytes()
    shutil.rmtree(fresh.data_dir)
    fresh.place = databases.empty_postgres(tmp_path / "restored.db") if databases.SERVER else None
    told = fresh.command("restore", str(tmp_path / "backups"), "--passphrase-file", str(phrase), "--public-key", key)
    assert (told["checkpoint"], told["log_entries"]) == (again["checkpoint"], again["log_entries"])
    missing = fresh.command("user", "ls", check=False)
    assert missing.returncode == 1 and "vault_key_missing" in missing.stderr
    key_file = fresh.data_dir / "secrets/vault.key"
    key_file.write_bytes(kept_elsewhere)
    key_file.chmod(0o600)
    assert _names(fresh) == {"ada", "bob"}
    assert fresh.command("audit", "verify", "--held", str(checkpoint), "--public-key", key)["ok"]
    fresh.start()
    try:
        fresh.sign_in()
        assert {each["event"] for each in fresh.events()} >= {"backup.restored", "person.created", "backup.begun"}
    finally:
        fresh.stop()


@pytest.mark.skipif(not databases.SERVER, reason="needs a PostgreSQL server: make test-postgres")
def test_moved_to_a_file_and_back(fresh: Service, tmp_path: Path) -> None:
    _with_people(fresh)
    before = fresh.command("audit", "checkpoint")["checkpoint"]
    held = tmp_path / "held.txt"
    held.write_text(before)
    fresh.command("db", "migrate", "--to", "sqlite")
    refused = fresh.command("user", "ls", check=False)
    assert refused.returncode == 1 and "database_moved" in refused.stderr
    fresh.place = fresh.data_dir / "intramural.db"
    assert _names(fresh) == {"ada", "bob"}
    assert fresh.command("audit", "verify", "--held", str(held))["ok"]
    url = databases.empty_postgres(tmp_path / "new.db")
    moved = fresh.command("db", "migrate", "--to", url)
    assert moved["tables"]["people"] == 2
    fresh.place = url
    assert _names(fresh) == {"ada", "bob"}
    assert fresh.command("audit", "verify", "--held", str(held))["ok"]
    assert fresh.command("audit", "ls", "--event", "database.moved")[0]["event"] == "database.moved"
