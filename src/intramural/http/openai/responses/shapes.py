"""Requests of the Responses API as they come over the wire (CreateResponse and its siblings).

Every field of the published specification stands here, and of the Open Responses one. What this service cannot honour
is refused by name in `parse`; a field that is not here is unknown and refused too. Items of an input are decoded one by
one in `items`: their `type` may be missing.
"""

from typing import Any, Literal, get_args

import msgspec

Json = Any
Status = Literal["in_progress", "completed", "incomplete"]
Metadata = dict[str, str]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Degree = Literal["auto", "concise", "detailed"]
Included = Literal[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
]
INCLUDED: frozenset[str] = frozenset(get_args(Included))


class _Shape(msgspec.Struct, forbid_unknown_fields=True):
    pass


# content parts --------------------------------------------------------------------------------------------------------


class InputText(_Shape, tag_field="type", tag="input_text"):
    text: str
    prompt_cache_breakpoint: Json = None


class InputImage(_Shape, tag_field="type", tag="input_image"):
    image_url: str | None = None
    file_id: str | None = None
    detail: Literal["low", "high", "auto", "original"] | None = None
    prompt_cache_breakpoint: Json = None


class InputFile(_Shape, tag_field="type", tag="input_file"):
    file_data: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    filename: str | None = None
    detail: str | None = None
    prompt_cache_breakpoint: Json = None


class OutputText(_Shape, tag_field="type", tag="output_text"):
    text: str
    annotations: list[Json] | None = None
    logprobs: list[Json] | None = None


class Refusal(_Shape, tag_field="type", tag="refusal"):
    refusal: str


class SummaryText(_Shape, tag_field="type", tag="summary_text"):
    text: str


class ReasoningText(_Shape, tag_field="type", tag="reasoning_text"):
    text: str


Part = InputText | InputImage | InputFile | OutputText | Refusal


# items ----------------------------------------------------------------------------------------------------------------


class MessageItem(_Shape, tag_field="type", tag="message"):
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Part]
    id: str | None = None
    status: Status | None = None
    phase: Literal["commentary", "final_answer"] | None = None


class CallItem(_Shape, tag_field="type", tag="function_call", rename={"is_async": "async"}):
    call_id: str
    name: str
    arguments: str
    id: str | None = None
    status: Status | None = None
    namespace: str | None = None
    caller: Json = None
    is_async: bool | None = None
    created_by: str | None = None


class OutputItem(_Shape, tag_field="type", tag="function_call_output"):
    output: str | list[Part]
    call_id: str | None = None
    id: str | None = None
    status: Status | None = None
    name: str | None = None
    namespace: str | None = None
    caller: Json = None
    created_by: str | None = None


class ReasoningItem(_Shape, tag_field="type", tag="reasoning"):
    summary: list[SummaryText] = []
    content: list[ReasoningText] | None = None
    encrypted_content: str | None = None
    id: str | None = None
    status: Status | None = None


class ReferenceItem(_Shape, tag_field="type", tag="item_reference"):
    id: str


Item = MessageItem | CallItem | OutputItem | ReasoningItem | ReferenceItem


# settings -------------------------------------------------------------------------------------------------------------


class ToolIn(_Shape, rename={"is_async": "async"}):
    """A function; the fields of the other kinds of tool are not read, as these are refused by their `type`."""

    type: Literal["function"]
    name: str
    description: str | None = None
    parameters: dict[str, Json] | None = None
    strict: bool | None = None
    allowed_callers: list[str] | None = None
    defer_loading: bool | None = None
    output_schema: Json = None
    is_async: bool | None = None


class NamedTool(_Shape):
    type: str
    name: str | None = None


class ChoiceIn(_Shape):
    """`tool_choice` as an object: one function, or some of the tools (`allowed_tools`)."""

    type: str
    name: str | None = None
    mode: Literal["auto", "required"] | None = None
    tools: list[NamedTool] | None = None


class FormatIn(_Shape):
    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema: dict[str, Json] | None = None
    description: str | None = None
    strict: bool | None = None


class TextIn(_Shape):
    format: FormatIn | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ReasoningIn(_Shape):
    effort: Effort | None = None
    summary: Degree | None = None
    generate_summary: Degree | None = None
    context: Literal["auto", "current_turn", "all_turns"] | None = None
    mode: str | None = None


class ConversationRef(_Shape):
    id: str


class StreamOptions(_Shape):
    include_obfuscation: bool | None = None


class ImageOptions(_Shape):
    context_compression: Literal["auto", "enabled", "disabled"] | None = None


class _Context(_Shape, kw_only=True):
    """What counting the tokens of a request takes too."""

    conversation: str | ConversationRef | None = None
    input: str | list[dict[str, Json]] | None = None
    instructions: str | None = None
    parallel_tool_calls: bool | None = None
    previous_response_id: str | None = None
    reasoning: ReasoningIn | None = None
    text: TextIn | None = None
    tool_choice: Literal["none", "auto", "required"] | ChoiceIn | None = None
    tools: list[dict[str, Json]] | None = None
    truncation: Literal["auto", "disabled"] | None = None


class CreateIn(_Context, kw_only=True):
    model: str
    background: bool | None = None
    include: list[Included] | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    metadata: Metadata | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_logprobs: int | None = None
    top_p: float | None = None
    # of Open Responses
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    # accepted; they change nothing about the answer
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"] | None = None
    user: str | None = None
    # refused unless null or neutral
    access_programs: Json = None
    context_management: Json = None
    image: ImageOptions | None = None
    moderation: Json = None
    prompt: Json = None
    prompt_cache_options: Json = None
    prompt_cache_retention: Json = None


class CountIn(_Context, kw_only=True):
    model: str | None = None
    personality: str | None = None
