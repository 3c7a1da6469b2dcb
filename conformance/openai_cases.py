"""The OpenAI dialect: what is offered and how to try it, what effect each parameter must have, what does not apply."""

import base64
import json
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from conformance.answers import Shapes
from conformance.dialect import Dialect, Subject
from conformance.door import Door
from conformance.judge import Answer, Check, differs
from conformance.models import THINKER
from conformance.stainless import operations

#: Nothing below these is something an institution's own machine could offer, or be asked for by an application.
ELSEWHERE: Mapping[str, str] = {
    "/organization": "administers the vendor's own accounts; here people, keys and usage are on the page",
    "/projects": "administers the vendor's own accounts",
    "/chatkit": "the vendor's hosted chat widget",
    "/containers": "the vendor's hosted code sandboxes",
    "/content_provenance": "watermarks of the vendor's own pictures",
    "/evals": "the vendor's hosted evaluations",
    "/fine_tuning": "the vendor's hosted training",
    "/live": "the vendor's hosted calls",
    "/realtime": "the vendor's hosted calls",
    "/skills": "the vendor's hosted agents",
    "/agents": "the vendor's hosted agents",
    "/safety": "the vendor's own review of accounts",
    "/assistants": "deprecated by the vendor in favour of Responses",
    "/threads": "deprecated by the vendor in favour of Responses",
    "/uploads": "for training files beyond 512 MB",
    "/webhook": "calls from the vendor's cloud into one's own service",
    "/videos": "no open-weight engine here makes video",
}
MISSING: Mapping[str, str] = {
    "/audio": "speech is not built yet",
    "/images": "making pictures is not built",
    "/vector_stores": "searching in documents is offered over MCP, not in this shape",
    "DELETE /models/{model}": "models are removed by administrators on the page or with `intramural rm`",
    "/chat/completions": "chat completions are not kept; conversations of the Responses API are",
    "POST /moderations": "no classifier is installed: answered with 501, which says so",
    "/decisions": "not built",
    "POST /responses/compact": "what a model no longer reads would be gone unseen",
}

_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 12}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
_SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
_NO_CACHE_KEY = "prompts are cached per person whatever key a client names"
_LOGGED = "goes into the log entry; no answer shows it"


def picture(width: int = 8, height: int = 8) -> str:
    """A grey PNG as a data URL."""
    rows = b"".join(b"\0" + b"\x80" * (3 * width) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks)
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()


def samples(model: str, ids: Mapping[str, str]) -> dict[str, Any]:
    """What is sent for a parameter, wherever it stands. The rest is made from its type."""
    return {
        "model": model,
        "temperature": 0.0,
        "top_p": 0.5,
        "n": 2,
        "best_of": 1,
        "max_tokens": 3,
        "max_completion_tokens": 3,
        "max_output_tokens": 16,
        "seed": 7,
        "stop": ["e"],
        "logit_bias": {"28": 100.0},
        "top_logprobs": 2,
        "frequency_penalty": 1.5,
        "presence_penalty": 1.5,
        "metadata": {"course": "biology"},
        "user": "pupil-17",
        "url": picture(),
        "image_url": picture(),
        "ImageURL.url": picture(),
        "file_id": ids.get("file_id", "file_none"),
        "effort": "low",
        "tool_call_id": "call_1",
        "call_id": "call_1",
        "arguments": '{"city": "Oslo"}',
        "parameters": _SCHEMA,
        "schema": _SCHEMA,
        "Function.name": "get_weather",
        "name": "get_weather",
        "encoding_format": "base64",
        "dimensions": 64,
        "limit": 2,
        "top_k": 5,
        "ChatCompletionContentPartImageParam.image_url": {"url": picture()},
        "ChatCompletionAssistantMessageParam": {"content": "text"},
        "ChatCompletionAllowedToolsParam.tools": [{"type": "function", "function": {"name": "get_weather"}}],
        "ToolChoiceAllowedParam.tools": [{"type": "function", "name": "get_weather"}],
        "JSONSchema": {"schema": _SCHEMA},
        "FileFile": {"file_id": ids.get("file_id", "file_none")},
    }


