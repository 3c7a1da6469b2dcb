"""Processes of a service under load are killed at random, again and again: what was acknowledged is never lost.

`make soak` kills a thousand times, or as long as INTRAMURAL_TEST_KILLS_S seconds last, and says how many it was.
INTRAMURAL_TEST_KILLS: another number; INTRAMURAL_TEST_KILLS_FROM: where to go on. Which process a kill is for, and when
it comes, is decided by its number. What the machine makes of it is not: only the simulation has a run again exactly.
"""

import json
import os
import random
import signal
import socket
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests import databases, preloaded
from tests.faults.clients import Person
from tests.faults.house import House, ended
from tests.service import eventually
from tests.verifier.standing import Standing

from intramural.sandbox.network import place
from intramural.serving.adapting import cpu_s

KILLS = int(os.environ.get("INTRAMURAL_TEST_KILLS", "1000"))
FIRST = int(os.environ.get("INTRAMURAL_TEST_KILLS_FROM", "0"))
LASTING_S = float(os.environ.get("INTRAMURAL_TEST_KILLS_S", "3600"))
PEOPLE = 4
#: Everybody rests and all is looked at: so often, and at the end.
LOOKED_AT_EVERY = 50
#: Who is killed: the more often, the more there is to go wrong.
VICTIMS = ("gateway",) * 5 + ("starting",) + ("worker",) * 6 + ("broker", "broker", "spawner")
#: Every other kill waits so long for somebody to be told something (of a worker: for an answer to begin): else it would
#: only meet starts.
PATIENCE_S = 20.0
#: A start that is killed has come this far at most: about as long as one takes.
STARTING_S = 2.0


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Storm:
    """A service with people in it, and what befalls it."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        # always at the same address, so that people find it again
        settings = {"INTRAMURAL_SERVER_PORT": str(free_port()), "INTRAMURAL_SERVING_CONTEXT_TOKENS": "1024"}
        self.house = House(folder / "data", wheel, settings, module="intramural").up()
        self.house.wait_ready()
        self.people = [Person(self.house, number) for number in range(PEOPLE)]
        self.done: Counter[str] = Counter()
        self.left: set[int] = set()
        #: Of each start after a kill: until it listens. Afresh as users do it, or from what has imported everything.
        self.restarts_s: dict[str, list[float]] = {"afresh": [], "preloaded": []}
        #: Of those, how much of a processor the service itself used: that does not depend on what runs beside it.
        self.computed_s: dict[str, list[float]] = {"afresh": [], "preloaded": []}
        #: Where the time goes.
        self.spent_s: defaultdict[str, float] = defaultdict(float)

    def kill(self, number: int) -> None:
        """The kill of this number. The service runs afterwards."""
        chance = random.Random(f"kill {number}")
        victim = chance.choice(VICTIMS)
        with self._timed("until somebody is told something"):
            if chance.random() < 0.5:
                self._wait_for_progress(answers=victim == "worker")
        with self._timed("until the moment that chance gives"):
            time.sleep(chance.choice((0.05, 0.5, 2.0)) * chance.random())
        with self._timed(f"kill of {victim}"):
            killed = getattr(self, f"_{victim}")(chance)
        self.done.update(killed)

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        began_s = time.monotonic()
        yield
        self.spent_s[what] += time.monotonic() - began_s

    def _wait_for_progress(self, *, answers: bool) -> None:
        """Until somebody is told something; of `answers`, until one begins."""

        def told() -> int:
            return sum(len(each.ledger.began) for each in self.people) if answers else self.acknowledged

        before, end_s = told(), time.monotonic() + PATIENCE_S
        while told() == before and time.monotonic() < end_s:
            time.sleep(0.02)

    @property
    def acknowledged(self) -> int:
        """How much people were told."""
        return sum(person.ledger.told for person in self.people)

    # Each kills, and says whom.

    def _gateway(self, chance: random.Random) -> Sequence[str]:
        self._kill_gateway()
        self._start()
        return ["gateway"]

    def _starting(self, chance: random.Random) -> Sequence[str]:
        """Killed, and the next one too, in the midst of its start; the one after that starts as users start it."""
        self._kill_gateway()
        with (self.house.data_dir.parent / "service.log").open("a") as log:
            self.house.process = preloaded.start(["serve", "--json"], self.house.environ, log)
        time.sleep(STARTING_S * chance.random())
        self._kill_gateway()
        self._start(afresh=True)
        return ["gateway", "gateway that starts"]

    def _worker(self, chance: random.Random) -> Sequence[str]:
        """The one child without a network, whether it is ready or only loads its model."""
        end_s = time.monotonic() + PATIENCE_S
        while not (found := self._children(networked=False)) and time.monotonic() < end_s:
            time.sleep(0.02)
        if found:
            self._kill(found[-1])
        return ["worker"] if found else []

    def _broker(self, chance: random.Random) -> Sequence[str]:
        """The one that connects, the oldest, and not the one that waits to replace it."""
        if found := self._children(networked=True):
            self._kill(found[0])
        return ["broker"] if found else []

    def _children(self, *, networked: bool) -> Sequence[int]:
        found = []
        for pid in self.house.children:
            with suppress(OSError):  # it has just ended
                if (place(pid) == place(os.getpid())) == networked:
                    found.append(pid)
        return found

    def _spawner(self, chance: random.Random) -> Sequence[str]:
        self.left |= {*self.house.children}
        self._kill(self.house.spawner)
        assert self.house.process is not None
        assert self.house.process.wait(60) == 1, "on purpose: it cannot be had again from inside"
        self._start()
        return ["spawner"]

    def _kill_gateway(self) -> None:
        with suppress(ValueError, OSError):  # it has none yet
            self.left |= {self.house.spawner, *self.house.children}
        assert self.house.stop(signal.SIGKILL) == -signal.SIGKILL, "it had ended by itself"

    def _kill(self, pid: int) -> None:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:  # it has just ended
            return

    def _start(self, *, afresh: bool = False) -> None:
        self.house.afresh, began_s = afresh, time.monotonic()
        self.house.start()
        how = "afresh" if afresh else "preloaded"
        self.restarts_s[how].append(time.monotonic() - began_s)
        self.computed_s[how].append(cpu_s(Path(f"/proc/{self.house.pid}/stat").read_text()))

    def look(self) -> None:
        """Everybody rests; the log, the vault and the database are right, and all is there that somebody was told."""
        with self._timed("looking"):
            self._look()

    def _look(self) -> None:
        for person in self.people:
            person.may.clear()
        for person in self.people:
            assert person.rests.wait(120), "somebody waits for ever"
        self.house.sign_in()
        self.house.check()
        for person in self.people:
            assert person.ledger.wrong == []
            person.check()
        self._in_the_log()
        eventually(lambda: all(map(ended, self.left)))
        self.left.clear()
        for person in self.people:
            person.may.set()

    def _in_the_log(self) -> None:
        asked = {each["request_id"] for each in self.house.recorded("chat.asked")}
        answered = Counter(each["request_id"] for each in self.house.recorded("chat.answered"))
        assert max(answered.values(), default=0) <= 1
        metered = "SELECT request_id, prompt_tokens, completion_tokens FROM usage"
        used = {name: (int(prompt), int(completion)) for name, prompt, completion in self._rows(metered)}
        assert set(used) == set(answered), "log and meter change together or not at all"
        for person in self.people:
            assert person.ledger.began <= asked, person.ledger.began - asked
            for name, counts in person.ledger.finished.items():
                assert used[name] == counts, name

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return databases.query(self.house.database, query)

    def end(self, folder: Path) -> None:
        self.look()
        for person in self.people:
            person.join()
        # after an orderly stop and another start nothing is held, and nothing lies there that belongs to nobody
        assert self.house.stop() == 0
        self.house.start()
        self.house.sign_in()
        self.house.check()
        assert self._rows("SELECT count(*) FROM quota_holds") == [(0,)]
        rows = {name for (name,) in self._rows("SELECT id FROM files")}
        assert {each.name for each in (self.house.data_dir / "files").iterdir()} == rows
        export = folder / "log"
        export.write_bytes(self.house.page("GET", "/audit/log").content)
        held = folder / "held"
        held.mkdir()
        for number, note in enumerate(self.house.held):
            (held / f"{number}.txt").write_text(note)
        said = Standing.made(folder).run("log", str(export), "--key", self.house.key, "--held", str(held))
        assert said.status == 0, said.text
        self.house.wait_ready()
        run_dirs = list((self.house.data_dir / "run").iterdir())
        assert len(run_dirs) <= 1, f"of workers that are gone: {run_dirs}"
        self.house.stop()

    def told(self) -> str:
        """What was done, in one line of JSON."""
        seen: Counter[str] = sum((person.ledger.seen for person in self.people), Counter())
        told: dict[str, Any] = {"kills": dict(self.done), "acknowledged": self.acknowledged, "seen": dict(seen)}
        told["spent_s"] = {what: round(spent_s, 1) for what, spent_s in self.spent_s.items()}
        told["restarts_s"] = {
            how: {
                "median": round(statistics.median(each), 2),
                "slowest": round(max(each), 2),
                "processor, median": round(statistics.median(self.computed_s[how]), 2),
            }
            for how, each in self.restarts_s.items()
            if each
        }
        return json.dumps(told)


def lives_through(folder: Path, wheel: Path, numbers: range, lasting_s: float) -> None:
    storm = Storm(folder, wheel)
    began_s = time.monotonic()
    try:
        for person in storm.people:
            person.start()
        for count, number in enumerate(numbers, 1):
            storm.kill(number)
            if count % LOOKED_AT_EVERY == 0:
                storm.look()
                print(f"{count} kills in {time.monotonic() - began_s:.0f} s: {storm.told()}", flush=True)
            if time.monotonic() - began_s > lasting_s:
                break
        storm.end(folder)
    finally:
        for person in storm.people:
            person.over.set()
            person.may.set()
        if storm.house.runs:
            storm.house.stop(signal.SIGKILL)
        print(f"{sum(storm.done.values())} kills in {time.monotonic() - began_s:.0f} s: {storm.told()}", flush=True)


def test_some_kills(tmp_path: Path, starter_wheel: Path) -> None:
    """As many as there is time for in every run: each kind of process once, and a start."""
    lives_through(tmp_path, starter_wheel, range(6), 600)


@pytest.mark.slow
@pytest.mark.timeout(LASTING_S + 600)
def test_a_thousand_kills(tmp_path: Path, starter_wheel: Path) -> None:
    lives_through(tmp_path, starter_wheel, range(FIRST, FIRST + KILLS), LASTING_S)
