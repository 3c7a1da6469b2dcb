"""What a request asks for besides its conversation: checked, with every range, as the internal form and as the head of
the response object that repeats it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from intramural.core.chat import ChatRequest, Effort, ResponseFormat, Sampling, Thinking, Tool, ToolChoice
from intramural.core.errors import Misasked
from intramural.http import bodies
from intramural.http.checks import bad, within
from intramural.http.openai.responses import checks, head, shapes
from intramural.http.openai.responses.checks import unsupported

MAX_LABEL_CHARS = 512
#: The specification's defaults for what a request leaves open.
TEMPERATURE, TOP_P = 1.0, 1.0
_INT63 = 2**63 - 1
_MAX_TOKENS = 2**24

#: Fields that cannot be honoured, with the values that ask for nothing.
_UNSUPPORTED: Mapping[str, tuple[Any, ...]] = {
    "access_programs": (),
    "context_management": ([],),
    "moderation": (),
    "prompt": (),
    "prompt_cache_options": ({}, {"mode": "implicit"}),
    "prompt_cache_retention": ("in_memory",),
}
_INSTEAD: Mapping[str, str] = {
    "prompt": "Send the prompt itself, as `instructions` and `input`.",
    "context_management": "Set `truncation`, or begin anew with a shorter input.",
}
_EFFORTS: Mapping[str, Effort] = {"minimal": "low", "low": "low", "medium": "medium"}


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything but the conversation. `request` lacks its messages; `head` is the response object as far as known."""

    request: ChatRequest
    head: dict[str, Any]
    logprobs: bool
    summarise: bool
    sealed: bool
    obfuscate: bool


def settings(wire: shapes.CreateIn, request_id: str, *, store: bool) -> Settings:
    """The request's settings. `store`: whether the response will be kept. Raises Misasked naming the parameter."""
    _refuse_unsupported(wire)
    _refuse_contradictions(wire, store=store)
    tools = _tools(wire.tools or [])
    choice, offered = _choice(wire.tool_choice, tools)
    included = set(wire.include or ())
    logprobs = "message.output_text.logprobs" in included or bool(wire.top_logprobs)
    sampling = Sampling(
        temperature=_or(within("temperature", wire.temperature, 0, 2), TEMPERATURE),
        top_p=_or(within("top_p", wire.top_p, 0, 1), TOP_P),
        presence_penalty=within("presence_penalty", wire.presence_penalty, -2, 2),
        frequency_penalty=within("frequency_penalty", wire.frequency_penalty, -2, 2),
        max_tokens=_at_most(within("max_output_tokens", wire.max_output_tokens, 1, _INT63)),
        logprobs=logprobs,
        top_logprobs=within("top_logprobs", wire.top_logprobs, 0, 20) or 0,
    )
    within("max_tool_calls", wire.max_tool_calls, 1, _INT63)
    request = ChatRequest(
        id=request_id,
        model=wire.model,
        sampling=sampling,
        tools=offered,
        tool_choice=choice,
        parallel_tool_calls=wire.parallel_tool_calls is not False,
        response_format=_format(wire.text),
        thinking=_thinking(wire.reasoning),
        labels=_labels(wire),
    )
    return Settings(
        request=request,
        head=head.of(wire, request, store=store),
        logprobs=logprobs,
        summarise=head.summary(wire.reasoning) is not None,
        sealed="reasoning.encrypted_content" in included,
        obfuscate=bool(wire.stream_options and wire.stream_options.include_obfuscation),
    )


def counted(wire: shapes.CountIn, model: str, request_id: str) -> ChatRequest:
    """A request whose tokens are to be counted, without its messages."""
    if wire.personality is not None:
        raise unsupported("personality", "Write it into `instructions`.")
    tools = _tools(wire.tools or [])
    choice, offered = _choice(wire.tool_choice, tools)
    return ChatRequest(
        id=request_id,
        model=model,
        tools=offered,
        tool_choice=choice,
        response_format=_format(wire.text),
        thinking=_thinking(wire.reasoning),
    )


def _refuse_unsupported(wire: shapes.CreateIn) -> None:
    for field, neutral in _UNSUPPORTED.items():
        value = getattr(wire, field)
        if value is not None and value not in neutral:
            raise unsupported(field, _INSTEAD.get(field, "Leave it out."))
    if wire.image is not None and wire.image.context_compression == "enabled":
        raise unsupported("image.context_compression", "Send smaller images.")


