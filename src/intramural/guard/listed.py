"""Names that lists of given and family names know, where a model of the language overlooked them. Pure.

A small model knows `James Smith`, and takes `Amara Okafor` for a place or for nothing. What it does tell reliably is
which words are proper nouns; of these, the ones on a list are names, with the proper nouns that go on from them.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

#: Names of persons that are also names of times; a proper noun to every tagger.
_TIMES = frozenset(("April", "May", "June", "July", "August", "Sunday", "Monday", "Friday", "Saturday", "Easter"))
_BETWEEN = "van von de del della da dos di du la le el al bin ibn ter ten den der los las y"
_JOINTS = frozenset(_BETWEEN.split())
_FORM = re.compile(r"[A-ZÀ-Þ][a-zß-ÿ'’]")
_LEAST_CHARS = 3
_MOST_TOKENS = 5


@dataclass(frozen=True, slots=True)
class Token:
    """A word of the text: where it begins, whether it is a proper noun, and what the model took it for, if anything."""

    text: str
    start: int
    proper: bool
    taken: bool

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    @property
    def initial(self) -> bool:
        return len(self.text.rstrip(".")) == 1 and self.text[0].isupper()


@dataclass(frozen=True, slots=True)
class Lists:
    """Given and family names as they are written, `Amara` and `O'Brien`."""

    given: frozenset[str]
    family: frozenset[str]

    @classmethod
    def of(cls, given: Iterable[str], family: Iterable[str]) -> "Lists":
        """Without what is too short to tell, and what names a time."""
        return cls(_usable(given), _usable(family))


def listed(tokens: Sequence[Token], lists: Lists) -> Iterator[tuple[int, int]]:
    """Where names stand that the model took for nothing."""
    place = 0
    while place < len(tokens):
        length = _name_at(tokens, place, lists)
        if length:
            yield tokens[place].start, tokens[place + length - 1].end
        place += length or 1


def _usable(names: Iterable[str]) -> frozenset[str]:
    return (
        frozenset(each for name in names for each in name.split() if len(each) >= _LEAST_CHARS and each[0].isupper())
        - _TIMES
    )


def _name_at(tokens: Sequence[Token], place: int, lists: Lists) -> int:
    """How many tokens from `place` on are one name; 0 where none begins."""
    first = tokens[place]
    if not _could_be(first) or first.initial:
        return 0
    length, known = 1, first.text in lists.given or first.text in lists.family
    for count, each in enumerate(tokens[place + 1 : place + _MOST_TOKENS], 2):
        if _could_be(each) or each.initial:
            length, known = count, known or each.text in lists.family
        elif each.text not in _JOINTS:
            break
    return length if known else 0


def _could_be(token: Token) -> bool:
    return token.proper and not token.taken and bool(_FORM.match(token.text))
