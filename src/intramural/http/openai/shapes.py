"""Requests of the OpenAI dialect as they come over the wire (CreateChatCompletionRequest and its siblings).

Every field of the published specification stands here. Those that this service cannot honour are listed in
`_UNSUPPORTED` of `parse` and refused by name; a field that is in neither is unknown and refused too.
"""

from typing import Any, Literal

import msgspec

Json = Any
#: A text, texts, token ids or lists of token ids; `parse.inputs` refuses mixtures.
Inputs = str | list[str | int | list[int]]


class ImageUrl(msgspec.Struct, forbid_unknown_fields=True):
    url: str
    detail: Literal["auto", "low", "high", "original"] | None = None


class FileRef(msgspec.Struct, forbid_unknown_fields=True):
    file_id: str | None = None
    file_data: str | None = None
    filename: str | None = None


class Part(msgspec.Struct, forbid_unknown_fields=False):
    """One content part; texts and images are understood, others are refused by name in `parts`."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | None = None
    file: FileRef | None = None


class FunctionCall(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    arguments: str


class CallIn(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    function: FunctionCall
    type: Literal["function"] = "function"
    index: int | None = None


class MessageIn(msgspec.Struct, forbid_unknown_fields=True):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[CallIn] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    annotations: Json = None
    audio: Json = None
    function_call: FunctionCall | None = None


class FunctionIn(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    description: str = ""
    parameters: dict[str, Json] | None = None
    strict: bool | None = None


class ToolIn(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["function"]
    function: FunctionIn


class NamedFunction(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class NamedChoice(msgspec.Struct, forbid_unknown_fields=True, tag="function"):
    function: NamedFunction


class AllowedTools(msgspec.Struct, forbid_unknown_fields=True):
    mode: Literal["auto", "required"]
    tools: list[NamedChoice]


class AllowedChoice(msgspec.Struct, forbid_unknown_fields=True, tag="allowed_tools"):
    allowed_tools: AllowedTools


class SchemaIn(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    schema: dict[str, Json] | None = None
    description: str | None = None
    strict: bool | None = None


class FormatIn(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: SchemaIn | None = None


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatIn(msgspec.Struct, forbid_unknown_fields=True):
    model: str
    messages: list[MessageIn]
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    presence_penalty: float | None = None
    response_format: FormatIn | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    tools: list[ToolIn] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | AllowedChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: list[FunctionIn] | None = None
    function_call: Literal["none", "auto"] | NamedFunction | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    # about the request; they change nothing about the answer
    user: str | None = None
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    # honoured for the values that say what is done anyway, else refused by name
    modalities: list[str] | None = None
    prompt_cache_retention: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    verbosity: str | None = None
    # refused unless null
    audio: Json = None
    moderation: Json = None
    prediction: Json = None
    prompt_cache_options: Json = None
    web_search_options: Json = None
    # not in the published specification
    deterministic: bool | None = None
    continue_final_message: bool | None = None
    chat_template_kwargs: Json = None


class CompletionIn(msgspec.Struct, forbid_unknown_fields=True):
    model: str
    prompt: Inputs
    echo: bool | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: int | None = None
    max_tokens: int | None = None
    n: int | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    user: str | None = None
    best_of: int | None = None
    suffix: str | None = None
    # not in the published specification
    deterministic: bool | None = None


class EmbeddingIn(msgspec.Struct, forbid_unknown_fields=True):
    model: str
    input: Inputs
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = None


class ExpiresAfter(msgspec.Struct, forbid_unknown_fields=True):
    anchor: Literal["created_at"]
    seconds: int


class BatchIn(msgspec.Struct, forbid_unknown_fields=True):
    input_file_id: str
    endpoint: str
    completion_window: Literal["24h"]
    metadata: dict[str, str] | None = None
    output_expires_after: ExpiresAfter | None = None
