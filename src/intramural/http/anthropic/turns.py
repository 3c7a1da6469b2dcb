"""From Anthropic's messages, made of blocks, to a conversation."""

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from typing import Any

import msgspec

from intramural.core.chat import Image, Message, ToolCall
from intramural.core.errors import Misasked
from intramural.http import images
from intramural.http.anthropic import shapes
from intramural.http.anthropic.signature import is_changed
from intramural.http.checks import bad

#: A block and its place in the request.
Placed = tuple[str, msgspec.Struct]


def conversation(
    system: str | list[shapes.TextBlock] | None, messages: Sequence[shapes.MessageIn]
) -> tuple[Message, ...]:
    """The conversation: neighbouring messages of one role are one turn, results of tools stand before what a user adds.

    Raises Misasked naming the block that cannot be understood, or the call that has no result.
    """
    if not messages:
        raise bad("messages", "`messages` is empty.", "Send at least one message.")
    said = [_system(system, "system")] if system else []
    asked: dict[str, str] = {}  # calls that wait for their result: id → place
    for role, group in groupby(_still_shown(messages), key=lambda each: each[1].role):
        turn = list(group)
        blocks = [placed for where, message in turn for placed in _blocks(message.content, f"{where}.content")]
        if role == "system":
            said += [_system(message.content, f"{where}.content") for where, message in turn]
        elif role == "assistant":
            _all_answered(asked)
            asked = {block.id: where for where, block in blocks if isinstance(block, shapes.ToolUseBlock)}
            said.append(_assistant(blocks))
        else:
            said += _user(blocks, asked, turn[0][0])
            asked = {}
    _all_answered(asked)
    return tuple(_without_empty_turns(said))


def _still_shown(messages: Sequence[shapes.MessageIn]) -> list[tuple[str, shapes.MessageIn]]:
    """Messages with their places, without those that were to be shown for one turn only and have had it."""
    last_user = max((i for i, each in enumerate(messages) if each.role == "user"), default=-1)
    shown = []
    for i, each in enumerate(messages):
        where = f"messages[{i}]"
        if each.role != "system" and each.clear_at is not None:
            raise bad(f"{where}.clear_at", "`clear_at` belongs to messages of role `system`.", "Leave it out.")
        if each.output_config:
            raise unsupported(f"{where}.output_config", "Put `output_config` beside `messages`.")
        if each.clear_at != "next_user_message" or i > last_user:
            shown.append((where, each))
    return shown


def _without_empty_turns(said: Iterable[Message]) -> list[Message]:
    """An assistant that said nothing adds nothing, also not as a beginning to go on from."""
    return [m for m in said if m.role != "assistant" or m.content or m.tool_calls or m.reasoning]


def _blocks(content: Any, where: str) -> list[Placed]:
    if content is None:
        raise bad(where, f"`{where}` is missing.", "Send some content.")
    if isinstance(content, str):
        return [(where, shapes.TextBlock(text=content))] if content else []
    return [(f"{where}[{i}]", block) for i, block in enumerate(content)]


def _system(content: Any, where: str) -> Message:
    texts = []
    for place, block in _blocks(content, where):
        if not isinstance(block, shapes.TextBlock):
            raise refused(place, block, "A system message holds text.")
        texts.append(_text(place, block))
    return Message("system", "\n\n".join(texts))


def _assistant(blocks: Sequence[Placed]) -> Message:
    texts, thoughts, calls = [], [], []
    for where, block in blocks:
        match block:
            case shapes.TextBlock():
                texts.append(_text(where, block))
            case shapes.ThinkingBlock():
                if is_changed(block.thinking, block.signature):
                    raise Misasked(
                        "thinking_changed",
                        f"`{where}` is not what was answered: its signature does not fit.",
                        "Hand thinking blocks back as they came, or leave them out.",
                        param=f"{where}.signature",
                    )
                thoughts.append(block.thinking)
            case shapes.ToolUseBlock():
                calls.append(_call(where, block))
            case _:
                raise refused(where, block, "An assistant's message holds text, thinking and tool_use.")
    return Message(
        "assistant", "".join(texts), tool_calls=tuple(calls), reasoning="\n".join(filter(None, thoughts)) or None
    )


def _call(where: str, block: shapes.ToolUseBlock) -> ToolCall:
    if block.caller not in (None, {"type": "direct"}):
        raise unsupported(f"{where}.caller", "Only the model itself calls tools here: `direct`.")
    if block.toolset_name is not None:
        raise unsupported(f"{where}.toolset_name", "Toolsets are Anthropic's.")
    if not block.id or not block.name:
        raise bad(where, f"`{where}` has no id or no name.", "Hand calls back as they came.")
    return ToolCall(block.id, block.name, msgspec.json.encode(block.input).decode())


