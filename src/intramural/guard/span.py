"""Something found in a text, and what becomes of findings that overlap. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from intramural.guard.classes import Kind


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` (exclusive) look like a `kind`. `score`: 0 to 1; `recogniser`: who says so."""

    kind: Kind
    start: int
    end: int
    score: float
    recogniser: str


def settled(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans in their order, none overlapping: the surer one names what is found (of two alike, the longer).

    What only the other covers is not given up: the surer one grows by it. Too much hidden is better than a rest left.
    """
    found: list[Span] = []
    for span in sorted(spans, key=lambda each: (each.start, each.end)):
        if not found or span.start >= found[-1].end:
            found.append(span)
            continue
        before = found[-1]
        surer = max(before, span, key=lambda each: (each.score, each.end - each.start))
        found[-1] = replace(surer, start=before.start, end=max(before.end, span.end))
    return tuple(found)
