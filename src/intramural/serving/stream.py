"""What a worker says, as events: sans-I/O. Bytes in, `ChatEvent`s out; any split of the bytes gives the same events.

A worker is not trusted: every frame is decoded into a strict shape, and whatever does not fit is `worker_garbage`.
"""

import math
import re
from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec.structs import replace

from intramural.core.chat import ChatEvent, Delta, Finished, FinishReason, Reasoning, TokenLogprob, ToolCallDelta, Usage
from intramural.core.errors import Broken, IntramuralError, Misasked
from intramural.serving.exchange import worker_died, worker_garbage
from intramural.serving.thoughts import Thoughts

#: Longest single frame. A frame holds a token or two with at most 20 alternatives each.
_FRAME_LIMIT_BYTES = 1 << 20
#: How it words that an input which it needs whole does not fit into one batch (which is as long as the context then).
_TOO_LONG = re.compile(r"input \((\d{1,9}) tokens\) is too large to process.*batch size: (\d{1,9})", re.DOTALL)
#: A count may be this much beyond the context: the last token is never read again, and guessed ones are counted early.
_SLACK_TOKENS = 64
#: What the engine's `null` (minus infinity) becomes, as OpenAI documents it.
_IMPOSSIBLE = -9999.0

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Millis = Annotated[float, msgspec.Meta(ge=0)]


class _Token(msgspec.Struct):
    token: str
    logprob: float | None
    bytes: list[Annotated[int, msgspec.Meta(ge=0, le=255)]] | None = None
    top_logprobs: list["_Token"] = []


class _Logprobs(msgspec.Struct):
    content: list[_Token] | None = None


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _CallPiece(msgspec.Struct):
    index: _Count = 0
    function: _Function = msgspec.field(default_factory=_Function)


