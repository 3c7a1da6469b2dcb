"""How quickly this machine's memory can be read: measured once, for a fifth of a second, and kept in a file.

Every core looks for a byte that is not there, which is as near to reading weights as a program without an engine comes.
"""

import ctypes
import threading
import time
from pathlib import Path

import msgspec

from intramural.core.durable import ORDINARY, write_whole

#: Larger than the caches of a core's share, small enough to have on any machine.
_EACH_BYTES = 48 << 20
_MOST_THREADS = 16
_ROUNDS = 4
_BEST_OF = 3


class Measured(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file holds. Measured again where the number of cores differs."""

    read_bytes_per_s: int
    cores: int


def read_bytes_per_s(kept: Path, cores: int) -> int:
    """Bytes all `cores` together read a second, from the file `kept` or measured now and kept there. Blocks."""
    try:
        found = msgspec.json.decode(kept.read_bytes(), type=Measured)
    except (OSError, msgspec.DecodeError):
        found = None
    if found is None or found.cores != cores:
        found = Measured(measure(cores), cores)
        write_whole(kept, msgspec.json.encode(found), mode=ORDINARY)
    return found.read_bytes_per_s


def measure(cores: int, each_bytes: int = _EACH_BYTES) -> int:
    """The best of three readings, in bytes a second."""
    memchr = ctypes.CDLL(None).memchr  # a call through CDLL lets other threads run
    memchr.restype, memchr.argtypes = ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
    blocks = [ctypes.create_string_buffer(b"\1" * each_bytes, each_bytes) for _ in range(min(cores, _MOST_THREADS))]

    def read(block: object) -> None:
        for _ in range(_ROUNDS):
            memchr(block, 0, each_bytes)

    best = 0.0
    for _ in range(_BEST_OF):
        threads = [threading.Thread(target=read, args=(block,)) for block in blocks]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        best = max(best, len(blocks) * each_bytes * _ROUNDS / (time.perf_counter() - begun))
    return int(best)
