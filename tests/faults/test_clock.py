"""The clock of a service is set back, and jumps forward, while it runs: the real program, whose clock is wrong."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from tests.faults.house import House
from tests.faults.test_gateway import WITHOUT_MODELS, files, upload

DAY_S = 86_400


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("clock")
    (folder / "stick").mkdir()
    settings = {**WITHOUT_MODELS, "INTRAMURAL_ANCHORS_FOLDERS": str(folder / "stick")}
    mine = House(folder / "data", Path(), settings)
    yield mine.up()
    if mine.runs:
        mine.stop()


def models(house: House, secret: str) -> int:
    headers = {"Authorization": f"Bearer {secret}"}
    return requests.get(f"{house.address}/v1/models", headers=headers, timeout=60).status_code


def anchor(house: House) -> None:
    (outcome,) = house.page("POST", "/audit/anchors").json()["anchored"]
    assert outcome["error"] is None and house.page("GET", "/audit/anchors").json()["colour"] == "green"


def test_set_back_by_days(house: House) -> None:
    kept = upload(house, b"kept").json()["id"]
    anchor(house)
    before = house.check_log().size
    house.switches.clock_s = -3 * DAY_S
    secret = house.new_key(name="made before it was", expires_in_days=1)
    assert models(house, secret) == 200
    assert list(files(house)) == [kept]
    anchor(house)
    (made,) = [each for each in house.recorded("key.created") if each["position"] >= before]
    assert abs(made["skew_ms"] - 3 * DAY_S * 1000) < 600_000, "the log says by how much it was set back"
    house.check()
    house.stop()
    house.up()
    house.switches.clock_s = 0
    assert models(house, secret) == 401, "its day is long over"
    assert house.page("GET", "/keys").status_code == 401, "and so is the session that was begun then"
    house.sign_in()
    house.check()


def test_a_jump_forward_by_years(house: House) -> None:
    kept = upload(house, b"kept for good").json()["id"]
    for_ever, for_a_month = house.new_key(), house.new_key(expires_in_days=30)
    house.switches.clock_s = 400 * DAY_S
    assert house.page("GET", "/keys").status_code == 401, "sessions are over"
    assert (models(house, for_ever), models(house, for_a_month)) == (200, 401)
    house.sign_in()
    anchor(house)
    assert kept in files(house), "nothing goes for its age unless somebody has said so"
    house.check()
    house.switches.clock_s = 0
    house.sign_in()
    assert models(house, for_a_month) == 200
    assert house.page("GET", "/audit/anchors").json()["colour"] == "red", "nobody knows how old it is"
    anchor(house)
    house.stop()
    house.up()
