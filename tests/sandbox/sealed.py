"""What hostile code in the service itself can do: seals this process as the service does, then tries everything.

    python -m tests.sandbox.sealed '{"stage": …, "groups": [[…], …], "connects": false}'      {attempt: result} as JSON

Each group of attempts has a process of its own, made before anything is sealed.

The sealing is the product's own, by settings as an administrator writes them; the data directory is the stage's private
one. What only a service has, it gets before: a connection that it accepted.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.sandbox.attempts import ATTEMPTS, Attempt, Stage, try_each

from intramural.core import config as settings
from intramural.services.enclosure import seal_service

_MSG_FASTOPEN = 0x20000000


def _accepted() -> tuple[socket.socket, socket.socket, socket.socket]:
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    return listener, client, accepted


def reconnect(stage: Stage) -> None:
    """A socket that was accepted is a socket: let go of its peer, and connect it to somebody else."""
    _disconnected(stage).connect(("127.0.0.1", stage["tcp4"]))


def fast_open(stage: Stage) -> None:
    """Connecting without connect(2)."""
    _disconnected(stage).sendto(b"out", _MSG_FASTOPEN, ("127.0.0.1", stage["tcp4"]))


def fast_open_by_message(stage: Stage) -> None:
    """The same, with the address where no filter sees it."""
    _disconnected(stage).sendmsg([b"out"], [], _MSG_FASTOPEN, ("127.0.0.1", stage["tcp4"]))


def _disconnected(stage: Stage) -> socket.socket:
    connection: socket.socket = stage["accepted"]
    libc_connect(connection.fileno())
    return connection


def libc_connect(descriptor: int) -> None:
    """connect(AF_UNSPEC): Python has no word for it. That it is refused is an answer too."""
    from tests.sandbox.attempts import libc

    libc.connect(descriptor, bytes(16), 16)


#: Only what has accepted connections can try these.
OWN: dict[str, Attempt] = {
    "connect an accepted connection to somebody else": Attempt(reconnect),
    "the same by fast open": Attempt(fast_open, frozenset({"EISCONN"})),
    "the same by fast open and sendmsg": Attempt(fast_open_by_message, frozenset({"EISCONN"})),
}


def _tried(told: dict[str, Any], names: list[str]) -> dict[str, str]:
    stage = dict(told["stage"])
    stage["fd"] = os.open(stage["model"], os.O_RDONLY)
    wanted: dict[str, Callable[[Stage], None]] = {name: {**ATTEMPTS, **OWN}[name].run for name in names}
    held = _accepted()
    stage["accepted"] = held[2]
    database = {"INTRAMURAL_STORAGE_URL": "postgresql://here/it"} if told["connects"] else {}
    seal_service(settings.load(database, data_dir=Path(stage["private"])))
    return try_each(wanted, stage)


def _in_a_process(told: dict[str, Any], names: list[str]) -> dict[str, str]:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(writer, 1)
        os.close(reader)
        print(json.dumps(_tried(told, names)), flush=True)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        output = said.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status == -signal.SIGSYS:
        return dict.fromkeys(names, "killed")
    assert status == 0, output
    found: dict[str, str] = json.loads(output.splitlines()[-1])
    return found


def main(told: dict[str, Any]) -> dict[str, str]:
    return {name: came for names in told["groups"] for name, came in _in_a_process(told, names).items()}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))), flush=True)
