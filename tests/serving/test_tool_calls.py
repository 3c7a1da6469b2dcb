"""Tool calls on the real starter model (135 million parameters): always valid, by schema.

Once as it comes, with a template that knows no tools, and once under one that does.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import pytest_asyncio
from msgspec.structs import replace
from tests.fakes.spawner import PlainSpawner
from tests.serving.pools import model, running
from tests.tooltemplate import TOOLS as TOOLS_TEMPLATE

from intramural.core.chat import (
    ChatRequest,
    Delta,
    Finished,
    Message,
    Sampling,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
    Usage,
)
from intramural.serving import ModelToServe, Pool

pytestmark = pytest.mark.asyncio(loop_scope="module")


def props(required: list[str] | None = None, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties) if required is None else required}


TEXT, WHOLE = {"type": "string"}, {"type": "integer"}
SCHEMAS: dict[str, dict[str, Any]] = {
    "get_weather": props(city=TEXT, unit={"type": "string", "enum": ["celsius", "fahrenheit"]}),
    "add": props(a={"type": "number"}, b={"type": "number"}),
    "search": props(["query"], query=TEXT, limit={"type": "integer", "minimum": 1, "maximum": 20}),
    "set_alarm": props(hour={"type": "integer", "minimum": 0, "maximum": 23}, repeat={"type": "boolean"}),
    "send_mail": props(to={"type": "array", "items": TEXT, "minItems": 1}, subject=TEXT, body=TEXT),
    "move": props(to=props(x=WHOLE, y=WHOLE), speed={"type": "number", "exclusiveMinimum": 0, "maximum": 1}),
    "book": {
        **props(guest={"$ref": "#/$defs/Guest"}, nights=WHOLE),
        "$defs": {"Guest": props(name=TEXT, age={"anyOf": [WHOLE, {"type": "null"}]})},
        "additionalProperties": False,
    },
    "ping": {"type": "object", "properties": {}},
    "stop": {},
    "set_code": props(code={"type": "string", "pattern": "[A-Z]{2}-\\d{3}"}),
    "schedule": props(day={"type": "string", "format": "date"}, tags={"type": "array", "items": TEXT, "maxItems": 3}),
    "paint": props(colour={"type": ["string", "null"]}, layers={"type": "array", "items": WHOLE, "uniqueItems": True}),
    "pick": props(one={"const": 7}, step={"type": "integer", "multipleOf": 5, "minimum": 5}),
    "label": {"type": "object", "additionalProperties": {"type": "string"}},
    "anything": props(value={}, flag=True),
}
TOOLS = tuple(Tool(name, f"Does {name.replace('_', ' ')}.", schema) for name, schema in SCHEMAS.items())


class Bench:
    def __init__(self, pool: Pool, served: ModelToServe) -> None:
        self.pool = pool
        self.model = served

    async def events(self, asked: ChatRequest) -> list[Any]:
        return [event async for event in self.pool.chat(self.model, asked)]


#: The template, by what it makes of tools.
TEMPLATES = {"described": None, "native": TOOLS_TEMPLATE}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=TEMPLATES)
async def bench(weights: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with running(PlainSpawner(real=True)) as pool:
        served = model(slots=1, context_tokens=4096, weights=weights, template=TEMPLATES[request.param])
        await pool.load(served)
        yield Bench(pool, served)


def asked(kind: str, *tools: Tool, name: str | None = None, text: str = "Do it now.", **more: Any) -> ChatRequest:
    fields: dict[str, Any] = {
        "id": "r",
        "model": "m",
        "messages": (Message("user", text),),
        "tools": tools,
        "tool_choice": ToolChoice(kind, name),  # type: ignore[arg-type]
        "sampling": Sampling(temperature=1.0, seed=11),
        "parallel_tool_calls": False,
    }
    return ChatRequest(**{**fields, **more})


def calls_of(events: list[Any]) -> list[tuple[str, Any]]:
    """The calls, each checked against its tool's own schema."""
    calls = []
    for event in events:
        if isinstance(event, ToolCallDelta):
            assert event.name is not None
            assert event.id
            arguments = json.loads(event.arguments)
            jsonschema.validate(arguments, SCHEMAS[event.name])
            calls.append((event.name, arguments))
    return calls


