"""Counting what was found: recall by class, what was found where nothing is, documents from which something leaks.

The published figure counts whole instances: one letter left is a miss. `words` counts as most of the field does, by
word. `kept` is what is left where organisations are only warned of, as under `phi`: a name taken for one is a miss.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bench._guard_set import Document
from intramural.guard import Kind, Span

_WORD = re.compile(r"\w+")


@dataclass
class Scores:
    """`there`, `covered` and `named` by class: instances, those of which no character is left over, those that were
    also called what they are. `spurious`: spans that touch no instance. `leaks`: documents with a rest."""

    there: Counter[str] = field(default_factory=Counter)
    covered: Counter[str] = field(default_factory=Counter)
    named: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)
    words_covered: Counter[str] = field(default_factory=Counter)
    spans: int = 0
    spurious: Counter[str] = field(default_factory=Counter)
    documents: int = 0
    leaks: int = 0
    missed: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, document: Document, spans: Sequence[Span], kinds: frozenset[Kind]) -> None:
        self.documents += 1
        self.spans += len(spans)
        leak = False
        for span in spans:
            if not any(each.start < span.end and span.start < each.end for each in document.instances):
                self.spurious[span.kind.value] += 1
        for each in document.instances:
            if Kind(each.kind) not in kinds:
                continue
            self.there[each.kind] += 1
            hidden = hides(spans, each.start, each.end, document.text)
            self.covered[each.kind] += hidden
            safe = [span for span in spans if span.kind is not Kind.ORGANISATION]
            self.kept[each.kind] += not hides(safe, each.start, each.end, document.text)
            for word in _WORD.finditer(document.text, each.start, each.end):
                self.words[each.kind] += 1
                self.words_covered[each.kind] += hides(spans, *word.span(), document.text)
            self.named[each.kind] += any(
                span.kind == each.kind and span.start < each.end and each.start < span.end for span in spans
            )
            if not hidden:
                leak = True
                self.missed.append((each.kind, document.text[each.start : each.end], document.text))
        self.leaks += leak

    def recall(self, kind: str) -> float:
        return self.covered[kind] / self.there[kind] if self.there[kind] else 1.0

    def redacted(self, kind: str) -> float:
        """The part that is hidden where organisations are not."""
        return 1 - self.kept[kind] / self.there[kind] if self.there[kind] else 1.0

    def recall_of_words(self, kind: str) -> float:
        return self.words_covered[kind] / self.words[kind] if self.words[kind] else 1.0

    @property
    def leak_rate(self) -> float:
        return self.leaks / self.documents

    @property
    def spurious_rate(self) -> float:
        return self.spurious.total() / max(1, self.spans)


def hides(spans: Iterable[Span], start: int, end: int, text: str) -> bool:
    """Whether every letter and digit from `start` to `end` lies in a span."""
    inside = [False] * (end - start)
    for span in spans:
        for at in range(max(start, span.start), min(end, span.end)):
            inside[at - start] = True
    return all(hidden or not text[start + at].isalnum() for at, hidden in enumerate(inside))
