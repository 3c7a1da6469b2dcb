"""Every field of the published requests: honoured, or refused by its name. None is ignored in silence."""

from typing import Any

import msgspec
import pytest

from intramural.core.chat import ChatRequest, Thinking, ToolChoice
from intramural.core.errors import Misasked
from intramural.http import bodies
from intramural.http.openai import parse, shapes

USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
OLD = {"name": "f", "parameters": {"type": "object"}}


def chat(**fields: Any) -> ChatRequest:
    body = {"model": "m", "messages": [USER], **fields}
    return parse.chat(bodies.decode(msgspec.json.encode(body), shapes.ChatIn), "req_1")


def completion(**fields: Any) -> ChatRequest:
    body = {"model": "m", "prompt": "once", **fields}
    return parse.completions(bodies.decode(msgspec.json.encode(body), shapes.CompletionIn), lambda: "req_1")[0]


#: field → (value, where it is found in the request, what stands there); None: nothing changes, and why is said.
CHAT: dict[str, tuple[Any, str, Any]] = {
    "messages": ([USER, {"role": "developer", "content": "x"}], "messages.1.role", "system"),
    "model": ("other", "model", "other"),
    "frequency_penalty": (1.5, "sampling.frequency_penalty", 1.5),
    "presence_penalty": (-1, "sampling.presence_penalty", -1),
    "logit_bias": ({"5": -100}, "sampling.logit_bias", {5: -100.0}),
    "logprobs": (True, "sampling.logprobs", True),
    "max_tokens": (7, "sampling.max_tokens", 7),
    "max_completion_tokens": (8, "sampling.max_tokens", 8),
    "n": (3, "choices", 3),
    "seed": (-4, "sampling.seed", -4),
    "stop": ("x", "sampling.stop", ("x",)),
    "temperature": (0.5, "sampling.temperature", 0.5),
    "top_p": (0.5, "sampling.top_p", 0.5),
    "tools": ([TOOL], "tools.0.name", "f"),
    "functions": ([OLD], "tools.0.name", "f"),
    "parallel_tool_calls": (False, "parallel_tool_calls", False),
    "response_format": ({"type": "json_object"}, "response_format.kind", "json_object"),
    "reasoning_effort": ("medium", "thinking", Thinking("on", "medium")),
    "user": ("bob", "labels", {"user": "bob"}),
    "metadata": ({"ward": "3"}, "labels", {"metadata.ward": "3"}),
    "safety_identifier": ("s", "labels", {"safety_identifier": "s"}),
    "prompt_cache_key": ("k", "labels", {"prompt_cache_key": "k"}),
    "stream": (True, "model", "m"),  # how the answer is sent
    "service_tier": ("default", "model", "m"),  # there is one, and it is named in the answer
    "store": (False, "model", "m"),
    "modalities": (["text"], "model", "m"),
    "verbosity": ("medium", "model", "m"),
    "prompt_cache_retention": ("in_memory", "model", "m"),
}
#: field → (other fields it needs, as above)
CHAT_WITH: dict[str, tuple[dict[str, Any], Any, str, Any]] = {
    "tool_choice": ({"tools": [TOOL]}, "required", "tool_choice", ToolChoice("required")),
    "function_call": ({"functions": [OLD]}, {"name": "f"}, "tool_choice", ToolChoice("named", "f")),
    "top_logprobs": ({"logprobs": True}, 4, "sampling.top_logprobs", 4),
    "stream_options": ({"stream": True}, {"include_usage": True}, "model", "m"),
}
CHAT_REFUSED: dict[str, list[Any]] = {
    "audio": [{"voice": "alloy", "format": "wav"}],
    "modalities": [["text", "audio"], ["audio"]],
    "moderation": [{}],
    "prediction": [{"type": "content", "content": "x"}],
    "prompt_cache_options": [{}],
    "prompt_cache_retention": ["24h"],
    "service_tier": ["flex", "priority", "scale"],
    "store": [True],
    "verbosity": ["low", "high"],
    "web_search_options": [{}],
}
EXTRAS = {"top_k", "min_p", "deterministic", "continue_final_message", "chat_template_kwargs"}
COMPLETION: dict[str, tuple[Any, str, Any]] = {
    "model": ("other", "model", "other"),
    "prompt": ([1, 2], "prompt", (1, 2)),
    "best_of": (1, "choices", 1),
    "echo": (True, "prompt", "once"),
    "frequency_penalty": (1, "sampling.frequency_penalty", 1),
    "logit_bias": ({"5": 1}, "sampling.logit_bias", {5: 1.0}),
    "logprobs": (2, "sampling.top_logprobs", 2),
    "max_tokens": (3, "sampling.max_tokens", 3),
    "n": (2, "choices", 2),
    "presence_penalty": (1, "sampling.presence_penalty", 1),
    "seed": (9, "sampling.seed", 9),
    "stop": (["a"], "sampling.stop", ("a",)),
    "stream": (True, "model", "m"),
    "suffix": ("end", "suffix", "end"),
    "temperature": (1, "sampling.temperature", 1),
    "top_p": (1, "sampling.top_p", 1),
    "user": ("bob", "labels", {"user": "bob"}),
}


