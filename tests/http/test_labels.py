"""The label that an AI wrote it: in a header, in exports, for people and for programs."""

import re
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intramural.chats import Chat, StoredMessage
from intramural.http import labels
from intramural.http.page.exports import as_json, as_markdown
from intramural.services.conversations import WholeChat

#: RFC 8941: an item that is true, with parameters that are strings.
FIELD = re.compile(r'\?1(; [a-z]+="[\x20\x21\x23-\x5b\x5d-\x7e]*")*')


def chat(*messages: StoredMessage, title: str = "Rivers") -> WholeChat:
    return WholeChat(Chat("chat_1", title, "tiny:1b", 0, 0), messages)


def said(
    role: Literal["user", "assistant"], content: str, model: str | None = None, request_id: str | None = None
) -> StoredMessage:
    return StoredMessage("m", role, content, model, None, request_id, 0)


ASKED = said("user", "Which is the longest?")
ANSWERED = said("assistant", "The Nile.", "tiny:1b", "req_1")


def test_the_header_names_model_and_digest() -> None:
    assert labels.header("tiny:1b", "sha256:ab") == '?1; model="tiny:1b"; digest="sha256:ab"'
    assert labels.header("tiny:1b") == '?1; model="tiny:1b"'
    assert labels.header() == "?1"


@given(st.text(max_size=80))
def test_whatever_a_model_is_called_the_header_stays_one_field_on_one_line(name: str) -> None:
    assert FIELD.fullmatch(labels.header(name, "sha256:ab"))


@pytest.mark.parametrize("labelled", [True, False])
def test_an_export_marks_what_a_model_wrote_and_nothing_else(labelled: bool) -> None:
    whole = chat(ASKED, ANSWERED)
    found = as_json(whole, "Hill School", labelled=labelled)
    assert ["generated" in each for each in found["messages"]] == [False, labelled]
    assert ("generated" in found) == labelled
    text = as_markdown(whole, "Hill School", labelled=labelled)
    assert (text.startswith("---\n"), "Written with AI (tiny:1b), at Hill School" in text) == (labelled, labelled)
    assert "The Nile." in text and "Which is the longest?" in text
    if labelled:
        mark = found["messages"][1]["generated"]
        assert mark == {"source_type": labels.SOURCE_TYPE, "model": "tiny:1b", "receipt": "/v1/receipts/req_1"}
        assert found["generated"]["models"] == ["tiny:1b"]
        assert labels.SOURCE_TYPE in text.split("---")[1]


def test_what_no_model_wrote_is_not_called_written_by_one() -> None:
    assert "generated" not in as_json(chat(ASKED), "", labelled=True)
    assert "Written with AI" not in as_markdown(chat(ASKED), "", labelled=True)


def test_a_name_does_not_break_out_of_the_fields() -> None:
    text = as_markdown(chat(said("assistant", "x", 'a"\\b')), "", labelled=True)
    assert '  - "a\\"\\\\b"' in text
