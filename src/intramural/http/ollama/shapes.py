"""Requests of the Ollama dialect as they come over the wire (its `api/types.go`, and its Python package's types).

Every field of the published types stands here; `parse` honours it or refuses it by name. A field that does not stand
here is unknown and refused too.
"""

from typing import Any, Literal

import msgspec

Json = Any
#: Some clients write 40.0 for 40.
Number = int | float
#: Seconds, or a text such as `5m`.
KeepAlive = int | float | str


class FunctionCall(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    arguments: dict[str, Json] = msgspec.field(default_factory=dict)
    index: int | None = None


class CallIn(msgspec.Struct, forbid_unknown_fields=True):
    function: FunctionCall
    id: str | None = None
    type: Literal["function"] | None = None


class MessageIn(msgspec.Struct, forbid_unknown_fields=True):
    role: str
    content: str | None = None
    thinking: str | None = None
    images: list[bytes] | None = None
    tool_calls: list[CallIn] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class FunctionIn(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    description: str | None = None
    parameters: dict[str, Json] | None = None


class ToolIn(msgspec.Struct, forbid_unknown_fields=True):
    function: FunctionIn
    type: str | None = "function"
    items: Json = None


class OptionsIn(msgspec.Struct, forbid_unknown_fields=True):
    """`options`, those of earlier versions too, which clients still send."""

    # honoured
    seed: Number | None = None
    num_predict: Number | None = None
    top_k: Number | None = None
    top_p: Number | None = None
    min_p: Number | None = None
    typical_p: Number | None = None
    temperature: Number | None = None
    repeat_penalty: Number | None = None
    repeat_last_n: Number | None = None
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None
    stop: str | list[str] | None = None
    num_ctx: Number | None = None
    # about the machine: no effect here, and the answer says so
    num_batch: Number | None = None
    num_gpu: Number | None = None
    main_gpu: Number | None = None
    num_thread: Number | None = None
    num_keep: Number | None = None
    draft_num_predict: Number | None = None
    use_mmap: bool | None = None
    use_mlock: bool | None = None
    numa: bool | None = None
    low_vram: bool | None = None
    f16_kv: bool | None = None
    logits_all: bool | None = None
    vocab_only: bool | None = None
    embedding_only: bool | None = None
    # refused unless they ask for nothing
    mirostat: Number | None = None
    mirostat_tau: Number | None = None
    mirostat_eta: Number | None = None
    tfs_z: Number | None = None
    penalize_newline: bool | None = None


class _AskedIn(msgspec.Struct, forbid_unknown_fields=True, rename={"debug_render_only": "_debug_render_only"}):
    """What a chat and a generation have in common."""

    model: str
    stream: bool | None = None
    format: Json = None
    keep_alive: KeepAlive | None = None
    options: OptionsIn | None = None
    think: bool | str | None = None
    truncate: bool | None = None
    shift: bool | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    debug_render_only: bool | None = None


class ChatIn(_AskedIn):
    messages: list[MessageIn] | None = None
    tools: list[ToolIn] | None = None


class GenerateIn(_AskedIn):
    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    context: list[int] | None = None
    raw: bool | None = None
    images: list[bytes] | None = None
    # for models that make pictures
    width: Json = None
    height: Json = None
    steps: Json = None


class CreateIn(msgspec.Struct, forbid_unknown_fields=True, rename={"from_": "from"}):
    model: str = ""
    name: str = ""
    from_: str | None = None
    files: dict[str, str] | None = None
    stream: bool | None = None
    parameters: OptionsIn | None = None
    system: str | None = None
    messages: list[MessageIn] | None = None
    # refused by name
    adapters: dict[str, str] | None = None
    draft_files: dict[str, str] | None = None
    draft_quantize: str | None = None
    info: dict[str, Json] | None = None
    license: str | list[str] | None = None
    parser: str | None = None
    quantization: str | None = None
    quantize: str | None = None
    remote_host: str | None = None
    renderer: str | None = None
    requires: str | None = None
    template: str | None = None


class CopyIn(msgspec.Struct, forbid_unknown_fields=True):
    source: str
    destination: str


class DeleteIn(msgspec.Struct, forbid_unknown_fields=True):
    model: str = ""
    name: str = ""


class MoveIn(msgspec.Struct, forbid_unknown_fields=True):
    """Of a pull and of a push."""

    model: str = ""
    name: str = ""
    insecure: bool | None = None
    stream: bool | None = None
    username: str | None = None
    password: str | None = None


class EmbedIn(msgspec.Struct, forbid_unknown_fields=True):
    model: str
    input: str | list[str] | None = None
    truncate: bool | None = None
    dimensions: int | None = None
    keep_alive: KeepAlive | None = None
    options: OptionsIn | None = None


class EmbeddingsIn(msgspec.Struct, forbid_unknown_fields=True):
    model: str
    prompt: str | None = None
    keep_alive: KeepAlive | None = None
    options: OptionsIn | None = None


class ShowIn(msgspec.Struct, forbid_unknown_fields=True):
    model: str = ""
    name: str = ""
    verbose: bool | None = None
    system: str | None = None
    template: str | None = None
    options: OptionsIn | None = None