class _Piece(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None  # as vLLM calls it
    tool_calls: list[_CallPiece] | None = None


class _Choice(msgspec.Struct):
    delta: _Piece | None = None
    text: str | None = None
    finish_reason: FinishReason | None = None
    logprobs: _Logprobs | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: _Count | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: _Count
    completion_tokens: _Count | None = None
    prompt_tokens_details: _PromptDetails | None = None


class _Timings(msgspec.Struct):
    cache_n: _Count
    prompt_n: _Count
    predicted_n: _Count
    prompt_ms: _Millis
    predicted_ms: _Millis


class _Progress(msgspec.Struct):
    cache: _Count
    processed: _Count
    time_ms: _Millis = 0.0


class EngineError(msgspec.Struct):
    """An error as the engine words it."""

    message: str = ""
    type: str = ""
    code: int | str | None = None
    n_prompt_tokens: int | None = None
    n_ctx: int | None = None


class _Frame(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    timings: _Timings | None = None
    prompt_progress: _Progress | None = None
    error: EngineError | None = None


class _ErrorBody(msgspec.Struct):
    error: EngineError


_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_error = msgspec.json.Decoder(_ErrorBody).decode


class AnswerReader:
    """Reads one choice's stream. `usage` always holds the engine's newest counts, however the stream ends.

    `top`: how many alternatives of each token the client asked to see. `thoughts`: an answer that begins with thinking
    as text is split (a raw prompt's continuation is not: it may be anything). `limit_tokens`: of the context, which
    prompt and answer together cannot exceed (0: not known). What people pay by is not taken on trust.
    """

    def __init__(self, index: int, top: int = 0, *, thoughts: bool = False, limit_tokens: int = 0) -> None:
        self._top = top
        self._limit_tokens = limit_tokens
        self._pieces = 0
        self._thoughts = Thoughts() if thoughts else None
        self._thinking = False
        self._reasoning_tokens = 0
        self.usage = Usage(0, 0)
        self.finished: FinishReason | None = None
        self._index = index
        self._rest = b""
        self._done = False

    def feed(self, data: bytes) -> list[ChatEvent]:
        """The events in the next bytes. Raises Broken(`worker_garbage`), or what an error frame stands for."""
        if self._done:
            if data.strip():
                raise worker_garbage("bytes after the end")
            return []
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > _FRAME_LIMIT_BYTES:
            raise worker_garbage("a frame without end")
        events: list[ChatEvent] = []
        for line in lines:
            self._line(line.rstrip(b"\r"), events)
        return events

    def end(self) -> None:
        """The connection ended. Raises Broken(`worker_died`) if the answer had not."""
        if not self._done or self.finished is None:
            raise worker_died()
        # Every token is sent by itself or with its neighbours; only what is held back at the end comes without one.
        if self._limit_tokens and self._pieces > 2 * self.usage.completion_tokens + 2:
            raise worker_garbage("fewer tokens counted than sent")

    def _line(self, line: bytes, events: list[ChatEvent]) -> None:
        if not line or line.startswith(b":"):
            return
        if self._done:
            raise worker_garbage("bytes after the end")
        name, _, value = line.partition(b":")
        if name == b"error":
            raise _from_frame(value.strip())
        if name != b"data":
            raise worker_garbage("no event stream")
        value = value.strip()
        if value == b"[DONE]":
            self._done = True
            return
        self._frame(value, events)

    def _frame(self, value: bytes, events: list[ChatEvent]) -> None:
        try:
            frame = _decode_frame(value)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise worker_garbage("a frame that is no chunk") from error
        if frame.error is not None:
            raise engine_error(500, frame.error)
        self._count(frame)
        if len(frame.choices) > 1:
            raise worker_garbage("choices nobody asked for")
        begin = len(events)
        for choice in frame.choices:
            self._choice(choice, events)
        self._pieces += len(events) > begin
        if len(events) > begin and frame.usage is None and frame.timings is None and self.finished is None:
            # An engine elsewhere that counts at the end only: a piece is a token until it has counted.
            self.usage = replace(self.usage, completion_tokens=self.usage.completion_tokens + 1)
        self._count_thinking(events[begin:])

    def _count(self, frame: _Frame) -> None:
        if frame.prompt_progress is not None:
            progress = frame.prompt_progress
            self.usage = Usage(progress.processed, 0, progress.cache, progress.time_ms, 0.0)
        if frame.timings is not None:
            t = frame.timings
            self.usage = Usage(t.cache_n + t.prompt_n, t.predicted_n, t.cache_n, t.prompt_ms, t.predicted_ms)
        if frame.usage is not None:
            u, past = frame.usage, self.usage
            cached = (u.prompt_tokens_details.cached_tokens if u.prompt_tokens_details else None) or 0
            self.usage = Usage(u.prompt_tokens, u.completion_tokens or 0, cached, past.prompt_ms, past.completion_ms)
        total = self.usage.prompt_tokens + self.usage.completion_tokens
        if self._limit_tokens and total > self._limit_tokens + _SLACK_TOKENS:
            raise worker_garbage("more tokens than it has room for")

    def _count_thinking(self, events: Iterable[ChatEvent]) -> None:
        """What was written before the answer's first token was thinking, and what marks its end."""
        kinds = {type(event) for event in events}
        if not self._thinking and not self._reasoning_tokens and Reasoning not in kinds:
            return  # most tokens of most models
        if Delta in kinds or ToolCallDelta in kinds:
            if self._thinking:
                self._thinking = False
                self._reasoning_tokens = max(0, self.usage.completion_tokens - 1)
        elif Reasoning in kinds:
            self._thinking = True
        count = self.usage.completion_tokens if self._thinking else self._reasoning_tokens
        if count:
            self.usage = replace(self.usage, reasoning_tokens=count)

    def _choice(self, choice: _Choice, events: list[ChatEvent]) -> None:
        if self.finished is not None:
            raise worker_garbage("text after the end")
        piece = choice.delta
        text = (piece.content if piece is not None else choice.text) or ""
        if piece is not None and (thought := piece.reasoning_content or piece.reasoning):
            events.append(Reasoning(self._index, thought))
        logprobs = tuple(_logprobs(choice.logprobs.content or (), self._top)) if choice.logprobs is not None else ()
        if self._thoughts is not None:
            self._split(self._thoughts, text, logprobs, events)
        elif text or logprobs:
            events.append(Delta(self._index, text, logprobs))
        if piece is not None and piece.tool_calls:
            for call in piece.tool_calls:
                arguments = call.function.arguments or ""
                events.append(ToolCallDelta(self._index, call.index, arguments, name=call.function.name))
        if choice.finish_reason is not None:
            self.finished = choice.finish_reason
            if self._thoughts is not None:
                events.extend(self._part(*part) for part in self._thoughts.rest())
            events.append(Finished(self._index, choice.finish_reason))

    def _split(
        self, thoughts: Thoughts, text: str, logprobs: tuple[TokenLogprob, ...], events: list[ChatEvent]
    ) -> None:
        parts = list(thoughts.feed(text)) if text else []
        if logprobs and parts == [(False, text)]:
            events.append(Delta(self._index, text, logprobs))
        else:
            events.extend(self._part(*part) for part in parts)
        if thoughts.over:
            self._thoughts = None  # this is asked for every token

    def _part(self, thinking: bool, text: str) -> ChatEvent:
        return Reasoning(self._index, text) if thinking else Delta(self._index, text)


def _logprobs(tokens: Iterable[_Token], top: int) -> Iterable[TokenLogprob]:
    for token in tokens:
        value = token.logprob if token.logprob is not None and math.isfinite(token.logprob) else _IMPOSSIBLE
        raw = bytes(token.bytes) if token.bytes is not None else token.token.encode()
        yield TokenLogprob(token.token, value, raw, tuple(_logprobs(token.top_logprobs[:top], 0)))


def _from_frame(value: bytes) -> IntramuralError:
    try:
        return engine_error(500, msgspec.json.decode(value, type=EngineError))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return worker_garbage("an error that is no error")


def refusal(status: int, body: bytes) -> IntramuralError:
    """What a response other than 200 stands for."""
    try:
        return engine_error(status, _decode_error(body).error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return worker_garbage(f"status {status} without a reason")


def engine_error(status: int, error: EngineError) -> IntramuralError:
    """The engine's error in our words: the caller's fault (Misasked) or its own (Broken)."""
    if error.type == "exceed_context_size_error":
        return context_exceeded(error.n_prompt_tokens, error.n_ctx)
    text = error.message
    if (too_long := _TOO_LONG.search(text)) is not None:
        return context_exceeded(int(too_long[1]), int(too_long[2]))
    if "JSON schema" in text or "parse grammar" in text or "json_schema" in text:
        _, found, reason = text.partition("JSON schema error ")
        return Misasked(
            "invalid_schema",
            "The engine cannot enforce this JSON schema" + (f": {reason}." if found else "."),
            "Use type, properties, required, items, enum, const, anyOf, $ref and anchored patterns.",
            param="response_format",
        )
    if "invalid tokens" in text:
        return Misasked("invalid_token", "The prompt has token ids this model does not have.", param="prompt")
    if "must not be empty" in text:
        return Misasked("empty_prompt", "The prompt is empty.", "Send at least one token.", param="prompt")
    if status == 400 or error.code == 400:
        # The engine's wording may quote the request, so it is for the caller alone and never logged.
        return Misasked("engine_refused", f"The engine refused the request: {text[:300]}")
    return Broken("engine_failed", "The engine failed on this request.", "Try again; if it persists, tell an admin.")


def context_exceeded(prompt_tokens: int | None, context_tokens: int | None) -> Misasked:
    """The prompt does not fit; says by how much."""
    return Misasked(
        "context_length_exceeded",
        f"The prompt has {prompt_tokens or 'too many'} tokens; this model takes {context_tokens or 'fewer'}.",
        "Shorten the conversation, or raise serving.context_tokens.",
        param="messages",
    )
