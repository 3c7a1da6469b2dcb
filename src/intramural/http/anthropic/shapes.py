"""Requests of the Anthropic dialect as they come over the wire (MessageCreateParams, plain and beta).

Every field and every kind of content block of the published types stands here. What this service cannot honour is
refused by name in `parse`; what stands nowhere is unknown and refused while decoding.
"""

from typing import Any, Literal

import msgspec

Json = Any


class CacheControl(msgspec.Struct, forbid_unknown_fields=True):
    """Accepted everywhere and changes nothing: prompts are cached without being asked."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class Citations(msgspec.Struct, forbid_unknown_fields=True):
    enabled: bool | None = None


# what a block is about ----------------------------------------------------------------------------------------------


class _Source(msgspec.Struct, forbid_unknown_fields=True, tag_field="type"):
    pass


class Base64Source(_Source, tag="base64"):
    data: str
    media_type: str


class UrlSource(_Source, tag="url"):
    url: str


class FileSource(_Source, tag="file"):
    file_id: str


class TextSource(_Source, tag="text"):
    data: str
    media_type: Literal["text/plain"] = "text/plain"


class ImageTransformations(msgspec.Struct, forbid_unknown_fields=True):
    oversized_image: Literal["downsize", "error"] | None = None


# blocks that are understood -----------------------------------------------------------------------------------------


class _Block(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", kw_only=True):
    cache_control: CacheControl | None = None


class TextBlock(_Block, tag="text"):
    text: str
    citations: Json = None


class ImageBlock(_Block, tag="image"):
    source: Base64Source | UrlSource | FileSource
    transformations: ImageTransformations | None = None


class BlocksSource(_Source, tag="content"):
    """A document given as blocks."""

    content: str | list[TextBlock | ImageBlock]


class DocumentBlock(_Block, tag="document"):
    source: Base64Source | UrlSource | FileSource | TextSource | BlocksSource
    citations: Citations | None = None
    context: str | None = None
    title: str | None = None


class SearchResultBlock(_Block, tag="search_result"):
    content: list[TextBlock]
    source: str
    title: str
    citations: Citations | None = None


class ThinkingBlock(_Block, tag="thinking"):
    thinking: str
    signature: str


class ToolUseBlock(_Block, tag="tool_use"):
    id: str
    name: str
    input: dict[str, Json]
    caller: Json = None
    toolset_name: str | None = None


class ToolReferenceBlock(_Block, tag="tool_reference"):
    tool_name: str


class BrowserStateBlock(_Block, tag="browser_state"):
    tabs: Json = None
    state_changes: Json = None


class ToolResultBlock(_Block, tag="tool_result"):
    tool_use_id: str
    content: (
        str
        | list[TextBlock | ImageBlock | SearchResultBlock | DocumentBlock | ToolReferenceBlock | BrowserStateBlock]
        | None
    ) = None
    is_error: bool | None = None
    toolset_name: str | None = None


# blocks that are refused by name ------------------------------------------------------------------------------------


class Refused(msgspec.Struct, tag_field="type"):
    """A block of the published types that means something only to Anthropic's own servers."""


class RedactedThinking(Refused, tag="redacted_thinking"):
    pass


class ServerToolUse(Refused, tag="server_tool_use"):
    pass


class WebSearchToolResult(Refused, tag="web_search_tool_result"):
    pass


class WebFetchToolResult(Refused, tag="web_fetch_tool_result"):
    pass


class CodeExecutionToolResult(Refused, tag="code_execution_tool_result"):
    pass


class BashCodeExecutionToolResult(Refused, tag="bash_code_execution_tool_result"):
    pass


class TextEditorCodeExecutionToolResult(Refused, tag="text_editor_code_execution_tool_result"):
    pass


class ToolSearchToolResult(Refused, tag="tool_search_tool_result"):
    pass


class ContainerUpload(Refused, tag="container_upload"):
    pass


class AdvisorToolResult(Refused, tag="advisor_tool_result"):
    pass


class McpToolUse(Refused, tag="mcp_tool_use"):
    pass


class McpToolResult(Refused, tag="mcp_tool_result"):
    pass


class McpToolListing(Refused, tag="mcp_tool_listing"):
    pass


class Compaction(Refused, tag="compaction"):
    pass


class ToolAddition(Refused, tag="tool_addition"):
    pass


