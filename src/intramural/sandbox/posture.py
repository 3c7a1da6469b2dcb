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

from intramural.core.errors import Broken
from intramural.sandbox import landlock
from intramural.sandbox.spawn import Launch, run_once

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
    without: set[str] = set()
    reasons: list[str] = []
    found: Mapping[str, Any] = {"layers": [], "escapes": ["nothing could be confined"]}
    for _ in range(len(_LAYERS) + 2):
        launch = Launch("parser", "intramural.sandbox.posture:witness", {}, without=frozenset(without))
        try:
            found = await run_once(launch, _PROBE_TIMEOUT_S)
            break
        except Broken as error:
            if error.param is None or error.param in without:
                reasons.append(error.message)
                break
            without.add(error.param)
            reasons.append(error.message)
    layers = frozenset({*_LAYERS, "uid"}) - without - frozenset(_contradicted(found["escapes"]))
    if os.geteuid() != 0:
        layers -= {"uid"}
    reasons += [f"a confined child could still {escape}" for escape in found["escapes"]]
    level = level_of(layers)
    if os.geteuid() == 0 and "uid" not in layers:
        level = Level.NONE
    return Posture(
        level=level,
        landlock_abi=landlock.abi(),
        seccomp="seccomp" in layers,
        netns="netns" in layers,
        own_uid="uid" in layers,
        kernel=platform.release(),
        reasons=tuple(reasons),
    )


def witness(_arg: Mapping[str, Any], _files: Mapping[str, int]) -> dict[str, Any]:
    """Runs confined: which of the things that must fail do not."""
    return {"escapes": [name for name, attempt in _ESCAPES.items() if _works(attempt)], "layers": []}


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError as error:
        return error.errno not in (errno.EPERM, errno.EACCES, errno.ENOSYS)
    return True


_ESCAPES: Mapping[str, Callable[[], object]] = {
    "read a file": lambda: Path("/etc/passwd").read_bytes(),
    "make a socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).close(),
    "start a program": lambda: os.execv("/bin/true", ["true"]),  # noqa: S606 — it must fail; where it does not, this child ends
}


def _contradicted(escapes: list[str]) -> set[str]:
    """The layers that an escape shows not to hold, whatever the child said."""
    blame = {"read a file": "landlock", "make a socket": "seccomp", "start a program": "seccomp"}
    return {blame.get(escape, "seccomp") for escape in escapes}
