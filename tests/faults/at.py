"""`intramural`, as it is, but for the places of `points`: where one is armed, the process stops, until it may go on.

    python -m tests.faults.at serve --json        (is `intramural serve --json`)

Whoever started it arms a point, sees that it was reached, and lets go, through a file of numbers that both have in
memory (`Switches`): no signal, no message and no thread of the program's is needed for that. Nothing in the product can
be told to.
"""

import asyncio
import functools
import importlib
import inspect
import mmap
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.points import NAMES, POINTS, Point

#: Names the file of the switches; the points of modules that are imported late are armed only if they are named here.
SWITCHES, LATE = "FAULT_SWITCHES", "FAULT_LATE"
_OFF, _REACHED = 0, -1
_LOOKS_S = 0.002


class Switches:
    """A number for each point, and one for the clock. Above 0: how often the point is still to be passed, and then the
    process stops there."""

    def __init__(self, file: Path) -> None:
        size_bytes = 4 * (len(POINTS) + 1)
        if not file.exists():
            file.write_bytes(bytes(size_bytes))
        with file.open("r+b") as opened:
            self._numbers = memoryview(mmap.mmap(opened.fileno(), size_bytes)).cast("i")

    def arm(self, name: str, time_: int = 1) -> None:
        """Stop there when it is reached for the `time_`th time."""
        self._numbers[NAMES[name]] = time_

    def disarm(self, name: str) -> None:
        """Whoever is there goes on."""
        self._numbers[NAMES[name]] = _OFF

    def is_reached(self, name: str) -> bool:
        return self._numbers[NAMES[name]] == _REACHED

    @property
    def clock_s(self) -> int:
        """By how much the program's clock is wrong."""
        return self._numbers[-1]

    @clock_s.setter
    def clock_s(self, off_s: int) -> None:
        self._numbers[-1] = off_s

    def passing(self, number: int) -> None:
        """The program is at this point."""
        left = self._numbers[number]
        if left <= 0:
            return
        self._numbers[number] = left - 1 or _REACHED
        whose = os.getppid()
        while self._numbers[number] == _REACHED:
            time.sleep(_LOOKS_S)
            if os.getppid() != whose:  # the test is gone, and nobody will let us go on
                os._exit(1)


def main() -> None:
    from intramural.core.temporary import keep_temporary_files_in

    if "serve" in sys.argv:  # as that does, before SQLite is imported
        keep_temporary_files_in(Path(os.environ["INTRAMURAL_DATA_DIR"]))
    import intramural.app  # noqa: F401 — what is imported by now is what the service has anyway
    from intramural.cli import main as program
    from intramural.core.clock import SystemClock

    switches = Switches(Path(os.environ[SWITCHES]))
    late = os.environ.get(LATE, "").split(",")
    for number, point in enumerate(POINTS):
        if point.where and (point.where.partition(":")[0] in sys.modules or point.name in late):
            install(point, functools.partial(switches.passing, number))
    SystemClock.now_s = lambda _: time.time() + switches.clock_s  # type: ignore[method-assign]
    program()


def install(point: Point, passing: Callable[[], None]) -> None:
    """Have the process call `passing` there."""
    owner, name = found(point)
    setattr(owner, name, _wrapped(getattr(owner, name), passing, before=point.when == "before"))


def found(point: Point) -> tuple[Any, str]:
    """Whose attribute it is, and its name. Raises AttributeError where there is none."""
    module, _, names = point.where.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, last = names.split(".")
    for each in outer:
        owner = getattr(owner, each)
    assert inspect.isfunction(vars(owner)[last]), point
    return owner, last


def _wrapped(function: Callable[..., Any], passing: Callable[[], None], *, before: bool) -> Callable[..., Any]:
    @functools.wraps(function)
    def plain(*args: Any, **kwargs: Any) -> Any:
        if before:
            passing()
        result = function(*args, **kwargs)
        if not before:
            passing()
        return result

    @functools.wraps(function)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        if before:
            passing()
        result = await function(*args, **kwargs)
        if not before:
            passing()
        return result

    return awaited if asyncio.iscoroutinefunction(function) else plain


if __name__ == "__main__":
    sys.argv[0] = "intramural"
    main()
