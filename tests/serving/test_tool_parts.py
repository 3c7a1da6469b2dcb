"""The parts of tool calls by schema: incremental JSON, narrowed schemas, mended values, turns."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intramural.core.chat import (
    ChatRequest,
    Delta,
    Finished,
    Message,
    ResponseFormat,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
)
from intramural.core.errors import Broken, Misasked
from intramural.serving.callreaders import CallReader
from intramural.serving.jsontext import Item, JsonText, MoreText, NotJson
from intramural.serving.schema import Bounds, anchored, enforceable, mend
from intramural.serving.tools import drive, plain

INT = {"type": "integer"}
BOUNDS = Bounds(string_chars=50, items=4, calls=3)
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool("weather", "The weather", CITY)
SCALAR = {"anyOf": [{"type": "string", "maxLength": 50}, {"type": "number"}, {"type": "boolean"}, {"type": "null"}]}


# incremental JSON -------------------------------------------------------------------------------------------------

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def facts(text: str, size: int) -> list[MoreText | Item]:
    document = JsonText()
    found = [fact for at in range(0, len(text), size) for fact in document.feed(text[at : at + size])]
    assert document.complete
    return found


@given(st.text(), st.integers(1, 7), st.booleans())
def test_a_string_streams_out_as_it_was(text: str, size: int, ascii_only: bool) -> None:
    written = json.dumps({"response": text}, ensure_ascii=ascii_only)
    assert "".join(fact.text for fact in facts(written, size) if isinstance(fact, MoreText)) == text


@given(st.lists(st.dictionaries(st.text(), values, max_size=3), min_size=1, max_size=4), st.integers(1, 9))
def test_elements_come_out_whole(items: list[dict[str, Any]], size: int) -> None:
    found = facts(json.dumps({"tool_calls": items}, indent=1), size)
    assert [fact.value for fact in found if isinstance(fact, Item)] == items
    assert not [fact for fact in found if isinstance(fact, MoreText)]


def test_text_is_there_before_the_document_ends() -> None:
    assert list(JsonText().feed('{"response": "Hel')) == [MoreText("response", "Hel")]


def test_lone_surrogates_become_something_that_can_be_sent() -> None:
    written = r'{"response": "a\ud800b\udc00c\ud83d\ude00d\ud800"}'
    assert "".join(fact.text for fact in facts(written, 3) if isinstance(fact, MoreText)) == "a\ufffdb\ufffdc😀d\ufffd"


@pytest.mark.parametrize("text", ["[]", "x", '{"a": "\\x"}', '{"a": "\\uzzzz"}', "{]", "{}{}", '{"a": [{]', "[" * 100])
def test_what_is_no_json_is_said_to_be_none(text: str) -> None:
    with pytest.raises(NotJson):
        list(JsonText().feed(text))


@given(st.text(alphabet='{}[]",:\\u0aé '))
def test_whatever_comes_nothing_worse_happens(text: str) -> None:
    with contextlib.suppress(NotJson):
        list(JsonText().feed(text))


# schemas ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("[A-Z]{3}", "^[A-Z]{3}$"),
        ("^a|b$", "^(a|b)$"),
        (r"^\d+[\w-]\.$", r"^[0-9]+[a-zA-Z0-9_-]\.$"),
        (r"a\$", r"^a\$$"),
    ],
)
def test_patterns_are_anchored(pattern: str, expected: str) -> None:
    assert anchored(pattern) == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, {"type": "string", "maxLength": 50}),
        ({"type": "string", "maxLength": 900, "title": "T", "default": 1}, {"type": "string", "maxLength": 900}),
        ({"type": "string", "enum": ["a"]}, {"enum": ["a"]}),
        ({"type": "array", "items": INT}, {"type": "array", "items": INT, "maxItems": 4}),
        ({"type": "object"}, {"type": "object", "properties": {}, "required": [], "additionalProperties": SCALAR}),
        ({"properties": {"a": INT, "b": False}, "required": ["a"]},
         {"type": "object", "properties": {"a": INT}, "required": ["a"], "additionalProperties": False}),
        ({"$ref": "#/$defs/P", "$defs": {"P": {"type": "integer"}}},
         {"$ref": "#/$defs/t0/$defs/P", "$defs": {"P": {"type": "integer"}}}),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}], "title": "x"},
         {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
    ],
)  # fmt: skip
def test_narrowing(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    assert enforceable(schema, BOUNDS, "#/$defs/t0") == expected


def test_branches_are_merged_with_what_stands_beside_them() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
    }
    narrowed = enforceable(schema, BOUNDS, "#")
    assert [branch["required"] for branch in narrowed["anyOf"]] == [["a"], ["b"]]
    assert all(branch["type"] == "object" for branch in narrowed["anyOf"])


@given(
    st.integers(-1000, 1000) | st.floats(-1000, 1000),
    st.integers(-50, 50),
    st.integers(0, 60),
    st.booleans(),
    st.sampled_from([None, 1, 3, 0.5]),
)
def test_numbers_are_moved_into_their_range(
    value: float, low: int, width: int, exclusive: bool, step: float | None
) -> None:
    width += 2 * int(step or 1) + 2  # a range that has something in it
    schema: dict[str, Any] = (
        {"exclusiveMinimum": low, "exclusiveMaximum": low + width}
        if exclusive
        else {"minimum": low, "maximum": low + width}
    )
    if step is not None:
        schema["multipleOf"] = step
    jsonschema.validate(mend(value, schema, schema), schema)


def test_mending_follows_references_and_lists() -> None:
    schema = {
        "type": "object",
        "properties": {"p": {"$ref": "#/$defs/P"}, "tags": {"type": "array", "uniqueItems": True}},
        "$defs": {"P": {"type": "object", "properties": {"n": {"type": "number", "maximum": 1}}}},
    }
    value = {"p": {"n": 10}, "tags": ["a", "b", "a"], "free": True}
    assert mend(value, schema, schema) == {"p": {"n": 1}, "tags": ["a", "b"], "free": True}


WORDS = """type properties items required enum const anyOf oneOf allOf $ref $defs pattern format minimum maximum
maxLength minLength exclusiveMinimum multipleOf uniqueItems minItems maxItems additionalProperties prefixItems"""
schema_words = st.sampled_from(WORDS.split())
odd_schemas = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.sampled_from(["object", "#/$defs/a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(schema_words | st.text(max_size=1), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(schema_words, odd_schemas, max_size=5), st.booleans())
def test_whatever_is_sent_as_a_schema_is_taken_or_refused(schema: dict[str, Any], formatted: bool) -> None:
    wanted = ResponseFormat("json_schema", schema) if formatted else ResponseFormat()
    tools = (Tool("odd", "", {} if formatted else schema),)
    try:
        assert drive(asked(tools=tools, response_format=wanted), BOUNDS)
    except Misasked as error:
        assert error.param == ("response_format" if formatted else "tools")


@given(values, odd_schemas)
def test_mending_never_fails(value: Any, schema: Any) -> None:
    mend(value, schema, schema)


# the whole drive --------------------------------------------------------------------------------------------------


def asked(choice: str = "auto", **more: Any) -> ChatRequest:
    fields: dict[str, Any] = {"id": "r", "model": "m", "messages": (Message("user", "hi"),), "tools": (WEATHER,)}
    kind = ToolChoice(choice, "weather" if choice == "named" else None)  # type: ignore[arg-type]
    return ChatRequest(**{**fields, "tool_choice": kind, **more})


def ids() -> Iterator[str]:
    return (f"call_{number}" for number in range(100))


def answered(choice: str, text: str, size: int = 5, reason: str = "stop", **more: Any) -> list[Any]:
    driven = drive(asked(choice, **more), BOUNDS)
    assert driven is not None
    names = ids()
    reader = driven.reader(0, lambda: next(names))
    events = [e for at in range(0, len(text), size) for e in reader.feed(Delta(0, text[at : at + size]))]
    return events + reader.feed(Finished(0, reason))  # type: ignore[arg-type]


def test_with_none_there_is_no_trace_of_tools() -> None:
    assert drive(asked("none"), BOUNDS) is None
    assert drive(asked("required", tools=()), BOUNDS) is None


WILD = {
    "type": "object",
    "properties": {
        "enum": {"type": "string", "pattern": "(a{1,900}){1,900}"},
        "pattern": {"type": "string", "pattern": "^[A-Z]{2}$", "maxLength": 10**9},
        "list": {"type": "array", "items": {"pattern": r"(a)\\1"}, "maxItems": 10**9},
    },
    "anyOf": [{"required": ["enum"]}],
    "examples": [{"maxItems": 10**9}],
}


def test_what_could_stall_an_engine_is_not_put_to_it() -> None:
    driven = drive(asked(tools=(Tool("wild", "", WILD),)), BOUNDS)
    assert driven is not None and driven.native is not None
    told = driven.native.request.tools[0].parameters
    assert told["properties"] == {
        "enum": {"type": "string"},
        "pattern": {"type": "string", "pattern": "^[A-Z]{2}$"},
        "list": {"type": "array", "items": {}},
    }
    assert {word: told[word] for word in ("anyOf", "examples")} == {word: WILD[word] for word in ("anyOf", "examples")}
    assert driven.tools[0].parameters == WILD, "calls are checked against what the client said"
    assert "900" not in json.dumps(driven.request.response_format.schema)


@pytest.mark.parametrize(
    "wrong", [{"type": "strin"}, {"$ref": "#/nowhere"}, {"$ref": "https://example.org/a"}, {"$ref": "#/$defs/a"}]
)
def test_a_tool_whose_schema_is_none_is_refused(wrong: dict[str, Any]) -> None:
    schema = {"properties": {"a": wrong}, "$defs": {"a": {"$ref": "#/$defs/a"}}}
    with pytest.raises(Misasked, match="invalid_schema") as caught:
        drive(asked(tools=(Tool("odd", "", schema),)), BOUNDS)
    assert caught.value.param == "tools"


@pytest.mark.parametrize("word", ["minItems", "minLength"])
def test_what_would_have_to_be_longer_than_any_answer_is_refused(word: str) -> None:
    with pytest.raises(Misasked, match="unsupported_schema") as caught:
        drive(asked(tools=(Tool("long", "", {"properties": {"a": {word: 10**6}}}),)), BOUNDS)
    assert caught.value.param == "tools"


def test_tools_are_described_in_the_system_message_that_is_there() -> None:
    driven = drive(asked(messages=(Message("system", "Be kind."), Message("user", "hi"))), BOUNDS)
    assert driven is not None
    system, user = driven.request.messages
    assert system.content.startswith("Be kind.")
    assert '"name": "weather"' in system.content
    assert user == Message("user", "hi")
    assert driven.request.tools == ()


@pytest.mark.parametrize(("choice", "calls"), [("auto", 3), ("required", 3), ("named", 1)])
def test_how_many_calls_there_may_be(choice: str, calls: int) -> None:
    def limit(parallel: bool) -> int:
        driven = drive(asked(choice, parallel_tool_calls=parallel), BOUNDS)
        assert driven is not None
        schema: Any = driven.request.response_format.schema
        document = schema["anyOf"][1] if choice == "auto" else schema
        return int(document["properties"]["tool_calls"]["maxItems"])

    assert limit(True) == calls
    assert limit(False) == 1


def test_calls_come_out_whole_with_ids() -> None:
    calls = [{"name": "weather", "arguments": {"city": city}} for city in ("Ulm", "Bern")]
    text = json.dumps({"tool_calls": calls})
    assert answered("required", text) == [
        ToolCallDelta(0, 0, '{"city": "Ulm"}', "call_0", "weather"),
        ToolCallDelta(0, 1, '{"city": "Bern"}', "call_1", "weather"),
        Finished(0, "tool_calls"),
    ]


def test_a_call_is_not_made_twice_in_one_answer() -> None:
    calls = [{"name": "weather", "arguments": {"city": city}} for city in ("Ulm", "Ulm", "Bern", "Ulm")]
    assert answered("required", json.dumps({"tool_calls": calls})) == [
        ToolCallDelta(0, 0, '{"city": "Ulm"}', "call_0", "weather"),
        ToolCallDelta(0, 1, '{"city": "Bern"}', "call_1", "weather"),
        Finished(0, "tool_calls"),
    ]


def test_text_streams_out_with_auto() -> None:
    events = answered("auto", '{"response": "Hello\\nyou"}', size=4)
    assert "".join(event.text for event in events[:-1]) == "Hello\nyou"
    assert len(events) > 3
    assert events[-1] == Finished(0, "stop")


def test_an_answer_that_is_cut_off_by_its_length_has_no_half_call() -> None:
    text = '{"tool_calls": [{"name": "weather", "arguments": {"city": "Ul'
    assert answered("required", text, reason="length") == [Finished(0, "length")]


def test_a_formatted_answer_beside_tools_comes_as_json() -> None:
    wanted = ResponseFormat("json_schema", {"type": "object", "properties": {"n": {"type": "integer"}}})
    events = answered("auto", '{"response": [{"n": 3}]}', response_format=wanted)
    assert events == [Delta(0, '{"n": 3}'), Finished(0, "stop")]


@pytest.mark.parametrize("text", ["Hello", '{"tool_calls": [{"name": "rm", "arguments": {}}]}', '{"tool_calls": ['])
def test_an_engine_that_leaves_the_schema_is_found_out(text: str) -> None:
    with pytest.raises(Broken) as caught:
        answered("required", text)
    assert caught.value.code == "worker_garbage"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (asked(tool_choice=ToolChoice("named", "nope")), "tool_not_found"),
        (asked(tools=(WEATHER, WEATHER)), "tool_name_twice"),
        (asked(messages=(), prompt="hi"), "tools_need_messages"),
        (asked(tools=(Tool("big", "", {"enum": ["x" * 70_000]}),)), "schema_too_large"),
    ],
)
def test_what_is_refused(request_: ChatRequest, code: str) -> None:
    with pytest.raises(Misasked) as caught:
        drive(request_, BOUNDS)
    assert caught.value.code == code


def test_turns_with_tools_become_turns_any_template_knows() -> None:
    messages = (
        Message("user", "Weather?"),
        Message(
            "assistant", "", tool_calls=(ToolCall("c1", "weather", '{"city": "Ulm"}'), ToolCall("c2", "time", "{"))
        ),
        Message("tool", "rain", tool_call_id="c1"),
        Message("tool", "noon", tool_call_id="c2"),
        Message("user", "And?"),
    )
    turned = plain(messages)
    assert [message.role for message in turned] == ["user", "assistant", "user"]
    assert json.loads(turned[1].content) == {
        "tool_calls": [{"name": "weather", "arguments": {"city": "Ulm"}}, {"name": "time", "arguments": "{"}]
    }
    assert turned[2].content == "Result of weather:\nrain\n\nResult of time:\nnoon\n\nAnd?"


def test_an_answer_that_is_begun_in_words_calls_nothing() -> None:
    assert drive(asked(messages=(Message("user", "hi"), Message("assistant", "Well"))), BOUNDS) is None


def test_turns_keep_their_thinking() -> None:
    call = ToolCall("c1", "weather", "{}")
    turned = plain((Message("user", "?"), Message("assistant", "", tool_calls=(call,), reasoning="hm")))
    assert turned[1].reasoning == "hm"


def test_the_reader_passes_on_what_is_not_text() -> None:
    reader = CallReader(0, {}, lambda: "x")
    assert reader.feed(ToolCallDelta(0, 0, "")) == [ToolCallDelta(0, 0, "")]
