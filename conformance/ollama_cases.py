"""The Ollama dialect: what is offered and how to try it, what effect each parameter must have, what does not apply."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from conformance.answers import Shapes
from conformance.dialect import Dialect, Subject
from conformance.door import Door
from conformance.judge import Answer, Check, differs
from conformance.models import THINKER
from conformance.ollama_types import operations
from conformance.openai_cases import picture

ELSEWHERE: Mapping[str, str] = {
    "/api/web_search": "asks the vendor's cloud",
    "/api/web_fetch": "asks the vendor's cloud",
    "/api/systemone": "the vendor's own hosted model",
}
_BLOB = b"a blob that is no model"
_DIGEST = "sha256:" + hashlib.sha256(_BLOB).hexdigest()
_WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 12}},
            "required": ["city"],
        },
    },
}


def samples(model: str) -> dict[str, Any]:
    """What is sent for a parameter, wherever it stands."""
    return {
        "model": model,
        "temperature": 0.0,
        "top_p": 0.5,
        "num_predict": 3,
        "num_ctx": 2048,
        "seed": 7,
        "stop": ["e"],
        "top_logprobs": 2,
        "keep_alive": "5m",
        "images": [picture().partition(",")[2]],
        "format": "json",
        "dimensions": 64,
        "role": "user",
        "tools": [_WEATHER],
        "think": False,
        "Function.name": "get_weather",
        "arguments": {"city": "Oslo"},
        "context": [1, 2, 3],
    }


def dialect(address: str, key: str, model: str, embedder: str) -> Dialect:
    """The dialect against a running service, with an administrator's key: models are made and removed."""
    door = Door(address, {"authorization": f"Bearer {key}"})
    return Dialect(
        name="Ollama",
        door=door,
        prefix="",
        operations=operations(),
        subjects={each.key: each for each in _subjects(door, model, embedder)},
        samples=samples(model),
        message_of=message_of,
        shapes=Shapes(frozenset({"name", "expires_at", "tool_calls", "id"})),
        elsewhere=ELSEWHERE,
        missing={},
        no_field=NO_FIELD,
        item_of=lambda body: body.get("models", ()),
    )


def message_of(body: Any) -> str | None:
    """The message of an error, if `body` has Ollama's shape; ours names the parameter beside it."""
    if not isinstance(body, dict) or not isinstance(body.get("error"), str):
        return None
    return f"{body['error']} [{body.get('param') or ''}]"


def _subjects(door: Door, model: str, embedder: str) -> list[Subject]:
    generate = {"model": model, "prompt": "The sea is", "stream": False, "options": {"num_predict": 8}}
    chat = {**generate, "messages": [{"role": "user", "content": "hi"}]}
    del chat["prompt"]

    thinking: Mapping[str, Any] = {"model": THINKER, "think": True, "options": {"num_predict": 60}}
    chats: Mapping[str, Any] = {
        "thinking": thinking,
        "thinking, streamed": {**thinking, "stream": True},
        "a call": {"tools": [_WEATHER], "options": {"num_predict": 200}},
    }
    texts = {"thinking": thinking, "thinking, streamed": {**thinking, "stream": True}}

    def copy() -> None:
        door.ask("POST", "/api/copy", {"source": model, "destination": "a-copy"})

    def a_copy() -> dict[str, str]:
        copy()
        return {}

    return [
        Subject("POST /api/generate", base=generate, also=texts, wrap=_WRAPS, checks=_CHECKS),
        Subject("POST /api/chat", base=chat, also=chats, wrap=_WRAPS, checks=_CHECKS),
        Subject("POST /api/embed", base={"model": embedder, "input": "a river"}),
        Subject("POST /api/embeddings", base={"model": embedder, "prompt": "a river"}),
        Subject("POST /api/pull", base={"model": model, "stream": False}, skip=_ITSELF),
        Subject("POST /api/push", base={"model": model, "stream": False}, skip=_ITSELF),
        Subject("POST /api/create", base={"model": "made", "from": model, "stream": False}, skip=_ITSELF),
        Subject("GET /api/tags"),
        Subject("DELETE /api/delete", base={"model": "a-copy"}, ids=a_copy, skip=_ITSELF),
        Subject(
            "POST /api/copy",
            base={"source": model, "destination": "another"},
            skip={"destination": "in the base", "source": "in the base"},
        ),
        Subject("POST /api/show", base={"model": model}),
        Subject("GET /api/ps"),
    ]


_ITSELF = {"model": "in the base of every case"}


def _text(answer: Answer) -> str:
    return str(answer.body["message"]["content"] if "message" in answer.body else answer.body["response"])


def _options(value: Any) -> Mapping[str, Any]:
    return {"options": {"num_predict": 8, **value}}


_WRAPS: Mapping[str, Callable[[Any], Mapping[str, Any]]] = {
    "options": _options,
    "tools": lambda value: {"tools": value, "options": {"num_predict": 60}},
    "top_logprobs": lambda value: {"top_logprobs": value, "logprobs": True},
    "format": lambda value: {"format": value, "options": {"num_predict": 60}},
    "messages": lambda value: {"messages": [*value, {"role": "user", "content": "hi"}]},
}
_CHECKS: Mapping[str, Check] = {
    "stream": lambda a: None if a.events and a.events[-1]["done"] else "no stream with an end",
    "options<Options>.num_predict": lambda a: differs((a.body["eval_count"], a.body["done_reason"]), (3, "length")),
    "options<Options>.stop": lambda a: differs("e" in _text(a), False),
    "logprobs": lambda a: None if a.body.get("logprobs") else "no logprobs",
    "top_logprobs": lambda a: differs(len(a.body["logprobs"][0]["top_logprobs"]), 2),
}
NO_FIELD: Mapping[str, str] = {
    "image": "no engine here makes pictures",
    "completed": "of making pictures",
    "total": "of making pictures",
    "Message.images": "an answer holds no pictures",
    "Message.tool_name": "of what a client sends",
}