class ToolRemoval(Refused, tag="tool_removal"):
    pass


class Fallback(Refused, tag="fallback"):
    pass


Block = (
    TextBlock
    | ImageBlock
    | DocumentBlock
    | SearchResultBlock
    | ThinkingBlock
    | ToolUseBlock
    | ToolResultBlock
    | RedactedThinking
    | ServerToolUse
    | WebSearchToolResult
    | WebFetchToolResult
    | CodeExecutionToolResult
    | BashCodeExecutionToolResult
    | TextEditorCodeExecutionToolResult
    | ToolSearchToolResult
    | ContainerUpload
    | AdvisorToolResult
    | McpToolUse
    | McpToolResult
    | McpToolListing
    | Compaction
    | ToolAddition
    | ToolRemoval
    | Fallback
)


class MessageIn(msgspec.Struct, forbid_unknown_fields=True):
    """`clear_at` and `output_config` belong to role `system`, which may stand anywhere in a conversation."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block] | None = None
    clear_at: Literal["next_user_message", "never"] | None = None
    output_config: dict[str, Json] | None = None


# tools --------------------------------------------------------------------------------------------------------------


class ToolIn(msgspec.Struct, forbid_unknown_fields=True):
    """A tool of the client's own. Anthropic's server tools have a `type` of theirs and other fields."""

    name: str
    input_schema: dict[str, Json]
    type: Literal["custom"] | None = None
    description: str | None = None
    strict: bool | None = None
    eager_input_streaming: bool | None = None
    input_examples: list[dict[str, Json]] | None = None
    allowed_callers: list[str] | None = None
    defer_loading: bool | None = None
    cache_control: CacheControl | None = None


class _Choice(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", kw_only=True):
    pass


class ChoiceAuto(_Choice, tag="auto"):
    disable_parallel_tool_use: bool | None = None


class ChoiceAny(_Choice, tag="any"):
    disable_parallel_tool_use: bool | None = None


class ChoiceTool(_Choice, tag="tool"):
    name: str
    disable_parallel_tool_use: bool | None = None


class ChoiceNone(_Choice, tag="none"):
    pass


# thinking and output ------------------------------------------------------------------------------------------------


class _ThinkingConfig(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", kw_only=True):
    pass


class ThinkingEnabled(_ThinkingConfig, tag="enabled"):
    budget_tokens: int
    display: Literal["summarized", "omitted", "updates"] | None = None
    block_binding: Json = None


class ThinkingAdaptive(_ThinkingConfig, tag="adaptive"):
    display: Literal["summarized", "omitted", "updates"] | None = None
    block_binding: Json = None


class ThinkingDisabled(_ThinkingConfig, tag="disabled"):
    pass


class ThinkingBetweenTools(_ThinkingConfig, tag="between_tools"):
    pass


class JsonFormat(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["json_schema"]
    schema: dict[str, Json]


class OutputConfig(msgspec.Struct, forbid_unknown_fields=True):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: JsonFormat | None = None
    task_budget: Json = None


class Metadata(msgspec.Struct, forbid_unknown_fields=True):
    user_id: str | None = None


# whole requests -----------------------------------------------------------------------------------------------------


class _Asked(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a message and a count of its tokens have in common."""

    model: str
    messages: list[MessageIn]
    system: str | list[TextBlock] | None = None
    tools: list[dict[str, Json]] | None = None  # `parse` takes them for ToolIn: other kinds are refused by name
    tool_choice: ChoiceAuto | ChoiceAny | ChoiceTool | ChoiceNone | None = None
    thinking: ThinkingEnabled | ThinkingAdaptive | ThinkingDisabled | ThinkingBetweenTools | None = None
    output_config: OutputConfig | None = None
    output_format: JsonFormat | None = None  # what `output_config.format` was called at first
    cache_control: CacheControl | None = None
    user_profile_id: str | None = None
    # refused unless null or neutral
    speed: Json = None
    mcp_servers: Json = None
    context_management: Json = None
    compaction: Json = None


class CountIn(_Asked):
    """How many tokens a message's prompt would have."""


class MessagesIn(_Asked, kw_only=True):
    """A message to be written."""

    max_tokens: int
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    # refused unless null or neutral
    container: Json = None
    inference_geo: Json = None
    diagnostics: Json = None
    fallbacks: Json = None
    fallback_credit_token: Json = None
    thread: Json = None
