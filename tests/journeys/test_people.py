"""Lists and directories by the command line, against a running service without a model."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from tests.access.test_rosters import CLASSES, ENROLMENTS, ORGS, USERS_1_1
from tests.service import Service

from intramural.app.front import proxies
from intramural.core.errors import Misasked


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = {
        "INTRAMURAL_LIBRARY_STARTER": "",
        "INTRAMURAL_SERVER_TRUSTED_PROXIES": "127.0.0.1",
        "INTRAMURAL_ACCESS_LOGIN_ATTEMPTS_PER_ADDRESS": "2",
    }
    service = Service(tmp_path_factory.mktemp("house") / "data", Path("none"), settings)
    service.start()
    service.set_up()
    yield service
    service.stop()


def test_a_folder_of_oneroster_is_tried_and_taken_in(house: Service, tmp_path: Path) -> None:
    files = {"orgs": ORGS, "users": USERS_1_1, "classes": CLASSES, "enrollments": ENROLMENTS}
    for name, text in files.items():
        (tmp_path / f"{name}.csv").write_text(text)
    words = ("people", "import", str(tmp_path), "--source", "sis", "--role", "parent=member")
    tried = house.command(*words, "--dry-run")
    assert tried["changes"]["person.created"] == 4 and {each["line"] for each in tried["steps"]} >= {2, 3}
    assert len(house.page("GET", "/people").json()["people"]) == 1
    done = house.command(*words)
    assert (done["state"], done["changes"]) == ("done", tried["changes"])
    assert {each["username"] for each in house.page("GET", "/people").json()["people"]} == {
        "ada", "edna", "bart", "homer", "nelson",
    }  # fmt: skip
    assert house.command(*words)["changes"] == {}
    changes = sum(done["changes"].values())
    runs = [(each["outcome"], each["source"], each["changes"]) for each in house.command("people", "imports")]
    assert runs == [("checked", "sis", 0), ("finished", "sis", changes), ("checked", "sis", changes)]


def test_every_wrong_line_is_named(house: Service, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows([("id", "username"), ("7", "=cmd()"), ("8", "ada"), ("9", "good"), ("", "x")])
    done = house.command("people", "import", str(file), check=False)
    assert done.returncode == 1 and not done.stdout.strip()
    for said in ("people.csv:2", "formula", "people.csv:5", "bad_id", "nothing of it was taken", "Mend the lines"):
        assert said in done.stderr, done.stderr
    missing = house.command("people", "import", str(tmp_path / "none.csv"), check=False)
    assert "file_not_found" in missing.stderr and missing.returncode == 1


def test_a_directory_gets_a_key_that_opens_its_own_door(house: Service) -> None:
    made = house.command("people", "directory", "entra")
    headers = {"Authorization": f"Bearer {made['secret']}"}
    told = requests.get(f"{house.address}/scim/v2/ServiceProviderConfig", headers=headers)
    assert told.status_code == 200 and told.json()["patch"]["supported"] is True
    assert requests.get(f"{house.address}/intramural/v1/people", headers=headers).status_code == 403
    again = house.command("people", "directory", "entra")
    assert again["secret"] != made["secret"] and made["address"].endswith("/scim/v2")
    assert "username_taken" in house.command("people", "directory", "ada", check=False).stderr
    shown = [each for each in house.events(event="key.created") if each["facts"]["scopes"] == ["provision"]]
    assert len(shown) == 2 and made["secret"] not in str(shown)


def test_behind_a_proxy_everybody_has_their_own_address(house: Service) -> None:
    def guess(name: str, address: str) -> int:
        headers = {"X-Forwarded-For": address}
        body = {"username": name, "password": "a wrong password"}
        return requests.post(f"{house.address}/intramural/v1/login", json=body, headers=headers).status_code

    assert [guess(f"n{n}", "10.1.1.1") for n in range(3)] == [401, 401, 429]
    assert guess("n4", "10.1.1.2") == 401
    for wrong in ("*", "proxy.example", "10.0.0.1/8"):
        with pytest.raises(Misasked):
            proxies([wrong])
