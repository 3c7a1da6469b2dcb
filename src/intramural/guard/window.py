"""How much of a text that still grows may be shown: nothing of which later words could say that it must not be.

Prose is held back by a few words; behind digits more is held, for that is where nearly everything begins and where a
word behind decides (`4471923 is her student ID`). Where names are looked for it is whole sentences, since they are read
by sentences. Pure: whoever reads does so between `ready` and `take`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from intramural.guard.marks import MAX_CHARS
from intramural.guard.span import Span

#: Shown text that still decides on what comes: `MRN:` and up to some words between.
_BEFORE_CHARS = 200
#: Held back behind prose, and behind what has a digit or an @ in its last characters.
_PROSE_CHARS, _NUMBERS_CHARS = 32, 128
#: Fewer are not worth a look.
_STEP_CHARS = 24
#: A sentence, or a word, that is longer is not waited for.
_SENTENCE_CHARS, _WORD_CHARS = 600, 4096
_ENDS = (". ", "! ", "? ", ".\n", "\n")


@dataclass(slots=True)
class Window:
    """The end of a text: `before` was shown, `pending` was not."""

    sentences: bool = False
    before: str = ""
    pending: str = ""

    @property
    def text(self) -> str:
        """What is to be looked at."""
        return self.before + self.pending

    def push(self, text: str) -> None:
        """It goes on with `text`."""
        self.pending += text

    def ready(self) -> int:
        """How many characters of `pending` could be shown now, if nothing is found across their end."""
        size = len(self.pending)
        if size < _STEP_CHARS:
            return 0
        if self.sentences and size < _SENTENCE_CHARS:
            end = max(self.pending.rfind(each) + len(each) if each in self.pending else 0 for each in _ENDS)
            return self._whole(end)
        tail = self.pending[-_NUMBERS_CHARS:]
        busy = any(each.isdigit() or each == "@" for each in tail)
        count = self._whole(size - (_NUMBERS_CHARS if busy else _PROSE_CHARS))
        return count if count >= _STEP_CHARS else 0

    def _whole(self, count: int) -> int:
        """Not more than `count`, ending behind a space and not within a mark."""
        if count <= 0:
            return 0
        opened = self.pending.rfind("[", max(0, count - MAX_CHARS), count)
        if opened >= 0 and "]" not in self.pending[opened:count]:
            count = opened
        space = max(self.pending.rfind(each, 0, count) for each in " \n\t")
        if space < 0 and len(self.pending) > _WORD_CHARS:
            return count
        return space + 1

    def take(self, count: int, spans: Sequence[Span]) -> tuple[str, tuple[Span, ...]]:
        """Up to `count` characters that may be shown, with what of `spans` (found in `text`) is in them.

        It is fewer where something found lies across their end.
        """
        shift = len(self.before)
        for span in spans:
            if span.start - shift < count < span.end - shift:
                count = max(0, span.start - shift)
        taken, self.pending = self.pending[:count], self.pending[count:]
        inside = tuple(
            replace(span, start=max(0, span.start - shift), end=span.end - shift)
            for span in spans
            if span.end > shift and span.start - shift < count
        )
        self.before = (self.before + taken)[-_BEFORE_CHARS:]
        return taken, inside
