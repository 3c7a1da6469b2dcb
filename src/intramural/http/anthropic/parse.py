"""From wire shapes to the internal form, with every range checked here."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from intramural.core.chat import ChatRequest, Effort, ResponseFormat, Sampling, Thinking, Tool, ToolChoice
from intramural.core.errors import Misasked
from intramural.http import bodies
from intramural.http.anthropic import shapes
from intramural.http.anthropic.turns import conversation, unsupported
from intramural.http.anthropic.write import Form
from intramural.http.checks import bad, within

_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
MAX_TOOLS = 128
MAX_STOPS = 16
MIN_THINKING_TOKENS = 1024
_INT63 = 2**63 - 1

#: Fields that cannot be honoured, with the values that ask for nothing.
_UNSUPPORTED: Mapping[str, tuple[Any, ...]] = {
    "speed": ("standard",),
    "mcp_servers": ([],),
    "context_management": (
        {},
        {"edits": []},
        {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        {"edits": [{"type": "clear_thinking_20251015", "keep": {"type": "all"}}]},
    ),
    "compaction": (),
    "container": (),
    "inference_geo": ("global",),
    "diagnostics": (),
    "fallbacks": ([],),
    "fallback_credit_token": (),
}
_WHY: Mapping[str, str] = {
    "speed": "There is one speed: `standard`.",
    "mcp_servers": "Give the model tools of your own instead: this service connects to no other.",
    "context_management": "Leave out of `messages` what the model need not see any more.",
    "container": "Code is not executed here.",
    "inference_geo": "Answers are computed where this service runs.",
}
#: Templates know three degrees; what is beyond them is the highest.
_EFFORT: Mapping[str, Effort] = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}


def message(wire: shapes.MessagesIn, request_id: str, *, profile: str | None = None) -> ChatRequest:
    """A message to be written; `profile` is the user profile that a header names. Raises Misasked with its field."""
    labels = {"user_id": wire.metadata and wire.metadata.user_id, "user_profile_id": wire.user_profile_id or profile}
    sampling = Sampling(
        temperature=within("temperature", wire.temperature, 0, 1),
        top_p=within("top_p", wire.top_p, 0, 1),
        top_k=within("top_k", wire.top_k, 0, 1_000_000),
        max_tokens=within("max_tokens", wire.max_tokens, 1, _INT63),
        stop=_stops(wire.stop_sequences or []),
    )
    return _request(wire, request_id, sampling, {name: value for name, value in labels.items() if value})


def count(wire: shapes.CountIn, request_id: str) -> ChatRequest:
    """A prompt whose tokens are to be counted. Raises Misasked with its field."""
    return _request(wire, request_id, Sampling(), {})


def form(wire: shapes.MessagesIn) -> Form:
    """How the answer is to be written."""
    thinking = wire.thinking
    hides = isinstance(thinking, shapes.ThinkingEnabled | shapes.ThinkingAdaptive) and thinking.display == "omitted"
    whole = (str(each.get("name")) for each in wire.tools or [] if each.get("eager_input_streaming") is False)
    return Form(hides, frozenset(whole))


def _request(
    wire: shapes.MessagesIn | shapes.CountIn, request_id: str, sampling: Sampling, labels: dict[str, str]
) -> ChatRequest:
    _refuse_unsupported(wire)
    tools = _tools(wire.tools or [])
    choice = wire.tool_choice
    parallel = isinstance(choice, shapes.ChoiceNone) or not (choice and choice.disable_parallel_tool_use)
    return ChatRequest(
        id=request_id,
        model=wire.model,
        messages=conversation(wire.system, wire.messages),
        sampling=sampling,
        tools=tools,
        tool_choice=_tool_choice(choice, tools),
        parallel_tool_calls=parallel,
        response_format=_format(wire),
        thinking=_thinking(wire, sampling.max_tokens),
        labels=labels,
    )


def _tools(given: Sequence[dict[str, Any]]) -> tuple[Tool, ...]:
    if len(given) > MAX_TOOLS:
        raise bad("tools", f"{len(given)} tools are too many.", f"Send at most {MAX_TOOLS}.")
    tools = [_tool(each, f"tools[{i}]") for i, each in enumerate(given)]
    for i, tool in enumerate(tools):
        if tool.name in {other.name for other in tools[:i]}:
            raise bad(f"tools[{i}].name", f"Two tools are named {tool.name!r}.", "Rename one.")
    return tuple(tools)


def _tool(given: dict[str, Any], where: str) -> Tool:
    if given.get("type") not in (None, "custom"):
        hint = "Describe a tool of your own, with `name` and `input_schema`."
        raise unsupported(f"{where}.type", hint, f"The tool type {given['type']!r}")
    wire = bodies.convert(given, shapes.ToolIn, where)
    if not _TOOL_NAME.fullmatch(wire.name):
        raise bad(f"{where}.name", f"{wire.name!r} is not a tool name.", "Use A-Z a-z 0-9 _ - (1 to 128).")
    if wire.input_schema.get("type") != "object":
        raise bad(f"{where}.input_schema.type", "The schema of a tool's input is not of type object.", "Say `object`.")
    if wire.defer_loading:
        raise unsupported(f"{where}.defer_loading", "All tools are shown to the model at once.")
    if wire.allowed_callers not in (None, ["direct"]):
        raise unsupported(f"{where}.allowed_callers", "Only the model itself calls tools here: `direct`.")
    description = wire.description or ""
    for example in wire.input_examples or []:
        description += f"\nExample of its input: {msgspec.json.encode(example).decode()}"
    return Tool(wire.name, description.lstrip(), wire.input_schema)


def _tool_choice(choice: Any, tools: Sequence[Tool]) -> ToolChoice:
    match choice:
        case shapes.ChoiceAny():
            if not tools:
                raise bad("tool_choice", "`tool_choice` `any` needs `tools`.", "Send the tools.")
            return ToolChoice("required")
        case shapes.ChoiceTool():
            if choice.name not in {tool.name for tool in tools}:
                raise bad("tool_choice.name", f"No tool is named {choice.name!r}.", "Name one of `tools`.")
            return ToolChoice("named", choice.name)
        case shapes.ChoiceNone():
            return ToolChoice("none")
        case _:
            return ToolChoice("auto" if tools else "none")


def _thinking(wire: shapes.MessagesIn | shapes.CountIn, max_tokens: int | None) -> Thinking:
    effort = _EFFORT[wire.output_config.effort] if wire.output_config and wire.output_config.effort else None
    given = wire.thinking
    if isinstance(given, shapes.ThinkingEnabled | shapes.ThinkingAdaptive):
        if given.display == "updates":
            raise unsupported("thinking.display", "Ask for `summarized` or `omitted`.", "`updates`")
        if given.block_binding:
            raise unsupported("thinking.block_binding", "Leave it out.")
    match given:
        case shapes.ThinkingEnabled():
            if given.budget_tokens < MIN_THINKING_TOKENS or (max_tokens or _INT63) <= given.budget_tokens:
                raise bad(
                    "thinking.budget_tokens",
                    f"`thinking.budget_tokens` is {given.budget_tokens}.",
                    f"It must be at least {MIN_THINKING_TOKENS} and less than `max_tokens`.",
                )
            return Thinking("on", effort, given.budget_tokens)
        case shapes.ThinkingDisabled():
            return Thinking("off", effort)
        case shapes.ThinkingBetweenTools():
            raise unsupported("thinking.type", "Ask for `enabled`, `adaptive` or `disabled`.", "`between_tools`")
        case _:
            return Thinking("default", effort)


def _format(wire: shapes.MessagesIn | shapes.CountIn) -> ResponseFormat:
    asked = wire.output_config.format if wire.output_config else None
    if wire.output_config and wire.output_config.task_budget is not None:
        raise unsupported("output_config.task_budget", "Use `max_tokens`.")
    if asked and wire.output_format:
        raise bad("output_format", "`output_format` and `output_config.format` are both set.", "Send the latter.")
    asked = asked or wire.output_format
    return ResponseFormat("json_schema", asked.schema) if asked else ResponseFormat()


def _stops(given: Sequence[str]) -> tuple[str, ...]:
    if len(given) > MAX_STOPS or any(not 0 < len(each) <= 1024 for each in given):
        hint = f"Send at most {MAX_STOPS} texts of 1 to 1024 characters."
        raise bad("stop_sequences", "`stop_sequences` is out of bounds.", hint)
    return tuple(given)


def _refuse_unsupported(wire: msgspec.Struct) -> None:
    if getattr(wire, "thread", None) is not None:
        # This very code: with it Anthropic's client goes on by itself, sending the whole conversation each time.
        hint = "Send the whole conversation without `thread`."
        raise Misasked("thread_unsupported_request", "Threads are not kept here.", hint, param="thread")
    for field, neutral in _UNSUPPORTED.items():
        value = getattr(wire, field, None)
        if value is not None and value not in neutral:
            raise unsupported(field, _WHY.get(field, "Leave it out."))