def _user(blocks: Sequence[Placed], asked: dict[str, str], where: str) -> list[Message]:
    results: list[Message] = []
    parts: list[str | Image] = []
    left = dict(asked)
    for place, block in blocks:
        if isinstance(block, shapes.ToolResultBlock):
            if left.pop(block.tool_use_id, None) is None:
                raise bad(
                    f"{place}.tool_use_id",
                    f"No tool_use in the message before has the id {block.tool_use_id!r}, or it has a result already.",
                    "Answer each tool_use once, in the message after it.",
                )
            results.append(_result(place, block))
        else:
            parts += _parts(place, block, "A user's message holds text, images, documents and results of tools.")
    _all_answered(left)
    if not results and not any(parts):
        raise bad(f"{where}.content", f"`{where}.content` is empty.", "Say something.")
    return [*results, _spoken("user", parts)] if any(parts) else results


def _all_answered(asked: dict[str, str]) -> None:
    for call_id, where in asked.items():
        raise bad(
            where,
            f"tool_use {call_id!r} has no tool_result.",
            "The message after a tool_use holds all its tool_results.",
        )


def _result(where: str, block: shapes.ToolResultBlock) -> Message:
    if block.toolset_name is not None:
        raise unsupported(f"{where}.toolset_name", "Toolsets are Anthropic's.")
    content = block.content or ""
    parts: list[str | Image] = []
    if isinstance(content, str):
        parts.append(content)
    else:
        for i, each in enumerate(content):
            parts += _parts(f"{where}.content[{i}]", each, "A tool_result holds text, images and documents.")
    if block.is_error:
        parts.insert(0, "Error:")
    return _spoken("tool", parts, tool_call_id=block.tool_use_id)


def _spoken(role: Any, parts: Sequence[str | Image], *, tool_call_id: str | None = None) -> Message:
    """Paragraphs and pictures in their order; `parts` of the message is for those with pictures."""
    texts = [part for part in parts if isinstance(part, str) and part]
    shown = tuple(part for part in parts if part) if len(texts) < sum(map(bool, parts)) else ()
    return Message(role, "\n\n".join(texts), tool_call_id=tool_call_id, parts=shown)


def _parts(where: str, block: msgspec.Struct, holds: str) -> list[str | Image]:
    match block:
        case shapes.TextBlock():
            return [_text(where, block)]
        case shapes.ImageBlock():
            return [_image(where, block)]
        case shapes.DocumentBlock():
            return _document(where, block)
        case shapes.SearchResultBlock():
            _uncited(where, block.citations)
            text = "\n\n".join(_text(f"{where}.content[{i}]", each) for i, each in enumerate(block.content))
            return _tagged("search_result", {"title": block.title, "source": block.source}, [text])
        case _:
            raise refused(where, block, holds)


def _text(where: str, block: shapes.TextBlock) -> str:
    if block.citations:
        raise unsupported(f"{where}.citations", "Leave citations out of what you hand back.")
    return block.text


def _image(where: str, block: shapes.ImageBlock) -> Image:
    if block.transformations and block.transformations.oversized_image == "error":
        raise unsupported(f"{where}.transformations.oversized_image", "Images are scaled to what the model takes.")
    source = block.source
    if isinstance(source, shapes.UrlSource):
        return images.from_url(source.url, f"{where}.source.url")
    if isinstance(source, shapes.FileSource):
        return Image(file_id=source.file_id)
    return images.from_base64(source.data, f"{where}.source.data", source.media_type)


def _document(where: str, block: shapes.DocumentBlock) -> list[str | Image]:
    _uncited(where, block.citations)
    source = block.source
    about = {"title": block.title, "context": block.context}
    if isinstance(source, shapes.TextSource):
        return _tagged("document", about, [source.data])
    if isinstance(source, shapes.BlocksSource):
        if isinstance(source.content, str):
            return _tagged("document", about, [source.content])
        place = f"{where}.source.content"
        inner = [part for i, each in enumerate(source.content) for part in _parts(f"{place}[{i}]", each, "")]
        return _tagged("document", about, inner)
    kind = source.__struct_config__.tag
    if isinstance(source, shapes.Base64Source):
        kind = source.media_type
    raise unsupported(f"{where}.source", "Send the document's text (source of type `text`).", f"A document as {kind}")


def _tagged(tag: str, about: dict[str, str | None], inner: Sequence[str | Image]) -> list[str | Image]:
    """What stands inside, marked as what it is."""
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in about.items() if value)
    head, foot = f"<{tag}{attributes}>", f"</{tag}>"
    if all(isinstance(part, str) for part in inner):
        return ["\n".join([head, "\n\n".join(str(part) for part in inner), foot])]
    return [head, *inner, foot]


def _uncited(where: str, citations: shapes.Citations | None) -> None:
    if citations and citations.enabled:
        raise unsupported(f"{where}.citations.enabled", "Set it to false, or leave it out.")


def refused(where: str, block: msgspec.Struct, holds: str) -> Misasked:
    """The error for a block that is not understood where it stands."""
    return Misasked(
        "unsupported_parameter",
        f"`{where}` is of type {block.__struct_config__.tag!r}, which is not supported there.",
        holds if not isinstance(block, shapes.Refused) else "It means something to Anthropic's servers only.",
        param=where,
    )


def unsupported(param: str, hint: str, what: str | None = None) -> Misasked:
    """The error for a field of the specification that cannot be honoured."""
    return Misasked("unsupported_parameter", f"{what or f'`{param}`'} is not supported.", hint, param=param)
