"""At most how many tokens a prompt can have, without asking its model. Pure.

A token is made of at least one byte: tokenizers that fall back to bytes make no more tokens than a text has bytes, and
what a template adds is marks around each message and a preamble. So this is a bound and no guess, three or four times
what English comes to. Where that matters (a quota that is nearly used up), the model counts.
"""

from collections.abc import Sequence

from intramural.audit import canonical
from intramural.core.chat import ChatRequest

#: What a template may say before the first message.
_PREAMBLE_TOKENS = 256
#: Marks around one message, and around one tool.
_MESSAGE_TOKENS = 16
_TOOL_TOKENS = 32


def of_chat(request: ChatRequest, context_tokens: int) -> int:
    """A bound for the prompt of `request`, which `context_tokens` is too."""
    if any(message.parts for message in request.messages):
        return context_tokens  # what a picture comes to is its model's affair
    found = _PREAMBLE_TOKENS + of_texts([request.prompt or "", request.suffix or ""])
    for message in request.messages:
        called = (call.name + call.arguments for call in message.tool_calls)
        texts = (message.content, message.reasoning or "", message.name or "", message.tool_call_id or "", *called)
        found += _MESSAGE_TOKENS + of_texts(texts)
    for tool in request.tools:
        found += _TOOL_TOKENS + of_texts((tool.name, tool.description)) + 2 * len(canonical(tool.parameters))
    return min(found, context_tokens)


def of_texts(texts: Sequence[str | tuple[int, ...]]) -> int:
    """A bound for texts as they are; what comes as tokens is counted."""
    return sum(len(each.encode(errors="replace")) + 2 if isinstance(each, str) else len(each) for each in texts)
