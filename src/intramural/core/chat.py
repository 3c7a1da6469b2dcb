"""The one internal form of a generation request and of what comes back. Every dialect is an adapter on it.

A request holds either `messages` (a conversation, rendered by the model's approved template) or `prompt` (raw text or
token ids). What comes back is a stream of `ChatEvent`: for every choice index any number of `Delta`, `Reasoning` and
`ToolCallDelta`, then one `Finished`; one `Usage` in all, last. An error in mid-stream is raised, not yielded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

MessageRole = Literal["system", "user", "assistant", "tool"]
ToolChoiceKind = Literal["none", "auto", "required", "named"]
FormatKind = Literal["text", "json_object", "json_schema"]
FinishReason = Literal["stop", "length", "tool_calls"]

#: A JSON schema (draft 2020-12 subset that the engine's grammar compiler knows), already parsed.
JsonSchema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the model made. `arguments` is JSON text, as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: MessageRole
    content: str
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call; `parameters` is the JSON schema of its arguments object."""

    name: str
    description: str
    parameters: JsonSchema


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether the model may, must or must not call a tool; `name` only for kind `named`."""

    kind: ToolChoiceKind = "auto"
    name: str | None = None


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """The shape the answer must have; `schema` only for kind `json_schema`."""

    kind: FormatKind = "text"
    schema: JsonSchema | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. None means: the engine's default. Ranges are checked at the dialect doors."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    top_logprobs: int = 0


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One generation. Exactly one of `messages` and `prompt` is set. `choices` is how many answers are wanted."""

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


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token with its log-probability (natural log); `bytes_` are the token's raw bytes."""

    token: str
    logprob: float
    bytes_: bytes
    top: tuple["TokenLogprob", ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """More text of choice `index`."""

    index: int
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Reasoning:
    """More of the model's thinking, kept apart from its answer."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """Part of tool call number `position` of choice `index`. `id` and `name` come with its first part only."""

    index: int
    position: int
    arguments: str
    id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """Choice `index` is complete."""

    index: int
    reason: FinishReason


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts from the engine itself. `cached_tokens` of the prompt needed no computing. Times in milliseconds."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    prompt_ms: float = 0.0
    completion_ms: float = 0.0


ChatEvent = Delta | Reasoning | ToolCallDelta | Finished | Usage


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector per input (same order), and the engine's count of prompt tokens."""

    vectors: tuple[tuple[float, ...], ...]
    prompt_tokens: int
