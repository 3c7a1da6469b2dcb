"""Which walls a machine could have at all, by its system, processor and Landlock's ABI. Pure but for `here`.

Whether they hold is found out by doing (`posture`); this says beforehand what cannot, and why, also where nothing of
the rest can be called: on another system than Linux.
"""

import platform
from collections.abc import Mapping
from dataclasses import dataclass

from intramural.sandbox import landlock

#: What there are filters of calls for.
MACHINES = frozenset({"x86_64", "aarch64"})
#: Before ABI 2 no file can be renamed from one folder to another, as the library does.
SEAL_ABI = 2


@dataclass(frozen=True, slots=True)
class Machine:
    """`system` and `machine` as uname(2) has them; `landlock_abi` 0: none."""

    system: str
    machine: str
    landlock_abi: int


def here() -> Machine:
    """This one."""
    system = platform.system()
    return Machine(system, platform.machine(), landlock.abi() if system == "Linux" else 0)


def lacking(of: Machine, least_abi: int = landlock.FLOOR_ABI) -> Mapping[str, str]:
    """The layers that cannot be there, each with the reason."""
    if of.system != "Linux":
        return dict.fromkeys(("netns", "landlock", "seccomp"), f"{of.system or 'this system'} has none")
    found = {}
    if of.landlock_abi < least_abi:
        found["landlock"] = f"the kernel offers ABI {of.landlock_abi}, the least is {least_abi}"
    if of.machine not in MACHINES:
        found["seccomp"] = f"there is no filter for {of.machine}"
    return found


def unsealable(of: Machine, level: str) -> Mapping[str, str]:
    """Of the layers that the service would put around itself at `level`, those that cannot be there."""
    wanted = {"full": {"landlock", "seccomp"}, "no-landlock": {"seccomp"}}.get(level, set())
    return {layer: why for layer, why in lacking(of, SEAL_ABI).items() if layer in wanted}


def shown(missing: Mapping[str, str]) -> str:
    """`missing: landlock (…), seccomp (…)`."""
    return "missing: " + ", ".join(f"{layer} ({why})" for layer, why in missing.items())