def found(request: ChatRequest, path: str) -> Any:
    at: Any = request
    for part in path.split("."):
        at = at[int(part)] if part.isdecimal() else getattr(at, part)
    return at


def test_every_field_of_the_specification_is_here() -> None:
    fields = set(CHAT) | set(CHAT_WITH) | set(CHAT_REFUSED)
    assert len(fields) == 37
    assert set(shapes.ChatIn.__struct_fields__) == fields | EXTRAS
    completions = set(COMPLETION) | {"stream_options"}
    assert len(completions) == 18
    assert set(shapes.CompletionIn.__struct_fields__) == completions | {"deterministic"}


@pytest.mark.parametrize("field", CHAT)
def test_honoured(field: str) -> None:
    value, path, wanted = CHAT[field]
    assert found(chat(**{field: value}), path) == wanted


@pytest.mark.parametrize("field", CHAT_WITH)
def test_honoured_with_others(field: str) -> None:
    others, value, path, wanted = CHAT_WITH[field]
    assert found(chat(**others, **{field: value}), path) == wanted
    with pytest.raises(Misasked) as error:  # and not without them
        chat(**{field: value})
    assert error.value.param == field


@pytest.mark.parametrize("field", CHAT_REFUSED)
def test_refused_by_name(field: str) -> None:
    for value in CHAT_REFUSED[field]:
        with pytest.raises(Misasked) as error:
            chat(**{field: value})
        assert (error.value.code, error.value.param) == ("unsupported_parameter", field)
    assert chat(**{field: None}) == chat()


@pytest.mark.parametrize("field", COMPLETION)
def test_a_completion_s_fields(field: str) -> None:
    value, path, wanted = COMPLETION[field]
    assert found(completion(**{field: value}), path) == wanted


def test_what_completions_refuse() -> None:
    for fields, param in (
        ({"best_of": 3}, "best_of"),
        ({"best_of": 3, "n": 2}, "best_of"),
        ({"echo": True, "logprobs": 1}, "echo"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
    ):
        with pytest.raises(Misasked) as error:
            completion(**fields)
        assert error.value.param == param


def test_efforts() -> None:
    assert chat(reasoning_effort="none").thinking == Thinking("off")
    assert chat(reasoning_effort="minimal").thinking == Thinking("on", "low")
    assert chat(reasoning_effort="xhigh").thinking == Thinking("on", "high")
    with pytest.raises(Misasked) as error:
        chat(reasoning_effort="hugely")
    assert error.value.param == "reasoning_effort"


def test_only_some_of_the_tools_may_be_allowed() -> None:
    other = {"type": "function", "function": {"name": "g"}}
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "g"}}]}
    asked = chat(tools=[TOOL, other], tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert [tool.name for tool in asked.tools] == ["g"] and asked.tool_choice == ToolChoice("required")
    with pytest.raises(Misasked):
        chat(tools=[TOOL], tool_choice={"type": "allowed_tools", "allowed_tools": allowed})


def test_old_calls_and_their_results_are_tool_calls() -> None:
    asked = chat(
        functions=[OLD],
        messages=[
            USER,
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "42"},
        ],
    )
    call, result = asked.messages[1:]
    assert (call.tool_calls[0].name, call.tool_calls[0].arguments) == ("f", "{}")
    assert (result.role, result.tool_call_id, result.content) == ("tool", call.tool_calls[0].id, "42")
    assert not asked.parallel_tool_calls
    for fields, param in (
        ({"functions": [OLD], "tools": [TOOL]}, "functions"),
        ({"functions": []}, "functions"),
        ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages[0]"),
        ({"messages": [{**USER, "function_call": {"name": "f", "arguments": ""}}]}, "messages[0].function_call"),
    ):
        with pytest.raises(Misasked) as error:
            chat(**fields)
        assert error.value.param == param


def test_an_assistant_s_own_words_come_back() -> None:
    said = {"role": "assistant", "content": "yes", "reasoning_content": "hm", "name": "bo", "annotations": []}
    refused = {"role": "assistant", "refusal": "no"}
    in_parts = {"role": "assistant", "content": [{"type": "refusal", "refusal": "never"}]}
    messages = chat(messages=[said, refused, in_parts, USER]).messages
    assert [(m.content, m.reasoning) for m in messages] == [("yes", "hm"), ("no", None), ("never", None), ("hi", None)]
    assert messages[0].name == "bo"


def test_what_is_not_in_the_specification() -> None:
    assert chat(deterministic=True, seed=1).deterministic
    assert completion(deterministic=True, seed=1).deterministic
    chat(continue_final_message=True, messages=[USER, {"role": "assistant", "content": "I"}])
    for fields, param in (
        ({"continue_final_message": True}, "continue_final_message"),
        ({"chat_template_kwargs": {}}, "chat_template_kwargs"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"metadata": {"a": "x" * 513}}, "metadata"),
        ({"safety_identifier": "x" * 65}, "safety_identifier"),
        ({"user": "x" * 65_537}, "user"),
        ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
    ):
        with pytest.raises(Misasked) as error:
            chat(**fields)
        assert error.value.param == param
