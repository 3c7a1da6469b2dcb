"""The one internal form of a generation request and of what comes back. Every dialect is an adapter on it.

A request holds either `messages` (a conversation, rendered by the model's approved template) or `prompt` (raw text or
token ids; with `suffix`, the text between the two is asked for). What comes back is a stream of `ChatEvent`: for every
choice index any number of `Delta`, `Reasoning` and `ToolCallDelta`, then one `Finished`; one `Usage` in all, last. An
error in mid-stream is raised, not yielded.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

MessageRole = Literal["system", "user", "assistant", "tool"]
ToolChoiceKind = Literal["none", "auto", "required", "named"]
FormatKind = Literal["text", "json_object", "json_schema"]
FinishReason = Literal["stop", "length", "tool_calls"]
ThinkingKind = Literal["default", "on", "off"]
Effort = Literal["low", "medium", "high"]

#: A JSON schema (draft 2020-12 subset that the engine's grammar compiler knows), already parsed.
JsonSchema = Mapping[str, Any]


class ToolCall(msgspec.Struct, frozen=True):
    """A call the model made. `arguments` is JSON text, as the model wrote it."""

    id: str
    name: str
    arguments: str


class Image(msgspec.Struct, frozen=True):
    """A picture in a message. Exactly one of `data` (the encoded file's bytes), `file_id` and `url` is set.

    The last two are how a client may name one; whoever answers replaces them by the bytes, or refuses.
    """

    data: bytes = b""
    file_id: str | None = None
    url: str | None = None


class Message(msgspec.Struct, frozen=True):
    """One turn of a conversation. `content` is all of its text.

    `parts` is set where it holds images: texts and images in their order. `reasoning` is what an assistant thought
    before it said `content`, handed back by the client.
    """

    role: MessageRole
    content: str
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    parts: tuple[str | Image, ...] = ()
    reasoning: str | None = None


class Tool(msgspec.Struct, frozen=True):
    """A function the model may call; `parameters` is the JSON schema of its arguments object."""

    name: str
    description: str
    parameters: JsonSchema


class ToolChoice(msgspec.Struct, frozen=True):
    """Whether the model may, must or must not call a tool; `name` only for kind `named`."""

    kind: ToolChoiceKind = "auto"
    name: str | None = None


class ResponseFormat(msgspec.Struct, frozen=True):
    """The shape the answer must have; `schema` only for kind `json_schema`."""

    kind: FormatKind = "text"
    schema: JsonSchema | None = None


class Sampling(msgspec.Struct, frozen=True):
    """How tokens are drawn. None means: the engine's default. Ranges are checked at the dialect doors."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    typical_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    #: Multiplies down what was said within the last `repeat_last_n` tokens (0: off, -1: the whole context).
    repeat_penalty: float | None = None
    repeat_last_n: int | None = None
    logit_bias: Mapping[int, float] = msgspec.field(default_factory=dict)
    seed: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    top_logprobs: int = 0


class Thinking(msgspec.Struct, frozen=True):
    """Whether a model that can think aloud shall. `default`: as its template does when nothing is said.

    `effort` is for templates that know degrees; `budget_tokens` ends the thinking after so many tokens.
    """

    kind: ThinkingKind = "default"
    effort: Effort | None = None
    budget_tokens: int | None = None


class ChatRequest(msgspec.Struct, frozen=True):
    """One generation. Exactly one of `messages` and `prompt` is set. `choices` is how many answers are wanted.

    With `deterministic` the same request gives the same bytes again: it is computed alone, without earlier prompts'
    cache; it needs a seed. `labels` are the client's own words about the request (user, metadata …): they reach the
    log and nothing else. An assistant's message at the end of `messages` is continued.
    """

    id: str
    model: str
    messages: tuple[Message, ...] = ()
    prompt: str | tuple[int, ...] | None = None
    sampling: Sampling = Sampling()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    parallel_tool_calls: bool = True
    response_format: ResponseFormat = ResponseFormat()
    choices: int = 1
    suffix: str | None = None
    thinking: Thinking = Thinking()
    deterministic: bool = False
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)


class TokenLogprob(msgspec.Struct, frozen=True):
    """One token with its log-probability (natural log); `bytes_` are the token's raw bytes."""

    token: str
    logprob: float
    bytes_: bytes
    top: tuple["TokenLogprob", ...] = ()


class Delta(msgspec.Struct, frozen=True):
    """More text of choice `index`."""

    index: int
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


class Reasoning(msgspec.Struct, frozen=True):
    """More of the model's thinking, kept apart from its answer."""

    index: int
    text: str


class ToolCallDelta(msgspec.Struct, frozen=True):
    """Part of tool call number `position` of choice `index`. `id` and `name` come with its first part only."""

    index: int
    position: int
    arguments: str
    id: str | None = None
    name: str | None = None


class Finished(msgspec.Struct, frozen=True):
    """Choice `index` is complete. `stop` is the stop string that ended it, if one did."""

    index: int
    reason: FinishReason
    stop: str | None = None


class Usage(msgspec.Struct, frozen=True):
    """Counts from the engine itself. `cached_tokens` of the prompt needed no computing. Times in milliseconds.

    `reasoning_tokens` of the completion were thinking.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    prompt_ms: float = 0.0
    completion_ms: float = 0.0
    reasoning_tokens: int = 0


ChatEvent = Delta | Reasoning | ToolCallDelta | Finished | Usage


class Embeddings(msgspec.Struct, frozen=True):
    """One vector per input (same order), and the engine's count of prompt tokens.

    `cut`: places of inputs of which only the beginning counts, where the caller let them be cut. `engine_ms`: how long
    the engine was had for it.
    """

    vectors: tuple[tuple[float, ...], ...]
    prompt_tokens: int
    cut: tuple[int, ...] = ()
    engine_ms: float = 0.0


class Ranking(msgspec.Struct, frozen=True):
    """How well each document (same order) answers a query, higher is better, and the count of prompt tokens.
    `engine_ms`: how long the engine was had for it.
    """

    scores: tuple[float, ...]
    prompt_tokens: int
    engine_ms: float = 0.0
