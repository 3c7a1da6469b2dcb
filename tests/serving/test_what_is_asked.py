"""What a request may ask of a model beyond words: checked before it waits, or honoured by the real engine."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace
from tests.fakes.spawner import PlainSpawner
from tests.families.families import llama
from tests.families.tiny import Size, write
from tests.serving.pools import model, request, running
from tests.thinking import THINKING

from intramural.core.chat import (
    ChatRequest,
    Delta,
    Finished,
    Message,
    Reasoning,
    ResponseFormat,
    Sampling,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    Usage,
)
from intramural.core.errors import Misasked
from intramural.core.work import Work
from intramural.serving import ModelToServe, Owner, Pool
from intramural.serving.fairness import NOBODY
from intramural.serving.request import build, check, thinking_fields
from intramural.serving.traits import Traits, judge

TOOL = Tool("t", "", {"type": "object"})
EITHER, ALWAYS, NEVER = Traits("either"), Traits("always"), Traits("never")


def begun(**more: Any) -> ChatRequest:
    return replace(request(), messages=(Message("user", "hi"), Message("assistant", "Well")), **more)


# what no model could answer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        (replace(request(), choices=0), "n"),
        (replace(request(), suffix="x"), "suffix"),
        (replace(request(), thinking=Thinking(budget_tokens=-1)), "budget_tokens"),
        (begun(response_format=ResponseFormat("json_object")), "response_format"),
        (begun(tools=(TOOL,), tool_choice=ToolChoice("required")), "tool_choice"),
        (replace(request(), messages=(Message("assistant", "", tool_calls=(ToolCall("c", "t", "{}"),)),)), "messages"),
    ],
)
def test_what_is_refused_at_once(asked: ChatRequest, param: str) -> None:
    with pytest.raises(Misasked) as caught:
        check(asked)
    assert caught.value.param == param


def test_what_is_fine() -> None:
    check(begun(tools=(TOOL,)))
    check(replace(request(), thinking=Thinking("on", "high", 100)))


def test_earlier_thinking_is_handed_back() -> None:
    asked = replace(request(), messages=(Message("user", "?"), Message("assistant", "4", reasoning="2+2")))
    sent = json.loads(build(asked, 0)[1])["messages"]
    assert sent == [{"role": "user", "content": "?"}, {"role": "assistant", "content": "4", "reasoning_content": "2+2"}]


# thinking, decided ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "degrees", "asked", "forbidden", "thinks"),
    [
        ("", False, "x", "x", "never"),
        ("", False, "x", "x </think>", "either"),
        ("", False, "x <think>\n", "x <think>\n", "always"),
        ("{% if '</think>' in content %}", False, "x", "x", "always"),
        ("", True, "x", "x", "always"),
    ],
)
def test_what_a_template_tells(template: str, degrees: bool, asked: str, forbidden: str, thinks: str) -> None:
    assert judge(template, degrees, asked, forbidden) == thinks


ON, OFF = {"enable_thinking": True, "thinking": True}, {"enable_thinking": False, "thinking": False}


@pytest.mark.parametrize(
    ("wanted", "traits", "fields"),
    [
        (Thinking("off"), NEVER, {}),
        (Thinking(effort="high", budget_tokens=9), NEVER, {}),
        (Thinking(), EITHER, {}),
        (Thinking("on"), EITHER, {"chat_template_kwargs": ON}),
        (Thinking("off"), EITHER, {"chat_template_kwargs": OFF}),
        (Thinking("off"), ALWAYS, {"chat_template_kwargs": OFF, "reasoning_budget_tokens": 0}),
        (Thinking(budget_tokens=0), EITHER, {"chat_template_kwargs": OFF}),
        (Thinking("on", budget_tokens=7), EITHER, {"chat_template_kwargs": ON, "reasoning_budget_tokens": 7}),
        (Thinking(effort="low"), EITHER, {"reasoning_budget_tokens": 512}),
        (Thinking(effort="high"), EITHER, {}),
        (Thinking(effort="low"), Traits("always", True), {"chat_template_kwargs": {"reasoning_effort": "low"}}),
    ],
)
def test_how_thinking_is_put(wanted: Thinking, traits: Traits, fields: dict[str, Any]) -> None:
    assert thinking_fields(wanted, traits) == fields


def test_a_model_that_cannot_think_says_so() -> None:
    with pytest.raises(Misasked) as caught:
        thinking_fields(Thinking("on"), NEVER)
    assert caught.value.code == "model_does_not_think"


# the real engine --------------------------------------------------------------------------------------------------


class Bench:
    def __init__(self, pool: Pool, served: ModelToServe) -> None:
        self.pool = pool
        self.model = served

    async def events(self, asked: ChatRequest, owner: Owner = NOBODY) -> list[Any]:
        return [event async for event in self.pool.chat(self.model, asked, owner=owner)]


def said(events: list[Any], kind: type = Delta) -> str:
    return "".join(event.text for event in events if isinstance(event, kind))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def thinker(weights: Path) -> AsyncIterator[Bench]:
    async with running(PlainSpawner(real=True), slice_s=0.1) as pool:
        yield Bench(pool, model(slots=1, weights=weights, template=THINKING))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def starter(weights: Path) -> AsyncIterator[Bench]:
    async with running(PlainSpawner(real=True)) as pool:
        yield Bench(pool, model(slots=1, weights=weights))


QUESTION = request("What is 2+2?", temperature=0, max_tokens=40)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_model_thinks_as_asked(thinker: Bench) -> None:
    thought = await thinker.events(replace(QUESTION, thinking=Thinking("on", budget_tokens=5)))
    assert said(thought, Reasoning)
    assert 5 <= thought[-1].reasoning_tokens <= thought[-1].completion_tokens
    plain = await thinker.events(replace(QUESTION, thinking=Thinking("off")))
    assert not said(plain, Reasoning)
    assert said(plain)
    assert plain[-1].reasoning_tokens == 0


@pytest.mark.asyncio(loop_scope="module")
async def test_thinking_comes_before_a_formatted_answer(thinker: Bench) -> None:
    schema = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
    asked = replace(
        QUESTION,
        thinking=Thinking("on", budget_tokens=5),
        response_format=ResponseFormat("json_schema", schema),
    )
    events = await thinker.events(asked)
    assert said(events, Reasoning)
    assert isinstance(json.loads(said(events))["sum"], int)


@pytest.mark.asyncio(loop_scope="module")
async def test_earlier_thinking_reaches_a_template_that_takes_it(thinker: Bench, starter: Bench) -> None:
    async def prompt_tokens(bench: Bench, reasoning: str | None) -> int:
        turns = (Message("user", "2+2?"), Message("assistant", "4", reasoning=reasoning), Message("user", "And?"))
        return int((await bench.events(replace(request(max_tokens=1), messages=turns)))[-1].prompt_tokens)

    assert await prompt_tokens(thinker, "Two and two make four.") > await prompt_tokens(thinker, None)
    assert await prompt_tokens(starter, "Two and two make four.") == await prompt_tokens(starter, None)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_starter_does_not_think(starter: Bench) -> None:
    with pytest.raises(Misasked, match="does not think"):
        await starter.events(replace(QUESTION, thinking=Thinking("on")))
    assert said(await starter.events(replace(QUESTION, thinking=Thinking("off", "high", 100))))


@pytest.mark.asyncio(loop_scope="module")
async def test_an_answer_that_is_begun_is_continued_without_repeating_it(starter: Bench, thinker: Bench) -> None:
    messages = (Message("user", "Count from one to six."), Message("assistant", "one, two, three,"))
    for bench in (starter, thinker):
        events = await bench.events(replace(request(max_tokens=12, temperature=0), messages=messages))
        assert said(events).lstrip().startswith("four")
        assert not said(events, Reasoning)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("raw", [False, True])
async def test_an_answer_that_pauses_goes_on_where_it_was(starter: Bench, raw: bool) -> None:
    asked = request("Count from one to sixty, in words.", max_tokens=60, temperature=0)
    if raw:
        asked = replace(asked, messages=(), prompt="one, two, three, four,")
    whole = await starter.events(asked)
    ann = starter.pool.chat(starter.model, asked, owner=Owner(("ann",), work=Work.BATCH))
    events = [await anext(ann)]

    async def read() -> None:
        async for event in ann:
            events.append(event)  # somebody looks at them meanwhile

    rest = asyncio.create_task(read())
    await starter.events(request("Hi!", max_tokens=1), Owner(("ben",)))  # on the only slot
    before = len(said(events))
    await rest
    text = said(events)
    # What follows need not be what it would have been: it is read again as the tokenizer cuts it.
    assert text[:before] == said(whole)[:before]
    assert not text[before:].lstrip().startswith(text[:20].strip()), "it begins no second time"
    assert events[-2] == whole[-2]
    assert ann.usage.completion_tokens == 60
    assert ann.usage.prompt_tokens == whole[-1].prompt_tokens
    assert ann.waited_ms > 0


@pytest.mark.asyncio(loop_scope="module")
async def test_the_stop_string_is_named(starter: Bench) -> None:
    messages = (Message("user", "Count from one to six."), Message("assistant", "one, two, three,"))
    stop = Sampling(max_tokens=12, temperature=0, stop=("six", "five"))
    events = await starter.events(replace(request(), messages=messages, sampling=stop))
    assert events[-2] == Finished(0, "stop", "five")
    assert said(events).strip() == "four,"
    assert isinstance(events[-1], Usage)
    raw = ChatRequest(id="r", model="m", prompt="one, two, three,", sampling=replace(stop, max_tokens=20))
    assert (await starter.events(raw))[-2] == Finished(0, "stop", "five")


@pytest.mark.asyncio(loop_scope="module")
async def test_repetition_is_held_down(starter: Bench) -> None:
    raw = ChatRequest(id="r", model="m", prompt="red blue red blue red blue red blue red blue red")
    plain = await starter.events(replace(raw, sampling=Sampling(temperature=0, max_tokens=6)))
    held = Sampling(temperature=0, max_tokens=6, repeat_penalty=10.0, repeat_last_n=-1)
    assert said(plain).count("blue") > 1
    assert said(await starter.events(replace(raw, sampling=held))).count("blue") <= 1


@pytest.mark.asyncio(loop_scope="module")
async def test_the_starter_fills_no_gaps(starter: Bench) -> None:
    with pytest.raises(Misasked) as caught:
        await starter.events(ChatRequest(id="r", model="m", prompt="def f(", suffix="return 1"))
    assert (caught.value.code, caught.value.param) == ("no_infill", "suffix")


async def test_a_gap_is_filled_from_all_of_both_sides(tmp_path: Path) -> None:
    control = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
    weights = write(tmp_path / "gaps.gguf", "llama", llama, Size(vocabulary=320, control=control))
    async with running(PlainSpawner(real=True)) as pool:
        bench = Bench(pool, model(slots=1, weights=weights))
        asked = ChatRequest(id="r", model="m", prompt="q" * 90, suffix="z" * 70, sampling=Sampling(max_tokens=3))
        events = await bench.events(asked)
        letters = [len(await pool.tokenize(bench.model, text)) for text in ("q" * 90, "z" * 70)]
    # The beginning of the text, three tokens that say what is what, and neither side cut.
    assert events[-1].prompt_tokens == sum(letters) + 4
    assert events[-1].completion_tokens >= 1
