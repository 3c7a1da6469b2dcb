"""Calls in the words in which models write them: every manner, cut anywhere, and nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intramural.serving.calls import Call, CallsInText

NAMES = ("weather", "send_mail", "math.add", "now")
ULM = {"city": "Ulm", "days": 3}
BERN = {"city": "Bern", "days": 1}
ONE = json.dumps({"name": "weather", "arguments": ULM})
TWO = json.dumps({"name": "weather", "arguments": BERN})


def read(text: str, size: int, names: tuple[str, ...] = NAMES) -> list[str | Call]:
    reader = CallsInText(names)
    out = [each for at in range(0, len(text), size) for each in reader.feed(text[at : at + size])]
    joined: list[str | Call] = []
    for each in [*out, *reader.end()]:
        if isinstance(each, str) and joined and isinstance(joined[-1], str):
            joined[-1] += each
        else:
            joined.append(each)
    return joined


MANNERS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "Hermes, Qwen": (f"<tool_call>\n{ONE}\n</tool_call>", [ULM]),
    "Hermes, two": (f"<tool_call>\n{ONE}\n</tool_call>\n<tool_call>\n{TWO}\n</tool_call>", [ULM, BERN]),
    "no closing tag": (f"<tool_call>{ONE}", [ULM]),
    "two in one tag": (f"<tool_call>\n{ONE}\n{TWO}\n</tool_call>", [ULM, BERN]),
    "tools tag": (f"<tools>\n{ONE}\n</tools>", [ULM]),
    "fenced": (f"```json\n{ONE}\n```", [ULM]),
    "fenced, two": (f"```json\n{ONE}\n```\n\n```json\n{TWO}\n```\n", [ULM, BERN]),
    "fenced, a list": (f"```\n[{ONE}, {TWO}]\n```", [ULM, BERN]),
    "fenced and tagged": (f"<tool_call>\n```json\n{ONE}\n```\n</tool_call>", [ULM]),
    "fenced, tag inside": (f"```xml\n<tool_call>\n{ONE}\n</tool_call>\n```", [ULM]),
    "plain": (ONE, [ULM]),
    "plain after a line": (f"\n {ONE}\n", [ULM]),
    "plain, several": (f"{ONE}\n{TWO}", [ULM, BERN]),
    "plain, a list": (f"[{ONE}, {TWO}]", [ULM, BERN]),
    "plain, separated by semicolons": (f"{ONE};{TWO}", [ULM, BERN]),
    "as the interface has it": (
        json.dumps({"tool_calls": [{"id": "1", "type": "function", "function": json.loads(ONE)}]}), [ULM]),
    "arguments as text": (json.dumps({"name": "weather", "arguments": json.dumps(ULM)}), [ULM]),
    "parameters (Llama 3.1)": (json.dumps({"name": "weather", "parameters": ULM}), [ULM]),
    "python tag (Llama 3.1)": (f'<|python_tag|>{json.dumps({"name": "weather", "parameters": ULM})}', [ULM]),
    "function tag (Llama 3.1)": (f"<function=weather>{json.dumps(ULM)}</function>", [ULM]),
    "Mistral": (f"[TOOL_CALLS] [{ONE}, {TWO}]", [ULM, BERN]),
    "Mistral, newer": (f"[TOOL_CALLS]weather[ARGS]{json.dumps(ULM)}[TOOL_CALLS]weather[ARGS]{json.dumps(BERN)}",
                       [ULM, BERN]),
    "Mistral, with ids": (f"[TOOL_CALLS]weather[CALL_ID]a1b2c3[ARGS]{json.dumps(ULM)}", [ULM]),
    "Granite": (f"<|tool_call|>[{ONE}]", [ULM]),
    "Llama 4, Python": ('[weather(city="Ulm", days=3), weather(city="Bern", days=1)]', [ULM, BERN]),
    "LFM2": ('<|tool_call_start|>[weather(city="Ulm", days=3)]<|tool_call_end|>', [ULM]),
    "Python, fenced": ('```tool_code\nweather(city="Ulm", days=3)\n```', [ULM]),
    "the name as the key": (json.dumps({"weather": ULM}), [ULM]),
    "action": (json.dumps({"action": "weather", "action_input": ULM}), [ULM]),
    "a prefix": (json.dumps({"name": "functions.weather", "arguments": ULM}), [ULM]),
    "line breaks in strings": (
        '{"name": "weather", "arguments": {"city": "Ulm\n(Donau)"}}', [{"city": "Ulm\n(Donau)"}]),
    "brackets and quotes in strings": (
        json.dumps({"name": "weather", "arguments": {"city": '}]"\\\' ```</tool_call>{'}}),
        [{"city": '}]"\\\' ```</tool_call>{'}]),
}  # fmt: skip


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("manner", MANNERS)
def test_every_manner_is_read(manner: str, size: int) -> None:
    text, expected = MANNERS[manner]
    assert read(text, size) == [Call("weather", arguments) for arguments in expected]


WORDED: dict[str, str] = {
    "Qwen3-Coder": "<tool_call>\n<function=weather>\n<parameter=city>\nUlm\n</parameter>\n<parameter=days>\n3\n"
    "</parameter>\n</function>\n</tool_call>",
    "invoke": '<function_calls>\n<invoke name="weather">\n<parameter name="city">Ulm</parameter>\n'
    '<parameter name="days">3</parameter>\n</invoke>\n</function_calls>',
    "MiniMax": '<minimax:tool_call>\n<invoke name="weather">\n<parameter name="city">Ulm</parameter>\n'
    '<parameter name="days">3</parameter>\n</invoke>\n</minimax:tool_call>',
    "GLM": "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Ulm</arg_value>\n<arg_key>days</arg_key>\n"
    "<arg_value>3</arg_value>\n</tool_call>",
}


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("manner", WORDED)
def test_values_between_tags_are_texts(manner: str, size: int) -> None:
    assert read(WORDED[manner], size) == [Call("weather", {"city": "Ulm", "days": "3"})]


@pytest.mark.parametrize("size", [1, 4, 1000])
@pytest.mark.parametrize(
    "text",
    [
        "Plain words, with <b>tags</b>, [brackets] and `code`.",
        '{"name": "rm_rf", "arguments": {}}',
        '```json\n{"name": "rm_rf", "arguments": {}}\n```',
        '```json\n{"city": "Ulm"}\n```\nSo be it.',
        "```python\nprint('weather')\nnow = 3\n```\nThat prints.",
        "[1, 2, 3]",
        "[see below] and [TOOL_CALLS] nothing",
        f"The call would be {ONE}, I think.",
        "<tool_call>weather</tool_call>",
        "<function=nothing>{}</function>",
        '<tool_call>{"name": "weather", "arguments": ',
        "weather(city='Ulm')",
        "[weather(Ulm)]",
        "[weather(city=__import__('os').getcwd())]",
        "  \n",
        "a < b [ c ` d",
        "<tool_call>",
        '{"type": "object"}',
        '{"name": "weather", "arguments": {"city": NaN}}',
        '{"name": "weather", "arguments": {"city": ' + "[" * 50_000 + "]" * 50_000 + "}}",
        "<tool_call>" + " " * 3000 + "x",
        "weather" + " " * 3000,
        "<function=weather>" + "<parameter=a>" * 200,
    ],
)
def test_all_else_is_text_as_it_was(text: str, size: int) -> None:
    assert read(text, size) == [text]


def test_what_never_comes_to_an_end_is_let_go() -> None:
    reader = CallsInText(NAMES)
    out = [each for _ in range(70) for each in reader.feed('{"name": "weather", "arguments": {"a": "' + "x" * 4096)]
    assert out and isinstance(out[0], str)
    assert reader.feed("And") == ["And"]


def test_words_before_and_behind_a_call_stay() -> None:
    assert read(f"I look it up.\n```json\n{ONE}\n```\nDone.", 3) == ["I look it up.\n", Call("weather", ULM), "Done."]


def test_text_is_not_held_back_longer_than_it_is_in_doubt() -> None:
    reader = CallsInText(NAMES)
    assert reader.feed("Hello <b") == ["Hello <b"]
    assert reader.feed("old> and ```") == ["old> and "]
    assert reader.feed("python\nprint(") == ["```python\nprint("]
    assert reader.feed("1)\n``") == ["1)\n"]
    assert reader.feed("`\nYes, ") == ["```\nYes, "]


def test_names_with_dots_and_no_arguments() -> None:
    assert read("[math.add(a=1, b=2), now()]", 5) == [Call("math.add", {"a": 1, "b": 2}), Call("now", {})]
    assert read('{"name": "now"}', 5) == [Call("now", {})]


@given(st.text(alphabet="<>[]{}`\"'tool_caljson weather(),=:\n\\"), st.integers(1, 9))
def test_whatever_comes_is_the_same_however_it_is_cut(text: str, size: int) -> None:
    assert read(text, size) == read(text, 1000)


@given(st.text(), st.integers(1, 9))
def test_without_tools_of_that_name_nothing_is_lost(text: str, size: int) -> None:
    assert "".join(str(each) for each in read(text, size, ())) == text


ARGUMENTS = st.dictionaries(
    st.text(min_size=1, max_size=5),
    st.text(max_size=20) | st.integers() | st.lists(st.booleans(), max_size=2),
    max_size=3,
)


@given(st.lists(ARGUMENTS, min_size=1, max_size=3), st.integers(1, 9), st.booleans())
def test_any_arguments_come_through(made: list[dict[str, Any]], size: int, fenced: bool) -> None:
    calls = "\n".join(json.dumps({"name": "weather", "arguments": each}, ensure_ascii=False) for each in made)
    text = f"```json\n{calls}\n```" if fenced else calls
    assert read(text, size) == [Call("weather", each) for each in made]
