"""From wire shapes to the internal form, with every range checked here. Pure; what cannot be had is refused by name."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from intramural.core.chat import (
    ChatRequest,
    Image,
    Message,
    MessageRole,
    ResponseFormat,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
)
from intramural.core.errors import Misasked
from intramural.http.checks import bad
from intramural.http.ollama import options, shapes
from intramural.http.ollama.names import canonical

MAX_TOOLS: Final = 128
MAX_INPUTS: Final = 2048
MAX_DIMENSIONS: Final = 65_536
_TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ROLES: Final[Mapping[str, MessageRole]] = {
    "system": "system", "user": "user", "assistant": "assistant", "tool": "tool",
}  # fmt: skip
_NEVER_S: Final = -1.0
_UNIT_S: Final[Mapping[str, float]] = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0,
}  # fmt: skip
_DURATION: Final = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+")
_PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
#: Longer than anybody means: 292 years, where Go's own durations end.
_MAX_KEEP_S: Final = 2.0**63 / 1e9

#: Fields that cannot be honoured: (values that ask for nothing, what to do instead).
_REFUSED: Final[Mapping[str, tuple[tuple[Any, ...], str]]] = {
    "template": (("",), "A model answers with the template that was inspected with it; say what you want in `system`."),
    "context": (([],), "Send the conversation itself, to /api/chat."),
    "debug_render_only": ((False,), "Leave it out."),
    "width": ((0,), "No model here makes pictures."),
    "height": ((0,), "No model here makes pictures."),
    "steps": ((0,), "No model here makes pictures."),
}
_WIRE_NAMES: Final = {"debug_render_only": "_debug_render_only"}
_NO_ARGUMENTS: Final = {"type": "object", "properties": {}, "additionalProperties": False}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for, besides the generation itself.

    `keep_alive_s`: how long the model shall stay loaded afterwards; negative: for ever; None: as the settings say.
    `context_tokens` must at least be there. `without_effect` names what was given and changes nothing.
    """

    request: ChatRequest
    stream: bool
    keep_alive_s: float | None
    context_tokens: int | None
    without_effect: tuple[str, ...]


def chat(wire: shapes.ChatIn, request_id: str) -> Asked:
    """A conversation to answer; without messages it only loads or unloads. Raises Misasked naming the parameter."""
    _refuse_unsupported(wire)
    tools = _tools(wire.tools or [])
    request = ChatRequest(
        id=request_id,
        model=canonical(wire.model),
        messages=_messages(wire.messages or []),
        sampling=options.sampling(wire.options, logprobs=wire.logprobs, top_logprobs=wire.top_logprobs),
        tools=tools,
        tool_choice=ToolChoice("auto" if tools else "none"),
        response_format=format_(wire.format),
        thinking=thinking(wire.think),
    )
    return _asked(request, wire)


def generate(wire: shapes.GenerateIn, request_id: str) -> Asked:
    """A prompt to answer (through the chat template), to go on from (`raw`), or to fill up to `suffix`."""
    _refuse_unsupported(wire)
    prompt, plain = wire.prompt or "", bool(wire.raw or wire.suffix)
    if plain:
        for name in ("system", "images", "think"):
            if getattr(wire, name):
                why = "raw" if wire.raw else "suffix"
                hint = f"Leave out `{name}` or `{why}`: the text goes to the model as it is."
                raise bad(name, f"`{name}` and `{why}` exclude each other.", hint)
    images = tuple(Image(data=each) for each in wire.images or ())
    user = Message("user", prompt, parts=(*images, prompt) if images else ())
    system = (Message("system", wire.system),) if wire.system else ()
    request = ChatRequest(
        id=request_id,
        model=canonical(wire.model),
        messages=() if plain else (*system, user),
        prompt=prompt if plain else None,
        suffix=wire.suffix or None,
        sampling=options.sampling(wire.options, logprobs=wire.logprobs, top_logprobs=wire.top_logprobs),
        tool_choice=ToolChoice("none"),
        response_format=format_(wire.format),
        thinking=thinking(wire.think),
    )
    return _asked(request, wire)


