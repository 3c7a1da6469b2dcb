"""Titles and snippets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intramural.chats.text import TITLE_CHARS, auto_title, snippet


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("Hello", "Hello"),
        ("one two three four five six", "one two three four five six"),
        ("one two three four five six seven", "one two three four five six…"),
        ("  spread\n\nover   lines ", "spread over lines"),
        ("# A heading, and more words to come", "A heading, and more words…"),
        ("x" * 100, "x" * 60 + "…"),
        ("一" * 100, "一" * 60 + "…"),
        ("", ""),
    ],
)
def test_a_title_is_the_first_words(question, title):
    assert auto_title(question) == title


@given(st.text())
def test_a_title_is_one_short_line_of_the_question(question):
    title = auto_title(question)
    assert len(title) <= TITLE_CHARS + 1
    assert title == " ".join(title.split())


def test_a_snippet_is_around_the_first_place():
    content = "ß" * 50 + " before NEEDLE after " + "x" * 200
    found = snippet(content, "needle")
    assert found is not None
    assert found.startswith("…ß")
    assert "before NEEDLE after" in found
    assert found.endswith("x…")
    assert snippet("needle", "NEEDLE") == "needle"
    assert snippet("hay", "needle") is None


@given(before=st.text(max_size=200), needle=st.text("abcdeß", min_size=1, max_size=9), after=st.text(max_size=200))
def test_a_snippet_is_found_wherever_the_words_are(before, needle, after):
    found = snippet(before + needle + after, needle.upper())
    assert found is not None
    assert len(found) <= 122
