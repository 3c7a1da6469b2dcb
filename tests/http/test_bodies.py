"""The doors: what is refused, and that the refusal names the field."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intramural.core.errors import IntramuralError, Misasked
from intramural.http import bodies
from intramural.http.openai import parse, shapes


def chat(**fields: object) -> dict[str, object]:
    return {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}


def parsed(body: dict[str, object]) -> object:
    return parse.chat(bodies.decode(msgspec.json.encode(body), shapes.ChatIn), "req_1")


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (chat(temperature=2.1), "bad_parameter", "temperature"),
        (chat(temperature=-0.1), "bad_parameter", "temperature"),
        (chat(temperature="hot"), "bad_parameter", "temperature"),
        (chat(top_p=1.5), "bad_parameter", "top_p"),
        (chat(n=0), "bad_parameter", "n"),
        (chat(n=9), "bad_parameter", "n"),
        (chat(max_tokens=0), "bad_parameter", "max_tokens"),
        (chat(max_completion_tokens=-1), "bad_parameter", "max_completion_tokens"),
        (chat(seed=2**70), "bad_parameter", "seed"),
        (chat(stop=[""]), "bad_parameter", "stop"),
        (chat(stop=["a"] * 17), "bad_parameter", "stop"),
        (chat(logit_bias={"x": 1}), "bad_parameter", "logit_bias"),
        (chat(logit_bias={"1": 101}), "bad_parameter", "logit_bias"),
        (chat(top_logprobs=2), "bad_parameter", "top_logprobs"),
        (chat(messages=[]), "bad_parameter", "messages"),
        (chat(messages=[{"role": "wizard", "content": "hi"}]), "bad_parameter", "messages[0].role"),
        (chat(messages=[{"role": "user"}]), "bad_parameter", "messages[0].content"),
        (chat(messages=[{"role": "tool", "content": "x"}]), "bad_parameter", "messages[0].tool_call_id"),
        (
            chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]),
            "bad_image_url",
            "messages[0].content[0].image_url.url",
        ),
        (chat(tool_choice="required"), "bad_parameter", "tool_choice"),
        (chat(tool_choice={"type": "function", "function": {"name": "f"}}), "bad_parameter", "tool_choice"),
        (chat(tools=[{"type": "function", "function": {"name": "a b"}}]), "bad_parameter", "tools[0].function.name"),
        (
            chat(tools=[{"type": "function", "function": {"name": "a"}}] * 2),
            "bad_parameter",
            "tools[1].function.name",
        ),
        (chat(functions=[]), "bad_parameter", "functions"),
        (chat(store=True), "unsupported_parameter", "store"),
        (chat(modalities=["audio"]), "unsupported_parameter", "modalities"),
        (chat(web_search_options={}), "unsupported_parameter", "web_search_options"),
        (chat(nonsense=1), "unknown_parameter", "nonsense"),
    ],
)
def test_each_wrong_field_is_named(body: dict[str, object], code: str, param: str) -> None:
    with pytest.raises(Misasked) as caught:
        parsed(body)
    assert (caught.value.code, caught.value.param) == (code, param)
    assert caught.value.hint


@pytest.mark.parametrize(
    "body",
    [
        chat(),
        chat(store=False, modalities=["text"], user="u", metadata={"a": "b"}, service_tier="auto"),
        chat(
            messages=[{"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]
        ),
        chat(temperature=None, stop=None, tools=None),
        chat(stop=["a"] * 16, n=8, seed=-5),
    ],
)
def test_what_fits_passes(body: dict[str, object]) -> None:
    parsed(body)


def test_every_field_of_the_specification_is_honoured_or_refused_by_name() -> None:
    text = """
        audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens messages
        metadata modalities model moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key
        prompt_cache_options prompt_cache_retention reasoning_effort response_format safety_identifier seed
        service_tier stop store stream stream_options temperature tool_choice tools top_logprobs top_p user verbosity
        web_search_options
    """
    fields = text.split()
    assert len(fields) == 37
    assert set(fields) <= set(shapes.ChatIn.__struct_fields__)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(shapes.ChatIn.__struct_fields__), JSON, max_size=6))
def test_any_json_is_parsed_or_refused(fields: dict[str, object]) -> None:
    try:
        parsed(chat(**fields))
    except IntramuralError as error:
        assert error.code and error.message


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(body: bytes) -> None:
    with pytest.raises(Misasked):
        bodies.decode(body, shapes.ChatIn)


@pytest.mark.parametrize("depth", [70, 1_000, 200_000])
def test_deep_nesting_is_refused_before_decoding(depth: int) -> None:
    with pytest.raises(Misasked) as caught:
        bodies.decode(b'{"model":' + b"[" * depth + b"]" * depth + b"}", shapes.ChatIn)
    assert caught.value.code == "nested_too_deep"


def test_brackets_in_text_are_not_nesting() -> None:
    body = msgspec.json.encode(chat(messages=[{"role": "user", "content": '[{"' * 500}]))
    bodies.decode(body, shapes.ChatIn)
