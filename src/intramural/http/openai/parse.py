"""From wire shapes to the internal form, with every range checked here."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from intramural.core.chat import (
    ChatRequest,
    JsonSchema,
    Message,
    MessageRole,
    ResponseFormat,
    Sampling,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
)
from intramural.core.errors import Misasked
from intramural.http.checks import bad, within
from intramural.http.openai import functions, parts, shapes

#: Name of a tool: what every dialect allows.
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
MAX_CHOICES = 8
MAX_TOOLS = 128
MAX_STOPS = 16
MAX_LOGIT_BIAS = 1024
MAX_INPUTS = 256
#: As many as OpenAI takes.
MAX_EMBEDDED = 2048
MAX_DIMENSIONS = 2**20
#: Of the specification: pairs of `metadata`, the length of their names and values.
MAX_METADATA, MAX_METADATA_NAME, MAX_LABEL = 16, 64, 512
#: What else a client may say about a request, and how long it may be.
_LABELS: Mapping[str, int] = {"user": 65_536, "safety_identifier": 64, "prompt_cache_key": 65_536}
_INT63 = 2**63 - 1

#: Fields that cannot be honoured, with the values that ask for nothing or for what is done anyway.
_UNSUPPORTED: Mapping[str, tuple[Any, ...]] = {
    "audio": (),
    "chat_template_kwargs": (),
    "modalities": (["text"],),
    "moderation": (),
    "prediction": (),
    "prompt_cache_options": (),
    "prompt_cache_retention": ("in_memory", "in-memory"),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "verbosity": ("medium",),
    "web_search_options": (),
}
_INSTEAD: Mapping[str, str] = {
    "chat_template_kwargs": "Templates are the administrator's; for thinking use `reasoning_effort`.",
    "moderation": "Leave it out.",
    "store": "Use /v1/responses, which can be kept.",
}
#: `function` is a tool by the time it is asked for (`functions.as_tools`).
_ROLES: Mapping[str, MessageRole] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
#: What each effort of the specification is here.
_EFFORTS: Mapping[str, Thinking] = {
    "none": Thinking("off"),
    "minimal": Thinking("on", "low"),
    "low": Thinking("on", "low"),
    "medium": Thinking("on", "medium"),
    "high": Thinking("on", "high"),
    "xhigh": Thinking("on", "high"),
    "max": Thinking("on", "high"),
}


def chat(wire: shapes.ChatIn, request_id: str) -> ChatRequest:
    """A chat completion request. Raises Misasked naming the parameter."""
    _refuse_unsupported(wire)
    _stream_options(wire)
    wire = functions.as_tools(wire)
    if not wire.messages:
        raise bad("messages", "`messages` is empty.", "Send at least one message.")
    if wire.top_logprobs and not wire.logprobs:
        raise bad("top_logprobs", "`top_logprobs` needs `logprobs: true`.", "Set both or neither.")
    tools, choice = _tool_choice(wire.tool_choice, _tools(wire.tools or []))
    _continued(wire)
    return ChatRequest(
        id=request_id,
        model=wire.model,
        messages=tuple(_message(each, f"messages[{i}]") for i, each in enumerate(wire.messages)),
        sampling=Sampling(
            temperature=within("temperature", wire.temperature, 0, 2),
            top_p=within("top_p", wire.top_p, 0, 1),
            top_k=within("top_k", wire.top_k, 0, 1_000_000),
            min_p=within("min_p", wire.min_p, 0, 1),
            presence_penalty=within("presence_penalty", wire.presence_penalty, -2, 2),
            frequency_penalty=within("frequency_penalty", wire.frequency_penalty, -2, 2),
            logit_bias=_logit_bias(wire.logit_bias),
            seed=within("seed", wire.seed, -_INT63 - 1, _INT63),
            max_tokens=_max_tokens(wire),
            stop=_stop(wire.stop),
            logprobs=bool(wire.logprobs),
            top_logprobs=within("top_logprobs", wire.top_logprobs, 0, 20) or 0,
        ),
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=wire.parallel_tool_calls is not False,
        response_format=_format(wire.response_format),
        choices=_choices(wire.n),
        thinking=_EFFORTS[wire.reasoning_effort] if wire.reasoning_effort else Thinking(),
        deterministic=bool(wire.deterministic),
        labels=labels(wire),
    )


def labels(wire: msgspec.Struct) -> dict[str, str]:
    """What the client says about the request, within the specification's bounds. Pairs are named `metadata.key`."""
    pairs: Mapping[str, str] = getattr(wire, "metadata", None) or {}
    if len(pairs) > MAX_METADATA:
        raise bad("metadata", f"`metadata` has {len(pairs)} pairs.", f"Send at most {MAX_METADATA}.")
    for name, value in pairs.items():
        if len(name) > MAX_METADATA_NAME or len(value) > MAX_LABEL:
            bounds = f"Names take {MAX_METADATA_NAME} characters, values {MAX_LABEL}."
            raise bad("metadata", f"`metadata` entry {name[:MAX_METADATA_NAME]!r} is too long.", bounds)
    found = {f"metadata.{name}": value for name, value in pairs.items()}
    for field, most in _LABELS.items():
        said = getattr(wire, field, None)
        if said is not None and len(said) > most:
            raise bad(field, f"`{field}` is too long.", f"It takes {most} characters.")
        if said:
            found[field] = said
    return found


