"""The items of an input: checked, brought into the form in which they are kept and shown, and turned into messages.

An item here is a dict as the published specification has it, with every field that answers carry: what a client sends,
what a model says and what the store holds are the same thing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from intramural.core.chat import Image, Message, ToolCall
from intramural.core.errors import Misasked
from intramural.http import bodies, images
from intramural.http.checks import bad
from intramural.http.openai.responses import shapes
from intramural.http.openai.responses.checks import identifier, unsupported

Item = dict[str, Any]
#: Makes an identifier that begins with the given prefix.
NewId = Callable[[str], str]

MAX_ITEMS = 2048
_KNOWN = ("message", "function_call", "function_call_output", "reasoning", "item_reference")


def text_message(text: str, new_id: NewId) -> Item:
    """What a plain string as `input` means: a message of the user's."""
    content = [{"type": "input_text", "text": text}]
    return {"id": new_id("msg"), "type": "message", "role": "user", "status": "completed", "content": content}


def taken_in(given: str | Sequence[Mapping[str, Any]], new_id: NewId, where: str = "input") -> list[Item]:
    """The items of `given`, complete. A reference stays one: only the store knows what it names.

    Raises Misasked naming the field at fault.
    """
    if isinstance(given, str):
        return [text_message(given, new_id)]
    if len(given) > MAX_ITEMS:
        raise Misasked("bad_parameter", f"`{where}` has {len(given)} items.", f"Send at most {MAX_ITEMS}.", param=where)
    return [_taken_in(raw, new_id, f"{where}[{i}]") for i, raw in enumerate(given)]


def _taken_in(raw: Mapping[str, Any], new_id: NewId, where: str) -> Item:
    kind = raw.get("type")
    if kind is None:
        raw = {**raw, "type": "message" if "role" in raw else "item_reference"}
    elif kind not in _KNOWN:
        raise Misasked(
            "unsupported_item",
            f"`{where}` is of type {str(kind)[:64]!r}, which is not supported.",
            f"Supported are: {', '.join(_KNOWN)}.",
            param=f"{where}.type",
        )
    item: shapes.Item = bodies.convert(raw, shapes.Item, where)
    if item.id is not None:
        identifier(item.id, f"{where}.id")
    match item:
        case shapes.MessageItem():
            return _message(item, new_id, where)
        case shapes.CallItem():
            return _call(item, new_id, where)
        case shapes.OutputItem():
            return _output(item, new_id, where)
        case shapes.ReasoningItem():
            return _reasoning(item, new_id)
        case shapes.ReferenceItem():
            return {"type": "item_reference", "id": item.id}


def _message(item: shapes.MessageItem, new_id: NewId, where: str) -> Item:
    given = item.content
    if isinstance(given, str):
        given = [shapes.OutputText(given) if item.role == "assistant" else shapes.InputText(given)]
    content = [_part(part, item.role, f"{where}.content[{i}]") for i, part in enumerate(given)]
    made: Item = {
        "id": item.id or new_id("msg"),
        "type": "message",
        "role": item.role,
        "status": item.status or "completed",
        "content": content,
    }
    return made if item.phase is None else {**made, "phase": item.phase}


def _part(part: shapes.Part, role: str, where: str) -> Item:
    match part:
        case shapes.OutputText() if role == "assistant":
            return output_text(part.text, part.logprobs or [], part.annotations or [])
        case shapes.Refusal() if role == "assistant":
            return {"type": "refusal", "refusal": part.refusal}
        case shapes.InputText():
            _refuse_breakpoint(part.prompt_cache_breakpoint, where)
            return output_text(part.text) if role == "assistant" else {"type": "input_text", "text": part.text}
        case shapes.InputImage() if role == "user":
            _refuse_breakpoint(part.prompt_cache_breakpoint, where)
            if part.detail == "low":
                raise unsupported(f"{where}.detail", "An image is read as finely as the model can: send a smaller one.")
            return _picture({"type": "input_image", "detail": part.detail or "auto"}, part.image_url, part, where)
        case shapes.InputFile() if role == "user":
            _refuse_breakpoint(part.prompt_cache_breakpoint, where)
            made = (
                {"type": "input_file"} if part.filename is None else {"type": "input_file", "filename": part.filename}
            )
            return _picture(made, part.file_data or part.file_url, part, where)
    allowed = {"assistant": "`output_text` or `refusal`", "user": "`input_text`, `input_image` or `input_file`"}
    raise Misasked(
        "unsupported_content",
        f"`{where}` is of a type that a message of role {role!r} cannot have here.",
        f"Send parts of type {allowed.get(role, '`input_text`')}.",
        param=where,
    )


def _picture(made: Item, url: str | None, part: shapes.InputImage | shapes.InputFile, where: str) -> Item:
    """A picture, named in one way. A file is one too: other documents have to be sent as text."""
    if (url is None) == (not part.file_id):
        raise bad(where, f"`{where}` names no picture, or two.", "Send its data, its address or `file_id`.")
    if url is None:
        return {**made, "file_id": part.file_id}
    images.from_url(url, where)
    names = {"input_image": "image_url", "input_file": "file_data" if url.startswith("data:") else "file_url"}
    return {**made, names[made["type"]]: url}


