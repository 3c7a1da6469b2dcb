"""Whose word counts, where a model, lists and a tagger say different things of one text."""

import pytest

from intramural.guard.listed import Lists, Token
from intramural.guard.opinions import Word, named, towns

LISTS = Lists.of(["Amara", "Kevin", "Said"], ["Okafor"])
_MET = "serum was high said and kevin amara"
MET = frozenset(_MET.split())


def opinions(text: str, said: str, likely: dict[str, float]) -> list[str]:
    """`said`: what the model takes for a person; a capital makes a proper noun; `likely`: by word, 0 for the others."""
    tokens, start = [], 0
    for word in text.split():
        tokens.append(
            Token(word, start, word[0].isupper(), "name" if word in said.split() else "", word.lower() in MET)
        )
        start += len(word) + 1
    spans = [(text.index(said), text.index(said) + len(said))] if said else []
    words = [Word(each.start, each.end, likely.get(each.text, 0.0), 0.0) for each in tokens]
    return sorted({text[start:end] for start, end, _ in named(tokens, spans, LISTS, words)})


@pytest.mark.parametrize(
    ("text", "said", "likely", "names"),
    [
        ("Amara was high", "", {"Amara": 0.9}, ["Amara"]),
        ("Amara was high", "", {}, []),  # a list alone, which the tagger is sure is wrong
        ("Serum was high", "Serum", {}, []),  # the model alone
        ("Serum was high", "Serum", {"Serum": 0.1}, ["Serum"]),  # and nobody is sure that it is not
        ("Amara was high", "Amara", {}, ["Amara"]),  # model and list against the tagger
        ("Exterkate was high", "Exterkate", {}, ["Exterkate"]),  # model, and no known word
        ("Exterkate was high", "", {"Exterkate": 0.1}, ["Exterkate"]),
        ("Exterkate was high", "", {}, []),
        ("Serum 8 was high", "Serum 8", {"Serum": 0.1}, ["Serum"]),  # nobody's name has a number
        ("kevin was high", "", {"kevin": 0.6}, ["kevin"]),
        ("said kevin", "", {"kevin": 0.6, "said": 0.4}, ["kevin"]),
        ("was high", "", {"high": 0.7}, []),  # a verb, a finding: the tagger errs too
        ("petechia was high", "", {"petechia": 0.7}, []),
        ("zwelinzima was high", "", {"zwelinzima": 0.9}, ["zwelinzima"]),
        ("leukopenia was high", "", {"leukopenia": 0.9}, []),
    ],
)
def test_it_takes_two(text: str, said: str, likely: dict[str, float], names: list[str]) -> None:
    assert opinions(text, said, likely) == names


def test_without_a_tagger_nothing_is_doubted_and_what_is_only_unknown_is_no_name() -> None:
    tokens = [Token("Amara", 0, True), Token("and", 6, False, "", True), Token("Exterkate", 10, True)]
    assert [(start, end) for start, end, _ in named(tokens, [], LISTS, None)] == [(0, 5)]
    assert [(start, end) for start, end, _ in named(tokens, [(6, 9)], LISTS, None)] == [(6, 9), (0, 5)]


def test_a_town_is_what_is_likelier_one_than_a_name() -> None:
    words = [Word(0, 3, 0.1, 0.6), Word(4, 9, 0.7, 0.6), Word(10, 12, 0.0, 0.4)]
    assert [(start, end) for start, end, _ in towns(words)] == [(0, 3)]