def _stream_options(wire: shapes.ChatIn | shapes.CompletionIn) -> None:
    options = wire.stream_options
    if options is None:
        return
    if not wire.stream:
        raise bad("stream_options", "`stream_options` needs `stream: true`.", "Set both or neither.")
    if options.include_obfuscation:
        raise Misasked(
            "unsupported_parameter", "`stream_options.include_obfuscation` is not supported.",
            "Leave it out; the way to this service is encrypted by whoever runs it.",
            param="stream_options.include_obfuscation",
        )  # fmt: skip


def _continued(wire: shapes.ChatIn) -> None:
    """An assistant's last message is gone on from: `continue_final_message` may say so, and not the contrary."""
    if wire.continue_final_message is None:
        return
    if wire.continue_final_message != (wire.messages[-1].role == "assistant"):
        raise bad(
            "continue_final_message", "An assistant's message is gone on from if it is the last, and no other is.",
            "Leave it out.",
        )  # fmt: skip


def completions(wire: shapes.CompletionIn, new_id: Any) -> tuple[ChatRequest, ...]:
    """One request per prompt; `new_id()` gives each its identifier."""
    _refuse_unsupported(wire)
    _stream_options(wire)
    if wire.best_of is not None and wire.best_of != (wire.n or 1):
        raise Misasked(
            "unsupported_parameter", "`best_of` is not supported: every answer that is written is given.", "Use `n`.",
            param="best_of",
        )  # fmt: skip
    if wire.echo and wire.logprobs is not None:
        raise bad("echo", "`echo` with `logprobs` is not supported.", "Ask for one of them.")
    sampling = Sampling(
        temperature=within("temperature", wire.temperature, 0, 2),
        top_p=within("top_p", wire.top_p, 0, 1),
        presence_penalty=within("presence_penalty", wire.presence_penalty, -2, 2),
        frequency_penalty=within("frequency_penalty", wire.frequency_penalty, -2, 2),
        logit_bias=_logit_bias(wire.logit_bias),
        seed=within("seed", wire.seed, -_INT63 - 1, _INT63),
        max_tokens=within("max_tokens", 16 if wire.max_tokens is None else wire.max_tokens, 1, _INT63),
        stop=_stop(wire.stop),
        logprobs=wire.logprobs is not None,
        top_logprobs=within("logprobs", wire.logprobs, 0, 5) or 0,
    )
    prompts = inputs(wire.prompt, "prompt")
    if wire.echo and not all(isinstance(each, str) for each in prompts):
        raise bad("echo", "`echo` needs prompts that are text.", "Send text, or do not ask for an echo.")
    return tuple(
        ChatRequest(
            id=new_id(),
            model=wire.model,
            prompt=each,
            sampling=sampling,
            choices=_choices(wire.n),
            suffix=wire.suffix or None,
            deterministic=bool(wire.deterministic),
            labels=labels(wire),
        )
        for each in prompts
    )


