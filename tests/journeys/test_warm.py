"""A service that is stopped and started again goes on where it was, and leaves nothing of those who are gone."""

from pathlib import Path

import pytest
from tests.journeys.test_life import turn
from tests.service import MODEL, Service

ASKED = " ".join(f"Line {number} of the ballad of the stone heron tells of rain." for number in range(28))


def states(service: Service) -> list[Path]:
    return sorted((service.data_dir / "states").glob("*/*"))


def again(service: Service) -> None:
    service.stop()
    service.start()
    service.sign_in()
    service.wait_ready()


def cached(service: Service) -> int:
    """Tokens that the last answer did not have to read, as the log says."""
    return int(service.events(event="chat.answered")[0]["facts"]["cached_tokens"])


@pytest.mark.timeout(300)  # three starts
def test_a_chat_goes_on_after_a_restart_and_nothing_of_it_outlives_it(fresh: Service) -> None:
    fresh.start()
    fresh.set_up()
    fresh.wait_ready()
    chat = fresh.page("POST", "/chats", json={"model": MODEL}).json()["id"]
    turn(fresh, chat, content=ASKED, max_tokens=4)
    # A temporary chat is asked so: nothing of it is stored.
    body = {"model": MODEL, "max_tokens": 4, "messages": [{"role": "user", "content": "Hush: " + ASKED}]}
    answer = fresh.session.post(f"{fresh.address}/v1/chat/completions", json=body, timeout=110)
    assert answer.status_code == 200, answer.text
    again(fresh)
    assert len(states(fresh)) == 1
    turn(fresh, chat, content="Go on.", max_tokens=4)
    assert cached(fresh) > 300

    member = {"username": "bob", "password": "a long enough one", "role": "member"}
    bob = fresh.page("POST", "/people", json=member).json()["id"]
    theirs = Service(fresh.data_dir, fresh.wheel, address=fresh.address)
    login = theirs.page("POST", "/login", json={"username": "bob", "password": "a long enough one"})
    theirs.session.headers["X-CSRF-Token"] = login.json()["csrf_token"]
    key = theirs.new_key()
    theirs.client(key).chat.completions.create(model=MODEL, messages=[{"role": "user", "content": ASKED}], max_tokens=4)
    assert cached(fresh) == 0
    again(fresh)
    assert len(states(fresh)) == 2
    written = b"".join(path.read_bytes() for path in (fresh.data_dir / "states").glob("*/*"))
    assert b"stone heron" not in written

    assert fresh.page("DELETE", f"/people/{bob}").status_code == 200
    assert len(states(fresh)) == 1
    assert fresh.page("DELETE", f"/chats/{chat}").status_code == 204
    assert states(fresh) == []
    fresh.stop()
    assert states(fresh) == [], "what the worker had of them was written at the end"
