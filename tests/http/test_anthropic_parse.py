"""Anthropic's requests: each field and block of the published types is honoured, or refused by its name."""

import base64
import struct
import zlib
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from anthropic.types import (
    DocumentBlockParam,
    ImageBlockParam,
    MetadataParam,
    SearchResultBlockParam,
    TextBlockParam,
    ThinkingBlockParam,
    ToolParam,
    ToolResultBlockParam,
    ToolUseBlockParam,
    message_create_params,
)
from anthropic.types.beta import (
    BetaContentBlockParam,
    BetaOutputConfigParam,
    BetaSystemMessageParam,
    BetaThinkingConfigAdaptiveParam,
    BetaThinkingConfigEnabledParam,
    BetaThinkingConfigParam,
    BetaToolChoiceParam,
    BetaToolUnionParam,
)
from anthropic.types.beta import message_count_tokens_params as beta_count_params
from anthropic.types.beta import message_create_params as beta_create_params
from typing_extensions import is_typeddict

from intramural.core.chat import ChatRequest, Image, Message, ResponseFormat, Thinking, Tool, ToolCall, ToolChoice
from intramural.core.errors import IntramuralError, Misasked
from intramural.http import bodies
from intramural.http.anthropic import parse, shapes
from intramural.http.anthropic.signature import signature_of

HI = {"role": "user", "content": "hi"}
OBJECT = {"type": "object", "properties": {"a": {"type": "integer"}}}
TOOL = {"name": "add", "input_schema": OBJECT}
USE = {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}}


def _png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


PNG = _png()
IMAGE = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PNG).decode()},
}


def asked(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 2048, "messages": [HI], **fields}


def parsed(**fields: Any) -> ChatRequest:
    return parse.message(bodies.decode(msgspec.json.encode(asked(**fields)), shapes.MessagesIn), "req_1")


def said(*blocks: Any, role: str = "user") -> tuple[Message, ...]:
    return parsed(messages=[{"role": role, "content": list(blocks)}]).messages


# nothing of the published types is unknown here -------------------------------------------------------------------


def _fields(shape: type) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(shape)}


def _types(union: Any) -> set[str]:
    """The values of `type` among the members of a union of typed dictionaries."""
    return {kind for each in get_args(union) if (hints := _hints(each)) for kind in _literals(hints.get("type"))}


def _hints(each: Any) -> dict[str, Any]:
    return get_type_hints(each) if isinstance(each, type) and is_typeddict(each) else {}


def _literals(hint: Any) -> list[str]:
    inner = [word for each in get_args(hint) for word in _literals(each)]
    return inner or ([hint] if isinstance(hint, str) else [])


@pytest.mark.parametrize(
    ("shape", "published", "elsewhere"),
    [
        (shapes.MessagesIn, message_create_params.MessageCreateParamsStreaming, {"workspace_id"}),
        (shapes.MessagesIn, beta_create_params.MessageCreateParamsStreaming, {"workspace_id", "betas"}),
        (shapes.CountIn, beta_count_params.MessageCountTokensParams, {"workspace_id", "betas"}),
        (shapes.MessageIn, BetaSystemMessageParam, set()),
        (shapes.ToolIn, ToolParam, set()),
        (shapes.Metadata, MetadataParam, set()),
        (shapes.OutputConfig, BetaOutputConfigParam, set()),
        (shapes.ThinkingEnabled, BetaThinkingConfigEnabledParam, {"type"}),
        (shapes.ThinkingAdaptive, BetaThinkingConfigAdaptiveParam, {"type"}),
        (shapes.TextBlock, TextBlockParam, {"type"}),
        (shapes.ImageBlock, ImageBlockParam, {"type"}),
        (shapes.DocumentBlock, DocumentBlockParam, {"type"}),
        (shapes.SearchResultBlock, SearchResultBlockParam, {"type"}),
        (shapes.ThinkingBlock, ThinkingBlockParam, {"type"}),
        (shapes.ToolUseBlock, ToolUseBlockParam, {"type"}),
        (shapes.ToolResultBlock, ToolResultBlockParam, {"type"}),
    ],
)
def test_every_published_field_has_a_place(shape: type, published: type, elsewhere: set[str]) -> None:
    """`elsewhere`: what the client sends as a header, and what tells the kinds apart."""
    assert set(get_type_hints(published)) - _fields(shape) == elsewhere


