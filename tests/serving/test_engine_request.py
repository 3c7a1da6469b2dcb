"""Our request as the engine's: field by field, within ranges."""

import json
from typing import Any

import pytest
from msgspec.structs import replace
from tests.serving.pools import request

from intramural.core.chat import ChatRequest, Message, ResponseFormat, Sampling
from intramural.core.errors import Misasked
from intramural.serving.request import build, check_schema, placed


def body(asked: ChatRequest, index: int = 0) -> dict[str, Any]:
    return dict(json.loads(build(asked, index)[1]))


def test_a_plain_chat() -> None:
    assert build(request("hi"), 0)[0] == "/v1/chat/completions"
    assert body(request("hi")) == {
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "timings_per_token": True,
        "return_progress": True,
    }


def test_every_sampling_field_has_its_place() -> None:
    sampling = Sampling(0.5, 0.9, 40, 0.05, 0.7, 1.0, -1.0, 1.2, -1, {7: -100.0}, 3, 20, ("END",), True, 2)
    found = body(replace(request("hi"), sampling=sampling))
    for name in ("messages", "stream", "stream_options", "timings_per_token", "return_progress"):
        del found[name]
    assert found == {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.05,
        "typical_p": 0.7,
        "presence_penalty": 1.0,
        "frequency_penalty": -1.0,
        "repeat_penalty": 1.2,
        "repeat_last_n": -1,
        "max_tokens": 20,
        "seed": 3,
        "logit_bias": [[7, -100.0]],
        "logprobs": True,
        "top_logprobs": 2,
    }


def test_choices_differ_in_their_seed() -> None:
    asked = request(seed=2**64)
    assert [body(asked, index)["seed"] for index in (0, 1)] == [1, 2]
    assert body(request(seed=-5))["seed"] >= 0


def test_raw_prompts() -> None:
    asked = ChatRequest(id="r", model="m", prompt=(1, 2), response_format=ResponseFormat("json_object"))
    assert build(asked, 0)[0] == "/v1/completions"
    assert body(asked)["prompt"] == [1, 2]
    assert body(asked)["json_schema"] == {"type": "object"}


@pytest.mark.parametrize(
    ("sampling", "param"),
    [
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"min_p": -1}, "min_p"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"frequency_penalty": -3}, "frequency_penalty"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 2**63}, "max_tokens"),
        ({"logit_bias": {-1: 0.0}}, "logit_bias"),
        ({"logit_bias": {1: 200.0}}, "logit_bias"),
        ({"logit_bias": dict.fromkeys(range(5000), 0.0)}, "logit_bias"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"stop": ("",)}, "stop"),
        ({"stop": ("x",) * 17}, "stop"),
    ],
)
def test_nothing_outside_its_range_goes_to_the_engine(sampling: dict[str, Any], param: str) -> None:
    with pytest.raises(Misasked) as caught:
        build(request(**sampling), 0)
    assert (caught.value.code, caught.value.param) == ("value_out_of_range", param)


def test_token_ids_have_a_range() -> None:
    with pytest.raises(Misasked):
        build(ChatRequest(id="r", model="m", prompt=(-1,)), 0)


def test_schemas_are_bounded_in_size_and_depth() -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(70):  # also more than a schema may become by what is added for the engine
        deep = {"type": "array", "items": deep}
    for schema in (deep, {"enum": ["x" * 140_000]}):
        with pytest.raises(Misasked) as caught:
            check_schema(schema, "tools")
        assert (caught.value.code, caught.value.param) == ("schema_too_large", "tools")
        asked = replace(request(), response_format=ResponseFormat("json_schema", schema))
        with pytest.raises(Misasked):
            build(asked, 0)


def test_names_and_tool_fields_of_messages_stay_here() -> None:
    asked = replace(request(), messages=(Message("user", "hi", name="bob"),))
    assert body(asked)["messages"] == [{"role": "user", "content": "hi"}]


def test_the_place_is_said_once_and_by_nobody_else() -> None:
    asked = replace(request(), labels={"id_slot": "0", "cache_salt": "mine"})
    names = [name for name, _ in json.loads(placed(build(asked, 0)[1], 2, reuse=True), object_pairs_hook=list)]
    assert len(names) == len(set(names))
    fields = json.loads(placed(build(asked, 0)[1], 2, reuse=False))
    assert (fields["id_slot"], fields["cache_prompt"]) == (2, False)
    assert "cache_salt" not in fields