@pytest.mark.parametrize(
    ("bench", "tool"),
    # What holds an answer to a schema is the same under either template.
    [*(("described", tool) for tool in TOOLS), *(("native", tool) for tool in TOOLS[1::3])],
    indirect=["bench"],
    ids=lambda value: getattr(value, "name", value),
)
async def test_required_makes_one_valid_call(bench: Bench, tool: Tool) -> None:
    events = await bench.events(asked("required", tool, text=f"Please {tool.name} something."))
    assert [name for name, _ in calls_of(events)] == [tool.name]
    assert events[-2] == Finished(0, "tool_calls")
    assert isinstance(events[-1], Usage)
    assert not any(isinstance(event, Delta) for event in events)


@pytest.mark.parametrize("tool", TOOLS[::3], ids=lambda tool: tool.name)  # every schema has its turn above
async def test_named_calls_that_tool(bench: Bench, tool: Tool) -> None:
    others = [each for each in TOOLS if each.name != tool.name][:2]
    events = await bench.events(asked("named", others[0], tool, others[1], name=tool.name))
    assert [name for name, _ in calls_of(events)] == [tool.name]
    assert events[-2] == Finished(0, "tool_calls")


async def test_required_chooses_among_tools_and_may_call_several(bench: Bench) -> None:
    chosen = asked("required", *TOOLS[:4], parallel_tool_calls=True, text="Set an alarm for 7 and tell me the weather.")
    calls = calls_of(await bench.events(chosen))
    assert 1 <= len(calls) <= 2, "a small model is not allowed to go on calling"


async def test_none_answers_in_text_without_a_trace_of_tools(bench: Bench) -> None:
    sampling = Sampling(temperature=0, max_tokens=12, seed=1)
    plain = asked("none", text="Say hi.", sampling=sampling, deterministic=True)
    with_tools = replace(plain, tools=TOOLS[:2])
    one, two = await bench.events(plain), await bench.events(with_tools)
    assert [e for e in one if isinstance(e, Delta)] == [e for e in two if isinstance(e, Delta)]
    assert not calls_of(two)
    assert one[-1].prompt_tokens == two[-1].prompt_tokens


@pytest.mark.parametrize("seed", range(4))
async def test_auto_makes_valid_calls_or_text_never_both(bench: Bench, seed: int) -> None:
    sampling = Sampling(temperature=1.0, seed=seed, max_tokens=200)
    events = await bench.events(asked("auto", *TOOLS[:3], text="What is the weather in Ulm?", sampling=sampling))
    calls, text = calls_of(events), "".join(event.text for event in events if isinstance(event, Delta))
    assert bool(calls) != bool(text) or events[-2] == Finished(0, "length")
    assert events[-2].reason in (("tool_calls", "length") if calls else ("stop", "length"))
    assert '"response"' not in text


async def test_a_conversation_with_results_goes_on(bench: Bench) -> None:
    first = asked("required", TOOLS[0], text="Weather in Ulm?")
    events = await bench.events(first)
    call = next(event for event in events if isinstance(event, ToolCallDelta))
    messages = (
        *first.messages,
        Message("assistant", "", tool_calls=(_call(call),)),
        Message("tool", "Rain, 12 degrees.", tool_call_id=call.id),
    )
    events = await bench.events(asked("none", TOOLS[0], messages=messages, sampling=Sampling(max_tokens=20)))
    assert any(isinstance(event, Delta) for event in events)


def _call(event: ToolCallDelta) -> ToolCall:
    assert event.id is not None
    assert event.name is not None
    return ToolCall(event.id, event.name, event.arguments)
