"""One model has one name, and one file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intramural.core.errors import Misasked
from intramural.library.names import MAX_CHARACTERS, file_of, name_of, parse_name, suggest_name

WORDS = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,15}", fullmatch=True)
NAMES = st.builds(
    lambda parts, tag: "/".join(parts) + (f":{tag}" if tag else ""),
    st.lists(WORDS, min_size=1, max_size=4),
    st.none() | WORDS,
)


@given(NAMES)
def test_a_name_is_parsed_once(name: str) -> None:
    parsed = parse_name(name)
    assert parse_name(parsed) == parsed
    assert parse_name(parsed.removesuffix(":latest") + ("" if ":" in parsed else ":latest")) == parsed


@given(NAMES, NAMES)
def test_files_are_one_to_one(one: str, other: str) -> None:
    one, other = parse_name(one), parse_name(other)
    assert name_of(file_of(one)) == one
    assert (file_of(one) == file_of(other)) == (one == other)


@given(st.text(max_size=200))
def test_no_text_names_a_file_outside(text: str) -> None:
    try:
        file = file_of(parse_name(text))
    except Misasked as error:
        assert error.code == "bad_model_name"
        return
    assert "/" not in file
    assert "\0" not in file
    assert not file.startswith(".")
    assert len(file.encode()) < 255


@pytest.mark.parametrize(
    "text",
    [
        *("", "/", ":", "a/", "/a", "a//b", "../a", "a/../b", "a:", ":b", "a:b:c", "A", "a b", "a\n", "a\0", "a%2fb"),
        *("é", ".a", "a:.b", "a/b/c/d/e", "x" * (MAX_CHARACTERS + 1)),
    ],
)
def test_not_a_name(text: str) -> None:
    with pytest.raises(Misasked) as refused:
        parse_name(text)
    assert refused.value.code == "bad_model_name"


@given(st.text(max_size=80))
def test_any_file_gets_a_good_name(stem: str) -> None:
    assert parse_name(suggest_name(stem)) == suggest_name(stem)


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("SmolLM2-135M-Instruct.Q4_1", "smollm2-135m-instruct:q4_1"),
        ("Qwen3-0.6B-Q4_K_M", "qwen3-0.6b:q4_k_m"),
        ("gpt-oss-20b-mxfp4", "gpt-oss-20b:mxfp4"),
        ("My Model (final)", "my-model-final"),
        ("...", "model"),
        ("q4_0", "q4_0"),
    ],
)
def test_suggestions(stem: str, name: str) -> None:
    assert suggest_name(stem) == name


@pytest.mark.parametrize(
    "file", ["a.json.new", "A.json", "a:b.json", "a%3Ab.json", "readme", ".json", "a%3alatest.json"]
)
def test_other_files_are_not_manifests(file: str) -> None:
    assert name_of(file) is None