def echoed(asked: ChatRequest) -> str:
    """The prompt as `echo` repeats it (text: `completions` refused token ids)."""
    return asked.prompt if isinstance(asked.prompt, str) else ""


def inputs(given: str | Sequence[Any], name: str, most: int = MAX_INPUTS) -> tuple[str | tuple[int, ...], ...]:
    """`prompt` and `input`: a text, texts, token ids or lists of token ids, as a tuple of single inputs."""
    single: tuple[str | tuple[int, ...], ...]
    if isinstance(given, str):
        single = (given,)
    elif given and all(isinstance(each, int) for each in given):
        single = (tuple(int(token) for token in given),)
    elif all(isinstance(each, str) for each in given) or all(isinstance(each, list) for each in given):
        single = tuple(each if isinstance(each, str) else tuple(each) for each in given)
    else:
        raise bad(name, f"`{name}` mixes texts and token ids.", "Send one kind.")
    if not 1 <= len(single) <= most:
        raise bad(name, f"`{name}` has {len(single)} entries.", f"Send 1 to {most}.")
    for each in single:
        if len(each) == 0:
            raise bad(name, f"`{name}` holds an empty entry.", "Send some text.")
        if not isinstance(each, str) and not all(0 <= token < 2**31 for token in each):
            raise bad(name, f"`{name}` holds a number that is not a token id.", "Token ids are from 0 to 2147483647.")
    return single


def embeddings(wire: shapes.EmbeddingIn) -> tuple[str | tuple[int, ...], ...]:
    """The inputs to embed."""
    within("dimensions", wire.dimensions, 1, MAX_DIMENSIONS)
    return inputs(wire.input, "input", most=MAX_EMBEDDED)


def _message(wire: shapes.MessageIn, where: str) -> Message:
    if wire.audio is not None:
        raise Misasked(
            "unsupported_parameter", f"`{where}.audio` is not supported.", "Leave it out.", param=f"{where}.audio"
        )
    if wire.role == "tool" and not wire.tool_call_id:
        raise bad(f"{where}.tool_call_id", "A tool's message needs `tool_call_id`.", "Name the call it answers.")
    given = wire.refusal if wire.content is None and wire.role == "assistant" else wire.content
    if given is None and not wire.tool_calls:
        raise bad(f"{where}.content", f"`{where}` has no content.", "Send a text.")
    content, in_order = parts.content(given, wire.role, where)
    return Message(
        role=_ROLES[wire.role],
        content=content,
        parts=in_order,
        name=wire.name,
        tool_calls=tuple(ToolCall(c.id, c.function.name, c.function.arguments) for c in wire.tool_calls or ()),
        tool_call_id=wire.tool_call_id,
        reasoning=(wire.reasoning or wire.reasoning_content or None) if wire.role == "assistant" else None,
    )


def _tools(wire: list[shapes.ToolIn]) -> tuple[Tool, ...]:
    described = [(each.function.name, each.function.description, each.function.parameters) for each in wire]
    return functions_as_tools(described, ".function.name")


def functions_as_tools(functions: Sequence[tuple[str, str, JsonSchema | None]], place: str) -> tuple[Tool, ...]:
    """Functions (name, description, parameters) in the internal form. `place`: where in a tool its name stands.

    Raises Misasked naming the one at fault.
    """
    if len(functions) > MAX_TOOLS:
        raise bad("tools", f"{len(functions)} tools are too many.", f"Send at most {MAX_TOOLS}.")
    names = [name for name, _, _ in functions]
    for i, name in enumerate(names):
        if not _TOOL_NAME.fullmatch(name):
            raise bad(f"tools[{i}]{place}", f"{name!r} is not a tool name.", "Use A-Z a-z 0-9 _ - (1 to 64).")
        if name in names[:i]:
            raise bad(f"tools[{i}]{place}", f"Two tools are named {name!r}.", "Rename one.")
    nothing = {"type": "object", "properties": {}, "additionalProperties": False}
    return tuple(Tool(name, description, parameters or nothing) for name, description, parameters in functions)


