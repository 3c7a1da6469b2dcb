"""A `ChatRequest` as the engine's JSON: built field by field, every number within its range, nothing passed through.

Negative and oversized integers from JSON have been memory-safety bugs in engines. So no value reaches the engine that
is not named here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from intramural.core.chat import ChatRequest, JsonSchema, Message, ResponseFormat, Sampling
from intramural.core.errors import Misasked

SCHEMA_LIMIT_BYTES = 64 * 1024
SCHEMA_DEPTH = 32
MAX_CHOICES = 128
_MAX_STOPS, _MAX_STOP_CHARS = 16, 1024
_MAX_BIASES = 1024
_MAX_TOKEN_ID = 2**31 - 1
_MAX_TOKENS = 2**24
#: The engine reads this seed as "choose one".
_RANDOM_SEED = 2**32 - 1

#: name in `Sampling` → (name at the engine, least, most)
_RANGES: Mapping[str, tuple[str, float, float]] = {
    "temperature": ("temperature", 0.0, 2.0),
    "top_p": ("top_p", 0.0, 1.0),
    "top_k": ("top_k", 0, 1_000_000),
    "min_p": ("min_p", 0.0, 1.0),
    "presence_penalty": ("presence_penalty", -2.0, 2.0),
    "frequency_penalty": ("frequency_penalty", -2.0, 2.0),
    "max_tokens": ("max_tokens", 1, _MAX_TOKENS),
}


def build(request: ChatRequest, index: int) -> tuple[str, bytes]:
    """The engine's route and JSON body for choice `index`. Raises Misasked naming the field at fault."""
    fields = _sampling(request.sampling, index)
    fields["stream"] = True
    fields["stream_options"] = {"include_usage": True}
    # Counts with every frame, so that usage is the engine's own however the answer ends.
    fields["timings_per_token"] = True
    fields["return_progress"] = True
    if request.prompt is not None:
        fields["prompt"] = _prompt(request.prompt)
        fields.update(_prompt_format(request.response_format))
        return "/v1/completions", msgspec.json.encode(fields)
    if "n_probs" in fields:
        fields["logprobs"], fields["top_logprobs"] = True, fields.pop("n_probs")
    fields["messages"] = [_message(message) for message in request.messages]
    fields.update(_chat_format(request.response_format))
    return "/v1/chat/completions", msgspec.json.encode(fields)


def check_schema(schema: JsonSchema, param: str) -> None:
    """Raises Misasked(`schema_too_large`) for one over 64 KiB, or deeper than 32 levels."""
    pending: list[tuple[Any, int]] = [(schema, 1)]
    while pending:
        value, depth = pending.pop()
        if depth > SCHEMA_DEPTH:
            raise Misasked("schema_too_large", f"The schema is deeper than {SCHEMA_DEPTH} levels.", param=param)
        if isinstance(value, Mapping):
            pending += [(item, depth + 1) for item in value.values()]
        elif isinstance(value, list | tuple):
            pending += [(item, depth + 1) for item in value]
    if len(msgspec.json.encode(schema)) > SCHEMA_LIMIT_BYTES:
        raise Misasked("schema_too_large", f"The schema is larger than {SCHEMA_LIMIT_BYTES} bytes.", param=param)


def _sampling(sampling: Sampling, index: int) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, (engine_name, least, most) in _RANGES.items():
        value = getattr(sampling, name)
        if value is not None:
            fields[engine_name] = _within(name, value, least, most)
    if sampling.seed is not None:
        fields["seed"] = (sampling.seed + index) % _RANDOM_SEED
    if sampling.stop:
        fields["stop"] = _stops(sampling.stop)
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


def _stops(stop: Sequence[str]) -> list[str]:
    if len(stop) > _MAX_STOPS or any(not 0 < len(text) <= _MAX_STOP_CHARS for text in stop):
        raise Misasked(
            "value_out_of_range", f"stop takes at most {_MAX_STOPS} non-empty strings of {_MAX_STOP_CHARS} characters.",
            param="stop",
        )  # fmt: skip
    return list(stop)


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


def _message(message: Message) -> dict[str, Any]:
    return {"role": message.role, "content": message.content}


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
    check_schema(schema, "response_format")
    return schema
