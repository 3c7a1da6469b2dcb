"""The Anthropic dialect: what is offered and how to try it, which effect a parameter must have, what does not apply."""

from collections.abc import Callable, Mapping
from typing import Any

from conformance.answers import Shapes
from conformance.dialect import Dialect, Subject
from conformance.door import Door
from conformance.judge import Answer, Check, differs
from conformance.models import THINKER
from conformance.openai_cases import picture
from conformance.stainless import operations

ELSEWHERE: Mapping[str, str] = {
    "/organizations": "administers the vendor's own accounts",
    "/skills": "the vendor's hosted agents",
    "/user_profiles": "the vendor's own accounts",
}
MISSING: Mapping[str, str] = {
    "/files": "files are kept and named as OpenAI's clients do it",
    "/complete": "the vendor ended it",
}
_WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}},
        "required": ["city"],
    },
}


def samples(model: str) -> dict[str, Any]:
    """What is sent for a parameter, wherever it stands."""
    return {
        "model": model,
        "max_tokens": 3,
        "temperature": 0.0,
        "top_p": 0.5,
        "top_k": 5,
        "stop_sequences": ["e"],
        "budget_tokens": 1024,
        "data": picture().partition(",")[2],
        "url": picture(),
        "input_schema": _WEATHER["input_schema"],
        "schema": {
            "type": "object",
            "properties": {"n": {"type": "integer"}},
            "required": ["n"],
            "additionalProperties": False,
        },
        "name": "get_weather",
        "tool_use_id": "toolu_1",
        "id": "toolu_1",
        "before_id": model,
        "after_id": model,
        "limit": 2,
        "user_id": "pupil-17",
    }


def dialect(address: str, key: str, model: str) -> Dialect:
    """The dialect against a running service."""
    door = Door(address, {"x-api-key": key, "anthropic-version": "2023-06-01"})
    return Dialect(
        name="Anthropic",
        door=door,
        prefix="/v1",
        operations=operations("anthropic", without=("beta", "organization", "skills", "user_profiles")),
        subjects={each.key: each for each in _subjects(door, model)},
        samples=samples(model),
        message_of=message_of,
        shapes=Shapes(frozenset({"hint", "code", "param"})),
        elsewhere=ELSEWHERE,
        missing=MISSING,
        undeclared_events=frozenset({"ping"}),
        no_field=NO_FIELD,
    )


def message_of(body: Any) -> str | None:
    """The message of an error with the parameter it names, if `body` has Anthropic's shape."""
    if not isinstance(body, dict) or body.get("type") != "error" or not isinstance(body.get("error"), dict):
        return None
    error = body["error"]
    return f"{error['message']} [{error.get('param') or ''}]" if {"type", "message"} <= error.keys() else None


def _subjects(door: Door, model: str) -> list[Subject]:
    hello = [{"role": "user", "content": "Write a line about the sea."}]
    message = {"model": model, "messages": hello, "max_tokens": 8}
    request = {"custom_id": "a", "params": message}

    thinking = {"type": "enabled", "budget_tokens": 1024}
    also = {
        "thinking": {"model": THINKER, "max_tokens": 1100, "thinking": thinking},
        "thinking, streamed": {"model": THINKER, "max_tokens": 1100, "thinking": thinking, "stream": True},
        "a call, streamed": {"tools": [_WEATHER], "tool_choice": {"type": "any"}, "stream": True, "max_tokens": 300},
        "a stop sequence, streamed": {"stop_sequences": ["e"], "stream": True, "max_tokens": 40},
    }

    def batch() -> dict[str, str]:
        made = door.ask("POST", "/v1/messages/batches", {"requests": [request]}).body or {}
        return {"message_batch_id": str(made.get("id", "none"))}

    return [
        Subject("POST /messages", base=message, also=also, wrap=_WRAPS, checks=_CHECKS),
        Subject("POST /messages/count_tokens", base={"model": model, "messages": hello}, wrap=_COUNT_WRAPS),
        Subject("GET /models"),
        Subject("GET /models/{model_id}", ids=lambda: {"model_id": model}),
        Subject("GET /messages/batches"),
        Subject(
            "POST /messages/batches",
            base={"requests": [request]},
            skip={"requests": "each of them is a message, tried above"},
        ),
        Subject("GET /messages/batches/{message_batch_id}", ids=batch),
        Subject("POST /messages/batches/{message_batch_id}/cancel", ids=batch),
    ]


def _told(value: Any) -> Mapping[str, Any]:
    return {"messages": [*value, {"role": "user", "content": "hi"}]}


_TOOLS = {"tools": [_WEATHER], "max_tokens": 80}
_WRAPS: Mapping[str, Callable[[Any], Mapping[str, Any]]] = {
    "messages": _told,
    "tools": lambda value: {"tools": value, "max_tokens": 80},
    "tool_choice": lambda value: {"tool_choice": value, **_TOOLS},
    "thinking": lambda value: {"thinking": value, "max_tokens": 2048},
    "stop_sequences": lambda value: {"stop_sequences": value, "max_tokens": 40},
    "output_config": lambda value: {"output_config": value, "max_tokens": 80},
}
_COUNT_WRAPS: Mapping[str, Callable[[Any], Mapping[str, Any]]] = {
    "messages": _told,
    "tool_choice": lambda value: {"tool_choice": value, "tools": [_WEATHER]},
}
_CHECKS: Mapping[str, Check] = {
    "max_tokens": lambda a: differs((a.body["usage"]["output_tokens"], a.body["stop_reason"]), (3, "max_tokens")),
    "stop_sequences": lambda a: differs((a.body["stop_reason"], a.body["stop_sequence"]), ("stop_sequence", "e")),
    "stream=True": lambda a: _order(a),
    "tool_choice<any>": lambda a: differs(a.body["stop_reason"], "tool_use"),
    "tool_choice<tool>": lambda a: differs(a.body["content"][-1]["name"], "get_weather"),
    "tool_choice<none>": lambda a: differs([b["type"] for b in a.body["content"]].count("tool_use"), 0),
}


def _order(answer: Answer) -> str | None:
    """The events come in the documented order, one block open at a time."""
    names = [event["type"] for event in answer.events if event["type"] != "ping"]
    if names[:1] != ["message_start"] or names[-2:] != ["message_delta", "message_stop"]:
        return f"begins and ends with {names[:1] + names[-2:]}"
    depth = 0
    for name in names:
        depth += {"content_block_start": 1, "content_block_stop": -1}.get(name, 0)
        if depth not in (0, 1):
            return "two blocks are open at once"
    return None


NO_FIELD: Mapping[str, str] = {
    "citations": "made by the vendor's search and document tools",
    "container": "the vendor's hosted sandbox",
    "server_tool_use": "the vendor's hosted tools",
    "inference_geo": "there is one place: this machine",
    "stop_details": "of the vendor's own refusals",
    "context_management": "of the vendor's own context editing",
    "diagnostics": "of the vendor's own cache",
    "toolset_name": "the vendor's hosted tools",
    "speed": "the vendor's prices",
    "deprecated_at": "no model here is withdrawn by somebody else",
    "retires_at": "no model here is withdrawn by somebody else",
    "line": "of the vendor's own models",
}
