"""Every field and every option of the Ollama dialect: honoured, refused by name, or said to have no effect."""

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intramural.core.chat import Image, Sampling, Thinking, ToolCall
from intramural.core.errors import IntramuralError, Misasked
from intramural.http import bodies
from intramural.http.ollama import parse, shapes
from intramural.http.ollama.names import canonical, listed


def chatted(**fields: Any) -> parse.Asked:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}
    return parse.chat(bodies.decode(msgspec.json.encode(body), shapes.ChatIn), "req_1")


def generated(**fields: Any) -> parse.Asked:
    body = {"model": "m", "prompt": "hi", **fields}
    return parse.generate(bodies.decode(msgspec.json.encode(body), shapes.GenerateIn), "req_1")


#: option → (given, field of Sampling, what becomes of it)
HONOURED = [
    ("seed", 7, "seed", 7),
    ("seed", -1, "seed", None),
    ("seed", 0, "seed", 0),
    ("num_predict", 40, "max_tokens", 40),
    ("num_predict", 40.0, "max_tokens", 40),
    ("num_predict", -1, "max_tokens", None),
    ("num_predict", -2, "max_tokens", None),
    ("top_k", 40, "top_k", 40),
    ("top_k", 0, "top_k", 0),
    ("top_k", -1, "top_k", 0),
    ("top_p", 0.9, "top_p", 0.9),
    ("min_p", 0.1, "min_p", 0.1),
    ("typical_p", 0.7, "typical_p", 0.7),
    ("temperature", 0, "temperature", 0),
    ("temperature", 0.8, "temperature", 0.8),
    ("repeat_penalty", 1.1, "repeat_penalty", 1.1),
    ("repeat_last_n", 64, "repeat_last_n", 64),
    ("repeat_last_n", -1, "repeat_last_n", -1),
    ("presence_penalty", -1.5, "presence_penalty", -1.5),
    ("frequency_penalty", 1.5, "frequency_penalty", 1.5),
    ("stop", ["a", "b"], "stop", ("a", "b")),
    ("stop", "a", "stop", ("a",)),
]
HINTS = {
    **dict.fromkeys(("num_batch", "num_gpu", "main_gpu", "num_thread", "num_keep", "draft_num_predict"), 4),
    **dict.fromkeys(("use_mmap", "use_mlock", "numa", "low_vram", "f16_kv", "logits_all"), True),
    **dict.fromkeys(("vocab_only", "embedding_only"), False),
}
ASKS_FOR_NOTHING = {"mirostat": 0, "mirostat_tau": 5.0, "mirostat_eta": 0.1, "tfs_z": 1.0, "penalize_newline": False}


@pytest.mark.parametrize(("option", "value", "field", "becomes"), HONOURED)
def test_an_option_is_honoured(option: str, value: Any, field: str, becomes: Any) -> None:
    for asked in (chatted(options={option: value}), generated(options={option: value})):
        assert getattr(asked.request.sampling, field) == becomes
        assert asked.without_effect == ()


def test_num_ctx_is_what_must_be_there() -> None:
    assert chatted(options={"num_ctx": 4096}).context_tokens == 4096
    assert chatted().context_tokens is None


@pytest.mark.parametrize("option", HINTS)
def test_what_is_about_the_machine_is_said_to_have_no_effect(option: str) -> None:
    asked = chatted(options={option: HINTS[option]})
    assert asked.without_effect == (option,)
    assert asked.request.sampling == Sampling()


@pytest.mark.parametrize("option", ASKS_FOR_NOTHING)
def test_options_of_earlier_versions_that_ask_for_nothing_are_taken(option: str) -> None:
    assert chatted(options={option: ASKS_FOR_NOTHING[option]}).request.sampling == Sampling()


