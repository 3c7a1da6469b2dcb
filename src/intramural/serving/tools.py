"""How tools are put to a model, so that any chat model can call them and a call that must come does come.

An engine left to itself enforces no `tool_choice: required`, and a model without a tool template is not even told of
the tools. So there are three ways:

- *free*: `auto`, and the model's template knows tools. It is told of them in its own manner and writes as it will;
  `callreaders.FreeReader` finds the calls. One that does not fit its schema is asked for again, forced.
- *forced*: `required` or a named one. The answer is constrained to {"tool_calls": [{"name": …, "arguments": {…}}]}.
- *described*: a template without tools. They stand in a system message, and the answer is constrained to the document
  above or, with `auto`, {"response": "text for the person"}.

With `none` there is no trace of tools.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from msgspec import structs

from intramural.core.chat import ChatRequest, Image, Message, ResponseFormat, Thinking, Tool, ToolChoice
from intramural.core.errors import Misasked
from intramural.serving.callreaders import RESPONSE, CallReader, FreeReader
from intramural.serving.request import check_schema
from intramural.serving.schema import Bounds, enforceable
from intramural.serving.supported import tamed

#: As many as any client may offer.
_MOST_FREE_CALLS = 128
_ANSWER_BOUNDS = Bounds(string_chars=8192, items=256, calls=1)
#: Small models go on calling when they are told to call what fits; so worded, they come to an answer.
_INSTRUCTIONS = {
    "auto": (
        'To call tools, answer with {"tool_calls": [{"name": "...", "arguments": {...}}]}. '
        'To answer the person yourself, answer with {"response": "..."}.'
    ),
    "required": 'Answer with {"tool_calls": [{"name": "...", "arguments": {...}}]}.',
}


@dataclass(frozen=True, slots=True)
class Drive:
    """One way to put a request with tools: the request to send, and the tools its calls are checked against.

    `free`: the answer is the model's own words. `repeats`: the same call may come twice. `native`: how to put it
    instead to a model whose template knows tools.
    """

    request: ChatRequest
    tools: tuple[Tool, ...]
    bounds: Bounds
    free: bool = False
    repeats: bool = False
    native: "Drive | None" = None

    def reader(self, index: int, new_id: Callable[[], str]) -> CallReader | FreeReader:
        """A fresh reader for choice `index`."""
        tools = {tool.name: tool for tool in self.tools}
        if not self.free:
            return CallReader(index, tools, new_id, repeats=self.repeats)
        return FreeReader(index, tools, new_id, _MOST_FREE_CALLS if self.request.parallel_tool_calls else 1)

    def again(self, made: Sequence[tuple[Tool, Mapping[str, Any] | None]], max_tokens: int | None) -> "Drive":
        """The same, so that calls of just these tools come; those whose arguments are given, with these."""
        told = {tool.name: tool for tool in self.request.tools}
        schema = _calls_schema([told[tool.name] for tool, _ in made], self.bounds, len(made))
        calls = schema["properties"]["tool_calls"]
        one = calls.pop("items")
        each = one.get("anyOf", [one])
        for call, (_, arguments) in zip(each, made, strict=True):
            if arguments is not None:
                call["properties"]["arguments"] = {"const": arguments}
        calls["prefixItems"] = each
        request = structs.replace(
            self.request,
            sampling=structs.replace(self.request.sampling, stop=(), max_tokens=max_tokens),
            thinking=Thinking("off"),
            response_format=ResponseFormat("json_schema", schema),
        )
        return replace(self, request=request, free=False, repeats=True)


def drive(request: ChatRequest, bounds: Bounds) -> Drive | None:
    """How to put `request`, or None if no tool may be called. Raises Misasked for tools that cannot be enforced."""
    choice = request.tool_choice
    begun = bool(request.messages) and request.messages[-1].role == "assistant"
    if not request.tools or choice.kind == "none" or begun:  # whose answer is begun in words calls nothing
        return None
    if request.prompt is not None:
        raise Misasked("tools_need_messages", "Tools work with messages, not with a raw prompt.", param="tools")
    tools = _chosen(request)
    limit = bounds.calls if request.parallel_tool_calls and choice.kind != "named" else 1
    told = tuple(structs.replace(tool, parameters=tamed(tool.parameters, "tools")) for tool in tools)
    request = structs.replace(
        request, tools=told, sampling=structs.replace(request.sampling, logprobs=False, top_logprobs=0)
    )
    forced = _forced(request, told, bounds, limit)
    native: Drive | None = Drive(forced, tools, bounds)
    if choice.kind == "auto":
        free = Drive(structs.replace(request, tool_choice=ToolChoice()), tools, bounds, free=True)
        native = free if request.response_format.kind == "text" else None
        either = _or_answer(dict(forced.response_format.schema or {}), request.response_format)
        forced = structs.replace(forced, response_format=ResponseFormat("json_schema", either))
    messages = _with_tools(request.messages, told, _INSTRUCTIONS["auto" if choice.kind == "auto" else "required"])
    return Drive(structs.replace(forced, messages=messages, tools=()), tools, bounds, native=native)


def _forced(request: ChatRequest, tools: tuple[Tool, ...], bounds: Bounds, limit: int) -> ChatRequest:
    schema = _calls_schema(tools, bounds, limit)
    return structs.replace(request, tools=tools, response_format=ResponseFormat("json_schema", schema))


def plain(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Messages without tool roles: calls as the document above, results as the person's next words.

    Results that follow each other, and a person's words right after them, become one message: many templates insist
    that person and assistant take turns.
    """
    turned: list[Message] = []
    for message in messages:
        if message.role == "assistant" and message.tool_calls:
            turned.append(structs.replace(message, content=_calls_text(message), parts=(), tool_calls=()))
            continue
        told = message
        if message.role == "tool":
            told = _led(
                f"Result of {_called(messages, message.tool_call_id)}:\n", structs.replace(message, tool_call_id=None)
            )
        if turned and turned[-1].role == "tool" and message.role in ("tool", "user"):
            told = _led("\n\n", told)
            for part in reversed(_parts(turned[-1])):
                told = _led(part, told)
            turned[-1] = told
        else:
            turned.append(told)
    return tuple(structs.replace(m, role="user") if m.role == "tool" else m for m in turned)


