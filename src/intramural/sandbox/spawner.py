"""The process that starts the service's children: one thread, few imports, and a way to the network only for a broker.

It was started before the service read anything from outside, and knows since then what may be started (`Rules`): the
service can ask for a child that is confined, and for nothing else, whoever has taken the service over. Landlock leaves
it, and so all that it starts, the interpreter to execute and the files that children read (`fence`). It ends with the
service, and its children end with it.

A request is a packet on the channel; its first descriptor is a file in memory with the launch, then come the child's
log and answer, then the launch's own. Answers, ends, and what children were refused (`hearing`) are packets without
descriptors.
"""

import json
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: A packet is a number or two, or an error; descriptors: what the kernel lets travel together (SCM_MAX_FD).
PACKET_BYTES, MOST_DESCRIPTORS = 16 * 2**10, 253
_MOST_LAUNCH_BYTES = 32 * 2**20


def main(channel: int, told: str) -> None:
    """Be the spawner: `told` is what the service says of itself and of what may be started (JSON)."""
    given = json.loads(told)
    sys.path[:] = given["path"]
    from intramural.core import quiet
    from intramural.core.errors import IntramuralError
    from intramural.sandbox import denied, identity
    from intramural.sandbox.launch import Rules
    from intramural.sandbox.seal import fence

    run_dir = Path(given["run_dir"])
    rules = Rules(
        package=given["package"],
        without=frozenset(given["without"]),
        run_dir=run_dir,
        run_door=os.open(run_dir, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC),
        env=frozenset(given["env"]),
        connects=given["connects"],
    )
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # it ends when the service has; a handler, because children inherit less
    spawner = _Spawner(socket.socket(fileno=channel), rules)
    try:
        identity.die_with(given["parent"])
        identity.no_new_privileges()
        identity.hide_memory()
        if given["needs"] is not None:
            fence(_needs(given["needs"], connects=rules.connects))
        denied.install("spawner", outward=rules.connects)
    except IntramuralError as error:
        spawner.say({"lost": _shown(error)})
        sys.exit(1)
    layers = ["seccomp"] if given["needs"] is None else ["landlock", "seccomp"]
    spawner.say({"layers": layers, "unset": quiet.unset()})
    spawner.run()


def _needs(given: Any, *, connects: bool) -> Any:
    from intramural.core.errors import IntramuralError
    from intramural.sandbox import users
    from intramural.sandbox.seal import Needs

    read, write, run = (tuple(map(Path, given[kind])) for kind in ("read", "write", "run"))
    if os.geteuid() == 0:
        with suppress(IntramuralError):  # said when a user is to be lent
            write = (*write, users.place())
    return Needs(read, write, run, ("its broker",) if connects else ())


@dataclass
class _Spawner:
    """Everything it knows: its children that have not been waited for, and what it hears of them."""

    channel: socket.socket
    rules: Any
    children: dict[int, Any] = field(default_factory=dict)

    def run(self) -> None:
        """Until the service is gone."""
        from intramural.sandbox.hearing import Hearing

        waiting = selectors.DefaultSelector()
        waiting.register(self.channel, selectors.EVENT_READ)

        def watch(descriptor: int, what: Callable[[], None]) -> None:
            waiting.register(descriptor, selectors.EVENT_READ, what)

        hearing = Hearing(watch, waiting.unregister, self._tell)
        open_ = True
        while open_:
            for key, _ in waiting.select(hearing.pause_s()):
                if key.fileobj is self.channel:
                    open_ = self._answer(waiting, hearing)
                elif callable(key.data):
                    key.data()
                else:
                    self._reap(waiting, hearing, key.data)
            hearing.beat()
        for pid in self.children:
            os.kill(pid, signal.SIGKILL)
        for pid in self.children:
            os.waitpid(pid, 0)

    def _answer(self, waiting: selectors.BaseSelector, hearing: Any) -> bool:
        """One packet; False when there will be no more."""
        data, descriptors, _, _ = socket.recv_fds(
            self.channel, PACKET_BYTES, MOST_DESCRIPTORS, flags=socket.MSG_CMSG_CLOEXEC
        )
        if not data:
            return False
        try:
            asked = json.loads(data)
            if "signal" in asked:
                if asked["pid"] in self.children:
                    os.kill(asked["pid"], asked["signal"])
            else:
                self.say({"id": asked["id"], **self._begun(descriptors, waiting, hearing)})
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _begun(self, descriptors: list[int], waiting: selectors.BaseSelector, hearing: Any) -> dict[str, Any]:
        from intramural.core.errors import Broken, IntramuralError
        from intramural.sandbox import launch as launching

        try:
            body, log, answer, *others = descriptors
            asked = launching.unpacked(os.pread(body, _MOST_LAUNCH_BYTES, 0))
            at = dict(zip(asked.descriptors, others, strict=True))
            started = launching.begin(asked, log, answer, self.rules, at)
        except IntramuralError as error:
            return {"error": _shown(error)}
        except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
            return {"error": _shown(Broken("child_died", "A worker could not be started.", f"{error!r}"[:500]))}
        self.children[started.pid] = started
        waiting.register(os.pidfd_open(started.pid), selectors.EVENT_READ, started.pid)
        if started.door is not None:
            hearing.add(started.pid, started.door)
        return {"pid": started.pid}

    def _reap(self, waiting: selectors.BaseSelector, hearing: Any, pid: int) -> None:
        watch = next(key.fileobj for key in waiting.get_map().values() if key.data == pid)
        waiting.unregister(watch)
        assert isinstance(watch, int)
        os.close(watch)
        _, status = os.waitpid(pid, 0)
        started = self.children.pop(pid)
        if started.lent is not None:
            started.lent.give_back()
        self.say({"ended": pid, "status": os.waitstatus_to_exitcode(status), "denied": hearing.drop(pid)})

    def _tell(self, pid: int, calls: Mapping[str, int]) -> bool:
        """What `pid` was refused; where the service does not listen just now, it is told later."""
        with suppress(OSError):
            self.channel.send(json.dumps({"of": pid, "denied": calls}).encode(), socket.MSG_DONTWAIT)
            return True
        return False

    def say(self, value: dict[str, Any]) -> None:
        """To the service; once it is gone, to nobody."""
        try:
            self.channel.sendall(json.dumps(value).encode())
        except (BrokenPipeError, ConnectionResetError):
            return


def _shown(error: Any) -> dict[str, Any]:
    shown = {"kind": type(error).__name__, "code": error.code, "message": error.message, "hint": error.hint}
    return {**shown, "param": error.param, "retry_after_s": getattr(error, "retry_after_s", None)}


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