def _asked(request: ChatRequest, wire: shapes.ChatIn | shapes.GenerateIn) -> Asked:
    # Nothing is ever cut silently here: leave to do so changes nothing, and a prompt that is too long is an error.
    cutting = [name for name in ("truncate", "shift") if getattr(wire, name)]
    return Asked(
        request=request,
        stream=wire.stream is not False,
        keep_alive_s=keep_alive_s(wire.keep_alive),
        context_tokens=options.context_tokens(wire.options),
        without_effect=(*cutting, *options.without_effect(wire.options)),
    )


@dataclass(frozen=True, slots=True)
class AskedVectors:
    """Texts to make vectors of. `dimensions` None: all; `cut`: of a text that is too long the beginning counts."""

    model: str
    inputs: tuple[str, ...]
    dimensions: int | None
    cut: bool
    keep_alive_s: float | None
    context_tokens: int | None
    without_effect: tuple[str, ...]


def embed(wire: shapes.EmbedIn) -> AskedVectors:
    """Without a text it only loads the model. Raises Misasked naming the parameter."""
    inputs = ((wire.input,) if wire.input else ()) if isinstance(wire.input, str) else tuple(wire.input or ())
    if len(inputs) > MAX_INPUTS:
        raise bad("input", f"`input` has {len(inputs)} texts.", f"Send at most {MAX_INPUTS}.")
    if not all(inputs):
        raise bad("input", "`input` holds an empty text.", "Send some text.")
    if wire.dimensions is not None and not 0 <= wire.dimensions <= MAX_DIMENSIONS:
        raise bad("dimensions", f"`dimensions` is {wire.dimensions}.", f"It must be from 1 to {MAX_DIMENSIONS}.")
    return AskedVectors(
        model=canonical(wire.model),
        inputs=inputs,
        dimensions=wire.dimensions or None,
        cut=wire.truncate is not False,
        keep_alive_s=keep_alive_s(wire.keep_alive),
        context_tokens=options.context_tokens(wire.options),
        without_effect=tuple(options.without_effect_on_vectors(wire.options)),
    )


def embeddings(wire: shapes.EmbeddingsIn) -> AskedVectors:
    """The older way: one text, and never cut."""
    return embed(
        shapes.EmbedIn(wire.model, wire.prompt, truncate=False, keep_alive=wire.keep_alive, options=wire.options)
    )


def keep_alive_s(given: float | str | None) -> float | None:
    """Seconds; negative: for ever. Numbers are seconds, texts Go's durations (`5m`, `1h30m`, `300ms`, `-1s`, `0`)."""
    if given is None:
        return None
    seconds = _seconds(given) if isinstance(given, str) else float(given)
    if seconds != seconds:
        raise _bad_keep_alive(given)
    return _NEVER_S if seconds < 0 or seconds >= _MAX_KEEP_S else seconds


def format_(given: Any) -> ResponseFormat:
    """`""`, `"json"` or a JSON schema."""
    match given:
        case None | "":
            return ResponseFormat()
        case "json":
            return ResponseFormat("json_object")
        case dict():
            return ResponseFormat("json_schema", given)
    raise bad("format", "`format` is neither `json` nor a JSON schema.", 'Send "json", or an object that is a schema.')


def thinking(given: bool | str | None) -> Thinking:
    """true, false, or how much. The most there is here is `high`: `max` means that."""
    match given:
        case None:
            return Thinking()
        case True:
            return Thinking("on")
        case False:
            return Thinking("off")
        case "low" | "medium" | "high":
            return Thinking("on", given)
        case "max":
            return Thinking("on", "high")
    raise bad("think", f"`think` is {given!r}.", 'It must be true, false, "low", "medium", "high" or "max".')


