"""Whether an engine that fails is asked again, and when. Pure: state and fact in, state out; times in seconds.

    closed ── `failures` in a row ──> open ── after a pause ──> half-open: one request is let through
       ^                               ^                            │ │
       └───────────── it succeeds ─────┼────────────────────────────┘ │
                                       └── it fails: twice the pause ─┘

An answer that a client gives up on says nothing either way.
"""

from dataclasses import dataclass, replace
from typing import Literal

Phase = Literal["closed", "open", "half-open"]


@dataclass(frozen=True, slots=True)
class Rules:
    """`failures` in a row open it, for `pause_s`; each pause that did not help is followed by one twice as long."""

    failures: int = 3
    pause_s: float = 2.0
    longest_pause_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Breaker:
    """`failures` since the last success; `pauses` since it was last closed; while open, nobody asks before
    `until_s`."""

    phase: Phase = "closed"
    failures: int = 0
    pauses: int = 0
    until_s: float = 0.0

    def wait_s(self, now_s: float) -> float:
        """How long until asking is worth while; 0: now."""
        if self.phase == "closed":
            return 0.0
        return max(0.0, self.until_s - now_s) if self.phase == "open" else 1.0


def asked(breaker: Breaker, now_s: float) -> tuple[Breaker, bool]:
    """Somebody wants to ask. Whether they may; whoever may while it is not closed is the one who tries it."""
    if breaker.phase == "closed":
        return breaker, True
    if breaker.phase == "open" and now_s >= breaker.until_s:
        return replace(breaker, phase="half-open"), True
    return breaker, False


def succeeded(breaker: Breaker) -> Breaker:
    """A request was answered to its end. News from before it opened does not close it."""
    return breaker if breaker.phase == "open" else Breaker()


def failed(breaker: Breaker, now_s: float, rules: Rules) -> Breaker:
    """A request failed, and it was the engine's fault. Failures of what was asked before it opened change nothing."""
    if breaker.phase == "open":
        return breaker
    failures = breaker.failures + 1
    if breaker.phase == "closed" and failures < rules.failures:
        return replace(breaker, failures=failures)
    pause_s = min(rules.longest_pause_s, rules.pause_s * 2.0**breaker.pauses)
    return Breaker("open", failures, min(breaker.pauses + 1, 32), now_s + pause_s)


def given_up(breaker: Breaker) -> Breaker:
    """Whoever tried it left before anything was known: the next one may."""
    return replace(breaker, phase="open") if breaker.phase == "half-open" else breaker
