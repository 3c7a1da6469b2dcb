"""Leaving out the oldest part of a conversation that is too long, where a request asks for that (never otherwise)."""

from collections.abc import Awaitable, Callable, Sequence

from msgspec.structs import replace

from intramural.core.chat import ChatRequest, Message

#: How much of the context is left for the answer, unless a shorter one is asked for.
_ANSWER_SHARE = 4

Count = Callable[[ChatRequest], Awaitable[int]]


async def fitted(request: ChatRequest, context_tokens: int, count: Count) -> ChatRequest:
    """`request` without so many of its oldest messages that a quarter of the context is left to answer in.

    What stays whole: system messages, the last turn, and a call with its outputs. `count` counts a request's tokens.
    """
    room = context_tokens // _ANSWER_SHARE
    most = context_tokens - min(request.sampling.max_tokens or room, room)
    if await count(request) <= most:
        return request
    starts = _starts(request.messages)
    low, high = 0, len(starts) - 1  # the first start that fits; the last, where none does
    while low < high:
        middle = (low + high) // 2
        if await count(_from(request, starts[middle])) <= most:
            high = middle
        else:
            low = middle + 1
    return _from(request, starts[low])


def _starts(messages: Sequence[Message]) -> list[int]:
    """Where a shortened conversation may begin: with what a person says, so that nothing refers to what is gone."""
    found = [place for place, message in enumerate(messages) if message.role == "user"]
    return found or [0]


def _from(request: ChatRequest, start: int) -> ChatRequest:
    kept = [m for place, m in enumerate(request.messages) if place >= start or m.role == "system"]
    return replace(request, messages=tuple(kept))
