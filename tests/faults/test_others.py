"""Workers, inspectors, the spawner and the broker are killed: the service goes on, or ends and can be started again.

One service with its model for all of it; where it stands still at a point, another process of it is killed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from tests.fakes.gguf_file import tiny_model
from tests.faults.house import House, ended, kill
from tests.faults.shop import registry_with, state_of
from tests.service import MODEL, eventually

LONG = " ".join(
    f"Line {number} of the ballad of the stone heron tells of rain." for number in range(26)
)  # worth keeping a state of


@dataclass
class Asked(House):
    """With a key of its administrator's."""

    secret: str = ""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, starter_wheel: Path) -> Iterator[Asked]:
    mine = Asked(tmp_path_factory.mktemp("faults") / "data", starter_wheel)
    mine.secret = mine.up().new_key()
    yield mine
    if mine.runs:
        mine.stop()


def ask(house: Asked, content: str = "Hello.", tokens: int = 4) -> requests.Response:
    body = {"model": MODEL, "messages": [{"role": "user", "content": content}], "max_tokens": tokens}
    headers = {"Authorization": f"Bearer {house.secret}"}  # what a session asks there is temporary, and leaves no state
    return requests.post(f"{house.address}/v1/chat/completions", json=body, headers=headers, timeout=110)


def unload(house: Asked) -> requests.Response:
    return house.page("POST", f"/models/{MODEL}/unload")


def worker(house: Asked) -> int:
    return int(house.page("GET", "/models").json()["models"][0]["worker"]["pid"])


def newest(house: Asked, before: set[int]) -> int:
    """The process that was started since."""
    (pid,) = set(house.children) - before
    return pid


def test_a_worker_dies(house: Asked) -> None:
    house.wait_ready()
    assert unload(house).status_code == 200
    before = set(house.children)
    with house.stands_at("worker: loading", lambda: ask(house)) as asked:
        kill(newest(house, before))
    assert asked.answer.status_code == 502 and asked.answer.json()["error"]["code"] == "worker_start_failed"
    assert ask(house).status_code == 200, "another one is started"
    gone = worker(house)
    with house.stands_at("worker: prefill", lambda: ask(house, LONG, 100)) as asked:
        kill(gone)
    assert asked.answer.status_code == 502 and asked.answer.json()["error"]["code"] == "worker_died"
    assert ask(house).status_code == 200 and worker(house) != gone
    last, before_it = house.recorded("chat.answered")[-1], house.recorded("chat.answered")[-2]
    assert (before_it["outcome"], last["outcome"]) == ("failed", "finished")
    assert before_it["facts"]["completion_tokens"] == 0
    house.check_log()


def test_a_worker_dies_over_a_state(house: Asked) -> None:
    assert ask(house, LONG).status_code == 200
    gone = worker(house)
    with house.stands_at("worker: saving", lambda: unload(house)) as unloaded:
        kill(gone)
    assert unloaded.answer.status_code == 200
    assert states(house) == []
    assert ask(house, LONG).status_code == 200


def test_a_state_that_is_being_written(house: Asked) -> None:
    assert ask(house, LONG).status_code == 200
    house.dies_at("state: not named", lambda: unload(house))
    assert [each.suffix for each in states(house)] == [".part"]
    house.up()
    assert states(house) == []
    assert ask(house, LONG).status_code == 200


def states(house: Asked) -> list[Path]:
    return sorted((house.data_dir / "states").glob("*/*"))


def test_an_inspector_dies(house: Asked) -> None:
    with registry_with(tiny_model(seed=11), first=11) as registry:
        source = f"oci+{registry.url}/library/tiny:11"
        before = set(house.up().children)
        with house.stands_at(
            "inspector: begun", lambda: house.page("POST", "/pulls", json={"source": source})
        ) as asked:
            kill(newest(house, before))
        eventually(lambda: state_of(house, source) != "running")
        assert state_of(house, source) == "stopped", "a model is not refused for what it did not do"
        assert ask(house).status_code == 200
        assert house.page("POST", f"/pulls/{asked.answer.json()['id']}/resume").status_code == 200
        eventually(lambda: state_of(house, source) == "shelved")


def test_the_broker_dies(house: Asked) -> None:
    models = [tiny_model(seed=number) for number in (21, 22)]
    with registry_with(*models, first=21) as registry:
        for number, point in enumerate(("broker: resolving", "broker: handing over"), 21):
            source = f"oci+{registry.url}/library/tiny:{number}"
            (broker, *_) = brokers(house)
            with house.stands_at(point, lambda source=source: house.page("POST", "/pulls", json={"source": source})):
                kill(broker)
            eventually(lambda source=source: state_of(house, source) != "running")
            assert state_of(house, source) == "shelved", point
            eventually(lambda gone=broker: gone not in brokers(house) and len(brokers(house)) > 1)
            assert ask(house).status_code == 200


def brokers(house: Asked) -> list[int]:
    """The one that is asked, and those that wait for its end."""
    processes = house.page("GET", "/machine").json()["processes"]
    return sorted(each["pid"] for each in processes if each["name"] == "egress")


def test_the_spawner_dies_while_it_is_asked(house: Asked) -> None:
    assert unload(house).status_code == 200
    spawner, children = house.spawner, house.children
    with house.stands_at("spawner: asked", lambda: ask(house)) as asked:
        kill(spawner)
    assert asked.error is not None or asked.answer.status_code >= 500
    assert house.process is not None and house.process.wait(60) == 1
    eventually(lambda: all(map(ended, children)))
    assert ask(house.up()).status_code == 200
