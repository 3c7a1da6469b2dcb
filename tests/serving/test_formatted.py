"""Answers held to a schema: what is refused, what is put right, and that the real starter's answers validate."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.fakes.spawner import PlainSpawner
from tests.serving.pools import model, request, running
from tests.serving.schemas import schema
from tests.serving.test_tool_parts import odd_schemas, schema_words
from tests.thinking import THINKING

from intramural.core.chat import Delta, Finished, Reasoning, ResponseFormat, Thinking
from intramural.core.errors import Broken, Misasked
from intramural.serving import ModelToServe, Pool, formatted
from intramural.serving.fits import FORMATS, fits
from intramural.serving.formatted import FormattedReader, needs_mending
from intramural.serving.schema import Bounds, enforceable, is_exact
from intramural.serving.supported import ENFORCED, REMARKS, check

TEXT = {"type": "string"}
CHECKED = jsonschema.Draft202012Validator.FORMAT_CHECKER


def validate(value: Any, against: Any) -> None:
    """As the reference implementation sees it, formats included."""
    jsonschema.Draft202012Validator(against, format_checker=CHECKED).validate(value)


def refused(given_schema: Any) -> Misasked:
    with pytest.raises(Misasked) as caught:
        check(given_schema, "response_format")
    assert caught.value.param == "response_format"
    return caught.value


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"not": TEXT}, "`not`"),
        ({"if": TEXT, "then": TEXT}, "`if`, `then`"),
        ({"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}, "`uniqueItems`"),
        ({"type": "object", "patternProperties": {}, "minProperties": 1}, "`patternProperties`, `minProperties`"),
        ({"$defs": {"a": {"contains": TEXT}}}, "`contains`"),
        ({"type": "string", "format": "iri"}, "`format: iri`"),
        ({"type": "string", "pattern": "(?=a)b"}, "`pattern: (?=a)b`"),
        ({"type": "string", "pattern": r"(a)\1"}, "`pattern: "),
        ({"type": "string", "pattern": "a^b"}, "`pattern: a^b`"),
        ({"type": "string", "pattern": "a", "maxLength": 3}, "`maxLength beside pattern`"),
        ({"type": "number", "multipleOf": 0.1}, "`multipleOf: 0.1`"),
        ({"type": "string", "pattern": "((.{50}){50}){50}"}, "`pattern: "),
        ({"type": "string", "format": "date", "enum": ["2020-01-01"]}, "`format beside enum`"),
        ({"type": "array", "prefixItems": [TEXT], "minItems": 2}, "`minItems beside prefixItems`"),
        ({"type": "array", "items": False}, "`items: false`"),
        ({"allOf": [TEXT, {"minLength": 1}]}, "allOf"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf of"),
        ({"$ref": "#/$defs/a", "minLength": 2, "$defs": {"a": TEXT}}, "minLength beside $ref"),
        ({"type": "object", "anyOf": [{"type": "string"}, {"required": ["a"]}]}, "`type beside anyOf with"),
        ({"dependentRequired": {}, "x-mine": 1}, "`dependentRequired`, `x-mine`"),
    ],
)
def test_what_cannot_be_enforced_is_named(wrong: Any, named: str) -> None:
    error = refused(wrong)
    assert error.code == "unsupported_schema"
    assert named in error.message


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "strin"},
        {"enum": []},
        {"$ref": "#/$defs/none"},
        {"$ref": "#"},
        {"$ref": "https://example.org/schema"},
        {"items": 7},
        {"properties": 3},
        {"required": "a"},
        {"minLength": -1},
        {"maximum": "5"},
        {"minimum": 3, "maximum": 2},
        {"type": "integer", "minimum": 10**400, "maximum": 10**400},
        {"multipleOf": 10**400},
        {"maximum": float("inf")},
        {"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2},
        {"minimum": 11, "maximum": 14, "multipleOf": 5},
        {"minItems": 3, "maxItems": 2},
        {"type": "object", "properties": {"a": False}, "required": ["a"]},
        {"type": "string", "enum": [1, 2]},
        {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]},
        {"type": "object", "properties": {}, "required": ["a"], "additionalProperties": False},
    ],
)
def test_what_is_no_schema_is_refused(wrong: Any) -> None:
    assert refused(wrong).code == "invalid_schema"


def test_the_page_names_all_that_is_supported() -> None:
    page = (Path(__file__).parents[2] / "docs/structured-output.md").read_text("utf-8")
    assert [word for word in (*ENFORCED, *REMARKS, *FORMATS) if f"`{word}`" not in page] == []


@pytest.mark.parametrize("number", range(200))
def test_every_random_schema_is_supported(number: int) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(number))
    check(schema(number), "response_format")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-60, 160) | st.floats(-6, 110) | st.text("abZ1-:", max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("name", "age", "id", "is")), inner),
    max_leaves=6,
)


@given(st.integers(0, 199), json_values)
def test_our_judge_never_lets_pass_what_the_other_does_not(number: int, value: Any) -> None:
    made = schema(number)
    if fits(value, made, made):
        validate(value, made)


@given(st.dictionaries(schema_words, odd_schemas, max_size=5), st.booleans())
def test_whatever_is_sent_as_a_schema_can_be_asked_for_or_is_refused(given_schema: Any, small: bool) -> None:
    try:
        formatted.check(ResponseFormat("json_schema", given_schema))
    except Misasked as error:
        assert error.code in ("invalid_schema", "unsupported_schema")
        return
    jsonschema.Draft202012Validator.check_schema(given_schema)
    asked = formatted.narrowed(ResponseFormat("json_schema", given_schema), small=small)
    assert isinstance(asked.schema, dict)


def test_a_pattern_cannot_make_the_judge_search_for_ever() -> None:
    hostile = {"type": "string", "pattern": "^(a+)+$"}
    check(hostile, "response_format")
    assert not fits("a" * 2000 + "!", hostile, hostile)
    assert fits("a" * 2000, hostile, hostile)


@pytest.mark.parametrize(
    "given_schema",
    [
        {"anyOf": [{"$ref": "#/$defs/list"}, {"$ref": "#/$defs/node"}], "$defs": {
            "list": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            "node": {"properties": {"next": {"$ref": "#/$defs/list"}}, "required": ["next"]},
        }},
        {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}},
        {"type": "array", "prefixItems": [TEXT, TEXT], "minItems": 2, "maxItems": 2, "items": False},
        {"const": "a", "enum": ["a"], "type": "string"},
        {"$ref": "#/$defs/a", "description": "As pydantic writes it.", "default": None, "$defs": {"a": TEXT}},
        {"type": ["number", "null"], "minimum": 0},
        {"type": "object", "oneOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}], "discriminator": {}, "$defs": {
            "a": {"type": "object", "properties": {"kind": {"const": "a"}}, "required": ["kind"]},
            "b": {"type": "object", "properties": {"kind": {"const": "b"}}, "required": ["kind"]},
        }},
    ],
)  # fmt: skip
def test_what_clients_send_is_supported(given_schema: Any) -> None:
    check(given_schema, "response_format")


# what is asked of the engine ---------------------------------------------------------------------------------------

SMALL = Bounds(string_chars=50, items=4, calls=1, members=3, decimals=6)


def test_numbers_of_a_small_model_end() -> None:
    def narrowed(**said: Any) -> dict[str, Any]:
        return enforceable({"type": "number", **said}, SMALL, "#")

    assert narrowed(minimum=0, maximum=5) == {"type": "number", "minimum": 0, "maximum": 5, "multipleOf": 1e-6}
    below = narrowed(exclusiveMinimum=-2, exclusiveMaximum=-1)["enum"]
    assert (below[0], below[-1], len(below)) == (-1.99, -1.01, 99)
    listed, rest = narrowed(minimum=-1, maximum=1)["anyOf"]
    assert listed["enum"][0] == -1 and rest["multipleOf"] == 1e-6
    assert is_exact({"anyOf": [listed, rest]}, digits_end=True)
    assert not is_exact(narrowed(minimum=-180, maximum=180), digits_end=True), "too wide to be listed"
    assert narrowed(multipleOf=5, minimum=-20, maximum=-3) == {"enum": [-20, -15, -10, -5]}
    many, up = narrowed(multipleOf=5)["anyOf"]
    assert (many["enum"][-1], len(many["enum"]), up["minimum"]) == (-5, 500, 0)


def test_a_small_model_s_texts_leave_room_for_the_rest() -> None:
    wanted = ResponseFormat("json_schema", TEXT)
    for small, max_tokens, chars in ((True, None, 2048), (True, 120, 120), (True, 1, 64), (False, 120, 16384)):
        assert formatted.narrowed(wanted, small=small, max_tokens=max_tokens).schema == {**TEXT, "maxLength": chars}


def test_what_would_be_too_much_for_the_exact_compiler_is_not_asked_of_it() -> None:
    below = {"type": "number", "minimum": -4, "maximum": -1}
    few: dict[str, Any] = {"type": "object", "properties": {f"p{n}": below for n in range(6)}}
    many = {"type": "object", "properties": {f"p{n}": {"type": "integer"} for n in range(201)}}
    lists = {"type": "array", "prefixItems": [{"type": "array", "items": TEXT, "maxItems": 10**9}] * 60}
    assert is_exact(enforceable(few, SMALL, "#"), digits_end=True)
    few["properties"] |= {f"q{n}": below for n in range(6)}
    for schema_ in (few, many, lists):
        asked = enforceable(schema_, SMALL, "#")
        assert not is_exact(asked, digits_end=True)
        assert len(json.dumps(asked)) < 40_000
    assert is_exact({"type": "object", "properties": {"maxItems": {"type": "integer"}}}, digits_end=True), "a name"


@given(st.integers(-400, 400), st.floats(0.001, 900), st.booleans(), st.sampled_from([None, 1, 5]))
def test_a_narrowed_number_is_one_of_the_schema(low: int, width: float, exclusive: bool, step: int | None) -> None:
    words = ("exclusiveMinimum", "exclusiveMaximum") if exclusive else ("minimum", "maximum")
    given_schema = {"type": "number", words[0]: low, words[1]: low + width, **({"multipleOf": step} if step else {})}
    try:
        check(given_schema, "response_format")
    except Misasked as error:
        assert step and error.code == "invalid_schema"
        return
    narrowed = enforceable(given_schema, SMALL, "#")
    for part in narrowed.get("anyOf", [narrowed]):
        for number in part.get("enum", ()):
            validate(number, given_schema)
        for number in (part.get("minimum", low), part.get("maximum", low), 0, -1, 7):
            if fits(number, part, part):
                validate(number, given_schema)


def read(text: str, given_schema: Any, *, held: bool, reason: str = "stop") -> list[Any]:
    reader = FormattedReader(0, given_schema, held=held)
    pieces = [Delta(0, text[at : at + 3]) for at in range(0, len(text), 3)]
    return [out for event in (*pieces, Finished(0, reason)) for out in reader.feed(event)]  # type: ignore[arg-type]


NUMBER = {"type": "object", "properties": {"n": {"type": "number", "maximum": 5}}, "required": ["n"]}


def test_text_goes_out_as_it_comes_where_all_is_enforced() -> None:
    assert len(read('{"n": 3}', NUMBER, held=False)) == 4


def test_an_answer_is_put_right_before_it_goes_out() -> None:
    assert read('{"n": 7}', NUMBER, held=True) == [Delta(0, '{"n": 5}'), Finished(0, "stop")]
    assert [e.text for e in read('{"n": 3}', NUMBER, held=True)[:-1]] == ['{"n', '": ', "3}"], "as it was, if it fits"


@pytest.mark.parametrize("text", ["1e999", "-1e999", "1" + "0" * 400, "2e308", "7"])
def test_numbers_beyond_all_measure_are_put_right_too(text: str) -> None:
    for asked in ({"minimum": -5, "maximum": 5}, {"multipleOf": 7}, {"minimum": -5}):
        held = {"type": "object", "properties": {"n": {"type": "number", **asked}}}
        out = "".join(each.text for each in read(f'{{"n": {text}}}', held, held=True)[:-1])
        assert "Infinity" not in out
        validate(json.loads(out), held)


def test_what_does_not_fit_is_an_error_and_what_is_cut_off_is_shown() -> None:
    with pytest.raises(Broken, match="answer_outside_schema"):
        read('{"n": 7}', NUMBER, held=False)
    with pytest.raises(Broken, match="answer_outside_schema"):
        read('{"n": 7', NUMBER, held=True)
    with pytest.raises(Misasked, match="invalid_schema"):
        read("Sure! Here is", NUMBER, held=True)
    assert "".join(e.text for e in read('{"n"', NUMBER, held=True, reason="length")[:-1]) == '{"n"'


@given(json_values, st.integers(0, 200), st.sampled_from((None, 1)))
def test_what_is_cut_off_is_shown_wherever_it_was(value: Any, at: int, indent: int | None) -> None:
    text = json.dumps({"a": [value, 1.5e300, True, '\u00e9"x'], "b": -1}, indent=indent)[: at + 1]
    assert "".join(e.text for e in read(text, {"type": "object"}, held=False, reason="length")[:-1]) == text


def test_what_is_no_json_is_an_error_even_if_it_was_cut_off() -> None:
    for text in ('{"story" => "A', "{\n story", '["a" "b', "[1,]", '["\\q'):
        with pytest.raises(Broken, match="answer_outside_schema"):
            read(text, {"type": "object"}, held=False, reason="length")


async def test_a_schema_is_refused_before_anything_waits() -> None:
    spawner = PlainSpawner()
    async with running(spawner) as pool:
        with pytest.raises(Misasked, match="unsupported_schema"):
            pool.chat(model(), replace(request(), response_format=ResponseFormat("json_schema", {"not": TEXT})))
        assert spawner.started == []


# the real engine --------------------------------------------------------------------------------------------------


class Bench:
    def __init__(self, pool: Pool, served: ModelToServe) -> None:
        self.pool = pool
        self.model = served

    async def answer(self, number: int, thinking: Thinking = Thinking()) -> list[Any]:  # noqa: B008 (frozen)
        """Checked against the schema, by the reference implementation."""
        made = schema(number)
        asked = replace(
            request("Fill in the form with something plausible.", temperature=0.8, seed=number, max_tokens=500),
            response_format=ResponseFormat("json_schema", made),
            thinking=thinking,
        )
        events = [event async for event in self.pool.chat(self.model, asked)]
        assert events[-2] == Finished(0, "stop"), made
        validate(json.loads("".join(e.text for e in events if isinstance(e, Delta))), made)
        return events


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def starter(weights: Path) -> AsyncIterator[Bench]:
    async with running(PlainSpawner(real=True)) as pool:
        yield Bench(pool, model(slots=1, context_tokens=1024, weights=weights))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def thinker(weights: Path) -> AsyncIterator[Bench]:
    """The starter, with a template that makes it think: the engine's other compiler holds its answers to schemas."""
    async with running(PlainSpawner(real=True)) as pool:
        yield Bench(pool, model(slots=1, context_tokens=1024, weights=weights, template=THINKING))


@pytest.mark.asyncio(loop_scope="module")
async def test_answers_to_a_dozen_random_schemas_validate(starter: Bench) -> None:
    for number in range(12):
        await starter.answer(number)


@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="module")
async def test_answers_to_200_random_schemas_validate(starter: Bench) -> None:
    for number in range(200):
        await starter.answer(number)


@pytest.mark.asyncio(loop_scope="module")
async def test_answers_after_thinking_validate_too(thinker: Bench) -> None:
    for number in [number for number in range(40) if needs_mending(schema(number))][:5]:
        events = await thinker.answer(number, Thinking("on", budget_tokens=4))
        assert any(isinstance(event, Reasoning) for event in events)


@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="module")
async def test_answers_to_200_random_schemas_validate_after_thinking_too(thinker: Bench) -> None:
    for number in range(200):
        await thinker.answer(number, Thinking("on", budget_tokens=4))
