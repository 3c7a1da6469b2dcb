"""Calling the kernel directly, and saying which layer failed when it refuses."""

import ctypes
import os

from intramural.core.errors import Broken

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def check(layer: str, result: int) -> int:
    """`result`, unless it says failure: then Broken(`confinement_failed`) naming the layer and the kernel's reason."""
    if result < 0:
        raise failed(layer, os.strerror(ctypes.get_errno()))
    return result


def failed(layer: str, reason: str) -> Broken:
    """The error of a layer that could not be put in place; `param` is the layer."""
    return Broken(
        "confinement_failed",
        f"The worker could not be confined: {layer}: {reason}.",
        "Run `intramural doctor` to see what this machine can do.",
        param=layer,
    )
