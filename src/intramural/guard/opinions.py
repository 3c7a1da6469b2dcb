"""Whose word counts on what is a person's name: a model of the language, lists, and a tagger that reads beside them.

Pure. Each finds what others pass over, and each takes something for a name that is none: the model the capitals of a
laboratory (`Leukocyte`), the lists a word that is also a name, the tagger now and then a verb. Where two say the
opposite, what else is known of the words decides.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from intramural.guard.listed import Lists, Token, houses, listed, medical, stranger

#: What the tagger finds by itself is a name from here on; what others found is doubted below that.
SURE, DOUBT = 0.5, 0.02
#: Of what the model has for an organisation: people must not stand as one (under `phi` those are only warned of).
SURE_TAKEN = 0.2
#: Of a whole organisation of which no word is known.
SURE_UNKNOWN = 0.1
#: The same of a word in small letters that no list knows.
SURE_SMALL = 0.8
_LEAST_SMALL_CHARS = 3
#: How sure the model is of what it says (it gives no figures), and how sure the others are taken to be.
_MODEL, _OTHER = 0.85, 0.6


@dataclass(frozen=True, slots=True)
class Word:
    """Characters `start` to `end`, and how likely the tagger thinks they are part of a person's name, or a town's."""

    start: int
    end: int
    name: float
    place: float


def named(
    tokens: Sequence[Token], said: Sequence[tuple[int, int]], lists: Lists, words: Sequence[Word] | None
) -> Iterator[tuple[int, int, float]]:
    """Where names stand, and how sure that is. `said`: what the model takes for persons; `words`: what the tagger
    thinks, None where there is none: then nothing is doubted, and what is only unknown is no name.
    """
    for start, end in (_without_numbers(tokens, *each) for each in said):
        if start < end and (not _doubted(start, end, words) or _backed(tokens, start, end, lists)):
            yield start, end, _MODEL
    for start, end in listed(tokens, lists, unknown=words is not None):
        if not _doubted(start, end, words):
            yield start, end, _OTHER
    for start, end, listed_all in houses(tokens, lists):
        inside = [token for token in tokens if start <= token.start and token.end <= end]
        likely = 1.0 if words is None else _likely(start, end, words)
        plain = any(token.ordinary for token in inside)
        if (likely >= DOUBT or not plain) if listed_all else (words is not None and likely >= SURE_UNKNOWN):
            yield start, end, _OTHER
    for at, token in enumerate(tokens):
        if words is not None and token.text[0].isalpha() and _tagged(tokens, at, lists, words):
            yield token.start, token.end, _OTHER


def towns(words: Sequence[Word]) -> Iterator[tuple[int, int, float]]:
    """Where the tagger thinks of a town."""
    for word in words:
        if word.place >= SURE > word.name:
            yield word.start, word.end, _OTHER


def _without_numbers(tokens: Sequence[Token], start: int, end: int) -> tuple[int, int]:
    """Up to the first number: nobody is called `Hemoglobin 8`."""
    inside = [token for token in tokens if start <= token.start < end]
    number = next((at for at, token in enumerate(inside) if token.text[0].isdigit()), None)
    return start, end if number is None else max((token.end for token in inside[:number]), default=start)


def _doubted(start: int, end: int, words: Sequence[Word] | None) -> bool:
    if words is None:
        return False
    return _likely(start, end, words) < DOUBT


def _likely(start: int, end: int, words: Sequence[Word]) -> float:
    # They stand in order and do not overlap.
    first = max(0, bisect_right(words, start, key=lambda word: word.start) - 1)
    likely = 0.0
    for at in range(first, len(words)):
        word = words[at]
        if word.start >= end:
            break
        if word.end > start:
            likely = max(likely, word.name)
    return likely


def _backed(tokens: Sequence[Token], start: int, end: int, lists: Lists) -> bool:
    """Whether something else speaks for what the model takes for a person: a list, or a word nobody knows."""
    inside = [at for at, token in enumerate(tokens) if token.start < end and start < token.end]
    return any(lists.has(tokens[at].text) or stranger(tokens, at) for at in inside)


def _tagged(tokens: Sequence[Token], at: int, lists: Lists, words: Sequence[Word]) -> bool:
    token = tokens[at]
    likely = _likely(token.start, token.end, words)
    if token.text[0].isupper():
        return likely >= (SURE_TAKEN if token.taken == "organisation" else SURE)
    # In small letters: `kevin`, and neither `said` nor `jaundice`, which it takes for names at times.
    if len(token.text) < _LEAST_SMALL_CHARS or medical(token.text):
        return False
    return likely >= SURE if lists.has(token.text) else likely >= SURE_SMALL and not token.ordinary
