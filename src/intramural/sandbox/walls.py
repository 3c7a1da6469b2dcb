"""What was asked of each process of the service, against what the kernel says of it. Pure.

A wall that was asked for and is not there is `missing`; one that settings leave out is `left_out`, with the setting.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from intramural.sandbox.identity import SERVICE_KEEPS
from intramural.sandbox.readback import Held, Role
from intramural.sandbox.seal import SealLevel

WallName = Literal["user", "privileges", "capabilities", "seccomp", "landlock", "network", "internet"]
WallState = Literal["holds", "missing", "left_out"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What settings ask for. `seal`: of the service itself (None: a command opened the house, and is not sealed);
    `connects`: the settings for which it may make connections; `without`: layers that its children do without; `user`:
    who the service is."""

    seal: SealLevel | None
    connects: tuple[str, ...]
    without: frozenset[str]
    user: int


@dataclass(frozen=True, slots=True)
class Wall:
    """One wall around one process. `kernel`: the kernel says so; else it is the process's own word. `setting`: what
    leaves it out."""

    name: WallName
    state: WallState
    kernel: bool = True
    setting: str = ""


#: The walls of each kind of process, in the order in which they are read.
_WALLS: Mapping[Role, tuple[WallName, ...]] = {
    "gateway": ("privileges", "capabilities", "seccomp", "landlock", "internet"),
    "spawner": ("privileges", "seccomp", "landlock"),
    "broker": ("user", "privileges", "capabilities", "seccomp", "landlock"),
    "worker": ("user", "privileges", "capabilities", "seccomp", "landlock", "network"),
    "child": ("user", "privileges", "capabilities", "seccomp", "landlock", "network"),
}
#: What the kernel tells of nobody.
_OWN_WORD: frozenset[WallName] = frozenset({"landlock", "internet"})
_LAYER_OF: Mapping[WallName, str] = {"landlock": "landlock", "seccomp": "seccomp", "network": "netns"}


def walls(process: Held, asked: Asked) -> tuple[Wall, ...]:
    """The walls around `process`: those that hold, are missing, or were left out."""
    names = (name for name in _WALLS[process.role] if name != "user" or asked.user == 0)  # only root has users to give
    return tuple(_wall(name, process, asked) for name in names)


def _wall(name: WallName, process: Held, asked: Asked) -> Wall:
    kernel = name not in _OWN_WORD
    if _holds(name, process, asked):
        return Wall(name, "holds", kernel)
    setting = _left_out(name, process.role, asked)
    return Wall(name, "left_out" if setting else "missing", kernel, setting)


def _holds(name: WallName, process: Held, asked: Asked) -> bool:
    match name:
        case "user":
            return process.user not in (0, asked.user)
        case "privileges":
            return process.no_new_privileges
        case "capabilities":
            kept = SERVICE_KEEPS if process.role == "gateway" else 0
            return not int(process.capabilities, 16) & ~kept
        case "seccomp":
            return process.seccomp
        case "network":
            return set(process.interfaces) <= {"lo"} and not process.internet
        case "landlock":
            return "landlock" in process.layers
        case "internet":
            return "no-internet" in process.layers


def _left_out(name: WallName, role: Role, asked: Asked) -> str:
    """The setting that leaves it out; empty: none does."""
    if role in ("gateway", "spawner"):
        if asked.seal is None:
            return "command"
        if name == "internet" and asked.connects:
            return ", ".join(asked.connects)
        # the spawner's other walls do not hang on the seal: it is started with them in any case
        lowered = {"off": ("landlock",) if role == "spawner" else _WALLS[role], "no-landlock": ("landlock",)}
        return "sandbox.seal" if name in lowered.get(asked.seal, ()) else ""
    return "sandbox.required_level" if _LAYER_OF.get(name) in asked.without else ""
