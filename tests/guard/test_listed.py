"""Names from lists, beside a model of the language: which words go together, and what is left to the model."""

import pytest

from intramural.guard.listed import Lists, Token, listed

LISTS = Lists.of(["Amara", "Mary Ann", "Grace", "June", "Jo", "nobody"], ["Okafor", "O'Brien", "Park", "Berg"])


def tokens(text: str) -> list[Token]:
    """One a word: `*` before it makes it a proper noun, `#` one that the model took for something."""
    found, start = [], 0
    for word in text.split():
        bare = word.lstrip("*#")
        found.append(Token(bare, start, word[0] in "*#", word[0] == "#"))
        start += len(bare) + 1
    return found


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("today *Amara rang", ["Amara"]),
        ("*Amara *Zwelinzima rang", ["Amara Zwelinzima"]),  # the list has one of the two
        ("*Zwelinzima *Okafor rang", ["Zwelinzima Okafor"]),
        ("*Amara *J. *Okafor rang", ["Amara J. Okafor"]),
        ("*Mary *Ann rang", ["Mary Ann"]),  # written as one on the list
        ("*O'Brien rang *Grace", ["O'Brien", "Grace"]),
        ("*Amara van den *Berg rang", ["Amara van den Berg"]),
        ("*Amara van left", ["Amara"]),
        ("with grace she left the park", []),  # no proper nouns
        ("by Grace alone", []),
        ("in #Grace *Hospital", []),  # the model has it already
        ("in *June", []),
        ("*Jo rang", []),  # two letters tell nothing
        ("*GRACE is a programme", []),
        ("*Zwelinzima rang", []),  # unknown to both
        ("*J. rang", []),
        ("", []),
    ],
)
def test_what_is_a_name(text: str, names: list[str]) -> None:
    bare = text.replace("*", "").replace("#", "")
    assert [bare[start:end] for start, end in listed(tokens(text), LISTS)] == names


def test_no_name_is_endless() -> None:
    assert [end - start for start, end in listed(tokens("*Amara " * 9), LISTS)] == [29, 23]
