"""What runs in the child, in this order: import, then give up everything, then do the work.

    1  read the launch message; close every descriptor that is not named in it
    2  import the entry's module completely: nothing can be imported afterwards
    3  assert that there is one thread: another one would keep what this one gives up
    4  empty network namespace, 5 own user, 6 limits, 7 no capabilities, no_new_privs, no dumps
    8  Landlock, 9 seccomp, and the promise to die with the parent between them
    10 say which layers hold (`told`: whoever started us hears of what is refused), and which switches of `core.quiet`
       are not set, 11 run the entry

A step that fails ends the child with the layer's name; nothing is skipped but what the launch says to leave out.
"""

import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_MAX_FD = 2**31 - 1


def main(message_fd: int, answer_fd: int) -> None:
    """Be the child: the launch message comes on `message_fd`, what we have to say goes to `answer_fd`."""
    with os.fdopen(message_fd, "rb") as pipe:
        launch = json.loads(pipe.read())
    sys.path[:] = launch["path"]
    given = dict(launch["files"]) | ({} if launch["channel"] is None else {"channel": launch["channel"]})
    hand = () if launch["hand"] is None else (launch["hand"],)
    _close_others({0, 1, 2, answer_fd, *given.values(), *launch["memory"], *hand})
    from intramural.core import quiet
    from intramural.core.errors import IntramuralError
    from intramural.sandbox import identity, kernel, landlock, profiles, seccomp  # noqa: F401 — imported before step 3

    try:
        entry = _imported(launch["entry"])
        layers = _confine(launch, answer_fd)
    except IntramuralError as error:
        _say(answer_fd, {"error": _error(error)})
        sys.exit(1)
    _say(answer_fd, {"layers": layers, "unset": quiet.unset()})
    if launch["profile"] in profiles.LASTING:
        os.close(answer_fd)
        entry(launch["arg"], given)
        return
    try:
        result = {"result": entry(launch["arg"], given)}
    except IntramuralError as error:
        result = {"error": _error(error)}
    _say(answer_fd, result)


def _enter(room: str) -> None:
    """Let modules of `room` be imported without what it offers to its neighbours: that has no use here, takes memory
    and a fifth of a second, and is more to break into.
    """
    spec = importlib.util.find_spec(room)
    if spec is not None and room not in sys.modules:
        sys.modules[room] = importlib.util.module_from_spec(spec)


def _imported(entry: str) -> Callable[[Any, Any], Any]:
    module, _, name = entry.partition(":")
    if module.startswith("intramural."):
        _enter(module.rpartition(".")[0])
    function: Callable[[Any, Any], Any] = getattr(importlib.import_module(module), name)
    return function


def _confine(launch: Any, answer_fd: int) -> list[str]:
    """Steps 3 to 9; the names of the layers that hold."""
    from intramural.sandbox import identity, kernel, landlock, profiles, seccomp

    connects = launch["profile"] in profiles.CONNECTS
    without = set(launch["without"]) | ({"netns"} if connects else set())
    abi = 0 if "landlock" in without else landlock.abi()
    if "landlock" not in without and abi < landlock.FLOOR_ABI:
        raise kernel.failed("landlock", f"the kernel offers ABI {abi}, the least is {landlock.FLOOR_ABI}")
    exceptions = _exceptions(launch, landlock) if abi else []
    threads = list(Path("/proc/self/task").iterdir())
    if len(threads) != 1:
        raise kernel.failed("threads", f"there are {len(threads)} threads before confinement")
    layers = [] if "netns" in without else ["netns"]
    done = "netns" in without or (launch["uid"] is not None and identity.empty_network_as_root())
    if launch["uid"] is not None:
        identity.become(launch["uid"])
        layers.append("uid")
    if not done:
        identity.empty_network()
    identity.limit(launch["limits"])
    identity.drop_capabilities()
    identity.no_new_privileges()
    identity.hide_memory()
    if abi:
        landlock.restrict(exceptions, landlock.handled(abi, connects=connects))
        layers.append("landlock")
    for each in exceptions:
        if each.descriptor not in launch["files"].values():
            os.close(each.descriptor)
    identity.die_with(launch["parent"])
    if "seccomp" not in without:
        # Without Landlock nothing else would keep it from opening any file for writing.
        rewrites = bool(abi and launch["memory"])
        told = seccomp.install(launch["profile"], os.getpid(), rewrites=rewrites, hand=launch["hand"])
        layers += ["seccomp", "told"] if told else ["seccomp"]
    return layers


def _exceptions(launch: Any, landlock: Any) -> list[Any]:
    from intramural.sandbox.profiles import READABLE

    found = [landlock.Allowed(fd, landlock.READ_FILE) for fd in launch["files"].values()]
    for path, rights in READABLE[launch["profile"]].items():
        if Path(path).exists():
            found.append(landlock.Allowed(os.open(path, os.O_PATH | os.O_CLOEXEC), rights))
    if launch["private_dir"]:
        directory = os.open(launch["private_dir"], os.O_PATH | os.O_CLOEXEC)
        found.append(landlock.Allowed(directory, landlock.MAKE_SOCK))
    return found


def _close_others(keep: set[int]) -> None:
    low = 0
    for fd in sorted(keep):
        if low < fd:  # an empty range at 0 would close everything: the kernel is told the last one, which is -1
            os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, _MAX_FD)


def _say(fd: int, value: Any) -> None:
    data = json.dumps(value).encode() + b"\n"
    while data:
        data = data[os.write(fd, data) :]


def _error(error: Any) -> dict[str, Any]:
    kind = type(error).__name__
    return {"kind": kind, "code": error.code, "message": error.message, "hint": error.hint, "param": error.param}


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