def test_every_published_kind_has_a_place() -> None:
    known = {each.__struct_config__.tag for each in get_args(shapes.Block)}
    assert len(known) > 20
    assert _types(BetaContentBlockParam) <= known
    assert "text" in _types(BetaContentBlockParam)
    assert _types(BetaThinkingConfigParam) == {"enabled", "disabled", "adaptive", "between_tools"}
    assert _types(BetaToolChoiceParam) == {"auto", "any", "tool", "none"}


@pytest.mark.parametrize("kind", sorted(_types(BetaToolUnionParam) - {"custom"}))
def test_every_tool_of_anthropics_own_is_refused_by_name(kind: str) -> None:
    with pytest.raises(Misasked, match=kind) as caught:
        parsed(tools=[{"type": kind, "name": "it", "max_uses": 3}])
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "tools[0].type")


@pytest.mark.parametrize("kind", sorted(each.__struct_config__.tag for each in shapes.Refused.__subclasses__()))
def test_blocks_for_anthropics_servers_are_refused_by_name(kind: str) -> None:
    for role in ("user", "assistant"):
        with pytest.raises(Misasked, match=kind) as caught:
            said({"type": kind, "anything": {"at": "all"}}, role=role)
        assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "messages[0].content[0]")


# what is honoured -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({}, "messages", (Message("user", "hi"),)),
        ({"max_tokens": 7}, "sampling.max_tokens", 7),
        ({"temperature": 0.5}, "sampling.temperature", 0.5),
        ({"top_p": 0.9}, "sampling.top_p", 0.9),
        ({"top_k": 5}, "sampling.top_k", 5),
        ({"stop_sequences": ["\n", "END"]}, "sampling.stop", ("\n", "END")),
        ({"metadata": {"user_id": "u"}}, "labels", {"user_id": "u"}),
        ({"metadata": {"user_id": None}}, "labels", {}),
        ({"user_profile_id": "p"}, "labels", {"user_profile_id": "p"}),
        ({"system": "Be brief."}, "messages", (Message("system", "Be brief."), Message("user", "hi"))),
        (
            {"system": [{"type": "text", "text": "A"}, {"type": "text", "text": "B", "citations": None}]},
            "messages",
            (Message("system", "A\n\nB"), Message("user", "hi")),
        ),
        ({"system": ""}, "messages", (Message("user", "hi"),)),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking", Thinking("on", None, 1024)),
        ({"thinking": {"type": "disabled"}}, "thinking", Thinking("off")),
        ({"thinking": {"type": "adaptive", "display": "summarized"}}, "thinking", Thinking()),
        ({"output_config": {"effort": "low"}}, "thinking", Thinking("default", "low")),
        ({"output_config": {"effort": "max"}}, "thinking", Thinking("default", "high")),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": OBJECT}}},
            "response_format",
            ResponseFormat("json_schema", OBJECT),
        ),
        ({"output_format": {"type": "json_schema", "schema": OBJECT}}, "response_format.kind", "json_schema"),
        ({"tools": [TOOL]}, "tools", (Tool("add", "", OBJECT),)),
        ({"tools": [TOOL]}, "tool_choice", ToolChoice("auto")),
        (
            {"tools": [{**TOOL, "type": "custom", "description": "d", "strict": True}]},
            "tools",
            (Tool("add", "d", OBJECT),),
        ),
        (
            {"tools": [{**TOOL, "input_examples": [{"a": 1}]}]},
            "tools",
            (Tool("add", 'Example of its input: {"a":1}', OBJECT),),
        ),
        ({"tools": [{**TOOL, "allowed_callers": ["direct"], "defer_loading": False}]}, "tool_choice.kind", "auto"),
        ({"tools": [TOOL], "tool_choice": {"type": "any"}}, "tool_choice", ToolChoice("required")),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "add"}}, "tool_choice", ToolChoice("named", "add")),
        ({"tools": [TOOL], "tool_choice": {"type": "none"}}, "tool_choice", ToolChoice("none")),
        ({"tools": [TOOL], "tool_choice": {"type": "auto"}}, "parallel_tool_calls", True),
        (
            {"tools": [TOOL], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
            "parallel_tool_calls",
            False,
        ),
        # these ask for nothing that is not so anyway
        ({"service_tier": "standard_only", "speed": "standard", "inference_geo": "global"}, "labels", {}),
        ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, "labels", {}),
        ({"container": None, "diagnostics": None, "mcp_servers": [], "context_management": None}, "labels", {}),
        ({"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}}, "labels", {}),
    ],
)
def test_fields(fields: dict[str, Any], name: str, value: Any) -> None:
    found: Any = parsed(**fields)
    for part in name.split("."):
        found = getattr(found, part)
    assert found == value


