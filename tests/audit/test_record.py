"""The canonical record: one line of ASCII whatever outsiders put into it, bounded, read back as written."""

import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intramural.audit.events import Event
from intramural.audit.record import (
    MAX_FACTS_BYTES,
    MAX_TEXT_CHARS,
    Record,
    Texts,
    clean,
    commitment,
    facts_json,
    parse,
)
from intramural.core.actor import SYSTEM, Actor

any_text = st.text(st.characters(codec=None))  # with lone surrogates
facts = st.dictionaries(
    any_text,
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | any_text,
        lambda inner: st.lists(inner) | st.dictionaries(any_text, inner),
        max_leaves=20,
    ),
)


def test_the_form_is_pinned() -> None:
    actor = Actor("key", "person_1", "ada", "member", frozenset(), "key_1")
    record = Record(
        Event.CHAT_ASKED, actor, "model:m", "allowed", "req_1", 1_700_000_000_000, facts_json({"b": 1.5, "a": ["é"]})
    )
    assert record.to_bytes(7) == (
        b'{"actor":{"credential":"key_1","id":"person_1","kind":"key","role":"member"},"event":"chat.asked",'
        b'"facts":{"a":["\\u00e9"],"b":1.5},"outcome":"allowed","position":7,"request_id":"req_1",'
        b'"target":"model:m","time_ms":1700000000000,"v":1}'
    )


def test_the_persons_name_is_not_in_it() -> None:
    actor = Actor("person", "person_1", "ada.lovelace", "member", frozenset(), "session_1")
    assert b"lovelace" not in Record(Event.LOGOUT, actor, "", "finished", None, 0).to_bytes(0)


@given(any_text, any_text, any_text, facts)
def test_every_record_is_one_line_of_printable_ascii_and_sorted(
    target: str, person: str, request: str, given_facts: dict[str, Any]
) -> None:
    actor = Actor("person", person, "", "member", frozenset(), "session_1")
    texts = Texts(bytes(32)).json({"prompt": target}, bytes(16), person)
    record = Record(Event.CHAT_ASKED, actor, target, "allowed", request, 0, facts_json(given_facts), texts, skew_ms=5)
    data = record.to_bytes(3)
    assert all(0x20 <= byte <= 0x7E for byte in data)
    read = json.loads(data)
    assert json.dumps(read, sort_keys=True, separators=(",", ":")).replace("\x7f", "\\u007f").encode() == data
    assert (read["target"], read["actor"]["id"], read["request_id"]) == (clean(target), clean(person), clean(request))
    assert parse(data).position == 3


@pytest.mark.parametrize(
    "hostile",
    [
        'x","outcome":"allowed","y":"',
        "line\r\n{fake}",
        "\x1b[2J\x1b]0;title\x07",
        "\u202etxt.exe\u2066",
        "\u2028\u2029\x85",
        "\x00\x7f\x9b",
        b"\xff\xfe".decode("utf-8", "surrogateescape"),
    ],
)
def test_injection_stays_inside_its_field(hostile: str) -> None:
    record = Record(Event.LOGIN_FAILED, SYSTEM, hostile, "refused", hostile, 0, facts_json({hostile: hostile}))
    data = record.to_bytes(0)
    read = parse(data)
    assert data.isascii()
    assert data.decode().isprintable()
    assert read.outcome == "refused"
    assert read.target == read.request_id == clean(hostile)
    assert read.facts == {clean(hostile): clean(hostile)}


def test_long_text_is_cut_and_says_so() -> None:
    agent = "a" * 1_048_576
    record = Record(Event.LOGIN_FAILED, SYSTEM, agent, "refused", agent, 0, facts_json({"user_agent": agent}))
    read = parse(record.to_bytes(0))
    assert read.target == read.facts["user_agent"] == "a" * MAX_TEXT_CHARS + "…[1048576]"


def test_large_facts_are_bounded() -> None:
    assert len(facts_json({str(n): "x" * 1000 for n in range(64)})) < 64
    assert facts_json({str(n): "x" * 1000 for n in range(64)}).startswith('{"left_out_bytes":')
    assert json.loads(facts_json({"many": list(range(100))}))["many"][-2:] == [63, "…[100]"]
    assert json.loads(facts_json({"deep": [[[[[1]]]]]})) == {"deep": [[["…"]]]}
    assert len(json.loads(facts_json({str(n): n for n in range(100)}))) == 65
    assert len(facts_json({"n": "é" * 1000})) < MAX_FACTS_BYTES


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (2**53 - 1, "9007199254740991"),
        (2**53, '"9007199254740992"'),
        (-(2**63), '"-9223372036854775808"'),
        (2**9999, '"\\u2026[10000 bits]"'),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (float("nan"), '"nan"'),
        (float("-inf"), '"-inf"'),
        (True, "true"),
        (None, "null"),
        (("a", 1), '["a",1]'),
        (Event.LOGOUT, '"logout"'),
    ],
)
def test_how_values_are_written(value: Any, written: str) -> None:
    assert facts_json({"a": value}) == f'{{"a":{written}}}'


@pytest.mark.parametrize("value", [b"bytes", object(), {1: "x"}, {"a", "b"}, 1j])
def test_other_types_are_mistakes(value: Any) -> None:
    with pytest.raises(TypeError):
        facts_json({"a": value})


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"v":"1"}', b'{"facts":' + b"[" * 100_000])
def test_what_is_no_record_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse(data)


def test_text_is_committed_to_not_kept() -> None:
    texts = Texts(b"k" * 32)
    nonce = bytes(range(16))
    found = json.loads(texts.json({"prompt": "secret é", "answer": "42"}, nonce, "person_ada"))
    assert found["nonce"] == nonce.hex()
    assert found["prompt"].keys() == {"bytes", "commitment"}
    assert found["prompt"]["bytes"] == len("secret é".encode())
    salt = hmac.new(b"k" * 32, nonce + b"prompt", hashlib.sha256).digest()
    expected = "sha256:" + hashlib.sha256(salt + "secret é".encode()).hexdigest()
    assert found["prompt"]["commitment"] == expected == commitment(texts.salt("prompt", nonce, None), "secret é")
    assert texts.json({}, nonce, "person_ada") == "{}"


def test_the_same_text_looks_different_each_time() -> None:
    texts = Texts(b"k" * 32)
    both = json.loads(texts.json({"prompt": "yes", "answer": "yes"}, bytes(16), "p"))
    again = json.loads(texts.json({"prompt": "yes"}, bytes([1] * 16), "p"))
    assert len({both["prompt"]["commitment"], both["answer"]["commitment"], again["prompt"]["commitment"]}) == 3


def test_the_length_of_what_is_committed_to_is_that_of_valid_text() -> None:
    found = json.loads(Texts(b"k" * 32).json({"prompt": "hello \ud800" + "x" * 100_000}, bytes(16), "p"))
    assert found["prompt"]["bytes"] == 100_009


def test_every_event_has_a_name_and_a_sentence() -> None:
    assert len({str(event) for event in Event}) == len(list(Event))
    assert all(event.doc.endswith(".") for event in Event)
    assert Event("chat.asked") is Event.CHAT_ASKED