def _messages(wire: Sequence[shapes.MessageIn]) -> tuple[Message, ...]:
    """With identifiers for calls that came without: a tool's message answers the oldest open call of its name."""
    open_calls: list[ToolCall] = []
    found = []
    for i, each in enumerate(wire):
        where = f"messages[{i}]"
        role = _ROLES.get(each.role.lower())
        if role is None:
            raise bad(f"{where}.role", f"{each.role[:40]!r} is no role.", "Use system, user, assistant or tool.")
        calls = _calls(each.tool_calls or [], i)
        if calls and role != "assistant":
            raise bad(f"{where}.tool_calls", "Only an assistant's message has `tool_calls`.", "Leave them out.")
        open_calls.extend(calls)
        content = each.content or ""
        images = tuple(Image(data=data) for data in each.images or ())
        answered = _answered(each, open_calls) if role == "tool" else None
        found.append(
            Message(
                role=role,
                content=content,
                name=each.tool_name,
                tool_calls=calls,
                tool_call_id=answered,
                parts=(*images, content) if images else (),
                reasoning=each.thinking or None,
            )
        )
    return tuple(found)


def _calls(wire: Sequence[shapes.CallIn], message: int) -> tuple[ToolCall, ...]:
    def arguments(call: shapes.CallIn) -> str:
        return msgspec.json.encode(call.function.arguments).decode()

    return tuple(
        ToolCall(call.id or f"call_{message}_{number}", call.function.name, arguments(call))
        for number, call in enumerate(wire)
    )


def _answered(wire: shapes.MessageIn, open_calls: list[ToolCall]) -> str | None:
    """The call that a tool's message answers, which is open no longer."""
    if wire.tool_call_id is not None:
        open_calls[:] = [call for call in open_calls if call.id != wire.tool_call_id]
        return wire.tool_call_id
    fits = (n for n, call in enumerate(open_calls) if wire.tool_name in (None, call.name))
    number = next(fits, None)
    return None if number is None else open_calls.pop(number).id


def _tools(wire: Sequence[shapes.ToolIn]) -> tuple[Tool, ...]:
    if len(wire) > MAX_TOOLS:
        raise bad("tools", f"{len(wire)} tools are too many.", f"Send at most {MAX_TOOLS}.")
    names = [tool.function.name for tool in wire]
    for i, tool in enumerate(wire):
        name, where = tool.function.name, f"tools[{i}]"
        if tool.type not in (None, "function"):
            raise bad(f"{where}.type", f"{tool.type[:40]!r} is no kind of tool.", "Send `function`.")
        if tool.items is not None:
            raise Misasked(
                "unsupported_parameter", f"`{where}.items` is not supported.", "Leave it out.", param=f"{where}.items"
            )
        if not _TOOL_NAME.fullmatch(name):
            hint = "Use A-Z a-z 0-9 _ . - (1 to 64)."
            raise bad(f"{where}.function.name", f"{name[:80]!r} is not a tool name.", hint)
        if name in names[:i]:
            raise bad(f"{where}.function.name", f"Two tools are named {name!r}.", "Rename one.")
    return tuple(
        Tool(t.function.name, t.function.description or "", t.function.parameters or _NO_ARGUMENTS) for t in wire
    )


def _refuse_unsupported(wire: msgspec.Struct) -> None:
    for field, (neutral, hint) in _REFUSED.items():
        value = getattr(wire, field, None)
        if value is not None and value not in neutral:
            name = _WIRE_NAMES.get(field, field)
            raise Misasked("unsupported_parameter", f"`{name}` is not supported.", hint, param=name)


def _seconds(text: str) -> float:
    if text in ("0", "+0", "-0"):
        return 0.0
    if len(text) > 64 or not _DURATION.fullmatch(text):
        raise _bad_keep_alive(text)
    total = sum(float(number) * _UNIT_S[unit] for number, unit in _PART.findall(text))
    return -total if text.startswith("-") else total


def _bad_keep_alive(given: object) -> Misasked:
    hint = "Send seconds as a number, or a text such as 5m, 1h30m or -1s (for ever)."
    return bad("keep_alive", f"`keep_alive` is {str(given)[:40]!r}.", hint)
