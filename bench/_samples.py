"""Where the processor time of a service's main thread goes, by part: looked at some thousand times a second, each look
weighing what was used since the one before. SIGUSR1 begins, SIGUSR2 writes it down and ends."""

import json
import signal
import time
from collections import Counter
from pathlib import Path
from types import FrameType

#: What a part is called → where its code is. The innermost frame that is in one of them says whose time it was: a
#: library's is that of whoever called it.
PARTS: dict[str, tuple[str, ...]] = {
    "HTTP: uvicorn, writes": ("uvicorn/", "intramural/http/gathered.py"),
    "who asks": ("intramural/access/", "intramural/http/identity.py", "intramural/storage/sqlite.py"),
    "policy, guard, quotas, meter": (
        "intramural/services/gate.py", "intramural/services/guarding.py", "intramural/services/quotas.py",
        "intramural/services/turns.py", "intramural/metering/",
    ),
    "the log: facts, hashes, to its thread": (
        "intramural/audit/", "intramural/vault/", "intramural/services/particulars.py", "intramural/storage/",
    ),
    "scheduler, slots": (
        "intramural/serving/scheduler.py", "intramural/serving/fairness.py", "intramural/serving/pool.py",
        "intramural/serving/slots.py", "intramural/serving/marks.py", "intramural/serving/lease.py",
        "intramural/serving/eviction.py", "intramural/serving/tally.py",
    ),
    "connection to the engine": ("intramural/serving/exchange.py", "intramural/serving/worker.py"),
    "the engine's frames": ("intramural/serving/stream.py", "intramural/serving/thoughts.py"),
    "the rest of serving": ("intramural/serving/",),
    "the model's manifest and plan": (
        "intramural/library/", "intramural/services/models.py", "intramural/services/plans.py",
    ),
    "the order of things": ("intramural/services/",),
    "dialect: request and answer": ("intramural/http/", "starlette/"),
}  # fmt: skip
#: No frame of those: the loop itself, and its calls of the kernel.
LOOP = "the loop"
_EVERY_S = 0.00097


class Sampler:
    """Looks at the main thread, on signals."""

    def __init__(self, to: Path) -> None:
        self._to = to
        self._used_s: Counter[str] = Counter()
        self._last_s = 0.0
        signal.signal(signal.SIGUSR1, self._begin)
        signal.signal(signal.SIGUSR2, self._end)
        signal.signal(signal.SIGALRM, self._look)

    def _begin(self, *_: object) -> None:
        self._used_s.clear()
        self._last_s = time.thread_time()
        signal.setitimer(signal.ITIMER_REAL, _EVERY_S, _EVERY_S)

    def _end(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._to.write_text(json.dumps(self._used_s))

    def _look(self, _number: int, frame: FrameType | None) -> None:
        now_s = time.thread_time()
        self._used_s[_part(frame)] += now_s - self._last_s
        self._last_s = time.thread_time()  # this look is nobody's


def _part(frame: FrameType | None) -> str:
    while frame is not None:
        file = frame.f_code.co_filename
        for name, places in PARTS.items():
            if any(place in file for place in places):
                return name
        frame = frame.f_back
    return LOOP
