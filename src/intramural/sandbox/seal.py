"""The service confines itself: once, while it has one thread, before it reads anything from outside.

Landlock holds for a thread and those it starts, so there may be no other one yet. The event loop must not be there
either: some make an io_uring, and what goes through a ring passes no filter. What is open already stays open: the
listening socket, the channel to the spawner, the log.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR
from typing import Literal, get_args

from intramural.core.errors import Broken, Misasked
from intramural.sandbox import denied, identity, landlock
from intramural.sandbox.landlock import Allowed
from intramural.sandbox.machine import Machine, here, shown, unsealable

#: `full`; without Landlock, where the kernel has none; or not at all. A downgrade is an administrator's, and recorded.
SealLevel = Literal["full", "no-landlock", "off"]
LEVELS: tuple[SealLevel, ...] = get_args(SealLevel)


@dataclass(frozen=True, slots=True)
class Needs:
    """What a sealed process goes on to reach: folders or files that it reads, that it also writes; programs that it
    starts; and what of its settings needs the network. Paths that do not exist are left out. Without `connects`, it
    makes no internet socket.
    """

    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    run: tuple[Path, ...] = ()
    connects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seal:
    """What a process put in force around itself. `connects`: what it can still reach the network for."""

    level: SealLevel
    layers: tuple[str, ...]
    connects: tuple[str, ...]


def parse_level(text: str) -> SealLevel:
    """Raises Misasked(`bad_setting`)."""
    for level in LEVELS:
        if text == level:
            return level
    raise Misasked("bad_setting", f"sandbox.seal is {text!r}.", f"It is one of {', '.join(LEVELS)}.")


def seal(level: SealLevel, needs: Needs) -> Seal:
    """Give up, for good, everything but `needs`. Raises Broken(`seal_failed`): then the process must not go on."""
    require_sealable(level)
    if level == "off":
        return Seal(level, (), needs.connects)
    try:
        _require_alone()
        return Seal(level, tuple(_sealed(level, needs)), needs.connects)
    except Broken as error:
        if error.code == "seal_failed":
            raise
        raise _failed(error.param or "seal", error.message) from error


def require_sealable(level: SealLevel, of: Machine | None = None) -> None:
    """Raises Broken(`seal_failed`) that names every layer which `level` asks for and the machine cannot have."""
    missing = unsealable(of or here(), level)
    if missing:
        layer = "landlock" if set(missing) == {"landlock"} else "seccomp"
        raise Broken("seal_failed", f"The service could not be sealed: {shown(missing)}.", _hint(layer), param=layer)


def _sealed(level: SealLevel, needs: Needs) -> Iterable[str]:
    """The layers, as they come into force."""
    identity.keep_capabilities(identity.SERVICE_KEEPS)
    identity.no_new_privileges()
    identity.hide_memory()
    yield "capabilities"
    if level == "full":
        fence(needs)
        yield "landlock"
    denied.install("gateway", outward=bool(needs.connects))
    yield "seccomp"
    if not needs.connects:
        yield "no-internet"


def fence(needs: Needs) -> None:
    """Have Landlock deny this thread, and whatever it starts, every file but `needs`. Needs no_new_privs.

    Raises Broken(`confinement_failed`).
    """
    denies = landlock.but_unix_sockets(landlock.handled(landlock.abi(), connects=bool(needs.connects)))
    allowed = list(_allowed(needs, denies.files))
    try:
        landlock.restrict(allowed, denies)
    finally:
        for each in allowed:
            os.close(each.descriptor)


def _allowed(needs: Needs, known: int) -> Iterable[Allowed]:
    rights_of = (
        (needs.read, landlock.READ),
        (needs.write, landlock.READ | landlock.WRITE),
        (needs.run, landlock.READ_FILE | landlock.EXECUTE),
    )
    for paths, rights in rights_of:
        for path in dict.fromkeys(paths):
            try:
                descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:  # it is not there, and what comes there later is not ours
                continue
            is_folder = S_ISDIR(os.fstat(descriptor).st_mode)
            yield Allowed(descriptor, rights & known & (-1 if is_folder else landlock.OF_A_FILE))


def _require_alone() -> None:
    threads = sum(1 for _ in Path("/proc/self/task").iterdir())
    if threads != 1:
        raise _failed("threads", f"there are {threads} threads already")
    for each in os.listdir("/proc/self/fd"):  # noqa: PTH208 — numbers, not paths
        try:
            kind = os.readlink(f"/proc/self/fd/{each}")  # noqa: PTH115 — it is no path that is read
        except OSError:  # the descriptor with which we look
            continue
        if "io_uring" in kind:
            raise _failed("io_uring", "a ring is open, through which no filter sees")


def _failed(layer: str, reason: str) -> Broken:
    return Broken("seal_failed", f"The service could not be sealed: {layer}: {reason}", _hint(layer), param=layer)


def _hint(layer: str) -> str:
    if layer == "landlock":
        return 'Run a newer kernel, or set `sandbox.seal = "no-landlock"` knowingly.'
    return "`intramural doctor` says what this machine can do."