def _refuse_contradictions(wire: shapes.CreateIn, *, store: bool) -> None:
    conversation = head.conversation_id(wire.conversation)
    if conversation is not None and wire.previous_response_id is not None:
        raise bad(
            "previous_response_id", "`previous_response_id` and `conversation` exclude each other.", "Send one of them."
        )
    if not wire.input and conversation is None and wire.previous_response_id is None:
        raise bad("input", "`input` is missing.", "Send a text or items.")
    if wire.background and not store:
        raise bad("background", "A background response has to be stored.", "Send `store: true`, or stay connected.")


def _tools(wire: list[dict[str, Any]]) -> tuple[Tool, ...]:
    shaped = [_tool(raw, f"tools[{i}]") for i, raw in enumerate(wire)]
    return checks.tools(shaped)


def _tool(raw: dict[str, Any], where: str) -> shapes.ToolIn:
    kind = raw.get("type")
    if isinstance(kind, str) and kind != "function":
        raise Misasked(
            "unsupported_tool",
            f"`{where}` is of type {kind[:64]!r}; this service has no tools of its own.",
            "Offer tools of type `function`, and run them yourself.",
            param=f"{where}.type",
        )
    tool: shapes.ToolIn = bodies.convert(raw, shapes.ToolIn, where)
    for field, neutral in (("allowed_callers", ["direct"]), ("defer_loading", False), ("is_async", False)):
        if getattr(tool, field) not in (None, neutral):
            raise unsupported(f"{where}.{field.removeprefix('is_')}", "Leave it out.")
    if tool.output_schema is not None:
        raise unsupported(f"{where}.output_schema", "Describe the output in `description`.")
    return tool


def _choice(wire: str | shapes.ChoiceIn | None, tools: tuple[Tool, ...]) -> tuple[ToolChoice, tuple[Tool, ...]]:
    """What is chosen, and which of the tools the model gets to see."""
    if not isinstance(wire, shapes.ChoiceIn):
        if wire == "required" and not tools:
            raise bad("tool_choice", "`tool_choice: required` needs `tools`.", "Send the tools.")
        if wire == "none" or not tools:
            return ToolChoice("none"), tools
        return ToolChoice("required" if wire == "required" else "auto"), tools
    names = {tool.name for tool in tools}
    if wire.type == "function":
        if wire.name not in names:
            raise bad("tool_choice.name", f"No tool is named {wire.name!r}.", "Name one of `tools`.")
        return ToolChoice("named", wire.name), tools
    if wire.type != "allowed_tools":
        raise unsupported("tool_choice.type", "It can be `function` or `allowed_tools`.")
    if not wire.tools or any(each.type != "function" or each.name not in names for each in wire.tools):
        raise bad("tool_choice.tools", "Only functions among `tools` can be allowed.", "Name some of them.")
    allowed = {each.name for each in wire.tools}
    return ToolChoice(wire.mode or "auto"), tuple(tool for tool in tools if tool.name in allowed)


def _format(wire: shapes.TextIn | None) -> ResponseFormat:
    if wire is None:
        return ResponseFormat()
    if wire.verbosity not in (None, "medium"):
        raise unsupported("text.verbosity", "Ask for it in `instructions`.")
    if wire.format is None or wire.format.type == "text":
        return ResponseFormat()
    if wire.format.type == "json_object":
        return ResponseFormat("json_object")
    if wire.format.schema is None:
        raise bad("text.format.schema", "`text.format.schema` is missing.", "Send a schema.")
    return ResponseFormat("json_schema", wire.format.schema)


def _thinking(wire: shapes.ReasoningIn | None) -> Thinking:
    if wire is None:
        return Thinking()
    if wire.context not in (None, "auto"):
        raise unsupported("reasoning.context", "Leave it out.")
    if wire.mode not in (None, "standard"):
        raise unsupported("reasoning.mode", "Leave it out.")
    if "concise" in (wire.summary, wire.generate_summary):
        raise unsupported("reasoning.summary", "Thinking is not shortened here: ask for `auto` or `detailed`.")
    if wire.effort is None:
        return Thinking()
    if wire.effort == "none":
        return Thinking("off")
    return Thinking("on", _EFFORTS.get(wire.effort, "high"))


def _labels(wire: shapes.CreateIn) -> dict[str, str]:
    metadata = checks.metadata(wire.metadata)
    labels = {f"metadata.{name}": value for name, value in metadata.items()}
    for name in ("user", "safety_identifier", "prompt_cache_key"):
        value = getattr(wire, name)
        if value is None:
            continue
        if len(value) > MAX_LABEL_CHARS:
            raise bad(name, f"`{name}` has over {MAX_LABEL_CHARS} characters.", "Shorten it.")
        labels[name] = value
    return labels


def _at_most(tokens: int | None) -> int | None:
    """A limit beyond every context is none that an engine would have to know."""
    return None if tokens is None else min(tokens, _MAX_TOKENS)


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