def test_how_the_answer_is_written() -> None:
    def form(**fields: Any) -> Any:
        return parse.form(bodies.decode(msgspec.json.encode(asked(**fields)), shapes.MessagesIn))

    assert form(thinking={"type": "adaptive", "display": "omitted"}).hides_thinking
    assert not form(thinking={"type": "adaptive"}).hides_thinking
    assert form(tools=[TOOL, {**TOOL, "name": "b", "eager_input_streaming": False}]).whole_inputs == {"b"}


# conversations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ({"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}, "x"),
        (
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "body"},
                "title": 'A "b"',
            },
            '<document title="A &quot;b&quot;">\nbody\n</document>',
        ),
        (
            {"type": "document", "source": {"type": "content", "content": "body"}, "context": "c"},
            '<document context="c">\nbody\n</document>',
        ),
        (
            {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "p"}]}},
            "<document>\np\n</document>",
        ),
        (
            {
                "type": "search_result",
                "title": "T",
                "source": "S",
                "content": [{"type": "text", "text": "p"}, {"type": "text", "text": "q"}],
                "citations": {"enabled": False},
            },
            '<search_result title="T" source="S">\np\n\nq\n</search_result>',
        ),
    ],
)
def test_blocks_that_become_text(block: dict[str, Any], text: str) -> None:
    assert said(block) == (Message("user", text),)
    (_, _, result) = _with_result({"content": [block]})
    assert result == Message("tool", text, tool_call_id="t1")


def _with_result(result: dict[str, Any], *more: Any) -> tuple[Message, ...]:
    answer = [*more, {"type": "tool_result", "tool_use_id": "t1", **result}]
    return parsed(messages=[HI, {"role": "assistant", "content": [USE]}, {"role": "user", "content": answer}]).messages


def test_images_keep_their_place() -> None:
    (message,) = said({"type": "text", "text": "a"}, IMAGE, {"type": "text", "text": "b"})
    assert message == Message("user", "a\n\nb", parts=("a", Image(data=PNG), "b"))
    by_id = {"type": "image", "source": {"type": "file", "file_id": "file_1"}}
    by_url = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
    assert said(by_id, by_url)[0].parts == (Image(file_id="file_1"), Image(url="https://example.org/a.png"))
    result = _with_result({"content": [IMAGE]})[2]
    assert (result.role, result.parts) == ("tool", (Image(data=PNG),))


