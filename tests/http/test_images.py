"""Pictures as clients send them."""

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import pictures

from intramural.core.chat import Image
from intramural.core.errors import Misasked
from intramural.http import images
from intramural.http.openai import parts, shapes

PNG = pictures.png()
CODED = base64.b64encode(PNG).decode()


@pytest.mark.parametrize(
    "url",
    [
        f"data:image/png;base64,{CODED}",
        f"data:image/jpeg;charset=utf-8;base64,{CODED}",  # what it is, its bytes say
        f"DATA:;BASE64,{CODED}",
        f"data:image/png;base64,{CODED[:20]}\n{CODED[20:]}",
    ],
)
def test_data_urls_become_bytes(url: str) -> None:
    assert images.from_url(url, "x") == Image(data=PNG)


def test_an_address_stays_one() -> None:
    assert images.from_url("https://example.org/a.png", "x") == Image(url="https://example.org/a.png")


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("file:///etc/passwd", "bad_image_url"),
        ("ftp://example.org/a.png", "bad_image_url"),
        ("", "bad_image_url"),
        ("https://example.org/" + "a" * 3000, "bad_image_url"),
        ("data:image/png,abc", "bad_image_url"),
        ("data:image/png;base64", "bad_image_url"),
        ("data:image/png;base64,", "bad_image"),
        ("data:image/png;base64,%%%%", "bad_image"),
        ("data:image/png;base64,ŻŻŻŻ", "bad_image"),
        (f"data:application/pdf;base64,{CODED}", "bad_image"),
        ("data:image/svg+xml;base64," + base64.b64encode(b"<svg/>").decode(), "bad_image"),
    ],
)
def test_what_is_no_picture_is_refused_by_name(url: str, code: str) -> None:
    with pytest.raises(Misasked) as refused:
        images.from_url(url, "messages[0].content[1]")
    assert (refused.value.code, refused.value.param) == (code, "messages[0].content[1]")


@given(st.text(max_size=80))
def test_any_text_gets_an_answer(text: str) -> None:
    for url in (text, "data:" + text, "data:image/png;base64," + text):
        with contextlib.suppress(Misasked):
            images.from_url(url, "x")


def test_parts_keep_their_order() -> None:
    url = shapes.ImageUrl(f"data:image/png;base64,{CODED}")
    wire = [
        shapes.Part("text", "Look: "),
        shapes.Part("image_url", image_url=url),
        shapes.Part("file", file=shapes.FileRef(file_id="file-1")),
        shapes.Part("text", "What is it?"),
    ]
    text, found = parts.content(wire, "user", "messages[0]")
    assert text == "Look: What is it?"
    assert found == ("Look: ", Image(data=PNG), Image(file_id="file-1"), "What is it?")


def test_texts_alone_have_no_parts() -> None:
    assert parts.content([shapes.Part("text", "a"), shapes.Part("text", "b")], "user", "x") == ("ab", ())


@pytest.mark.parametrize(
    ("part", "role", "code"),
    [
        (shapes.Part("image_url", image_url=shapes.ImageUrl("https://x.org/a.png")), "system", "unsupported_content"),
        (shapes.Part("input_audio"), "user", "unsupported_content"),
        (shapes.Part("image_url"), "user", "unsupported_content"),
        (shapes.Part("file", file=shapes.FileRef()), "user", "bad_parameter"),
        (
            shapes.Part("image_url", image_url=shapes.ImageUrl("https://x.org", "low")),
            "user",
            "unsupported_parameter",
        ),
    ],
)
def test_other_parts_are_refused_by_name(part: shapes.Part, role: str, code: str) -> None:
    with pytest.raises(Misasked) as refused:
        parts.content([part], role, "messages[3]")
    assert refused.value.code == code
    assert str(refused.value.param).startswith("messages[3].content[0]")
