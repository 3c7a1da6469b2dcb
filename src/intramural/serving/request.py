"""A `ChatRequest` as the engine's JSON: built field by field, every number within its range, nothing passed through.

Negative and oversized integers from JSON have been memory-safety bugs in engines. So no value reaches the engine that
is not named here.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec.structs import replace

from intramural.core.chat import (
    ChatRequest,
    Effort,
    Image,
    JsonSchema,
    Message,
    ResponseFormat,
    Sampling,
    Thinking,
    Tool,
    ToolCall,
)
from intramural.core.errors import Misasked
from intramural.serving.images import data_url
from intramural.serving.traits import Traits, thinking_words

SCHEMA_LIMIT_BYTES = 64 * 1024
SCHEMA_DEPTH = 32
MAX_CHOICES = 128
_MAX_STOPS, _MAX_STOP_CHARS = 16, 1024
_MAX_BIASES = 1024
_MAX_TOKEN_ID = 2**31 - 1
_MAX_TOKENS = 2**24
#: For templates that know no effort: after so many tokens of thinking comes the answer.
_EFFORT_TOKENS: Mapping[Effort, int | None] = {"low": 512, "medium": 4096, "high": None}
#: As Python's `json` writes, which is what models have seen most.
_COMPACT = {"whitespace_flexible": False, "key_separator": ": ", "item_separator": ", "}
#: The engine reads this seed as "choose one".
_RANDOM_SEED = 2**32 - 1

#: name in `Sampling` → (name at the engine, least, most)
_RANGES: Mapping[str, tuple[str, float, float]] = {
    "temperature": ("temperature", 0.0, 2.0),
    "top_p": ("top_p", 0.0, 1.0),
    "top_k": ("top_k", 0, 1_000_000),
    "min_p": ("min_p", 0.0, 1.0),
    "typical_p": ("typical_p", 0.0, 1.0),
    "presence_penalty": ("presence_penalty", -2.0, 2.0),
    "frequency_penalty": ("frequency_penalty", -2.0, 2.0),
    # Zero would divide by it.
    "repeat_penalty": ("repeat_penalty", 0.01, 10.0),
    "repeat_last_n": ("repeat_last_n", -1, _MAX_TOKENS),
    "max_tokens": ("max_tokens", 1, _MAX_TOKENS),
}


def check(request: ChatRequest) -> None:
    """Raises Misasked for what no model could answer."""
    if not 1 <= request.choices <= MAX_CHOICES:
        raise Misasked("value_out_of_range", f"n must be from 1 to {MAX_CHOICES}.", param="n")
    if request.suffix and request.prompt is None:
        raise Misasked("suffix_needs_prompt", "A suffix goes with a raw prompt, not with messages.", param="suffix")
    if request.deterministic and request.sampling.seed is None:
        raise Misasked(
            "seed_needed", "A deterministic answer needs a seed.", "Send any number as the seed.", param="seed"
        )
    budget = request.thinking.budget_tokens
    if budget is not None:
        _within("budget_tokens", budget, 0, _MAX_TOKENS)
    last = request.messages[-1] if request.messages else None
    if last is None or last.role != "assistant":
        return
    if last.tool_calls:
        raise Misasked(
            "tool_results_missing", "The last message calls tools, and their results do not follow.",
            "Send one message of role tool for each call.", param="messages",
        )  # fmt: skip
    if request.response_format.kind != "text":
        raise Misasked(
            "format_needs_whole_answer", "An answer that is begun for the model cannot be held to a format.",
            "Leave the last message out, or response_format.", param="response_format",
        )  # fmt: skip
    if request.tools and request.tool_choice.kind in ("required", "named"):
        raise Misasked(
            "call_needs_whole_answer", "An answer that is begun for the model cannot be held to a tool call.",
            "Leave the last message out, or let tool_choice be auto.", param="tool_choice",
        )  # fmt: skip


def look_back(request: ChatRequest, context_tokens: int) -> ChatRequest:
    """`request` with `repeat_last_n` as the engine counts it: at most the context (it keeps that many), never -1."""
    back = request.sampling.repeat_last_n
    if back is None or 0 <= back <= context_tokens:
        return request
    _within("repeat_last_n", back, *_RANGES["repeat_last_n"][1:])
    return replace(request, sampling=replace(request.sampling, repeat_last_n=context_tokens))


def thinking_fields(wanted: Thinking, traits: Traits) -> dict[str, Any]:
    """What tells the engine whether and how much to think. Raises Misasked(`model_does_not_think`) for kind `on`.

    A model that always thinks is stopped at once if it shall not. An effort that a template does not take becomes a
    budget. Effort and budget are ceilings: a model that does not think keeps below any.
    """
    if traits.thinks == "never":
        if wanted.kind == "on":
            raise Misasked(
                "model_does_not_think", "This model does not think aloud.", "Leave thinking out, or ask another model.",
                param="thinking",
            )  # fmt: skip
        return {}
    budget = wanted.budget_tokens
    if wanted.effort is not None and not traits.degrees and budget is None:
        budget = _EFFORT_TOKENS[wanted.effort]
    off = wanted.kind == "off" or budget == 0
    words: dict[str, Any] = {}
    if off or wanted.kind == "on":
        words |= thinking_words(not off)
    if wanted.effort is not None and traits.degrees:
        words["reasoning_effort"] = wanted.effort
    fields: dict[str, Any] = {"chat_template_kwargs": words} if words else {}
    if off and traits.thinks == "always":
        budget = 0
    if budget is not None and (not off or traits.thinks == "always"):
        fields["reasoning_budget_tokens"] = int(_within("budget_tokens", budget, 0, _MAX_TOKENS))
    return fields


def may_think(wanted: Thinking, traits: Traits) -> bool:
    """Whether thinking may come before the answer."""
    return traits.thinks == "always" or (traits.thinks == "either" and wanted.kind != "off")


def adapter_fields(scales: Sequence[float]) -> dict[str, Any]:
    """What tells the engine how strongly to apply each of the worker's adapters; nothing where it has none."""
    return {"lora": [{"id": number, "scale": scale} for number, scale in enumerate(scales)]} if scales else {}