def _tool_choice(
    wire: str | shapes.NamedChoice | shapes.AllowedChoice | None, tools: tuple[Tool, ...]
) -> tuple[tuple[Tool, ...], ToolChoice]:
    """The tools that may be called, and whether one may or must."""
    if isinstance(wire, shapes.AllowedChoice):
        allowed = {_known(each, tools, "tool_choice.allowed_tools.tools") for each in wire.allowed_tools.tools}
        tools = tuple(tool for tool in tools if tool.name in allowed)
        wire = wire.allowed_tools.mode
    if isinstance(wire, shapes.NamedChoice):
        return tools, ToolChoice("named", _known(wire, tools, "tool_choice"))
    if wire == "required":
        if not tools:
            raise bad("tool_choice", "`tool_choice: required` needs `tools`.", "Send the tools.")
        return tools, ToolChoice("required")
    return tools, ToolChoice("none" if wire == "none" or not tools else "auto")


def _known(choice: shapes.NamedChoice, tools: tuple[Tool, ...], where: str) -> str:
    name = choice.function.name
    if all(tool.name != name for tool in tools):
        raise bad(where, f"No tool is named {name!r}.", "Name one of `tools`.")
    return name


def _format(wire: shapes.FormatIn | None) -> ResponseFormat:
    if wire is None or wire.type == "text":
        return ResponseFormat()
    if wire.type == "json_object":
        return ResponseFormat("json_object")
    if wire.json_schema is None or wire.json_schema.schema is None:
        raise bad("response_format.json_schema", "`response_format.json_schema.schema` is missing.", "Send a schema.")
    return ResponseFormat("json_schema", wire.json_schema.schema)


def _max_tokens(wire: shapes.ChatIn) -> int | None:
    if wire.max_completion_tokens is not None:
        return within("max_completion_tokens", wire.max_completion_tokens, 1, _INT63)
    return within("max_tokens", wire.max_tokens, 1, _INT63)


def _stop(wire: str | list[str] | None) -> tuple[str, ...]:
    stops = (wire,) if isinstance(wire, str) else tuple(wire or ())
    if len(stops) > MAX_STOPS or any(not 0 < len(each) <= 1024 for each in stops):
        raise bad("stop", "`stop` is out of bounds.", f"Send at most {MAX_STOPS} texts of 1 to 1024 characters.")
    return stops


def _logit_bias(wire: dict[str, float] | None) -> Mapping[int, float]:
    bias = wire or {}
    if len(bias) > MAX_LOGIT_BIAS:
        raise bad("logit_bias", f"`logit_bias` has {len(bias)} entries.", f"Send at most {MAX_LOGIT_BIAS}.")
    for token, value in bias.items():
        if not (token.isascii() and token.isdecimal() and len(token) < 10) or not -100 <= value <= 100:
            raise bad("logit_bias", f"`logit_bias` entry {token!r} is out of bounds.", "Token id → -100 to 100.")
    return {int(token): value for token, value in bias.items()}


def _choices(n: int | None) -> int:
    return within("n", n, 1, MAX_CHOICES) or 1


def _refuse_unsupported(wire: msgspec.Struct) -> None:
    for field, neutral in _UNSUPPORTED.items():
        value = getattr(wire, field, None)
        if value is not None and value not in neutral:
            raise Misasked(
                "unsupported_parameter",
                f"`{field}` is not supported.",
                _INSTEAD.get(field, "Leave it out."),
                param=field,
            )