def dialect(address: str, key: str, model: str, embedder: str, ids: Mapping[str, str], made: "Made") -> Dialect:
    """The dialect against a running service. `ids` names things that exist; `made` makes fresh ones."""
    door = Door(address, {"authorization": f"Bearer {key}"})
    return Dialect(
        name="OpenAI",
        door=door,
        prefix="/v1",
        operations=operations("openai", without=("beta",)),
        subjects={each.key: each for each in _subjects(model, embedder, made)},
        samples=samples(model, ids),
        message_of=message_of,
        shapes=Shapes(
            _EXTRAS,
            # Null in a text completion's stream until its end; a text where base64 was asked for.
            looser=frozenset({"finish_reason", "embedding"}),
        ),
        elsewhere=ELSEWHERE,
        missing=MISSING,
        no_event=NO_EVENT,
        no_field=NO_FIELD,
    )


def message_of(body: Any) -> str | None:
    """The message of an error with the parameter it names, if `body` has OpenAI's shape."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict) or not {"message", "type", "param", "code"} <= error.keys():
        return None
    return f"{error['message']} [{error['param'] or ''}]"


class Made:
    """Makes what an operation is tried on, once for each try."""

    def __init__(self, door: Door, model: str) -> None:
        self._door = door
        self._model = model

    def response(self) -> dict[str, str]:
        body = {"model": self._model, "input": "Say a.", "max_output_tokens": 16}
        return {"response_id": self._id("/v1/responses", body)}

    def background(self) -> dict[str, str]:
        body = {"model": self._model, "input": "Say a.", "max_output_tokens": 16, "background": True}
        return {"response_id": self._id("/v1/responses", body)}

    def conversation(self) -> dict[str, str]:
        item = {"type": "message", "role": "user", "content": "hello"}
        answer = self._door.ask("POST", "/v1/conversations", {"items": [item]})
        found = str((answer.body or {}).get("id", "conv_none"))
        items = self._door.ask("GET", f"/v1/conversations/{found}/items").body or {}
        first = (items.get("data") or [{"id": "msg_none"}])[0]
        return {"conversation_id": found, "item_id": str(first["id"])}

    def file(self) -> dict[str, str]:
        files = {"file": ("note.txt", b"A note about rivers.", "text/plain")}
        answer = self._door.ask("POST", "/v1/files", {"purpose": "user_data"}, files=files)
        return {"file_id": str((answer.body or {}).get("id", "file_none"))}

    def batch_file(self) -> str:
        body = {"model": self._model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
        line = json.dumps({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body})
        files = {"file": ("batch.jsonl", line.encode(), "application/jsonl")}
        answer = self._door.ask("POST", "/v1/files", {"purpose": "batch"}, files=files)
        return str((answer.body or {}).get("id", "file_none"))

    def batch(self) -> dict[str, str]:
        body = {"input_file_id": self.batch_file(), "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        return {"batch_id": self._id("/v1/batches", body)}

    def _id(self, path: str, body: Mapping[str, Any]) -> str:
        return str((self._door.ask("POST", path, body).body or {}).get("id", "none"))


def _subjects(model: str, embedder: str, made: Made) -> list[Subject]:
    hello = [{"role": "user", "content": "Write a line about the sea."}]
    chat = {"model": model, "messages": hello, "max_tokens": 8}
    text = {"model": model, "prompt": "The sea is", "max_tokens": 8}
    asked = {"model": model, "input": "Write a line about the sea.", "max_output_tokens": 16}
    thinking = [{"role": "user", "content": "What is two and two?"}]
    chats: Mapping[str, Any] = {
        "thinking": {"model": THINKER, "messages": thinking, "max_tokens": 40},
        "thinking, streamed": {"model": THINKER, "messages": thinking, "max_tokens": 40, "stream": True},
        "a call, streamed": {"tools": [_TOOL], "tool_choice": "required", "stream": True, "max_tokens": 300},
        "metadata": {"metadata": {"course": "biology"}, "service_tier": "default"},
        "usage, streamed": {"stream": True, "stream_options": {"include_usage": True}},
    }
    tool = {"type": "function", "strict": False, **_TOOL["function"]}  # type: ignore[dict-item]
    responses: Mapping[str, Any] = {
        "thinking": {"model": THINKER, "input": "What is two and two?", "max_output_tokens": 60},
        "thinking, streamed": {
            "model": THINKER, "input": "What is two and two?", "max_output_tokens": 60, "stream": True,
            "reasoning": {"effort": "low", "summary": "auto"},
        },
        "a call, streamed": {"tools": [tool], "tool_choice": "required", "stream": True, "max_output_tokens": 300},
        "in the background, streamed": {"background": True, "stream": True},
    }  # fmt: skip
    return [
        Subject("GET /models"),
        Subject("GET /models/{model}", ids=lambda: {"model": model}),
        Subject(
            "POST /chat/completions",
            base=chat,
            also=chats,
            wrap=_chat_wraps(),
            checks=_CHAT_CHECKS,
            silent=_CHAT_SILENT,
        ),
        Subject("POST /completions", base=text, wrap=_TEXT_WRAPS, checks=_TEXT_CHECKS, silent=_CHAT_SILENT),
        Subject(
            "POST /embeddings",
            base={"model": embedder, "input": "a river"},
            checks=_EMBEDDING_CHECKS,
            silent=_CHAT_SILENT,
        ),
        Subject(
            "POST /responses",
            base=asked,
            also=responses,
            wrap=_RESPONSE_WRAPS(made),
            checks=_RESPONSE_CHECKS,
            silent=_CHAT_SILENT,
        ),
        Subject("GET /responses/{response_id}", ids=made.response),
        Subject("DELETE /responses/{response_id}", ids=made.response),
        Subject("POST /responses/{response_id}/cancel", ids=made.background),
        Subject("GET /responses/{response_id}/input_items", ids=made.response),
        Subject("POST /responses/input_tokens", base={"model": model, "input": "Hello"}),
        Subject("POST /conversations"),
        Subject("GET /conversations/{conversation_id}", ids=made.conversation),
        Subject("POST /conversations/{conversation_id}", base={"metadata": {"a": "b"}}, ids=made.conversation),
        Subject("DELETE /conversations/{conversation_id}", ids=made.conversation),
        Subject("GET /conversations/{conversation_id}/items", ids=made.conversation),
        Subject(
            "POST /conversations/{conversation_id}/items",
            base={"items": [{"type": "message", "role": "user", "content": "more"}]},
            ids=made.conversation,
        ),
        Subject("GET /conversations/{conversation_id}/items/{item_id}", ids=made.conversation),
        Subject("DELETE /conversations/{conversation_id}/items/{item_id}", ids=made.conversation),
        Subject("GET /files"),
        Subject(
            "POST /files",
            base={"purpose": "user_data"},
            files=lambda: {"file": ("note.txt", b"A note.", "text/plain")},
            skip={"file": "sent with every case"},
            wrap={
                "expires_after": lambda v: {
                    f"expires_after[{k}]": x for k, x in {"anchor": "created_at", "seconds": 3600, **v}.items()
                }
            },
        ),
        Subject("GET /files/{file_id}", ids=made.file),
        Subject("DELETE /files/{file_id}", ids=made.file),
        Subject("GET /files/{file_id}/content", ids=made.file),
        Subject("GET /batches"),
        Subject(
            "POST /batches",
            base={"input_file_id": made.batch_file(), "endpoint": "/v1/chat/completions", "completion_window": "24h"},
        ),
        Subject("GET /batches/{batch_id}", ids=made.batch),
        Subject("POST /batches/{batch_id}/cancel", ids=made.batch),
    ]


# what effects look like -----------------------------------------------------------------------------------------------


def _choice(answer: Answer) -> Any:
    return answer.body["choices"][0]


def _holds(condition: bool, otherwise: str) -> str | None:
    return None if condition else otherwise


def _text(answer: Answer) -> str:
    choice = _choice(answer)
    return str(choice["message"]["content"] if "message" in choice else choice["text"])


def _json_answer(answer: Answer) -> str | None:
    try:
        return _holds(isinstance(json.loads(_text(answer)), dict), "the answer is no JSON object")
    except ValueError:
        return f"the answer is no JSON: {_text(answer)[:80]!r}"


def _chunks(answer: Answer) -> str | None:
    if not answer.events:
        return "no stream"
    finished = [c["finish_reason"] for e in answer.events for c in e["choices"] if c["finish_reason"]]
    return _holds(len(finished) == 1, f"finished {len(finished)} times")


def _chat_wraps() -> dict[str, Callable[[Any], Mapping[str, Any]]]:
    long = {"max_tokens": 300}
    return {
        "messages": lambda value: {"messages": [*value, {"role": "user", "content": "hi"}]},
        "tools": lambda value: {"tools": value, **long},
        "tool_choice": lambda value: {"tool_choice": value, "tools": [_TOOL], **long},
        "parallel_tool_calls": lambda value: {"parallel_tool_calls": value, "tools": [_TOOL], **long},
        "function_call": lambda value: {"function_call": value, "functions": [_TOOL["function"]], **long},
        "functions": lambda value: {"functions": value, **long},
        "top_logprobs": lambda value: {"top_logprobs": value, "logprobs": True},
        "stream_options": lambda value: {"stream_options": value, "stream": True},
        "response_format": lambda value: {"response_format": value, "max_tokens": 120},
        "logit_bias": lambda value: {"logit_bias": value, "temperature": 0},
        "max_completion_tokens": lambda value: {"max_completion_tokens": value, "max_tokens": None},
        "stop": lambda value: {"stop": value, "max_tokens": 40},
    }


_CHAT_CHECKS: Mapping[str, Check] = {
    "max_tokens": lambda a: differs((a.body["usage"]["completion_tokens"], _choice(a)["finish_reason"]), (3, "length")),
    "max_completion_tokens": lambda a: differs(a.body["usage"]["completion_tokens"], 3),
    "n": lambda a: differs(len(a.body["choices"]), 2),
    "logprobs": lambda a: _holds(bool(_choice(a)["logprobs"]["content"]), "no logprobs"),
    "top_logprobs": lambda a: differs(len(_choice(a)["logprobs"]["content"][0]["top_logprobs"]), 2),
    "logit_bias": lambda a: _holds(len(set(_text(a))) == 1, f"the favoured token did not win: {_text(a)!r}"),
    "stop": lambda a: differs("e" in _text(a), False),
    "stream=True": _chunks,
    "stream=False": lambda a: _holds(not a.events, "a stream"),
    "stream_options<ChatCompletionStreamOptionsParam>.include_usage": lambda a: _holds(
        a.events[-1].get("usage") is not None and a.events[-1]["choices"] == [], "no usage at the end"
    ),
    "tool_choice=none": lambda a: _holds(not _choice(a)["message"].get("tool_calls"), "a call in spite of none"),
    "tool_choice=required": lambda a: differs(_choice(a)["finish_reason"], "tool_calls"),
    "model": lambda a: _holds(bool(a.body["model"]), "no model"),
    "service_tier=default": lambda a: differs(a.body.get("service_tier"), "default"),
}
_CHAT_SILENT: Mapping[str, str] = {
    "user": _LOGGED,
    "metadata": _LOGGED,
    "safety_identifier": _LOGGED,
    "prompt_cache_key": _NO_CACHE_KEY,
}
_TEXT_WRAPS: Mapping[str, Callable[[Any], Mapping[str, Any]]] = {
    "stream_options": lambda value: {"stream_options": value, "stream": True},
    "logit_bias": lambda value: {"logit_bias": value, "temperature": 0},
    "stop": lambda value: {"stop": value, "max_tokens": 40},
    "logprobs": lambda _: {"logprobs": 2},
}
_TEXT_CHECKS: Mapping[str, Check] = {
    "max_tokens": lambda a: differs((a.body["usage"]["completion_tokens"], _choice(a)["finish_reason"]), (3, "length")),
    "n": lambda a: differs(len(a.body["choices"]), 2),
    "echo": lambda a: _holds(_text(a).startswith("The sea is"), "the prompt is not repeated"),
    "logprobs": lambda a: differs(len(_choice(a)["logprobs"]["top_logprobs"][0]), 2),
    "logit_bias": lambda a: _holds(len(set(_text(a))) == 1, f"the favoured token did not win: {_text(a)!r}"),
    "stop": lambda a: differs("e" in _text(a), False),
    "stream=True": _chunks,
}
_EMBEDDING_CHECKS: Mapping[str, Check] = {
    "encoding_format": lambda a: _holds(isinstance(a.body["data"][0]["embedding"], str), "no base64"),
    "dimensions": lambda a: differs(len(a.body["data"][0]["embedding"]), 64),
}


def _RESPONSE_WRAPS(made: Made) -> dict[str, Callable[[Any], Mapping[str, Any]]]:
    tool = {"type": "function", "strict": False, **_TOOL["function"]}  # type: ignore[dict-item]
    long = {"max_output_tokens": 300}
    return {
        "input": lambda value: {
            "input": value if isinstance(value, str) else [*value, {"role": "user", "content": "hi"}]
        },
        "tools": lambda value: {"tools": value, **long},
        "tool_choice": lambda value: {"tool_choice": value, "tools": [tool], **long},
        "parallel_tool_calls": lambda value: {"parallel_tool_calls": value, "tools": [tool], **long},
        "previous_response_id": lambda _: {"previous_response_id": made.response()["response_id"]},
        "conversation": lambda value: {
            "conversation": made.conversation()["conversation_id"]
            if isinstance(value, str)
            else {"id": made.conversation()["conversation_id"]}
        },
        "top_logprobs": lambda value: {"top_logprobs": value, "include": ["message.output_text.logprobs"]},
        "stream_options": lambda value: {"stream_options": value, "stream": True},
        "text": lambda value: {"text": value, "max_output_tokens": 120},
    }


def _echo(name: str, wanted: Any) -> Check:
    return lambda answer: differs(answer.body.get(name), wanted)


_RESPONSE_CHECKS: Mapping[str, Check] = {
    "temperature": _echo("temperature", 0.0),
    "top_p": _echo("top_p", 0.5),
    "metadata": _echo("metadata", {"course": "biology"}),
    "instructions": _echo("instructions", "text"),
    "max_output_tokens": _echo("max_output_tokens", 16),
    "truncation=auto": _echo("truncation", "auto"),
    "truncation=disabled": _echo("truncation", "disabled"),
    "background": lambda a: _holds(a.body["status"] in ("queued", "in_progress", "completed"), a.body["status"]),
    "tool_choice=required": lambda a: differs(a.body["output"][-1]["type"], "function_call"),
    "stream=True": lambda a: _holds(a.events[-1]["type"] in ("response.completed", "response.incomplete"), "no end"),
}

#: What we add to the vendor's answers; three are of the Open Responses specification. `obfuscation` is documented
#: (under `include_obfuscation`), and the types leave it out.
_EXTRAS = frozenset(
    {"reasoning", "reasoning_content", "hint", "capabilities", "presence_penalty", "frequency_penalty", "store"}
    | {"obfuscation"}
)
NO_EVENT: Mapping[str, str] = {
    f"response.{name}": f"no such tool runs here ({name})"
    for name in (
        "audio", "code_interpreter", "file_search", "web_search", "image_generation", "mcp", "custom_tool_call",
        "computer", "shell", "apply_patch",
    )
} | {
    "keepalive": "silences are bridged by comments",
    "response.refusal": "an open model has no refusal channel",
    "response.compaction": "of the vendor's own context editing",
    "response.output_text.annotation": "made by the vendor's search tools",
    "response.failed": "needs a worker that dies; shown by tests",
    "error": "needs a worker that dies; shown by tests",
}  # fmt: skip
NO_FIELD: Mapping[str, str] = {
    "audio": "no speech yet",
    "annotations": "made by the vendor's search tools",
    "function_call": "deprecated by the vendor",
    "refusal": "an open model has no refusal channel",
    "moderation": "no classifier is installed",
    "access_programs": "the vendor's own programmes",
    "image": "of the vendor's own pictures",
    "input_transformations": "of the vendor's own pictures",
    "prompt": "the vendor's hosted prompts",
    "prompt_cache_diagnostics": "of the vendor's own cache",
    "prompt_cache_options": "of the vendor's own cache",
    "prompt_cache_retention": "of the vendor's own cache",
    "cache_write_tokens_details": "of the vendor's own cache",
    "tool_usage": "the vendor's hosted tools",
    "shutdown_date": "no model here is withdrawn by somebody else",
    "obfuscation": "padding against eavesdroppers on the vendor's network",
    "phase": "of the vendor's own models",
    "status_details": "deprecated by the vendor",
    "allowed_callers": "the vendor's hosted tools",
    "async_": "the vendor's hosted tools",
    "caller": "the vendor's hosted tools",
    "namespace": "the vendor's hosted tools",
    "defer_loading": "the vendor's hosted tools",
    "output_schema": "the vendor's hosted tools",
    "Reasoning.context": "of the vendor's own context editing",
    "Reasoning.mode": "of the vendor's own models",
    "prompt_cache_breakpoint": "of the vendor's own cache",
    "encrypted_content": "nothing is hidden from its owner here",
    "ResponseReasoningSummaryPartDoneEvent.status": "only of a summary that was cut off",
    "generate_summary": "deprecated by the vendor",
    "Response.error": "needs a worker that dies; shown by tests",
}
