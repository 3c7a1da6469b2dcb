"""Everything that rules find in a text, at once. Pure; names beyond those that are announced come from `names`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from intramural.guard.abroad import abroad
from intramural.guard.again import again
from intramural.guard.classes import Kind
from intramural.guard.formats import formed
from intramural.guard.keyed import keyed
from intramural.guard.layout import laid_out
from intramural.guard.marks import marks
from intramural.guard.places import streets, towns, zips
from intramural.guard.span import Span, settled
from intramural.guard.times import aged, dated
from intramural.guard.titles import joined, titled

_RULES: Sequence[Callable[[str], Iterator[Span]]] = (keyed, formed, dated, aged, streets, zips, towns, abroad, titled)


def found(text: str, kinds: frozenset[Kind], more: Iterable[Span] = (), *, whole: bool = False) -> tuple[Span, ...]:
    """What of `kinds` is in `text`, in order, without overlaps; `more`: what somebody else found in the same text.

    What stands in place of something found before is nothing to be found again. `whole`: the text is all there and may
    be read forwards and backwards: by its layout, and for names that it has said elsewhere.
    """
    spans = [span for rule in _RULES for span in rule(text)]
    ours = marks(text)
    if whole:
        spans += laid_out(text)
    every = _settled(text, (*spans, *more), ours)
    if whole:
        every = _settled(text, (*every, *again(text, every)), ours)
    return tuple(span for span in every if span.kind in kinds)


def _settled(text: str, spans: Iterable[Span], ours: Sequence[tuple[int, int]]) -> tuple[Span, ...]:
    outside = [span for span in spans if not _within(span, ours)]
    return tuple(joined(text, settled(_persons_first(text, outside))))


def _persons_first(text: str, spans: Sequence[Span]) -> Iterator[Span]:
    """Organisations without the persons in them: less may be done about those than about a name."""
    names = sorted((span.start, span.end) for span in spans if span.kind is Kind.NAME)
    for span in spans:
        if span.kind is not Kind.ORGANISATION:
            yield span
            continue
        start = span.start
        for name_start, name_end in [
            *((a, b) for a, b in names if a < span.end and span.start < b),
            (span.end, span.end),
        ]:
            rest = text[start:name_start].removeprefix("'s").removeprefix("’s")
            if any(each.isalnum() for each in rest):
                yield replace(span, start=name_start - len(rest), end=name_start)
            start = max(start, name_end)


def _within(span: Span, places: Sequence[tuple[int, int]]) -> bool:
    return any(start < span.end and span.start < end for start, end in places)
