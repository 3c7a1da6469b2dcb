"""Calls in a model's own words: found, checked, asked for again where they do not fit; the stand-in writes them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.fakes.spawner import PlainSpawner
from tests.serving.pools import model, request, running
from tests.tooltemplate import TOOLS as TOOLS_TEMPLATE

from intramural.core.chat import (
    ChatRequest,
    Delta,
    Finished,
    Message,
    Reasoning,
    ResponseFormat,
    Sampling,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
    Usage,
)
from intramural.core.errors import Misasked
from intramural.serving.callreaders import FreeReader, adapted
from intramural.serving.schema import Bounds
from intramural.serving.tools import drive

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER, NOW = Tool("weather", "The weather.", CITY), Tool("now", "The time.", {"type": "object", "properties": {}})
TOOLS = {"weather": WEATHER, "now": NOW}
ULM = '{"name": "weather", "arguments": {"city": "Ulm"}}'
BAD = '{"name": "weather", "arguments": {"days": 3}}'


# the reader -------------------------------------------------------------------------------------------------------


def read(*events: Any, limit: int = 8, reason: str = "stop") -> tuple[list[Any], FreeReader]:
    ids = iter(f"c{number}" for number in range(99))
    reader = FreeReader(0, TOOLS, lambda: next(ids), limit)
    given = [Delta(0, event) if isinstance(event, str) else event for event in events]
    return [e for event in (*given, Finished(0, reason)) for e in reader.feed(event)], reader  # type: ignore[arg-type]


def made(position: int, arguments: str, name: str = "weather") -> ToolCallDelta:
    return ToolCallDelta(0, position, arguments, f"c{position}", name)


def test_words_and_calls_are_told_apart() -> None:
    events, _ = read("I look. ", f"```json\n{ULM}", "\n```", Reasoning(0, "hm"))
    assert events == [Delta(0, "I look. "), made(0, '{"city": "Ulm"}'), Reasoning(0, "hm"), Finished(0, "tool_calls")]


def test_the_same_call_twice_is_made_twice() -> None:
    events, _ = read('[now(), now()]')  # fmt: skip
    assert events == [made(0, "{}", "now"), made(1, "{}", "now"), Finished(0, "tool_calls")]


def test_calls_that_the_engine_found_come_in_pieces() -> None:
    pieces = [
        ToolCallDelta(0, 0, "", name="weather"),
        ToolCallDelta(0, 0, '{"city": '),
        ToolCallDelta(0, 0, '"Ulm"}'),
        ToolCallDelta(0, 1, "", name="now"),
        ToolCallDelta(0, 1, "{}"),
    ]
    events, _ = read("Well. ", *pieces)
    assert events[1:] == [made(0, '{"city": "Ulm"}'), made(1, "{}", "now"), Finished(0, "tool_calls")]


def test_a_tool_that_is_not_there_is_no_call() -> None:
    events, _ = read(ToolCallDelta(0, 0, '{"a": 1}', name="rm_rf"), reason="tool_calls")
    assert events == [Delta(0, '{"a": 1}'), Finished(0, "stop")]


def test_no_more_calls_than_were_allowed() -> None:
    events, _ = read(f"[{ULM}, {ULM}, {ULM}]", limit=1)
    assert events == [made(0, '{"city": "Ulm"}'), Finished(0, "tool_calls")]


@pytest.mark.parametrize("bad", [BAD, ToolCallDelta(0, 0, '{"days": 3}', name="weather"),
                                 ToolCallDelta(0, 0, '{"da', name="weather")])  # fmt: skip
def test_what_does_not_fit_is_left_to_be_asked_for_again(bad: Any) -> None:
    events, reader = read(bad)
    assert events == []
    assert (reader.made, reader.finish) == ([(WEATHER, None)], Finished(0, "tool_calls"))


def test_what_cannot_be_sent_is_replaced() -> None:
    events, _ = read('{"name": "weather", "arguments": {"city": "U\\ud800lm"}}')
    assert events[0] == made(0, '{"city": "U\ufffdlm"}')


def test_what_is_cut_off_is_not_asked_for_again() -> None:
    events, reader = read(ToolCallDelta(0, 0, '{"ci', name="weather"), reason="length")
    assert (events, reader.finish) == ([Finished(0, "length")], None)


@pytest.mark.parametrize(
    ("given", "schema", "expected"),
    [
        ("3", {"type": "integer"}, 3),
        (3.0, {"type": "integer"}, 3),
        (3.5, {"type": "integer"}, 3.5),
        ("true", {"type": "boolean"}, True),
        ("False", {"type": "boolean"}, False),
        ('["a"]', {"type": "array"}, ["a"]),
        ("3", {"type": "string"}, "3"),
        ("3", {"type": ["integer", "string"]}, "3"),
        ("three", {"type": "integer"}, "three"),
        ("None", {"type": ["integer", "null"]}, None),
        ("[" * 9000, {"type": "array"}, "[" * 9000),
        ("3", True, "3"),
    ],
)
def test_values_that_are_only_worded_differently(given: Any, schema: Any, expected: Any) -> None:
    assert adapted({"a": given}, {"properties": {"a": schema}}) == {"a": expected}


def test_members_that_may_not_be_are_left_out() -> None:
    assert adapted({"city": "Ulm", "mood": 1}, CITY) == {"city": "Ulm"}
    assert adapted({"city": "Ulm", "mood": 1}, {"properties": {}}) == {"city": "Ulm", "mood": 1}


# the whole way, with an engine that writes what it is told --------------------------------------------------------


def asked(**more: Any) -> ChatRequest:
    return replace(replace(request("Weather?"), tools=(WEATHER, NOW)), **more)


async def answered(*knobs: str, ask: ChatRequest | None = None) -> list[Any]:
    async with running(PlainSpawner(per_start=(("--tools", *knobs),))) as pool:
        return [event async for event in pool.chat(model(), ask or asked())]


def script(text: str) -> Sequence[str]:
    return ("--script", json.dumps([{"content": text[at : at + 4]} for at in range(0, len(text), 4)]))


def shown(events: list[Any]) -> list[Any]:
    return [(e.name, e.arguments) if isinstance(e, ToolCallDelta) else e for e in events if not isinstance(e, Usage)]


async def test_a_fenced_call_arrives_as_a_call() -> None:
    events = await answered(*script(f"```json\n{ULM}\n```"))
    assert shown(events) == [("weather", '{"city": "Ulm"}'), Finished(0, "tool_calls")]
    assert events[0].id.startswith("call_")


async def test_a_call_that_does_not_fit_is_asked_for_again_and_counted() -> None:
    put_right = '{"tool_calls": [{"name": "weather", "arguments": {"city": "Bern", "days": 3}}]}'
    events = await answered(*script(BAD), "--forced", put_right)
    assert shown(events) == [("weather", '{"city": "Bern", "days": 3}'), Finished(0, "tool_calls")]
    first, again = -(-len(BAD) // 4), len(put_right.split())
    assert events[-1].completion_tokens == first + again


async def test_only_the_call_that_did_not_fit_is_replaced() -> None:
    text = f"<tool_call>{ULM}</tool_call><tool_call>{BAD}</tool_call>"
    calls = [{"name": "weather", "arguments": {"city": city}} for city in ("Ulm", "Bern")]
    events = await answered(*script(text), "--forced", json.dumps({"tool_calls": calls}))
    assert shown(events) == [("weather", '{"city": "Ulm"}'), ("weather", '{"city": "Bern"}'), Finished(0, "tool_calls")]
    assert [e.position for e in events if isinstance(e, ToolCallDelta)] == [0, 1]


async def test_a_second_attempt_that_is_cut_off_ends_by_length() -> None:
    ask = asked(sampling=Sampling(max_tokens=20))
    events = await answered(*script(BAD), "--forced", " ".join('{"tool_calls": [{"name": "weather", "arg'), ask=ask)
    assert shown(events) == [Finished(0, "length")]


async def test_tools_that_the_engine_cannot_take_are_described_instead() -> None:
    odd = asked(tools=(Tool("odd", "", {"x-refused": True}), NOW))
    events = await answered("--forced", '{"tool_calls": [{"name": "now", "arguments": {}}]}', ask=odd)
    assert shown(events) == [("now", "{}"), Finished(0, "tool_calls")]


async def test_every_choice_has_its_own_calls() -> None:
    events = await answered(*script(ULM), ask=asked(choices=3))
    assert sorted(e.index for e in events if isinstance(e, ToolCallDelta)) == [0, 1, 2]


# the real engine takes what is put to it --------------------------------------------------------------------------

BOUNDS = Bounds(string_chars=20, items=3, calls=3)


async def test_the_real_engine_writes_just_the_calls_that_are_asked_for_again(weights: Path) -> None:
    driven = drive(asked(), BOUNDS)
    assert driven is not None and driven.native is not None and driven.native.free
    again = driven.native.again([(WEATHER, {"city": "Ulm", "days": 2}), (WEATHER, None), (NOW, None)], 200)
    async with running(PlainSpawner(real=True)) as pool:
        served = model(slots=1, context_tokens=1024, weights=weights, template=TOOLS_TEMPLATE)
        events = [event async for event in pool.chat(served, replace(again.request, tools=()))]
    reader = again.reader(0, lambda: "id")
    calls = [e for event in events if not isinstance(event, Usage) for e in reader.feed(event)]
    assert [e.name for e in calls if isinstance(e, ToolCallDelta)] == ["weather", "weather", "now"]
    assert isinstance(calls[0], ToolCallDelta) and json.loads(calls[0].arguments) == {"city": "Ulm", "days": 2}


async def test_a_template_that_knows_tools_is_given_them_and_their_results(weights: Path) -> None:
    conversation = (
        Message("user", "Weather in Ulm?"),
        Message("assistant", "", tool_calls=(ToolCall("c1", "weather", '{"city": "Ulm"}'), ToolCall("c2", "now", "{"))),
        Message("tool", "Rain.", tool_call_id="c1"),
        Message("tool", "Noon.", tool_call_id="c2"),
    )
    async with running(PlainSpawner(real=True)) as pool:
        served = model(slots=1, context_tokens=1024, weights=weights, template=TOOLS_TEMPLATE)
        ask = asked(messages=conversation)
        prompt = await pool.rendered(served, ask)
        counted = await pool.count_tokens(served, ask)
        events = [event async for event in pool.chat(served, replace(ask, sampling=Sampling(max_tokens=8)))]
        formatted = await pool.rendered(served, replace(ask, response_format=ResponseFormat("json_object")))
    assert "<tools>" in prompt and '"name": "weather"' in prompt
    assert '<tool_call>\n{"name": "weather", "arguments": {"city": "Ulm"}}' in prompt
    assert prompt.count("<tool_response>") == 2
    assert events[-1].prompt_tokens == counted
    assert "<tools>" not in formatted, "an answer or a call, both by schema: that has to be described"


async def test_what_is_wrong_is_said_before_anything_waits() -> None:
    async with running(spawner := PlainSpawner()) as pool:
        with pytest.raises(Misasked, match="tool_not_found"):
            pool.chat(model(), asked(tool_choice=ToolChoice("named", "nope")))
        assert spawner.started == []