def test_turns_of_one_role_are_one() -> None:
    messages = [
        {"role": "user", "content": "a"},
        {"role": "user", "content": [{"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "c"},
        {"role": "assistant", "content": []},
        {"role": "assistant", "content": "d"},
        {"role": "user", "content": "e"},
    ]
    assert parsed(messages=messages).messages == (
        Message("user", "a\n\nb"),
        Message("assistant", "cd"),
        Message("user", "e"),
    )


def test_the_last_answer_is_gone_on_with() -> None:
    assert parsed(messages=[HI, {"role": "assistant", "content": "The best is ("}]).messages[-1] == Message(
        "assistant", "The best is ("
    )
    assert parsed(messages=[HI, {"role": "assistant", "content": ""}]).messages == (Message("user", "hi"),)


def test_system_messages_in_between() -> None:
    def seen(clear_at: str, *after: Any) -> list[str]:
        note = {"role": "system", "content": "note", "clear_at": clear_at}
        return [m.content for m in parsed(messages=[HI, note, *after]).messages]

    answer, more = {"role": "assistant", "content": "yes"}, {"role": "user", "content": "more"}
    assert seen("next_user_message") == ["hi", "note"]
    assert seen("next_user_message", answer) == ["hi", "note", "yes"]
    assert seen("next_user_message", answer, more) == ["hi", "yes", "more"]
    assert seen("never", answer, more) == ["hi", "note", "yes", "more"]


def test_a_call_and_its_result() -> None:
    thinking = {"type": "thinking", "thinking": "hm", "signature": signature_of("hm")}
    text = {"type": "text", "text": "Let me see.", "citations": None}
    direct = {**USE, "caller": {"type": "direct"}}
    answer = [
        {"type": "text", "text": "Here."},
        {"type": "tool_result", "tool_use_id": "t1", "content": "2", "is_error": True},
    ]
    messages = [HI, {"role": "assistant", "content": [thinking, text, direct]}, {"role": "user", "content": answer}]
    assert parsed(messages=messages).messages[1:] == (
        Message("assistant", "Let me see.", tool_calls=(ToolCall("t1", "add", '{"a":1}'),), reasoning="hm"),
        Message("tool", "Error:\n\n2", tool_call_id="t1"),
        Message("user", "Here."),
    )
    assert _with_result({})[2] == Message("tool", "", tool_call_id="t1")


@pytest.mark.parametrize("thinking", ["", "hm"])
def test_thinking_of_other_services_is_the_clients_own(thinking: str) -> None:
    (message, _) = parsed(
        messages=[{"role": "assistant", "content": [
            {"type": "thinking", "thinking": thinking, "signature": "EqQBCgIYAhIM"}, {"type": "text", "text": "a"}
        ]}, HI]
    ).messages  # fmt: skip
    assert message.reasoning == (thinking or None)


# what is refused --------------------------------------------------------------------------------------------------


def _user(*blocks: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


def _assistant(*blocks: Any) -> dict[str, Any]:
    return {"messages": [HI, {"role": "assistant", "content": list(blocks)}, HI]}


def _document(source: dict[str, Any], **more: Any) -> dict[str, Any]:
    return _user({"type": "document", "source": source, **more})


M0 = "messages[0]"
TEXT = {"type": "text", "media_type": "text/plain", "data": "x"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"container": "c"}, "container"),
        ({"inference_geo": "us"}, "inference_geo"),
        ({"speed": "fast"}, "speed"),
        ({"diagnostics": {"previous_message_id": None}}, "diagnostics"),
        ({"mcp_servers": [{"type": "url"}]}, "mcp_servers"),
        ({"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}, "context_management"),
        ({"compaction": {"type": "summarize"}}, "compaction"),
        ({"fallbacks": "default"}, "fallbacks"),
        ({"fallback_credit_token": "t"}, "fallback_credit_token"),
        ({"thinking": {"type": "between_tools"}}, "thinking.type"),
        ({"thinking": {"type": "adaptive", "display": "updates"}}, "thinking.display"),
        ({"thinking": {"type": "adaptive", "block_binding": {"a": 1}}}, "thinking.block_binding"),
        ({"output_config": {"task_budget": {"type": "tokens", "total": 9}}}, "output_config.task_budget"),
        ({"tools": [{**TOOL, "defer_loading": True}]}, "tools[0].defer_loading"),
        ({"tools": [{**TOOL, "allowed_callers": ["code_execution_20250825"]}]}, "tools[0].allowed_callers"),
        ({"messages": [{"role": "system", "content": "x", "output_config": {"effort": "low"}}]}, f"{M0}.output_config"),
        (_user({"type": "text", "text": "x", "citations": [{"type": "page_location"}]}), f"{M0}.content[0].citations"),
        (_document({"type": "base64", "media_type": "application/pdf", "data": "AA=="}), f"{M0}.content[0].source"),
        (_document({"type": "url", "url": "https://example.org"}), "messages[0].content[0].source"),
        (_document({"type": "file", "file_id": "f"}), "messages[0].content[0].source"),
        (_document(TEXT, citations={"enabled": True}), "messages[0].content[0].citations.enabled"),
        (
            _user({**IMAGE, "transformations": {"oversized_image": "error"}}),
            "messages[0].content[0].transformations.oversized_image",
        ),
        (_user(USE), "messages[0].content[0]"),
        (_assistant(IMAGE), "messages[1].content[0]"),
        (_assistant({**USE, "caller": {"type": "code_execution_20250825"}}), "messages[1].content[0].caller"),
        (_assistant({**USE, "toolset_name": "x"}), "messages[1].content[0].toolset_name"),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Misasked) as caught:
        parsed(**fields)
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", param)


@pytest.mark.parametrize("kind", ["tool_reference", "browser_state"])
def test_results_of_anthropics_tools_are_named(kind: str) -> None:
    block = {"type": kind, "tool_name": "x"} if kind == "tool_reference" else {"type": kind, "tabs": []}
    with pytest.raises(Misasked, match=kind) as caught:
        _with_result({"content": [block]})
    assert caught.value.param == "messages[2].content[0].content[0]"


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"messages": []}, "bad_parameter", "messages"),
        ({"messages": [{"role": "user", "content": ""}]}, "bad_parameter", "messages[0].content"),
        ({"messages": [{"role": "user"}]}, "bad_parameter", "messages[0].content"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "bad_parameter", "messages[0].role"),
        (_user({"type": "poem", "text": "x"}), "bad_parameter", "messages[0].content[0].type"),
        (_user({"type": "text", "text": "x", "colour": 1}), "unknown_parameter", "messages[0].content[0].colour"),
        ({"messages": [{**HI, "clear_at": "never"}]}, "bad_parameter", "messages[0].clear_at"),
        ({"thread": {"type": "create"}}, "thread_unsupported_request", "thread"),
        ({"max_tokens": 0}, "bad_parameter", "max_tokens"),
        ({"temperature": 1.1}, "bad_parameter", "temperature"),
        ({"top_p": -0.1}, "bad_parameter", "top_p"),
        ({"top_k": -1}, "bad_parameter", "top_k"),
        ({"stop_sequences": [""]}, "bad_parameter", "stop_sequences"),
        ({"stop_sequences": ["a"] * 17}, "bad_parameter", "stop_sequences"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1000}}, "bad_parameter", "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, "bad_parameter", "thinking.budget_tokens"),
        ({"output_config": {"effort": "huge"}}, "bad_parameter", "output_config.effort"),
        ({"tool_choice": {"type": "any"}}, "bad_parameter", "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "x"}}, "bad_parameter", "tool_choice.name"),
        ({"tools": [{"name": "a b", "input_schema": OBJECT}]}, "bad_parameter", "tools[0].name"),
        ({"tools": [{"name": "a"}]}, "bad_parameter", "tools[0]"),
        ({"tools": [{"name": "a", "input_schema": {}}]}, "bad_parameter", "tools[0].input_schema.type"),
        ({"tools": [{**TOOL, "colour": 1}]}, "unknown_parameter", "tools[0].colour"),
        ({"tools": [TOOL, TOOL]}, "bad_parameter", "tools[1].name"),
        ({"tools": [TOOL] * 129}, "bad_parameter", "tools"),
        ({"tempreature": 1}, "unknown_parameter", "tempreature"),
        (_assistant(USE), "bad_parameter", "messages[1].content[0]"),
        ({"messages": [HI, {"role": "assistant", "content": [USE]}]}, "bad_parameter", "messages[1].content[0]"),
        (_user({"type": "tool_result", "tool_use_id": "t9"}), "bad_parameter", "messages[0].content[0].tool_use_id"),
        (
            _user({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "!"}}),
            "bad_image",
            "messages[0].content[0].source.data",
        ),
        (
            _user({"type": "image", "source": {"type": "url", "url": "file:///etc/passwd"}}),
            "bad_image_url",
            "messages[0].content[0].source.url",
        ),
        (
            _assistant({"type": "thinking", "thinking": "changed", "signature": signature_of("hm")}),
            "thinking_changed",
            "messages[1].content[0].signature",
        ),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(IntramuralError) as caught:
        parsed(**fields)
    assert (caught.value.code, caught.value.param) == (code, param)


def test_a_count_is_asked_as_a_message_is() -> None:
    body = {key: value for key, value in asked(system="s", tools=[TOOL]).items() if key != "max_tokens"}
    counted = parse.count(bodies.decode(msgspec.json.encode(body), shapes.CountIn), "req_1")
    whole = parsed(system="s", tools=[TOOL])
    assert (counted.messages, counted.tools) == (whole.messages, whole.tools)
