"""Tool calls on every chat model, whether or not its template knows tools: described in words, enforced by a schema.

An engine left to itself does not enforce `tool_choice: required`, and a model without a tool template never calls
anything. So the tools stand in a system message and the answer is constrained to a document of one of two shapes:

    {"response": "text for the person"}                       only with `auto`
    {"tool_calls": [{"name": "…", "arguments": {…}}, …]}      one call, or some if parallel calls are allowed

`CallReader` turns that document back into events while it is written: text streams out character by character, a call
is handed over once it is whole, so that a client never holds half a call. With `none` there is no trace of tools.
A call that says the very same as one before it in the same answer is left out: small models repeat themselves in a
list, and nobody who asks once wants the mail sent twice.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from intramural.core.chat import (
    ChatEvent,
    ChatRequest,
    Delta,
    Finished,
    Image,
    Message,
    ResponseFormat,
    Tool,
    ToolCallDelta,
)
from intramural.core.errors import Misasked
from intramural.serving.exchange import worker_garbage
from intramural.serving.jsontext import Item, JsonText, NotJson
from intramural.serving.request import check_schema
from intramural.serving.schema import Bounds, enforceable, mend

_RESPONSE = "response"
_ANSWER_BOUNDS = Bounds(string_chars=8192, items=256, calls=1)
_INSTRUCTIONS = {
    "auto": (
        'To call tools, answer with {"tool_calls": [{"name": ..., "arguments": {...}}]}. '
        'To answer the person yourself, answer with {"response": ...}.'
    ),
    "required": 'Answer with {"tool_calls": [{"name": ..., "arguments": {...}}]}.',
}


@dataclass(frozen=True, slots=True)
class Drive:
    """How a request with tools is put to a model: the request to send, and the tools its calls are checked against."""

    request: ChatRequest
    tools: tuple[Tool, ...]

    def reader(self, index: int, new_id: Callable[[], str]) -> "CallReader":
        """A fresh reader for choice `index`."""
        return CallReader(index, {tool.name: tool for tool in self.tools}, new_id)


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
    schema = _calls_schema(tools, bounds, limit)
    if choice.kind == "auto":
        schema = _or_answer(schema, request.response_format)
    sampling = replace(request.sampling, logprobs=False, top_logprobs=0)
    messages = _with_tools(request.messages, tools, _INSTRUCTIONS["auto" if choice.kind == "auto" else "required"])
    driven = replace(
        request, messages=messages, tools=(), sampling=sampling, response_format=ResponseFormat("json_schema", schema)
    )
    return Drive(driven, tools)


def plain(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Messages without tool roles: calls as the document above, results as the person's next words.

    Results that follow each other, and a person's words right after them, become one message: many templates insist
    that person and assistant take turns.
    """
    turned: list[Message] = []
    for message in messages:
        if message.role == "assistant" and message.tool_calls:
            turned.append(replace(message, content=_calls_text(message), parts=(), tool_calls=()))
            continue
        told = message
        if message.role == "tool":
            told = _led(f"Result of {_called(messages, message.tool_call_id)}:\n", replace(message, tool_call_id=None))
        if turned and turned[-1].role == "tool" and message.role in ("tool", "user"):
            told = _led("\n\n", told)
            for part in reversed(_parts(turned[-1])):
                told = _led(part, told)
            turned[-1] = told
        else:
            turned.append(told)
    return tuple(replace(m, role="user") if m.role == "tool" else m for m in turned)


def _led(lead: str | Image, message: Message) -> Message:
    """`message` with `lead` before what it says."""
    text = lead if isinstance(lead, str) else ""
    parts = (lead, *_parts(message)) if message.parts or isinstance(lead, Image) else ()
    return replace(message, content=text + message.content, parts=parts)


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
        "properties": {_RESPONSE: value},
        "required": [_RESPONSE],
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
        return (replace(turned[0], content=f"{turned[0].content}\n\n{text}", parts=()), *turned[1:])
    return (Message("system", text), *turned)


def _thawed(schema: Any) -> Any:
    """Plain dicts and lists, whatever mapping the caller used."""
    return msgspec.json.decode(msgspec.json.encode(schema))


class CallReader:
    """Reads one choice's document. Feed it the choice's events; `over` says that the rest does not matter."""

    def __init__(self, index: int, tools: dict[str, Tool], new_id: Callable[[], str]) -> None:
        self.over = False
        self._index = index
        self._tools = tools
        self._new_id = new_id
        self._document = JsonText()
        self._made: set[tuple[str, str]] = set()

    def feed(self, event: ChatEvent) -> list[ChatEvent]:
        """The events that `event` stands for. Raises Broken(`worker_garbage`) if the engine left the schema."""
        if isinstance(event, Delta):
            return self._text(event.text)
        if isinstance(event, Finished):
            return self._finish(event)
        return [event]

    def _text(self, text: str) -> list[ChatEvent]:
        events: list[ChatEvent] = []
        try:
            for fact in self._document.feed(text):
                if isinstance(fact, Item) and fact.member == _RESPONSE:
                    events.append(Delta(self._index, json.dumps(fact.value, ensure_ascii=False)))
                elif isinstance(fact, Item):
                    events += self._call(fact.value)
                elif fact.member == _RESPONSE:
                    events.append(Delta(self._index, fact.text))
        except NotJson as error:
            raise worker_garbage("an answer outside its schema") from error
        return events

    def _call(self, value: Any) -> list[ChatEvent]:
        tool = self._tools.get(str(value.get("name"))) if isinstance(value, dict) else None
        if tool is None:
            raise worker_garbage("a call of a tool that is not there")
        arguments = mend(value.get("arguments"), tool.parameters, tool.parameters)
        text = json.dumps(arguments, ensure_ascii=False)
        if (tool.name, text) in self._made:
            return []
        self._made.add((tool.name, text))
        return [ToolCallDelta(self._index, len(self._made) - 1, text, id=self._new_id(), name=tool.name)]

    def _finish(self, event: Finished) -> list[ChatEvent]:
        if event.reason != "length" and not self._document.complete:
            raise worker_garbage("an answer outside its schema")
        reason = "tool_calls" if self._made and event.reason != "length" else event.reason
        return [Finished(self._index, reason)]
