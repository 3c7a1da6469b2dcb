"""How strictly this machine can confine, found out by doing it."""

import errno
import os
import platform
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from intramural.core.errors import Broken, Untrusted
from intramural.sandbox import landlock
from intramural.sandbox.children import run_once
from intramural.sandbox.launch import WITNESS, Launch
from intramural.sandbox.machine import Machine, here, lacking, shown

_PROBE_TIMEOUT_S = 20.0
_LAYERS = ("netns", "landlock", "seccomp")


class Level(StrEnum):
    """What holds around a worker. `full`: everything; the others name what this machine lacks."""

    FULL = "full"
    NO_NETNS = "no-netns"
    NO_LANDLOCK = "no-landlock"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Posture:
    """What a child of this process, on this machine, is really confined by. `reasons`: why a layer is missing."""

    level: Level
    landlock_abi: int
    seccomp: bool
    netns: bool
    own_uid: bool
    kernel: str
    reasons: tuple[str, ...] = ()


#: required → the levels that satisfy it.
_SATISFIES: Mapping[str, frozenset[Level]] = {
    "full": frozenset({Level.FULL}),
    "no-netns": frozenset({Level.FULL, Level.NO_NETNS}),
    "no-landlock": frozenset({Level.FULL, Level.NO_LANDLOCK}),
}


def allows(required: str, reached: Level) -> bool:
    """Whether a machine that reaches `reached` may serve models where `required` is asked for. Unknown words: no."""
    return reached in _SATISFIES.get(required, frozenset())


def missing_layers(level: Level) -> frozenset[str]:
    """The layers to leave out at a named downgrade; none at `full` (and nothing is served at `none`)."""
    return {
        Level.NO_NETNS: frozenset({"netns"}),
        Level.NO_LANDLOCK: frozenset({"landlock"}),
    }.get(level, frozenset())


def level_of(layers: frozenset[str]) -> Level:
    """The level that a set of layers makes. Pure."""
    lacking = frozenset(_LAYERS) - layers
    if not lacking:
        return Level.FULL
    if lacking == {"netns"}:
        return Level.NO_NETNS
    if lacking == {"landlock"}:
        return Level.NO_LANDLOCK
    return Level.NONE


async def probe() -> Posture:
    """Confine a throwaway child, have it try what must fail, and say what holds."""
    machine = here()
    if machine.system != "Linux":
        return impossible(machine)
    without: set[str] = set()
    reasons: list[str] = []
    escapes: list[str] | None = None
    for _ in range(len(_LAYERS) + 2):
        launch = Launch("parser", WITNESS, {}, without=frozenset(without))
        try:
            escapes = (await run_once(launch, _PROBE_TIMEOUT_S))["escapes"]
            break
        except Untrusted as error:  # it started a program, or it is not what was confined that answers
            reasons.append(error.message)
            break
        except Broken as error:
            reasons.append(error.message)
            if error.param is None or error.param in without:
                break
            without.add(error.param)
    reasons += [f"a confined child could still {escape}" for escape in escapes or ()]
    layers = holding(frozenset(without), escapes, os.geteuid() == 0)
    return Posture(
        level=Level.NONE if os.geteuid() == 0 and "uid" not in layers else level_of(layers),
        landlock_abi=landlock.abi(),
        seccomp="seccomp" in layers,
        netns="netns" in layers,
        own_uid="uid" in layers,
        kernel=platform.release(),
        reasons=tuple(reasons),
    )


def impossible(machine: Machine) -> Posture:
    """Where nothing can even be tried. Pure."""
    return Posture(Level.NONE, 0, False, False, False, machine.system, (shown(lacking(machine)),))


def holding(without: frozenset[str], escapes: list[str] | None, root: bool) -> frozenset[str]:
    """The layers that hold, by what had to be left out and what still worked (None: nobody could tell). Pure."""
    if escapes is None:
        return frozenset()
    layers = frozenset({*_LAYERS, "uid"} if root else _LAYERS)
    return layers - without - _contradicted(escapes)


def witness(_arg: Mapping[str, Any], _files: Mapping[str, int]) -> dict[str, Any]:
    """Runs confined: which of the things that must fail do not."""
    return {"escapes": [name for name, attempt in _ESCAPES.items() if _works(attempt)]}


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError as error:
        return error.errno not in (errno.EPERM, errno.EACCES, errno.ENOSYS)
    return True


_ESCAPES: Mapping[str, Callable[[], object]] = {
    "read a file": lambda: Path("/etc/passwd").read_bytes(),
    "make a socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).close(),
    "start a program": lambda: os.execv("/bin/true", ["true"]),  # noqa: S606 — to find that it cannot
}


def _contradicted(escapes: list[str]) -> set[str]:
    """The layers that an escape shows not to hold, whatever the child said."""
    blame = {"read a file": "landlock", "make a socket": "seccomp", "start a program": "seccomp"}
    return {blame.get(escape, "seccomp") for escape in escapes}
