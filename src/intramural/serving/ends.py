"""How a worker's process ended, and whether that is held against its weights. Pure, but for what the kernel counts.

A confined worker cannot send itself SIGKILL (`sandbox.seccomp`), so it gets that from the kernel or from outside: from
whoever supervises the machine, or the end of what started it. That says nothing of the weights, unless the kernel had
to have memory: then they may be what took it, and would be loaded and take it again.
"""

import signal
from dataclasses import dataclass
from pathlib import Path

#: Of the whole machine, with all its groups of processes. Source: proc_vmstat(5), since Linux 4.13.
_COUNTERS, _COUNTER = Path("/proc/vmstat"), "oom_kill"


@dataclass(frozen=True, slots=True)
class End:
    """`how`: `SIGSEGV`, `status 1`; empty where that may have been our doing. `crashed`: against the weights."""

    how: str
    crashed: bool


def judged(status: int, *, by_itself: bool, killed_for_memory: bool | None) -> End:
    """What to make of `status` (negative: by that signal). `by_itself`: we had not asked it to end, nor killed it;
    `killed_for_memory`: whether the kernel killed processes for their memory while it ran, None: it does not say."""
    if not by_itself:
        ours = status in (0, -signal.SIGTERM, -signal.SIGKILL)
        return End("" if ours else _named(status), crashed=True)
    if status == -signal.SIGKILL:
        how = "SIGKILL (out of memory)" if killed_for_memory else "SIGKILL"
        return End(how, crashed=killed_for_memory is not False)
    return End(_named(status), crashed=True)


def killed_between(before: int | None, after: int | None) -> bool | None:
    """Whether the kernel killed for memory between two readings of `memory_kills`; None: it does not say."""
    return None if before is None or after is None else after > before


def _named(status: int) -> str:
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"status {status}"


def memory_kills() -> int | None:
    """How many processes the kernel has killed for their memory since it was started; None where it does not say."""
    try:
        return memory_kills_in(_COUNTERS.read_text("ascii"))
    except OSError:
        return None


def memory_kills_in(counters: str) -> int | None:
    """The same, of what stands in /proc/vmstat."""
    lines = (line.split() for line in counters.splitlines())
    return next((int(words[1]) for words in lines if words[:1] == [_COUNTER]), None)
