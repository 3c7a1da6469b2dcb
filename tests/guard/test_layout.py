"""Names that a word before them, the layout of a page, or another place in the text tells."""

import pytest

from intramural.guard import Kind, Span, found

NAME = frozenset({Kind.NAME})


def names(text: str, *more: Span, whole: bool = True) -> list[str]:
    return [text[span.start : span.end] for span in found(text, NAME, more, whole=whole)]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("My name is Hetem Mikolčić, hello.", ["Hetem Mikolčić"]),
        ("Patient name:      Łucja Żuraw", ["Łucja Żuraw"]),
        ("She named him Vehbija.", ["Vehbija"]),
        ("Dr. van der Berg called.", ["van der Berg"]),
        ("ask mrs. o'neill or mr park", ["o'neill", "park"]),
        ("200 ms and 3 dr. or so", []),
        ("student_name: amara okafor", ["amara okafor"]),
        ('{"patient_name": "amara okafor"}', ["amara okafor"]),
        ("patient name: unknown", []),
        ("From Amara Okafor <ao@example.org>", ["Amara Okafor"]),
        ("OKAFOR, AMARA <ao@example.org>", ["OKAFOR, AMARA"]),
        ("Best wishes,\nAmara", ["Amara"]),
    ],
)
def test_a_word_before_it(text: str, want: list[str]) -> None:
    assert names(text) == names(text, whole=False) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("name,grade\namara okafor,7\nBo Li,8", ["amara okafor", "Bo Li"]),
        ('id;Pupil;"Parent"\n1;Okafor, Amara;"Bo Li"', ["Okafor, Amara", "Bo Li"]),
        ('id,name\n1,"Okafor, Amara"\n2,n/a\n3,88', ["Okafor, Amara"]),
        ("| Student | Room |\n|---|---|\n| Amara O. | 4 |\n| Total | 9 |\nThe end | of | it", ["Amara O."]),
        ("First Name\tLast Name\tDOB\nAmara\tOkafor\t2011", ["Amara", "Okafor"]),
        ("product,price\nApple,7", []),
        ("name only\nApple", []),
    ],
)
def test_a_column_of_people(text: str, want: list[str]) -> None:
    assert names(text) == want
    assert names(text, whole=False) == []  # the head may be gone


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("Bartele Exterkate\n3782 Custer Street\nTownville", ["Bartele Exterkate"]),
        ("> Naile Mevc\n> Wetson's\n> PO Box 19", ["Naile Mevc"]),
        ("Louelle van den Brandhof\n883 Karen Lane", ["Louelle van den Brandhof"]),
        ("Opening Hours\nMonday to Friday\nWe close early on days before a holiday\n3 Main Street", []),
        ("Shopping List\nmilk", []),
    ],
)
def test_the_line_above_an_address(text: str, want: list[str]) -> None:
    assert names(text) == want


def test_a_name_that_was_found_once_is_found_everywhere() -> None:
    text = "Mevc rang. This was Naile Mevc of 4b; MEVC's file, naile.txt, Will and SLE stay, and Mevcs."
    start = text.index("Naile")
    known = Span(Kind.NAME, start, start + len("Naile Mevc"), 0.8, "model")
    assert names(text, known) == ["Mevc", "Naile Mevc", "MEVC"]
    assert names(text, known, whole=False) == ["Naile Mevc"]  # a text that streams cannot be changed backwards
    will = Span(Kind.NAME, text.index("Will"), text.index("Will") + 4, 0.8, "model")
    assert names("Will you? " + text[:0] + "Will", Span(Kind.NAME, 10, 14, 0.8, "model")) == ["Will"]
    assert will.kind is Kind.NAME


def test_parts_of_one_name_are_one() -> None:
    text = "Louelle van den Brandhof and Jo-Ann Li, Bo"
    spans = [
        Span(Kind.NAME, text.index(part), text.index(part) + len(part), 0.6, "model")
        for part in ("Louelle", "Brandhof", "Jo", "Ann", "Li", "Bo")
    ]
    assert names(text, *spans) == ["Louelle van den Brandhof", "Jo-Ann Li", "Bo"]


def test_a_person_in_an_organisation_is_a_person() -> None:
    """Under `phi` organisations are only warned of: no name may stand as one."""
    text = "Naile Mevc's, and Bo Li Hospital"
    of = lambda part, kind, score: Span(kind, text.index(part), text.index(part) + len(part), score, "model")  # noqa: E731
    more = [
        of("Naile Mevc's", Kind.ORGANISATION, 0.84),
        of("Naile Mevc", Kind.NAME, 0.6),
        of("Bo Li Hospital", Kind.ORGANISATION, 0.84),
        of("Bo Li", Kind.NAME, 0.6),
    ]
    kinds = frozenset({Kind.NAME, Kind.ORGANISATION})
    spans = [(span.kind, text[span.start : span.end].strip()) for span in found(text, kinds, more)]
    assert spans == [(Kind.NAME, "Naile Mevc"), (Kind.NAME, "Bo Li"), (Kind.ORGANISATION, "Hospital")]