def test_every_option_is_in_one_of_the_tables() -> None:
    known = {option for option, *_ in HONOURED} | set(HINTS) | set(ASKS_FOR_NOTHING) | {"num_ctx"}
    assert known == set(shapes.OptionsIn.__struct_fields__)


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"options": {"temperature": 2.1}}, "bad_parameter", "options.temperature"),
        ({"options": {"temperature": "hot"}}, "bad_parameter", "options.temperature"),
        ({"options": {"top_p": -0.1}}, "bad_parameter", "options.top_p"),
        ({"options": {"top_k": 1.5}}, "bad_parameter", "options.top_k"),
        ({"options": {"min_p": 2}}, "bad_parameter", "options.min_p"),
        ({"options": {"typical_p": 2}}, "bad_parameter", "options.typical_p"),
        ({"options": {"repeat_penalty": 0}}, "bad_parameter", "options.repeat_penalty"),
        ({"options": {"repeat_last_n": -2}}, "bad_parameter", "options.repeat_last_n"),
        ({"options": {"num_predict": 0}}, "bad_parameter", "options.num_predict"),
        ({"options": {"num_predict": -3}}, "bad_parameter", "options.num_predict"),
        ({"options": {"num_ctx": 0}}, "bad_parameter", "options.num_ctx"),
        ({"options": {"seed": 1e300}}, "bad_parameter", "options.seed"),
        ({"options": {"stop": [""]}}, "bad_parameter", "options.stop"),
        ({"options": {"stop": ["a"] * 17}}, "bad_parameter", "options.stop"),
        ({"options": {"mirostat": 2}}, "unsupported_parameter", "options.mirostat"),
        ({"options": {"tfs_z": 0.5}}, "unsupported_parameter", "options.tfs_z"),
        ({"options": {"penalize_newline": True}}, "unsupported_parameter", "options.penalize_newline"),
        ({"options": {"num_ctxx": 1}}, "unknown_parameter", "options.num_ctxx"),
        ({"top_logprobs": 3}, "bad_parameter", "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "bad_parameter", "top_logprobs"),
        ({"keep_alive": "5 minutes"}, "bad_parameter", "keep_alive"),
        ({"keep_alive": "300"}, "bad_parameter", "keep_alive"),
        ({"format": "yaml"}, "bad_parameter", "format"),
        ({"format": 1}, "bad_parameter", "format"),
        ({"think": "hard"}, "bad_parameter", "think"),
        ({"_debug_render_only": True}, "unsupported_parameter", "_debug_render_only"),
        ({"tempreature": 1}, "unknown_parameter", "tempreature"),
        ({"model": "no spaces"}, "bad_model_name", "model"),
        ({"messages": [{"role": "wizard", "content": "hi"}]}, "bad_parameter", "messages[0].role"),
        ({"messages": [{"role": "user", "images": ["?"]}]}, "bad_parameter", "messages[0].images[0]"),
        (
            {"messages": [{"role": "user", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}]},
            "bad_parameter",
            "messages[0].tool_calls",
        ),
        ({"tools": [{"type": "browser", "function": {"name": "f"}}]}, "bad_parameter", "tools[0].type"),
        ({"tools": [{"function": {"name": "no spaces"}}]}, "bad_parameter", "tools[0].function.name"),
        ({"tools": [{"function": {"name": "f"}}] * 2}, "bad_parameter", "tools[1].function.name"),
        ({"tools": [{"function": {"name": "f"}, "items": {}}]}, "unsupported_parameter", "tools[0].items"),
    ],
)
def test_what_is_wrong_in_a_chat_is_named(fields: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(Misasked) as caught:
        chatted(**fields)
    assert (caught.value.code, caught.value.param) == (code, param)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"template": "{{ .Prompt }}"}, "template"),
        ({"context": [1, 2]}, "context"),
        ({"width": 512}, "width"),
        ({"height": 512}, "height"),
        ({"steps": 20}, "steps"),
    ],
)
def test_what_a_prompt_cannot_have_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Misasked) as caught:
        generated(**fields)
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", param)


@pytest.mark.parametrize("plain", [{"raw": True}, {"suffix": "}"}])
@pytest.mark.parametrize("other", [{"system": "Be brief."}, {"images": ["aGk="]}, {"think": True}])
def test_plain_text_goes_to_the_model_as_it_is(plain: dict[str, Any], other: dict[str, Any]) -> None:
    with pytest.raises(Misasked) as caught:
        generated(**plain, **other)
    assert caught.value.param == next(iter(other))


def test_prompts() -> None:
    asked = generated(system="Be brief.", images=[base64.b64encode(b"png").decode()]).request
    assert [(m.role, m.content) for m in asked.messages] == [("system", "Be brief."), ("user", "hi")]
    assert asked.messages[1].parts == (Image(data=b"png"), "hi")
    raw = generated(raw=True).request
    assert (raw.prompt, raw.messages, raw.suffix) == ("hi", (), None)
    middle = generated(suffix="}").request
    assert (middle.prompt, middle.messages, middle.suffix) == ("hi", (), "}")
    empty = generated(template="", context=[], system="", suffix="").request
    assert [m.content for m in empty.messages] == ["hi"], "what is empty asks for nothing"


