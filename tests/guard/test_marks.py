"""What stands for a value: keyed by project, consistent within it, and back again only with what was asked."""

from intramural.guard import Kind, Pseudonyms, found
from intramural.guard.marks import marks

ONE, OTHER = b"1" * 32, b"2" * 32


def made(key: bytes = ONE) -> Pseudonyms:
    return Pseudonyms(key, 2026)


def test_a_value_has_one_mark_in_a_project_and_others_elsewhere() -> None:
    mark = made().mark(Kind.MRN, "00482913")
    assert mark == made().mark(Kind.MRN, "00482913")
    assert mark == made().mark(Kind.MRN, "0048-2913")  # however it is written
    assert mark != made(OTHER).mark(Kind.MRN, "00482913")
    assert mark != made().mark(Kind.STUDENT, "00482913")
    assert "482913" not in mark


def test_marks_are_recognised_and_nothing_is_found_in_them() -> None:
    pseudonyms = made()
    for kind in Kind:
        mark = pseudonyms.mark(kind, f"some {kind} 0123")
        assert marks(f"a {mark} b") == [(2, 2 + len(mark))]
        assert found(f"MRN: {mark}, SSN {mark} and phone {mark}.", frozenset(Kind)) == ()


def test_the_year_of_a_date_stays_unless_it_tells_an_age_over_89() -> None:
    pseudonyms = made()
    assert pseudonyms.mark(Kind.DATE, "March 3, 2024").startswith("[DATE-2024-")
    assert pseudonyms.mark(Kind.DATE, "1937-05-01").startswith("[DATE-1937-")
    assert not pseudonyms.mark(Kind.DATE, "1936-05-01").startswith("[DATE-1936")
    assert not pseudonyms.mark(Kind.DATE, "3/4").startswith("[DATE-20")


def test_three_digits_of_a_zip_code_stay_unless_few_live_there() -> None:
    pseudonyms = made()
    assert pseudonyms.mark(Kind.ZIP, "02139").startswith("[ZIP-021-")
    assert pseudonyms.mark(Kind.ZIP, "02139-4307").startswith("[ZIP-021-")
    for three in ("036", "059", "102", "203", "556", "692", "821", "823", "878", "879", "884", "893"):
        assert not pseudonyms.mark(Kind.ZIP, f"{three}12").startswith(f"[ZIP-{three}")
    assert not pseudonyms.mark(Kind.ZIP, "SW1A 1AA").startswith("[ZIP-SW1")


def test_what_was_asked_comes_back_and_nothing_else() -> None:
    pseudonyms, stranger = made(), made()
    mark = pseudonyms.mark(Kind.NAME, 'Ann "Nan" O\'Neil')
    foreign = stranger.mark(Kind.NAME, "Somebody Else")
    text = f"{mark} wrote to {foreign} and [NAME]"
    assert pseudonyms.restored(text) == f'Ann "Nan" O\'Neil wrote to {foreign} and [NAME]'
    assert pseudonyms.restored(mark, as_json=True) == 'Ann \\"Nan\\" O\'Neil'


def test_two_values_never_share_a_mark() -> None:
    pseudonyms = made()
    values = [f"{number:07}" for number in range(3_000)]
    assert len({pseudonyms.mark(Kind.MRN, value) for value in values}) == len(values)
    assert all(pseudonyms.restored(pseudonyms.mark(Kind.MRN, value)) == value for value in values)
