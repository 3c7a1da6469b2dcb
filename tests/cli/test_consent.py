"""Lists of a school, as they come out of its spreadsheets."""

from pathlib import Path

import pytest

from intramural.cli.consent import _day_ms, _rows
from intramural.core.errors import Misasked

KNOWN = {"username", "age", "birth_year"}


def test_a_list_is_read_by_its_headings_without_what_is_empty(tmp_path: Path) -> None:
    file = tmp_path / "ages.csv"
    file.write_bytes("\ufeffUsername, Age ,birth_year\r\nmia,13-15,\r\n zoë ,,1990\r\n".encode())
    assert _rows(file, KNOWN) == [{"username": "mia", "age": "13-15"}, {"username": "zoë", "birth_year": "1990"}]
    assert _rows(None, KNOWN) == []


WRONG = {
    "name,age\nmia,adult\n": "no heading `username`",
    "": "no heading `username`",
    "username,shoe\nmia,38\n": "the heading 'shoe'",
    "username,age\nmia,adult,more\n": "Line 2",
    "username,age\nmia,adult\n,adult\n": "Line 3",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_list_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "list.csv"
    file.write_text(text, "utf-8")
    with pytest.raises(Misasked) as caught:
        _rows(file, KNOWN)
    assert caught.value.code == "bad_list" and WRONG[text] in caught.value.message and caught.value.hint


def test_a_list_that_is_no_text_and_a_day_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_bytes(b"username\n\xff\xfe\n")
    for wrong in (file, tmp_path / "missing.csv"):
        with pytest.raises(Misasked, match="cannot be read"):
            _rows(wrong, KNOWN)
    assert _day_ms("2026-09-01") == 1788220800000
    with pytest.raises(Misasked, match="is no day"):
        _day_ms("1.9.2026")
