"""A real service that can be had to stop at a point, be killed there, and started again; and what must hold then."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import requests
from tests import databases
from tests.faults.at import LATE, SWITCHES, Switches
from tests.service import Service, eventually

from intramural.audit import Verdict, public_key, verify_database

#: What is to be found nowhere after a start: a file of ours on its way to its name.
UNFINISHED = (".part", ".new", ".restoring")


@dataclass
class Acted:
    """What became of an act in another thread: its answer, or what it raised."""

    answer: Any = None
    error: Exception | None = None

    @property
    def told(self) -> bool:
        """Whether somebody was told that it was done."""
        return self.error is None


@contextmanager
def beside(act: Callable[[], Any]) -> Iterator[Acted]:
    """Do it meanwhile; it is over when the block has ended."""
    acted = Acted()

    def work() -> None:
        try:
            acted.answer = act()
        except (requests.RequestException, OSError) as error:
            acted.error = error

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield acted
    finally:
        thread.join()


@dataclass
class House(Service):
    """`up` starts it where it is not running. It keeps every checkpoint that it was told."""

    module: str = "tests.faults.at"
    held: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        file = self.data_dir.parent / "switches"
        file.parent.mkdir(parents=True, exist_ok=True)
        self.switches = Switches(file)
        self.settings = {SWITCHES: str(file), **self.settings}

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def up(self) -> Self:
        """It runs, its administrator is signed in, and everything that must hold holds."""
        if not self.runs:
            self.start()
            if self.setup_link is None:
                self.sign_in()
            else:
                self.set_up()
            self.check()
        return self

    def reached(self, name: str) -> None:
        eventually(lambda: self.switches.is_reached(name) or not self.runs)
        assert self.runs, (self.data_dir.parent / "service.log").read_text()

    def dies_at(self, name: str, act: Callable[[], Any], time_: int = 1) -> Acted:
        """`act`, and the kill where it comes to this point. The service does not run then."""
        self.up()
        self.switches.arm(name, time_)
        with beside(act) as acted:
            try:
                self.reached(name)
            finally:
                self.stop(signal.SIGKILL)
                self.switches.disarm(name)
        return acted

    def dies_starting(self, name: str, time_: int = 1, **late: str) -> None:
        """It is started, and killed where it comes to this point."""
        self.switches.arm(name, time_)
        log = (self.data_dir.parent / "service.log").open("a")
        command = [sys.executable, "-m", self.module, "serve", "--json"]
        self.process = subprocess.Popen(command, env={**self.environ, **late}, stdout=log, stderr=log, text=True)
        try:
            self.reached(name)
        finally:
            self.stop(signal.SIGKILL)
            self.switches.disarm(name)

    def command_dies_at(self, name: str, *words: str, time_: int = 1) -> None:
        """`intramural …`, killed where it comes to this point."""
        self.switches.arm(name, time_)
        log = (self.data_dir.parent / "command.log").open("a")
        command = [sys.executable, "-m", self.module, *words]
        process = subprocess.Popen(command, env={**self.environ, LATE: name}, stdout=log, stderr=log)
        try:
            eventually(lambda: self.switches.is_reached(name) or process.poll() is not None)
            assert process.poll() is None, (self.data_dir.parent / "command.log").read_text()
        finally:
            process.kill()
            process.wait()
            self.switches.disarm(name)

    @contextmanager
    def stands_at(self, name: str, act: Callable[[], Any], time_: int = 1) -> Iterator[Acted]:
        """`act`, up to this point: in the block the service stands still there; after it, it goes on to the end."""
        self.switches.arm(name, time_)
        with beside(act) as acted:
            try:
                self.reached(name)
                yield acted
            finally:
                self.switches.disarm(name)

    @property
    def spawner(self) -> int:
        (spawner,) = [each for each in _children(self.pid) if b"spawner.py" in _command(each)]
        return spawner

    @property
    def children(self) -> Sequence[int]:
        """The processes that its spawner has started, the oldest first."""
        return sorted(_children(self.spawner))

    # what must hold

    def check(self) -> None:
        """After every start."""
        self.check_log()
        checked = self.page("POST", "/vault/check").json()
        assert checked["wrong"] == [], checked
        unfinished = [each for each in self.data_dir.rglob("*") if each.name.endswith(UNFINISHED)]
        assert [each for each in unfinished if each.parent.name != "incoming"] == []
        workers = {each.name.partition("-")[0] for each in (self.data_dir / "run").iterdir()}
        assert workers <= {str(self.pid)}, "of a service that is gone"
        if isinstance(self.database, Path):
            with closing(sqlite3.connect(self.database)) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                assert connection.execute("PRAGMA foreign_key_check").fetchall() == []

    def check_log(self) -> Verdict:
        """The log verifies, also against every checkpoint that was told before."""
        verdict = verify_database(self.database, self.key, self.held)
        assert verdict.ok, verdict
        self.held.append(self.page("GET", "/audit", params={"limit": 1}).json()["checkpoint"]["note"])
        return verdict

    @property
    def key(self) -> str:
        """The log's public key."""
        return public_key(self.data_dir / "secrets", "intramural.local/audit")

    def recorded(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """Entries of this kind, the oldest first, whose fields (or facts) are these."""
        found = databases.query(
            self.database, f"SELECT record FROM audit_entries WHERE event = '{event}' ORDER BY position"
        )
        entries = [dict(json.loads(bytes(record))) for (record,) in found]
        return [each for each in entries if all({**each["facts"], **each}[name] == fields[name] for name in fields)]


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(each) for each in (task / "children").read_text().split()]
    return found


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def ended(pid: int) -> bool:
    """Whether this process is gone, or has only not been waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def kill(pid: int) -> None:
    """`kill -9`, and wait until it is gone."""
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: ended(pid))