def _led(lead: str | Image, message: Message) -> Message:
    """`message` with `lead` before what it says."""
    text = lead if isinstance(lead, str) else ""
    parts = (lead, *_parts(message)) if message.parts or isinstance(lead, Image) else ()
    return structs.replace(message, content=text + message.content, parts=parts)


def _parts(message: Message) -> tuple[str | Image, ...]:
    return message.parts or (message.content,)


def _calls_text(message: Message) -> str:
    calls = [{"name": call.name, "arguments": _loose(call.arguments)} for call in message.tool_calls]
    text = json.dumps({"tool_calls": calls}, ensure_ascii=False)
    return f"{message.content}\n{text}" if message.content else text


def _loose(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _called(messages: Sequence[Message], call_id: str | None) -> str:
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    return names.get(call_id or "", "the tool")


def _chosen(request: ChatRequest) -> tuple[Tool, ...]:
    for tool in request.tools:
        check_schema(tool.parameters, "tools")
    names = [tool.name for tool in request.tools]
    if len(set(names)) != len(names):
        raise Misasked("tool_name_twice", "Two tools have the same name.", param="tools")
    if request.tool_choice.kind != "named":
        return request.tools
    chosen = tuple(tool for tool in request.tools if tool.name == request.tool_choice.name)
    if not chosen:
        raise Misasked(
            "tool_not_found", f"There is no tool {request.tool_choice.name!r}.", f"Known: {', '.join(names)}.",
            param="tool_choice",
        )  # fmt: skip
    return chosen


def _calls_schema(tools: Sequence[Tool], bounds: Bounds, limit: int) -> dict[str, Any]:
    definitions: dict[str, Any] = {}
    calls = []
    for number, tool in enumerate(tools):
        pointer = f"#/$defs/t{number}"
        # A tool without parameters takes an empty object; one with any is an object whatever else it says.
        parameters = {"additionalProperties": False, **tool.parameters, "type": "object"}
        if "$ref" in tool.parameters or "anyOf" in tool.parameters or "oneOf" in tool.parameters:
            parameters = dict(tool.parameters)
        definitions[f"t{number}"] = _narrowed(parameters, bounds, pointer, "tools")
        calls.append(
            {
                "type": "object",
                "properties": {"name": {"const": tool.name}, "arguments": {"$ref": pointer}},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
        )
    items = calls[0] if len(calls) == 1 else {"anyOf": calls}
    return {
        "type": "object",
        "properties": {"tool_calls": {"type": "array", "items": items, "minItems": 1, "maxItems": limit}},
        "required": ["tool_calls"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def _narrowed(schema: Any, bounds: Bounds, pointer: str, param: str) -> dict[str, Any]:
    try:
        return enforceable(schema, bounds, pointer)
    except (TypeError, AttributeError, ValueError) as error:
        # Somewhere a keyword has a value of a kind no schema gives it (`properties: 3`).
        raise Misasked(
            "invalid_schema", "This is no JSON schema.", "Check the kinds of values.", param=param
        ) from error


def _or_answer(calls: dict[str, Any], wanted: ResponseFormat) -> dict[str, Any]:
    """The union of calls and an answer in the wanted format.

    A formatted answer stands in an array of one, so that it arrives like a call does: whole.
    """
    definitions = calls.pop("$defs")
    value: dict[str, Any] = {"type": "string"}
    if wanted.kind != "text":
        check_schema(wanted.schema or {}, "response_format")
        definitions["answer"] = _narrowed(
            wanted.schema or {"type": "object"}, _ANSWER_BOUNDS, "#/$defs/answer", "response_format"
        )
        value = {"type": "array", "items": {"$ref": "#/$defs/answer"}, "minItems": 1, "maxItems": 1}
    answer = {
        "type": "object",
        "properties": {RESPONSE: value},
        "required": [RESPONSE],
        "additionalProperties": False,
    }
    return {"anyOf": [answer, calls], "$defs": definitions}


def _with_tools(messages: Sequence[Message], tools: Sequence[Tool], instructions: str) -> tuple[Message, ...]:
    described = [
        json.dumps(
            {"name": tool.name, "description": tool.description, "parameters": _thawed(tool.parameters)},
            ensure_ascii=False,
        )
        for tool in tools
    ]
    text = "You can call these tools:\n" + "\n".join(described) + "\n" + instructions
    turned = plain(messages)
    if turned and turned[0].role == "system":
        return (structs.replace(turned[0], content=f"{turned[0].content}\n\n{text}", parts=()), *turned[1:])
    return (Message("system", text), *turned)


def _thawed(schema: Any) -> Any:
    """Plain dicts and lists, whatever mapping the caller used."""
    return msgspec.json.decode(msgspec.json.encode(schema))