def build(
    request: ChatRequest, index: int, more: Mapping[str, Any] = MappingProxyType({}), *, exact: bool = False
) -> tuple[str, bytes]:
    """The engine's route and JSON body for choice `index`; `more` are fields of `thinking_fields` and `adapter_fields`.

    `exact` has a JSON schema enforced by the better of the engine's two compilers, which knows every keyword that
    `supported` lets through and writes no empty space; but it would hold a model's thinking to the schema too.
    Raises Misasked naming the field at fault.
    """
    fields = {**_sampling(request.sampling, index), **more}
    exact = exact and request.response_format.kind == "json_schema"
    fields["stream"] = True
    fields["stream_options"] = {"include_usage": True}
    # Counts with every frame, so that usage is the engine's own however the answer ends.
    fields["timings_per_token"] = True
    fields["return_progress"] = True
    if request.prompt is not None:
        fields["prompt"] = _prompt(request.prompt)
        fields.update(exact_grammar(request.response_format) if exact else _prompt_format(request.response_format))
        return "/v1/completions", msgspec.json.encode(fields)
    if "n_probs" in fields:
        fields["logprobs"], fields["top_logprobs"] = True, fields.pop("n_probs")
    names = {call.id: call.name for message in request.messages for call in message.tool_calls}
    fields["messages"] = [_message(message, names) for message in request.messages]
    if request.tools:
        fields["tools"] = [_tool(tool) for tool in request.tools]
        fields["parallel_tool_calls"] = request.parallel_tool_calls
        if request.response_format.kind != "text":
            fields["tool_choice"] = "none"  # the answer's own grammar takes the place of the tools'
    fields.update(exact_grammar(request.response_format) if exact else _chat_format(request.response_format))
    return "/v1/chat/completions", msgspec.json.encode(fields)


def placed(body: bytes, slot: int, *, reuse: bool) -> bytes:
    """What `build` made, to be computed in the engine's `slot`, with or without what is there from before."""
    return b'%s,"id_slot":%d,"cache_prompt":%s}' % (body[:-1], slot, b"true" if reuse else b"false")


def check_schema(schema: JsonSchema, param: str, times: int = 1) -> None:
    """Raises Misasked(`schema_too_large`) for one over `times` 64 KiB, or deeper than 32 levels."""
    limit_bytes, depth_limit = times * SCHEMA_LIMIT_BYTES, times * SCHEMA_DEPTH
    pending: list[tuple[Any, int]] = [(schema, 1)]
    while pending:
        value, depth = pending.pop()
        if depth > depth_limit:
            raise Misasked("schema_too_large", f"The schema is deeper than {depth_limit} levels.", param=param)
        if isinstance(value, Mapping):
            pending += [(item, depth + 1) for item in value.values()]
        elif isinstance(value, list | tuple):
            pending += [(item, depth + 1) for item in value]
    if len(msgspec.json.encode(schema)) > limit_bytes:
        raise Misasked("schema_too_large", f"The schema is larger than {limit_bytes} bytes.", param=param)


