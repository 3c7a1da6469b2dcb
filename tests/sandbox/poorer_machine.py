"""Finds out the posture on a machine whose kernel lacks some calls, which a filter of our own takes away.

python -m tests.sandbox.poorer_machine unshare …      posture, and how a spawn fails, as JSON
"""

import asyncio
import ctypes
import dataclasses
import errno
import json
import platform
import struct
import sys

from intramural.core.errors import Broken
from intramural.sandbox import Launch, missing_layers, probe, spawn

_NUMBERS = {"unshare": (272, 97), "seccomp": (317, 277), "landlock_create_ruleset": (444, 444), "capset": (126, 91)}


def _take_away(names: list[str]) -> None:
    column = 0 if platform.machine() == "x86_64" else 1
    steps = [(0x20, 0, 0, 0)]
    for name in names:
        steps += [(0x15, 0, 1, _NUMBERS[name][column]), (0x06, 0, 0, 0x00050000 | errno.ENOSYS)]
    steps.append((0x06, 0, 0, 0x7FFF0000))
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in steps))
    program = struct.pack("@HP", len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, program, 0, 0) == 0


async def main() -> None:
    _take_away(sys.argv[1:])
    posture = await probe()
    told = {**dataclasses.asdict(posture), "spawn": None, "downgraded": None}
    try:
        await spawn(Launch("engine", "tests.sandbox.entries:wait", {}))
    except Broken as error:
        told["spawn"] = [error.code, error.param]
    without = missing_layers(posture.level)
    if without:
        child = await spawn(Launch("engine", "tests.sandbox.entries:wait", {}, without=without))
        told["downgraded"] = sorted(child.layers)
        await child.stop(5)
    print(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main())
