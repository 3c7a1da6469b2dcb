"""Names from lists, beside a model of the language: which words go together, and what is left to the model."""

import pytest

from intramural.guard.listed import Lists, Token, houses, listed, medical

LISTS = Lists.of(
    ["Amara", "Mary Ann", "Grace", "June", "Jo", "nobody", "Renáta"], ["Okafor", "O'Brien", "Park", "Berg", "Đukić"]
)
#: Words that the model has met.
_MET = "today rang with grace she left the park by alone in may and hospital programme is a"
MET = frozenset(_MET.split())


def tokens(text: str) -> list[Token]:
    """One a word: `*` before it makes it a proper noun, `#` one that the model took for an organisation."""
    found, start = [], 0
    for word in text.split():
        bare = word.lstrip("*#")
        taken = "organisation" if word[0] == "#" else ""
        found.append(Token(bare, start, word[0] in "*#", taken, bare.lower() in MET))
        start += len(bare) + 1
    return found


def bare(text: str) -> str:
    return text.replace("*", "").replace("#", "")


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
        ("by Amara alone", ["Amara"]),  # to the tagger an adjective, to no one a word
        ("*Renata and *Renátá and *Dukic", ["Renata", "Renátá", "Dukic"]),  # marks are left out as often as not
        ("*Zwelinzima - *Okafor rang", ["Zwelinzima - Okafor"]),
        ("*OKAFOR , *AMARA rang", ["OKAFOR , AMARA"]),
        ("*AMARA *OKAFOR rang", ["AMARA OKAFOR"]),
        ("*OKAFOR *PARK is a programme", []),  # two family names in capitals: an abbreviation, a heading
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
    assert [bare(text)[start:end] for start, end in listed(tokens(text), LISTS, unknown=False)] == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("*Zwelinzima rang", ["Zwelinzima"]),
        ("*Zwelinzima *Exterkate rang", ["Zwelinzima Exterkate"]),
        ("today Zwelinzima rang", []),  # no proper noun, no list
        ("*Hospital rang", []),
        ("*Lisinopril and *Ceftriaxone 2 g", []),  # by the form, by the dose
        ("*Xarelto 20 mg", []),
        ("*B12 *Iga", []),
    ],
)
def test_what_nobody_knows_is_a_name_where_that_is_asked_for(text: str, names: list[str]) -> None:
    assert [bare(text)[start:end] for start, end in listed(tokens(text), LISTS, unknown=True)] == names


def test_an_organisation_of_nothing_but_names_is_a_person() -> None:
    text = "#Amara and #Amara #Okafor and #Grace #Hospital and #Okafor #Park and #Okafor and #Zwelinzima #Okafor"
    assert [(bare(text)[start:end], known) for start, end, known in houses(tokens(text), LISTS)] == [
        ("Amara", True),
        ("Amara Okafor", True),
        ("Okafor Park", False),
        ("Okafor", True),
        ("Zwelinzima Okafor", False),
    ]


def test_medicines_and_findings_are_known_by_their_ends() -> None:
    assert all(map(medical, ["Atorvastatin", "Metoprolol", "Leukocytes", "Bronchitis", "Ophthalmology"]))
    assert not any(map(medical, ["Okafor", "Exterkate", "Amara", "Mikolčić", "Hilbrand", "Nguyen"]))


def test_no_name_is_endless() -> None:
    ends = listed(tokens("*Amara " * 9), LISTS)
    assert [end - start for start, end in ends] == [29, 23]