def _sampling(sampling: Sampling, index: int) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, (engine_name, least, most) in _RANGES.items():
        value = getattr(sampling, name)
        if value is not None:
            fields[engine_name] = _within(name, value, least, most)
    if sampling.seed is not None:
        fields["seed"] = (sampling.seed + index) % _RANDOM_SEED
    check_stops(sampling.stop)  # looked for by `stops`, not by the engine, which does not say what it found
    if sampling.logit_bias:
        fields["logit_bias"] = _biases(sampling.logit_bias)
    if sampling.logprobs:
        # The engine gives the chosen token's own probability only when at least one alternative is asked for.
        fields["n_probs"] = max(1, int(_within("top_logprobs", sampling.top_logprobs, 0, 20)))
    return fields


def _within(name: str, value: float, least: float, most: float) -> float:
    if not least <= value <= most:  # also refuses NaN
        raise Misasked("value_out_of_range", f"{name} must be from {least:g} to {most:g}.", param=name)
    return value


def check_stops(stop: Sequence[str]) -> None:
    """Raises Misasked for too many or too long ones."""
    if len(stop) > _MAX_STOPS or any(not 0 < len(text) <= _MAX_STOP_CHARS for text in stop):
        raise Misasked(
            "value_out_of_range", f"stop takes at most {_MAX_STOPS} non-empty strings of {_MAX_STOP_CHARS} characters.",
            param="stop",
        )  # fmt: skip


def _biases(biases: Mapping[int, float]) -> list[list[float]]:
    if len(biases) > _MAX_BIASES:
        raise Misasked("value_out_of_range", f"logit_bias takes at most {_MAX_BIASES} tokens.", param="logit_bias")
    return [
        [int(_within("logit_bias", token, 0, _MAX_TOKEN_ID)), _within("logit_bias", bias, -100, 100)]
        for token, bias in biases.items()
    ]


def _prompt(prompt: str | tuple[int, ...]) -> str | list[int]:
    if isinstance(prompt, str):
        return prompt
    return [int(_within("prompt", token, 0, _MAX_TOKEN_ID)) for token in prompt]


def _tool(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _message(message: Message, names: Mapping[str, str]) -> dict[str, Any]:
    """`names`: the names of the calls by their ids."""
    fields: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        fields["tool_calls"] = [_call(call) for call in message.tool_calls]
    if message.role == "tool":
        fields["tool_call_id"] = message.tool_call_id or ""
        fields["name"] = names.get(message.tool_call_id or "", message.name or "tool")
    if any(isinstance(part, Image) for part in message.parts):
        fields["content"] = [_part(part) for part in message.parts]
    if message.reasoning:
        # The name templates know it by. One that does not know it leaves it out.
        fields["reasoning_content"] = message.reasoning
    return fields


def _call(call: ToolCall) -> dict[str, Any]:
    """Templates read the arguments, so they have to be an object whatever a client hands back."""
    try:
        whole = isinstance(msgspec.json.decode(call.arguments), dict)
    except msgspec.DecodeError:
        whole = False
    arguments = call.arguments if whole else msgspec.json.encode({"arguments": call.arguments}).decode()
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _part(part: str | Image) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image_url", "image_url": {"url": data_url(part)}}


def exact_grammar(wanted: ResponseFormat) -> dict[str, Any]:
    """A JSON schema in the words of the engine's exact compiler."""
    schema = msgspec.json.encode({**_schema(wanted), "x-guidance": _COMPACT}).decode()
    return {"grammar": f"%llguidance {{}}\nstart: %json {schema}"}


def _chat_format(wanted: ResponseFormat) -> dict[str, Any]:
    if wanted.kind == "text":
        return {}
    if wanted.kind == "json_object":
        return {"response_format": {"type": "json_object"}}
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": _schema(wanted)}}}


def _prompt_format(wanted: ResponseFormat) -> dict[str, Any]:
    if wanted.kind == "text":
        return {}
    return {"json_schema": {"type": "object"} if wanted.kind == "json_object" else _schema(wanted)}


def _schema(wanted: ResponseFormat) -> JsonSchema:
    schema = wanted.schema or {}
    check_schema(schema, "response_format", times=2)  # what is asked of the engine says more than the client did
    return schema
