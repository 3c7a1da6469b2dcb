"""Whatever a client sends as a Responses request: understood, or refused by name; and what is kept says the same."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseItem
from pydantic import TypeAdapter
from tests.fakes.pictures import png

from intramural.core.chat import Image, Message, ToolCall
from intramural.core.errors import Misasked, TooLarge
from intramural.http import bodies
from intramural.http.openai.responses import items, parse, shapes

ITEM: TypeAdapter[Any] = TypeAdapter(ResponseItem)
WORDS = st.text(max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
TYPES = ["input_text", "input_image", "input_file", "output_text", "refusal", "summary_text", "reasoning_text", "x"]
KINDS = ["message", "function_call", "function_call_output", "reasoning", "item_reference", "mcp_call", 7, None]
ROLES = ["user", "assistant", "system", "developer", "tool", None]


def objects(**fields: Any) -> Any:
    """Dicts with some of these fields, each mostly of its own kind."""
    return st.fixed_dictionaries({}, optional={name: st.one_of(value, JSON) for name, value in fields.items()})


PART = objects(
    type=st.sampled_from(TYPES), text=WORDS, refusal=WORDS, image_url=st.just("data:image/png;base64,AAAA"),
    file_id=WORDS, file_data=WORDS, annotations=st.just([]),
)  # fmt: skip
ITEMS = objects(
    type=st.sampled_from(KINDS), role=st.sampled_from(ROLES), content=WORDS | st.lists(PART, max_size=3), id=WORDS,
    status=st.sampled_from(["completed", "x"]), call_id=WORDS, name=WORDS, arguments=WORDS,
    output=WORDS | st.lists(PART, max_size=2), summary=st.lists(PART, max_size=2),
)  # fmt: skip


def new_id(prefix: str) -> str:
    return f"{prefix}_new"


@given(st.lists(ITEMS, max_size=4))
def test_any_item_is_understood_or_refused_by_name(raw: list[dict[str, Any]]) -> None:
    try:
        kept = items.taken_in(raw, new_id)
        for item in kept:
            if item["type"] != "item_reference":
                ITEM.validate_python(json.loads(json.dumps(item)), strict=True)
        messages = items.messages([item for item in kept if item["type"] != "item_reference"], str.lower)
    except (Misasked, TooLarge) as error:
        assert error.param and error.param.startswith("input"), error.param
        return
    assert items.taken_in(kept, new_id) == kept, "what is kept can be sent again"
    assert items.messages([item for item in kept if item["type"] != "item_reference"], str.lower) == messages


def test_an_assistants_turn_is_put_together() -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
    given_items = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": [{"type": "input_text", "text": "Look "}, {"type": "input_text", "text": "here."}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
        call,
        {**call, "call_id": "c2"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "A cat."}]},
        {"type": "function_call_output", "call_id": "c2", "output": "A dog."},
    ]
    assert items.messages(items.taken_in(given_items, new_id), str.lower) == (
        Message("system", "Be kind."),
        Message("user", "Look here."),
        Message(
            "assistant", "I look.", tool_calls=(ToolCall("c1", "look", "{}"), ToolCall("c2", "look", "{}")),
            reasoning="Hm.",
        ),
        Message("tool", "A cat.", tool_call_id="c1"),
        Message("tool", "A dog.", tool_call_id="c2"),
    )  # fmt: skip


def test_thinking_comes_back_open_or_sealed() -> None:
    said = {"role": "assistant", "content": "Yes."}
    for thought in (
        {"content": [{"type": "reasoning_text", "text": "hm"}]},
        {"summary": [{"type": "summary_text", "text": "hm"}]},
        {"encrypted_content": "HM"},
    ):
        raw = [{"type": "reasoning", "id": "rs_1", "summary": [], **thought}, said]
        assert items.messages(items.taken_in(raw, new_id), str.lower) == (Message("assistant", "Yes.", reasoning="hm"),)


def test_pictures_as_data_as_stored_files_and_by_address() -> None:
    url = "data:image/png;base64," + base64.b64encode(png()).decode()
    parts = [
        {"type": "input_text", "text": "See:"},
        {"type": "input_image", "image_url": url},
        {"type": "input_image", "file_id": "file_1", "detail": "high"},
        {"type": "input_image", "image_url": "https://example.org/cat.png"},
        {"type": "input_file", "file_data": url, "filename": "cat.png"},
    ]
    kept = items.taken_in([{"role": "user", "content": parts}], new_id)
    ITEM.validate_python(kept[0], strict=True)
    (message,) = items.messages(kept, str.lower)
    picture = Image(data=png())
    by_address = Image(url="https://example.org/cat.png")
    assert message.parts == ("See:", picture, Image(file_id="file_1"), by_address, picture)
    assert message.content == "See:"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_image"},
        {"type": "input_image", "file_id": "f", "image_url": "https://example.org/x.png"},
        {"type": "input_image", "image_url": "file:///etc/passwd"},
        {"type": "input_image", "image_url": "data:image/png;base64,QUJD"},
        {"type": "input_image", "file_id": "f", "detail": "low"},
        {"type": "input_file", "filename": "x.pdf"},
        {"type": "input_text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit"}},
        {"type": "output_text", "text": "x"},
    ],
)
def test_a_part_that_cannot_be_read_is_refused(part: dict[str, Any]) -> None:
    with pytest.raises(Misasked) as caught:
        items.taken_in([{"role": "user", "content": [part]}], new_id)
    assert caught.value.param and caught.value.param.startswith("input[0].content[0]")


FIELDS = {
    name: JSON for name in shapes.CreateIn.__struct_fields__ if name not in ("model", "input", "conversation", "store")
}


@given(st.fixed_dictionaries({}, optional=FIELDS))
def test_any_settings_are_understood_or_refused_by_name(fields: dict[str, Any]) -> None:
    body = json.dumps({"model": "m", "input": "x", **fields}).encode()
    try:
        wire = bodies.decode(body, shapes.CreateIn)
        parse.settings(wire, "req_1", store=True)
    except Misasked as error:
        assert error.param, error.message
        assert error.param.split(".")[0].split("[")[0] in fields, error.param
