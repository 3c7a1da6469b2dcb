"""Answers that can be stopped between two tokens and gone on with later: what is written, and how the rest is asked.

The model is given what it has written as the beginning of its answer, which engines continue; the prompt is mostly in
their cache. Only plain text can be gone on with so: not thinking, calls, or what is held to a form from its first
letter on; and nothing that was promised to be the same again.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from intramural.core.chat import ChatEvent, ChatRequest, Delta, Finished, Image, Message, Usage
from intramural.serving.tools import Drive


class Written:
    """What is written of one answer, as the engine wrote it. `can_pause`: it could be gone on with from here."""

    def __init__(self, request: ChatRequest, driven: Drive | None, *, at_hand: bool) -> None:
        """`at_hand`: the engine is ours, and goes on with a beginning. Of one elsewhere nobody knows."""
        self._request = request
        self._text = ""
        self._past = Usage(0, 0)
        self._plain = at_hand and driven is None and _is_plain(request)
        #: Its end was read, and with it all of it.
        self.ended = False

    @property
    def can_pause(self) -> bool:
        return self._plain and bool(self._text)

    def note(self, events: Sequence[ChatEvent]) -> None:
        """`events` were read, before anything is held back or cut off."""
        self.ended |= any(isinstance(event, Finished) for event in events)
        for event in events if self._plain else ():
            if isinstance(event, Delta):
                self._text += event.text
            else:
                self._plain = False  # thinking, or the end

    def stopped(self, usage: Usage) -> None:
        """It was stopped, with the engine's counts since it last began."""
        self._past = self.with_past(usage)

    def with_past(self, usage: Usage) -> Usage:
        """The whole answer's counts: the prompt as it was read first, what was written in all."""
        past = self._past
        if not past.prompt_tokens:
            return usage
        return replace(
            past,
            completion_tokens=past.completion_tokens + usage.completion_tokens,
            prompt_ms=past.prompt_ms + usage.prompt_ms,
            completion_ms=past.completion_ms + usage.completion_ms,
        )

    @property
    def ahead_s(self) -> float:
        """For how much longer it was written than its prompt was read, until it was last stopped."""
        return (self._past.completion_ms - self._past.prompt_ms) / 1000

    def rest(self) -> ChatRequest | None:
        """What asks for the rest; None if there is none left to write. The numbers that chance is made of are not the
        same again."""
        request, sampling, count = self._request, self._request.sampling, self._past.completion_tokens
        if sampling.max_tokens is not None and sampling.max_tokens <= count:
            return None
        left = None if sampling.max_tokens is None else sampling.max_tokens - count
        seed = None if sampling.seed is None else sampling.seed + count
        request = replace(request, sampling=replace(sampling, max_tokens=left, seed=seed))
        if isinstance(request.prompt, str):
            return replace(request, prompt=request.prompt + self._text)
        *before, last = request.messages
        if last.role == "assistant":
            return replace(request, messages=(*before, replace(last, content=last.content + self._text)))
        return replace(request, messages=(*request.messages, Message("assistant", self._text)))


def _is_plain(request: ChatRequest) -> bool:
    asked = bool(request.messages) if request.prompt is None else isinstance(request.prompt, str) and not request.suffix
    shows = any(isinstance(part, Image) for message in request.messages for part in message.parts)
    plain = request.response_format.kind == "text" and not request.deterministic and request.choices == 1
    return asked and plain and not shows
