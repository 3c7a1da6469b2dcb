"""Going on with a stream after the connection broke: the real service, a real answer."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from tests.service import ENDLESS, MODEL, Service

ASK = [{"role": "user", "content": "Count from one to fifty."}]
FIELDS = {"model": MODEL, "messages": ASK, "max_tokens": 40, "seed": 5, **ENDLESS}


@pytest.fixture(scope="module")
def key(service: Service) -> str:
    return service.new_key()


def begun(service: Service, key: str, **headers: str) -> requests.Response:
    answer = requests.post(
        f"{service.address}/v1/chat/completions",
        json={**FIELDS, "stream": True},
        headers={"Authorization": f"Bearer {key}", **headers},
        stream=True,
        timeout=110,
    )
    assert answer.status_code == 200
    return answer


def events(answer: requests.Response) -> Iterator[tuple[int, str]]:
    """Number (0: none) and data of each event."""
    number = 0
    for line in answer.iter_lines(decode_unicode=True):
        name, _, value = line.partition(": ")
        if name == "id":
            number = int(value)
        elif name == "data":
            yield number, value
            number = 0


def words(found: list[tuple[int, str]]) -> str:
    chunks = [json.loads(data) for _, data in found if data != "[DONE]"]
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks)


def outcome(service: Service, request_id: str, within_s: float = 30) -> str:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        for entry in service.events(event="chat.answered"):
            if entry["request_id"] == request_id:
                return str(entry["outcome"])
        time.sleep(0.1)
    raise AssertionError("the answer has not ended")


def following(service: Service, path: str, key: str, method: str = "GET", **headers: str) -> requests.Response:
    bearer = {"Authorization": f"Bearer {key}"}
    return requests.request(method, service.address + path, headers={**bearer, **headers}, stream=True, timeout=110)


def test_a_broken_stream_is_followed_to_its_end(service: Service, key: str) -> None:
    whole = words(list(events(begun(service, key))))
    first = begun(service, key, **{"X-Intramural-Resumable": "1"})
    path, request_id = first.headers["X-Intramural-Stream"], first.headers["X-Request-Id"]
    coming = events(first)
    seen = [next(coming) for _ in range(5)]
    first.close()
    rest_of_it = following(service, path, key, **{"Last-Event-ID": str(seen[-1][0])})
    assert rest_of_it.headers["X-Intramural-Receipt"] == f"/v1/receipts/{request_id}"
    rest = list(events(rest_of_it))
    assert rest[-1][1] == "[DONE]"
    assert words(seen + rest) == whole
    assert [number for number, data in seen + rest if data != "[DONE]"] == list(range(1, len(seen + rest)))
    assert outcome(service, request_id) == "finished"
    again = list(events(following(service, path, key)))  # from the beginning, while it is still held
    assert again == seen + rest


def test_without_the_wish_a_client_that_leaves_ends_it(service: Service, key: str) -> None:
    answer = begun(service, key)
    assert "X-Intramural-Stream" not in answer.headers
    next(events(answer))
    answer.close()
    assert outcome(service, answer.headers["X-Request-Id"]) == "cancelled"


def test_a_stream_is_cancelled(service: Service, key: str) -> None:
    first = begun(service, key, **{"X-Intramural-Resumable": "1"})
    path = first.headers["X-Intramural-Stream"]
    next(events(first))
    first.close()
    told = following(service, path, key, "DELETE").json()
    assert told == {"id": first.headers["X-Request-Id"], "object": "stream", "deleted": True}
    assert outcome(service, first.headers["X-Request-Id"]) == "cancelled"
    assert following(service, path, key).status_code == 404


def test_another_s_stream_is_not_there(service: Service, key: str) -> None:
    first = begun(service, key, **{"X-Intramural-Resumable": "1"})
    path, other = first.headers["X-Intramural-Stream"], service.new_key()
    for method in ("GET", "DELETE"):
        refused = following(service, path, other, method)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "stream_not_found")
    bad: Any = {"Last-Event-ID": "x"}
    assert following(service, path, key, **bad).json()["error"]["param"] == "Last-Event-ID"
    gone = following(service, path, key, **{"Last-Event-ID": "4000"})
    assert (gone.status_code, gone.json()["error"]["code"]) == (409, "events_gone")
    first.close()
    assert following(service, path, key, "DELETE").status_code == 200
