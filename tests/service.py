"""A real service: the real program, real weights, real SQLite, one engine thread."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import requests
from openai import OpenAI
from tests import databases, preloaded

MODEL = "smollm2:135m-instruct-q4_1"
ADMIN = ("ada", "a long enough password")
ENDLESS: dict[str, Any] = {"logit_bias": {"0": -100, "2": -100}}
"""Fields of a chat that keep MODEL from ending (by its two end tokens): it is over when it is full or stopped."""


_Found = TypeVar("_Found")


def eventually(check: Callable[[], _Found], timeout_s: float = 60) -> _Found:
    """The first true value of `check()`, or an AssertionError; a generous limit, never a measurement."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if found := check():
            return found
        time.sleep(0.05)
    raise AssertionError("it never came true")


@dataclass
class Service:
    """A running `intramural serve` and what is needed to talk to it."""

    data_dir: Path
    wheel: Path
    settings: dict[str, str] = field(default_factory=dict)
    module: str = "intramural"
    process: subprocess.Popen[str] | preloaded.Program | None = None
    address: str = ""
    setup_link: str | None = None
    place: Path | str | None = None  # of its database, if another than that of the tests
    afresh: bool = False  # started as users start it, not from a process that has imported everything (`preloaded`)
    session: requests.Session = field(default_factory=requests.Session)

    @contextmanager
    def running(self) -> "Iterator[Service]":
        """Started, with its first administrator and its model loaded; stopped at the end."""
        self.start()
        try:
            self.set_up()
            self.wait_ready()
            yield self
        finally:
            self.stop()

    def start(self) -> "Service":
        log = (self.data_dir.parent / "service.log").open("a")
        if self.afresh or self.module != "intramural":
            command = [sys.executable, "-m", self.module, "serve", "--json"]
            self.process = subprocess.Popen(command, env=self.environ, stdout=subprocess.PIPE, stderr=log, text=True)
        else:
            if isinstance(self.database, Path):
                databases.furnish(self.database)
            self.process = preloaded.start(["serve", "--json"], self.environ, log)
        assert self.process.stdout is not None
        greeting = ""
        for line in self.process.stdout:
            greeting += line
            if line.startswith("}"):
                break
        assert greeting, f"the service did not start: {(self.data_dir.parent / 'service.log').read_text()}"
        told = json.loads(greeting)
        self.address, self.setup_link = told["address"], told["setup_link"]
        return self

    @property
    def environ(self) -> dict[str, str]:
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith("INTRAMURAL_")},
            "INTRAMURAL_DATA_DIR": str(self.data_dir),
            "INTRAMURAL_LIBRARY_STARTER": str(self.wheel),
            "INTRAMURAL_SERVER_PORT": "0",
            "INTRAMURAL_SERVING_THREADS": "1",
            **({} if isinstance(self.database, Path) else {"INTRAMURAL_STORAGE_URL": self.database}),
            **self.settings,
        }

    @property
    def database(self) -> Path | str:
        """Where it keeps its database."""
        return databases.place(self.data_dir / "intramural.db") if self.place is None else self.place

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        status = self.process.wait(30)
        if self.process.stdout:
            self.process.stdout.close()
        log = (self.data_dir.parent / "service.log").read_text(errors="replace")
        # in whole lives nothing is tried that is told (`sandbox.told`): else the alarm would be worth nothing
        assert "a confined process was refused" not in log, log[-4000:]
        return status

    def command(self, *words: str, stdin: str = "", check: bool = True) -> Any:
        """`intramural … --json`, parsed."""
        done = preloaded.run([*words, "--json"], self.environ, stdin)
        if check:
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)
        return done

    # as the page does ---------------------------------------------------------------------------------------------

    def set_up(self) -> None:
        assert self.setup_link is not None
        token = re.search(r"token=(.+)$", self.setup_link)
        assert token is not None
        name, password = ADMIN
        body = {"token": token.group(1), "username": name, "password": password}
        answer = self.session.post(f"{self.address}/intramural/v1/setup", json=body)
        assert answer.status_code == 201, answer.text
        self.session.headers["X-CSRF-Token"] = answer.json()["csrf_token"]

    def sign_in(self) -> None:
        self.session = requests.Session()
        name, password = ADMIN
        answer = self.session.post(f"{self.address}/intramural/v1/login", json={"username": name, "password": password})
        assert answer.status_code == 200, answer.text
        self.session.headers["X-CSRF-Token"] = answer.json()["csrf_token"]

    def page(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        return self.session.request(method, f"{self.address}/intramural/v1{path}", timeout=60, **kwargs)

    def new_key(self, **fields: Any) -> str:
        body = {"name": "test", "scopes": ["inference"], **fields}
        answer = self.page("POST", "/keys", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["secret"])

    def client(self, key: str | None = None) -> OpenAI:
        return OpenAI(base_url=f"{self.address}/v1", api_key=key or self.new_key(), max_retries=0, timeout=110)

    def wait_ready(self, timeout_s: float = 60) -> None:
        """Until the model is loaded."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            models = self.page("GET", "/models").json()["models"]
            if models and models[0]["state"] == "ready":
                return
            time.sleep(0.1)
        raise AssertionError((self.data_dir.parent / "service.log").read_text())

    def events(self, **query: Any) -> list[dict[str, Any]]:
        """Entries of the audit log, newest first."""
        return list(self.page("GET", "/audit", params={"limit": 500, **query}).json()["entries"])