def test_streaming_is_the_default() -> None:
    assert [chatted(stream=stream).stream for stream in (None, True, False)] == [True, True, False]


def test_leave_to_cut_has_no_effect_and_is_said_to_have_none() -> None:
    assert chatted(truncate=True, shift=True).without_effect == ("truncate", "shift")
    assert chatted(truncate=False, shift=False).without_effect == ()


@pytest.mark.parametrize(
    ("given", "kind", "effort"),
    [
        (None, "default", None),
        (True, "on", None),
        (False, "off", None),
        ("low", "on", "low"),
        ("medium", "on", "medium"),
        ("high", "on", "high"),
        ("max", "on", "high"),
    ],
)
def test_thinking(given: Any, kind: Any, effort: Any) -> None:
    assert chatted(think=given).request.thinking == Thinking(kind, effort)


def test_formats() -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}}
    assert chatted(format=schema).request.response_format.schema == schema
    kinds = [chatted(format=each).request.response_format.kind for each in (None, "", "json", schema)]
    assert kinds == ["text", "text", "json_object", "json_schema"]


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (None, None),
        (0, 0.0),
        ("0", 0.0),
        (300, 300.0),
        (0.5, 0.5),
        (-1, -1.0),
        ("-1s", -1.0),
        ("-2h", -1.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("300ms", 0.3),
        ("1.5h", 5400.0),
        ("24h", 86400.0),
        (1e300, -1.0),
    ],
)
def test_keep_alive(given: Any, seconds: float | None) -> None:
    assert chatted(keep_alive=given).keep_alive_s == (None if seconds is None else pytest.approx(seconds))


def test_a_conversation_with_tools() -> None:
    call = {"function": {"name": "weather", "arguments": {"city": "Rome"}}}
    asked = chatted(
        messages=[
            {"role": "User", "content": "Weather?"},
            {"role": "assistant", "tool_calls": [call, {**call, "id": "mine"}], "thinking": "Two, to be sure."},
            {"role": "tool", "content": "21", "tool_name": "weather"},
            {"role": "tool", "content": "22", "tool_call_id": "mine"},
            {"role": "tool", "content": "?", "tool_name": "weather"},
        ],
        tools=[{"type": "function", "function": {"name": "weather", "description": "Of a city."}}],
    ).request
    assistant = asked.messages[1]
    assert assistant.tool_calls == (
        ToolCall("call_1_0", "weather", '{"city":"Rome"}'),
        ToolCall("mine", "weather", '{"city":"Rome"}'),
    )
    assert assistant.reasoning == "Two, to be sure."
    assert [m.tool_call_id for m in asked.messages[2:]] == ["call_1_0", "mine", None]
    assert asked.messages[0].role == "user" and asked.tool_choice.kind == "auto"


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("llama3.2", "llama3.2"),
        ("llama3.2:latest", "llama3.2"),
        ("Llama3.2:Latest", "llama3.2"),
        ("library/llama3.2:3b", "llama3.2:3b"),
        ("registry.ollama.ai/library/llama3.2:3b", "llama3.2:3b"),
        ("127.0.0.1:5000/library/tiny:3b", "tiny:3b"),
        ("registry.example.org:5000/team/tiny", "team/tiny"),
        ("hf.co/Owner/Model-GGUF:Q4_K_M", "hf.co/owner/model-gguf:q4_k_m"),
        ("team/tiny", "team/tiny"),
    ],
)
def test_names(called: str, name: str) -> None:
    assert canonical(called) == name
    assert canonical(listed(name)) == name


@given(st.text(max_size=40))
def test_any_name_is_a_name_or_refused(text: str) -> None:
    try:
        name = canonical(text)
    except Misasked as error:
        assert error.code == "bad_model_name"
    else:
        assert canonical(name) == name


@given(st.binary(max_size=200))
def test_bytes_never_crash(body: bytes) -> None:
    for shape in (shapes.ChatIn, shapes.GenerateIn, shapes.EmbedIn):
        with pytest.raises(IntramuralError):
            bodies.decode(body, shape)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([f.name for f in msgspec.structs.fields(shapes.ChatIn)]), JSON))
def test_any_values_are_taken_or_refused(fields: dict[str, Any]) -> None:
    try:
        chatted(**fields)
    except IntramuralError as error:
        assert error.code and error.message
