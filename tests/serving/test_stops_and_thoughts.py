"""Stop strings and thinking written as text: whatever the split, the same is shown."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.spawner import PlainSpawner
from tests.serving.pools import model, request, running

from intramural.core.chat import ChatEvent, Delta, Finished, Reasoning, TokenLogprob, ToolCallDelta, Usage
from intramural.serving.stops import StopReader
from intramural.serving.thoughts import TAGS, Thoughts

texts = st.text(alphabet="abc", max_size=30)
stops = st.lists(st.text(alphabet="abc", min_size=1, max_size=3), min_size=1, max_size=3)


def stopped(pieces: list[Delta], stop: list[str]) -> tuple[str, list[ChatEvent], StopReader]:
    reader = StopReader(stop)
    events = [shown for event in (*pieces, Finished(0, "stop")) for shown in reader.feed(event)]
    return "".join(event.text for event in events if isinstance(event, Delta)), events, reader


@given(texts, stops, st.integers(1, 5), st.booleans())
def test_a_text_ends_before_its_first_stop_string(text: str, stop: list[str], size: int, with_tokens: bool) -> None:
    token = (TokenLogprob("t", -1.0, b"t"),) if with_tokens else ()
    pieces = [Delta(0, text[at : at + size], token) for at in range(0, len(text), size)]
    shown, events, reader = stopped(pieces, stop)
    places = [at for each in stop if (at := text.find(each)) >= 0]
    # A longer stop string may begin sooner and be complete only after a shorter one.
    assert reader.over == bool(places)
    last = events[-1]
    assert isinstance(last, Finished)
    if places:
        assert last.stop in stop
        assert text.startswith(shown + last.stop)
        assert not any(each in shown for each in stop)
    else:
        assert (shown, last) == (text, Finished(0, "stop"))
    assert all(event.logprobs == token for event in events if isinstance(event, Delta))


def test_what_is_held_back_keeps_its_place_among_other_events() -> None:
    call = ToolCallDelta(0, 0, "{}", "c", "f")
    reader = StopReader(["abc"])
    assert reader.feed(Delta(0, "xab")) == [Delta(0, "x")]
    assert reader.feed(call) == [Delta(0, "ab"), call]


def split(text: str, size: int) -> list[tuple[bool, str]]:
    thoughts = Thoughts()
    parts = [part for at in range(0, len(text), size) for part in thoughts.feed(text[at : at + size])]
    return [*parts, *thoughts.rest()]


def joined(parts: list[tuple[bool, str]], thinking: bool) -> str:
    assert all(text for _, text in parts)
    return "".join(text for is_thinking, text in parts if is_thinking == thinking)


@given(st.sampled_from(list(TAGS)), st.text("ab<>/\n", max_size=12), st.text("ab<>/\n", max_size=12), st.integers(1, 9))
def test_an_answer_that_begins_with_thinking_is_split(start: str, thought: str, answer: str, size: int) -> None:
    parts = split(f"\n{start}{thought}{TAGS[start]}{answer}", size)
    assert joined(parts, True).lstrip("\n") == thought.lstrip("\n")
    assert joined(parts, False) == answer.lstrip("\n")


@given(st.text("<think>ab/ \n", max_size=14), st.integers(1, 5))
def test_an_answer_without_thinking_is_as_it_was(text: str, size: int) -> None:
    if text.lstrip().startswith("<think>"):
        return
    assert split(text, size) == [] or joined(split(text, size), False) == text


@pytest.mark.parametrize("text", ["Use <think> tags.", "<thin", "<b>bold</b>"])
def test_a_tag_elsewhere_is_text(text: str) -> None:
    assert joined(split(text, 2), False) == text


async def test_the_stop_string_is_named_and_thinking_is_counted() -> None:
    script = [
        {"reasoning_content": "a STOP"},
        {"reasoning_content": "b"},
        *({"content": c} for c in ("x ", "ST", "OP!")),
    ]
    async with running(PlainSpawner(per_start=(("--script", json.dumps(script)),))) as pool:
        events = [event async for event in pool.chat(model(), request("hi", stop=("END", "STOP")))]
    assert events[:-1] == [
        Reasoning(0, "a STOP"),
        Reasoning(0, "b"),
        Delta(0, "x "),
        Finished(0, "stop", "STOP"),
    ]
    assert isinstance(events[-1], Usage)
    assert (events[-1].completion_tokens, events[-1].reasoning_tokens) == (5, 2)


async def test_thinking_as_text_is_thinking_whatever_the_template() -> None:
    script = [{"content": text} for text in ("<th", "ink>\n", "hm", "</think>", "\n\n", "Four", ".")]
    async with running(PlainSpawner(per_start=(("--script", json.dumps(script)),))) as pool:
        events = [event async for event in pool.chat(model(), request("2+2?"))]
    assert events[:-1] == [Reasoning(0, "hm"), Delta(0, "Four"), Delta(0, "."), Finished(0, "stop")]
    assert events[-1].reasoning_tokens == 5
