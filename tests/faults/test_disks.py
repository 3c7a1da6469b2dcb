"""Disks that are full, have no inodes left or cannot be written: errors that say so, nothing lost, and when there is
room again everything goes on, without a start."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.fakes.gguf_file import tiny_model
from tests.faults.house import House
from tests.faults.mounted import Mounted, breakable, mounted
from tests.faults.shop import registry_with, state_of
from tests.faults.test_gateway import WITHOUT_MODELS, files, upload
from tests.service import eventually

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk"),
    pytest.mark.sqlite(reason="fills the disk that the file lies on"),
]


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    with mounted(tmp_path_factory.mktemp("disks") / "data", "160m") as found:
        yield found


@pytest.fixture(scope="module")
def house(disk: Mounted) -> Iterator[House]:
    mine = House(disk.path, Path(), {**WITHOUT_MODELS, "INTRAMURAL_FILES_KEEP_FREE_BYTES": "0"})
    yield mine.up()
    if mine.runs:
        mine.stop()


def code_of(answer: requests.Response) -> str:
    """Of an error of ours: it has a code and a hint, and is not `we do not know`."""
    assert answer.status_code >= 400, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert error["hint"] and answer.status_code != 500, (answer.status_code, answer.text)
    return str(error["code"])


def chat(house: House) -> requests.Response:
    return house.page("POST", "/chats", json={"model": "no:model"})


def test_a_full_disk(house: House, disk: Mounted) -> None:
    kept = upload(house, b"kept " * 1000).json()["id"]
    before = house.check_log().size
    disk.fill()
    assert code_of(house.page("POST", "/keys", json={"name": "a", "scopes": ["inference"]})) == "audit_unavailable"
    assert code_of(house.page("GET", "/audit")) == "audit_unavailable"
    assert code_of(upload(house, bytes(2_000_000))) == "disk_full"
    assert code_of(chat(house)) == "database_unavailable"
    assert code_of(house.page("POST", "/people", json={"username": "x", "password": "long enough", "role": "member"}))
    assert house.session.get(f"{house.address}/healthz", timeout=10).status_code == 200
    assert list(files(house)) == [kept], "what needs no writing goes on"
    disk.mend()
    house.new_key()
    assert chat(house).status_code in (200, 201)
    assert upload(house, b"and on").status_code == 200
    verdict = house.check_log()
    assert verdict.size > before
    house.check()
    house.stop()
    house.up()


def test_a_disk_without_inodes(house: House, disk: Mounted) -> None:
    before = set(files(house))
    disk.take_inodes()
    assert code_of(upload(house, b"no room for a name" * 100)) == "disk_full"
    house.new_key()  # the database's files are there already
    disk.mend()
    assert upload(house, b"a name").status_code == 200
    assert len(files(house)) == len(before) + 1
    house.check()


def test_a_pull_stops_and_goes_on(house: House, disk: Mounted) -> None:
    with registry_with(tiny_model(seed=31, extra_bytes=4 * 2**20)) as registry:
        source = f"oci+{registry.url}/library/tiny:0"
        with house.stands_at("pull: half fetched", lambda: house.page("POST", "/pulls", json={"source": source})):
            disk.fill()
        eventually(lambda: state_of(house, source) != "running")
        (pull,) = [each for each in house.page("GET", "/pulls").json()["pulls"] if each["source"] == source]
        assert pull["state"] == "stopped" and pull["code"] in ("disk_full", "audit_unavailable"), pull
        disk.mend()
        assert house.page("POST", f"/pulls/{pull['id']}/resume").status_code == 200
        eventually(lambda: state_of(house, source) == "shelved")
    house.check()


def test_it_does_not_start_on_a_disk_that_is_full_or_cannot_be_written(house: House, disk: Mounted) -> None:
    house.stop()
    disk.fill()
    assert "database_unavailable" in failed_start(house)
    disk.mend()
    disk.remount("ro")
    assert "system_refused" in failed_start(house)
    disk.remount("rw")
    house.up()


def failed_start(house: House) -> str:
    """What it says when it cannot start: an error of ours, and no stack."""
    command = [sys.executable, "-m", "intramural", "serve"]
    done = subprocess.run(command, env=house.environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr


def test_a_full_disk_for_backups(house: House, tmp_path: Path) -> None:
    phrase = tmp_path / "phrase.txt"
    phrase.write_text("correct horse battery\n")
    with mounted(tmp_path / "backups", "20m") as small:
        folder = small.path / "here"
        small.fill()
        done = house.command("backup", str(folder), "--passphrase-file", str(phrase), check=False)
        assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
        assert "system_refused" in done.stderr
        small.mend()
        house.command("backup", str(folder), "--passphrase-file", str(phrase))
        small.remount("ro")
        done = house.command("backup", str(folder), check=False)
        assert done.returncode == 1 and "system_refused" in done.stderr, done.stderr


def test_it_is_killed_while_the_disk_is_full(house: House, disk: Mounted) -> None:
    house.up()
    disk.fill()
    assert code_of(house.page("POST", "/keys", json={"name": "b", "scopes": ["inference"]})) == "audit_unavailable"
    house.stop(signal.SIGKILL)
    disk.mend()
    house.up()
    house.new_key()


def test_a_disk_that_turns_read_only_under_a_running_service(tmp_path: Path) -> None:
    """What was acknowledged can be read, nothing more is acknowledged, and it goes on with a disk that is well."""
    with breakable(tmp_path / "data", 160 * 2**20) as disk:
        house = House(disk.path, Path(), {**WITHOUT_MODELS, "INTRAMURAL_FILES_KEEP_FREE_BYTES": "0"}).up()
        try:
            kept = upload(house, b"kept " * 1000).json()["id"]
            house.new_key()
            size = house.check_log().size
            with house.stands_at("file: half written", lambda: upload(house, bytes(5_000_000))) as arriving:
                disk.breaks()
            assert code_of(arriving.answer) == "disk_failed"
            key = {"name": "a", "scopes": ["inference"]}
            assert code_of(house.page("POST", "/keys", json=key)) == "audit_unavailable"
            assert code_of(house.page("GET", "/audit")) == "audit_unavailable", "to have looked is an entry too"
            assert code_of(upload(house, b"more")) == "disk_failed"
            assert code_of(chat(house)) == "database_unavailable"
            assert code_of(house.page("POST", "/pulls", json={"source": "file:/x.gguf"})) == "audit_unavailable"
            assert house.session.get(f"{house.address}/healthz", timeout=10).status_code == 200
            assert list(files(house)) == [kept], "what needs no writing goes on"
            assert house.page("POST", "/keys", json=key).status_code == 503, "still"
            house.stop()
            assert "system_refused" in failed_start(house)
            disk.repaired()
            house.up()
            assert list(files(house)) == [kept]
            assert house.check_log().size >= size
            house.new_key()
            house.stop()
        finally:
            if house.runs:
                house.stop(signal.SIGKILL)