def output_text(text: str, logprobs: Sequence[Any] = (), annotations: Sequence[Any] = ()) -> Item:
    """A part of an assistant's message."""
    return {"type": "output_text", "text": text, "annotations": list(annotations), "logprobs": list(logprobs)}


def _refuse_breakpoint(given: Any, where: str) -> None:
    if given is not None:
        raise Misasked(
            "unsupported_parameter",
            f"`{where}.prompt_cache_breakpoint` is not supported: what prompts share is reused anyway.",
            "Leave it out.",
            param=f"{where}.prompt_cache_breakpoint",
        )


def _call(item: shapes.CallItem, new_id: NewId, where: str) -> Item:
    _refuse_hosted(item, where)
    if item.is_async:
        raise unsupported(f"{where}.async")
    return function_call(item.id or new_id("fc"), item.call_id, item.name, item.arguments, item.status or "completed")


def function_call(item_id: str, call_id: str, name: str, arguments: str, status: str) -> Item:
    """A call that the model made."""
    return {
        "id": item_id,
        "type": "function_call",
        "status": status,
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
    }


def _output(item: shapes.OutputItem, new_id: NewId, where: str) -> Item:
    _refuse_hosted(item, where)
    if not item.call_id:
        raise bad(f"{where}.call_id", f"`{where}.call_id` is missing.", "Name the call that it is the output of.")
    output: Any = item.output
    if not isinstance(output, str):
        output = [_part(part, "tool", f"{where}.output[{i}]") for i, part in enumerate(output)]
    return {
        "id": item.id or new_id("fco"),
        "type": "function_call_output",
        "status": item.status or "completed",
        "call_id": item.call_id,
        "output": output,
    }


def _refuse_hosted(item: shapes.CallItem | shapes.OutputItem, where: str) -> None:
    if item.namespace is not None:
        raise unsupported(f"{where}.namespace")
    if item.caller is not None and item.caller != {"type": "direct"}:
        raise unsupported(f"{where}.caller")


def _reasoning(item: shapes.ReasoningItem, new_id: NewId) -> Item:
    made = {
        "id": item.id or new_id("rs"),
        "type": "reasoning",
        "status": item.status or "completed",
        "summary": [{"type": "summary_text", "text": part.text} for part in item.summary],
        "content": [{"type": "reasoning_text", "text": part.text} for part in item.content or ()],
    }
    return made if item.encrypted_content is None else {**made, "encrypted_content": item.encrypted_content}


# to messages ----------------------------------------------------------------------------------------------------------


def messages(items: Iterable[Item], unseal: Callable[[str], str]) -> tuple[Message, ...]:
    """What the model is given. Calls join the assistant's message they follow; reasoning joins what follows it.

    `unseal` opens thinking that a program kept in its encrypted form. Raises Misasked(`call_not_found`) for the output
    of a call that is not there.
    """
    turns: list[Message] = []
    thought: str | None = None
    called: set[str] = set()
    for item in items:
        kind = item["type"]
        if kind == "reasoning":
            thought = (thought or "") + _thought(item, unseal)
            continue
        if kind == "function_call":
            called.add(item["call_id"])
            call = ToolCall(item["call_id"], item["name"], item["arguments"])
            if turns and turns[-1].role == "assistant":
                calls = (*turns[-1].tool_calls, call)
                turns[-1] = replace(turns[-1], tool_calls=calls, reasoning=turns[-1].reasoning or thought)
            else:
                turns.append(Message("assistant", "", tool_calls=(call,), reasoning=thought))
        elif kind == "function_call_output":
            turns.append(_answered(item, called))
        else:
            turns.append(_said(item, thought))
        thought = None
    return tuple(turns)


def _answered(item: Item, called: set[str]) -> Message:
    if item["call_id"] not in called:
        raise Misasked(
            "call_not_found",
            f"There is no call {item['call_id'][:64]!r} that this could be the output of.",
            "Send the call before its output, or continue the response that made it.",
            param="input",
        )
    text, parts = _content(item["output"])
    return Message("tool", text, tool_call_id=item["call_id"], parts=parts)


def _said(item: Item, thought: str | None) -> Message:
    text, parts = _content(item["content"])
    role = item["role"]
    if role == "assistant":
        return Message("assistant", text, reasoning=thought)
    return Message("user" if role == "user" else "system", text, parts=parts)


def _content(content: str | list[Item]) -> tuple[str, tuple[str | Image, ...]]:
    if isinstance(content, str):
        return content, ()
    read = [_read(part) for part in content]
    text = "".join(part for part in read if isinstance(part, str))
    return text, tuple(read) if any(isinstance(part, Image) for part in read) else ()


def _read(part: Item) -> str | Image:
    if part["type"] not in ("input_image", "input_file"):
        return str(part.get("text") or part.get("refusal") or "")
    url = part.get("image_url") or part.get("file_data") or part.get("file_url")
    return images.from_url(url, "input") if url else Image(file_id=part["file_id"])


def _thought(item: Item, unseal: Callable[[str], str]) -> str:
    parts = item.get("content") or item["summary"]
    if not parts and item.get("encrypted_content"):
        return unseal(item["encrypted_content"])
    return "\n".join(part["text"] for part in parts)
