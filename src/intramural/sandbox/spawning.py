"""The service's side of its spawner: starting it, asking it, noticing that it is gone."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from intramural.core.errors import Broken, IntramuralError, Unavailable
from intramural.sandbox.hearing import Calls, Denied
from intramural.sandbox.launch import ENVIRONMENT, Launch, Rules, packed
from intramural.sandbox.seal import Needs
from intramural.sandbox.spawner import MOST_DESCRIPTORS, PACKET_BYTES
from intramural.sandbox.starting import NUMBERS, Begun, deny, last_denied, start_through

_SPAWNER = Path(__file__).with_name("spawner.py")
_END_TIMEOUT_S = 5.0
_BUSY_PAUSE_S = 0.005


class Spawner:
    """A spawner that was started. Start it first of all, `attach` it to the loop that asks it, `close` it at the end.

    `lost` is done when it has ended by itself: then no child is left, and none can be started any more. `layers` is
    what it says holds around it, `unset` the switches of `core.quiet` it says are not set.
    """

    def __init__(self, rules: Rules, needs: Needs | None = None) -> None:
        """Start it. `rules` has to name a run directory that exists; `needs` is all that it, and whatever it starts,
        can reach of files (None: no Landlock around it). Raises OSError."""
        assert rules.package and rules.without is not None and rules.run_dir and rules.env is not None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        told = {
            "path": [str(Path(entry).absolute()) for entry in sys.path if entry],
            "parent": os.getpid(),
            "package": rules.package,
            "without": sorted(rules.without),
            "run_dir": str(rules.run_dir),
            "env": sorted(rules.env),
            "connects": rules.connects,
            "needs": None if needs is None else _told_of(needs),
        }
        with theirs:
            self._process = subprocess.Popen(
                (sys.executable, "-I", "-X", "utf8", str(_SPAWNER), str(theirs.fileno()), json.dumps(told)),
                stdin=subprocess.DEVNULL,
                env=ENVIRONMENT,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # what a terminal sends to us, it need not hear
            )
        ours.setblocking(False)
        self._channel = ours
        self._numbers = count(1)
        self._asked: dict[int, tuple[Launch, asyncio.Future[_Theirs]]] = {}
        self._children: dict[int, _Theirs] = {}
        self._reason: IntramuralError | None = None
        self.layers: tuple[str, ...] = ()
        self.unset: tuple[str, ...] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def children(self) -> "Mapping[int, _Theirs]":
        """The processes it has now: the entry that each runs, and the layers that it says hold."""
        return self._children

    @property
    def gone(self) -> IntramuralError | None:
        """Why no child can be begun any more."""
        return self._why() if self._loop is not None and self.lost.done() else None

    def attach(self) -> None:
        """From now on children of this process are begun by the spawner, on the running loop."""
        loop = self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._channel, self._hear)
        start_through(self)

    async def begin(self, launch: Launch, log: int, answer: int) -> Begun:
        """As `Starter.begin`. Raises Broken(`spawner_died`) when it is gone, and what it says."""
        number = next(self._numbers)
        body = os.memfd_create("launch", os.MFD_CLOEXEC)
        try:
            _write(body, packed(launch))
            descriptors = [body, log, answer, *launch.descriptors]
            if len(descriptors) > MOST_DESCRIPTORS:
                raise Broken("child_died", f"A worker could not be started: {len(descriptors)} files are too many.")
            await self._send({"id": number}, descriptors)
        finally:
            os.close(body)
        asked: asyncio.Future[_Theirs] = asyncio.get_running_loop().create_future()
        self._asked[number] = launch, asked
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            asked.add_done_callback(_unwanted)
            raise

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Send a child a signal; one that cannot be sent now is sent when it can."""
        data = json.dumps({"pid": pid, "signal": int(number)}).encode()
        try:
            self._channel.send(data)
        except BlockingIOError:
            asyncio.get_running_loop().call_later(_BUSY_PAUSE_S, self.signal, pid, number)
        except OSError:  # it is gone, and so is the child
            return

    def close(self) -> None:
        """End it, with whatever it has left."""
        start_through(None)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._channel)
        self._channel.close()
        try:
            self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    async def _send(self, value: Mapping[str, Any], descriptors: list[int]) -> None:
        while True:
            try:
                socket.send_fds(self._channel, [json.dumps(value).encode()], descriptors)
                return
            except BlockingIOError:
                await asyncio.sleep(_BUSY_PAUSE_S)
            except OSError as error:
                raise self._why() from error

    def _hear(self) -> None:
        while True:
            try:
                data = self._channel.recv(PACKET_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._end()
                return
            said = json.loads(data)
            if "ended" in said:
                if child := self._children.pop(said["ended"], None):
                    _denied(child, last_denied(said["denied"], said["status"]))
                    child.ended.set_result(said["status"])
            elif "denied" in said:
                if child := self._children.get(said["of"]):
                    _denied(child, said["denied"])
            elif "layers" in said:
                self.layers, self.unset = tuple(said["layers"]), tuple(said["unset"])
            elif "lost" in said:
                self._reason = _error(said["lost"])
            else:
                self._told(said)

    def _told(self, said: Mapping[str, Any]) -> None:
        launch, asked = self._asked.pop(said["id"])
        if "error" in said:
            asked.set_exception(_error(said["error"]))
            return
        child = _Theirs(self, said["pid"], asyncio.get_running_loop().create_future(), launch)
        self._children[child.pid] = child
        asked.set_result(child)

    def _end(self) -> None:
        """It is gone, and the kernel has killed its children."""
        asyncio.get_running_loop().remove_reader(self._channel)
        if not self.lost.done():
            self.lost.set_result(None)
        for _, asked in self._asked.values():
            asked.set_exception(self._why())
        for child in self._children.values():
            child.ended.set_result(-signal.SIGKILL)
        self._asked.clear()
        self._children.clear()

    def _why(self) -> IntramuralError:
        return self._reason or spawner_died()


class _Theirs:
    """A child of the spawner's."""

    def __init__(self, spawner: Spawner, pid: int, ended: asyncio.Future[int], launch: Launch) -> None:
        self._spawner = spawner
        self.pid = pid
        self.ended = ended
        self.entry = launch.entry
        self.about = launch.about
        self.number = next(NUMBERS)
        self.layers: tuple[str, ...] = ()
        self.unset: tuple[str, ...] | None = None

    @property
    def status(self) -> int | None:
        return self.ended.result() if self.ended.done() else None

    def signal(self, number: signal.Signals) -> None:
        if not self.ended.done():
            self._spawner.signal(self.pid, number)


def _denied(child: _Theirs, calls: Calls) -> None:
    if calls:
        deny(Denied(child.number, child.pid, child.entry, child.about, calls))


def _told_of(needs: Needs) -> dict[str, list[str]]:
    paths = {"read": needs.read, "write": needs.write, "run": needs.run}
    return {kind: [str(each.absolute()) for each in found] for kind, found in paths.items()}


def spawner_died() -> Broken:
    """The process that starts workers is gone: the service cannot start another one."""
    hint = "The service ends, so that whoever started it starts it again. Its log says what came before."
    return Broken("spawner_died", "The process that starts workers has ended.", hint)


def _unwanted(asked: "asyncio.Future[_Theirs]") -> None:
    if not asked.cancelled() and asked.exception() is None:
        asked.result().signal(signal.SIGKILL)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _error(said: Mapping[str, Any]) -> IntramuralError:
    """What the spawner says went wrong, as the class it was."""
    if said["kind"] == "Unavailable":
        return Unavailable(said["code"], said["message"], said["hint"], retry_after_s=said["retry_after_s"])
    return Broken(said["code"], said["message"], said["hint"], param=said["param"])
