"""`functions` and `function_call`, the older names of tools: mapped to tools, and answers mapped back."""

from typing import Any, TypeVar

import msgspec

from intramural.http.checks import bad
from intramural.http.openai import shapes

#: What a message's call is known by inside: in the old form it has no identifier, and there is one to a message.
_CALL = "call_{number}"


def as_tools(wire: shapes.ChatIn) -> shapes.ChatIn:
    """The same request in today's form. Raises Misasked where both forms are mixed."""
    messages = _messages(wire.messages)
    if wire.functions is None:
        if wire.function_call is not None:
            raise bad("function_call", "`function_call` needs `functions`.", "Send the functions.")
        return wire if messages is wire.messages else _changed(wire, messages=messages)
    for field in ("tools", "tool_choice"):
        if getattr(wire, field) is not None:
            raise bad("functions", f"`functions` and `{field}` exclude each other.", "Use `tools`.")
    if not wire.functions:
        raise bad("functions", "`functions` is empty.", "Send one at least, or leave it out.")
    choice = wire.function_call
    named = shapes.NamedChoice(choice) if isinstance(choice, shapes.NamedFunction) else choice
    return _changed(
        wire,
        messages=messages,
        tools=[shapes.ToolIn("function", each) for each in wire.functions],
        tool_choice=named,
        parallel_tool_calls=False,
        functions=None,
        function_call=None,
    )


def answered(message: dict[str, Any]) -> dict[str, Any]:
    """A whole answer's message, or a chunk's delta, with its tool call as a function call."""
    calls = message.pop("tool_calls", None)
    if calls:
        message["function_call"] = calls[0]["function"]
    return message


def finish_reason(reason: str | None) -> str | None:
    """Why it ended, in the old words."""
    return "function_call" if reason == "tool_calls" else reason


def _messages(wire: list[shapes.MessageIn]) -> list[shapes.MessageIn]:
    """Old calls and results as tool calls and their results, joined by numbers."""
    if not any(each.role == "function" or each.function_call is not None for each in wire):
        return wire
    found: list[shapes.MessageIn] = []
    number = 0
    for i, each in enumerate(wire):
        if each.function_call is not None:
            if each.role != "assistant" or each.tool_calls:
                raise bad(f"messages[{i}].function_call", "It has no place in that message.", "Leave it out.")
            number += 1
            call = shapes.CallIn(_CALL.format(number=number), each.function_call)
            found.append(_changed(each, function_call=None, tool_calls=[call]))
        elif each.role == "function":
            if not each.name or not number:
                raise bad(f"messages[{i}]", "A function's result follows its call and has its name.", "Mend it.")
            found.append(_changed(each, role="tool", tool_call_id=_CALL.format(number=number)))
        else:
            found.append(each)
    return found


_Shape = TypeVar("_Shape", bound=msgspec.Struct)


def _changed(wire: _Shape, **fields: Any) -> _Shape:
    return msgspec.structs.replace(wire, **fields)
