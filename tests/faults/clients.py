"""People who use a service that is killed under them, and keep a ledger of what they were told was done."""

import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
from tests.faults.house import House
from tests.service import MODEL

#: What may be answered while processes die: each says whose fault it is, and that it may be asked again. Not that a
#: model is in quarantine, nor that the machine cannot confine: nobody has to do anything but ask again.
EXPECTED = frozenset(("worker_died", "worker_start_failed", "spawner_died", "child_died", "queue_full"))
#: A chat of so many is gone on with in another one: the model has room for some fifty.
_MESSAGES = 30
_PAUSE_S = 0.2


@dataclass
class Ledger:
    """What somebody was told. What they asked for and never heard of may be there, or not: it is in `doubt`."""

    began: set[str] = field(default_factory=set)
    #: By request: (prompt tokens, completion tokens).
    finished: dict[str, tuple[int, int]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    doubt: set[str] = field(default_factory=set)
    responses: dict[str, str] = field(default_factory=dict)
    #: By message: what it says.
    messages: dict[str, dict[str, str]] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    seen: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def told(self) -> int:
        """How much was acknowledged."""
        parts = (self.began, self.finished, self.files, self.deleted, self.responses, self.messages, self.keys)
        return sum(map(len, parts))


class Gone(Exception):
    """The connection ended before the answer did."""


class Person:
    """Asks for one thing after the other while `may` is set, until `over` is; after a kill, when there is a service
    again. Signed in to the page, and with a key."""

    def __init__(self, house: House, number: int) -> None:
        self._house = house
        self._chance = random.Random(number)
        self._number = number
        self.ledger = Ledger()
        self.may, self.over, self.rests = threading.Event(), threading.Event(), threading.Event()
        self._key = {"Authorization": f"Bearer {house.new_key(name=f'person {number}')}"}
        self._page = requests.Session()
        self._page.cookies.update(house.session.cookies)
        self._page.headers["X-CSRF-Token"] = house.session.headers["X-CSRF-Token"]
        self._chat = self._sent("POST", "/intramural/v1/chats", {"model": MODEL}, page=True).json()["id"]
        self._thread = threading.Thread(target=self._live, name=f"person {number}")

    def start(self) -> None:
        self.may.set()
        self._thread.start()

    def join(self) -> None:
        self.over.set()
        self.may.set()
        self._thread.join()

    def _live(self) -> None:
        acts: list[Callable[[], None]] = [
            self._asks, self._asks, self._uploads, self._deletes, self._has_kept, self._talks, self._makes_key
        ]  # fmt: skip
        while not self.over.is_set():
            if not self.may.is_set():
                self.rests.set()
                self.may.wait()
                self.rests.clear()
                continue
            act = self._chance.choice(acts)
            try:
                act()
            except (Gone, requests.RequestException) as error:
                self.ledger.seen[type(error).__name__] += 1
                if isinstance(error, requests.Timeout):
                    self.ledger.wrong.append(f"{act.__name__}: {error}")
                self.over.wait(_PAUSE_S)
            except Exception as error:  # told at the next look
                self.ledger.wrong.append(f"{act.__name__}: {error!r}")

    def _sent(self, method: str, path: str, body: object = None, *, page: bool = False, **more: Any) -> Any:
        session = self._page if page else requests
        headers = {} if page else self._key
        return session.request(method, f"{self._house.address}{path}", json=body, headers=headers, timeout=100, **more)

    def _is_done(self, answer: requests.Response, *statuses: int) -> bool:
        """Whether it was acknowledged; what else may be answered is an error of ours that is expected."""
        self.ledger.seen[str(answer.status_code)] += 1
        if answer.status_code in statuses:
            return True
        self._refused(answer.status_code, answer.text)
        return False

    def _refused(self, status: int, text: str) -> None:
        try:
            error: Mapping[str, Any] = json.loads(text)["error"]
            code = str(error.get("code"))
        except (ValueError, KeyError, TypeError, AttributeError):
            code = ""
        self.ledger.seen[code] += 1
        if code not in EXPECTED:
            self.ledger.wrong.append(f"{status}: {text[:300]}")

    # acts

    def _asks(self) -> None:
        body = {
            "model": MODEL, "max_tokens": self._chance.choice((4, 12, 40)), "stream": True,
            "stream_options": {"include_usage": True},
            "messages": [{"role": "user", "content": "Tell me of rain. " * self._chance.randrange(1, 40)}],
        }  # fmt: skip
        with self._sent("POST", "/v1/chat/completions", body, stream=True) as answer:
            if answer.status_code != 200:
                self._refused(answer.status_code, answer.text)
                return
            name = answer.headers["X-Request-Id"]
            for line in answer.iter_lines():
                if not line.startswith(b"data: {"):
                    continue
                said = json.loads(line[6:])
                if "error" in said:
                    self._refused(200, line[6:].decode())
                    return
                self.ledger.began.add(name)
                if usage := said.get("usage"):
                    self.ledger.finished[name] = (usage["prompt_tokens"], usage["completion_tokens"])

    def _uploads(self) -> None:
        if len(self.ledger.files) > 30:  # each is read again and again
            return
        data = self._chance.randbytes(self._chance.choice((10, 5_000, 1_500_000)))
        form = {"files": {"file": ("a.bin", data)}, "data": {"purpose": "user_data"}}
        answer = self._sent("POST", "/v1/files", **form)
        if self._is_done(answer, 200):
            self.ledger.files[answer.json()["id"]] = data

    def _deletes(self) -> None:
        if len(self.ledger.files) < 3:
            return
        file_id = self._chance.choice(sorted(self.ledger.files))
        self.ledger.doubt.add(file_id)
        data = self.ledger.files.pop(file_id)
        answer = self._sent("DELETE", f"/v1/files/{file_id}")
        self.ledger.doubt.discard(file_id)
        if self._is_done(answer, 200):
            self.ledger.deleted.add(file_id)
        else:
            self.ledger.files[file_id] = data

    def _has_kept(self) -> None:
        answer = self._sent("POST", "/v1/responses", {"model": MODEL, "input": "Say hello.", "max_output_tokens": 8})
        if self._is_done(answer, 200):
            said = answer.json()
            if said["status"] in ("completed", "incomplete"):
                self.ledger.responses[said["id"]] = json.dumps(said["output"], sort_keys=True)

    def _talks(self) -> None:
        if len(self.ledger.messages.get(self._chat, {})) > _MESSAGES:
            begun = self._sent("POST", "/intramural/v1/chats", {"model": MODEL}, page=True)
            if self._is_done(begun, 201):
                self._chat = begun.json()["id"]
            return
        text = f"My number is {self._chance.randrange(10**9)}."
        path = f"/intramural/v1/chats/{self._chat}/turns"
        with self._sent("POST", path, {"content": text, "max_tokens": 8}, page=True, stream=True) as answer:
            if answer.status_code != 200:
                self._refused(answer.status_code, answer.text)
                return
            said, ids, ended = "", {}, False
            for line in answer.iter_lines():
                ended |= line == b"data: [DONE]"
                if not line.startswith(b"data: {"):
                    continue
                value = json.loads(line[6:])
                if "error" in value:
                    self._refused(200, line[6:].decode())
                    return
                if "assistant_message_id" in value:
                    ids = value
                    self._told(ids["user_message_id"], text)  # kept before its answer begins
                else:
                    said += "".join(each["delta"].get("content") or "" for each in value["choices"])
            if not ended:
                raise Gone
            self._told(ids["assistant_message_id"], said)

    def _told(self, message_id: str, text: str) -> None:
        self.ledger.messages.setdefault(self._chat, {})[message_id] = text

    def _makes_key(self) -> None:
        if len(self.ledger.keys) > 20:
            return
        answer = self._sent("POST", "/intramural/v1/keys", {"name": "one more", "scopes": ["inference"]}, page=True)
        if self._is_done(answer, 201):
            self.ledger.keys.add(answer.json()["key"]["id"])

    # what must be there

    def check(self) -> None:
        """Everything that was acknowledged, read again: the person's own, from the service that runs now."""
        ledger = self.ledger
        listed = {each["id"] for each in self._sent("GET", "/v1/files", params={"limit": 10_000}).json()["data"]}
        assert set(ledger.files) <= listed, set(ledger.files) - listed
        assert not ledger.deleted & listed, ledger.deleted & listed
        for file_id, data in ledger.files.items():
            assert self._sent("GET", f"/v1/files/{file_id}/content").content == data, file_id
        for name, output in ledger.responses.items():
            kept = self._sent("GET", f"/v1/responses/{name}")
            assert kept.status_code == 200, (name, kept.text)
            assert json.dumps(kept.json()["output"], sort_keys=True) == output, name
        for chat, messages in ledger.messages.items():
            answer = self._sent("GET", f"/intramural/v1/chats/{chat}", page=True)
            assert answer.status_code == 200, answer.text
            kept_messages = {each["id"]: each["content"] for each in answer.json()["messages"]}
            assert kept_messages | messages == kept_messages
        keys = {each["id"] for each in self._sent("GET", "/intramural/v1/keys", page=True).json()["keys"]}
        assert ledger.keys <= keys, ledger.keys - keys
